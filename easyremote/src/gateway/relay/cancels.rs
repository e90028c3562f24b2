//! Rate limit for calls that are cancelled before they are answered.

use parking_lot::Mutex;
use tokio::time::sleep;

use crate::gateway::limits::GatewayLimits;
use crate::transport::token_bucket::TokenBucket;

/// Limits how many calls a peer abandons before any response: a token bucket that each answered
/// call refills by one token.
#[derive(Debug)]
pub(super) struct CancelRateLimiter {
    /// Negative while more calls were abandoned than allowed: those had already started.
    bucket: Mutex<TokenBucket>,
}

impl CancelRateLimiter {
    pub(super) fn new(limits: &GatewayLimits) -> Self {
        let (per_second, burst) = (limits.cancels_per_second, limits.cancel_burst);
        let bucket = TokenBucket::new(f64::from(per_second), f64::from(burst));
        Self { bucket: Mutex::new(bucket) }
    }

    /// Records that a call was abandoned; takes a token.
    pub(super) fn note(&self) {
        self.bucket.lock().add(-1.0);
    }

    /// Records that a call was answered; adds a token.
    pub(super) fn make_up(&self) {
        let mut bucket = self.bucket.lock();
        // The bucket is usually full; then the clock need not be read.
        if !bucket.was_full() {
            bucket.add(1.0);
        }
    }

    /// Waits until the peer may start another call; invokes `throttled` once if it has to wait.
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
