//! How long a call takes at its node, for callers who want to know.

use std::time::Duration;

use tokio::time::Instant;

use crate::wire::trace::NodeTrace;

/// Measures how a call goes.
pub(crate) struct Clock {
    /// How long the gateway held it back.
    held: Duration,
    /// When all of it was here.
    received: Instant,
    /// When it had its place.
    started: Instant,
}

impl Clock {
    /// For a call all of which is here now.
    pub(crate) fn start(held: Duration) -> Self {
        let now = Instant::now();
        Self { held, received: now, started: now }
    }

    /// Notes that the call has a place to run.
    pub(crate) fn has_place(&mut self) {
        self.started = Instant::now();
    }

    /// The frame that tells how the call went at the node called `id`, and `reply` behind it.
    pub(crate) fn before(&self, id: &str, reply: &[u8]) -> Vec<u8> {
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
