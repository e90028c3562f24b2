//! The router: selects a node for each call, and the waiting call that gets the next permit.

mod continuing;
mod outcomes;
mod permit;
mod registration;
mod waiting;
mod waiting_list;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::Notify;

use crate::call::function_meter::FunctionStats;
use crate::error::{Error, ErrorKind};
use crate::gateway::policy::access::Access;
use crate::gateway::routing::balancer::{Chosen, LoadBalancer};
use crate::gateway::routing::clock::RouterClock;
use crate::gateway::routing::diagnostics::{Diagnosis, too_many_requests};
use crate::gateway::routing::meters::FunctionMeters;
use crate::gateway::routing::names::FunctionNames;
use crate::gateway::routing::node::{NodeHandle, NodeOffer, RoutedNode};
use crate::gateway::routing::outlier::OutlierOptions;
use crate::gateway::routing::queue::WaitQueues;
use crate::gateway::routing::registry::NodeRegistry;
use crate::gateway::routing::table::RoutingTable;
use crate::gateway::routing::waits::AbsentCalls;
use crate::transport::log_limit::LogLimiter;
use crate::wire::directory::NodeInfo;
use crate::wire::header::CallHeader;
use crate::wire::operators::applied_in;

pub(crate) use crate::gateway::routing::router::permit::CallPermit;
pub(crate) use crate::gateway::routing::router::registration::Registration;

/// All nodes, their offers, and the calls that wait for a slot.
///
/// # Locks
/// A call that finds a free slot takes no lock: it reads the current [`RoutingTable`], an immutable
/// snapshot, and counts itself at the node with a compare-and-swap. Dropping its permit takes no
/// lock either, unless a call waits. Waiting, and finding out why a call cannot run, happen under
/// the lock of `state`, which is only held briefly.
///
/// A change of the registered nodes takes longer, the more functions and nodes there are. It builds
/// the next table under the separate lock of `registry`, which calls never take, and publishes it
/// under the lock of `state`. Lock order: `registry`, then `state`.
///
/// # No lost wake-up
/// A call that finds no free slot and starts to wait races with a permit that is freed.
///
/// | the call, under the lock                | the permit                |
/// |-----------------------------------------|---------------------------|
/// | 1. increments `waiting`                 | 1. frees its slot         |
/// | 2. looks for a slot once more           | 2. reads `waiting`        |
/// | 3. joins the queue, releases the lock   | 3. dispatches if not 0    |
///
/// All four accesses of steps 1 and 2 are `SeqCst`, so all threads see them in one order. If the
/// permit's read precedes the call's increment, the slot was freed before the call looks again, and
/// the call finds it. Otherwise the permit reads at least 1, and takes the lock to dispatch. It
/// gets the lock after the call has joined the queue, because the call holds the lock from its
/// increment on.
///
/// Registering and retagging race with a waiting call in the same way, but the new table is
/// published under the lock: the call either reads it, or is in the queue before the dispatch.
#[derive(Debug)]
pub(crate) struct Router<H: NodeHandle> {
    access: Arc<Access>,
    /// Read by calls; stored under the lock of `state`.
    table: ArcSwap<RoutingTable<H>>,
    state: Mutex<RouterState<H>>,
    registry: Mutex<NodeRegistry<H>>,
    /// Calls that wait for a slot, or are about to.
    waiting: AtomicU64,
    /// Number of the next ticket.
    tickets: AtomicU64,
    /// Calls that wait, and that no node can run now.
    absent: AbsentCalls,
    /// Notified when a node has registered or has changed its tags.
    grown: Notify,
    clock: RouterClock,
    outliers: OutlierOptions,
    ejections: AtomicU64,
    meters: FunctionMeters,
    /// Limits log lines about ejections, per identity of the nodes.
    ejection_log: LogLimiter<Arc<str>>,
}

#[derive(Debug)]
struct RouterState<H: NodeHandle> {
    names: FunctionNames,
    queues: WaitQueues<CallPermit<H>>,
}

impl<H: NodeHandle> Router<H> {
    /// Creates a router without nodes; `access` decides which calls are allowed.
    pub(crate) fn new(access: Arc<Access>, outliers: OutlierOptions) -> Self {
        Self::with_clock(access, outliers, RouterClock::monotonic())
    }

