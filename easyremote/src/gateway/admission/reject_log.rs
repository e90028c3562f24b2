//! Telling of peers that are not let in, without letting them fill the log.

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};

use tracing::{debug, warn};

use crate::error::{Error, ErrorKind};
use crate::gateway::admission::network;
use crate::transport::log_limit::{Brief, LogLimiter};

/// Counts refused peers, and tells of them: so many lines of each address and kind of error as a
/// [`LogLimiter`] allows.
#[derive(Debug, Default)]
pub(crate) struct RejectLog {
    refused: AtomicU64,
    lines: LogLimiter<(IpAddr, ErrorKind)>,
}

impl RejectLog {
    /// Notes that `peer` is not let in.
    pub(crate) fn note(&self, peer: SocketAddr, error: &Error) {
        let has_left = error.kind() == ErrorKind::ConnectionLost;
        if !has_left {
            self.refused.fetch_add(1, Ordering::Relaxed);
        }
        let line = self.lines.next((network(peer.ip()), error.kind()));
        let Some(left_out) = line else { return };
        let error = Brief(error.chain());
        match has_left {
            true => debug!(%peer, %error, left_out, "left before it said who it is"),
            false => warn!(%peer, %error, left_out, "refused"),
        }
    }

    /// Peers that were refused since the start.
    pub(crate) fn n(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }
}
