//! Rate limit for control messages.

use std::time::Duration;

use tokio::time::Instant;

use crate::error::{Error, ErrorKind};
use crate::transport::token_bucket::TokenBucket;
use crate::wire::limits::{CONTROL_BURST, CONTROL_PER_SECOND};

/// Slows down the messages of a peer that sends too many, and detects a peer that does not stop. An
/// honest peer sends one or two messages a second, and one for each stream that progresses.
#[derive(Debug)]
pub(super) struct ControlPace {
    bucket: TokenBucket,
    /// Since when the peer has sent more than is read.
    behind: Option<Instant>,
}

/// Each such number of bytes in a message counts as one more message.
const BYTES_PER_TOKEN: usize = 256;

/// Messages that a reader which is behind reads between two pauses, instead of pausing after each.
const BATCH: f64 = CONTROL_PER_SECOND as f64 / 100.0;

/// How long a peer may send more than is read. A peer that uses this library never does.
const PATIENCE: Duration = Duration::from_secs(20);

impl ControlPace {
    pub(super) fn new() -> Self {
        let bucket = TokenBucket::new(f64::from(CONTROL_PER_SECOND), f64::from(CONTROL_BURST));
        Self { bucket, behind: None }
    }

    /// Charges a message of `bytes` bytes.
    ///
    /// # Errors
    /// `Overloaded` if the peer has sent too many messages for too long.
    pub(super) fn charge(&mut self, bytes: usize) -> Result<(), Error> {
        let tokens = self.bucket.add(-((1 + bytes / BYTES_PER_TOKEN) as f64));
        if tokens < 1.0 {
            let since = *self.behind.get_or_insert_with(Instant::now);
            if since.elapsed() > PATIENCE {
                let text = format!(
                    "the peer has sent more than {CONTROL_PER_SECOND} control messages a second \
                     for {PATIENCE:?}"
                );
                return Err(Error::new(ErrorKind::Overloaded, text));
            }
        }
        Ok(())
    }

    /// Compensates for the answer that this side requests from the peer.
    pub(super) fn expect_answer(&mut self) {
        if !self.bucket.was_full() {
            self.bucket.add(1.0);
        }
    }

    /// Returns when the next message may be read; `None` if at once.
    pub(super) fn resumes(&mut self) -> Option<Instant> {
        let tokens = if self.behind.is_some() { BATCH } else { 1.0 };
        let pause = match self.bucket.add(0.0) {
            // In the middle of a batch.
            there if there >= 1.0 => Duration::ZERO,
            _ => self.bucket.time_until(tokens),
        };
        (!pause.is_zero()).then(|| Instant::now() + pause)
    }

    /// Returns whether messages of the peer, such as an echo, may not have been read yet.
    pub(super) fn is_behind(&mut self) -> bool {
        if self.behind.is_some() && self.bucket.add(0.0) >= f64::from(CONTROL_BURST / 2) {
            self.behind = None;
        }
        self.behind.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads messages as fast as allowed; returns how many in `time`, or the error.
    async fn read(pace: &mut ControlPace, bytes: usize, time: Duration) -> Result<u32, Error> {
        let (end, mut n) = (Instant::now() + time, 0);
        while Instant::now() < end {
            match pace.resumes() {
                Some(instant) => tokio::time::sleep_until(instant.min(end)).await,
                None => {
                    pace.charge(bytes)?;
                    n += 1;
                }
            }
        }
        Ok(n)
    }

    #[tokio::test(start_paused = true)]
    async fn a_flood_is_read_slowly_and_then_not_at_all() {
        let mut pace = ControlPace::new();
        // Time advances only by the pauses of the rate limit.
        let n = read(&mut pace, 10, Duration::from_secs(5)).await.unwrap();
        let most = CONTROL_BURST + 5 * CONTROL_PER_SECOND;
        assert!((most - CONTROL_PER_SECOND / 10..=most + 1).contains(&n), "{n}");
        assert!(pace.is_behind());
        let error = read(&mut pace, 10, PATIENCE).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Overloaded, "{error}");
    }

    #[tokio::test(start_paused = true)]
    async fn who_stops_is_forgiven() {
        let mut pace = ControlPace::new();
        for _ in 0..10 {
            read(&mut pace, 10, PATIENCE / 2).await.unwrap();
            assert!(pace.is_behind());
            tokio::time::advance(Duration::from_secs(2)).await;
            assert!(!pace.is_behind());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn long_messages_count_as_several() {
        let mut pace = ControlPace::new();
        let n = read(&mut pace, 99 * BYTES_PER_TOKEN, Duration::from_millis(1)).await.unwrap();
        assert!(n <= CONTROL_BURST / 100 + 1, "{n}");
    }

    #[tokio::test(start_paused = true)]
    async fn answers_that_are_asked_for_are_free() {
        let mut pace = ControlPace::new();
        for _ in 0..10 * CONTROL_BURST {
            pace.expect_answer();
            assert_eq!(pace.resumes(), None);
            pace.charge(10).unwrap();
        }
    }
}
