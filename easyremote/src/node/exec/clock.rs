//! Measures calls at their node: for the figures of their functions, and for callers that ask for a
//! trace.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::call::function_meter::{CallEnd, FunctionMeter};
use crate::error::{ErrorKind, Executed};
use crate::function::end::End;
use crate::transport::call_span::CallSpan;
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
    /// Whether the function may have run, as the call's error says.
    executed: Option<Executed>,
    span: CallSpan,
}

impl Clock {
    /// Starts the clock of a call that has arrived completely. `held` is the time for which it was
    /// queued at the gateway, if its caller asks for a trace.
    pub(super) fn new(meter: Arc<FunctionMeter>, held: Option<Duration>, span: CallSpan) -> Self {
        meter.arrived();
        // Unless something else is said: its caller leaves.
        let end = CallEnd::Error(ErrorKind::Cancelled);
        let (received, executed) = (Instant::now(), None);
        Self { meter, held, received, started: None, batch: None, end, executed, span }
    }

    /// Notes that the function starts.
    pub(super) fn start(&mut self) {
        if self.started.is_none() {
            let now = Instant::now();
            self.started = Some(now);
            let queued = now - self.received;
            self.meter.started(queued);
            self.span.note_queued(queued);
        }
    }

    /// Notes that the call ends as its function did.
    pub(super) fn note_end(&mut self, end: &End) {
        match end {
            End::Error(error) => self.note_error(error.kind(), Some(error.executed())),
            _ => (self.end, self.executed) = (end.counted(), Some(Executed::Yes)),
        }
    }

    /// Notes that the call ends with an error of this kind, and what it says of whether the function
    /// has run, unless that follows from whether it has started.
    pub(super) fn note_error(&mut self, kind: ErrorKind, executed: Option<Executed>) {
        (self.end, self.executed) = (CallEnd::Error(kind), executed);
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
        // What has left without an end may have run if it has started.
        let unknown = if self.started.is_some() { Executed::Maybe } else { Executed::No };
        self.span.note_end(self.end, Some(self.executed.unwrap_or(unknown)));
    }
}
