//! Parses how many items the reader of a stream has taken.

use std::sync::Arc;

use bytes::Bytes;

use crate::call::demand::Demand;
use crate::wire::bytes::Malformed;
use crate::wire::frame::{FRAME_HEADER, FrameKind, read_count, read_header};

/// Takes the `Taken` frames out of what a caller sends after its arguments.
///
/// | a total that | is |
/// |---|---|
/// | exceeds the one before | noted |
/// | equals the one before | ignored |
/// | is below the one before, or exceeds what was sent | an error, which ends the call |
///
/// Holds at most one `Taken` frame, of 13 bytes.
#[derive(Debug)]
pub(super) struct TakenParser {
    pub(super) demand: Arc<Demand>,
    /// Whether other frames may stand between them.
    pub(super) takes_stream: bool,
    /// The beginning of a frame: its header, and the body if it is a `Taken` frame.
    head: Vec<u8>,
    /// Bytes that are left of another frame.
    rest: usize,
    /// The last total.
    before: u64,
    max_message: usize,
}

impl TakenParser {
    pub(super) fn new(demand: Arc<Demand>, max_message: usize) -> Self {
        Self::behind(0, demand, max_message)
    }

    /// Creates the parser of a leg that begins behind `taken` items. The reader of an earlier leg may
    /// have taken more, and lost them.
    pub(super) fn behind(taken: u64, demand: Arc<Demand>, max_message: usize) -> Self {
        let (takes_stream, head, rest, before) = (false, Vec::new(), 0, taken);
        Self { demand, takes_stream, head, rest, before, max_message }
    }

    /// Reads the next bytes, and returns those that belong to no `Taken` frame. `sent` items have
    /// been sent so far.
    ///
    /// # Errors
    /// If the bytes are not frames, or a total is wrong.
    pub(super) fn split(&mut self, chunks: Vec<Bytes>, sent: u64) -> Result<Vec<Bytes>, Malformed> {
        let mut others = Vec::new();
        for mut bytes in chunks {
            while !bytes.is_empty() {
                if self.rest > 0 {
                    let piece = bytes.split_to(self.rest.min(bytes.len()));
                    self.rest -= piece.len();
                    others.push(piece);
                    continue;
                }
                let n = self.missing()?.min(bytes.len());
                self.head.extend_from_slice(&bytes.split_to(n));
                self.end_head(sent, &mut others)?;
            }
        }
        Ok(others)
    }

    /// Returns how many bytes of the current head are missing: of a frame's header, or of the body
    /// of a `Taken` frame.
    fn missing(&self) -> Result<usize, Malformed> {
        match self.head.first_chunk::<FRAME_HEADER>() {
            None => Ok(FRAME_HEADER - self.head.len()),
            Some(header) => {
                let (_, length) = read_header(*header, self.max_message)?;
                Ok(FRAME_HEADER + length - self.head.len())
            }
        }
    }

    /// Uses the current head if it is complete.
    fn end_head(&mut self, sent: u64, others: &mut Vec<Bytes>) -> Result<(), Malformed> {
        let Some(&header) = self.head.first_chunk::<FRAME_HEADER>() else { return Ok(()) };
        match read_header(header, self.max_message)? {
            (FrameKind::Taken, length) if self.head.len() == FRAME_HEADER + length => {
                let taken = read_count(&self.head[FRAME_HEADER..])?;
                self.head.clear();
                self.note(taken, sent)
            }
            (FrameKind::Taken, _) => Ok(()),
            (_, length) if self.takes_stream => {
                others.push(std::mem::take(&mut self.head).into());
                self.rest = length;
                Ok(())
            }
            (kind, _) => Err(Malformed::new(format!("unexpected {kind:?} frame"))),
        }
    }

    fn note(&mut self, taken: u64, sent: u64) -> Result<(), Malformed> {
        let before = std::mem::replace(&mut self.before, taken);
        if taken < before || taken > sent {
            let text = format!("{taken} items were taken, after {before}, of {sent} sent ones");
            return Err(Malformed::new(text));
        }
        self.demand.raise(taken);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::frame::{put, put_count, put_end};

    fn parser(takes_stream: bool) -> TakenParser {
        TakenParser { takes_stream, ..TakenParser::new(Arc::default(), 1_000) }
    }

    #[test]
    fn items_come_out_as_they_went_in_through_any_split() {
        let (mut bytes, mut items) = (Vec::new(), Vec::new());
        for n in 0..20_u64 {
            let body = vec![n as u8; usize::try_from(n * n).unwrap()];
            for out in [&mut bytes, &mut items] {
                put(out, FrameKind::Item, &body);
            }
            put_count(&mut bytes, FrameKind::Taken, n * 10);
        }
        for out in [&mut bytes, &mut items] {
            put_end(out, 20);
        }
        put_count(&mut bytes, FrameKind::Taken, 200);
        for size in 1..100 {
            let mut parser = parser(true);
            let chunks = bytes.chunks(size).map(Bytes::copy_from_slice).collect();
            let others = parser.split(chunks, 200).unwrap();
            assert_eq!(others.concat(), items, "in pieces of {size}");
            assert_eq!(parser.demand.taken(), 200);
        }
    }

    #[test]
    fn a_total_that_cannot_be_is_refused() {
        for (totals, sent, fits) in [
            (&[0, 1, 1, 3][..], 3, true),
            (&[2, 1], 3, false),
            (&[4], 3, false),
            (&[1 << 60], 3, false),
        ] {
            let (mut bytes, parser) = (Vec::new(), &mut parser(false));
            for &total in totals {
                put_count(&mut bytes, FrameKind::Taken, total);
            }
            assert_eq!(parser.split(vec![bytes.into()], sent).is_ok(), fits, "{totals:?}");
        }
    }

    #[test]
    fn a_leg_may_begin_behind_fewer_items_than_were_taken_before() {
        let demand = Arc::<Demand>::default();
        demand.raise(9);
        for (total, fits, after) in [(4, true, 9), (9, true, 9), (12, true, 12), (3, false, 12)] {
            let mut parser = TakenParser::behind(4, demand.clone(), 1_000);
            let mut bytes = Vec::new();
            put_count(&mut bytes, FrameKind::Taken, total);
            assert_eq!(parser.split(vec![bytes.into()], 20).is_ok(), fits, "{total}");
            assert_eq!(demand.taken(), after);
        }
    }

    #[test]
    fn nothing_else_follows_the_arguments_of_a_plain_stream() {
        for kind in [FrameKind::Item, FrameKind::End, FrameKind::Body, FrameKind::Skipped] {
            let mut bytes = Vec::new();
            put(&mut bytes, kind, &[]);
            assert!(parser(false).split(vec![bytes.into()], 9).is_err(), "{kind:?}");
        }
        assert!(parser(true).split(vec![Bytes::from_static(&[99; 5])], 9).is_err());
    }

    #[test]
    fn a_count_without_a_number_is_refused() {
        let mut bytes = Vec::new();
        put(&mut bytes, FrameKind::Taken, &[]);
        assert!(parser(false).split(vec![bytes.into()], 9).is_err());
    }
}
