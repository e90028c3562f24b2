//! Frames that were sent and that the other side may ask for again.

use std::collections::VecDeque;

use bytes::{Buf, Bytes};

use crate::wire::frame::{FRAME_HEADER, FrameKind, read_header};

/// The frames of a stream of items from the first one on that the other side has not acknowledged,
/// for one QUIC stream after the other.
///
/// Has no limit of its own: the owner compares [`bytes`](Self::bytes) with one before it adds more.
#[derive(Debug, Default)]
pub(crate) struct UnackedFrames {
    /// Each has whole frames only.
    chunks: VecDeque<Bytes>,
    bytes: usize,
    /// The number of items before the first byte.
    first: u64,
    /// How many of `chunks` have been passed to the current QUIC stream.
    sent: usize,
}

impl UnackedFrames {
    /// Creates it for a stream whose first item is number `first`.
    pub(crate) fn behind(first: u64) -> Self {
        Self { first, ..Self::default() }
    }

    /// Returns the number of items before the first one that is kept.
    pub(crate) fn first(&self) -> u64 {
        self.first
    }

    /// Returns the number of bytes that are kept.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Adds frames that this side has encoded, each of them whole.
    pub(crate) fn push(&mut self, frames: Bytes) {
        self.bytes += frames.len();
        self.chunks.push_back(frames);
    }

    /// Returns whether everything has been passed to the current QUIC stream.
    #[cfg(test)]
    pub(crate) fn is_sent(&self) -> bool {
        self.sent == self.chunks.len()
    }

    /// Returns what has not been passed to the current QUIC stream.
    pub(crate) fn take_unsent(&mut self) -> Vec<Bytes> {
        let unsent = self.chunks.range(self.sent..).cloned().collect();
        self.sent = self.chunks.len();
        unsent
    }

    /// Passes everything to another QUIC stream.
    pub(crate) fn rewind(&mut self) {
        self.sent = 0;
    }

    /// Drops the items before number `acknowledged`, and what is between them.
    pub(crate) fn trim(&mut self, acknowledged: u64) {
        while self.first < acknowledged
            && let Some(front) = self.chunks.front_mut()
        {
            let Some((kind, length)) = first_frame(front) else { break };
            self.first += u64::from(kind.is_item());
            self.bytes -= length;
            front.advance(length);
            if front.is_empty() {
                self.chunks.pop_front();
                self.sent = self.sent.saturating_sub(1);
            }
        }
    }

    /// Drops everything.
    pub(crate) fn clear(&mut self) {
        *self = Self::behind(self.first);
    }
}

/// Returns the number of items in frames that this side has encoded, each of them whole.
pub(crate) fn items_in(mut frames: &[u8]) -> u64 {
    let mut items = 0;
    while let Some((kind, length)) = first_frame(frames) {
        items += u64::from(kind.is_item());
        frames = &frames[length..];
    }
    items
}

/// Returns the kind of the first frame, and its length with its header; `None` if there is none.
pub(crate) fn first_frame(frames: &[u8]) -> Option<(FrameKind, usize)> {
    let header = frames.first_chunk::<FRAME_HEADER>()?;
    // Invariant: whole frames, which this side has encoded.
    let read = read_header(*header, usize::MAX).ok().map(|(kind, n)| (kind, FRAME_HEADER + n));
    let whole = read.filter(|(_, length)| *length <= frames.len());
    debug_assert!(whole.is_some(), "whole frames");
    whole
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::frame::{put, put_end};

    #[test]
    fn what_is_left_is_what_was_not_acknowledged_however_it_was_added() {
        let mut rng = fastrand::Rng::with_seed(4_712);
        for _ in 0..200 {
            let (mut unacked, mut frames) = (UnackedFrames::behind(3), Vec::new());
            let n = rng.u64(0..30);
            for i in 0..n {
                let mut frame = Vec::new();
                put(&mut frame, FrameKind::Item, &vec![i as u8; rng.usize(0..50)]);
                frames.push(frame);
            }
            let mut end = Vec::new();
            put_end(&mut end, n);
            frames.push(end);
            let mut rest = &frames[..];
            while !rest.is_empty() {
                let (now, later) = rest.split_at(rng.usize(1..=rest.len()));
                let chunk = now.concat();
                let ended = u64::from(later.is_empty());
                assert_eq!(items_in(&chunk), now.len() as u64 - ended);
                unacked.push(chunk.into());
                rest = later;
            }
            let mut acknowledged = 0;
            while acknowledged < n {
                acknowledged = rng.u64(acknowledged..=n);
                unacked.trim(3 + acknowledged);
                unacked.rewind();
                let left = frames[acknowledged as usize..].concat();
                assert_eq!(unacked.bytes(), left.len());
                assert_eq!(unacked.take_unsent().concat(), left);
                assert_eq!(unacked.first(), 3 + acknowledged);
                assert!(unacked.take_unsent().is_empty());
            }
            unacked.clear();
            assert_eq!((unacked.bytes(), unacked.first()), (0, 3 + n));
        }
    }
}
