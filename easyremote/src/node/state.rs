//! State shared by all tasks of a node, and by the calls of one session.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;

use crate::call::deadline::late;
use crate::call::executed::Evidence;
use crate::error::Error;
use crate::function::context::Context;
use crate::function::item_writer::no_room;
use crate::function::registry::{Function, Registry};
use crate::function::states::States;
use crate::gauge::{RoomShare, SharedRoom};
use crate::node::exec::batch::Collectors;
use crate::node::exec::dedup::DedupCache;
use crate::node::exec::resumable::registry::ResumableStreams;
use crate::node::exec::runs::Runs;
use crate::node::kept::Kept;
use crate::node::middleware::Layers;
use crate::node::tags::Tags;
use crate::transport::byte_channel::UNSHARED;
use crate::transport::connection::ManagedConnection;
use crate::transport::quic::windows::StreamWindows;
use crate::transport::stream_table::{MeteredStream, StreamTable};
use crate::wire::limits::MessageLimits;
use crate::wire::load::NodeLoad;

/// State shared by all tasks of a node.
#[derive(Debug)]
pub(super) struct NodeState {
    pub(super) id: Arc<str>,
    pub(super) tags: Tags,
    pub(super) registry: Registry,
    pub(super) states: Arc<States>,
    /// The middleware around each function.
    pub(super) layers: Layers,
    /// The runtime that the user's code runs on.
    pub(super) runtime: Handle,
    /// Permits of running calls, `concurrency` in all; further calls wait.
    pub(super) running: Arc<Semaphore>,
    pub(super) concurrency: usize,
    /// Permits of sync functions, one for each blocking thread.
    pub(super) blocking: Arc<Semaphore>,
    /// Bytes of arguments held, received or decoded; at most `max_unfinished`.
    pub(super) unfinished: Arc<AtomicU64>,
    pub(super) max_unfinished: u64,
    /// Bytes of items and long answers that are not sent yet; at most half of `max_unfinished`.
    pub(super) unread: Arc<SharedRoom>,
    /// Bytes that are kept for callers that come back.
    pub(super) kept: Arc<Kept>,
    /// Runs that outlive their callers.
    pub(super) runs: Arc<Runs>,
    /// The resumable streams that it runs or keeps.
    pub(super) resumable: Arc<ResumableStreams>,
    /// Message limits of the calls that the functions make.
    pub(super) limits: MessageLimits,
    pub(super) connect_timeout: Duration,
    pub(super) counters: NodeCounters,
    /// The open streams.
    pub(super) streams: StreamTable,
    /// Shared by all gateways: a call sent through two of them starts once.
    pub(super) started: DedupCache,
    /// Shared by all gateways: their calls run together.
    pub(super) batches: Collectors,
    /// The load that the gateways are told; `None` before the first sample.
    pub(super) load: watch::Sender<Option<NodeLoad>>,
    /// Cancelled when the node stops accepting calls.
    pub(super) draining: CancellationToken,
    /// Whether the runtime that the functions run on has ended.
    pub(super) runtime_ended: AtomicBool,
}

/// The counters behind [`NodeStats`](crate::node::NodeStats).
#[derive(Debug, Default)]
pub(super) struct NodeCounters {
    pub(super) in_flight: AtomicU64,
    pub(super) waiting: AtomicU64,
    pub(super) calls: AtomicU64,
    pub(super) repeats: AtomicU64,
    /// Shared with the contexts of lossy calls.
    pub(super) left_out: Arc<AtomicU64>,
    pub(super) gateways: AtomicU64,
}

/// One connection to a gateway, as the calls that arrive over it see it.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) node: Arc<NodeState>,
    /// For the calls that the functions make.
    pub(super) link: Arc<ManagedConnection>,
    pub(super) connection: quinn::Connection,
    /// The flow-control windows of the connection's streams.
    pub(super) windows: Arc<StreamWindows>,
    /// Message limits; the length is the lower of both sides' limits.
    pub(super) limits: MessageLimits,
    /// Whether the gateway has opened its multiplexed stream.
    pub(super) has_mux: AtomicBool,
}

impl NodeState {
    /// Logs the types that could not be tested for values that cannot be sent.
    fn tell_untried(&self) {
        for (function, what, of) in self.registry.untried() {
            tracing::info!(
                node = %self.id,
                function,
                "{what}: no sample value of `{of}` could be built; a value that would arrive \
                 changed fails when it is sent"
            );
        }
    }

    /// Logs what the node's program should know of its functions.
    pub(super) fn tell_functions(&self) {
        self.warn_of_needs(&self.tags.now());
        self.tell_untried();
    }

    /// Checks that the node has memory left for what a function is likely to return.
    ///
    /// # Errors
    /// `Overloaded` if the function returns a stream or long answers and the memory is used up.
    pub(super) fn check_unread(&self, function: &Function) -> Result<(), Error> {
        let is_large =
            function.descriptor.kind.gives_stream() || function.handler.policy.item_sizes.is_long();
        if is_large && self.unread.is_full() { Err(no_room()) } else { Ok(()) }
    }

    /// Enters a stream of the call of `context` into the table of open streams.
    pub(super) fn enter_stream(&self, function: &str, context: &Context) -> MeteredStream<'_> {
        let of_function = self.registry.get(function).map(|function| function.meter.clone());
        let of_function = of_function.unwrap_or_default();
        self.streams.enter(function, context.known_caller(), &self.id, &of_function)
    }

    /// Charges an answer to the node's memory until the returned guard is dropped.
    pub(super) fn hold_answer(&self, answer: &[u8]) -> RoomShare {
        let mut share = RoomShare::of(&self.unread);
        share.set_to(answer.len().saturating_sub(UNSHARED) as u64);
        share
    }

    /// Logs the functions that receive no calls because `tags` lacks a tag that they need.
    pub(super) fn warn_of_needs(&self, tags: &[String]) {
        for (function, tag) in self.registry.lacking(tags) {
            tracing::warn!(
                node = %self.id,
                function,
                tag,
                "receives no calls: the node lacks a tag that the function needs"
            );
        }
    }

    /// Returns the error of a call of `function` whose deadline has passed.
    pub(super) fn late(&self, function: &str, evidence: Evidence) -> Error {
        let id = &self.id;
        let error = late(format_args!("the deadline of `{function}` passed at node `{id}`"), None);
        error.with_evidence(evidence).with_node(&*self.id)
    }
}
