//! The replay buffer of a resumable stream: what its reader has not taken.

use std::future::pending;

use bytes::Bytes;

use crate::node::kept::KeptCharge;
use crate::wire::unacked::UnackedFrames;

/// Longest batch between the function and the buffer, in bytes. A stream whose reader keeps up needs
/// twice as much of the node's budget, so that one identity has 1,024 of them by default.
const MAX_BATCH: usize = 8 << 10;

/// Returns how many bytes the function may produce before the I/O task fetches them, where `replay`
/// is the limit of the buffer. The reader says what it has taken after as many bytes of items.
///
/// Once the reader has taken everything, no more than that is unsaid, so that the function goes on
/// with what [`least`] reserves, also while others use the rest of the budget.
pub(super) fn batch(replay: usize) -> usize {
    (replay / 4).clamp(1, MAX_BATCH)
}

/// Returns how many bytes of the node's budget a stream has from its start to its end.
pub(super) fn least(replay: usize) -> usize {
    2 * batch(replay)
}

/// The frames of a stream from the first item on that its reader has not taken.
///
/// Holds at most `replay` bytes, or one batch or item that is longer.
#[derive(Debug)]
pub(super) struct ReplayBuffer {
    /// The function's side sends no parts of frames.
    frames: UnackedFrames,
    replay: usize,
    charge: KeptCharge,
}

impl ReplayBuffer {
    /// Creates the buffer of a stream whose first item is number `first`. `charge` is for
    /// [`least`] bytes.
    pub(super) fn new(first: u64, replay: usize, charge: KeptCharge) -> Self {
        Self { frames: UnackedFrames::behind(first), replay, charge }
    }

    /// Returns the number of items before the first one that is kept.
    pub(super) fn first(&self) -> u64 {
        self.frames.first()
    }

