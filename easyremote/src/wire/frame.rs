//! Frames: the typed, length-delimited units of a stream.

use bytes::{Buf, Bytes, BytesMut};

use crate::wire::bytes::{Malformed, Reader, WriteBytes};
use crate::wire::limits::{
    MAX_ACCEPTED, MAX_CONTROL, MAX_ERROR, MAX_HEADER, MAX_JOB_REPORT, MAX_OPERATORS, MAX_TRACE,
    SMALL_MESSAGE,
};
use crate::wire::resume::MAX_ATTACHED;

/// What a frame carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum FrameKind {
    /// The call header; the first frame of a call.
    Header = 1,
    /// The arguments of a call, or its result.
    Body = 2,
    /// The function's own error instead of a result, or instead of a stream.
    Fault = 3,
    /// An error that is not the function's own. Ends a call or a stream.
    Error = 4,
    /// The stream is set up, and items follow. Empty.
    Open = 5,
    /// One item of a stream.
    Item = 6,
    /// One item of a stream that is the function's own error. The stream goes on.
    ItemFault = 7,
    /// The end of a stream, with the number of its items of all three kinds.
    End = 8,
    /// A message of the control stream.
    Control = 9,
    /// The trace of a call at its node, before the result, if the caller has requested it.
    Trace = 10,
    /// One item of a stream that is the function's own error as text. The stream goes on.
    ItemError = 11,
    /// The stream is a multiplexed stream of many calls. Empty.
    Mux = 12,
    /// The stream carries only the answer to one call on a multiplexed stream: the id of that call.
    Overflow = 13,
    /// From the caller of a stream: how many items its reader has taken in all.
    Taken = 14,
    /// From the node: how many items of a stream have been left out in all, and if it can start
    /// again elsewhere, by each function that is applied to it. Not an item.
    Skipped = 15,
    /// From the node that has a resumable stream, before everything else: its
    /// [`Attachment`](crate::wire::resume::Attachment).
    Attached = 16,
    /// From the node that has a call with a resumable client stream: how many of its items have
    /// arrived in all, or [`NO_MORE`](crate::wire::resume::NO_MORE).
    Received = 17,
    /// The node has accepted a call as a job: the number of the job, and the id of the node.
    Accepted = 18,
    /// What a job does, or how it has failed.
    JobReport = 19,
}

impl FrameKind {
    fn from_byte(byte: u8) -> Option<Self> {
        Some(match byte {
            1 => Self::Header,
            2 => Self::Body,
            3 => Self::Fault,
            4 => Self::Error,
            5 => Self::Open,
            6 => Self::Item,
            7 => Self::ItemFault,
            8 => Self::End,
            9 => Self::Control,
            10 => Self::Trace,
            11 => Self::ItemError,
            12 => Self::Mux,
            13 => Self::Overflow,
            14 => Self::Taken,
            15 => Self::Skipped,
            16 => Self::Attached,
            17 => Self::Received,
            18 => Self::Accepted,
            19 => Self::JobReport,
            _ => return None,
        })
    }

    /// Returns whether a frame of this kind is one item of a stream.
    pub(crate) fn is_item(self) -> bool {
        matches!(self, Self::Item | Self::ItemFault | Self::ItemError)
    }

    /// Returns the limit of the body of a frame of this kind, where `max_message` is the limit of
    /// messages.
    fn limit(self, max_message: usize) -> usize {
        match self {
            Self::Header => MAX_HEADER,
            Self::Body | Self::Fault | Self::Item | Self::ItemFault => max_message,
            Self::Error | Self::ItemError => MAX_ERROR,
            Self::Open | Self::Mux => 0,
            Self::End | Self::Overflow | Self::Taken | Self::Received => MAX_COUNT,
            Self::Skipped => MAX_SKIPPED,
            Self::Control => MAX_CONTROL,
            Self::Trace => MAX_TRACE,
            Self::Attached => MAX_ATTACHED,
            Self::Accepted => MAX_ACCEPTED,
            Self::JobReport => MAX_JOB_REPORT,
        }
    }
}

/// Longest body of a frame that is a number, in bytes: the longest varint.
pub(crate) const MAX_COUNT: usize = 8;

/// Length of the header in front of each frame's body.
///
/// | bytes | field  | meaning                    |
/// |-------|--------|----------------------------|
/// | 1     | kind   | [`FrameKind`]              |
/// | 4     | length | of the body, big-endian    |
/// | n     | body   | by kind                    |
///
/// The length is fixed, so that a body of unknown length can be written in place and its length
/// filled in afterwards, and that a relay follows frames at the cost of one addition each.
pub(crate) const FRAME_HEADER: usize = 5;

