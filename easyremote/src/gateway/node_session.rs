//! A node, as the gateway sees it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};

use tokio::sync::watch;

use crate::gateway::choice::Latency;
use crate::gateway::relay::node_mux::NodeMux;
use crate::transport::quic::windows::StreamWindows;
use crate::wire::control::{Hello, Register};
use crate::wire::directory::NodeInfo;
use crate::wire::header::CallHeader;
use crate::wire::limits::{MAX_NODE_STREAMS, SUSPECT_MISSES};
use crate::wire::load::NodeLoad;

/// A node that is connected.
#[derive(Debug)]
pub(super) struct NodeSession {
    pub(super) id: String,
    /// Whose node it is.
    pub(super) identity: Arc<str>,
    boot: [u8; 16],
    epoch: u64,
    connection: quinn::Connection,
    credits: Arc<StreamWindows>,
    /// Without the tags, which change.
    pub(super) register: Register,
    /// For small calls; there once the node is registered.
    pub(super) mux: OnceLock<Arc<NodeMux>>,
    /// Written under the lock of the table, so that a call is routed by those before or those after.
    tags: RwLock<Vec<String>>,
    /// Index into the offers, by name.
    offers: HashMap<String, usize>,
    /// Of each offer.
    pub(super) latencies: Vec<Latency>,
    /// Calls in flight of each offer.
    loads: Vec<AtomicU64>,
    in_flight: AtomicU64,
    /// What the node has said of itself last.
    reported: Mutex<Option<NodeLoad>>,
    /// Heartbeats in a row without echo.
    misses: Arc<AtomicU32>,
    /// A call could not be given to it any more.
    lost: AtomicBool,
    pub(super) drain: watch::Sender<Drain>,
    /// Its place in the index.
    place: AtomicUsize,
}

/// Whether a node is about to leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Drain {
    /// It is not.
    Stays,
    /// It takes no more calls, and has some still.
    Leaves,
    /// The same, and it knows that the last one is over.
    Told,
}

impl NodeSession {
    /// `credits` is for the streams of `connection`; `misses` counts the heartbeats in a row that the
    /// node has not echoed.
    pub(super) fn new(
        connection: quinn::Connection,
        credits: Arc<StreamWindows>,
        misses: Arc<AtomicU32>,
        identity: &str,
        hello: &Hello,
        mut register: Register,
    ) -> Self {
        let tags = RwLock::new(std::mem::take(&mut register.tags));
        let names = register.functions.iter().map(|offer| offer.name.clone());
        Self {
            offers: names.zip(0..).collect(),
            loads: register.functions.iter().map(|_| AtomicU64::new(0)).collect(),
            latencies: register.functions.iter().map(|_| Latency::default()).collect(),
            reported: Mutex::new(None),
            misses,
            lost: AtomicBool::new(false),
            id: hello.id.clone(),
            identity: identity.into(),
            boot: hello.boot,
            epoch: hello.epoch,
            connection,
            credits,
            register,
            mux: OnceLock::new(),
            tags,
            in_flight: AtomicU64::new(0),
            drain: watch::Sender::new(Drain::Stays),
            place: AtomicUsize::new(0),
        }
    }

    pub(super) fn id(&self) -> &str {
        &self.id
    }

    pub(super) fn connection(&self) -> &quinn::Connection {
        &self.connection
    }

    pub(super) fn mux(&self) -> Option<Arc<NodeMux>> {
        self.mux.get().cloned()
    }

    /// For the streams of its connection.
    pub(super) fn credits(&self) -> &Arc<StreamWindows> {
        &self.credits
    }

    /// Whether `newer` may have this session's id.
    ///
    /// The same process may: it has lost this session. Another process may when it registers for
    /// the first time, as after a restart. Otherwise two processes with one id would push each
    /// other out for ever. Another identity never may: it would take over what others ask for by id.
    pub(super) fn yields_to(&self, newer: &Self) -> bool {
        self.connection.close_reason().is_some()
            || (self.identity == newer.identity && (self.boot == newer.boot || newer.epoch == 0))
    }

