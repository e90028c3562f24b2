//! Parses the frames that a relay forwards, without holding their bytes.

use crate::call::executed::{Evidence, node_may_refuse};
use crate::error::{Error, ErrorKind, Executed};
use crate::wire::bytes::Malformed;
use crate::wire::error::read_error_head;
use crate::wire::frame::{FRAME_HEADER, FrameKind, MAX_COUNT, read_header, skipped_in_all};
use crate::wire::kind::Kind;

/// Follows the frames of a stream without holding any of their bytes.
///
/// A relay uses it to know whether it is between two frames, and what it has forwarded.
#[derive(Debug)]
pub(crate) struct FrameScanner {
    direction: Direction,
    header: [u8; FRAME_HEADER],
    filled: usize,
    kind: Option<FrameKind>,
    rest: usize,
    items: u64,
    /// Encoded bytes of the items that have begun.
    item_bytes: u64,
    /// See [`skipped`](FrameScanner::skipped).
    skipped: u64,
    /// What a `Skipped` frame has said that does not count.
    skipped_before: Option<u64>,
    /// The beginning of the body of a `Skipped` frame.
    count: [u8; MAX_COUNT],
    /// Whether `Taken` frames may follow the arguments.
    demand: bool,
    /// Whether a `Body` frame has begun.
    body: bool,
    /// Whether the last frame that is not `Taken` has begun.
    last: bool,
    /// Whether an `Attached` frame has begun.
    attached: bool,
    /// Whether a frame has begun that only a started function can cause.
    answered: bool,
    /// Whether a frame other than `Error`, `Attached`, `Received` and `Trace` has begun.
    begun: bool,
    /// The kind of the error in an `Error` frame, once it has been read.
    error: Option<ErrorKind>,
    /// See [`failure`](FrameScanner::failure).
    failure: Option<Box<ErrorHead>>,
    /// See [`false_no`](FrameScanner::false_no).
    false_no: Option<(usize, u8)>,
    /// The length of the current frame.
    length: usize,
    max_message: usize,
}

/// The direction of a stream, which decides which frame is its last one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Direction {
    /// Arguments only.
    Arguments,
    /// Arguments, then a client stream.
    Upload,
    Answer,
}

impl FrameScanner {
    /// Creates a scanner of what a caller sends after the header of a call of this kind; with
    /// `demand` also what its reader has taken.
    pub(crate) fn request(kind: Kind, demand: bool, max_message: usize) -> Self {
        let takes_stream = kind.takes_stream();
        let direction = if takes_stream { Direction::Upload } else { Direction::Arguments };
        Self { demand, ..Self::new(direction, max_message) }
    }

