//! The router: which node gets a call, and which waiting call gets the next permit.

mod outcomes;
mod permit;
mod registration;
mod waiting;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::Notify;

use crate::error::{Error, ErrorKind};
use crate::gateway::policy::access::Access;
use crate::gateway::routing::balancer::{Chosen, LoadBalancer};
use crate::gateway::routing::clock::RouterClock;
use crate::gateway::routing::node::NodeHandle;
use crate::gateway::routing::outlier::OutlierOptions;
use crate::gateway::routing::queue::WaitQueues;
use crate::gateway::routing::registry::NodeRegistry;
use crate::gateway::routing::table::RoutingTable;
use crate::wire::control::Offer;
use crate::wire::directory::NodeInfo;
use crate::wire::header::CallHeader;

pub(crate) use crate::gateway::routing::router::permit::CallPermit;
pub(crate) use crate::gateway::routing::router::registration::Registration;

/// All nodes, what they offer, and the calls that wait for it.
///
/// # Locks
/// A call that finds a node with room takes none: it reads the current [`RoutingTable`], an
/// immutable snapshot, and counts itself at the node with a compare-and-swap. Its permit takes none
/// when it is dropped, unless a call waits. Everything else happens under one lock: registering,
/// waiting, and finding out why a call cannot run.
///
/// # No wake-up is lost
/// Two sides race: a call that finds no room goes to wait, and a permit is freed meanwhile.
///
/// | the call, under the lock             | the permit               |
/// |--------------------------------------|--------------------------|
/// | 1. counts itself in `waiting`        | 1. frees its slot        |
/// | 2. looks for room once more          | 2. reads `waiting`       |
/// | 3. joins the queue, leaves the lock  | 3. dispatches, if not 0  |
///
/// All four accesses of steps 1 and 2 are `SeqCst`, so they have one order in which all threads see
/// them. If the permit's read comes before the call's count, then so does the freed slot, and the
/// call's second look finds it. Otherwise the permit reads at least 1 and takes the lock to
/// dispatch: after the call has joined the queue, because the call holds the lock from its count
/// on.
///
/// Registering and retagging race with a waiting call in the same way, but both hold the lock: the
/// call either looks at the new table, or is in the queue before the new table is dispatched from.
#[derive(Debug)]
pub(crate) struct Router<H: NodeHandle> {
    access: Arc<Access>,
    /// What calls read. Stored under the lock.
    table: ArcSwap<RoutingTable<H>>,
    state: Mutex<RouterState<H>>,
    /// Calls that wait for room, or are about to.
    waiting: AtomicU64,
    /// For the next one.
    tickets: AtomicU64,
    /// Notified when a node has joined, or has other tags.
    grown: Notify,
    clock: RouterClock,
    outliers: OutlierOptions,
    ejections: AtomicU64,
}

#[derive(Debug)]
struct RouterState<H: NodeHandle> {
    registry: NodeRegistry<H>,
    queues: WaitQueues<CallPermit<H>>,
}

impl<H: NodeHandle> Router<H> {
    /// Creates a router without nodes, for the calls that `access` allows.
    pub(crate) fn new(access: Arc<Access>, outliers: OutlierOptions) -> Self {
        Self::with_clock(access, outliers, RouterClock::monotonic())
    }

    pub(crate) fn with_clock(
        access: Arc<Access>,
        outliers: OutlierOptions,
        clock: RouterClock,
    ) -> Self {
        let registry = NodeRegistry::new(access.clone(), outliers.clone());
        Self {
            access,
            table: ArcSwap::new(registry.table().clone()),
            state: Mutex::new(RouterState { registry, queues: WaitQueues::default() }),
            waiting: AtomicU64::new(0),
            tickets: AtomicU64::new(0),
            grown: Notify::new(),
            clock,
            outliers,
            ejections: AtomicU64::new(0),
        }
    }

    pub(crate) fn clock(&self) -> &RouterClock {
        &self.clock
    }

