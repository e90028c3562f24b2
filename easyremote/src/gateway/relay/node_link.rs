//! The way to a node: its connection, the small calls that are there, and the permits of calls that
//! nobody waits for any more.
//!
//! A permit stands for a place at the node, so it must not be free before the place is. Where a
//! call has been answered, the place is free: a node answers no earlier. Where its caller has left,
//! the function may run on: then the permit is kept until the node says that the place is free. It
//! does that on the multiplexed stream with a message without frames, and for a call on a stream of
//! its own with `Released`, for which the gateway asks with `Abandoned`.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use parking_lot::Mutex;
use tokio::sync::mpsc;

use crate::error::Error;
use crate::gateway::peer_log::{LineKind, PeerLog};
use crate::gateway::relay::call::{CountedCall, ForwardedCall};
use crate::gateway::routing::{CallPermit, NodeHandle};
use crate::transport::mux::in_flight::InFlightCalls;
use crate::transport::quic::stream::RecvHalf;
use crate::transport::quic::windows::StreamWindows;
use crate::wire::mux::MuxId;

/// A permit to run a call at a node of this gateway.
pub(in crate::gateway) type NodePermit = CallPermit<NodeLink>;

/// The connection of a node, and what all calls on it share.
#[derive(Debug)]
pub(in crate::gateway) struct NodeLink {
    pub(super) connection: quinn::Connection,
    /// For the streams of `connection`.
    pub(super) windows: Arc<StreamWindows>,
    /// For small calls; set once the node is registered.
    mux: OnceLock<Arc<NodeMux>>,
    /// By QUIC's id of the stream; `None` once the session has ended.
    unreleased: Mutex<Option<HashMap<u64, UnreleasedCall>>>,
    /// Streams whose calls have been abandoned, for the session to tell the node. Not bounded by
    /// itself: each has a permit.
    abandoned: mpsc::UnboundedSender<u64>,
    log: Arc<PeerLog>,
}

/// What is kept of a call that nobody waits for, until its place at the node is free.
#[derive(Debug)]
pub(in crate::gateway) struct UnreleasedCall {
    _permit: NodePermit,
    _counted: CountedCall,
}

impl UnreleasedCall {
    pub(super) fn new(permit: NodePermit, counted: CountedCall) -> Self {
        Self { _permit: permit, _counted: counted }
    }
}

/// The small calls that are at a node.
pub(in crate::gateway) type NodeMux = InFlightCalls<PlacedCall, UnreleasedCall>;

/// A small call that is at a node.
#[derive(Debug)]
pub(in crate::gateway) struct PlacedCall {
    /// Where it came from, and its id there.
    pub(super) origin: Arc<dyn CallOrigin>,
    pub(super) id: MuxId,
    pub(super) call: Box<ForwardedCall>,
    pub(super) permit: NodePermit,
}

impl PlacedCall {
    /// What is kept of the call when its caller has left.
    pub(super) fn abandon(self) -> UnreleasedCall {
        UnreleasedCall::new(self.permit, self.call.dispatch.into_counted())
    }
}

/// The multiplexed stream that a small call came from, as its node sees it.
pub(super) trait CallOrigin: std::fmt::Debug + Send + Sync {
    /// Ends a call with `frames`, which fit into a message.
    fn answer(&self, id: MuxId, frames: &[u8]);

    /// Ends a call with `error`.
    fn fail(&self, id: MuxId, error: &Error);

    /// Brings a call to another node, in a task of its own.
    fn redispatch(self: Arc<Self>, id: MuxId, call: Box<ForwardedCall>);

    /// Forwards the response that comes on `recv`, after `first`, until the call is given up.
    fn forward_response(
        self: Arc<Self>,
        id: MuxId,
        recv: RecvHalf,
        first: Bytes,
        permit: NodePermit,
    ) -> BoxFuture<'static, ()>;
}

impl NodeLink {
    /// `abandoned` hears of the streams whose calls have been abandoned.
    pub(in crate::gateway) fn new(
        connection: quinn::Connection,
        windows: Arc<StreamWindows>,
        abandoned: mpsc::UnboundedSender<u64>,
        log: Arc<PeerLog>,
    ) -> Self {
        let unreleased = Mutex::new(Some(HashMap::new()));
        Self { connection, windows, mux: OnceLock::new(), unreleased, abandoned, log }
    }

    /// Whether there may be a line of the log about a call that has failed at this node of
    /// `identity`.
    pub(super) fn may_tell_failure(&self, identity: &Arc<str>) -> Option<u64> {
        self.log.of_peer(identity, LineKind::Failed)
    }

    pub(in crate::gateway) fn connection(&self) -> &quinn::Connection {
        &self.connection
    }

    pub(super) fn mux(&self) -> Option<Arc<NodeMux>> {
        self.mux.get().cloned()
    }

    /// Adds the functions of the small calls that have been here for longer than `time`.
    pub(in crate::gateway) fn add_slow(&self, time: Duration, functions: &mut BTreeSet<String>) {
        let Some(mux) = self.mux.get() else { return };
        mux.each_waiting(|placed| {
            let dispatch = &placed.call.dispatch;
            if dispatch.age() > time && !functions.contains(&dispatch.header.function) {
                functions.insert(dispatch.header.function.clone());
            }
        });
    }

    /// Sends small calls by `mux` from now on.
    pub(in crate::gateway) fn set_mux(&self, mux: Arc<NodeMux>) {
        // A session registers once.
        let _ = self.mux.set(mux);
    }

    /// Abandons the call on `stream`: its permit is kept until the node has released its place.
    pub(super) fn abandon(&self, stream: u64, call: UnreleasedCall) {
        // Kept before the node is asked, so that its answer finds it.
        let kept = match &mut *self.unreleased.lock() {
            Some(unreleased) => unreleased.insert(stream, call).is_none(),
            // Nothing runs at a node that has left; the permit is dropped below, without the lock.
            None => false,
        };
        if kept {
            // The session that hears of it may have ended: then `close` follows.
            let _ = self.abandoned.send(stream);
        }
    }

    /// The place of the call on `stream` is free.
    pub(in crate::gateway) fn release(&self, stream: u64) {
        // Dropped without the lock: the permit may go to a call that waits.
        let call = self.unreleased.lock().as_mut().and_then(|calls| calls.remove(&stream));
        drop(call);
    }

    /// The session has ended, and all calls with it.
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
