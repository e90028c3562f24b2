//! The trace of a call: where it ran, and how long that took.

use std::time::Duration;

use crate::wire::trace::NodeTrace;

/// Where a call ran, and how long it waited and ran, from [`Call::traced`](crate::Call::traced).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Trace {
    /// The id of the node that ran the call.
    pub node: String,
    /// Number of attempts, the successful one included; see [`Retry`](crate::Retry).
    pub attempts: u64,
    /// Whether this is the second call of a [hedged](crate::Call::hedge) one, which has answered
    /// before the first.
    pub hedged: bool,
    /// How long the call waited to run: at the gateway for a node, and in the queue of the node.
    pub queued: Duration,
    /// How long the node took to run it, from the end of the queue until it had the answer.
    pub ran: Duration,
}

impl Trace {
    pub(super) fn new(node: Option<NodeTrace>, attempts: u64) -> Self {
        // A missing trace is no reason to fail a call that has its result.
        let none = NodeTrace { node: String::new(), queued: Duration::ZERO, ran: Duration::ZERO };
        let NodeTrace { node, queued, ran } = node.unwrap_or(none);
        Self { node, attempts, hedged: false, queued, ran }
    }
}
