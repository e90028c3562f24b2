//! Back-off between attempts to dial a gateway.

use std::time::Duration;

use tokio::time::Instant;

use crate::call::backoff::ExponentialBackoff;
use crate::wire::limits::HANDSHAKE_TIMEOUT;

/// Pauses between attempts: 250 ms, growing by a factor of 1.6 to 10 s. Each pause is jittered to
/// 50 to 100 % of that, so that the peers of a restarted gateway do not arrive at the same time.
#[derive(Debug, Default)]
pub(super) struct ReconnectBackoff {
    failures: u32,
    refusals: u32,
    expelled: bool,
    connected: Option<Instant>,
    /// The pause after the last attempt, if its caller gave up instead of waiting for it.
    owed: Option<Duration>,
    /// Set after the gateway has left on purpose.
    expected: Option<ExpectedReturn>,
}

/// A gateway that has left on purpose and is expected to return soon.
#[derive(Debug)]
struct ExpectedReturn {
    /// After this time it is treated like any lost gateway.
    until: Instant,
    /// Its round-trip time.
    rtt: Duration,
    attempts: u32,
}

impl ReconnectBackoff {
    const CONNECT: ExponentialBackoff = ExponentialBackoff {
        first: Duration::from_millis(250),
        longest: Duration::from_secs(10),
        factor: 1.6,
        jitter: (0.5, 1.0),
    };
    /// A refusal needs human intervention, so retries are rare.
    const REFUSED: ExponentialBackoff = ExponentialBackoff {
        first: Duration::from_secs(10),
        longest: Duration::from_secs(60),
        factor: 2.0,
        jitter: (0.5, 1.0),
    };
    /// A connection that lasted this long counts as a success. One that is accepted and closed
    /// repeatedly does not, so it is not retried in a tight loop.
    const HEALTHY: Duration = Duration::from_secs(10);
    /// Longest expected duration of a restart; the default limit of calls that wait is as long.
    const RETURN: Duration = Duration::from_secs(15);
    /// Pauses while the gateway may be restarting.
    const RETURNING: ExponentialBackoff = ExponentialBackoff {
        first: Duration::from_millis(250),
        longest: Duration::from_millis(500),
        factor: 1.6,
        jitter: (0.5, 1.0),
    };
    /// Time limit of an attempt while the gateway may be restarting, in addition to four round
    /// trips. QUIC retransmits its first packet only after 1 s and 3 s (RFC 9002, section 6.2.2),
    /// and the gateway may be back long before.
    const RETURNING_ATTEMPT: ExponentialBackoff = ExponentialBackoff {
        first: Duration::from_millis(500),
        longest: HANDSHAKE_TIMEOUT,
        factor: 1.5,
        jitter: (1.0, 1.0),
    };

    pub(super) fn connected(&mut self) {
        self.connected = Some(Instant::now());
        self.expected = None;
    }

    /// Records that the gateway, `rtt` away, has left on purpose and will be restarted.
    pub(super) fn expect_back(&mut self, rtt: Duration) {
        let until = Instant::now() + Self::RETURN;
        self.expected = Some(ExpectedReturn { until, rtt, attempts: 0 });
        // The connection ended on purpose, so a short one is no sign of a fault.
        self.connected = None;
    }

    /// Returns the expected return, if the gateway may be restarting now.
    fn returning(&mut self) -> Option<&mut ExpectedReturn> {
        self.expected.take_if(|expected| expected.until <= Instant::now());
        self.expected.as_mut()
    }

    /// Returns the time limit for the next attempt.
    pub(super) fn attempt_limit(&mut self) -> Duration {
        let Some(expected) = self.returning() else { return HANDSHAKE_TIMEOUT };
        let limit = Self::RETURNING_ATTEMPT.pause(expected.attempts) + expected.rtt * 4;
        limit.min(HANDSHAKE_TIMEOUT)
    }

    /// Records that the caller gave up after a failed attempt, instead of waiting `pause` for the
    /// next.
    pub(super) fn gave_up(&mut self, pause: Duration) {
        self.owed = Some(pause);
    }

