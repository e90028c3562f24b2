//! What a caller says of a resumable stream, or of a call with a resumable client stream, and what
//! its node answers.

use std::fmt;

use subtle::ConstantTimeEq;

use crate::wire::bytes::{MAX_VARINT, Malformed, Reader, WriteBytes};
use crate::wire::frame::{self, FrameKind};
use crate::wire::limits::MAX_NAME;

/// The request of a resumable stream: the option `resume` of its call header.
///
/// | bytes  | field  | meaning                                                    |
/// |--------|--------|------------------------------------------------------------|
/// | 16     | secret | [`ResumeSecret`], the same in all attempts                 |
/// | 1      | step   | [`ResumeStep`]; plus 2 for a stream with a replay ring     |
/// | varint | taken  | the number of items that the reader has taken              |
/// | varint | done   | the number of the function's items that made these         |
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ResumeRequest {
    pub(crate) secret: ResumeSecret,
    pub(crate) step: ResumeStep,
    /// Whether the node keeps the last items although they were taken, because the caller passes them
    /// on to a reader that may lose them. A reader that is away does not pause the function then.
    pub(crate) ring: bool,
    /// The stream goes on behind this many items.
    pub(crate) taken: u64,
    /// The value of the function's `#[resume]` parameter; 0 in a call that continues.
    pub(crate) done: u64,
}

/// What the node does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ResumeStep {
    /// It starts the function. If the reader has taken items before, of a node that is lost, the
    /// function has a `#[resume]` parameter, and the arguments are sent again.
    Start = 0,
    /// It goes on with the stream of this call that it keeps. No arguments follow.
    Continue = 1,
}

/// The bit beside the step of a stream with a replay ring.
const RING: u8 = 2;

/// Authorises its caller to resume a stream. Random, and known to the caller and the parties that
/// carry its call.
#[derive(Clone)]
pub(crate) struct ResumeSecret(pub(crate) [u8; 16]);

/// Compares in constant time: the duration does not reveal where two secrets differ.
impl PartialEq for ResumeSecret {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for ResumeSecret {}

impl fmt::Debug for ResumeSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ResumeSecret(..)")
    }
}

impl ResumeRequest {
    /// Encodes the value of the option.
    pub(crate) fn encoded(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(16 + 1 + 2 * 8);
        out.extend_from_slice(&self.secret.0);
        out.push(self.step as u8 | if self.ring { RING } else { 0 });
        out.put_varint(self.taken);
        out.put_varint(self.done);
        out
    }

    /// Decodes the value of the option.
    ///
    /// # Errors
    /// If it is malformed.
    pub(crate) fn read(value: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(value);
        let secret = ResumeSecret(reader.array("resume")?);
        let code = reader.u8("resume")?;
        let ring = code & RING != 0;
        let step = match code & !RING {
            0 => ResumeStep::Start,
            1 => ResumeStep::Continue,
            _ => return Err(Malformed::new("`resume` asks for an unknown step")),
        };
        let taken = reader.varint("resume")?;
        let done = reader.varint("resume")?;
        if ring && step == ResumeStep::Start && (taken, done) != (0, 0) {
            return Err(Malformed::new("`resume` starts a replay ring behind items"));
        }
        match reader.is_empty() {
            true => Ok(Self { secret, step, ring, taken, done }),
            false => Err(Malformed::new("bytes after `resume`")),
        }
    }

    /// Returns whether the call continues a stream.
    pub(crate) fn continues(&self) -> bool {
        self.step == ResumeStep::Continue
    }
}

/// The body of an `Attached` frame: the node that has a resumable stream, and what it asks of the
/// reader.
///
/// | bytes  | field    | meaning                                                               |
/// |--------|----------|-----------------------------------------------------------------------|
/// | varint | every    | bytes of items; the reader says what it has taken at least this often |
/// | varint | received | the number of items of the client stream that the node has, or        |
/// |        |          | [`NO_MORE`]; the caller goes on behind them                           |
/// | string | node     | the id of the node                                                    |
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Attachment {
    pub(crate) every: u64,
    pub(crate) received: u64,
    pub(crate) node: String,
}

/// Stands in place of the number of received items once the function has dropped its client stream.
pub(crate) const NO_MORE: u64 = MAX_VARINT;

/// Longest body of an `Attached` frame, in bytes.
pub(crate) const MAX_ATTACHED: usize = 8 + 8 + 2 + MAX_NAME;

impl Attachment {
    /// Appends the frame.
    pub(crate) fn put(out: &mut Vec<u8>, every: u64, received: u64, node: &str) {
        let start = frame::begin(out, FrameKind::Attached);
        out.put_varint(every);
        out.put_varint(received);
        out.put_str(node, MAX_NAME);
        // The limit is made of those of both fields.
        let fits = frame::finish(out, start, MAX_ATTACHED);
        debug_assert!(fits.is_ok(), "a node's id fits");
    }

    /// Decodes the body.
    ///
    /// # Errors
    /// If it is malformed.
    pub(crate) fn read(body: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(body);
        let every = reader.varint("every")?;
        let received = reader.varint("received")?;
        let node = reader.str(MAX_NAME, "node")?.to_owned();
        match reader.is_empty() {
            true => Ok(Self { every, received, node }),
            false => Err(Malformed::new("bytes after the node of an `Attached` frame")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::frame::FRAME_HEADER;

    #[test]
    fn requests_survive_the_wire_and_every_cut_is_an_error() {
        use ResumeStep::{Continue, Start};
        let taken = 1 << 40;
        for (step, ring, taken) in [
            (Start, false, taken),
            (Start, true, 0),
            (Continue, false, taken),
            (Continue, true, taken),
        ] {
            let secret = ResumeSecret([7; 16]);
            let request = ResumeRequest { secret, step, ring, taken, done: 2 * taken };
            let value = request.encoded();
            assert_eq!(ResumeRequest::read(&value), Ok(request));
            for end in 0..value.len() {
                assert!(ResumeRequest::read(&value[..end]).is_err(), "{end}");
            }
            assert!(ResumeRequest::read(&[&value[..], &[0]].concat()).is_err());
        }
        let mut value = [0; 19];
        for (code, is_known) in [(2, true), (3, true), (4, false), (6, false), (0x83, false)] {
            value[16] = code;
            assert_eq!(ResumeRequest::read(&value).is_ok(), is_known, "{code}");
        }
        // A ring has its items from the first on.
        for (taken, done) in [(1, 0), (0, 1)] {
            let secret = ResumeSecret([7; 16]);
            let request = ResumeRequest { secret, step: Start, ring: true, taken, done };
            assert!(ResumeRequest::read(&request.encoded()).is_err());
        }
    }

    #[test]
    fn secrets_are_compared_whole_and_never_shown() {
        let secret = ResumeSecret([7; 16]);
        for i in 0..16 {
            let mut other = [7; 16];
            other[i] ^= 1;
            assert_ne!(secret, ResumeSecret(other));
        }
        assert_eq!(format!("{secret:?}"), "ResumeSecret(..)");
    }

    #[test]
    fn attachments_survive_the_wire() {
        let (every, received, node) = (1 << 18, NO_MORE, "n".repeat(MAX_NAME));
        let mut out = Vec::new();
        Attachment::put(&mut out, every, received, &node);
        let read = Attachment::read(&out[FRAME_HEADER..]);
        assert_eq!(read, Ok(Attachment { every, received, node }));
        for body in [&[][..], &[7], &[7, 0], &[7, 0, 1], &[7, 0, 1, 0xff], &[7, 0, 1, b'n', 0]] {
            assert!(Attachment::read(body).is_err(), "{body:?}");
        }
    }
}