    pub(super) fn fits(&self, header: &CallHeader) -> bool {
        header.wish.on.as_ref().is_none_or(|id| *id == self.id) && self.has(&header.wish.tags)
    }

    /// Whether it has all these tags.
    pub(super) fn has(&self, tags: &[String]) -> bool {
        if tags.is_empty() {
            return true;
        }
        let own = self.tags.read().unwrap_or_else(PoisonError::into_inner);
        tags.iter().all(|tag| own.contains(tag))
    }

    /// Its tags.
    pub(super) fn tags(&self) -> Vec<String> {
        self.tags.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Gives it other tags, in place of those that it has.
    pub(super) fn retag(&self, tags: Vec<String>) {
        *self.tags.write().unwrap_or_else(PoisonError::into_inner) = tags;
    }

    /// Its place in the index, while it is there.
    pub(super) fn place(&self) -> usize {
        self.place.load(Ordering::Relaxed)
    }

    pub(super) fn set_place(&self, place: usize) {
        self.place.store(place, Ordering::Relaxed);
    }

    /// Where among its offers a function is.
    pub(super) fn offer(&self, function: &str) -> Option<usize> {
        self.offers.get(function).copied()
    }

    /// Whether it may get another call.
    pub(super) fn is_free(&self) -> bool {
        !self.is_full() && !self.is_leaving()
    }

    /// Whether it may get another call of this offer.
    pub(super) fn is_free_for(&self, offer: usize) -> bool {
        let limit = self.register.functions[offer].concurrency;
        self.is_free() && (limit == 0 || self.loads[offer].load(Ordering::SeqCst) < limit)
    }

    /// Counts a call of this offer.
    pub(super) fn take(&self, offer: usize) {
        self.in_flight.fetch_add(1, Ordering::SeqCst);
        self.loads[offer].fetch_add(1, Ordering::SeqCst);
    }

    /// Counts it no more.
    pub(super) fn release(&self, offer: usize) {
        self.loads[offer].fetch_sub(1, Ordering::SeqCst);
        if self.in_flight.fetch_sub(1, Ordering::SeqCst) == 1 && self.is_draining() {
            // It is looked at again whether there is a call.
            self.drain.send_modify(|_| ());
        }
    }

    /// Whether it gets no more calls.
    pub(super) fn is_leaving(&self) -> bool {
        self.is_draining() || self.lost.load(Ordering::Relaxed)
    }

    pub(super) fn is_draining(&self) -> bool {
        *self.drain.borrow() != Drain::Stays
    }

    /// Gives it no more calls: its connection is broken, which its session is about to notice.
    pub(super) fn give_up(&self) {
        self.lost.store(true, Ordering::Relaxed);
    }

    /// Whether it has been silent for so long that it may be lost.
    pub(super) fn is_suspect(&self) -> bool {
        self.misses.load(Ordering::Relaxed) >= SUSPECT_MISSES
    }

    fn is_full(&self) -> bool {
        // What the node asks for, and what its transport allows the gateway to have open.
        self.load() >= self.register.capacity.min(u64::from(MAX_NODE_STREAMS))
    }

    /// What others may know of it.
    pub(super) fn info(&self) -> NodeInfo {
        NodeInfo {
            id: self.id.clone(),
            tags: self.tags(),
            functions: self.register.functions.iter().map(|offer| offer.name.clone()).collect(),
            in_flight: self.load(),
            load: *self.reported.lock().unwrap_or_else(PoisonError::into_inner),
        }
    }

    /// Keeps what the node says of itself.
    pub(super) fn report(&self, load: NodeLoad) {
        *self.reported.lock().unwrap_or_else(PoisonError::into_inner) = Some(load);
    }

    pub(super) fn load(&self) -> u64 {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// Calls per place, in units that tell one call in thousands of places from none: comparable
    /// between nodes of different size.
    pub(super) fn pressure(&self) -> u64 {
        self.load().saturating_mul(1 << 32) / self.register.capacity.max(1)
    }
}
