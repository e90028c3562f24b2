//! How long a node takes for a function: a moving average in one atomic word.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The moving average of how long one node takes for one function ("peak EWMA", as in Finagle and
/// tower).
///
/// A slower answer counts at once; a faster one moves the average over [`MEMORY`](Self::MEMORY), so
/// that a node which has become slow is avoided from its first slow answer on. A failure says
/// nothing of how fast the node is, however fast it came: it changes no average, and a node of
/// which nothing else is known is no unknown one for a moment, because one that fails at once would
/// otherwise attract every call. Nodes that keep failing are the matter of the outlier detection.
///
/// Lock-free: any number of threads record at a time.
///
/// | bits     | meaning                                                                   |
/// |----------|---------------------------------------------------------------------------|
/// | 63       | only failures are known                                                   |
/// | 32 to 62 | the average in microseconds as an `f32`; 0 if nothing is known             |
/// | 0 to 31  | when it was recorded, in milliseconds of the router's clock, wrapping       |
#[derive(Debug, Default)]
pub(crate) struct LatencyEstimate(AtomicU64);

/// What is known of a node's latency.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum LatencyForecast {
    /// Nothing, or nothing recent.
    Unknown,
    /// It has failed lately and never succeeded.
    Failing,
    /// The expected time in microseconds.
    Micros(f64),
}

#[derive(Clone, Copy)]
struct Recorded {
    micros: f64,
    at_ms: u32,
    only_failures: bool,
}

impl LatencyEstimate {
    /// After this time a measurement counts for little more than a third of what it did.
    pub(crate) const MEMORY: Duration = Duration::from_secs(10);

    /// How long a node of which nothing but a failure is known is avoided. Where all nodes fail now
    /// and then, this is what the first failure of one costs it.
    pub(crate) const FAILING: Duration = Duration::from_millis(100);

    /// Records that a call succeeded after `took`.
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

    /// Records that a call failed.
    pub(crate) fn record_failure(&self, now: Duration) {
        self.update(now, |old| old.is_none_or(|old| old.only_failures).then_some((1.0, true)));
    }

    /// Forgets everything.
    pub(crate) fn reset(&self) {
        self.0.store(0, Ordering::Relaxed);
    }

    /// Returns what to expect of the next call. An average that nobody has confirmed for a while
    /// counts less, because the node may have become faster.
    pub(crate) fn forecast(&self, now: Duration) -> LatencyForecast {
        match Recorded::unpack(self.0.load(Ordering::Relaxed), now) {
            None => LatencyForecast::Unknown,
            Some(old) if old.only_failures => LatencyForecast::Failing,
            Some(old) => LatencyForecast::Micros(old.micros * weight(old.age(now))),
        }
    }

    /// Replaces the average by what `next` returns, if it returns something.
    fn update(&self, now: Duration, next: impl Fn(Option<Recorded>) -> Option<(f64, bool)>) {
        let at_ms = now.as_millis() as u32;
        // A word depends on nothing but itself, so no ordering is needed.
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

    /// Reads a word; `None` if nothing is known. Failures alone are forgotten after a while: they
    /// say nothing of how fast the node is when it works.
    fn unpack(word: u64, now: Duration) -> Option<Self> {
        let high = (word >> 32) as u32;
        let micros = f64::from(f32::from_bits(high & !(1 << 31)));
        let known = Self { micros, at_ms: word as u32, only_failures: high >> 31 == 1 };
        let forgotten = known.only_failures && known.age(now) >= LatencyEstimate::FAILING;
        (micros > 0.0 && !forgotten).then_some(known)
    }

    /// How long ago it was recorded. Threads read their clocks before they write, so that an entry
    /// may lie in the future by a little: that is an age of 0, not of 49 days.
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
        // Half of it is forgotten after 7 s.
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
