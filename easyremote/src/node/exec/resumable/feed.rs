//! The client stream of a resumable call: what arrives on its legs, as the function gets it.
//!
//! A caller that continues a call sends again what the node has not acknowledged, from the beginning
//! of an item. The node holds no item back until it is whole: it leaves out the bytes of an
//! interrupted item that the function has got already. So the function sees one stream, in which
//! each byte comes once, and the node keeps no more of it than of any client stream.

use std::future::pending;

use bytes::Bytes;
use tokio::sync::oneshot;

use crate::error::Error;
use crate::function::upload::RawUpload;
use crate::node::exec::receive::upload_channel;
use crate::node::state::NodeState;
use crate::transport::byte_channel::ByteSender;
use crate::wire::bytes::Malformed;
use crate::wire::codec::Codec;
use crate::wire::frame::{FRAME_HEADER, FrameKind, put_count, read_header};
use crate::wire::limits::MessageLimits;
use crate::wire::resume::NO_MORE;

/// The caller is told what has arrived after this many bytes of items: a small part of what it
/// keeps, so that it never waits for the node to say so.
const TELL_AFTER: u64 = 16 << 10;

/// Passes a client stream from the legs of a call to its function.
#[derive(Debug)]
pub(in crate::node::exec) struct UploadFeed {
    /// `None` once the function wants no more.
    sender: Option<ByteSender<()>>,
    /// Reports the error of the function's decoder; `None` once it has, or cannot any more.
    failing: Option<oneshot::Receiver<Error>>,
    parser: LegItems,
    /// What has arrived and has not been passed to the function.
    waiting: Vec<Bytes>,
    /// The number that the caller was told last.
    told: u64,
    /// Bytes of items that have arrived since then.
    untold: u64,
}

/// What has become of a client stream.
pub(super) enum Fed {
    /// The function has room for what comes next.
    Passed,
    /// The function wants no more.
    Unwanted,
    /// Its bytes are not what the function takes.
    Failed(Error),
}

impl UploadFeed {
    /// Creates the feed of a call, and the function's end of it.
    pub(in crate::node::exec) fn new(
        node: &NodeState,
        limits: MessageLimits,
        codec: Codec,
    ) -> (Self, RawUpload) {
        let (sender, failing, upload) = upload_channel(node, limits, codec);
        let feed = Self {
            sender: Some(sender),
            failing: Some(failing),
            parser: LegItems::new(limits.max_message),
            waiting: Vec::new(),
            told: 0,
            untold: 0,
        };
        (feed, upload)
    }

