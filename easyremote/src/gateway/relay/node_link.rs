//! The connection to a node, the small calls in flight there, and the permits of calls whose
//! callers have left.
//!
//! A permit stands for a slot at the node, so it must not be freed before the slot is.
//!
//! ```text
//! in flight --answered--> free: the node answers only once the slot is free
//!     |
//!     | caller leaves
//!     v
//! abandoned, permit kept --released by the node--> free
//! ```
//!
//! After the caller has left, the function may keep running. The node reports its end
//!
//! - on the multiplexed stream, with a message without frames;
//! - for a call on a separate stream, with `Released`, which the gateway requests with `Abandoned`.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use parking_lot::Mutex;
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::error::Error;
use crate::gateway::peer_log::{LineKind, PeerLog};
use crate::gateway::relay::call::{CountedCall, ForwardedCall};
use crate::gateway::relay::failed_calls::FailedCalls;
use crate::gateway::routing::{CallPermit, NodeHandle};
use crate::transport::mux::in_flight::InFlightCalls;
use crate::transport::quic::stream::RecvHalf;
use crate::transport::quic::windows::StreamWindows;
use crate::wire::caller::KnownCaller;
use crate::wire::header::{CallHeader, CallId};
use crate::wire::mux::MuxId;

/// A permit to run a call at a node of this gateway.
pub(in crate::gateway) type NodePermit = CallPermit<NodeLink>;

/// The connection of a node, with the state that all its calls share.
#[derive(Debug)]
pub(in crate::gateway) struct NodeLink {
    pub(super) connection: quinn::Connection,
    /// Flow-control windows of the streams of `connection`.
    pub(super) windows: Arc<StreamWindows>,
    /// The multiplexed stream for small calls; set once the node is registered.
    mux: OnceLock<Arc<NodeMux>>,
    /// Abandoned calls by QUIC stream id; `None` once the session has ended.
    unreleased: Mutex<Option<HashMap<u64, UnreleasedCall>>>,
    /// Streams of abandoned calls, for the session to report to the node. The channel is unbounded,
    /// but each entry holds a permit.
    abandoned: mpsc::UnboundedSender<u64>,
    /// Calls on separate streams by QUIC stream id, while their callers wait.
    legs: Mutex<HashMap<u64, OpenLeg>>,
    log: Arc<PeerLog>,
    pub(super) failed: Arc<FailedCalls>,
    #[cfg(feature = "http")]
    runtime: tokio::runtime::Handle,
}

/// What is shown of a call on a separate stream.
#[derive(Debug)]
struct OpenLeg {
    /// The index of its function among the offers of the node.
    offer: usize,
    caller: Option<KnownCaller>,
    since: Instant,
}

/// The remains of an abandoned call, kept until its slot at the node is free.
#[derive(Debug)]
pub(in crate::gateway) struct UnreleasedCall {
    _permit: NodePermit,
    _counted: CountedCall,
    /// The call, if it is a resumable stream.
    resumable: Option<CallId>,
}

impl UnreleasedCall {
    pub(super) fn new(permit: NodePermit, counted: CountedCall) -> Self {
        Self { _permit: permit, _counted: counted, resumable: None }
    }

    /// Notes that the call is a resumable stream, which may be counted again.
    pub(super) fn of_stream(mut self, call: CallId) -> Self {
        self.resumable = Some(call);
        self
    }
}

/// The small calls in flight at a node.
pub(in crate::gateway) type NodeMux = InFlightCalls<PlacedCall, UnreleasedCall>;

/// A small call in flight at a node.
#[derive(Debug)]
pub(in crate::gateway) struct PlacedCall {
    /// The stream that it came from, and its id there.
    pub(super) origin: Arc<dyn CallOrigin>,
    pub(super) id: MuxId,
    pub(super) call: Box<ForwardedCall>,
    pub(super) permit: NodePermit,
}

impl PlacedCall {
    /// Returns what is kept of the call after its caller has left.
    pub(super) fn abandon(self) -> UnreleasedCall {
        UnreleasedCall::new(self.permit, self.call.dispatch.into_counted())
    }
}

/// The origin of a small call, as seen from the node's side: the multiplexed stream of its caller.
pub(super) trait CallOrigin: std::fmt::Debug + Send + Sync {
    /// Answers a call with `frames`, which fit into one message.
    fn answer(&self, id: MuxId, frames: &[u8]);

    /// Fails a call with `error`.
    fn fail(&self, id: MuxId, error: &Error);

    /// Dispatches a call to another node, in a separate task.
    fn redispatch(self: Arc<Self>, id: MuxId, call: Box<ForwardedCall>);

    /// Forwards the response to `call`, its first bytes and what arrives after them, until the call
    /// is cancelled.
    fn forward_response(
        self: Arc<Self>,
        id: MuxId,
        call: Box<ForwardedCall>,
        response: (RecvHalf, Bytes),
        permit: NodePermit,
    ) -> BoxFuture<'static, ()>;
}

