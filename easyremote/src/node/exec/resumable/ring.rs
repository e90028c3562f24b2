//! The replay ring: the last items of a stream, whether its reader has taken them or not.

use std::collections::VecDeque;
use std::future::pending;

use bytes::{Buf, Bytes};

use crate::node::exec::resumable::replay::{batch, least};
use crate::node::kept::KeptCharge;
use crate::wire::unacked::{first_frame, items_in};

/// Shorter batches are collected in blocks of this many bytes, so that a ring of short items takes
/// hardly more memory than its items have bytes.
const BLOCK: usize = 8 << 10;

/// The last items of a stream whose caller passes them on, and cannot tell which have arrived.
///
/// Holds at most `replay` bytes, or one item that is longer; the oldest items make room for newer
/// ones. Items that were not passed to an attached reader are never dropped, so that a slow one pauses
/// the function. One that is away does not.
#[derive(Debug)]
pub(super) struct ReplayRing {
    /// What the current QUIC stream has, oldest first. Each has whole frames only.
    past: VecDeque<Bytes>,
    /// What follows `past`, until it is a block.
    block: Vec<u8>,
    past_bytes: usize,
    /// What the current QUIC stream does not have. Each has whole frames only.
    unsent: VecDeque<Bytes>,
    unsent_bytes: usize,
    /// The number of items before the first one that is kept.
    first: u64,
    /// The number of items up to the end of `block`.
    passed: u64,
    /// The number of items up to the end of `unsent`.
    end: u64,
    /// Whether the reader is away.
    away: bool,
    replay: usize,
    charge: KeptCharge,
}

impl ReplayRing {
    /// Creates the ring of a stream that begins. `charge` is for [`least`] bytes.
    pub(super) fn new(replay: usize, charge: KeptCharge) -> Self {
        Self {
            past: VecDeque::new(),
            block: Vec::new(),
            past_bytes: 0,
            unsent: VecDeque::new(),
            unsent_bytes: 0,
            first: 0,
            passed: 0,
            end: 0,
            away: false,
            replay,
            charge,
        }
    }

    /// Returns the number of items before the first one that is kept.
    pub(super) fn first(&self) -> u64 {
        self.first
    }

    /// Returns the number of items that have been added.
    pub(super) fn end(&self) -> u64 {
        self.end
    }

    /// Waits until there is room for another batch: there always is while the reader is away.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub(super) async fn room(&mut self) {
        if self.away || self.unsent_bytes == 0 {
            return;
        }
        let wanted = self.unsent_bytes + batch(self.replay);
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
        self.end += items_in(&frames);
        if self.away {
            self.pass(frames);
            self.passed = self.end;
        } else {
            self.unsent_bytes += frames.len();
            self.unsent.push_back(frames);
        }
        self.settle();
    }

    /// Returns what has not been passed to the current QUIC stream.
    pub(super) fn take_unsent(&mut self) -> Vec<Bytes> {
        let unsent = Vec::from(std::mem::take(&mut self.unsent));
        if !unsent.is_empty() {
            unsent.iter().for_each(|frames| self.pass(frames.clone()));
            (self.unsent_bytes, self.passed) = (0, self.end);
            self.settle();
        }
        unsent
    }

    /// Notes that the reader is away. Everything counts as passed until it is back.
    pub(super) fn leave(&mut self) {
        drop(self.take_unsent());
        self.away = true;
    }

    /// Passes what is behind `taken` items, which must not be fewer than [`first`](Self::first), to
    /// another QUIC stream.
    pub(super) fn attach(&mut self, taken: u64) {
        self.away = false;
        self.end_block();
        let chunks = std::mem::take(&mut self.past).into_iter();
        let unsent = std::mem::take(&mut self.unsent);
        let mut number = self.first;
        for mut frames in chunks.chain(unsent) {
            let before = frames.split_to(behind(&frames, taken.saturating_sub(number)));
            number += items_in(&before);
            for (part, chunks) in [(before, &mut self.past), (frames, &mut self.unsent)] {
                if !part.is_empty() {
                    chunks.push_back(part);
                }
            }
        }
        self.passed = number;
        self.past_bytes = self.past.iter().map(Bytes::len).sum();
        self.unsent_bytes = self.unsent.iter().map(Bytes::len).sum();
        // It may begin behind items that the leg before did not have, which may be dropped now.
        self.settle();
    }

    /// Keeps frames that have been passed.
    fn pass(&mut self, frames: Bytes) {
        self.past_bytes += frames.len();
        if frames.len() >= BLOCK / 2 {
            self.end_block();
            self.past.push_back(frames);
            return;
        }
        self.block.extend_from_slice(&frames);
        if self.block.len() >= BLOCK {
            self.end_block();
        }
    }

    fn end_block(&mut self) {
        if !self.block.is_empty() {
            let mut block = std::mem::take(&mut self.block);
            block.shrink_to_fit();
            self.past.push_back(block.into());
        }
    }

    fn bytes(&self) -> usize {
        self.past_bytes + self.unsent_bytes
    }

    /// Drops what exceeds the limit, or the budget, and charges the rest.
    fn settle(&mut self) {
        // The last item stays, however long it is: it is the one that a reader is likely to lose.
        self.drop_beyond(self.replay, 1);
        let needed = self.rounded(self.bytes()).max(least(self.replay) as u64);
        if self.charge.bytes() < needed && !self.charge.try_set(needed) {
            // Others use the budget.
            let limit = usize::try_from(self.charge.bytes()).unwrap_or(usize::MAX);
            self.drop_beyond(limit.min(self.replay), 0);
        }
        let needed = self.rounded(self.bytes()).max(least(self.replay) as u64);
        // What must not be dropped is charged nevertheless: it is here. Some hysteresis: a ring that
        // is full does not lock the budget for each batch.
        let slack = 2 * batch(self.replay) as u64;
        if self.charge.bytes() < needed || self.charge.bytes() > needed + slack {
            self.charge.set(needed);
        }
    }

    /// Drops the oldest items that have been passed, with what is before them, until at most `limit`
    /// bytes or the last `items` items are left.
    fn drop_beyond(&mut self, limit: usize, items: u64) {
        while self.bytes() > limit && self.first < self.passed.min(self.end.saturating_sub(items)) {
            self.drop_item();
        }
    }

    /// Drops the oldest item, which has been passed, and what is before it.
    fn drop_item(&mut self) {
        if self.past.is_empty() {
            self.end_block();
        }
        while let Some(front) = self.past.front_mut() {
            let length = behind(front, 1);
            let items = items_in(&front[..length]);
            self.past_bytes -= length;
            self.first += items;
            front.advance(length);
            if front.is_empty() {
                self.past.pop_front();
            }
            if items > 0 {
                return;
            }
            if self.past.is_empty() {
                self.end_block();
            }
        }
    }
}

