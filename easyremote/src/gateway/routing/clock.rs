//! The clock of a router: the monotonic clock in production, a manual clock in tests.

#[cfg(test)]
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Measures the time since the router was created.
#[derive(Debug)]
pub(crate) enum RouterClock {
    /// Time since this instant.
    Monotonic(Instant),
    /// Microseconds that only [`advance`](Self::advance) changes.
    #[cfg(test)]
    Manual(AtomicU64),
}

impl RouterClock {
    /// Starts a clock that follows the monotonic clock.
    pub(crate) fn monotonic() -> Self {
        Self::Monotonic(Instant::now())
    }

    /// Returns the time since the start.
    pub(crate) fn now(&self) -> Duration {
        match self {
            Self::Monotonic(start) => start.elapsed(),
            #[cfg(test)]
            Self::Manual(micros) => Duration::from_micros(micros.load(Ordering::SeqCst)),
        }
    }
}

#[cfg(test)]
impl RouterClock {
    /// Starts a clock that stands still.
    pub(crate) fn manual() -> Self {
        Self::Manual(AtomicU64::new(0))
    }

    /// Moves a manual clock forward.
    pub(crate) fn advance(&self, by: Duration) {
        match self {
            Self::Monotonic(_) => panic!("this clock advances by itself"),
            Self::Manual(micros) => {
                micros.fetch_add(by.as_micros() as u64, Ordering::SeqCst);
            }
        }
    }
}