impl NodeLink {
    /// Creates the link, on the thread that serves the node. The stream ids of abandoned calls are sent to `abandoned`, and calls that
    /// fail are noted in `log` and `failed`.
    pub(in crate::gateway) fn new(
        connection: quinn::Connection,
        windows: Arc<StreamWindows>,
        abandoned: mpsc::UnboundedSender<u64>,
        (log, failed): (Arc<PeerLog>, Arc<FailedCalls>),
    ) -> Self {
        let (unreleased, legs) = (Mutex::new(Some(HashMap::new())), Mutex::default());
        let mux = OnceLock::new();
        Self {
            connection,
            windows,
            mux,
            unreleased,
            abandoned,
            legs,
            log,
            failed,
            #[cfg(feature = "http")]
            runtime: tokio::runtime::Handle::current(),
        }
    }

    /// Returns `Some` if a log line about a failed call at this node of `identity` may be written
    /// now, with the number of lines suppressed since the last one.
    pub(super) fn may_tell_failure(&self, identity: &Arc<str>) -> Option<u64> {
        self.log.of_peer(identity, LineKind::Failed)
    }

    /// Returns the runtime of the thread that serves the node.
    #[cfg(feature = "http")]
    pub(super) fn runtime(&self) -> &tokio::runtime::Handle {
        &self.runtime
    }

    pub(in crate::gateway) fn connection(&self) -> &quinn::Connection {
        &self.connection
    }

    pub(super) fn mux(&self) -> Option<Arc<NodeMux>> {
        self.mux.get().cloned()
    }

    /// Adds the functions of small calls that have been in flight here for longer than `time`.
    pub(in crate::gateway) fn add_slow(&self, time: Duration, functions: &mut BTreeSet<String>) {
        let Some(mux) = self.mux.get() else { return };
        mux.each_waiting(|placed| {
            let dispatch = &placed.call.dispatch;
            if dispatch.age() > time && !functions.contains(&*dispatch.header.function) {
                functions.insert(dispatch.header.function.to_string());
            }
        });
    }

    /// Notes a call on a separate `stream`, until [`leave_leg`](Self::leave_leg). A request about
    /// jobs is none.
    pub(super) fn enter_leg(&self, stream: u64, header: &CallHeader, offer: usize) {
        // Only the HTTP server shows them.
        if cfg!(feature = "http") && header.job_request().is_none() {
            let (caller, since) = (header.caller.clone(), Instant::now());
            self.legs.lock().insert(stream, OpenLeg { offer, caller, since });
        }
    }

    pub(super) fn leave_leg(&self, stream: u64) {
        if cfg!(feature = "http") {
            self.legs.lock().remove(&stream);
        }
    }

    /// Invokes `look` for each call that is under way here and whose caller waits: with the index of
    /// its function among the offers of the node, its caller and the time that it has taken.
    #[cfg_attr(not(feature = "http"), allow(dead_code))] // shown by the HTTP server
    pub(in crate::gateway) fn each_call(&self, mut look: impl FnMut(usize, &str, Duration)) {
        fn identity(caller: &Option<KnownCaller>) -> &str {
            caller.as_ref().map_or("", |caller| &caller.identity)
        }
        if let Some(mux) = self.mux.get() {
            mux.each_waiting(|placed| {
                let dispatch = &placed.call.dispatch;
                if dispatch.header.job_request().is_none() {
                    let identity = identity(&dispatch.header.caller);
                    look(placed.permit.index(), identity, dispatch.age());
                }
            });
        }
        for leg in self.legs.lock().values() {
            look(leg.offer, identity(&leg.caller), leg.since.elapsed());
        }
    }

    /// Sets the multiplexed stream for small calls.
    pub(in crate::gateway) fn set_mux(&self, mux: Arc<NodeMux>) {
        // Set once, because a session registers once.
        let _ = self.mux.set(mux);
    }

    /// Abandons the call on `stream`: its permit is kept until the node reports that the slot is
    /// free.
    pub(super) fn abandon(&self, stream: u64, call: UnreleasedCall) {
        // Insert before the node is asked, so that its reply finds the entry.
        let kept = match &mut *self.unreleased.lock() {
            Some(unreleased) => unreleased.insert(stream, call).is_none(),
            // The node has left, so nothing runs there. The permit is dropped below, without the
            // lock.
            None => false,
        };
        if kept {
            // An error means that the session has ended; `close` follows and drops the entry.
            let _ = self.abandoned.send(stream);
        }
    }

    /// Frees the permit of the abandoned call on `stream`.
    pub(in crate::gateway) fn release(&self, stream: u64) {
        // Drop it after the lock is released: the permit may go to a waiting call, which takes
        // other locks.
        let call = self.unreleased.lock().as_mut().and_then(|calls| calls.remove(&stream));
        drop(call);
    }

    /// Frees the permits of the abandoned legs of a resumable stream, which another leg counts now.
    pub(super) fn replace(&self, call: CallId) {
        let replaced: Vec<_> = match &mut *self.unreleased.lock() {
            Some(calls) => calls.extract_if(|_, old| old.resumable == Some(call)).collect(),
            None => Vec::new(),
        };
        // Without the lock, as in `release`.
        drop(replaced);
    }

    /// Frees the permits of all abandoned calls: the session has ended.
    pub(in crate::gateway) fn close(&self) {
        let unreleased = self.unreleased.lock().take();
        drop(unreleased);
    }
}

impl NodeHandle for NodeLink {
    fn is_closed(&self) -> bool {
        self.connection.close_reason().is_some()
    }
}