    pub(crate) fn with_clock(
        access: Arc<Access>,
        outliers: OutlierOptions,
        clock: RouterClock,
    ) -> Self {
        let registry = NodeRegistry::new();
        let (names, queues) = (FunctionNames::default(), WaitQueues::default());
        Self {
            access,
            table: ArcSwap::new(registry.table().clone()),
            state: Mutex::new(RouterState { names, queues }),
            registry: Mutex::new(registry),
            waiting: AtomicU64::new(0),
            tickets: AtomicU64::new(0),
            absent: AbsentCalls::default(),
            grown: Notify::new(),
            clock,
            outliers,
            ejections: AtomicU64::new(0),
            meters: FunctionMeters::default(),
            ejection_log: LogLimiter::default(),
        }
    }

    pub(crate) fn clock(&self) -> &RouterClock {
        &self.clock
    }

    pub(crate) fn n_nodes(&self) -> u64 {
        self.table.load().n_nodes() as u64
    }

    /// Returns all nodes, sorted by id.
    pub(crate) fn nodes(&self) -> Vec<NodeInfo> {
        self.table.load().nodes().into_iter().map(|node| node.info()).collect()
    }

    /// Returns the current snapshot.
    pub(crate) fn table(&self) -> Arc<RoutingTable<H>> {
        self.table.load_full()
    }

    /// Returns the functions whose calls usually take long. For functions that have never returned
    /// at a node, `under_way` adds those with a call that has been in flight there for long.
    pub(crate) fn slow_functions(
        &self,
        under_way: impl Fn(&H, &mut BTreeSet<String>),
    ) -> BTreeSet<String> {
        let (table, mut slow) = (self.table.load(), BTreeSet::new());
        for node in table.nodes() {
            let mut long = BTreeSet::new();
            under_way(node.handle(), &mut long);
            let is_slow = |offered: &&NodeOffer| {
                let usually = offered.pace.is_slow();
                usually.unwrap_or_else(|| long.contains(&offered.offer.name))
            };
            let offers = node.offers().iter().filter(is_slow);
            slow.extend(offers.map(|offered| offered.offer.name.clone()));
        }
        slow
    }

    /// Returns the number of calls that wait for a slot, or for a node.
    pub(crate) fn n_waiting(&self) -> u64 {
        self.waiting.load(Ordering::Relaxed) + self.absent.n_calls() as u64
    }

    /// Returns how often a node was ejected as an outlier since the start.
    pub(crate) fn n_ejections(&self) -> u64 {
        self.ejections.load(Ordering::Relaxed)
    }

    /// Returns the meters of the functions.
    pub(crate) fn meters(&self) -> &FunctionMeters {
        &self.meters
    }

    /// Returns the figures of all functions, sorted by name.
    pub(crate) fn functions(&self) -> Vec<FunctionStats> {
        let mut waiting = self.lock().queues.waiting();
        self.absent.add_to(&mut waiting);
        self.meters.read(&waiting)
    }

    /// Makes the functions of `identity` available to other identities.
    pub(crate) fn disown(&self, identity: &str) {
        self.lock().names.disown(identity);
    }

    /// Acquires a permit for a call; `None` if the call would have to wait.
    ///
    /// # Errors
    /// As for [`acquire`](Self::acquire).
    pub(crate) fn try_acquire(
        self: &Arc<Self>,
        header: &CallHeader,
    ) -> Option<Result<CallPermit<H>, Error>> {
        if let Err(error) = self.check_access(header) {
            return Some(Err(error));
        }
        if header.continues() {
            let permit = self.try_continue(header);
            return (permit.is_ok() || header.routing.patience.is_zero()).then_some(permit);
        }
        if let Some(permit) = self.choose(&self.table.load(), header) {
            return Some(Ok(permit));
        }
        // A node may have registered since the snapshot was read, so check again under the lock
        // before failing the call.
        let state = self.lock();
        let table = self.table.load();
        if self.balancer(&table, header).is_routable() {
            return None;
        }
        let error = self.explain(&state, &table, header);
        let waits = header.routing.wait || !header.routing.patience.is_zero();
        (!waits || !can_pass(error.kind())).then_some(Err(error))
    }

