//! How long to wait before a gateway is dialled again.

use std::time::Duration;

use tokio::time::Instant;

use crate::call::backoff::ExponentialBackoff;

/// Pauses between attempts: 250 ms, growing by 1.6 to 10 s, each between half and all of that, so
/// that many peers of a gateway that comes back do not arrive at once.
#[derive(Debug, Default)]
pub(super) struct ReconnectBackoff {
    failures: u32,
    refusals: u32,
    expelled: bool,
    connected: Option<Instant>,
    /// The pause after the last attempt, which nobody has made because nobody waited any longer.
    owed: Option<Duration>,
}

impl ReconnectBackoff {
    const CONNECT: ExponentialBackoff = ExponentialBackoff {
        first: Duration::from_millis(250),
        longest: Duration::from_secs(10),
        factor: 1.6,
        jitter: (0.5, 1.0),
    };
    /// Only a person can change what a gateway refuses.
    const REFUSED: ExponentialBackoff = ExponentialBackoff {
        first: Duration::from_secs(10),
        longest: Duration::from_secs(60),
        factor: 2.0,
        jitter: (0.5, 1.0),
    };
    /// A connection that held this long counts as a success. One that is accepted and closed again
    /// and again does not, so it is not retried in a hot loop.
    const HEALTHY: Duration = Duration::from_secs(10);

    pub(super) fn connected(&mut self) {
        self.connected = Some(Instant::now());
    }

    /// Notes that whoever dials has been told of a failed attempt instead of waiting for another.
    pub(super) fn gave_up(&mut self, pause: Duration) {
        self.owed = Some(pause);
    }

    /// The pause before the first attempt after a connection: short if it was healthy, so that the
    /// peers of a gateway that restarts do not all come in the same instant. After having given up
    /// it is the one that would have come then.
    pub(super) fn after_loss(&mut self) -> Option<Duration> {
        if let Some(owed) = self.owed.take() {
            return Some(owed);
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
        let pause = Self::CONNECT.pause(self.failures);
        self.failures = self.failures.saturating_add(1);
        pause
    }

    /// The pause after a refusal: 10 s at first, twice as long each time, and a minute at most.
    pub(super) fn refused(&mut self) -> Duration {
        let pause = Self::REFUSED.pause(self.refusals);
        self.refusals = self.refusals.saturating_add(1);
        pause
    }

    /// The gateway took the peer's connection back: the next attempt waits as after a refusal.
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
