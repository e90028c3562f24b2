//! State shared by all tasks of a gateway, and its counters.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::gateway::admission::Admission;
use crate::gateway::admission::reject_log::RejectLog;
use crate::gateway::directory::Directory;
use crate::gateway::drain::{Drain, SHORT};
use crate::gateway::ending::Ending;
use crate::gateway::limits::{GatewayLimits, Hits};
use crate::gateway::peer_log::PeerLog;
use crate::gateway::policy::access::Access;
#[cfg(feature = "http")]
use crate::gateway::policy::bearers::BearerFile;
use crate::gateway::policy::tokens::Tokens;
use crate::gateway::relay::dispatch::Dispatcher;
use crate::gateway::relay::node_link::NodeLink;
use crate::gateway::schema_pool::SchemaPool;
use crate::gateway::worker::BackgroundWorker;
use crate::transport::auth::certificates::ServerCertResolver;
use crate::transport::auth::identity::Identity;
use crate::transport::stream_table::StreamTable;
use crate::wire::directory::GatewayStats;

/// State shared by all tasks of a gateway.
#[derive(Debug)]
pub(super) struct GatewayState {
    pub(super) identity: Identity,
    pub(super) tokens: Tokens,
    #[cfg(feature = "http")]
    pub(super) bearers: BearerFile,
    pub(super) shown: Arc<ServerCertResolver>,
    pub(super) access: Arc<Access>,
    pub(super) dispatcher: Dispatcher,
    pub(super) limits: GatewayLimits,
    pub(super) admission: Arc<Admission>,
    pub(super) hits: Hits,
    pub(super) counters: GatewayCounters,
    /// The open streams.
    pub(super) streams: StreamTable,
    /// Peers that were rejected.
    pub(super) refused: RejectLog,
    pub(super) log: Arc<PeerLog>,
    pub(super) directory: Directory,
    pub(super) schemas: SchemaPool,
    /// Applies changes of the routing table.
    pub(super) table_work: BackgroundWorker,
    #[cfg(feature = "http")]
    pub(super) started: std::time::Instant,
    /// Progress of the shutdown.
    pub(super) drain: Arc<Drain>,
    /// Whether the gateway ends.
    pub(super) ending: Ending,
}

impl GatewayState {
    /// Returns the functions whose calls take longer than [`SHORT`], which a drain does not wait
    /// for.
    pub(super) fn slow_functions(&self) -> Arc<[String]> {
        let add = |node: &NodeLink, slow: &mut _| node.add_slow(SHORT, slow);
        self.dispatcher.router.slow_functions(add).into_iter().collect()
    }

    /// Returns the current statistics.
    pub(super) fn stats(&self) -> GatewayStats {
        let counters = &self.counters;
        GatewayStats {
            connections: counters.connections.load(Ordering::Relaxed),
            unauthenticated: self.admission.n_unauthenticated(),
            clients: counters.clients.load(Ordering::Relaxed),
            nodes: self.dispatcher.router.n_nodes(),
            in_flight: counters.in_flight.load(Ordering::Relaxed),
            waiting: self.dispatcher.router.n_waiting(),
            streams: self.streams.n(),
            calls: counters.calls.load(Ordering::Relaxed),
            refused: self.refused.n(),
            ejections: self.dispatcher.router.n_ejections(),
            hits: self.hits.read(),
        }
    }
}

/// Counters of a gateway other than those of its limits.
#[derive(Debug, Default)]
pub(super) struct GatewayCounters {
    /// Authenticated sessions since the start; the next one gets this number.
    pub(super) sessions: AtomicU64,
    pub(super) connections: AtomicU64,
    pub(super) clients: AtomicU64,
    pub(super) calls: AtomicU64,
    /// Shared with calls, which may outlive their sessions.
    pub(super) in_flight: Arc<AtomicU64>,
}
