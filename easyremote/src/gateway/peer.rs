//! One who calls, as the gateway sees it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::gateway::Shared;
use crate::wire::header::Caller;

/// A client, or a node for the calls that its functions make.
#[derive(Debug)]
pub(super) struct Peer {
    pub(super) shared: Arc<Shared>,
    /// What nodes are told of it.
    pub(super) caller: Caller,
    /// No other connection has it.
    pub(super) number: u64,
    pub(super) connection: quinn::Connection,
    /// It has opened its lane.
    pub(super) has_lane: AtomicBool,
}

impl Peer {
    pub(super) fn new(
        connection: &quinn::Connection,
        caller: Caller,
        shared: &Arc<Shared>,
    ) -> Self {
        Self {
            shared: shared.clone(),
            caller,
            number: shared.counters.sessions.fetch_add(1, Ordering::Relaxed),
            connection: connection.clone(),
            has_lane: AtomicBool::new(false),
        }
    }
}
