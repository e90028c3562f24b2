//! Measures a stream at its reader: what has been read, and which side waits for the other.
//!
//! ```text
//!            ask                    item
//!   idle ----------> waiting ------------------> idle
//!     \                 ^ an item arrives meanwhile: the wait ends there
//!      an item arrives: it waits for the reader, until the next `ask`
//! ```

use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// What a stream has passed to its reader, and the time that each side has waited.
///
/// Only a stream whose progress is watched has one. The reader's poll and the I/O task that passes
/// bytes on both write to it.
#[derive(Debug, Default)]
pub(crate) struct ReaderMeter(Mutex<ReaderFigures>);

#[derive(Clone, Copy, Debug, Default)]
struct ReaderFigures {
    counts: ReaderCounts,
    ended: bool,
    /// Time that the reader has waited for items, except the wait that goes on.
    waited: Duration,
    /// Time that items have waited for the reader, except the wait that goes on.
    stalled: Duration,
    /// When the reader asked for the item that it waits for.
    asked: Option<Instant>,
    /// When something arrived that the reader has not asked for.
    arrived: Option<Instant>,
    /// When the reader took the last item.
    taken: Option<Instant>,
}

/// What a stream has passed to its reader.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ReaderCounts {
    pub(crate) items: u64,
    pub(crate) bytes: u64,
    /// Items that an operator has left out.
    pub(crate) skipped: u64,
    /// How often the stream went on after a loss.
    pub(crate) resumptions: u64,
}

impl ReaderMeter {
    /// Records that bytes have arrived.
    pub(crate) fn arrive(&self) {
        self.0.lock().arrived.get_or_insert_with(Instant::now);
    }

    /// Records that the reader asks for an item. Returns when something arrived that it had been
    /// waiting for.
    pub(crate) fn ask(&self) -> Option<Instant> {
        let mut figures = self.0.lock();
        let arrived = figures.arrived.take();
        if figures.asked.is_some() {
            return arrived;
        }
        let now = Instant::now();
        figures.stalled += arrived.map_or(Duration::ZERO, |arrived| now - arrived);
        figures.asked = Some(now);
        None
    }

    /// Records that the reader has taken an item. `arrived` is what [`ask`](Self::ask) returned;
    /// `more` says that another item is here already.
    pub(crate) fn take(&self, arrived: Option<Instant>, more: bool, counts: ReaderCounts) {
        let now = Instant::now();
        let mut figures = self.0.lock();
        figures.end_wait(arrived.unwrap_or(now));
        figures.stalled += arrived.map_or(Duration::ZERO, |arrived| now - arrived);
        figures.counts = counts;
        figures.taken = Some(now);
        if more {
            figures.arrived.get_or_insert(now);
        }
    }

    /// Sets the counts alone.
    pub(crate) fn set_counts(&self, counts: ReaderCounts) {
        self.0.lock().counts = counts;
    }

    /// Records that the stream has ended, or was dropped.
    pub(crate) fn end(&self) {
        let mut figures = self.0.lock();
        if !figures.ended {
            figures.end_wait(Instant::now());
            figures.ended = true;
        }
        figures.arrived = None;
    }

    pub(crate) fn counts(&self) -> ReaderCounts {
        self.0.lock().counts
    }

    /// Returns how long the reader has waited for items in all.
    pub(crate) fn waited(&self) -> Duration {
        let mut figures = *self.0.lock();
        let until = figures.arrived.unwrap_or_else(Instant::now);
        figures.end_wait(until);
        figures.waited
    }

    /// Returns how long items have waited for the reader in all.
    pub(crate) fn stalled(&self) -> Duration {
        let figures = *self.0.lock();
        figures.stalled + figures.arrived.map_or(Duration::ZERO, |arrived| arrived.elapsed())
    }

    /// Returns the time since the reader took the last item.
    pub(crate) fn since_last(&self) -> Option<Duration> {
        let taken = self.0.lock().taken;
        taken.map(|taken| taken.elapsed())
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.0.lock().ended
    }
}

impl ReaderFigures {
    fn end_wait(&mut self, until: Instant) {
        if let Some(asked) = self.asked.take() {
            self.waited += until.saturating_duration_since(asked);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_side_is_charged_with_the_time_that_it_lets_the_other_wait() {
        let meter = ReaderMeter::default();
        let counts = ReaderCounts { items: 1, bytes: 7, ..ReaderCounts::default() };
        let at = |figure: fn(&ReaderMeter) -> Duration| figure(&meter);
        let pause = || std::thread::sleep(Duration::from_millis(2));
        // The reader waits, and takes the item when it has come.
        assert_eq!(meter.ask(), None);
        pause();
        assert!(at(ReaderMeter::waited) > Duration::ZERO);
        assert_eq!(at(ReaderMeter::stalled), Duration::ZERO);
        meter.arrive();
        let waited = at(ReaderMeter::waited);
        pause();
        assert_eq!(at(ReaderMeter::waited), waited, "from here on the item waits");
        assert!(at(ReaderMeter::stalled) > Duration::ZERO);
        let arrived = meter.ask();
        assert!(arrived.is_some());
        meter.take(arrived, false, counts);
        assert_eq!(at(ReaderMeter::waited), waited);
        // Nobody waits.
        let stalled = at(ReaderMeter::stalled);
        pause();
        assert_eq!((at(ReaderMeter::waited), at(ReaderMeter::stalled)), (waited, stalled));
        // An item waits for the reader.
        meter.arrive();
        pause();
        assert!(at(ReaderMeter::stalled) > stalled);
        assert_eq!(meter.ask(), None);
        let stalled = at(ReaderMeter::stalled);
        meter.take(None, true, counts);
        pause();
        assert!(at(ReaderMeter::stalled) > stalled, "one more is here");
        meter.end();
        let stalled = at(ReaderMeter::stalled);
        pause();
        assert_eq!(at(ReaderMeter::stalled), stalled);
        assert!(meter.has_ended() && meter.since_last().is_some());
        assert_eq!(meter.counts(), counts);
    }
}
