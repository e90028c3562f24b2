//! Latency estimate of a function at a node: a moving average in one atomic word.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The moving average of the latency of one function at one node ("peak EWMA", as in Finagle and
/// tower).
///
/// A slower answer takes effect at once; a faster one moves the average over
/// [`MEMORY`](Self::MEMORY). A node that has become slow is therefore avoided from its first slow
/// answer on.
///
/// A failure says nothing about latency, however fast it is, so it does not change an average. A
/// node with nothing but failures counts as failing for a moment instead of unknown; otherwise a
/// node that fails fast would attract every call. Nodes that keep failing are handled by outlier
/// detection.
///
/// Lock-free: any number of threads may record at the same time.
///
/// | bits     | meaning                                                                   |
/// |----------|---------------------------------------------------------------------------|
/// | 63       | only failures are known                                                   |
/// | 32 to 62 | the average in microseconds as an `f32`; 0 if nothing is known             |
/// | 0 to 31  | when it was recorded, in milliseconds of the router's clock, wrapping       |
#[derive(Debug, Default)]
pub(crate) struct LatencyEstimate(AtomicU64);

/// The expected latency of a node.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum LatencyForecast {
    /// No measurement, or none recently.
    Unknown,
    /// Recent failures and no success.
    Failing,
    /// The expected latency in microseconds.
    Micros(f64),
}

#[derive(Clone, Copy)]
struct Recorded {
    micros: f64,
    at_ms: u32,
    only_failures: bool,
}

impl LatencyEstimate {
    /// Time constant of the average: after this time a measurement has a weight of 1/e.
    pub(crate) const MEMORY: Duration = Duration::from_secs(10);

    /// How long a node with nothing but failures is avoided. Where all nodes fail occasionally,
    /// this is the cost of a node's first failure.
    pub(crate) const FAILING: Duration = Duration::from_millis(100);

    /// Records a successful call that took `took`.
    pub(crate) fn record(&self, took: Duration, now: Duration) {
        let micros = (took.as_secs_f64() * 1e6).max(1.0);
        self.update(now, |old| {
            let micros = match old {
                Some(old) if !old.only_failures && micros < old.micros => {
                    let weight = weight(old.age(now));
                    old.micros * weight + micros * (1.0 - weight)
                }
                _ => micros,
            };
            Some((micros, false))
        });
    }

    /// Records a failed call.
    pub(crate) fn record_failure(&self, now: Duration) {
        self.update(now, |old| old.is_none_or(|old| old.only_failures).then_some((1.0, true)));
    }

    /// Resets the estimate to unknown.
    pub(crate) fn reset(&self) {
        self.0.store(0, Ordering::Relaxed);
    }

    /// Returns the forecast for the next call. An old average is discounted, because the node may
    /// have become faster.
    pub(crate) fn forecast(&self, now: Duration) -> LatencyForecast {
        match Recorded::unpack(self.0.load(Ordering::Relaxed), now) {
            None => LatencyForecast::Unknown,
            Some(old) if old.only_failures => LatencyForecast::Failing,
            Some(old) => LatencyForecast::Micros(old.micros * weight(old.age(now))),
        }
    }

    /// Replaces the average with the result of `next`, if it is `Some`.
    fn update(&self, now: Duration, next: impl Fn(Option<Recorded>) -> Option<(f64, bool)>) {
        let at_ms = now.as_millis() as u32;
        // The word is self-contained, so relaxed ordering is enough.
        let _ = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |word| {
            let (micros, only_failures) = next(Recorded::unpack(word, now))?;
            Some(Recorded { micros, at_ms, only_failures }.pack())
        });
    }
}

fn weight(age: Duration) -> f64 {
    (-age.as_secs_f64() / LatencyEstimate::MEMORY.as_secs_f64()).exp()
}

impl Recorded {
    fn pack(self) -> u64 {
        let micros = (self.micros as f32).to_bits() | (u32::from(self.only_failures) << 31);
        u64::from(micros) << 32 | u64::from(self.at_ms)
    }

    /// Unpacks a word; `None` if nothing is known. A record of failures alone expires after
    /// [`FAILING`](LatencyEstimate::FAILING), because it says nothing about latency.
    fn unpack(word: u64, now: Duration) -> Option<Self> {
        let high = (word >> 32) as u32;
        let micros = f64::from(f32::from_bits(high & !(1 << 31)));
        let known = Self { micros, at_ms: word as u32, only_failures: high >> 31 == 1 };
        let forgotten = known.only_failures && known.age(now) >= LatencyEstimate::FAILING;
        (micros > 0.0 && !forgotten).then_some(known)
    }

    /// Returns the age of the record. Threads read their clocks before they write, so a record may
    /// lie slightly in the future; its age is then 0 instead of 49 days.
    fn age(self, now: Duration) -> Duration {
        let ms = (now.as_millis() as u32).wrapping_sub(self.at_ms);
        if ms > u32::MAX / 2 { Duration::ZERO } else { Duration::from_millis(u64::from(ms)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FAST: Duration = Duration::from_micros(100);
    const SLOW: Duration = Duration::from_millis(50);
    const NOW: Duration = Duration::from_secs(100);

    fn micros(estimate: &LatencyEstimate, now: Duration) -> f64 {
        match estimate.forecast(now) {
            LatencyForecast::Micros(micros) => micros,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_slow_answer_counts_at_once_and_a_fast_one_little_by_little() {
        let estimate = LatencyEstimate::default();
        assert_eq!(estimate.forecast(NOW), LatencyForecast::Unknown);
        estimate.record(FAST, NOW);
        estimate.record(SLOW, NOW);
        // Its weight is halved after 7 s.
        assert!(micros(&estimate, NOW) > 25_000.0);
        let later = NOW + Duration::from_millis(1);
        estimate.record(FAST, later);
        assert!(micros(&estimate, later) > 25_000.0, "a moment later");
        let much_later = NOW + 8 * LatencyEstimate::MEMORY;
        estimate.record(FAST, much_later);
        assert!(micros(&estimate, much_later) < 200.0);
    }

    #[test]
    fn a_failure_says_nothing_of_how_fast_a_node_is() {
        let estimate = LatencyEstimate::default();
        estimate.record(SLOW, NOW);
        let before = micros(&estimate, NOW);
        (0..100).for_each(|_| estimate.record_failure(NOW));
        assert_eq!(micros(&estimate, NOW), before);
    }

    #[test]
    fn a_node_that_only_fails_is_not_unknown_for_a_moment() {
        let estimate = LatencyEstimate::default();
        estimate.record_failure(NOW);
        assert_eq!(estimate.forecast(NOW), LatencyForecast::Failing);
        assert_eq!(estimate.forecast(NOW + LatencyEstimate::FAILING), LatencyForecast::Unknown);
        estimate.record(FAST, NOW);
        assert!(micros(&estimate, NOW) < 101.0, "its first success counts as it is");
        estimate.reset();
        assert_eq!(estimate.forecast(NOW), LatencyForecast::Unknown);
    }

    #[test]
    fn entries_from_the_near_future_are_new() {
        let estimate = LatencyEstimate::default();
        estimate.record(SLOW, NOW + Duration::from_millis(2));
        assert!(micros(&estimate, NOW) > 49_000.0);
    }
}
