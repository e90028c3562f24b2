//! Telling of peers that are not let in, without letting them fill the log.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tracing::{debug, warn};

use crate::error::{Error, ErrorKind};

/// Counts refused peers, and tells of them: a line each, of all peers together at most
/// [`MAX_LINES`] in each [`SPAN`].
#[derive(Debug, Default)]
pub(crate) struct RejectLog {
    refused: AtomicU64,
    lines: Mutex<Lines>,
}

/// Enough to see who it is; what is left out is counted.
const MAX_LINES: u32 = 10;

const SPAN: Duration = Duration::from_secs(1);

#[derive(Debug, Default)]
struct Lines {
    /// When the present span began.
    since: Option<Instant>,
    told: u32,
    left_out: u64,
}

impl RejectLog {
    /// Notes that `peer` is not let in.
    pub(crate) fn note(&self, peer: SocketAddr, error: &Error) {
        if error.kind() == ErrorKind::ConnectionLost {
            return debug!(%peer, %error, "left before it said who it is");
        }
        self.refused.fetch_add(1, Ordering::Relaxed);
        // The section leaves it whole.
        let mut lines = self.lines.lock();
        if let Some(left_out) = lines.next(Instant::now()) {
            drop(lines);
            warn!(%peer, %error, left_out, "refused");
        }
    }

    /// Peers that were refused since the start.
    pub(crate) fn n(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }
}

impl Lines {
    /// Whether there may be a line now; then it says how many there would have been since the last.
    fn next(&mut self, now: Instant) -> Option<u64> {
        if self.since.is_none_or(|since| now.saturating_duration_since(since) >= SPAN) {
            (self.since, self.told) = (Some(now), 0);
        }
        if self.told == MAX_LINES {
            self.left_out += 1;
            return None;
        }
        self.told += 1;
        Some(std::mem::take(&mut self.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_bounded_and_what_is_left_out_is_counted() {
        let (mut lines, start) = (Lines::default(), Instant::now());
        let told = (0..1_000).filter(|_| lines.next(start).is_some()).count();
        assert_eq!(told, 10);
        let almost = start + SPAN - Duration::from_nanos(1);
        assert_eq!(lines.next(almost), None);
        assert_eq!(lines.next(start + SPAN), Some(991));
        assert_eq!(lines.next(start + SPAN), Some(0));
    }
}
