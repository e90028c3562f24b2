//! Measures calls for callers that ask for a trace.

use std::time::Duration;

use tokio::time::Instant;

use crate::wire::trace::{BatchRecord, NodeTrace};

/// Measures how long one call is queued and runs.
#[derive(Debug)]
pub(super) struct Clock {
    /// How long the call was queued at the gateway.
    held: Duration,
    /// When the call had arrived completely.
    received: Instant,
    /// When its function started.
    started: Instant,
    /// The batch that it ran in.
    pub(super) batch: Option<BatchRecord>,
}

impl Clock {
    /// Starts the clock of a call that has arrived completely, and was queued at the gateway for
    /// `held`.
    pub(super) fn new(held: Duration) -> Self {
        let now = Instant::now();
        Self { held, received: now, started: now, batch: None }
    }

    /// Notes that the function starts.
    pub(super) fn start(&mut self) {
        self.started = Instant::now();
    }

    /// Returns the trace frame of the call at node `id`, followed by `reply`.
    pub(super) fn before(&self, id: &str, reply: &[u8]) -> Vec<u8> {
        let trace = NodeTrace {
            node: id.to_owned(),
            queued: self.held + (self.started - self.received),
            ran: self.started.elapsed(),
            batch: self.batch,
        };
        let mut frames = Vec::with_capacity(reply.len() + 64);
        trace.put(&mut frames);
        frames.extend_from_slice(reply);
        frames
    }
}