/// A complete frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) kind: FrameKind,
    pub(crate) body: Bytes,
}

/// Starts a frame at the end of `out`, and returns where its body starts. What is appended until
/// [`finish`] is the body.
#[must_use]
pub(crate) fn begin(out: &mut Vec<u8>, kind: FrameKind) -> usize {
    out.extend_from_slice(&[kind as u8, 0, 0, 0, 0]);
    out.len()
}

/// Finishes the frame whose body starts at `start`, the value that [`begin`] returned.
///
/// # Errors
/// The length of a body that is longer than `limit`. The frame is removed from `out`.
pub(crate) fn finish(out: &mut Vec<u8>, start: usize, limit: usize) -> Result<(), usize> {
    let length = out.len() - start;
    match u32::try_from(length) {
        Ok(short) if length <= limit => {
            out[start - 4..start].copy_from_slice(&short.to_be_bytes());
            Ok(())
        }
        _ => {
            out.truncate(start - FRAME_HEADER);
            Err(length)
        }
    }
}

/// Appends a frame whose body is known and short.
pub(crate) fn put(out: &mut Vec<u8>, kind: FrameKind, body: &[u8]) {
    let start = begin(out, kind);
    out.extend_from_slice(body);
    // Callers have bounded the body far below 4 GiB.
    let fits = finish(out, start, u32::MAX as usize);
    debug_assert!(fits.is_ok(), "a short body fits");
}

/// Appends the `End` frame of a stream of `items` items.
pub(crate) fn put_end(out: &mut Vec<u8>, items: u64) {
    put(out, FrameKind::End, &items.to_be_bytes());
}

/// Decodes the number of items in the body of an `End` frame.
pub(crate) fn read_end(body: &[u8]) -> Result<u64, Malformed> {
    body.try_into()
        .map(u64::from_be_bytes)
        .map_err(|_| Malformed::new("an `End` frame is not 8 bytes long"))
}

/// Longest body of a `Skipped` frame: a varint for all operators, and one for each function that is
/// applied.
const MAX_SKIPPED: usize = MAX_COUNT * (1 + MAX_OPERATORS);

/// Appends a `Skipped` frame: how many items have been left out in all, and by each of some
/// operators.
pub(crate) fn put_skipped(out: &mut Vec<u8>, all: u64, each: &[u64]) {
    let start = begin(out, FrameKind::Skipped);
    out.put_varint(all);
    each.iter().for_each(|&count| out.put_varint(count));
    let fits = finish(out, start, MAX_SKIPPED);
    debug_assert!(fits.is_ok(), "a chain has at most `MAX_OPERATORS`");
}

/// Decodes the body of a `Skipped` frame, and puts what each operator has left out into `each`.
/// Returns the number of all.
///
/// # Errors
/// If it is no list of numbers, or one of them is larger than that of all.
pub(crate) fn read_skipped(body: &[u8], each: &mut Vec<u64>) -> Result<u64, Malformed> {
    let mut reader = Reader::new(body);
    let all = reader.varint("count")?;
    each.clear();
    while !reader.is_empty() {
        each.push(reader.varint("count")?);
    }
    match each.len() <= MAX_OPERATORS && each.iter().all(|count| *count <= all) {
        true => Ok(all),
        false => Err(Malformed::new("counts that do not fit")),
    }
}

/// Decodes the number of all items that have been left out, from the first [`MAX_COUNT`] bytes of the
/// body of a `Skipped` frame; `None` if there is no number.
pub(crate) fn skipped_in_all(beginning: &[u8]) -> Option<u64> {
    Reader::new(beginning).varint("count").ok()
}

/// Appends a frame of `kind`, `Taken` or `Received`, whose body is a number.
pub(crate) fn put_count(out: &mut Vec<u8>, kind: FrameKind, count: u64) {
    let start = begin(out, kind);
    out.put_varint(count);
    let fits = finish(out, start, MAX_COUNT);
    debug_assert!(fits.is_ok(), "a number fits");
}

/// Decodes the number in the body of a `Taken` or `Received` frame.
pub(crate) fn read_count(body: &[u8]) -> Result<u64, Malformed> {
    let mut reader = Reader::new(body);
    let count = reader.varint("count")?;
    match reader.is_empty() {
        true => Ok(count),
        false => Err(Malformed::new("bytes after a count")),
    }
}

