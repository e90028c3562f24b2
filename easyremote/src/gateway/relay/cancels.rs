//! A limit on calls that are given up.

use parking_lot::Mutex;
use tokio::time::sleep;

use crate::gateway::limits::GatewayLimits;
use crate::transport::token_bucket::TokenBucket;

/// Limits how many calls a peer gives up before anything has come back: a token bucket, into which
/// each answered call puts a token.
#[derive(Debug)]
pub(super) struct CancelRateLimiter {
    /// In debt if calls that were begun before are given up.
    bucket: Mutex<TokenBucket>,
}

impl CancelRateLimiter {
    pub(super) fn new(limits: &GatewayLimits) -> Self {
        let (per_second, burst) = (limits.cancels_per_second, limits.cancel_burst);
        let bucket = TokenBucket::new(f64::from(per_second), f64::from(burst));
        Self { bucket: Mutex::new(bucket) }
    }

    /// Notes that a call was given up.
    pub(super) fn note(&self) {
        self.bucket.lock().add(-1.0);
    }

    /// Notes that a call was answered.
    pub(super) fn make_up(&self) {
        let mut bucket = self.bucket.lock();
        // A full bucket is the rule, and needs no clock.
        if !bucket.was_full() {
            bucket.add(1.0);
        }
    }

    /// Waits until the peer may begin another call; `throttled` is called if that takes time.
    /// Cancel safe.
    pub(super) async fn wait(&self, throttled: impl FnOnce()) {
        let mut throttled = Some(throttled);
        loop {
            let pause = self.bucket.lock().time_until(1.0);
            if pause.is_zero() {
                return;
            }
            if let Some(throttled) = throttled.take() {
                throttled();
            }
            sleep(pause).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    impl CancelRateLimiter {
        fn tokens(&self) -> f64 {
            self.bucket.lock().add(0.0)
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_gives_up_too_many_calls_waits() {
        let cancels = CancelRateLimiter::new(&GatewayLimits::new().cancels(10, 100));
        (0..99).for_each(|_| cancels.note());
        assert!(cancels.tokens() >= 1.0, "one is left");
        cancels.note();
        assert!(cancels.tokens() < 1.0);
        cancels.make_up();
        assert!(cancels.tokens() >= 1.0, "an answer makes up for it");
        (0..101).for_each(|_| cancels.note());
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(cancels.tokens() < 1.0, "100 below zero, and 10 a second");
        tokio::time::advance(Duration::from_secs(10)).await;
        assert!(cancels.tokens() >= 1.0);
        tokio::time::advance(Duration::from_secs(1_000)).await;
        assert!(cancels.tokens() <= 100.0, "what is not used is not kept for ever");
    }
}