    /// Returns the pause before the first attempt after a connection. It is short if the connection
    /// was healthy, but random, so that the peers of a restarting gateway do not all arrive at
    /// once. After [`gave_up`](Self::gave_up) it is the pause that is still outstanding.
    pub(super) fn after_loss(&mut self) -> Option<Duration> {
        if let Some(owed) = self.owed.take() {
            return Some(owed);
        }
        if self.returning().is_some() {
            return Some(Self::RETURNING.pause(0));
        }
        let connected = self.connected.take()?;
        if std::mem::take(&mut self.expelled) {
            return Some(self.refused());
        }
        if connected.elapsed() >= Self::HEALTHY {
            (self.failures, self.refusals) = (0, 0);
            return Some(Self::CONNECT.first.mul_f64(fastrand::f64()));
        }
        Some(self.pause())
    }

    pub(super) fn pause(&mut self) -> Duration {
        if let Some(expected) = self.returning() {
            expected.attempts = expected.attempts.saturating_add(1);
            return Self::RETURNING.pause(expected.attempts);
        }
        let pause = Self::CONNECT.pause(self.failures);
        self.failures = self.failures.saturating_add(1);
        pause
    }

    /// Returns the pause after a refusal: 10 s, doubling each time up to 60 s.
    pub(super) fn refused(&mut self) -> Duration {
        let pause = Self::REFUSED.pause(self.refusals);
        self.refusals = self.refusals.saturating_add(1);
        pause
    }

    /// Records that the gateway revoked the connection: the next attempt waits as after a refusal.
    pub(super) fn expelled(&mut self) {
        self.expelled = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn only_a_connection_that_held_resets_the_pauses() {
        let mut backoff = ReconnectBackoff { failures: 50, ..ReconnectBackoff::default() };
        assert_eq!(backoff.after_loss(), None);
        backoff.connected();
        assert!(backoff.after_loss().unwrap() >= ReconnectBackoff::CONNECT.longest / 2);
        backoff.connected();
        tokio::time::advance(ReconnectBackoff::HEALTHY).await;
        assert!(backoff.after_loss().unwrap() <= ReconnectBackoff::CONNECT.first);
        assert!(backoff.pause() <= ReconnectBackoff::CONNECT.first);
    }

    #[tokio::test(start_paused = true)]
    async fn a_gateway_that_has_left_on_purpose_is_looked_for_often_and_not_for_ever() {
        let mut backoff = ReconnectBackoff { failures: 50, ..ReconnectBackoff::default() };
        assert_eq!(backoff.attempt_limit(), HANDSHAKE_TIMEOUT);
        backoff.connected();
        backoff.expect_back(Duration::from_millis(100));
        assert!(backoff.after_loss().unwrap() <= Duration::from_millis(250));
        assert_eq!(backoff.attempt_limit(), Duration::from_millis(900));
        let mut limit = Duration::ZERO;
        for _ in 0..20 {
            assert!(backoff.pause() <= Duration::from_millis(500));
            // A limit that is too short for a slow gateway is followed by a longer one.
            assert!(backoff.attempt_limit() >= limit);
            limit = backoff.attempt_limit();
        }
        assert_eq!(limit, HANDSHAKE_TIMEOUT);
        tokio::time::advance(ReconnectBackoff::RETURN).await;
        assert!(backoff.pause() >= ReconnectBackoff::CONNECT.longest / 2);
        assert_eq!(backoff.after_loss(), None);
        // A gateway that has returned and is lost has not left on purpose.
        backoff.expect_back(Duration::from_secs(1));
        backoff.connected();
        assert!(backoff.after_loss().unwrap() >= ReconnectBackoff::CONNECT.longest / 2);
    }

    #[test]
    fn who_has_given_up_does_not_come_back_at_once() {
        let mut backoff = ReconnectBackoff::default();
        let pause = backoff.refused();
        backoff.gave_up(pause);
        assert_eq!((backoff.after_loss(), backoff.after_loss()), (Some(pause), None));
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_refused_comes_back_seldom() {
        let mut backoff = ReconnectBackoff::default();
        let pauses: Vec<Duration> = (0..20).map(|_| backoff.refused()).collect();
        assert!(pauses[0] >= ReconnectBackoff::CONNECT.longest / 2, "{pauses:?}");
        assert!(pauses[19] >= ReconnectBackoff::REFUSED.longest / 2, "{pauses:?}");
        assert!(
            pauses.iter().all(|pause| *pause <= ReconnectBackoff::REFUSED.longest),
            "{pauses:?}"
        );

        let mut backoff = ReconnectBackoff::default();
        backoff.connected();
        tokio::time::advance(ReconnectBackoff::HEALTHY).await;
        backoff.expelled();
        assert!(backoff.after_loss().unwrap() >= ReconnectBackoff::CONNECT.longest / 2);
    }
}
