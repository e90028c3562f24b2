//! A node, as the gateway sees it.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use tokio::sync::watch;

use crate::gateway::choice::Latency;
use crate::transport::control_stream::ControlStream;
use crate::transport::credit::Credits;
use crate::wire::control::{Hello, Register};
use crate::wire::directory::NodeInfo;
use crate::wire::header::CallHeader;
use crate::wire::limits::{MAX_NODE_STREAMS, SUSPECT_MISSES};

/// A node that is connected.
#[derive(Debug)]
pub(super) struct NodeSession {
    pub(super) id: String,
    boot: [u8; 16],
    epoch: u64,
    connection: quinn::Connection,
    credits: Arc<Credits>,
    pub(super) register: Register,
    /// Index into the offers, by name.
    offers: HashMap<String, usize>,
    /// Of each offer.
    pub(super) latencies: Vec<Latency>,
    /// Calls in flight of each offer.
    loads: Vec<AtomicU64>,
    in_flight: AtomicU64,
    /// Heartbeats in a row without echo.
    misses: Arc<AtomicU32>,
    /// A call could not be given to it any more.
    lost: AtomicBool,
    pub(super) drain: watch::Sender<Drain>,
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
    pub(super) fn new(
        connection: quinn::Connection,
        control: &ControlStream,
        hello: &Hello,
        register: Register,
    ) -> Self {
        let names = register.functions.iter().map(|offer| offer.name.clone());
        Self {
            offers: names.zip(0..).collect(),
            loads: register.functions.iter().map(|_| AtomicU64::new(0)).collect(),
            latencies: register.functions.iter().map(|_| Latency::default()).collect(),
            misses: control.misses().clone(),
            credits: control.credits().clone(),
            lost: AtomicBool::new(false),
            id: hello.id.clone(),
            boot: hello.boot,
            epoch: hello.epoch,
            connection,
            register,
            in_flight: AtomicU64::new(0),
            drain: watch::Sender::new(Drain::Stays),
        }
    }

    pub(super) fn id(&self) -> &str {
        &self.id
    }

    pub(super) fn connection(&self) -> &quinn::Connection {
        &self.connection
    }

    /// For the streams of its connection.
    pub(super) fn credits(&self) -> &Arc<Credits> {
        &self.credits
    }

    /// Whether `newer` may have this session's id.
    ///
    /// The same process may: it has lost this session. Another process may when it registers for
    /// the first time, as after a restart. Otherwise two processes with one id would push each
    /// other out for ever.
    pub(super) fn yields_to(&self, newer: &Self) -> bool {
        self.connection.close_reason().is_some() || self.boot == newer.boot || newer.epoch == 0
    }

    pub(super) fn fits(&self, header: &CallHeader) -> bool {
        header.wish.on.as_ref().is_none_or(|id| *id == self.id) && self.has(&header.wish.tags)
    }

    /// Whether it has all these tags.
    pub(super) fn has(&self, tags: &[String]) -> bool {
        tags.iter().all(|tag| self.register.tags.contains(tag))
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
            tags: self.register.tags.clone(),
            functions: self.register.functions.iter().map(|offer| offer.name.clone()).collect(),
            in_flight: self.load(),
        }
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
