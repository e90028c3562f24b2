//! A call in the relay, and the guards that count it at the gateway.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use crate::call::deadline::{has_passed, late};
use crate::error::{Error, ErrorKind};
use crate::gateway::drain::DrainToken;
use crate::gateway::relay::hedged::{HedgedCalls, HedgedEntry};
use crate::gauge::MemoryCharge;
use crate::transport::call_span::CallSpan;
use crate::wire::header::CallHeader;
use crate::wire::routing_options::HedgeLeg;

/// Counts a call in the gateway's statistics; dropping it ends the count.
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

/// Counts a call for the statistics and for [`drain`](crate::gateway::drain); dropping it ends
/// both.
#[derive(Debug)]
pub(super) struct OpenCall {
    counted: CountedCall,
    open: Option<DrainToken>,
}

impl OpenCall {
    /// Counts a call in `in_flight`; a draining gateway waits until `open` is dropped.
    pub(super) fn new(in_flight: &Arc<AtomicU64>, open: DrainToken) -> Self {
        Self { counted: CountedCall::new(in_flight), open: Some(open) }
    }
}

/// A call that is being dispatched to a node.
#[derive(Debug)]
pub(super) struct Dispatch {
    pub(super) header: CallHeader,
    received: Instant,
    /// When the caller stops waiting.
    pub(super) deadline: Option<Instant>,
    /// Number of nodes that were lost before they had received the whole call.
    pub(super) losses: usize,
    /// When the call was sent to the first of these nodes.
    pub(super) sent: Option<Instant>,
    /// Set if the call may be hedged.
    hedged: Option<Box<HedgedEntry>>,
    open: OpenCall,
    pub(super) span: CallSpan,
}

impl Dispatch {
    /// Starts to dispatch a call that has just arrived. `hedged` are the calls of its caller that may
    /// be hedged.
    pub(super) fn new(
        mut header: CallHeader,
        hedged: &Arc<HedgedCalls>,
        mut open: OpenCall,
    ) -> Self {
        let span = match header.job_request() {
            Some(_) => {
                // It may wait for the end of a job, and its caller asks again: a drain need not wait.
                open.open = None;
                CallSpan::none()
            }
            None => CallSpan::of_gateway(&mut header),
        };
        let hedged = hedged.enter(&mut header);
        let received = Instant::now();
        let deadline = header.timeout.map(|left| received + left);
        Self { header, received, deadline, losses: 0, sent: None, hedged, open, span }
    }

    /// Writes the remaining time into the header, which must then be sent at once: the node counts
    /// it from the arrival of the header.
    ///
    /// # Errors
    /// `DeadlineExceeded` if no time is left.
    pub(super) fn stamp(&mut self) -> Result<(), Error> {
        self.check_deadline()?;
        let now = Instant::now();
        self.header.timeout = self.deadline.map(|deadline| deadline - now);
        if self.header.traced {
            self.header.held = now - self.received;
        }
        Ok(())
    }

    /// Checks that the deadline has not passed.
    ///
    /// # Errors
    /// `DeadlineExceeded` if it has.
    pub(super) fn check_deadline(&self) -> Result<(), Error> {
        if has_passed(self.deadline) { Err(self.late()) } else { Ok(()) }
    }

    /// Returns the error for a call whose deadline has passed.
    pub(super) fn late(&self) -> Error {
        let limit = self.deadline.map(|deadline| deadline.saturating_duration_since(self.received));
        let function = &self.header.function;
        late(format_args!("the deadline of `{function}` passed at the gateway"), limit)
    }

    /// Records that the call goes to this node.
    pub(super) fn note_node(&self, node: &str) {
        if let Some(hedged) = &self.hedged {
            hedged.note(node);
        }
    }

    /// Returns the error of a hedge for which no other node has room, if the call is one. It does
    /// not wait: the call that it hedges is under way.
    pub(super) fn refused_hedge(&self) -> Option<Error> {
        let is_hedge = self.header.routing.hedge == Some(HedgeLeg::Second);
        is_hedge.then(|| {
            let text = format!("no other node has room for `{}`", self.header.function);
            let error = Error::new(ErrorKind::Overloaded, text);
            self.span.note_error(&error);
            error
        })
    }

    /// Returns the time since the call arrived.
    pub(super) fn age(&self) -> Duration {
        self.received.elapsed()
    }

    /// Returns the part that stays alive after the caller has left: the call may still run at its
    /// node.
    pub(super) fn into_counted(self) -> CountedCall {
        self.open.counted
    }
}

/// A unary call of a multiplexed stream, with its arguments, while the gateway forwards it.
///
/// The gateway keeps the whole call until its node has answered, so that it can be sent to another
/// node if the first one is lost before it has received all of it. See
/// [`dispatch`](super::dispatch) for the states of a forwarded call.
#[derive(Debug)]
pub(super) struct ForwardedCall {
    pub(super) dispatch: Dispatch,
    /// The arguments, as an encoded frame.
    pub(super) body: Bytes,
    /// Accounts for the memory of `body`.
    pub(super) kept: MemoryCharge,
}
