//! A node, as the gateway sees it.

use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::watch;

use crate::wire::control::{Hello, Register};
use crate::wire::header::CallHeader;
use crate::wire::limits::MAX_NODE_STREAMS;

/// A node that is connected.
#[derive(Debug)]
pub(super) struct NodeSession {
    pub(super) id: String,
    boot: [u8; 16],
    epoch: u64,
    connection: quinn::Connection,
    pub(super) register: Register,
    pub(super) in_flight: AtomicU64,
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
    pub(super) fn new(connection: quinn::Connection, hello: &Hello, register: Register) -> Self {
        Self {
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

    /// Whether it may get another call.
    pub(super) fn is_free(&self) -> bool {
        !self.is_full() && !self.is_draining()
    }

    pub(super) fn is_draining(&self) -> bool {
        *self.drain.borrow() != Drain::Stays
    }

    fn is_full(&self) -> bool {
        // What the node's transport allows the gateway to have open.
        self.load() >= u64::from(MAX_NODE_STREAMS)
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
