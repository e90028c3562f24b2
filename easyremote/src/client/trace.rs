//! How a call went.

use std::time::Duration;

use crate::wire::trace::NodeTrace;

/// How a call went, from [`Call::traced`](crate::Call::traced).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Trace {
    /// The id of the node that ran it.
    pub node: String,
    /// How often it was sent, the last and successful time included; see
    /// [`Retry`](crate::Retry).
    pub attempts: u64,
    /// How long it waited for a place to run: at the gateway for a node, and at the node.
    pub queued: Duration,
    /// How long the node took from then until it had the answer.
    pub ran: Duration,
}

impl Trace {
    pub(super) fn new(node: Option<NodeTrace>, attempts: u64) -> Self {
        // A node that says nothing breaks no rule that would be worth losing the result for.
        let none = NodeTrace { node: String::new(), queued: Duration::ZERO, ran: Duration::ZERO };
        let NodeTrace { node, queued, ran } = node.unwrap_or(none);
        Self { node, attempts, queued, ran }
    }
}
