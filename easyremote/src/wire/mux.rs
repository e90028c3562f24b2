//! Multiplexed streams (muxes): many small calls on one stream.
//!
//! The first frame of a mux is `Mux`. After it both directions carry messages:
//!
//! | bytes | field  | meaning                                                              |
//! |-------|--------|----------------------------------------------------------------------|
//! | 4     | length | of what follows, big-endian                                          |
//! | 8     | id     | of the call, chosen by its caller; never reused                      |
//! | n     | frames | as on a separate stream; none in a message that cancels the call     |
//!
//! ```text
//!   caller                          node
//!     | --- id, header, arguments --> |
//!     | <-- id, answer -------------- |   or: `Overflow` with the id and the answer, on a stream
//!
//!     | --- id, header, arguments --> |
//!     | --- id ---------------------> |   cancels the call
//!     | <-- id ---------------------- |   it has ended; or the answer, if that came first
//! ```
//!
//! An answer that is too long for a message arrives on a separate unidirectional stream, whose
//! first frame is `Overflow`, with the id. A violation of the protocol breaks the whole mux: a peer
//! that commits one is not trusted with the other calls on it either.

use std::ops::Range;

use bytes::{Buf, Bytes, BytesMut};

use crate::wire::bytes::Malformed;
use crate::wire::frame::{self, FRAME_HEADER, Frame, FrameKind};
use crate::wire::limits::{MAX_HEADER, MAX_MUX_BODY};

/// Identifies a call on its mux.
pub(crate) type MuxId = u64;

/// Length of the header in front of a message's frames.
const MUX_HEADER: usize = 12;

/// Longest frames of one message, in bytes: a header and a body.
const MAX_FRAMES: usize = 2 * FRAME_HEADER + MAX_HEADER + MAX_MUX_BODY;

/// Starts a message at the end of `out`, and returns where its frames start. What is appended until
/// [`finish`] is its frames.
#[must_use]
pub(crate) fn begin(out: &mut Vec<u8>, id: MuxId) -> usize {
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&id.to_be_bytes());
    out.len()
}

/// Finishes the message whose frames start at `start`, the value that [`begin`] returned. The
/// writer has bounded their length.
pub(crate) fn finish(out: &mut [u8], start: usize) {
    let length = out.len() - start;
    debug_assert!(length <= MAX_FRAMES, "{length} bytes are no small call");
    let length = (length + MUX_HEADER - 4) as u32;
    out[start - MUX_HEADER..start - MUX_HEADER + 4].copy_from_slice(&length.to_be_bytes());
}

/// Removes a message that was not [finished](finish).
pub(crate) fn undo(out: &mut Vec<u8>, start: usize) {
    out.truncate(start - MUX_HEADER);
}

/// Reassembles messages from pieces of any size. Holds only bytes that have arrived.
///
/// Each message is copied out of the receive buffer: it may be kept for long, and would otherwise
/// keep a whole buffer alive that no limit counts. Messages of up to [`SHORT`] bytes share
/// allocations, so that a small call usually allocates nothing.
#[derive(Debug, Default)]
pub(crate) struct MuxBuffer {
    buffered: BytesMut,
    /// Allocation for short messages.
    shorts: BytesMut,
}

/// Longest message that shares an allocation with others, in bytes.
const SHORT: usize = 1 << 10;

/// Size of a shared allocation, in bytes: the most that one short message keeps alive.
const SHORTS: usize = 8 << 10;

impl MuxBuffer {
    /// Adds bytes that follow all bytes added before.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.buffered.extend_from_slice(bytes);
    }

    /// Returns the id and the frames of the next message, or `None` if it has not arrived
    /// completely.
    ///
    /// # Errors
    /// If its length is invalid.
    pub(crate) fn next(&mut self) -> Result<Option<(MuxId, Bytes)>, Malformed> {
        let Some(header) = self.buffered.first_chunk::<MUX_HEADER>() else { return Ok(None) };
        let [a, b, c, d, id @ ..] = *header;
        let length = u32::from_be_bytes([a, b, c, d]) as usize;
        if !(MUX_HEADER - 4..=MAX_FRAMES + MUX_HEADER - 4).contains(&length) {
            let text = format!("a message of {length} bytes on a mux; the limit is {MAX_FRAMES}");
            return Err(Malformed::new(text));
        }
        if self.buffered.len() < length + 4 {
            return Ok(None);
        }
        let frames = self.copied(MUX_HEADER..length + 4);
        self.buffered.advance(length + 4);
        Ok(Some((MuxId::from_be_bytes(id), frames)))
    }

    /// Copies a part of the receive buffer.
    fn copied(&mut self, part: Range<usize>) -> Bytes {
        let part = &self.buffered[part];
        if part.len() > SHORT {
            return Bytes::copy_from_slice(part);
        }
        if self.shorts.capacity() < part.len() {
            self.shorts = BytesMut::with_capacity(SHORTS);
        }
        self.shorts.extend_from_slice(part);
        self.shorts.split().freeze()
    }
}