/// Decodes the header of a frame: its kind, and the length of its body.
///
/// # Errors
/// If the kind is unknown, or the length exceeds the limit of the kind.
#[inline]
pub(crate) fn read_header(
    header: [u8; FRAME_HEADER],
    max_message: usize,
) -> Result<(FrameKind, usize), Malformed> {
    let [kind, length @ ..] = header;
    let length = u32::from_be_bytes(length) as usize;
    match FrameKind::from_byte(kind) {
        Some(kind) if length <= kind.limit(max_message) => Ok((kind, length)),
        known => Err(refused_header(known.ok_or(kind), length, max_message)),
    }
}

/// Returns why a header of this kind, or this unknown byte, is refused.
#[cold]
fn refused_header(kind: Result<FrameKind, u8>, length: usize, max_message: usize) -> Malformed {
    let kind = match kind {
        Ok(kind) => kind,
        Err(byte) => return Malformed::new(format!("frame of unknown kind {byte}")),
    };
    let limit = kind.limit(max_message);
    let text = format!("{kind:?} frame of {length} bytes; the limit is {limit}");
    // A message where none is allowed violates the protocol; otherwise it is only too long.
    match limit == max_message && limit > 0 {
        true => Malformed::too_large(text),
        false => Malformed::new(text),
    }
}

/// Reassembles frames from pieces of any size.
///
/// Holds only bytes that have arrived: a length that the peer announces reserves no memory.
#[derive(Debug)]
pub(crate) struct FrameBuffer {
    buffered: BytesMut,
    max_message: usize,
    max_control: usize,
}

impl FrameBuffer {
    pub(crate) fn new(max_message: usize) -> Self {
        Self { buffered: BytesMut::new(), max_message, max_control: MAX_CONTROL }
    }

    /// Sets the limit of control messages from now on. Default: [`MAX_CONTROL`].
    pub(crate) fn allow_control(&mut self, max_control: usize) {
        self.max_control = max_control;
    }

    /// Sets the limit of messages from now on.
    ///
    /// While the header of a call is read, the limit is 0, so that only a header is buffered.
    pub(crate) fn allow(&mut self, max_message: usize) {
        self.max_message = max_message;
    }

