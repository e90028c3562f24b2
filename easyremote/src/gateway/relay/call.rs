//! A call on its way through the relay, and how it counts at the gateway.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use crate::call::deadline::{has_passed, late};
use crate::error::Error;
use crate::gateway::drain::DrainToken;
use crate::gauge::MemoryCharge;
use crate::wire::header::CallHeader;

/// Counts a call at the gateway as long as it lives.
#[derive(Debug)]
pub(super) struct CountedCall(Arc<AtomicU64>);

impl CountedCall {
    /// Counts a call in `in_flight`.
    fn new(in_flight: &Arc<AtomicU64>) -> Self {
        in_flight.fetch_add(1, Ordering::Relaxed);
        Self(in_flight.clone())
    }
}

impl Drop for CountedCall {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A call of a caller: counts as long as it lives.
#[derive(Debug)]
pub(super) struct OpenCall {
    counted: CountedCall,
    _open: DrainToken,
}

impl OpenCall {
    /// Counts a call in `in_flight`; `open` keeps a gateway that drains from ending before it.
    pub(super) fn new(in_flight: &Arc<AtomicU64>, open: DrainToken) -> Self {
        Self { counted: CountedCall::new(in_flight), _open: open }
    }
}

/// A call on its way to a node.
#[derive(Debug)]
pub(super) struct Dispatch {
    pub(super) header: CallHeader,
    received: Instant,
    /// When the caller stops waiting.
    pub(super) deadline: Option<Instant>,
    /// Nodes that were lost before they had the call.
    pub(super) losses: usize,
    open: OpenCall,
}

impl Dispatch {
    /// For a call that has arrived now.
    pub(super) fn new(header: CallHeader, open: OpenCall) -> Self {
        let received = Instant::now();
        let deadline = header.timeout.map(|left| received + left);
        Self { header, received, deadline, losses: 0, open }
    }

    /// Prepares the header to leave now: the node counts the time that is left from its arrival.
    ///
    /// # Errors
    /// `DeadlineExceeded` if there is none.
    pub(super) fn stamp(&mut self) -> Result<(), Error> {
        self.check_deadline()?;
        let now = Instant::now();
        self.header.timeout = self.deadline.map(|deadline| deadline - now);
        if self.header.traced {
            self.header.held = now - self.received;
        }
        Ok(())
    }

    /// Checks that the caller still waits.
    ///
    /// # Errors
    /// `DeadlineExceeded` if it does not.
    pub(super) fn check_deadline(&self) -> Result<(), Error> {
        if has_passed(self.deadline) { Err(self.late()) } else { Ok(()) }
    }

    /// The error of a call whose deadline has passed.
    pub(super) fn late(&self) -> Error {
        let limit = self.deadline.map(|deadline| deadline.saturating_duration_since(self.received));
        let function = &self.header.function;
        late(format_args!("the deadline of `{function}` passed at the gateway"), limit)
    }

    /// How long ago it arrived.
    pub(super) fn age(&self) -> Duration {
        self.received.elapsed()
    }

    /// What is kept of the call when its caller has left.
    pub(super) fn into_counted(self) -> CountedCall {
        self.open.counted
    }
}

/// A small call on its way.
#[derive(Debug)]
pub(super) struct ForwardedCall {
    pub(super) dispatch: Dispatch,
    /// The arguments, as a frame.
    pub(super) body: Bytes,
    /// For the memory of `body`.
    pub(super) kept: MemoryCharge,
}
