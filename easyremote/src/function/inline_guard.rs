//! Decides whether an `inline` function is short enough to run in the task that reads.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// What is known of an `inline` function.
///
/// While it runs there, the connection stands still: no other call is read, no response
/// leaves, and no heartbeat is answered. So it runs there only after it has been short elsewhere
/// [`PROBATION`] times in a row. A slow run ends that, and for [`PENALTY`] no run counts.
#[derive(Debug, Default)]
pub(crate) struct InlineGuard {
    /// Moving average of the duration, in nanoseconds; 0 before the first sample.
    average: AtomicU32,
    /// Short runs in a row that count, up to [`PROBATION`].
    short: AtomicU32,
    /// When the last slow run ended, in milliseconds of [`clock`]; 0 if there was none.
    slow_at: AtomicU64,
}

/// A run that takes as long as this is slow.
pub(crate) const MAX_ONCE: Duration = Duration::from_millis(1);

/// A function whose average takes as long as this is slow.
pub(crate) const MAX_AVERAGE: Duration = Duration::from_micros(100);

/// How long a function that was slow does not run there.
pub(crate) const PENALTY: Duration = Duration::from_secs(10);

/// Short runs in a row after which a function is trusted.
const PROBATION: u32 = 8;

/// A new sample has a weight of one in this many.
const SHARE: u32 = 16;

impl InlineGuard {
    /// Returns whether the function may run in the task that reads.
    pub(crate) fn is_trusted(&self) -> bool {
        self.short.load(Ordering::Relaxed) >= PROBATION
    }

    /// Adds a sample. Returns whether it has ended the trust in the function, which happens at most
    /// once per [`PENALTY`].
    // Mostly not read-modify-writes: if two calls race, a sample is lost, and the next one tells as
    // much.
    pub(crate) fn note(&self, taken: Duration) -> bool {
        self.note_at(taken, clock())
    }

    fn note_at(&self, taken: Duration, now: u64) -> bool {
        // Bounded, so that one very long run does not dominate the average for long.
        let sample = taken.min(MAX_ONCE).as_nanos() as u32;
        let average = match self.average.load(Ordering::Relaxed) {
            0 => sample,
            before => before - before / SHARE + sample / SHARE,
        };
        self.average.store(average.max(1), Ordering::Relaxed);
        if taken >= MAX_ONCE || u128::from(average) >= MAX_AVERAGE.as_nanos() {
            self.slow_at.store(now.max(1), Ordering::Relaxed);
            return self.short.swap(0, Ordering::Relaxed) >= PROBATION;
        }
        let short = self.short.load(Ordering::Relaxed);
        if short < PROBATION {
            let slow_at = self.slow_at.load(Ordering::Relaxed);
            if slow_at == 0 || u128::from(now.saturating_sub(slow_at)) >= PENALTY.as_millis() {
                self.short.store(short + 1, Ordering::Relaxed);
            }
        }
        false
    }
}

/// Milliseconds since the first use.
fn clock() -> u64 {
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    u64::try_from(START.elapsed().as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHORT: Duration = Duration::from_micros(5);

    fn trusted_at(now: u64) -> InlineGuard {
        let guard = InlineGuard::default();
        for n in 0..PROBATION {
            assert!(!guard.is_trusted(), "after {n} runs");
            assert!(!guard.note_at(SHORT, now));
        }
        assert!(guard.is_trusted());
        guard
    }

    /// The number of short runs at `now` after which `guard` is trusted.
    fn runs_until_trusted(guard: &InlineGuard, now: u64) -> u32 {
        let runs = (0..1_000).take_while(|_| {
            let untrusted = !guard.is_trusted();
            guard.note_at(SHORT, now);
            untrusted
        });
        runs.count() as u32
    }

    #[test]
    fn one_slow_run_ends_the_trust_for_a_while() {
        for taken in [MAX_ONCE, 2 * MAX_ONCE, Duration::from_secs(3_600)] {
            let slow_at = 8;
            let trusted_again = slow_at + PENALTY.as_millis() as u64;
            let guard = trusted_at(slow_at - 1);
            assert!(guard.note_at(taken, slow_at));
            // However many short runs there are, at the first and the last moment of the penalty.
            for during in [slow_at, slow_at + 1, trusted_again - 1] {
                assert_eq!(runs_until_trusted(&guard, during), 1_000, "{taken:?}");
            }
            assert_eq!(runs_until_trusted(&guard, trusted_again), PROBATION);
        }
    }

    #[test]
    fn a_slow_run_meanwhile_prolongs_it() {
        let guard = trusted_at(7);
        let penalty = PENALTY.as_millis() as u64;
        assert!(guard.note_at(MAX_ONCE, 8));
        assert!(!guard.note_at(MAX_ONCE, 4_000), "it was not trusted");
        // Until the two no longer show in the average.
        for _ in 0..1_000 {
            guard.note_at(SHORT, 4_000);
        }
        assert_eq!(runs_until_trusted(&guard, 3_999 + penalty), 1_000);
        assert_eq!(runs_until_trusted(&guard, 4_000 + penalty), PROBATION);
    }

    #[test]
    fn a_slow_average_ends_it_too() {
        for taken in [1, 2, 5, 9].map(|n| n * MAX_AVERAGE) {
            let guard = trusted_at(7);
            let runs = (0..1_000).take_while(|_| !guard.note_at(taken, 8)).count();
            assert!(runs < 1_000, "{taken:?}");
            assert!(!guard.is_trusted());
        }
        let guard = trusted_at(7);
        assert!((0..1_000).all(|_| !guard.note_at(MAX_AVERAGE - Duration::from_micros(1), 8)));
        assert!(guard.is_trusted());
    }

    #[test]
    fn a_function_that_is_slow_from_the_start_never_runs_there() {
        let guard = InlineGuard::default();
        // Runs at intervals that are shorter than the penalty, for ten times as long.
        let penalty = PENALTY.as_millis() as u64;
        for now in (0..10 * penalty).step_by(50) {
            guard.note_at(MAX_ONCE, now);
            assert!(!guard.is_trusted());
        }
    }
}
