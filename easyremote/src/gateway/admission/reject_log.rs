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
    refused: AtomicU64,
    lines: LogLimiter<(IpAddr, ErrorKind)>,
}

impl RejectLog {
    /// Records that `peer` was rejected with `error`.
    pub(crate) fn note(&self, peer: SocketAddr, error: &Error) {
        let has_left = error.kind() == ErrorKind::ConnectionLost;
        if !has_left {
            self.refused.fetch_add(1, Ordering::Relaxed);
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
        self.refused.load(Ordering::Relaxed)
    }
}