    /// Adds bytes that follow all bytes added before.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.buffered.extend_from_slice(bytes);
    }

    /// Returns the next frame, or `None` if it has not arrived completely.
    ///
    /// # Errors
    /// If the bytes are not a frame, or a frame that exceeds its limit. The buffer is not changed,
    /// so every further call returns the same error.
    pub(crate) fn next(&mut self) -> Result<Option<Frame>, Malformed> {
        let Some(&header) = self.buffered.first_chunk::<FRAME_HEADER>() else {
            return Ok(None);
        };
        let (kind, length) = read_header(header, self.max_message)?;
        if kind == FrameKind::Control && length > self.max_control {
            let limit = self.max_control;
            let text = format!("control message of {length} bytes; the limit is {limit} now");
            return Err(Malformed::new(text));
        }
        if self.buffered.len() < FRAME_HEADER + length {
            return Ok(None);
        }
        self.buffered.advance(FRAME_HEADER);
        let body = self.buffered.split_to(length).freeze();
        Ok(Some(Frame { kind, body }))
    }

    /// Takes all bytes that have arrived and belong to no frame that was taken.
    pub(crate) fn take_rest(&mut self) -> Bytes {
        self.buffered.split().freeze()
    }

    /// Returns the number of bytes that have arrived and belong to no frame that was taken.
    pub(crate) fn len(&self) -> usize {
        self.buffered.len()
    }

    /// Returns whether a whole frame has arrived that was not taken.
    pub(crate) fn has_frame(&self) -> bool {
        self.len() >= FRAME_HEADER && self.len() >= self.announced()
    }

    /// Returns the number of bytes that count in a budget of unfinished messages: none of a small
    /// one.
    pub(crate) fn unfinished(&self) -> usize {
        if self.len() > SMALL_MESSAGE { self.len() } else { 0 }
    }

    /// Returns the length of the frame that has begun to arrive, with its header.
    pub(crate) fn announced(&self) -> usize {
        let header = self.buffered.first_chunk::<FRAME_HEADER>();
        header.map_or(0, |[_, length @ ..]| FRAME_HEADER + u32::from_be_bytes(*length) as usize)
    }

    /// Returns whether no frame has arrived in part.
    pub(crate) fn is_empty(&self) -> bool {
        self.buffered.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::bytes::MAX_VARINT;

    fn sample() -> (Vec<u8>, Vec<Frame>) {
        let mut out = Vec::new();
        put(&mut out, FrameKind::Open, b"");
        put(&mut out, FrameKind::Item, b"one");
        put(&mut out, FrameKind::ItemFault, b"");
        put_end(&mut out, 2);
        let frame = |kind, body: &'static [u8]| Frame { kind, body: Bytes::from_static(body) };
        let frames = vec![
            frame(FrameKind::Open, b""),
            frame(FrameKind::Item, b"one"),
            frame(FrameKind::ItemFault, b""),
            frame(FrameKind::End, &[0, 0, 0, 0, 0, 0, 0, 2]),
        ];
        (out, frames)
    }

    #[test]
    fn frames_survive_any_split() {
        let (bytes, frames) = sample();
        for size in 1..=bytes.len() {
            let mut buffer = FrameBuffer::new(1_000);
            let mut got = Vec::new();
            for piece in bytes.chunks(size) {
                buffer.push(piece);
                while let Some(frame) = buffer.next().unwrap() {
                    got.push(frame);
                }
            }
            assert_eq!(got, frames);
        }
    }

    #[test]
    fn a_length_above_the_limit_is_refused_at_its_header() {
        let mut buffer = FrameBuffer::new(1_000);
        buffer.push(&[FrameKind::Item as u8, 0, 0, 0x03, 0xe9]);
        assert!(buffer.next().is_err());
        let mut buffer = FrameBuffer::new(1_000);
        buffer.push(&[FrameKind::Item as u8, 0, 0, 0x03, 0xe8]);
        assert_eq!(buffer.next(), Ok(None));
    }

    #[test]
    fn each_kind_has_a_limit_of_its_own() {
        const MESSAGE: usize = 1_000;
        for (kind, limit) in [
            (FrameKind::Header, 16 << 10),
            (FrameKind::Body, MESSAGE),
            (FrameKind::Fault, MESSAGE),
            (FrameKind::Error, 8 << 10),
            (FrameKind::Open, 0),
            (FrameKind::Item, MESSAGE),
            (FrameKind::ItemFault, MESSAGE),
            (FrameKind::End, 8),
            (FrameKind::Control, 1 << 20),
            (FrameKind::Trace, 256),
            (FrameKind::ItemError, 8 << 10),
            (FrameKind::Mux, 0),
            (FrameKind::Overflow, 8),
            (FrameKind::Taken, 8),
            (FrameKind::Skipped, MAX_SKIPPED),
            (FrameKind::Attached, 146),
            (FrameKind::Received, 8),
        ] {
            let of = |length: usize| {
                let [a, b, c, d] = (length as u32).to_be_bytes();
                read_header([kind as u8, a, b, c, d], MESSAGE)
            };
            assert_eq!(of(limit), Ok((kind, limit)));
            assert!(of(limit + 1).is_err(), "{kind:?}");
        }
    }

    #[test]
    fn unknown_kinds_are_refused() {
        let mut buffer = FrameBuffer::new(1_000);
        buffer.push(&[0, 0, 0, 0, 0]);
        assert!(buffer.next().is_err());
    }

    #[test]
    fn a_body_above_the_limit_leaves_nothing_behind() {
        let mut out = b"before".to_vec();
        let start = begin(&mut out, FrameKind::Item);
        out.extend_from_slice(&[0; 11]);
        assert_eq!(finish(&mut out, start, 10), Err(11));
        assert_eq!(out, b"before");
    }

    #[test]
    fn counts_of_operators_survive_the_wire() {
        let mut rng = fastrand::Rng::with_seed(4_713);
        for n in 0..=MAX_OPERATORS {
            let all = rng.u64(..=MAX_VARINT);
            let each: Vec<_> = (0..n).map(|_| rng.u64(..=all)).collect();
            let mut out = Vec::new();
            put_skipped(&mut out, all, &each);
            let mut back = vec![7];
            assert_eq!(read_skipped(&out[FRAME_HEADER..], &mut back), Ok(all));
            assert_eq!(back, each);
        }
        for body in [&[][..], &[0x40], &[1, 2], &[0; MAX_OPERATORS + 2]] {
            assert!(read_skipped(body, &mut Vec::new()).is_err(), "{body:?}");
        }
    }

    #[test]
    fn counts_survive_the_wire_and_nothing_follows_them() {
        for count in [0, 63, 64, 1 << 20, MAX_VARINT] {
            let mut out = Vec::new();
            put_count(&mut out, FrameKind::Taken, count);
            let body = &out[FRAME_HEADER..];
            assert_eq!(read_count(body), Ok(count));
            assert!(read_count(&body[..body.len() - 1]).is_err());
            assert!(read_count(&[body, &[0]].concat()).is_err());
        }
    }

    #[test]
    fn kinds_survive_their_byte() {
        for byte in 0..=255 {
            if let Some(kind) = FrameKind::from_byte(byte) {
                assert_eq!(kind as u8, byte);
            }
        }
    }
}
