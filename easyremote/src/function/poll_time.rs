//! Estimates how long the first poll of an async function takes, or all of a sync one.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// Moving average of the duration of a function's first poll, or of a sync function, in
/// nanoseconds; 0 before the first sample.
#[derive(Debug, Default)]
pub(crate) struct PollTimeEstimate(AtomicU32);

impl PollTimeEstimate {
    /// Below this, running in place is cheaper than waking another thread.
    const SHORT: u32 = 20_000;
    /// A new sample has a weight of one in this many.
    const SHARE: u32 = 8;

    /// Returns whether the function is usually short. `false` before the first sample.
    pub(crate) fn is_short(&self) -> bool {
        (1..Self::SHORT).contains(&self.0.load(Ordering::Relaxed))
    }

    /// Adds a sample.
    pub(crate) fn note(&self, taken: Duration) {
        let now = u32::try_from(taken.as_nanos()).unwrap_or(u32::MAX);
        // Not a read-modify-write: if two calls race, one sample is lost, which an average
        // tolerates.
        let average = match self.0.load(Ordering::Relaxed) {
            0 => now,
            before => before - before / Self::SHARE + now / Self::SHARE,
        };
        self.0.store(average.max(1), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_known_is_not_short() {
        let pace = PollTimeEstimate::default();
        assert!(!pace.is_short());
        pace.note(Duration::ZERO);
        assert!(pace.is_short());
    }

    #[test]
    fn a_function_may_change_its_pace() {
        let pace = PollTimeEstimate::default();
        pace.note(Duration::from_micros(2));
        assert!(pace.is_short());
        pace.note(Duration::from_millis(10));
        assert!(!pace.is_short(), "one that blocks once may do so again");
        (0..100).for_each(|_| pace.note(Duration::from_micros(2)));
        assert!(pace.is_short());
        pace.note(Duration::from_secs(3_600));
        pace.note(Duration::from_secs(3_600));
        assert!(!pace.is_short());
    }
}
