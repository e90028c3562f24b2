//! Whether the calls of a function usually take long.

use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

/// Whether most of a function's calls at a node have been long ones lately: a count that each long
/// call raises and each short one lowers.
///
/// For a gateway that drains, which would have to wait for them. So it must not be one long call
/// among many short ones that counts, as it does for [`LatencyEstimate`], nor the time since then.
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
    /// No call has returned.
    const UNKNOWN: u8 = u8::MAX;

    /// A call that takes longer than this is a long one.
    pub(crate) const LONG: Duration = Duration::from_secs(1);
    /// After so many short calls a function is a fast one, however many long ones came before.
    const MEMORY: u8 = 4;

    /// Records that a call took so long.
    pub(crate) fn record(&self, took: Duration) {
        let count = self.0.load(Ordering::Relaxed);
        let known = if count == Self::UNKNOWN { 0 } else { count };
        let next = match took > Self::LONG {
            true => (known + 1).min(Self::MEMORY),
            false => known.saturating_sub(1),
        };
        // Most functions are fast, and nothing is written. A count that is lost to another thread
        // is no harm.
        if next != count {
            self.0.store(next, Ordering::Relaxed);
        }
    }

    /// Returns `None` if no call has returned.
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
