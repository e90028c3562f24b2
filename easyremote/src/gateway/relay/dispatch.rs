//! Dispatch: finds a node for a call, sends the call, and tries the next node after a loss.
//!
//! All calls take this path, whichever stream carries them.
//!
//! ```text
//!             try_acquire, acquire            open, submit
//!   received ----------------------> permit ---------------> at a node -------------> answered
//!      |  ^                             |                     |   |
//!      |  +-----------------------------+---------------------+   | caller left
//!      |    node lost before it had the whole call,               v
//!      |    fewer than 3 attempts                              abandoned ---> slot released
//!      v                                                                      by the node
//!   failed: no node can run it, deadline passed, third loss, or node lost after it had the call
//! ```
//!
//! A node starts a call only after it has received the whole call. If it is lost before that, it
//! cannot have executed the call, and sending the call to another node is safe: see
//! `call::executed`.

use std::sync::Arc;
use std::time::Duration;

use quinn::VarInt;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};

use crate::call::deadline::{DeadlinePassed, within};
use crate::call::executed::Evidence;
use crate::call::function_meter::CallEnd;
use crate::error::{Error, ErrorKind, Executed};
use crate::gateway::relay::call::Dispatch;
use crate::gateway::relay::failed_calls::FailedCalls;
use crate::gateway::relay::node_link::{NodeLink, NodePermit, UnreleasedCall};
use crate::gateway::relay::outcome::{note_failure, record_error};
use crate::gateway::routing::Router;
use crate::transport::quic::reset;
use crate::transport::quic::stream::{Broken, RecvHalf, SendHalf, halves};
use crate::wire::header::CallHeader;
use crate::wire::limits::HEADER_TIMEOUT;
use crate::wire::scanner::FrameScanner;

/// A call for which the gateway found no node.
#[derive(Clone, Debug)]
#[cfg_attr(not(feature = "testing"), allow(dead_code))] // read by mocks
pub(crate) struct Refusal {
    /// The id of the call; shared by all its attempts.
    pub(crate) call: [u8; 16],
    pub(crate) function: String,
    pub(crate) error: Error,
}

/// Shared state of the dispatch: the router, and an observer of failed lookups.
#[derive(Debug)]
pub(in crate::gateway) struct Dispatcher {
    pub(in crate::gateway) router: Arc<Router<NodeLink>>,
    /// Receives calls that found no node. Unbounded: only a test subscribes, and it bounds its own
    /// calls.
    pub(in crate::gateway) refusals: Option<mpsc::UnboundedSender<Refusal>>,
    pub(in crate::gateway) failed: Arc<FailedCalls>,
}

impl Dispatcher {
    /// Reports a call that found no node.
    fn tell_refusal(&self, header: &CallHeader, error: &Error) {
        if let Some(refusals) = &self.refusals {
            let (call, function) = (header.id, header.function.to_string());
            // An error means that the observer is gone.
            let _ = refusals.send(Refusal { call, function, error: error.clone() });
        }
    }
}

/// Maximum number of nodes that a call is sent to. A node that is lost without having been noticed
/// is rare, so several in a row are not a coincidence.
const MAX_ATTEMPTS: usize = 3;

impl Dispatch {
    /// Acquires a permit without waiting; `None` if the call would have to wait.
    ///
    /// # Errors
    /// Why no node can take the call.
    pub(super) fn try_acquire(&self, dispatcher: &Dispatcher) -> Option<Result<NodePermit, Error>> {
        if let Err(error) = self.check_deadline() {
            return Some(Err(self.unsent(error, dispatcher)));
        }
        match dispatcher.router.try_acquire(&self.header) {
            // Not measured: the call has just been read.
            Some(Ok(permit)) => Some(Ok(self.place(permit, Duration::ZERO))),
            refused => match self.refuse_hedge(dispatcher) {
                Some(error) => Some(Err(error)),
                None => Some(Err(self.refused(refused?.err()?, dispatcher))),
            },
        }
    }

    /// Acquires a permit, waiting until the deadline of the call if necessary. `caller` is the
    /// number of the session that the call belongs to.
    ///
    /// # Errors
    /// Why no node can take the call.
    pub(super) async fn acquire(
        &self,
        dispatcher: &Dispatcher,
        caller: u64,
    ) -> Result<NodePermit, Error> {
        if let Err(error) = self.check_deadline() {
            return Err(self.unsent(error, dispatcher));
        }
        if let Some(error) = self.refuse_hedge(dispatcher) {
            return Err(error);
        }
        let mut waiting = WaitingCaller { call: self, dispatcher, has_left: true };
        let acquiring = dispatcher.router.acquire(&self.header, caller);
        let acquired = within(self.deadline, acquiring).await;
        waiting.has_left = false;
        match acquired.unwrap_or_else(|DeadlinePassed| Err(self.late())) {
            Ok(permit) => Ok(self.place(permit, self.age())),
            Err(error) => Err(self.refused(error, dispatcher)),
        }
    }

