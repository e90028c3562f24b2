//! A limit on calls that are given up.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::{Instant, sleep};

use crate::gateway::limits::GatewayLimits;

/// Limits how many calls a peer gives up before anything has come back: a token bucket, into which
/// each answered call puts a token.
#[derive(Debug)]
pub(super) struct CancelRateLimiter {
    per_second: f64,
    burst: f64,
    bucket: Mutex<Bucket>,
}

#[derive(Debug)]
struct Bucket {
    /// Below zero if calls that were begun before are given up.
    tokens: f64,
    filled: Instant,
}

impl CancelRateLimiter {
    pub(super) fn new(limits: &GatewayLimits) -> Self {
        let burst = f64::from(limits.cancel_burst);
        let bucket = Mutex::new(Bucket { tokens: burst, filled: Instant::now() });
        Self { per_second: f64::from(limits.cancels_per_second), burst, bucket }
    }

    /// Notes that a call was given up.
    pub(super) fn note(&self) {
        self.add(-1.0);
    }

    /// Notes that a call was answered.
    pub(super) fn make_up(&self) {
        // A full bucket is the rule, and needs no clock.
        if self.bucket.lock().tokens < self.burst {
            self.add(1.0);
        }
    }

    /// Waits until the peer may begin another call; `throttled` is called if that takes time.
    /// Cancel safe.
    pub(super) async fn wait(&self, throttled: impl FnOnce()) {
        let mut tokens = self.add(0.0);
        if tokens >= 1.0 {
            return;
        }
        throttled();
        while tokens < 1.0 {
            sleep(Duration::from_secs_f64((1.0 - tokens) / self.per_second)).await;
            tokens = self.add(0.0);
        }
    }

    /// Adds `tokens` and those of the time that has passed; says how many there are.
    fn add(&self, tokens: f64) -> f64 {
        let mut bucket = self.bucket.lock();
        let now = Instant::now();
        let passed = now.saturating_duration_since(bucket.filled).as_secs_f64();
        bucket.filled = now;
        bucket.tokens = (bucket.tokens + passed * self.per_second + tokens).min(self.burst);
        bucket.tokens
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn who_gives_up_too_many_calls_waits() {
        let cancels = CancelRateLimiter::new(&GatewayLimits::new().cancels(10, 100));
        (0..99).for_each(|_| cancels.note());
        assert!(cancels.add(0.0) >= 1.0, "one is left");
        cancels.note();
        assert!(cancels.add(0.0) < 1.0);
        cancels.make_up();
        assert!(cancels.add(0.0) >= 1.0, "an answer makes up for it");
        (0..101).for_each(|_| cancels.note());
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(cancels.add(0.0) < 1.0, "100 below zero, and 10 a second");
        tokio::time::advance(Duration::from_secs(10)).await;
        assert!(cancels.add(0.0) >= 1.0);
        tokio::time::advance(Duration::from_secs(1_000)).await;
        assert!(cancels.add(0.0) <= 100.0, "what is not used is not kept for ever");
    }
}
