//! Histograms of durations: how many calls took how long.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The upper bounds of the buckets, in microseconds. The last bucket has none.
const BOUNDS: [u64; 19] = [
    100,
    250,
    500,
    1_000,
    2_500,
    5_000,
    10_000,
    25_000,
    50_000,
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    30_000_000,
    60_000_000,
    300_000_000,
];

const N_BUCKETS: usize = BOUNDS.len() + 1;

/// How many calls took how long, in buckets from 100 us to 5 min; in
/// [`FunctionStats`](crate::call::function_meter::FunctionStats).
///
/// The counts only grow while the gateway or node runs. The difference of two histograms of one
/// function, bucket by bucket, is that of the calls in between.
///
/// ```
/// use std::time::Duration;
///
/// use easyremote::node::DurationHistogram;
///
/// let histogram = DurationHistogram::default();
/// assert_eq!((histogram.count(), histogram.sum()), (0, Duration::ZERO));
/// assert_eq!(histogram.quantile(0.99), None);
/// let bounds: Vec<_> = histogram.buckets().map(|(bound, _)| bound).collect();
/// assert_eq!(bounds[0], Some(Duration::from_micros(100)));
/// assert_eq!(bounds.last(), Some(&None), "the last one is for what takes longer");
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "WrittenHistogram", from = "WrittenHistogram")]
pub struct DurationHistogram {
    counts: [u64; N_BUCKETS],
    sum: Duration,
}

impl DurationHistogram {
    /// Returns the number of durations.
    #[must_use]
    pub fn count(&self) -> u64 {
        // Saturates: a gateway may send any counts.
        self.counts.iter().fold(0, |sum, n| sum.saturating_add(*n))
    }

    /// Returns the sum of all durations, which is exact.
    #[must_use]
    pub fn sum(&self) -> Duration {
        self.sum
    }

    /// Returns the buckets, shortest first: the upper bound, which belongs to the bucket, and the
    /// number of durations that are longer than the bound before. The last bucket has no bound.
    pub fn buckets(&self) -> impl Iterator<Item = (Option<Duration>, u64)> + '_ {
        let bounds = BOUNDS.iter().copied().map(Duration::from_micros).map(Some);
        bounds.chain([None]).zip(self.counts)
    }

    /// Returns an estimate of the duration that the given share of all durations does not exceed,
    /// for a share from 0 to 1; `None` if there are no durations. Durations are taken to be spread
    /// evenly within a bucket, and those above the last bound to be equal to it.
    #[must_use]
    pub fn quantile(&self, share: f64) -> Option<Duration> {
        let count = self.count();
        if count == 0 {
            return None;
        }
        let rank = share.clamp(0.0, 1.0) * count as f64;
        let (mut before, mut lower) = (0_u64, 0);
        for (n, upper) in self.counts.iter().zip(BOUNDS) {
            if *n > 0 && before.saturating_add(*n) as f64 >= rank {
                let within = (rank - before as f64).max(0.0) / *n as f64;
                let micros = lower as f64 + (upper - lower) as f64 * within;
                return Some(Duration::from_secs_f64(micros / 1e6));
            }
            before = before.saturating_add(*n);
            lower = upper;
        }
        Some(Duration::from_micros(lower))
    }
}

/// A histogram as a gateway writes it for clients and over HTTP. A client reads sum and buckets.
#[derive(Serialize, Deserialize)]
struct WrittenHistogram {
    #[serde(skip_deserializing)]
    count: u64,
    #[serde(rename = "sum_seconds", with = "seconds")]
    sum: Duration,
    #[serde(skip_deserializing)]
    p50_seconds: Option<f64>,
    #[serde(skip_deserializing)]
    p99_seconds: Option<f64>,
    buckets: [u64; N_BUCKETS],
}

impl From<DurationHistogram> for WrittenHistogram {
    fn from(histogram: DurationHistogram) -> Self {
        let quantile = |share| histogram.quantile(share).map(|time| time.as_secs_f64());
        Self {
            count: histogram.count(),
            sum: histogram.sum,
            p50_seconds: quantile(0.5),
            p99_seconds: quantile(0.99),
            buckets: histogram.counts,
        }
    }
}

impl From<WrittenHistogram> for DurationHistogram {
    fn from(written: WrittenHistogram) -> Self {
        Self { counts: written.buckets, sum: written.sum }
    }
}

/// Durations as seconds with a fraction.
pub(crate) mod seconds {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    pub(crate) fn serialize<S: Serializer>(time: &Duration, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_f64(time.as_secs_f64())
    }

