//! How long functions take before they first wait for something.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// How long the first poll of a function takes as a rule: a moving average, in nanoseconds, and 0
/// before the first one.
#[derive(Debug, Default)]
pub(crate) struct PollTimeEstimate(AtomicU32);

impl PollTimeEstimate {
    /// What costs less than to wake another thread for it.
    const SHORT: u32 = 20_000;
    /// The share of the newest one.
    const SHARE: u32 = 8;

    /// Whether it takes next to no time, as far as is known.
    pub(crate) fn is_short(&self) -> bool {
        (1..Self::SHORT).contains(&self.0.load(Ordering::Relaxed))
    }

    /// Notes how long it has `taken` now.
    pub(crate) fn note(&self, taken: Duration) {
        let now = u32::try_from(taken.as_nanos()).unwrap_or(u32::MAX);
        // Two at a time may lose one of them, which an average can bear.
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
