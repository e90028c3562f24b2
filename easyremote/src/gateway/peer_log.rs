//! Rate limit for log lines that peers cause, per peer and kind of line.

use std::net::IpAddr;
use std::sync::Arc;

use crate::gateway::admission::network;
use crate::transport::log_limit::LogLimiter;

/// Decides which lines are logged.
#[derive(Debug, Default)]
pub(super) struct PeerLog {
    peers: LogLimiter<(Arc<str>, LineKind)>,
    strangers: LogLimiter<(IpAddr, LineKind)>,
}

/// Kinds of log lines that peers cause.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum LineKind {
    /// A client or a node has authenticated.
    Joined,
    /// A client or a node has disconnected.
    Left,
    Drains,
    Retagged,
    /// A call has failed at a node.
    Failed,
    /// A handshake or an authentication was not completed.
    Unfinished,
}

impl PeerLog {
    /// Returns `Some` if a line about a peer with this identity may be logged now, with the number
    /// of lines suppressed since the last one.
    pub(super) fn of_peer(&self, identity: &Arc<str>, kind: LineKind) -> Option<u64> {
        self.peers.next((identity.clone(), kind))
    }

    /// Like [`of_peer`](Self::of_peer), for an unauthenticated peer at this address.
    pub(super) fn of_stranger(&self, address: IpAddr, kind: LineKind) -> Option<u64> {
        self.strangers.next((network(address), kind))
    }
}
