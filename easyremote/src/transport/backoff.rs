//! How long to wait before a gateway is dialled again.

use std::time::Duration;

use tokio::time::Instant;

/// Pauses between attempts: 250 ms, growing by 1.6 to 10 s, each between half and all of that, so
/// that many peers of a gateway that comes back do not arrive at once.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    failures: u32,
    refusals: u32,
    expelled: bool,
    connected: Option<Instant>,
    /// The pause after the last attempt, which nobody has made because nobody waited any longer.
    owed: Option<Duration>,
}

impl Backoff {
    const FIRST: Duration = Duration::from_millis(250);
    const FACTOR: f64 = 1.6;
    const LONGEST: Duration = Duration::from_secs(10);
    const LONGEST_REFUSED: Duration = Duration::from_secs(60);
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
            return Some(Self::FIRST.mul_f64(fastrand::f64()));
        }
        Some(self.pause())
    }

    pub(super) fn pause(&mut self) -> Duration {
        let exponent = f64::from(self.failures.min(20));
        self.failures = self.failures.saturating_add(1);
        let full = Self::FIRST.mul_f64(Self::FACTOR.powf(exponent)).min(Self::LONGEST);
        full.mul_f64(0.5 + fastrand::f64() / 2.0)
    }

    /// The pause after a refusal, which only a person can change: 10 s at first, twice as long
    /// each time, and a minute at most.
    pub(super) fn refused(&mut self) -> Duration {
        let full = Self::LONGEST.mul_f64(2_f64.powi(self.refusals.min(10) as i32));
        self.refusals = self.refusals.saturating_add(1);
        full.min(Self::LONGEST_REFUSED).mul_f64(0.5 + fastrand::f64() / 2.0)
    }

    /// The gateway took the peer's connection back: the next attempt waits as after a refusal.
    pub(super) fn expelled(&mut self) {
        self.expelled = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_stay_within_bounds() {
        let mut backoff = Backoff::default();
        for attempt in 0..100 {
            let full = Backoff::FIRST.mul_f64(1.6_f64.powi(attempt.min(20))).min(Backoff::LONGEST);
            let pause = backoff.pause();
            assert!(pause <= full && pause >= full / 2, "{attempt}: {pause:?} of {full:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn only_a_connection_that_held_resets_the_pauses() {
        let mut backoff = Backoff { failures: 50, ..Backoff::default() };
        assert_eq!(backoff.after_loss(), None);
        backoff.connected();
        assert!(backoff.after_loss().unwrap() >= Backoff::LONGEST / 2);
        backoff.connected();
        tokio::time::advance(Backoff::HEALTHY).await;
        assert!(backoff.after_loss().unwrap() <= Backoff::FIRST);
        assert!(backoff.pause() <= Backoff::FIRST);
    }

    #[test]
    fn who_has_given_up_does_not_come_back_at_once() {
        let mut backoff = Backoff::default();
        let pause = backoff.refused();
        backoff.gave_up(pause);
        assert_eq!((backoff.after_loss(), backoff.after_loss()), (Some(pause), None));
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_refused_comes_back_seldom() {
        let mut backoff = Backoff::default();
        let pauses: Vec<Duration> = (0..20).map(|_| backoff.refused()).collect();
        assert!(pauses[0] >= Backoff::LONGEST / 2, "{pauses:?}");
        assert!(pauses[19] >= Backoff::LONGEST_REFUSED / 2, "{pauses:?}");
        assert!(pauses.iter().all(|pause| *pause <= Backoff::LONGEST_REFUSED), "{pauses:?}");

        let mut backoff = Backoff::default();
        backoff.connected();
        tokio::time::advance(Backoff::HEALTHY).await;
        backoff.expelled();
        assert!(backoff.after_loss().unwrap() >= Backoff::LONGEST / 2);
    }
}
