//! What the tasks of a node share, and what the calls of one of its sessions do.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;

use crate::call::deadline::late;
use crate::call::executed::Evidence;
use crate::error::Error;
use crate::function::item_writer::no_room;
use crate::function::registry::{Function, Registry};
use crate::function::states::States;
use crate::gauge::{RoomShare, SharedRoom};
use crate::node::exec::dedup::DedupCache;
use crate::node::middleware::Layers;
use crate::node::tags::Tags;
use crate::transport::byte_channel::UNSHARED;
use crate::transport::connection::ManagedConnection;
use crate::transport::quic::windows::StreamWindows;
use crate::wire::limits::MessageLimits;
use crate::wire::load::NodeLoad;

/// What all tasks of a node see.
#[derive(Debug)]
pub(super) struct NodeState {
    pub(super) id: Arc<str>,
    pub(super) tags: Tags,
    pub(super) registry: Registry,
    pub(super) states: Arc<States>,
    /// What runs around each function.
    pub(super) layers: Layers,
    /// Where the user's code runs.
    pub(super) runtime: Handle,
    /// Calls that may run at a time, `concurrency` of them; the others wait.
    pub(super) running: Arc<Semaphore>,
    pub(super) concurrency: usize,
    /// Sync functions that may run at a time.
    pub(super) blocking: Arc<Semaphore>,
    /// Bytes of arguments that are here, received or decoded, of at most `max_unfinished`.
    pub(super) unfinished: Arc<AtomicU64>,
    pub(super) max_unfinished: u64,
    /// What items and long answers take that nobody has read yet, as much again.
    pub(super) unread: Arc<SharedRoom>,
    /// Of calls that the functions make.
    pub(super) limits: MessageLimits,
    pub(super) connect_timeout: Duration,
    pub(super) counters: NodeCounters,
    /// By all gateways together.
    pub(super) started: DedupCache,
    /// What the gateways are told of it; `None` before the first look.
    pub(super) load: watch::Sender<Option<NodeLoad>>,
    /// Cancelled when the node is to take no more calls.
    pub(super) draining: CancellationToken,
    /// The runtime that the functions ran on is gone.
    pub(super) runtime_ended: AtomicBool,
}

/// What a node counts.
#[derive(Debug, Default)]
pub(super) struct NodeCounters {
    pub(super) in_flight: AtomicU64,
    pub(super) waiting: AtomicU64,
    pub(super) calls: AtomicU64,
    pub(super) repeats: AtomicU64,
    pub(super) gateways: AtomicU64,
}

/// One connection, as the calls see it that come over it.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) node: Arc<NodeState>,
    /// For the calls that the functions make.
    pub(super) link: Arc<ManagedConnection>,
    pub(super) connection: quinn::Connection,
    /// For the streams of that.
    pub(super) windows: Arc<StreamWindows>,
    /// What messages may take, of which both sides allow the length.
    pub(super) limits: MessageLimits,
    /// The gateway has opened its mux.
    pub(super) has_mux: AtomicBool,
}

impl NodeState {
    /// Says of which types it is not known whether all of their values can be sent.
    pub(super) fn tell_untried(&self) {
        for (function, what, of) in self.registry.untried() {
            tracing::info!(
                node = %self.id,
                function,
                "{what}: no sample of `{of}` could be made; a value that would not arrive as it \
                 is fails when it is sent"
            );
        }
    }

    /// Whether there is room for what a function is likely to give.
    ///
    /// # Errors
    /// `Overloaded` if not.
    pub(super) fn check_unread(&self, function: &Function) -> Result<(), Error> {
        let gives_much =
            function.descriptor.kind.gives_stream() || function.handler.policy.item_sizes.is_long();
        if gives_much && self.unread.is_full() { Err(no_room()) } else { Ok(()) }
    }

    /// Counts an answer for as long as it is not written.
    pub(super) fn hold_answer(&self, answer: &[u8]) -> RoomShare {
        let mut share = RoomShare::of(&self.unread);
        share.set_to(answer.len().saturating_sub(UNSHARED) as u64);
        share
    }

    /// Says which functions get no calls with these tags.
    pub(super) fn warn_of_needs(&self, tags: &[String]) {
        for (function, tag) in self.registry.lacking(tags) {
            tracing::warn!(
                node = %self.id,
                function,
                tag,
                "gets no calls: the node lacks a tag it needs"
            );
        }
    }

    /// The error of a call of `function` whose deadline has passed.
    pub(super) fn late(&self, function: &str, evidence: Evidence) -> Error {
        let id = &self.id;
        let error = late(format_args!("the deadline of `{function}` passed at node `{id}`"), None);
        error.with_evidence(evidence).with_node(&*self.id)
    }
}
