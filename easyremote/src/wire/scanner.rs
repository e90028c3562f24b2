//! Following frames that pass by.

use crate::error::ErrorKind;
use crate::wire::bytes::Malformed;
use crate::wire::frame::{FRAME_HEADER, FrameKind, read_header};
use crate::wire::kind::Kind;

/// Follows frames that pass by, without holding any of their bytes.
///
/// A relay uses it to know whether it stands between two frames, and what has passed.
#[derive(Debug)]
pub(crate) struct FrameScanner {
    direction: Direction,
    header: [u8; FRAME_HEADER],
    filled: usize,
    kind: Option<FrameKind>,
    rest: usize,
    items: u64,
    /// A `Body` frame has begun to pass.
    body: bool,
    /// Another frame than an `Error` has begun to pass.
    answered: bool,
    /// The kind of the error that an `Error` frame carries, if that has begun to pass.
    error: Option<ErrorKind>,
    max_message: usize,
}

/// Which frame is the last one depends on where it goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Direction {
    /// Arguments, and nothing else.
    Arguments,
    /// Arguments, and then the caller's stream.
    Upload,
    Answer,
}

impl FrameScanner {
    /// Follows what a caller sends after the header of a call of this kind.
    pub(crate) fn request(kind: Kind, max_message: usize) -> Self {
        let takes_stream = kind.takes_stream();
        let direction = if takes_stream { Direction::Upload } else { Direction::Arguments };
        Self::new(direction, max_message)
    }

    /// Follows what a node answers.
    pub(crate) fn answer(max_message: usize) -> Self {
        Self::new(Direction::Answer, max_message)
    }

    fn new(direction: Direction, max_message: usize) -> Self {
        Self {
            direction,
            header: [0; FRAME_HEADER],
            filled: 0,
            kind: None,
            rest: 0,
            items: 0,
            body: false,
            answered: false,
            error: None,
            max_message,
        }
    }

    /// Whether a frame after which nothing follows has begun to pass.
    fn is_last(&self) -> bool {
        match (self.direction, self.kind) {
            (_, None) => false,
            (Direction::Arguments, Some(kind)) => kind == FrameKind::Body,
            (Direction::Upload, Some(kind)) => kind == FrameKind::End,
            (Direction::Answer, Some(kind)) => matches!(
                kind,
                FrameKind::Body | FrameKind::Fault | FrameKind::Error | FrameKind::End
            ),
        }
    }

    /// Notes that `bytes` pass by.
    ///
    /// # Errors
    /// What passes is not made of frames.
    pub(crate) fn pass(&mut self, mut bytes: &[u8]) -> Result<(), Malformed> {
        while !bytes.is_empty() {
            if self.rest > 0 {
                let n = self.rest.min(bytes.len());
                if self.kind == Some(FrameKind::Error) && self.error.is_none() {
                    // A kind of an error is a number below 128, so that its varint is one byte.
                    let kind = ErrorKind::from_code(u64::from(bytes[0]));
                    self.error = Some(kind.unwrap_or(ErrorKind::Protocol));
                }
                self.rest -= n;
                bytes = &bytes[n..];
                continue;
            }
            if self.is_last() && self.filled == 0 {
                return Err(Malformed::new("bytes after the last frame"));
            }
            let n = (FRAME_HEADER - self.filled).min(bytes.len());
            self.header[self.filled..self.filled + n].copy_from_slice(&bytes[..n]);
            self.filled += n;
            bytes = &bytes[n..];
            if self.filled == FRAME_HEADER {
                self.filled = 0;
                let (kind, length) = read_header(self.header, self.max_message)?;
                self.kind = Some(kind);
                self.rest = length;
                self.body |= kind == FrameKind::Body;
                self.answered |= kind != FrameKind::Error;
                if matches!(kind, FrameKind::Item | FrameKind::ItemFault | FrameKind::ItemError) {
                    self.items += 1;
                }
            }
        }
        Ok(())
    }