    /// Creates a scanner of a node's answer.
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
            item_bytes: 0,
            skipped: 0,
            skipped_before: None,
            count: [0; MAX_COUNT],
            demand: false,
            body: false,
            last: false,
            attached: false,
            answered: false,
            begun: false,
            error: None,
            failure: None,
            false_no: None,
            length: 0,
            max_message,
        }
    }

    /// Returns whether a frame of `kind` is the last one of the direction, `Taken` frames aside.
    fn ends_with(&self, kind: FrameKind) -> bool {
        match self.direction {
            Direction::Arguments => kind == FrameKind::Body,
            Direction::Upload => kind == FrameKind::End,
            Direction::Answer => matches!(
                kind,
                FrameKind::Body
                    | FrameKind::Fault
                    | FrameKind::Error
                    | FrameKind::End
                    | FrameKind::Accepted
                    | FrameKind::JobReport
            ),
        }
    }

    /// Checks that a frame of `kind` may follow what has been scanned.
    ///
    /// # Errors
    /// If it belongs to the other direction, or nothing may follow.
    fn check(&self, kind: FrameKind) -> Result<(), Malformed> {
        let answer = self.direction == Direction::Answer;
        let fits = match kind {
            FrameKind::Taken => self.demand && self.body,
            FrameKind::Skipped => answer && (self.begun || self.attached) && !self.last,
            FrameKind::Attached => answer && self.kind.is_none(),
            FrameKind::Received => answer && self.attached && !self.last,
            _ => !self.last,
        };
        match fits {
            true => Ok(()),
            false => Err(Malformed::new(format!("unexpected {kind:?} frame"))),
        }
    }

    /// Scans the next `bytes` of the stream.
    ///
    /// # Errors
    /// If the bytes are not frames.
    pub(crate) fn pass(&mut self, mut bytes: &[u8]) -> Result<(), Malformed> {
        let all = bytes.len();
        while !bytes.is_empty() {
            if self.rest > 0 {
                let n = self.rest.min(bytes.len());
                match self.kind {
                    Some(FrameKind::Error) => self.pass_error(&bytes[..n], all - bytes.len()),
                    Some(FrameKind::Skipped) => self.pass_skipped(&bytes[..n]),
                    _ => {}
                }
                self.rest -= n;
                bytes = &bytes[n..];
                continue;
            }
            if self.last && !self.demand && self.filled == 0 {
                return Err(Malformed::new("bytes after the last frame"));
            }
            match bytes.split_first_chunk::<FRAME_HEADER>() {
                // A header in one piece, as most are.
                Some((header, rest)) if self.filled == 0 => {
                    bytes = rest;
                    self.begin_frame(*header)?;
                }
                _ => {
                    let n = (FRAME_HEADER - self.filled).min(bytes.len());
                    self.header[self.filled..self.filled + n].copy_from_slice(&bytes[..n]);
                    self.filled += n;
                    bytes = &bytes[n..];
                    if self.filled == FRAME_HEADER {
                        self.filled = 0;
                        self.begin_frame(self.header)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Notes that a frame begins.
    ///
    /// # Errors
    /// If the header is none, or the frame may not follow what has been scanned.
    fn begin_frame(&mut self, header: [u8; FRAME_HEADER]) -> Result<(), Malformed> {
        let (kind, length) = read_header(header, self.max_message)?;
        (self.length, self.rest) = (length, length);
        if kind.is_item() {
            self.items += 1;
            self.item_bytes += length as u64;
            if self.kind == Some(kind) {
                // It may follow its like, and changes nothing else.
                return Ok(());
            }
        }
        self.check(kind)?;
        self.kind = Some(kind);
        self.last |= self.ends_with(kind);
        self.body |= kind == FrameKind::Body;
        self.answered |= shows_execution(kind);
        self.attached |= kind == FrameKind::Attached;
        self.begun |= !is_beside_the_answer(kind);
        Ok(())
    }

    /// Scans a piece of the body of a `Skipped` frame. Whether all of it is well-formed is the reader's
    /// concern.
    fn pass_skipped(&mut self, piece: &[u8]) {
        let passed = self.length - self.rest;
        for (place, byte) in self.count.iter_mut().skip(passed).zip(piece) {
            *place = *byte;
        }
        if self.rest > piece.len() {
            return;
        }
        if let Some(count) = skipped_in_all(&self.count[..self.length.min(MAX_COUNT)]) {
            // A stream that goes on counts from its beginning, which an earlier connection has seen.
            let before = if self.attached { count } else { 0 };
            let before = *self.skipped_before.get_or_insert(before);
            self.skipped = self.skipped.max(count.saturating_sub(before));
        }
    }

    /// Scans a piece of the body of an `Error` frame, which is at offset `at` of the scanned bytes.
    fn pass_error(&mut self, piece: &[u8], at: usize) {
        let passed = self.length - self.rest;
        for (i, &byte) in piece.iter().enumerate().take(2_usize.saturating_sub(passed)) {
            if passed + i == 0 {
                // The code of an error kind is below 64, so that its varint is one byte.
                let kind = ErrorKind::from_code(u64::from(byte));
                self.error = Some(kind.unwrap_or(ErrorKind::Protocol));
            } else if let Some(kind) = self.error
                && self.direction == Direction::Answer
                && Executed::from_code(byte) == Executed::No
                && (self.begun || !node_may_refuse(kind))
            {
                let evidence = Evidence::Sent.or_answered(self.begun);
                self.false_no = Some((at + i, evidence.executed().code()));
            }
        }
        if self.direction == Direction::Answer {
            self.failure.get_or_insert_default().push(piece);
            if let (Some(head), Some((_, code))) = (&mut self.failure, self.false_no) {
                head.correct(code);
            }
        }
    }

    /// Takes the correction of an error that falsely claims that its function has not started: an
    /// offset in the bytes that were scanned last, and the byte to put there. See `call::executed`.
    pub(crate) fn false_no(&mut self) -> Option<(usize, u8)> {
        self.false_no.take()
    }

    /// Returns whether a frame has begun that only a started function can cause.
    pub(crate) fn shows_execution(&self) -> bool {
        self.answered
    }

    /// Returns whether the answer is that of a node which has the resumable stream.
    pub(crate) fn is_attached(&self) -> bool {
        self.attached
    }

    /// Returns the length of the body of the frame that has begun last.
    pub(crate) fn last_length(&self) -> usize {
        self.length
    }

    /// Returns the kind of the frame that has begun last.
    pub(crate) fn last_frame(&self) -> Option<FrameKind> {
        self.kind
    }

    /// Returns the kind of the error in an `Error` frame, once it has been read.
    pub(crate) fn error(&self) -> Option<ErrorKind> {
        self.error
    }

    /// Returns the error in an `Error` frame of an answer, with the beginning of its text.
    pub(crate) fn failure(&self) -> Option<Error> {
        read_error_head(self.failure.as_ref()?.bytes()).ok()
    }

    /// Returns whether the scanned bytes end with a complete frame.
    pub(crate) fn is_between_frames(&self) -> bool {
        self.rest == 0 && self.filled == 0
    }

    /// Returns whether more bytes must follow: the rest of a frame, or of the arguments of a call.
    pub(crate) fn expects_more(&self) -> bool {
        !self.is_between_frames() || (self.direction != Direction::Answer && !self.body)
    }

    /// Returns whether the last frame of the direction is complete.
    pub(crate) fn is_complete(&self) -> bool {
        self.is_between_frames() && self.last
    }

    /// Returns whether the arguments are complete, so that the function may have started.
    pub(crate) fn has_arguments(&self) -> bool {
        self.body && (self.kind != Some(FrameKind::Body) || self.rest == 0)
    }

    /// Returns the number of items that have begun.
    pub(crate) fn items(&self) -> u64 {
        self.items
    }

    /// Returns the encoded bytes of these items.
    pub(crate) fn item_bytes(&self) -> u64 {
        self.item_bytes
    }

    /// Returns the number of items that operators have left out, as the node has said. Of a stream
    /// that goes on after an interruption, those since the first word of it.
    pub(crate) fn skipped(&self) -> u64 {
        self.skipped
    }
}

/// The beginning of the body of an `Error` frame.
#[derive(Debug)]
struct ErrorHead {
    bytes: [u8; MAX_HEAD],
    n: usize,
}

/// Longest [`ErrorHead`]: the text of most errors, behind the name of a node.
const MAX_HEAD: usize = 1 << 10;

impl Default for ErrorHead {
    fn default() -> Self {
        Self { bytes: [0; MAX_HEAD], n: 0 }
    }
}

impl ErrorHead {
    fn push(&mut self, piece: &[u8]) {
        let n = piece.len().min(MAX_HEAD - self.n);
        self.bytes[self.n..self.n + n].copy_from_slice(&piece[..n]);
        self.n += n;
    }

    /// Replaces what the node says of the execution, which follows the kind.
    fn correct(&mut self, executed: u8) {
        self.bytes[1] = executed;
    }

    fn bytes(&self) -> &[u8] {
        &self.bytes[..self.n]
    }
}

/// Returns whether only a function that has started causes a frame of this kind.
fn shows_execution(kind: FrameKind) -> bool {
    // A job that is accepted may still wait, or be cancelled before its function starts. So may a
    // call whose client stream has begun to arrive.
    use FrameKind::{Accepted, Attached, Error, JobReport, Received};
    !matches!(kind, Error | Accepted | JobReport | Attached | Received)
}

/// Returns whether a node sends a frame of this kind whether or not the function has started.
fn is_beside_the_answer(kind: FrameKind) -> bool {
    use FrameKind::{Attached, Error, Received, Trace};
    matches!(kind, Error | Trace | Attached | Received)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::frame::{put, put_count, put_end, put_skipped};

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
    fn what_was_left_out_is_read_through_any_split() {
        let mut bytes = Vec::new();
        put(&mut bytes, FrameKind::Open, b"");
        for (operators, count) in [(0, 1), (1, 7), (2, 70_000), (16, u64::MAX >> 2)] {
            put_skipped(&mut bytes, count, &[1, 70_000].repeat(8)[..operators]);
            put(&mut bytes, FrameKind::Item, b"one");
        }
        // Not a number, and less than before: not counted.
        put(&mut bytes, FrameKind::Skipped, b"");
        put(&mut bytes, FrameKind::Skipped, &[0xff; 3]);
        put_skipped(&mut bytes, 3, &[]);
        put_end(&mut bytes, 4);
        for size in 1..=bytes.len() {
            let mut scanner = FrameScanner::answer(1_000);
            bytes.chunks(size).for_each(|piece| scanner.pass(piece).unwrap());
            assert_eq!((scanner.items(), scanner.skipped()), (4, u64::MAX >> 2), "{size}");
        }
    }

    #[test]
    fn a_stream_that_goes_on_counts_what_is_left_out_from_there() {
        let mut bytes = Vec::new();
        put(&mut bytes, FrameKind::Attached, b"");
        for count in [100, 101, 105] {
            put_skipped(&mut bytes, count, &[count]);
            put(&mut bytes, FrameKind::Item, b"one");
        }
        let mut scanner = FrameScanner::answer(1_000);
        scanner.pass(&bytes).unwrap();
        assert_eq!(scanner.skipped(), 5);
    }

    #[test]
    fn an_error_shows_no_execution() {
        let mut bytes = Vec::new();
        put(&mut bytes, FrameKind::Error, b"refused");
        let mut scanner = FrameScanner::answer(1_000);
        scanner.pass(&bytes).unwrap();
        assert!(scanner.is_complete() && !scanner.shows_execution());
    }

    /// An answer, with every false `No` of it put right.
    fn put_right(answer: &[u8], size: usize) -> Vec<u8> {
        let (mut scanner, mut out) = (FrameScanner::answer(1_000), Vec::new());
        for piece in answer.chunks(size) {
            let mut piece = piece.to_vec();
            scanner.pass(&piece).unwrap();
            if let Some((at, code)) = scanner.false_no() {
                piece[at] = code;
            }
            out.extend(piece);
        }
        out
    }

    #[test]
    fn a_node_denies_what_it_knows_and_nothing_else() {
        let mut open = Vec::new();
        put(&mut open, FrameKind::Open, b"");
        let mut item = open.clone();
        put(&mut item, FrameKind::Item, b"one");
        let mut trace = Vec::new();
        put(&mut trace, FrameKind::Trace, b"times");
        for kind in ErrorKind::ALL {
            for said in [Executed::No, Executed::Maybe, Executed::Yes] {
                for (before, began) in
                    [(&[][..], false), (&trace, false), (&open, true), (&item, true)]
                {
                    let error = |executed: Executed| {
                        let mut frames = before.to_vec();
                        put(
                            &mut frames,
                            FrameKind::Error,
                            &[kind.code() as u8, executed.code(), 7],
                        );
                        frames
                    };
                    let right = match (said, began) {
                        (Executed::No, true) => Executed::Yes,
                        (Executed::No, false) if !node_may_refuse(*kind) => Executed::Maybe,
                        _ => said,
                    };
                    let answer = error(said);
                    for size in 1..=answer.len() {
                        assert_eq!(put_right(&answer, size), error(right), "{kind:?} {said:?}");
                    }
                }
            }
        }
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
        let mut scanner = FrameScanner::request(Kind::Upload, false, 1_000);
        for (i, byte) in bytes.iter().enumerate() {
            assert_eq!(scanner.has_arguments(), i >= arguments, "{i}");
            assert!(!scanner.is_complete(), "{i}");
            scanner.pass(&[*byte]).unwrap();
        }
        assert!(scanner.has_arguments() && scanner.is_complete());
        assert!(FrameScanner::request(Kind::Unary, false, 1_000).pass(&bytes).is_err());
    }

    /// What a scanner makes of frames of these kinds, each with an empty or a one-byte body.
    fn passes(mut scanner: FrameScanner, kinds: &[FrameKind]) -> bool {
        let mut bytes = Vec::new();
        for &kind in kinds {
            match kind {
                FrameKind::Taken | FrameKind::Skipped | FrameKind::Received => {
                    put_count(&mut bytes, kind, 1);
                }
                FrameKind::End => put_end(&mut bytes, 1),
                kind => put(&mut bytes, kind, b""),
            }
        }
        // One byte at a time: no rule may depend on how frames arrive.
        bytes.iter().all(|byte| scanner.pass(&[*byte]).is_ok()) && !scanner.expects_more()
    }

    #[test]
    fn what_was_taken_passes_behind_the_arguments_if_it_was_announced() {
        use FrameKind::{Body, End, Item, Open, Skipped, Taken};
        for (kind, demand, kinds, fits) in [
            (Kind::Stream, true, &[Body][..], true),
            (Kind::Stream, true, &[Body, Taken, Taken], true),
            (Kind::Stream, false, &[Body, Taken], false),
            (Kind::Stream, true, &[Taken, Body], false),
            (Kind::Stream, true, &[Body, Taken, Body], false),
            (Kind::Stream, true, &[Body, Item], false),
            (Kind::Stream, true, &[Body, Skipped], false),
            (Kind::Duplex, true, &[Body, Taken, Item, Taken, End, Taken], true),
            (Kind::Duplex, true, &[Body, End, Item], false),
            (Kind::Duplex, true, &[Body, End, Taken, End], false),
            (Kind::Duplex, false, &[Body, Item, Taken], false),
        ] {
            let scanner = FrameScanner::request(kind, demand, 1_000);
            assert_eq!(passes(scanner, kinds), fits, "{kind} {demand} {kinds:?}");
        }
        for (kinds, fits) in [
            (&[Open, Skipped, Item, Skipped, End][..], true),
            (&[Skipped, Open], false),
            (&[Open, Taken], false),
            (&[Open, End, Skipped], false),
        ] {
            assert_eq!(passes(FrameScanner::answer(1_000), kinds), fits, "{kinds:?}");
        }
    }

    #[test]
    fn what_has_arrived_passes_in_front_of_the_answer_and_shows_no_execution() {
        use FrameKind::{Attached, Body, Error, Received, Trace};
        for (kinds, fits) in [
            (&[Attached, Received, Received, Body][..], true),
            (&[Attached, Received, Trace, Received, Body], true),
            (&[Attached, Received, Error], true),
            (&[Received, Body], false),
            (&[Attached, Body, Received], false),
        ] {
            assert_eq!(passes(FrameScanner::answer(1_000), kinds), fits, "{kinds:?}");
        }
        assert!(!passes(FrameScanner::request(Kind::Upload, false, 1_000), &[Body, Received]));
        let mut bytes = Vec::new();
        put(&mut bytes, Attached, b"");
        put_count(&mut bytes, Received, 7);
        let mut scanner = FrameScanner::answer(1_000);
        scanner.pass(&bytes).unwrap();
        assert!(!scanner.shows_execution());
    }
}
