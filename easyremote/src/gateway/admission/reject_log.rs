//! Counts and logs rejected peers, without letting them flood the log.

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};

use tracing::{debug, warn};

use crate::error::{Error, ErrorKind};
use crate::gateway::admission::network;
use crate::transport::log_limit::{Brief, LogLimiter};

/// Counts rejected peers, and logs them at the rate that a [`LogLimiter`] allows per address and
/// kind of error.
#[derive(Debug, Default)]
pub(crate) struct RejectLog {
    /// By the kind of error, in the order of the kinds.
    refused: [AtomicU64; ErrorKind::ALL.len()],
    lines: LogLimiter<(IpAddr, ErrorKind)>,
}

impl RejectLog {
    /// Records that `peer` was rejected with `error`.
    pub(crate) fn note(&self, peer: SocketAddr, error: &Error) {
        let has_left = error.kind() == ErrorKind::ConnectionLost;
        if !has_left {
            let mut counts = self.refused.iter().zip(ErrorKind::ALL);
            if let Some((refused, _)) = counts.find(|(_, kind)| **kind == error.kind()) {
                refused.fetch_add(1, Ordering::Relaxed);
            }
        }
        let line = self.lines.next((network(peer.ip()), error.kind()));
        let Some(left_out) = line else { return };
        let error = Brief(error.chain());
        match has_left {
            true => debug!(%peer, %error, left_out, "left before authenticating"),
            false => warn!(%peer, %error, left_out, "refused"),
        }
    }

    /// Returns the number of peers rejected since the start.
    pub(crate) fn n(&self) -> u64 {
        self.refused.iter().map(|refused| refused.load(Ordering::Relaxed)).sum()
    }

    /// Returns the number of peers rejected since the start, by the kind of error; those of 0 are left
    /// out.
    #[cfg(feature = "metrics")]
    pub(crate) fn by_kind(&self) -> Vec<(ErrorKind, u64)> {
        let all = ErrorKind::ALL.iter().copied().zip(&self.refused);
        let all = all.map(|(kind, refused)| (kind, refused.load(Ordering::Relaxed)));
        all.filter(|(_, n)| *n > 0).collect()
    }
}
