//! Exponential back-off with jitter, for attempts at a call and at a connection.

use std::time::Duration;

/// Exponential back-off: pauses grow by a factor from one attempt to the next, up to a limit. Each
/// has random jitter, so that peers that failed together do not come back together.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct ExponentialBackoff {
    pub(crate) first: Duration,
    pub(crate) longest: Duration,
    pub(crate) factor: f64,
    /// Bounds of the random factor on each pause: least, greatest.
    pub(crate) jitter: (f64, f64),
}

impl ExponentialBackoff {
    /// Returns the pause after attempt number `attempt`, counted from 0.
    pub(crate) fn pause(&self, attempt: u32) -> Duration {
        // The exponent is capped: after 64 attempts every pause is the longest.
        let exponent = i32::try_from(attempt.min(64)).unwrap_or(64);
        let full = self.first.as_secs_f64() * self.factor.powi(exponent);
        let (least, greatest) = self.jitter;
        let share = least + (greatest - least) * fastrand::f64();
        let pause = full.min(self.longest.as_secs_f64()) * share;
        // A user may set `Duration::MAX`, and the jitter then exceeds it.
        Duration::try_from_secs_f64(pause).unwrap_or(Duration::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_stay_within_bounds() {
        let (first, longest) = (Duration::from_millis(250), Duration::from_secs(10));
        let backoff = ExponentialBackoff { first, longest, factor: 1.6, jitter: (0.5, 1.0) };
        for attempt in 0..200 {
            let full = (0.25 * 1.6_f64.powi(attempt.min(64))).min(10.0);
            let pause = backoff.pause(attempt as u32).as_secs_f64();
            assert!(pause <= full * 1.001 && pause >= full * 0.499, "{attempt}: {pause} of {full}");
        }
    }

    #[test]
    fn no_option_overflows() {
        for first in [Duration::ZERO, Duration::from_nanos(1), Duration::MAX] {
            for longest in [Duration::ZERO, Duration::from_secs(1), Duration::MAX] {
                let backoff =
                    ExponentialBackoff { first, longest, factor: 2.0, jitter: (0.8, 1.2) };
                for attempt in [0, 1, 63, 64, u32::MAX] {
                    assert!(backoff.pause(attempt) <= longest.saturating_mul(2));
                }
            }
        }
    }
}
