//! Measures calls at their node: for the figures of their functions, and for callers that ask for a
//! trace.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::call::function_meter::{CallEnd, FunctionMeter};
use crate::error::ErrorKind;
use crate::wire::trace::{BatchRecord, NodeTrace};

/// Measures how long one call is queued and runs, and counts it at its function until it is dropped.
#[derive(Debug)]
pub(super) struct Clock {
    meter: Arc<FunctionMeter>,
    /// How long the call was queued at the gateway, if its caller asks for a trace.
    held: Option<Duration>,
    /// When the call had arrived completely.
    received: Instant,
    /// When its function started.
    started: Option<Instant>,
    /// The batch that it ran in.
    pub(super) batch: Option<BatchRecord>,
    end: CallEnd,
}

impl Clock {
    /// Starts the clock of a call that has arrived completely. `held` is the time for which it was
    /// queued at the gateway, if its caller asks for a trace.
    pub(super) fn new(meter: Arc<FunctionMeter>, held: Option<Duration>) -> Self {
        meter.arrived();
        // Unless something else is said: its caller leaves.
        let end = CallEnd::Error(ErrorKind::Cancelled);
        Self { meter, held, received: Instant::now(), started: None, batch: None, end }
    }

    /// Notes that the function starts.
    pub(super) fn start(&mut self) {
        if self.started.is_none() {
            let now = Instant::now();
            self.started = Some(now);
            self.meter.started(now - self.received);
        }
    }

    /// Notes how the call ends.
    pub(super) fn note_end(&mut self, end: CallEnd) {
        self.end = end;
    }

    /// Returns the trace of the call at node `id`, if its caller wants one.
    pub(super) fn trace(&self, id: &str) -> Option<NodeTrace> {
        let started = self.started.unwrap_or(self.received);
        Some(NodeTrace {
            queued: self.held? + (started - self.received),
            ran: started.elapsed(),
            node: id.to_owned(),
            batch: self.batch,
        })
    }
}

impl Drop for Clock {
    fn drop(&mut self) {
        match self.started {
            Some(started) => self.meter.left(started.elapsed()),
            None => self.meter.withdrawn(),
        }
        self.meter.ended(self.end);
    }
}