    pub(crate) fn n_nodes(&self) -> u64 {
        self.table.load().n_nodes() as u64
    }

    /// Returns all nodes by id.
    pub(crate) fn nodes(&self) -> Vec<NodeInfo> {
        self.table.load().nodes().into_iter().map(|node| node.info()).collect()
    }

    /// Returns every offer, by function name and then node, and whether that node can run it.
    pub(crate) fn offers(&self) -> BTreeMap<String, Vec<(String, Offer, bool)>> {
        let mut offers: BTreeMap<String, Vec<(String, Offer, bool)>> = BTreeMap::new();
        for node in self.table.load().nodes() {
            for offered in node.offers() {
                let offer = &offered.offer;
                let of_function = offers.entry(offer.name.clone()).or_default();
                of_function.push((
                    node.id().to_owned(),
                    offer.clone(),
                    node.has_tags(&offer.needs),
                ));
            }
        }
        offers
    }

    /// Returns the number of calls that wait for room.
    pub(crate) fn n_waiting(&self) -> u64 {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Returns how often a node was avoided as an outlier, since the start.
    pub(crate) fn n_ejections(&self) -> u64 {
        self.ejections.load(Ordering::Relaxed)
    }

    /// Lets other identities offer the functions that `identity` was the first to offer.
    pub(crate) fn disown(&self, identity: &str) {
        self.lock().registry.disown(identity);
    }

    /// Acquires a permit for a call, unless the call would have to wait: then returns `None`.
    ///
    /// # Errors
    /// As for [`acquire`](Self::acquire).
    pub(crate) fn try_acquire(
        self: &Arc<Self>,
        header: &CallHeader,
    ) -> Option<Result<CallPermit<H>, Error>> {
        if let Err(error) = self.access.check_call(header.caller.as_deref(), &header.function) {
            return Some(Err(error));
        }
        if let Some(permit) = self.choose(&self.table.load(), header) {
            return Some(Ok(permit));
        }
        // A node may have registered since the snapshot was read, so the lock has the last word.
        let state = self.lock();
        if self.balancer(state.registry.table(), header).is_routable() {
            return None;
        }
        let error = state.registry.explain(header);
        let waits = header.routing.wait || !header.routing.patience.is_zero();
        (!waits || !can_pass(error.kind())).then_some(Err(error))
    }

    /// Chooses a node for a call without the lock.
    fn choose(
        self: &Arc<Self>,
        table: &RoutingTable<H>,
        header: &CallHeader,
    ) -> Option<CallPermit<H>> {
        let mut balancer = self.balancer(table, header);
        let chosen = balancer.acquire();
        for node in balancer.into_retracted() {
            // For a moment the node had less room than it really has. A call that has gone to wait
            // because of that would not be woken by anybody else.
            self.dispatch_waiting(&node);
        }
        chosen.map(|chosen| self.permit(chosen))
    }

    fn balancer<'a>(
        &'a self,
        table: &'a RoutingTable<H>,
        header: &'a CallHeader,
    ) -> LoadBalancer<'a, H> {
        LoadBalancer::new(table, header, &self.clock, &self.outliers)
    }

    fn permit(self: &Arc<Self>, chosen: Chosen<H>) -> CallPermit<H> {
        CallPermit::new(self.clone(), chosen)
    }

    /// Changes the registered nodes, and lets calls see it.
    fn update<R>(&self, change: impl FnOnce(&mut NodeRegistry<H>) -> R) -> R {
        let mut state = self.lock();
        let result = change(&mut state.registry);
        self.table.store(state.registry.table().clone());
        result
    }

    fn lock(&self) -> MutexGuard<'_, RouterState<H>> {
        // Every section leaves the state whole, so a panic in one does not spoil it.
        self.state.lock()
    }
}

/// Whether another node may turn up for which the call can wait.
fn can_pass(kind: ErrorKind) -> bool {
    use ErrorKind::{Draining, NoNode, NoSuchFunction, NodeLost};
    matches!(kind, NoSuchFunction | NoNode | Draining | NodeLost)
}