/// Removes and returns the first frame of `frames`.
///
/// # Errors
/// If it is missing, incomplete or too long.
pub(crate) fn take_frame(frames: &mut Bytes, max_message: usize) -> Result<Frame, Malformed> {
    let cut_short = || Malformed::new("a message ends inside a frame");
    let header = *frames.first_chunk::<FRAME_HEADER>().ok_or_else(cut_short)?;
    let (kind, length) = frame::read_header(header, max_message)?;
    if frames.len() < FRAME_HEADER + length {
        return Err(cut_short());
    }
    frames.advance(FRAME_HEADER);
    Ok(Frame { kind, body: frames.split_to(length) })
}

/// Appends the frame that begins an answer on a separate stream.
pub(crate) fn put_overflow(out: &mut Vec<u8>, id: MuxId) {
    frame::put(out, FrameKind::Overflow, &id.to_be_bytes());
}

/// Decodes the id in the body of an `Overflow` frame.
pub(crate) fn read_overflow(body: &[u8]) -> Result<MuxId, Malformed> {
    body.try_into()
        .map(MuxId::from_be_bytes)
        .map_err(|_| Malformed::new("an `Overflow` frame is not 8 bytes long"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(out: &mut Vec<u8>, id: MuxId, frames: &[u8]) {
        let start = begin(out, id);
        out.extend_from_slice(frames);
        finish(out, start);
    }

    #[test]
    fn messages_survive_any_split() {
        let mut bytes = Vec::new();
        let sent: [(MuxId, &[u8]); 3] = [(7, b"one"), (u64::MAX, b""), (0, &[1; 500])];
        for (id, frames) in sent {
            message(&mut bytes, id, frames);
            let undone = begin(&mut bytes, 9);
            bytes.extend_from_slice(b"never");
            undo(&mut bytes, undone);
        }
        for size in 1..=bytes.len() {
            let (mut buffer, mut got) = (MuxBuffer::default(), Vec::new());
            for piece in bytes.chunks(size) {
                buffer.push(piece);
                while let Some(message) = buffer.next().unwrap() {
                    got.push(message);
                }
            }
            let got: Vec<_> = got.iter().map(|(id, frames)| (*id, &frames[..])).collect();
            assert_eq!(got, sent);
        }
    }

    /// The size of the allocation that `message` is a part of.
    fn kept(message: Bytes) -> usize {
        // The only reference, so that the whole allocation is returned.
        message.try_into_mut().map_or(0, |whole| whole.capacity())
    }

    #[test]
    fn a_message_keeps_little_of_what_came_with_it() {
        let long = vec![1; MAX_MUX_BODY];
        for length in [1, 100, SHORT, SHORT + 1, 3_000, MAX_MUX_BODY] {
            let (mut buffer, mut kept_in_all, mut all) = (MuxBuffer::default(), Vec::new(), 0);
            for id in 0..900 {
                let mut bytes = Vec::new();
                message(&mut bytes, id, &vec![2; length]);
                for _ in 0..3 {
                    message(&mut bytes, id, &long);
                }
                buffer.push(&bytes);
                while let Some((_, frames)) = buffer.next().unwrap() {
                    if frames.len() == length && frames[0] == 2 {
                        kept_in_all.push(frames);
                        all += length;
                    }
                }
            }
            assert_eq!(kept_in_all.len(), 900);
            drop(buffer);
            let kept: usize = kept_in_all.into_iter().map(kept).sum();
            assert!(kept <= all + 2 * SHORTS, "{length}: {kept} of {all}");
        }
    }

    #[test]
    fn a_length_beyond_its_limits_is_refused_at_its_header() {
        let limit = (MAX_FRAMES + MUX_HEADER - 4) as u32;
        for (length, fine) in [(0, false), (7, false), (8, true), (limit, true), (limit + 1, false)]
        {
            let mut buffer = MuxBuffer::default();
            buffer.push(&u32::to_be_bytes(length));
            buffer.push(&[0; 8]);
            assert_eq!(buffer.next().is_ok(), fine, "{length}");
        }
    }

    #[test]
    fn frames_are_taken_whole_or_not_at_all() {
        let mut out = Vec::new();
        frame::put(&mut out, FrameKind::Body, b"result");
        put_overflow(&mut out, 4_711);
        let mut frames = Bytes::from(out.clone());
        assert_eq!(take_frame(&mut frames, 100).unwrap().body, "result");
        let moved = take_frame(&mut frames, 100).unwrap();
        assert_eq!((moved.kind, read_overflow(&moved.body)), (FrameKind::Overflow, Ok(4_711)));
        assert!(take_frame(&mut frames, 100).is_err(), "nothing is left");
        for cut in 0..out.len() - 1 {
            let mut frames = Bytes::copy_from_slice(&out[..cut]);
            let both = take_frame(&mut frames, 100).and_then(|_| take_frame(&mut frames, 100));
            assert!(both.is_err(), "{cut}");
        }
        assert!(take_frame(&mut Bytes::from(out), 5).is_err(), "above the limit");
    }
}