    /// Checks that the caller may call the function, and apply those of its operators.
    ///
    /// # Errors
    /// `PermissionDenied` if it may not.
    fn check_access(&self, header: &CallHeader) -> Result<(), Error> {
        let caller = header.caller.as_deref();
        self.access.check_call(caller, &header.function)?;
        let mut applied = applied_in(&header.operators);
        applied.try_for_each(|applied| self.access.check_call(caller, &applied.name))
    }

    /// Selects a node for a call without taking the lock.
    fn choose(
        self: &Arc<Self>,
        table: &RoutingTable<H>,
        header: &CallHeader,
    ) -> Option<CallPermit<H>> {
        let mut balancer = self.balancer(table, header);
        let chosen = balancer.acquire();
        for node in balancer.into_retracted() {
            // For a moment the node appeared to have less room than it has. A call that has queued
            // because of that would otherwise not be woken.
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

    /// Returns the error that explains why no node can run the call, now or later.
    fn explain(
        &self,
        state: &RouterState<H>,
        table: &RoutingTable<H>,
        header: &CallHeader,
    ) -> Error {
        if header.job_request().is_some() {
            let node = header.routing.on.as_deref().unwrap_or_default();
            if table.route_of_request(header).is_some() {
                return too_many_requests(node);
            } else if table.node(node).is_none() {
                let text = format!("node `{node}`, which the request is for, is not connected");
                return Error::new(ErrorKind::NoNode, text);
            }
        }
        let (names, is_known) =
            (Some(state.names.offered()), &|name: &str| state.names.is_known(name));
        Diagnosis { table, access: &self.access, names, is_known }.explain(header)
    }

    /// Adds a node. Returns the session that it replaces, if its id was in use.
    ///
    /// # Errors
    /// `PermissionDenied` if that session keeps its id, or if a function belongs to another
    /// identity.
    fn insert(&self, node: &Arc<RoutedNode<H>>) -> Result<Option<Arc<RoutedNode<H>>>, Error> {
        let mut registry = self.registry.lock();
        let old = registry.replaced_by(node)?;
        self.lock().names.claim(node, registry.table(), self.access.has_offers())?;
        let gone = old.as_ref().map_or_else(Vec::new, |old| registry.remove(old));
        registry.insert(node);
        let mut state = self.lock();
        // Closed before the table is published: no call is sent to the old session once the new one
        // is visible.
        if let Some(old) = &old {
            old.close();
        }
        self.publish(&registry, node);
        state.names.update(&gone, Some(node));
        Ok(old)
    }

    /// Removes a node, unless another session has replaced it.
    fn remove(&self, node: &Arc<RoutedNode<H>>) {
        let mut registry = self.registry.lock();
        if registry.is_current(node) {
            let gone = registry.remove(node);
            let mut state = self.lock();
            self.publish(&registry, node);
            state.names.update::<H>(&gone, None);
            self.readmit(registry.table(), node);
        }
        // A call that reads an older snapshot must not be sent there.
        node.close();
    }

    /// Replaces the tags of a node; returns whether they differ. Calls in flight stay there even if
    /// they no longer match.
    fn retag(&self, node: &Arc<RoutedNode<H>>, tags: Vec<String>) -> bool {
        let mut registry = self.registry.lock();
        if *node.tags() == tags {
            return false;
        }
        if registry.is_current(node) {
            registry.retag(node, tags);
            let _state = self.lock();
            self.publish(&registry, node);
        } else {
            node.set_tags(tags);
        }
        true
    }

    /// Publishes the table after a change of `node`. Call under the lock.
    fn publish(&self, registry: &NodeRegistry<H>, node: &RoutedNode<H>) {
        let table = registry.table();
        self.table.store(table.clone());
        let functions = node.offers().iter().map(|offered| &offered.offer.name);
        functions.filter_map(|name| table.function(name)).for_each(Self::recount_ejected);
    }

    fn lock(&self) -> MutexGuard<'_, RouterState<H>> {
        // Every critical section leaves the state consistent, so a panic in one does not corrupt
        // it.
        self.state.lock()
    }
}

/// Returns whether waiting can help: a matching node may register, or one with the caller's types
/// and kind, as during a rolling update.
fn can_pass(kind: ErrorKind) -> bool {
    use ErrorKind::{BadArguments, Draining, NoNode, NoSuchFunction, NodeLost, SignatureMismatch};
    matches!(kind, NoSuchFunction | NoNode | Draining | NodeLost | SignatureMismatch | BadArguments)
}
