//! How long a call takes at its node, for callers who want to know.

use std::time::Duration;

use tokio::time::Instant;

use crate::wire::trace::NodeTrace;

/// Measures how a call goes.
#[derive(Debug)]
pub(super) struct Clock {
    /// How long the gateway held it back.
    held: Duration,
    /// When all of it was here.
    received: Instant,
    /// When its function started.
    started: Instant,
}

impl Clock {
    /// For a call all of which is here now.
    pub(super) fn new(held: Duration) -> Self {
        let now = Instant::now();
        Self { held, received: now, started: now }
    }

    /// Notes that the function starts.
    pub(super) fn start(&mut self) {
        self.started = Instant::now();
    }

    /// The frame that tells how the call went at the node called `id`, and `reply` behind it.
    pub(super) fn before(&self, id: &str, reply: &[u8]) -> Vec<u8> {
        let trace = NodeTrace {
            node: id.to_owned(),
            queued: self.held + (self.started - self.received),
            ran: self.started.elapsed(),
        };
        let mut frames = Vec::with_capacity(reply.len() + 64);
        trace.put(&mut frames);
        frames.extend_from_slice(reply);
        frames
    }
}
