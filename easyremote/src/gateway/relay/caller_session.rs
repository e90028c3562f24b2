//! A peer that makes calls, and what it may use up.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::error::{Error, ErrorKind};
use crate::gateway::GatewayState;
use crate::gateway::limits::{GatewayLimits, hit};
use crate::gauge::MemoryCharge;
use crate::transport::quic::windows::StreamWindows;
use crate::wire::caller::{Caller, KnownCaller};
use crate::wire::frame::FRAME_HEADER;

/// A connection over which calls come.
#[derive(Debug)]
pub(crate) struct CallerSession {
    pub(crate) shared: Arc<GatewayState>,
    /// What nodes are told of it.
    pub(crate) caller: KnownCaller,
    /// No other connection has it.
    pub(crate) number: u64,
    pub(crate) connection: quinn::Connection,
    /// For the streams of that.
    pub(crate) credits: Arc<StreamWindows>,
    /// It has opened its mux.
    pub(crate) has_mux: AtomicBool,
    pub(crate) cancels: CancelRateLimiter,
    /// Bytes that are kept for it.
    buffered: Arc<AtomicU64>,
}

impl CallerSession {
    pub(crate) fn new(
        connection: &quinn::Connection,
        credits: &Arc<StreamWindows>,
        caller: Caller,
        shared: &Arc<GatewayState>,
    ) -> Self {
        Self {
            shared: shared.clone(),
            caller: KnownCaller::new(caller),
            number: shared.counters.sessions.fetch_add(1, Ordering::Relaxed),
            connection: connection.clone(),
            credits: credits.clone(),
            has_mux: AtomicBool::new(false),
            cancels: CancelRateLimiter::new(&shared.limits),
            buffered: Arc::default(),
        }
    }

    /// A place for `bytes` that are kept for one of its calls.
    ///
    /// # Errors
    /// `Overloaded` if too much is kept already.
    pub(crate) fn keep(&self, bytes: usize) -> Result<MemoryCharge, Error> {
        let shared = &self.shared;
        let one_message = (shared.max_message + FRAME_HEADER) as u64;
        let limit = shared.limits.buffered_per_peer.max(one_message);
        let mut charge = MemoryCharge::new(&self.buffered, limit);
        if charge.grow_to(bytes) {
            return Ok(charge);
        }
        hit(&shared.hits.buffered);
        let text = format!(
            "the gateway keeps {limit} bytes of calls and answers for this connection already: \
             read the answers, or make fewer calls at a time"
        );
        Err(Error::new(ErrorKind::Overloaded, text).with_retry_after(Duration::from_millis(100)))
    }
}

/// Counts calls that were given up before anything came back: a token bucket, of which answered
/// calls give tokens back.
#[derive(Debug)]
pub(crate) struct CancelRateLimiter {
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
    fn new(limits: &GatewayLimits) -> Self {
        let burst = f64::from(limits.cancel_burst);
        let bucket = Mutex::new(Bucket { tokens: burst, filled: Instant::now() });
        Self { per_second: f64::from(limits.cancels_per_second), burst, bucket }
    }

    /// Notes that a call was given up.
    pub(crate) fn note(&self) {
        self.add(-1.0);
    }

    /// Notes that a call was answered.
    pub(crate) fn make_up(&self) {
        // A full bucket is the rule, and needs no clock.
        if self.bucket().tokens < self.burst {
            self.add(1.0);
        }
    }

    fn bucket(&self) -> MutexGuard<'_, Bucket> {
        // A float is whole whatever panics.
        self.bucket.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until the peer may begin another call. Cancel safe.
    pub(crate) async fn wait(&self, shared: &GatewayState) {
        let mut tokens = self.add(0.0);
        if tokens >= 1.0 {
            return;
        }
        hit(&shared.hits.throttled);
        while tokens < 1.0 {
            sleep(Duration::from_secs_f64((1.0 - tokens) / self.per_second)).await;
            tokens = self.add(0.0);
        }
    }

    /// Adds `tokens` and those of the time that has passed; says how many there are.
    fn add(&self, tokens: f64) -> f64 {
        let mut bucket = self.bucket();
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