    /// Returns whether it takes more bytes of the current leg.
    pub(super) fn has_room(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Takes the next bytes of the current leg. What the function does not want is discarded.
    ///
    /// # Errors
    /// If they are not the frames of a client stream, or not those that continue it.
    pub(super) fn take(&mut self, chunks: Vec<Bytes>) -> Result<(), Malformed> {
        if self.sender.is_none() {
            return Ok(());
        }
        self.untold += self.parser.split(chunks, &mut self.waiting)?;
        Ok(())
    }

    /// Notes that the caller has finished its direction. If it has not ended its stream, the function
    /// never gets the rest.
    pub(super) fn finish(&mut self) {
        if !self.parser.ended
            && let Some(sender) = &mut self.sender
        {
            sender.end(());
        }
    }

    /// Takes no more.
    pub(super) fn close(&mut self) {
        (self.sender, self.failing) = (None, None);
        self.waiting.clear();
    }

    /// Begins with another leg. Returns how many items have arrived, behind which the caller goes on.
    pub(super) fn rewind(&mut self) -> u64 {
        self.parser.rewind();
        self.tell()
    }

    /// Returns the frame that tells the caller what has arrived, if it is due.
    pub(super) fn acknowledgement(&mut self) -> Option<Bytes> {
        let due = self.untold >= TELL_AFTER || (self.sender.is_none() && self.told != NO_MORE);
        due.then(|| {
            let mut frame = Vec::new();
            put_count(&mut frame, FrameKind::Received, self.tell());
            frame.into()
        })
    }

    fn tell(&mut self) -> u64 {
        self.told = if self.sender.is_some() { self.parser.items } else { NO_MORE };
        self.untold = 0;
        self.told
    }

    /// Passes on what has arrived, and waits for what becomes of the stream. Cancel safe.
    pub(super) async fn next(&mut self) -> Fed {
        let Self { sender, failing, waiting, .. } = self;
        loop {
            let passing = async {
                match &mut *sender {
                    Some(sender) if waiting.is_empty() => {
                        sender.closed().await;
                        false
                    }
                    Some(sender) => sender.send_chunks(&waiting[..]).await.is_ok(),
                    None => pending().await,
                }
            };
            let failed = async {
                match &mut *failing {
                    Some(failing) => failing.await.ok(),
                    None => pending().await,
                }
            };
            tokio::select! {
                // The error of the decoder is more precise than that it takes no more.
                biased;
                error = failed => {
                    // Without an error the decoder is gone, which its channel says too.
                    *failing = None;
                    if let Some(error) = error {
                        return Fed::Failed(error);
                    }
                }
                passed = passing => {
                    waiting.clear();
                    if passed {
                        return Fed::Passed;
                    }
                    *sender = None;
                    return Fed::Unwanted;
                }
            }
        }
    }
}

/// Follows the frames of a client stream through the legs that carry it.
#[derive(Debug)]
struct LegItems {
    /// Items that have arrived whole.
    items: u64,
    /// Whether the `End` frame has arrived.
    ended: bool,
    /// The header of the current frame, as far as it has arrived.
    header: [u8; FRAME_HEADER],
    kind: FrameKind,
    /// Length of the current frame, once its header has arrived on this leg.
    length: usize,
    /// Bytes of the current frame that have arrived on this leg.
    at: usize,
    /// Bytes of the current frame that have arrived on earlier legs.
    had: usize,
    max_message: usize,
}

impl LegItems {
    fn new(max_message: usize) -> Self {
        Self {
            items: 0,
            ended: false,
            header: [0; FRAME_HEADER],
            kind: FrameKind::Item,
            length: FRAME_HEADER,
            at: 0,
            had: 0,
            max_message,
        }
    }

    /// Begins with another leg, on which the current frame comes again from its beginning.
    fn rewind(&mut self) {
        self.had = self.had.max(self.at);
        self.at = 0;
    }

    /// Appends to `new` those of the next bytes that have not arrived before. Returns the number of
    /// bytes of the items that are whole now.
    ///
    /// # Errors
    /// If the bytes are not frames of a client stream, or continue another item than the one that
    /// was interrupted.
    fn split(&mut self, chunks: Vec<Bytes>, new: &mut Vec<Bytes>) -> Result<u64, Malformed> {
        let mut whole = 0;
        for bytes in chunks {
            // Where the bytes begin that are new and not in `new`, and what comes next.
            let (mut from, mut next) = (0, 0);
            while next < bytes.len() {
                if self.kind == FrameKind::End && self.at > 0 && self.at == self.length {
                    return Err(Malformed::new("bytes behind the end of the caller's stream"));
                }
                let in_header = self.at < FRAME_HEADER;
                let until = if in_header { FRAME_HEADER } else { self.length };
                let n = (until - self.at).min(bytes.len() - next);
                if in_header {
                    self.note_header(&bytes[next..next + n])?;
                }
                let again = self.had.saturating_sub(self.at).min(n);
                if again > 0 {
                    if from < next {
                        new.push(bytes.slice(from..next));
                    }
                    from = next + again;
                }
                (self.at, next) = (self.at + n, next + n);
                if in_header && self.at == FRAME_HEADER {
                    self.begin_body()?;
                }
                if self.at >= FRAME_HEADER && self.at == self.length {
                    whole += self.end_frame();
                }
            }
            if from < bytes.len() {
                new.push(bytes.slice(from..));
            }
        }
        Ok(whole)
    }

    /// Notes the next piece of a header, and compares it with what earlier legs have brought of it.
    fn note_header(&mut self, piece: &[u8]) -> Result<(), Malformed> {
        let known = &self.header[self.at..self.had.clamp(self.at, FRAME_HEADER)];
        if known.iter().zip(piece).any(|(before, now)| before != now) {
            return Err(Malformed::new("not the item of the caller's stream that was interrupted"));
        }
        self.header[self.at..self.at + piece.len()].copy_from_slice(piece);
        Ok(())
    }

