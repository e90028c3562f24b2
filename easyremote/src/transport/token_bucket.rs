//! A token bucket, for rate limits.

use std::time::Duration;

use tokio::time::Instant;

/// A token bucket: `burst` tokens at once, and `per_second` sustained. Its balance may be negative,
/// so that an event can be charged whose cost is known only afterwards.
#[derive(Debug)]
pub(crate) struct TokenBucket {
    per_second: f64,
    burst: f64,
    tokens: f64,
    filled: Instant,
}

impl TokenBucket {
    /// Creates a full bucket.
    pub(crate) fn new(per_second: f64, burst: f64) -> Self {
        Self { per_second, burst, tokens: burst, filled: Instant::now() }
    }

    /// Adds `tokens`, which may be negative, and those earned since the last update; returns the
    /// balance.
    pub(crate) fn add(&mut self, tokens: f64) -> f64 {
        let now = Instant::now();
        let passed = now.saturating_duration_since(self.filled).as_secs_f64();
        self.filled = now;
        self.tokens = (self.tokens + passed * self.per_second + tokens).min(self.burst);
        self.tokens
    }

    /// Takes a token if one is available; returns whether it did.
    pub(crate) fn take(&mut self) -> bool {
        let there = self.add(0.0) >= 1.0;
        self.tokens -= f64::from(u8::from(there));
        there
    }

    /// Returns the time until the bucket has this many tokens.
    pub(crate) fn time_until(&mut self, tokens: f64) -> Duration {
        let missing = (tokens - self.add(0.0)).max(0.0);
        Duration::from_secs_f64(missing / self.per_second)
    }

    /// Returns whether the bucket was full at the last update; does not read the clock.
    pub(crate) fn was_full(&self) -> bool {
        self.tokens >= self.burst
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_is_taken_comes_back_with_time_and_no_more_than_that() {
        let mut bucket = TokenBucket::new(10.0, 3.0);
        assert_eq!((0..5).filter(|_| bucket.take()).count(), 3);
        assert!(!bucket.was_full());
        assert_eq!(bucket.time_until(1.0), Duration::from_millis(100));
        tokio::time::advance(Duration::from_millis(150)).await;
        assert!(bucket.take() && !bucket.take());
        tokio::time::advance(Duration::from_secs(1_000)).await;
        assert_eq!(bucket.add(0.0), 3.0);
        assert!(bucket.was_full());
        assert_eq!(bucket.add(-5.0), -2.0, "a debt");
        assert_eq!(bucket.time_until(0.0), Duration::from_millis(200));
    }
}
