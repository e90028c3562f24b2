//! Lines of the log that peers cause: for each peer so many of a kind, whatever it does.

use std::net::IpAddr;
use std::sync::Arc;

use crate::gateway::admission::network;
use crate::transport::log_limit::LogLimiter;

/// Decides which lines are written.
#[derive(Debug, Default)]
pub(super) struct PeerLog {
    peers: LogLimiter<(Arc<str>, LineKind)>,
    strangers: LogLimiter<(IpAddr, LineKind)>,
}

/// Kinds of lines that peers cause.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum LineKind {
    /// A client or a node has proven who it is.
    Joined,
    /// A client or a node is gone.
    Left,
    Drains,
    Retagged,
    /// A call has failed at a node.
    Failed,
    /// A handshake, or what follows it, was not completed.
    Unfinished,
}

impl PeerLog {
    /// Whether there may be a line of a peer with this identity now. Then returns how many there
    /// would have been since the last.
    pub(super) fn of_peer(&self, identity: &Arc<str>, kind: LineKind) -> Option<u64> {
        self.peers.next((identity.clone(), kind))
    }

    /// The same for a peer at this address that has not proven who it is.
    pub(super) fn of_stranger(&self, address: IpAddr, kind: LineKind) -> Option<u64> {
        self.strangers.next((network(address), kind))
    }
}