/// Returns the length of the frames up to item number `items`, or of all frames if there are not as
/// many items.
fn behind(frames: &[u8], items: u64) -> usize {
    let (mut length, mut left) = (0, items);
    while left > 0
        && let Some((kind, n)) = first_frame(&frames[length..])
    {
        length += n;
        left -= u64::from(kind.is_item());
    }
    length
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use futures::FutureExt;

    use super::*;
    use crate::node::kept::Kept;
    use crate::wire::frame::{FrameKind, put, put_count, put_end};

    fn ring(kept: &Arc<Kept>, replay: usize) -> ReplayRing {
        ReplayRing::new(replay, kept.charge("a", least(replay) as u64).unwrap())
    }

    fn item(length: usize) -> Vec<u8> {
        let mut out = Vec::new();
        put(&mut out, FrameKind::Item, &vec![7; length]);
        out
    }

    /// All frames of a stream, and how much has been pushed.
    #[derive(Default)]
    struct Model {
        bytes: Vec<u8>,
        /// Where each frame ends.
        frames: Vec<usize>,
        /// Where each item ends, from number 0 on, which is the beginning.
        items: Vec<usize>,
        pushed: usize,
    }

    impl Model {
        fn new(rng: &mut fastrand::Rng) -> Self {
            let longest = [1, 40, 600][rng.usize(0..3)];
            let mut model = Self { items: vec![0], ..Self::default() };
            put(&mut model.bytes, FrameKind::Open, &[]);
            model.frames.push(model.bytes.len());
            let n_items = rng.u64(0..200);
            for n in 0..n_items {
                if rng.u8(0..4) == 0 {
                    put_count(&mut model.bytes, FrameKind::Skipped, n + 1);
                    model.frames.push(model.bytes.len());
                }
                let kinds = [FrameKind::Item, FrameKind::ItemFault, FrameKind::ItemError];
                let body = vec![n as u8; rng.usize(0..longest)];
                put(&mut model.bytes, kinds[rng.usize(0..3)], &body);
                model.frames.push(model.bytes.len());
                model.items.push(model.bytes.len());
            }
            put_end(&mut model.bytes, n_items);
            model.frames.push(model.bytes.len());
            model
        }

        /// Returns up to `n` further frames.
        fn push(&mut self, n: usize) -> Bytes {
            let from = self.pushed;
            let more = self.frames.iter().filter(|end| **end > from).take(n).last();
            self.pushed = more.copied().unwrap_or(from);
            Bytes::copy_from_slice(&self.bytes[from..self.pushed])
        }

        /// Returns the number of items that have been pushed.
        fn items(&self) -> u64 {
            self.items.partition_point(|end| *end <= self.pushed).saturating_sub(1) as u64
        }

        /// Returns the bytes behind an item, up to what has been pushed.
        fn behind(&self, taken: u64) -> &[u8] {
            &self.bytes[self.items[taken as usize]..self.pushed]
        }
    }

    /// Any order of batches, reads, losses and returns: what comes again begins behind any item that
    /// is kept, and what fits is kept.
    #[test]
    fn a_reader_goes_on_behind_any_item_that_is_kept() {
        let mut rng = fastrand::Rng::with_seed(4_713);
        for _ in 0..500 {
            let kept = Kept::new(4 << 20);
            let replay = [1, 100, 1_000, 20_000][rng.usize(0..4)];
            let (mut ring, mut model) = (ring(&kept, replay), Model::new(&mut rng));
            // What the current leg has, behind the item where it began.
            let (mut began, mut leg) = (0, Vec::new());
            for _ in 0..100 {
                match rng.u8(0..10) {
                    0 => ring.leave(),
                    1 | 2 => {
                        let taken = rng.u64(ring.first()..=ring.end());
                        ring.attach(taken);
                        (began, leg) = (taken, Vec::new());
                    }
                    3..=6 => ring.push(model.push(rng.usize(0..9))),
                    _ => leg.extend(ring.take_unsent().concat()),
                }
                assert_eq!(ring.end(), model.items());
                if !ring.away {
                    let mut whole = leg.clone();
                    ring.unsent.iter().for_each(|chunk| whole.extend_from_slice(chunk));
                    assert!(whole == model.behind(began), "behind {began}");
                }
                // As much as may be kept is kept, and the last item in any case.
                let first = ring.first();
                let least = (0..model.items()).find(|n| model.behind(*n).len() <= replay);
                let last = model.items().saturating_sub(1);
                assert!(first <= least.unwrap_or(last).min(last), "{first} {least:?} {last}");
                assert_eq!(ring.bytes(), model.behind(first).len());
                let over = ring.bytes() > replay && first < ring.passed.min(last);
                assert!(!over, "{} bytes, of {replay}", ring.bytes());
                assert!(ring.charge.bytes() >= ring.bytes() as u64);
            }
        }
    }

    #[test]
    fn a_reader_that_is_slow_pauses_the_function_and_one_that_is_away_does_not() {
        let kept = Kept::new(1 << 20);
        let mut ring = ring(&kept, 1_000);
        let mut n = 0;
        while ring.room().now_or_never().is_some() {
            ring.push(item(95).into());
            n += 1;
        }
        assert!((7..=10).contains(&n) && ring.first() == 0, "{n}");
        assert_eq!(ring.take_unsent().len(), n);
        // What it has got no longer counts.
        for _ in 0..5 {
            assert!(ring.room().now_or_never().is_some());
            ring.push(item(95).into());
        }
        assert!(ring.first() > 0);
        ring.leave();
        for _ in 0..1_000 {
            assert!(ring.room().now_or_never().is_some());
            ring.push(item(95).into());
        }
        assert_eq!(ring.first(), ring.end() - 10);
        ring.attach(ring.first());
        assert!(ring.room().now_or_never().is_none());
    }

    #[test]
    fn rings_share_what_an_identity_may_keep() {
        const REPLAY: usize = 1_000;
        let kept = Kept::new(4 * 1_500);
        let (mut first, mut second) = (ring(&kept, REPLAY), ring(&kept, REPLAY));
        for _ in 0..100 {
            for ring in [&mut first, &mut second] {
                assert!(ring.room().now_or_never().is_some(), "it does not wait for the other");
                ring.push(item(95).into());
                ring.take_unsent();
                assert!(ring.bytes() as u64 <= ring.charge.bytes());
            }
        }
        assert!(first.bytes() + second.bytes() <= 1_500);
        assert!(first.first() <= 95 && second.first() <= 95, "each has what is its own");
        // An item that is longer than the rest of the budget is passed, and not kept.
        second.push(item(2_000).into());
        assert_eq!(second.take_unsent().concat(), item(2_000));
        assert!(kept.charge("a", 1).is_err());
        second.push(item(1).into());
        second.take_unsent();
        assert!(second.charge.bytes() <= 1_000);
        drop((first, second));
        assert!(kept.charge("a", 1_500).is_ok());
    }

    #[test]
    fn short_items_take_hardly_more_memory_than_they_have_bytes() {
        let kept = Kept::new(64 << 20);
        let mut ring = ring(&kept, 1 << 20);
        for _ in 0..300_000 {
            ring.push(item(1).into());
            ring.take_unsent();
        }
        assert!(ring.bytes() > (1 << 20) - 10 && ring.past.len() < 2 * (1 << 20) / BLOCK);
    }
}