    /// Reads what is no duration, which only a gateway that misbehaves sends, as the longest one.
    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
        let seconds = f64::deserialize(from)?;
        Ok(Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX))
    }

    /// Durations that may be missing.
    pub(crate) mod optional {
        use std::time::Duration;

        use serde::{Deserialize, Deserializer, Serialize, Serializer};

        #[derive(Serialize, Deserialize)]
        struct Seconds(#[serde(with = "super")] Duration);

        pub(crate) fn serialize<S: Serializer>(
            time: &Option<Duration>,
            to: S,
        ) -> Result<S::Ok, S::Error> {
            time.map(Seconds).serialize(to)
        }

        pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
            from: D,
        ) -> Result<Option<Duration>, D::Error> {
            Ok(Option::<Seconds>::deserialize(from)?.map(|Seconds(time)| time))
        }
    }
}

/// A histogram that is being recorded. Lock-free: any number of threads may record at once.
#[derive(Debug, Default)]
pub(crate) struct LiveHistogram {
    counts: [AtomicU64; N_BUCKETS],
    nanos: AtomicU64,
}

impl LiveHistogram {
    pub(crate) fn record(&self, took: Duration) {
        let micros = took.as_nanos().div_ceil(1_000) as u64;
        let bucket = BOUNDS.partition_point(|bound| *bound < micros);
        self.counts[bucket].fetch_add(1, Ordering::Relaxed);
        if !took.is_zero() {
            self.nanos.fetch_add(took.as_nanos() as u64, Ordering::Relaxed);
        }
    }

    /// Returns what has been recorded. What is recorded meanwhile may be missing from the sum.
    pub(crate) fn read(&self) -> DurationHistogram {
        let sum = Duration::from_nanos(self.nanos.load(Ordering::Relaxed));
        let counts = std::array::from_fn(|i| self.counts[i].load(Ordering::Relaxed));
        DurationHistogram { counts, sum }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_duration_is_in_the_first_bucket_that_it_does_not_exceed() {
        let mut random = fastrand::Rng::with_seed(1);
        let (live, mut durations) = (LiveHistogram::default(), Vec::new());
        for bound in BOUNDS {
            for nanos in [bound * 1_000 - 1, bound * 1_000, bound * 1_000 + 1] {
                durations.push(Duration::from_nanos(nanos));
            }
        }
        durations.extend((0..1_000).map(|_| Duration::from_nanos(1 << random.u32(0..40))));
        durations.push(Duration::ZERO);
        durations.iter().for_each(|took| live.record(*took));
        let histogram = live.read();
        assert_eq!(histogram.count(), durations.len() as u64);
        assert_eq!(histogram.sum(), durations.iter().sum::<Duration>());
        let mut lower = None;
        for (upper, n) in histogram.buckets() {
            let is_in = |took: &&Duration| {
                lower.is_none_or(|lower| **took > lower) && upper.is_none_or(|it| **took <= it)
            };
            assert_eq!(n, durations.iter().filter(is_in).count() as u64, "{lower:?} to {upper:?}");
            lower = upper;
        }
    }

    #[test]
    fn what_is_written_is_read_as_it_was() {
        let mut random = fastrand::Rng::with_seed(3);
        for n in [0, 1, 1_000] {
            let live = LiveHistogram::default();
            (0..n).for_each(|_| live.record(Duration::from_nanos(1 << random.u32(0..40))));
            let written = serde_json::to_value(live.read()).unwrap();
            assert_eq!(written["count"], n);
            assert_eq!(written["p50_seconds"].is_null(), n == 0);
            assert_eq!(serde_json::from_value::<DurationHistogram>(written).unwrap(), live.read());
        }
    }

    #[test]
    fn a_sum_that_is_no_duration_does_no_harm() {
        let buckets = [u64::MAX; N_BUCKETS];
        for sum in [-1.0, 1e300, f64::MIN] {
            let sent = serde_json::json!({ "sum_seconds": sum, "buckets": buckets });
            let read: DurationHistogram = serde_json::from_value(sent).unwrap();
            assert_eq!((read.sum(), read.count()), (Duration::MAX, u64::MAX));
            assert!(read.quantile(0.5).is_some());
        }
    }

    #[test]
    fn a_quantile_is_within_the_bucket_of_the_exact_one() {
        let mut random = fastrand::Rng::with_seed(2);
        let live = LiveHistogram::default();
        let mut durations: Vec<_> =
            (0..5_000).map(|_| Duration::from_micros(random.u64(1..2_000_000))).collect();
        durations.iter().for_each(|took| live.record(*took));
        durations.sort_unstable();
        let histogram = live.read();
        for percent in [1, 10, 50, 90, 99, 100] {
            let exact = durations[durations.len() * percent / 100 - 1].as_micros() as u64;
            let found = histogram.quantile(percent as f64 / 100.0).unwrap().as_micros() as u64;
            let bucket = BOUNDS.partition_point(|bound| *bound < exact);
            let lower = if bucket == 0 { 0 } else { BOUNDS[bucket - 1] };
            assert!((lower..=BOUNDS[bucket]).contains(&found), "{percent} %: {found} for {exact}");
        }
        let all_long = LiveHistogram::default();
        all_long.record(Duration::from_secs(1_000_000));
        assert_eq!(all_long.read().quantile(0.5), Some(Duration::from_secs(300)));
    }
}