    /// Waits until the buffer, and the node's budget, have room for another batch.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub(super) async fn room(&mut self) {
        if self.frames.bytes() == 0 {
            return;
        }
        let wanted = self.frames.bytes() + batch(self.replay);
        if wanted > self.replay {
            return pending().await;
        }
        if self.charge.bytes() < wanted as u64 {
            self.charge.wait(self.rounded(wanted)).await;
        }
    }

    /// Rounds a charge up, so that the budget is not locked for each batch.
    fn rounded(&self, bytes: usize) -> u64 {
        bytes.next_multiple_of(batch(self.replay)) as u64
    }

    /// Adds frames, each of them whole.
    pub(super) fn push(&mut self, frames: Bytes) {
        self.frames.push(frames);
        let bytes = self.frames.bytes();
        // A batch or an item that is longer than the room was is charged nevertheless: it is here.
        if self.charge.bytes() < bytes as u64 {
            self.charge.set(self.rounded(bytes));
        }
    }

    /// Returns whether everything has been passed to the current QUIC stream.
    #[cfg(test)]
    fn is_sent(&self) -> bool {
        self.frames.is_sent()
    }

    /// Returns what has not been passed to the current QUIC stream.
    pub(super) fn take_unsent(&mut self) -> Vec<Bytes> {
        self.frames.take_unsent()
    }

    /// Passes everything to another QUIC stream.
    pub(super) fn rewind(&mut self) {
        self.frames.rewind();
    }

    /// Drops the items before number `taken`, and what is between them.
    pub(super) fn trim(&mut self, taken: u64) {
        self.frames.trim(taken);
        let bytes = self.frames.bytes();
        let needed = self.rounded(bytes + batch(self.replay)).max(least(self.replay) as u64);
        // Some hysteresis: a stream whose reader keeps up does not lock the budget.
        if self.charge.bytes() > needed + 2 * batch(self.replay) as u64 {
            self.charge.set(needed);
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;
    use crate::node::kept::Kept;
    use crate::wire::frame::{Frame, FrameBuffer, FrameKind, put, put_count, put_end};

    const REPLAY: usize = 1_000;

    fn buffer(kept: &std::sync::Arc<Kept>) -> ReplayBuffer {
        let charge = kept.charge("a", least(REPLAY) as u64).unwrap();
        ReplayBuffer::new(0, REPLAY, charge)
    }

    /// A chunk with this many items of `length` bytes each.
    fn items(n: usize, length: usize) -> Bytes {
        let mut out = Vec::new();
        (0..n).for_each(|_| put(&mut out, FrameKind::Item, &vec![7; length]));
        out.into()
    }

    fn frames(buffer: &mut ReplayBuffer) -> Vec<Frame> {
        let mut frames = FrameBuffer::new(1 << 20);
        buffer.take_unsent().iter().for_each(|chunk| frames.push(chunk));
        std::iter::from_fn(|| frames.next().unwrap()).collect()
    }

    #[test]
    fn what_is_left_begins_at_any_item_and_keeps_what_is_between_the_rest() {
        let kept = Kept::new(1 << 20);
        let mut all = Vec::new();
        put(&mut all, FrameKind::Open, b"");
        for n in 0..20_u8 {
            if n % 3 == 0 {
                put_count(&mut all, FrameKind::Skipped, u64::from(n) + 1);
            }
            let kind = [FrameKind::Item, FrameKind::ItemFault, FrameKind::ItemError];
            put(&mut all, kind[usize::from(n) % 3], &[n]);
        }
        put_end(&mut all, 20);
        let mut whole = FrameBuffer::new(1 << 20);
        whole.push(&all);
        let whole: Vec<_> = std::iter::from_fn(|| whole.next().unwrap()).collect();
        for per_chunk in 1..=whole.len() {
            for taken in 0..=20 {
                let mut buffer = buffer(&kept);
                for chunk in whole.chunks(per_chunk) {
                    let mut out = Vec::new();
                    chunk.iter().for_each(|frame| put(&mut out, frame.kind, &frame.body));
                    buffer.push(out.into());
                }
                // In two steps, with everything sent in between.
                buffer.trim(taken / 2);
                assert_eq!(buffer.first(), taken / 2);
                assert!(!frames(&mut buffer).is_empty() && buffer.is_sent());
                buffer.trim(taken);
                buffer.rewind();
                let left = frames(&mut buffer);
                let before = whole.len() - left.len();
                assert_eq!(left, whole[before..], "{per_chunk} {taken}");
                let n_items = whole[..before].iter().filter(|frame| frame.kind.is_item()).count();
                assert_eq!(n_items as u64, taken);
                assert!(before == 0 || whole[before - 1].kind.is_item());
            }
        }
    }

    #[test]
    fn a_full_buffer_pauses_the_function_until_its_reader_goes_on() {
        let kept = Kept::new(1 << 20);
        let mut buffer = buffer(&kept);
        let mut n = 0;
        while buffer.room().now_or_never().is_some() {
            buffer.push(items(1, 95));
            n += 1;
        }
        assert!((7..=10).contains(&n), "{n}");
        // The reader has taken all, and has said so of all but what it may keep to itself.
        buffer.trim(n - batch(REPLAY) as u64 / 100);
        assert!(buffer.room().now_or_never().is_some());
    }

    #[test]
    fn one_item_always_fits_and_the_budget_holds_back_the_rest() {
        // The share of an identity is what two streams need.
        let kept = Kept::new(2 * 4 * least(REPLAY) as u64);
        let (mut first, mut second) = (buffer(&kept), buffer(&kept));
        assert!(kept.charge("a", 1).is_err());
        first.push(items(1, 10 * REPLAY));
        assert!(first.room().now_or_never().is_none());
        // A reader that keeps up is not held back by the other.
        for n in 1..100 {
            second.push(items(1, 95));
            assert!(second.room().now_or_never().is_some(), "{n}");
            second.trim(n - 1);
        }
        second.push(items(2, 95));
        assert!(second.room().now_or_never().is_none(), "the budget is used up");
        first.trim(1);
        drop(first);
        assert!(second.room().now_or_never().is_some());
        drop(second);
        assert!(kept.charge("a", 2 * least(REPLAY) as u64).is_ok());
    }
}