    /// Whether a frame has begun to pass that only a function that has started can have caused.
    pub(crate) fn shows_execution(&self) -> bool {
        self.answered
    }

    /// The frame that has begun to pass last.
    pub(crate) fn last_frame(&self) -> Option<FrameKind> {
        self.kind
    }

    /// The kind of the error that an `Error` frame carries, if that has begun to pass.
    pub(crate) fn error(&self) -> Option<ErrorKind> {
        self.error
    }

    /// Whether all that has passed are complete frames.
    pub(crate) fn is_between_frames(&self) -> bool {
        self.rest == 0 && self.filled == 0
    }

    /// Whether something is under way of which the rest is to come: a frame, or the arguments of a
    /// call.
    pub(crate) fn expects_more(&self) -> bool {
        !self.is_between_frames() || (self.direction != Direction::Answer && !self.body)
    }

    /// Whether a frame after which nothing follows has passed whole.
    pub(crate) fn is_complete(&self) -> bool {
        self.is_between_frames() && self.is_last()
    }

    /// Whether the arguments have passed whole, so that a function may have started.
    pub(crate) fn has_arguments(&self) -> bool {
        self.body && (self.kind != Some(FrameKind::Body) || self.rest == 0)
    }

    /// The number of items that have begun to pass.
    pub(crate) fn items(&self) -> u64 {
        self.items
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::frame::{put, put_end};

    fn sample() -> Vec<u8> {
        let mut out = Vec::new();
        put(&mut out, FrameKind::Open, b"");
        put(&mut out, FrameKind::Item, b"one");
        put(&mut out, FrameKind::ItemFault, b"");
        put(&mut out, FrameKind::ItemError, b"text");
        put_end(&mut out, 3);
        out
    }

    #[test]
    fn frames_are_followed_through_any_split() {
        let bytes = sample();
        for size in 1..=bytes.len() {
            let mut scanner = FrameScanner::answer(1_000);
            for piece in bytes.chunks(size) {
                assert!(!scanner.is_complete());
                scanner.pass(piece).unwrap();
            }
            assert!(scanner.is_complete() && scanner.shows_execution());
            assert_eq!(scanner.items(), 3);
        }
    }

    #[test]
    fn an_error_shows_no_execution() {
        let mut bytes = Vec::new();
        put(&mut bytes, FrameKind::Error, b"refused");
        let mut scanner = FrameScanner::answer(1_000);
        scanner.pass(&bytes).unwrap();
        assert!(scanner.is_complete() && !scanner.shows_execution());
    }

    #[test]
    fn a_length_above_the_limit_is_refused_at_its_header() {
        let mut scanner = FrameScanner::answer(1_000);
        assert!(scanner.pass(&[FrameKind::Item as u8, 0, 0, 0x03, 0xe9]).is_err());
    }

    #[test]
    fn nothing_may_follow_the_last_frame() {
        let mut bytes = sample();
        bytes.push(FrameKind::Item as u8);
        assert!(FrameScanner::answer(1_000).pass(&bytes).is_err());
    }

    #[test]
    fn a_request_has_its_arguments_once_they_have_passed_whole() {
        let mut bytes = Vec::new();
        put(&mut bytes, FrameKind::Body, b"arguments");
        let arguments = bytes.len();
        put(&mut bytes, FrameKind::Item, b"item");
        put_end(&mut bytes, 1);
        let mut scanner = FrameScanner::request(Kind::Upload, 1_000);
        for (i, byte) in bytes.iter().enumerate() {
            assert_eq!(scanner.has_arguments(), i >= arguments, "{i}");
            assert!(!scanner.is_complete(), "{i}");
            scanner.pass(&[*byte]).unwrap();
        }
        assert!(scanner.has_arguments() && scanner.is_complete());
        assert!(FrameScanner::request(Kind::Unary, 1_000).pass(&bytes).is_err());
    }
}