    /// Counts the call at the node of `permit`. It has waited for `queued`.
    fn place(&self, mut permit: NodePermit, queued: Duration) -> NodePermit {
        match self.sent {
            None => permit.enter(queued),
            Some(sent) => permit.enter_again(sent.elapsed()),
        }
        if !self.span.is_none() {
            permit.note_span(&self.span);
            if self.sent.is_none() {
                self.span.note_queued(queued);
            }
        }
        self.note_node(permit.node().id());
        permit
    }

    /// Counts and reports a call that no node takes.
    fn refused(&self, error: Error, dispatcher: &Dispatcher) -> Error {
        dispatcher.tell_refusal(&self.header, &error);
        self.unsent(error, dispatcher)
    }

    /// Counts and notes a call that fails and was not sent to a node, or not to another one after a
    /// loss.
    fn unsent(&self, error: Error, dispatcher: &Dispatcher) -> Error {
        self.count_unsent(error.kind(), dispatcher);
        if self.header.job_request().is_none() {
            dispatcher.failed.note(&self.header, None, &error);
        }
        error
    }

    /// Returns the error of a hedge that finds no node, if the call is one. It counts only if a node
    /// was found before, and lost.
    fn refuse_hedge(&self, dispatcher: &Dispatcher) -> Option<Error> {
        let error = self.refused_hedge()?;
        if self.sent.is_some() {
            self.count_unsent(error.kind(), dispatcher);
        }
        Some(error)
    }

    /// Counts the end of a call that was not sent to a node, or not to another one after a loss.
    fn count_unsent(&self, kind: ErrorKind, dispatcher: &Dispatcher) {
        self.span.note_end(CallEnd::Error(kind), Some(Executed::No));
        if self.header.job_request().is_none() {
            let meter = dispatcher.router.meters().of_called(&self.header.function);
            self.sent.into_iter().for_each(|sent| meter.ran(sent.elapsed()));
            meter.ended(CallEnd::Error(kind));
        }
    }

    /// Opens a stream to the node and sends the call on it. `rest` are the bytes of the arguments
    /// that have arrived.
    ///
    /// # Errors
    /// Returns the call as well. With `None`, the node was lost before it had received the call,
    /// and another one may be tried; otherwise the error of the call.
    pub(super) async fn open(
        mut self,
        permit: NodePermit,
        rest: &[u8],
        max_message: usize,
    ) -> Result<NodeLeg, (Self, Option<Error>)> {
        if let Err(error) = self.stamp() {
            permit.ends(CallEnd::Error(error.kind()));
            note_failure(&permit, &self.header, &error);
            return Err((self, Some(error)));
        }
        match open_stream(&permit, &self.header, rest, max_message).await {
            Ok((send, recv, request)) => {
                permit.node().handle().enter_leg(send.id(), &self.header, permit.index());
                let held = Some((self, permit));
                Ok(NodeLeg { send, recv, request, held, caller: None, released: false })
            }
            Err(error) => {
                record_error(&permit, error.kind());
                let next = error.kind() == ErrorKind::NodeLost && self.lost(&permit);
                match next {
                    true => permit.goes_on(),
                    false => note_failure(&permit, &self.header, &error),
                }
                Err((self, (!next).then_some(error)))
            }
        }
    }

    /// Records that the node of `permit` was lost before it had received the whole call. Returns
    /// whether another node may be tried.
    pub(super) fn lost(&mut self, permit: &NodePermit) -> bool {
        // The connection may not have noticed the loss yet: without this, the next attempt could
        // select the same node again.
        permit.node().close();
        self.sent = self.sent.or_else(|| Instant::now().checked_sub(permit.age()));
        self.losses += 1;
        self.losses < MAX_ATTEMPTS
    }
}

/// Counts a call as cancelled if it is dropped while it waits for a node.
struct WaitingCaller<'a> {
    call: &'a Dispatch,
    dispatcher: &'a Dispatcher,
    has_left: bool,
}

impl Drop for WaitingCaller<'_> {
    fn drop(&mut self) {
        if self.has_left {
            self.call.count_unsent(ErrorKind::Cancelled, self.dispatcher);
        }
    }
}

/// A call at a node, on a separate stream. Dropping it abandons the call.
#[derive(Debug)]
pub(super) struct NodeLeg {
    pub(super) send: SendHalf,
    recv: RecvHalf,
    /// Scanner of the request, with what has been sent of it.
    request: FrameScanner,
    /// Always `Some` until the leg is dropped.
    held: Option<(Dispatch, NodePermit)>,
    /// Whose connection carries a resumable stream. Until the leg has ended properly, the node is
    /// told whether that caller cancels it or is lost.
    caller: Option<Arc<dyn LegCaller>>,
    /// Whether the node has ended its direction after a complete answer, so that the slot is free.
    released: bool,
}