    fn begin_body(&mut self) -> Result<(), Malformed> {
        let (kind, length) = read_header(self.header, self.max_message)?;
        if !matches!(kind, FrameKind::Item | FrameKind::End) {
            return Err(Malformed::new(format!("{kind:?} frame in the caller's stream")));
        }
        (self.kind, self.length) = (kind, FRAME_HEADER + length);
        Ok(())
    }

    /// Ends a frame. Returns the number of its bytes, if it is an item.
    fn end_frame(&mut self) -> u64 {
        if self.kind == FrameKind::End {
            // It is no item, and comes again on each further leg.
            self.ended = true;
            return 0;
        }
        self.items += 1;
        (self.at, self.had) = (0, 0);
        self.length as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::frame::{put, put_end};

    /// The frames of a client stream, one by one.
    fn upload(rng: &mut fastrand::Rng) -> Vec<Vec<u8>> {
        let n = rng.u64(0..20);
        let mut frames: Vec<_> = (0..n)
            .map(|i| {
                let mut frame = Vec::new();
                put(&mut frame, FrameKind::Item, &vec![i as u8; rng.usize(0..40)]);
                frame
            })
            .collect();
        let mut end = Vec::new();
        put_end(&mut end, n);
        frames.push(end);
        frames
    }

    #[test]
    fn each_byte_arrives_once_wherever_the_legs_were_cut() {
        let mut rng = fastrand::Rng::with_seed(4_713);
        for _ in 0..2_000 {
            let frames = upload(&mut rng);
            let (mut items, mut new) = (LegItems::new(1_000), Vec::new());
            for leg in (0..rng.usize(0..6)).rev() {
                // The caller goes on behind the items that have arrived whole.
                let sent = frames[items.items as usize..].concat();
                let n = if leg == 0 { sent.len() } else { rng.usize(0..=sent.len()) };
                for piece in sent[..n].chunks(rng.usize(1..50)) {
                    items.split(vec![Bytes::copy_from_slice(piece)], &mut new).unwrap();
                }
                assert_eq!(items.ended, n == sent.len() || items.ended);
                items.rewind();
                let all = frames.concat();
                let got = new.concat();
                assert_eq!(got, all[..got.len()]);
                assert!(leg > 0 || got == all);
            }
        }
    }

    #[test]
    fn another_item_than_the_interrupted_one_is_refused() {
        let frame = |length: usize| {
            let mut frame = Vec::new();
            put(&mut frame, FrameKind::Item, &vec![7; length]);
            Bytes::from(frame)
        };
        for had in 1..=FRAME_HEADER + 3 {
            let (mut items, mut new) = (LegItems::new(1_000), Vec::new());
            items.split(vec![frame(10).slice(..had)], &mut new).unwrap();
            items.rewind();
            let refused = items.split(vec![frame(11)], &mut new).is_err();
            // Its length is the last byte of the header.
            assert_eq!(refused, had >= FRAME_HEADER, "{had}");
        }
    }

    #[test]
    fn only_a_client_stream_is_taken() {
        for kind in [FrameKind::Body, FrameKind::Open, FrameKind::ItemFault, FrameKind::Taken] {
            let (mut items, mut new, mut frame) = (LegItems::new(1_000), Vec::new(), Vec::new());
            put(&mut frame, kind, b"");
            assert!(items.split(vec![frame.into()], &mut new).is_err(), "{kind:?}");
        }
        let (mut items, mut new, mut frames) = (LegItems::new(9), Vec::new(), Vec::new());
        put_end(&mut frames, 0);
        items.split(vec![frames.clone().into()], &mut new).unwrap();
        assert!(items.split(vec![frames.into()], &mut new).is_err(), "twice on one leg");
        let mut long = Vec::new();
        put(&mut long, FrameKind::Item, &[0; 10]);
        assert!(LegItems::new(9).split(vec![long.into()], &mut new).is_err());
    }
}
