//! Detects functions whose calls usually take long.

use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

/// A saturating counter that each long call of a function at a node increments, and each short one
/// decrements.
///
/// A draining gateway uses it: it would have to wait for such calls. One long call among many short
/// ones must not count, unlike for [`LatencyEstimate`], nor must the time since then.
///
/// [`LatencyEstimate`]: crate::gateway::routing::latency::LatencyEstimate
#[derive(Debug)]
pub(crate) struct UsualPace(AtomicU8);

impl Default for UsualPace {
    fn default() -> Self {
        Self(AtomicU8::new(Self::UNKNOWN))
    }
}

impl UsualPace {
    /// No call has returned yet.
    const UNKNOWN: u8 = u8::MAX;

    /// A call that takes longer than this counts as long.
    pub(crate) const LONG: Duration = Duration::from_secs(1);
    /// Maximum of the counter: after this many short calls a function counts as fast, however many
    /// long ones preceded them.
    const MEMORY: u8 = 4;

    /// Records the duration of a call.
    pub(crate) fn record(&self, took: Duration) {
        let count = self.0.load(Ordering::Relaxed);
        let known = if count == Self::UNKNOWN { 0 } else { count };
        let next = match took > Self::LONG {
            true => (known + 1).min(Self::MEMORY),
            false => known.saturating_sub(1),
        };
        // Most functions are fast, so nothing is written. An increment lost to a concurrent update
        // is harmless.
        if next != count {
            self.0.store(next, Ordering::Relaxed);
        }
    }

    /// Returns whether calls usually take long; `None` if no call has returned.
    pub(crate) fn is_slow(&self) -> Option<bool> {
        let count = self.0.load(Ordering::Relaxed);
        (count != Self::UNKNOWN).then_some(count > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_most_calls_are_counts() {
        let (short, long) = (Duration::from_millis(10), Duration::from_secs(10));
        let is_slow = |calls: &[Duration]| {
            let pace = UsualPace::default();
            calls.iter().for_each(|took| pace.record(*took));
            pace.is_slow() == Some(true)
        };
        assert_eq!(UsualPace::default().is_slow(), None);
        assert!(!is_slow(&[short, short]));
        assert!(is_slow(&[long]) && is_slow(&[short, short, long]));
        assert!(!is_slow(&[long, short]) && is_slow(&[long, long, short]));
        assert!(!is_slow(&[&[long; 100][..], &[short; 4]].concat()));
        assert!(!is_slow(&[UsualPace::LONG]));
    }
}