/// The caller of a resumable stream, as its leg sees it.
pub(super) trait LegCaller: std::fmt::Debug + Send + Sync {
    /// Returns the code that tells a node how the connection has ended, or is ending: whether the
    /// caller cancels this call, whose stream is resumable, or may come back for it.
    fn end_code(&self, header: &CallHeader) -> VarInt;
}

/// The parts of a [`NodeLeg`], borrowed separately.
pub(super) struct LegParts<'a> {
    pub(super) send: &'a mut SendHalf,
    pub(super) recv: &'a mut RecvHalf,
    pub(super) request: &'a mut FrameScanner,
    pub(super) permit: &'a NodePermit,
    pub(super) header: &'a CallHeader,
}

impl NodeLeg {
    /// Borrows the parts, so that both directions can be copied at the same time.
    pub(super) fn split(&mut self) -> LegParts<'_> {
        let Self { send, recv, request, held, .. } = self;
        // Invariant: only `drop` takes `held`.
        let (call, permit) = held.as_ref().expect("held until the leg is dropped");
        LegParts { send, recv, request, permit, header: &call.header }
    }

    /// Notes the caller, if the call is a resumable stream.
    pub(super) fn set_caller(&mut self, caller: Arc<dyn LegCaller>) {
        if self.held.as_ref().is_some_and(|(call, _)| call.header.resume.is_some()) {
            self.caller = Some(caller);
        }
    }

    /// Notes that the leg has ended, and that the node knows why.
    pub(super) fn settle(&mut self) {
        self.caller = None;
    }

    /// Records that the node has ended its direction after a complete answer.
    pub(super) fn release(&mut self) {
        self.released = true;
    }
}

impl Drop for NodeLeg {
    fn drop(&mut self) {
        if let Some(caller) = self.caller.take()
            && let Some((call, _)) = &self.held
        {
            // The session of the caller has ended, and the task of the call with it.
            let code = caller.end_code(&call.header);
            self.send.reset(code);
            self.recv.stop(code);
        }
        if let Some((_, permit)) = &self.held {
            permit.node().handle().leave_leg(self.send.id());
        }
        // The answer did not end properly or the caller left, so the function may still run. The
        // permit stays with the node until it reports that the slot is free.
        let Some((call, permit)) = self.held.take().filter(|_| !self.released) else { return };
        if !permit.is_counted() {
            return;
        }
        let node = permit.shared_node();
        let stream = call.header.resume.is_some().then_some(call.header.id);
        let call = UnreleasedCall::new(permit, call.into_counted());
        let call = match stream {
            Some(id) => call.of_stream(id),
            None => call,
        };
        node.handle().abandon(self.send.id(), call);
    }
}

/// Opens a stream to the node, and sends the header and `rest`. Returns both halves, and the
/// scanner of the request.
async fn open_stream(
    permit: &NodePermit,
    header: &CallHeader,
    rest: &[u8],
    max_message: usize,
) -> Result<(SendHalf, RecvHalf, FrameScanner), Error> {
    let (id, link) = (permit.node().id(), permit.node().handle());
    let lost = |cause: Error| {
        let text = format!("node `{id}` was lost before it had the whole call");
        let error = Error::new(ErrorKind::NodeLost, text).with_evidence(Evidence::NotSent);
        error.with_node(id).with_source(cause)
    };
    // There are fewer permits than streams of the node, so a stream is available at once, or as
    // soon as the node's notice of an ended stream arrives.
    let stream = match timeout(HEADER_TIMEOUT, link.connection.open_bi()).await {
        Ok(Ok(opened)) => opened,
        Ok(Err(cause)) => return Err(lost(reset::connection_error(cause, ErrorKind::NodeLost))),
        Err(_) => {
            let text = format!("node `{id}` accepts no more streams");
            return Err(Error::new(ErrorKind::Overloaded, text));
        }
    };
    let (mut send, recv) = halves(stream, &link.windows);
    let mut first = Vec::with_capacity(256);
    header.put(&mut first).map_err(|_| protocol("the call header is too long"))?;
    let mut request = FrameScanner::request(header.kind, header.demand, max_message);
    request.pass(rest).map_err(|cause| cause.into_error())?;
    first.extend_from_slice(rest);
    match send.write(&first).await {
        // STOP_SENDING: the node has sent the reason in its answer.
        Ok(()) | Err(Broken::Peer(_)) => Ok((send, recv, request)),
        Err(broken) => Err(lost(broken.error(ErrorKind::NodeLost))),
    }
}

pub(super) fn protocol(text: impl Into<String>) -> Error {
    Error::new(ErrorKind::Protocol, text.into())
}
