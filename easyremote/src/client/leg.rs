//! The legs of a resumable stream, between its I/O task and its reader.
//!
//! A leg is one QUIC stream that carries the stream for a time. Its bytes pass through a channel of
//! their own. When the leg is lost, the I/O task closes it, which settles how many items the reader
//! has taken: from then on it takes none of that channel, and the next leg begins behind them.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use crate::client::ring::RingReader;
use crate::error::Error;
use crate::transport::byte_channel::ByteReceiver;
use crate::wire::frame::{FRAME_HEADER, Frame};

/// How the bytes of a stream end for its reader.
#[derive(Debug)]
pub(super) enum StreamEnd {
    Failed(Error),
    /// What was not taken is void, and comes again.
    Resumed(Box<NextLeg>),
}

/// The leg that follows one that was lost.
#[derive(Debug)]
pub(super) struct NextLeg {
    pub(super) receiver: ByteReceiver<StreamEnd>,
    pub(super) mark: Arc<LegMark>,
}

/// How many items of the stream the reader has taken, while a leg is open.
#[derive(Debug)]
pub(super) struct LegMark {
    /// With the bit [`CLOSED`].
    taken: AtomicU64,
    /// The reader says what it has taken once these are more bytes than since the last time.
    every: AtomicU64,
    skipped: Mutex<SkipLog>,
}

/// How many items operators have left out: all of them, and each function that is applied.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct SkippedItems {
    pub(super) all: u64,
    /// In the order of the functions; empty while none has left out any.
    pub(super) each: Vec<u64>,
}

impl SkippedItems {
    fn behind(mut self, before: &Self) -> Self {
        self.all = self.all.saturating_add(before.all);
        if self.each.len() < before.each.len() {
            self.each.resize(before.each.len(), 0);
        }
        for (count, before) in self.each.iter_mut().zip(&before.each) {
            *count = count.saturating_add(*before);
        }
        self
    }
}

/// What operators had left out at some items of a leg.
#[derive(Debug, Default)]
struct SkipLog {
    /// What they had left out on nodes that were lost; the current node counts from there.
    base: SkippedItems,
    /// Before the first item of the leg.
    first: SkippedItems,
    /// The last two changes: before which item, and what was left out up to there. The reader notes a
    /// change before it takes the item, so that only the last one can be void.
    changes: VecDeque<(u64, SkippedItems)>,
}

const CLOSED: u64 = 1 << 63;

impl LegMark {
    /// Creates the mark of a leg that begins behind `taken` items.
    pub(super) fn new(taken: u64) -> Arc<Self> {
        Self::behind(taken, SkippedItems::default())
    }

    /// Creates the mark of a leg that begins behind `taken` items, where operators had left out
    /// `skipped`.
    pub(super) fn behind(taken: u64, skipped: SkippedItems) -> Arc<Self> {
        let log = SkipLog { first: skipped, ..SkipLog::default() };
        let (taken, every) = (AtomicU64::new(taken), AtomicU64::new(0));
        Arc::new(Self { taken, every, skipped: Mutex::new(log) })
    }

    /// Sets what had been left out when the node of the leg began to count. To be called before the
    /// leg has bytes.
    pub(super) fn set_base(&self, base: SkippedItems) {
        self.skipped.lock().base = base;
    }

    /// Returns what had been left out before the last of `taken` items.
    pub(super) fn skipped_at(&self, taken: u64) -> SkippedItems {
        let log = self.skipped.lock();
        let last = log.changes.iter().rev().find(|(before, _)| *before < taken);
        last.map_or(&log.first, |(_, skipped)| skipped).clone()
    }

    fn note_skipped(&self, before: u64, skipped: SkippedItems) -> u64 {
        let mut log = self.skipped.lock();
        let skipped = skipped.behind(&log.base);
        let all = skipped.all;
        if log.changes.len() == 2 {
            log.changes.pop_front();
        }
        log.changes.push_back((before, skipped));
        all
    }

    /// Sets after how many bytes the reader says what it has taken.
    pub(super) fn set_every(&self, bytes: u64) {
        self.every.store(bytes, Ordering::Relaxed);
    }

    /// Takes one more item. Returns `false` if the leg is closed, so that the item comes again.
    fn take(&self) -> bool {
        self.taken.fetch_add(1, Ordering::AcqRel) & CLOSED == 0
    }

    /// Closes the leg; returns how many items have been taken.
    pub(super) fn close(&self) -> u64 {
        self.taken.fetch_or(CLOSED, Ordering::AcqRel) & !CLOSED
    }
}

/// The reader's side of the legs.
#[derive(Debug)]
pub(super) struct ReadLeg {
    mark: Arc<LegMark>,
    /// Whether the leg is closed, and what its channel still has is void.
    pub(super) void: bool,
    /// Bytes of items that were taken since the node was told.
    untold: u64,
    /// Whether the node wants to know of each item.
    each: bool,
    /// Of a stream with a replay ring.
    #[cfg_attr(not(feature = "http"), allow(dead_code))]
    ring: Option<Arc<RingReader>>,
}

impl ReadLeg {
    pub(super) fn new(mark: Arc<LegMark>, each: bool, ring: Option<Arc<RingReader>>) -> Self {
        Self { mark, void: false, untold: 0, each, ring }
    }

    /// Returns what the reader of a stream with a replay ring shares with its I/O task.
    #[cfg(feature = "http")]
    pub(super) fn ring(&self) -> Option<&RingReader> {
        self.ring.as_deref()
    }

    /// Begins to read the next leg.
    pub(super) fn follow(&mut self, mark: Arc<LegMark>) {
        (self.mark, self.void) = (mark, false);
    }

    /// Notes what the current node has left out before the item behind `taken`. Returns how many were
    /// left out in all.
    pub(super) fn note_skipped(&self, taken: u64, skipped: SkippedItems) -> u64 {
        self.mark.note_skipped(taken, skipped)
    }

    /// Returns whether the node is to be told now what was taken.
    pub(super) fn tells(&mut self) -> bool {
        let tells = self.each || self.untold > self.mark.every.load(Ordering::Relaxed);
        if tells {
            self.untold = 0;
        }
        tells
    }

    /// Takes a frame, if it is an item. Returns `false` if it is void.
    pub(super) fn take(&mut self, frame: &Frame) -> bool {
        if frame.kind.is_item() {
            self.untold += (FRAME_HEADER + frame.body.len()) as u64;
            self.void = !self.mark.take();
        }
        !self.void
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn reader_and_task_agree_on_the_last_item() {
        for _ in 0..200 {
            let mark = LegMark::new(7);
            let reader = {
                let mark = mark.clone();
                thread::spawn(move || {
                    7 + std::iter::repeat_with(|| mark.take()).take_while(|t| *t).count()
                })
            };
            let taken = mark.close();
            assert_eq!(reader.join().unwrap() as u64, taken);
        }
    }
}
