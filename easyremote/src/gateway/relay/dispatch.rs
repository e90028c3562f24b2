//! Bringing a call to a node: find one, send the call, and after a loss try the next.
//!
//! There is one such path, whichever stream carries the call. A node that turns out to be lost
//! before it has the whole call cannot have started it, so another one gets it: see
//! `call::executed`.

use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::call::deadline::{DeadlinePassed, within};
use crate::call::executed::Evidence;
use crate::error::{Error, ErrorKind};
use crate::gateway::relay::call::Dispatch;
use crate::gateway::relay::node_link::{NodeLink, NodePermit, UnreleasedCall};
use crate::gateway::relay::outcome::record_error;
use crate::gateway::routing::Router;
use crate::transport::quic::reset;
use crate::transport::quic::stream::{Broken, RecvHalf, SendHalf, halves};
use crate::wire::header::CallHeader;
use crate::wire::limits::HEADER_TIMEOUT;
use crate::wire::scanner::FrameScanner;

/// A call for which the gateway had no node.
#[derive(Clone, Debug)]
pub(crate) struct Refusal {
    /// The call's id: each attempt of one call has the same.
    pub(crate) call: [u8; 16],
    pub(crate) function: String,
    pub(crate) error: Error,
}

/// What brings calls to nodes.
#[derive(Debug)]
pub(in crate::gateway) struct Dispatcher {
    pub(in crate::gateway) router: Arc<Router<NodeLink>>,
    /// Hears of refused calls. Not bounded: only a test asks for it, whose own calls they are.
    pub(in crate::gateway) refusals: Option<mpsc::UnboundedSender<Refusal>>,
}

impl Dispatcher {
    /// Tells whoever wants to know of calls that no node gets.
    fn tell_refusal(&self, header: &CallHeader, error: &Error) {
        if let Some(refusals) = &self.refusals {
            let (call, function) = (header.id, header.function.clone());
            // If nobody listens any more, nobody needs to know.
            let _ = refusals.send(Refusal { call, function, error: error.clone() });
        }
    }
}

/// Most nodes that are tried. One that is lost without anybody having noticed is rare, so several
/// in a row are no accident.
const MAX_ATTEMPTS: usize = 3;

impl Dispatch {
    /// Acquires a permit if that needs no waiting; `None` if it does.
    ///
    /// # Errors
    /// Why no node gets the call.
    pub(super) fn try_acquire(&self, dispatcher: &Dispatcher) -> Option<Result<NodePermit, Error>> {
        if let Err(error) = self.check_deadline() {
            return Some(Err(error));
        }
        let acquired = dispatcher.router.try_acquire(&self.header)?;
        Some(self.told(acquired, dispatcher))
    }

    /// Acquires a permit, and waits for one until the call's deadline. `caller` is the number of
    /// the connection that the call came over.
    ///
    /// # Errors
    /// Why no node gets the call.
    pub(super) async fn acquire(
        &self,
        dispatcher: &Dispatcher,
        caller: u64,
    ) -> Result<NodePermit, Error> {
        self.check_deadline()?;
        let acquiring = dispatcher.router.acquire(&self.header, caller);
        let acquired = match within(self.deadline, acquiring).await {
            Ok(acquired) => acquired,
            Err(DeadlinePassed) => Err(self.late()),
        };
        self.told(acquired, dispatcher)
    }

    fn told(
        &self,
        acquired: Result<NodePermit, Error>,
        dispatcher: &Dispatcher,
    ) -> Result<NodePermit, Error> {
        acquired.inspect_err(|error| dispatcher.tell_refusal(&self.header, error))
    }

    /// Opens a stream to the node and sends the call on it, with `rest`, what has arrived of its
    /// arguments.
    ///
    /// # Errors
    /// `None` if the node was lost and another one may be tried; otherwise why the call fails.
    pub(super) async fn open(
        mut self,
        permit: NodePermit,
        rest: &[u8],
        max_message: usize,
    ) -> Result<NodeLeg, (Self, Option<Error>)> {
        if let Err(error) = self.stamp() {
            return Err((self, Some(error)));
        }
        match open_stream(&permit, &self.header, rest, max_message).await {
            Ok((send, recv, request)) => {
                Ok(NodeLeg { send, recv, request, held: Some((self, permit)), released: false })
            }
            Err(error) => {
                record_error(&permit, error.kind());
                let next = error.kind() == ErrorKind::NodeLost && self.lost(&permit);
                Err((self, (!next).then_some(error)))
            }
        }
    }

    /// Notes that the node of `permit` was lost before it had the whole call. Returns whether
    /// another node may be tried.
    pub(super) fn lost(&mut self, permit: &NodePermit) -> bool {
        permit.node().close();
        self.losses += 1;
        self.losses < MAX_ATTEMPTS
    }
}

/// A call at a node, on a stream of its own. Dropping it abandons the call.
#[derive(Debug)]
pub(super) struct NodeLeg {
    pub(super) send: SendHalf,
    recv: RecvHalf,
    /// What has passed of the request.
    request: FrameScanner,
    /// Until the leg is dropped.
    held: Option<(Dispatch, NodePermit)>,
    /// The node has ended its direction after a complete answer: the place is free.
    released: bool,
}

/// The parts of a [`NodeLeg`].
pub(super) struct LegParts<'a> {
    pub(super) send: &'a mut SendHalf,
    pub(super) recv: &'a mut RecvHalf,
    pub(super) request: &'a mut FrameScanner,
    pub(super) permit: &'a NodePermit,
}

impl NodeLeg {
    /// What is used side by side.
    pub(super) fn split(&mut self) -> LegParts<'_> {
        let Self { send, recv, request, held, .. } = self;
        // Nothing but `drop` takes it.
        let (_, permit) = held.as_ref().expect("held until the leg is dropped");
        LegParts { send, recv, request, permit }
    }

    /// Notes that the node has ended its direction after a complete answer.
    pub(super) fn release(&mut self) {
        self.released = true;
    }
}

impl Drop for NodeLeg {
    fn drop(&mut self) {
        let Some((call, permit)) = self.held.take().filter(|_| !self.released) else { return };
        let node = permit.shared_node();
        let call = UnreleasedCall::new(permit, call.into_counted());
        node.handle().abandon(self.send.id(), call);
    }
}

/// Opens a stream to the node and sends the header and `rest`; returns what has passed of the
/// request.
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
    // Permits are fewer than the node's streams, so there is one at once, or as soon as the node's
    // word that an earlier one is closed has come.
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
    let mut request = FrameScanner::request(header.kind, max_message);
    request.pass(rest).map_err(|cause| cause.into_error())?;
    first.extend_from_slice(rest);
    match send.write(&first).await {
        // A node that wants no more says why in its answer.
        Ok(()) | Err(Broken::Peer(_)) => Ok((send, recv, request)),
        Err(broken) => Err(lost(broken.error(ErrorKind::NodeLost))),
    }
}

pub(super) fn protocol(text: impl Into<String>) -> Error {
    Error::new(ErrorKind::Protocol, text.into())
}
