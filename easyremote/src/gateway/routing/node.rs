//! A node as the router sees it: its offers, its slots in use, and its health.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::call::function_meter::FunctionMeter;
use crate::gateway::routing::latency::LatencyEstimate;
use crate::gateway::routing::meters::FunctionMeters;
use crate::gateway::routing::outlier::EjectionState;
use crate::gateway::routing::pace::UsualPace;
use crate::gateway::routing::rendezvous;
use crate::wire::control::{Hello, Offer, Register};
use crate::wire::directory::NodeInfo;
use crate::wire::gauges::GaugeReport;
use crate::wire::header::CallHeader;
use crate::wire::kind::Kind;
use crate::wire::limits::{MAX_JOB_REQUESTS, MAX_NODE_STREAMS, SUSPECT_MISSES};
use crate::wire::load::NodeLoad;
use crate::wire::operators::AppliedFunction;

/// A handle to a node, about which routing only needs to know whether it is closed.
///
/// A connection in production; `()` in tests.
pub(crate) trait NodeHandle: Send + Sync + 'static {
    /// Returns whether the node can no longer be reached through this handle.
    fn is_closed(&self) -> bool;
}

impl NodeHandle for () {
    fn is_closed(&self) -> bool {
        false
    }
}

/// A registered node. Its counters are atomics, so that calls acquire and release permits without a
/// lock.
#[derive(Debug)]
pub(crate) struct RoutedNode<H> {
    id: String,
    identity: Arc<str>,
    boot: [u8; 16],
    epoch: u64,
    handle: H,
    /// Maximum number of calls that the gateway sends it at the same time.
    capacity: u64,
    offers: Vec<NodeOffer>,
    /// Index into `offers`, by name.
    by_name: HashMap<String, usize>,
    /// Stored under the router's lock, together with a new snapshot.
    tags: ArcSwap<Vec<String>>,
    semaphore: CallSemaphore,
    /// Requests about jobs in flight; they count separately, because they must reach a full node too.
    requests: AtomicU32,
    /// Calls that continue streams, and whose answer has not begun.
    continuing: AtomicU32,
    /// Its last load report.
    reported: Mutex<Option<NodeLoad>>,
    /// The gauges that its program reports.
    gauges: Mutex<BTreeMap<String, f64>>,
    /// Consecutive heartbeats that it has not echoed.
    misses: Arc<AtomicU32>,
    drain: watch::Sender<DrainState>,
    /// Its index in the bit sets of nodes, while it is in the routing table.
    place: AtomicUsize,
    /// Hash of its id, for sticky keys.
    seed: u64,
}

/// A function offered by one node.
#[derive(Debug)]
pub(crate) struct NodeOffer {
    pub(crate) offer: Offer,
    pub(crate) latency: LatencyEstimate,
    pub(crate) pace: UsualPace,
    pub(crate) ejection: EjectionState,
    /// Shared by all nodes that offer the function.
    pub(crate) meter: Arc<FunctionMeter>,
    /// Calls in flight; counted only if [`Offer::concurrency`] limits them.
    in_flight: AtomicU64,
}

/// Progress of a node's drain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DrainState {
    /// It accepts calls.
    Serving,
    /// It accepts no new calls, and completes those in flight.
    Draining,
    /// Like `Draining`, and the node has been told that its last call has ended.
    Acknowledged,
}

/// The outcome of an attempt to acquire a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SlotOutcome {
    /// The call is counted.
    Acquired,
    /// No free slot; nothing was changed.
    Full,
    /// No free slot, and the function's counter was one too high for a moment. Another thread may
    /// have seen the node full because of that, so the caller must dispatch waiting calls.
    Retracted,
}

/// Why a node that can run a call does not get it now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Obstacle {
    /// It runs as many calls as it takes.
    NodeFull { runs: u64, of: u64 },
    /// It runs as many calls of the function as it takes.
    FunctionFull { runs: u64, of: u64 },
    /// It shuts down, or is lost.
    Leaving,
    /// It has missed heartbeats.
    Silent,
    /// Its calls of the function keep failing.
    Avoided,
}

/// The calls in flight at a node, and whether it accepts more.
///
/// Both are in one word, so that a compare-and-swap that adds a call fails if the node has been
/// closed before: every call is either counted before the node closes, or is not sent there.
#[derive(Debug, Default)]
struct CallSemaphore(AtomicU64);

/// Maximum number of calls at a node that continue streams and are not answered. A node answers
/// them at once, so more come from a peer that floods it. They take QUIC streams of the node, of
/// which a node with many slots has few to spare.
const MAX_CONTINUING: u32 = 64;

/// Set while the node accepts no more calls.
const CLOSED: u64 = 1 << 63;

impl CallSemaphore {
    fn n_calls(&self) -> u64 {
        self.0.load(Ordering::SeqCst) & !CLOSED
    }

    fn is_closed(&self) -> bool {
        self.0.load(Ordering::SeqCst) & CLOSED != 0
    }

    /// Closes the semaphore: no call is counted from now on.
    fn close(&self) {
        self.0.fetch_or(CLOSED, Ordering::SeqCst);
    }

    fn has_room(&self, capacity: u64) -> bool {
        self.0.load(Ordering::SeqCst) < capacity
    }

    fn acquire(&self, capacity: u64) -> bool {
        // A closed word exceeds any capacity.
        let next = |calls| (calls < capacity).then(|| calls + 1);
        self.0.fetch_update(Ordering::SeqCst, Ordering::SeqCst, next).is_ok()
    }

    /// Counts a call that runs already, also if the semaphore is closed.
    fn count(&self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }

    /// Frees a slot; returns whether it was the last slot in use of a closed node.
    fn release(&self) -> bool {
        self.0.fetch_sub(1, Ordering::SeqCst) == CLOSED | 1
    }
}

/// Returns the meter of an offer. An operator has no calls, and is not listed.
fn meter(offer: &Offer, meters: &FunctionMeters) -> Arc<FunctionMeter> {
    match offer.kind.is_callable() {
        true => meters.of_offered(&offer.name),
        false => Arc::default(),
    }
}

impl<H> RoutedNode<H> {
    /// Creates the node that sent `hello` and `register`. `misses` counts the consecutive
    /// heartbeats that it has not echoed.
    pub(crate) fn new(
        handle: H,
        misses: Arc<AtomicU32>,
        identity: &str,
        hello: &Hello,
        register: Register,
        meters: &FunctionMeters,
    ) -> Self {
        let offers = register.functions.into_iter();
        let offers: Vec<_> =
            offers.map(|offer| NodeOffer::new(meter(&offer, meters), offer)).collect();
        let names = offers.iter().map(|offered| offered.offer.name.clone());
        Self {
            id: hello.id.clone(),
            identity: identity.into(),
            boot: hello.boot,
            epoch: hello.epoch,
            handle,
            // The node's own limit, and the number of streams that its transport allows the
            // gateway.
            capacity: register.capacity.min(u64::from(MAX_NODE_STREAMS)),
            by_name: names.zip(0..).collect(),
            offers,
            tags: ArcSwap::from_pointee(register.tags),
            semaphore: CallSemaphore::default(),
            requests: AtomicU32::new(0),
            continuing: AtomicU32::new(0),
            reported: Mutex::new(None),
            gauges: Mutex::default(),
            misses,
            drain: watch::Sender::new(DrainState::Serving),
            place: AtomicUsize::new(0),
            seed: rendezvous::seed(&hello.id),
        }
    }

    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    /// Returns the identity that the node belongs to.
    pub(crate) fn identity(&self) -> &Arc<str> {
        &self.identity
    }

    pub(crate) fn handle(&self) -> &H {
        &self.handle
    }

    pub(crate) fn offers(&self) -> &[NodeOffer] {
        &self.offers
    }

    /// Returns the index of a function among the offers; of duplicates, the last one.
    pub(crate) fn offer_index(&self, function: &str) -> Option<usize> {
        self.by_name.get(function).copied()
    }

    /// Returns whether the node offers a function as an operator, with the types of the call.
    pub(crate) fn applies(&self, applied: &AppliedFunction) -> bool {
        let offer = self.offer_index(&applied.name).map(|index| &self.offers[index].offer);
        offer.is_some_and(|offer| {
            let same = applied.fingerprint == 0 || applied.fingerprint == offer.fingerprint;
            offer.kind == Kind::Operator && same
        })
    }

    /// Returns whether the node has the tags that the call requires, and is the one it names if it
    /// names one.
    pub(crate) fn fits(&self, header: &CallHeader) -> bool {
        header.routing.on.as_ref().is_none_or(|id| *id == self.id)
            && self.has_tags(&header.routing.tags)
    }

    pub(crate) fn has_tags(&self, tags: &[String]) -> bool {
        tags.is_empty() || {
            let own = self.tags.load();
            tags.iter().all(|tag| own.contains(tag))
        }
    }

    pub(crate) fn tags(&self) -> Arc<Vec<String>> {
        self.tags.load_full()
    }

    /// Replaces the tags. Call under the router's lock, together with an update of the table.
    pub(crate) fn set_tags(&self, tags: Vec<String>) {
        self.tags.store(Arc::new(tags));
    }

    pub(crate) fn place(&self) -> usize {
        self.place.load(Ordering::Relaxed)
    }

    pub(crate) fn set_place(&self, place: usize) {
        self.place.store(place, Ordering::Relaxed);
    }

    /// Returns the [`rendezvous`] seed of its id.
    pub(crate) fn seed(&self) -> u64 {
        self.seed
    }

    /// Returns whether a slot for another call of this offer is free.
    pub(crate) fn has_room(&self, index: usize) -> bool {
        let offer = &self.offers[index];
        self.semaphore.has_room(self.capacity)
            && offer.limit().is_none_or(|limit| offer.in_flight.load(Ordering::SeqCst) < limit)
    }

    /// Returns why no slot for another call of this offer is free; `None` if one is.
    pub(crate) fn obstacle(&self, index: usize) -> Option<Obstacle> {
        let (offer, runs) = (&self.offers[index], self.n_calls());
        let of_function = offer.in_flight.load(Ordering::SeqCst);
        match offer.limit() {
            _ if self.is_leaving() => Some(Obstacle::Leaving),
            _ if runs >= self.capacity => Some(Obstacle::NodeFull { runs, of: self.capacity }),
            Some(of) if of_function >= of => Some(Obstacle::FunctionFull { runs: of_function, of }),
            _ => None,
        }
    }

    /// Counts a call of this offer, if a slot is free.
    pub(crate) fn acquire(&self, index: usize) -> SlotOutcome {
        let offer = &self.offers[index];
        let Some(limit) = offer.limit() else {
            return match self.semaphore.acquire(self.capacity) {
                true => SlotOutcome::Acquired,
                false => SlotOutcome::Full,
            };
        };
        // Check before touching the counter, so that a full node rarely has to be retracted from.
        if !self.has_room(index) {
            return SlotOutcome::Full;
        }
        let next = |calls| (calls < limit).then(|| calls + 1);
        if offer.in_flight.fetch_update(Ordering::SeqCst, Ordering::SeqCst, next).is_err() {
            return SlotOutcome::Full;
        }
        if !self.semaphore.acquire(self.capacity) {
            offer.in_flight.fetch_sub(1, Ordering::SeqCst);
            return SlotOutcome::Retracted;
        }
        SlotOutcome::Acquired
    }

    /// Notes a call that continues a stream, and that the node will answer at once. Returns whether
    /// it may be sent.
    pub(crate) fn begin_continuing(&self) -> bool {
        let next = |calls| (calls < MAX_CONTINUING).then(|| calls + 1);
        self.continuing.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next).is_ok()
    }

    /// Notes that the node has answered a call that continues a stream, or will not.
    pub(crate) fn end_continuing(&self) {
        self.continuing.fetch_sub(1, Ordering::Relaxed);
    }

    /// Counts a call of this offer that holds its permits at the node already, whether a slot is
    /// free or not.
    pub(crate) fn count(&self, index: usize) {
        let offer = &self.offers[index];
        if offer.limit().is_some() {
            offer.in_flight.fetch_add(1, Ordering::SeqCst);
        }
        self.semaphore.count();
    }

    /// Frees the slot of a call of this offer.
    pub(crate) fn release(&self, index: usize) {
        let offer = &self.offers[index];
        if offer.limit().is_some() {
            offer.in_flight.fetch_sub(1, Ordering::SeqCst);
        }
        if self.semaphore.release() {
            // Notify `drained`, which then checks the number of calls again.
            self.drain.send_modify(|_| ());
        }
    }

    /// Counts a request about jobs, unless too many are in flight. A node that drains has them too.
    pub(crate) fn begin_request(&self) -> bool {
        let next = |requests| (requests < MAX_JOB_REQUESTS).then_some(requests + 1);
        self.requests.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next).is_ok()
    }

    /// Ends the count of a request about jobs.
    pub(crate) fn end_request(&self) {
        self.requests.fetch_sub(1, Ordering::Relaxed);
    }

    /// Returns whether the node accepts no more calls, for whatever reason.
    pub(crate) fn is_leaving(&self) -> bool {
        self.semaphore.is_closed()
    }

    pub(crate) fn is_draining(&self) -> bool {
        *self.drain.borrow() != DrainState::Serving
    }

    /// Stops sending calls to the node: its connection is broken, or it has left the routing table.
    /// A call that reads an older snapshot finds it full.
    pub(crate) fn close(&self) {
        self.semaphore.close();
    }

    /// Starts to drain; returns false if the node was draining already.
    pub(crate) fn drain(&self) -> bool {
        // Close before announcing: a reader that sees the state then also sees a count that only
        // decreases.
        self.semaphore.close();
        self.drain.send_if_modified(|state| {
            let begins = *state == DrainState::Serving;
            if begins {
                *state = DrainState::Draining;
            }
            begins
        })
    }

    /// Records that the node has been told that its last call has ended.
    pub(crate) fn acknowledge_drained(&self) {
        self.drain.send_replace(DrainState::Acknowledged);
    }

    /// Waits until the node drains, has no call in flight, and has not been told so. Cancel safe.
    pub(crate) async fn drained(&self) {
        let mut drain = self.drain.subscribe();
        // The last release either precedes the change of the state, and is seen here, or notifies
        // the channel.
        let idle = |state: &DrainState| *state == DrainState::Draining && self.n_calls() == 0;
        // Cannot fail: the node holds the sender.
        let _ = drain.wait_for(idle).await;
    }

    /// Returns whether it has missed so many heartbeats that it may be lost.
    pub(crate) fn is_suspect(&self) -> bool {
        self.misses.load(Ordering::Relaxed) >= SUSPECT_MISSES
    }

    /// Stores a load report of the node.
    pub(crate) fn report(&self, load: NodeLoad) {
        *self.reported.lock() = Some(load);
    }

    /// Replaces the gauges that the node's program reports.
    pub(crate) fn set_gauges(&self, gauges: GaugeReport) {
        *self.gauges.lock() = gauges.into_map();
    }

    pub(crate) fn n_calls(&self) -> u64 {
        self.semaphore.n_calls()
    }

    /// Returns the load relative to the capacity, so that nodes of different size are comparable.
    /// The scale distinguishes one call in thousands of slots from none.
    pub(crate) fn pressure(&self) -> u64 {
        self.n_calls().saturating_mul(1 << 32) / self.capacity.max(1)
    }

    /// Returns the number of jobs that the node has, as it has reported last.
    #[cfg(feature = "http")]
    pub(crate) fn n_jobs(&self) -> u64 {
        self.reported.lock().map_or(0, |load| load.jobs)
    }

    /// Returns the public description of the node.
    pub(crate) fn info(&self) -> NodeInfo {
        let name = |it: &NodeOffer| it.offer.name.clone();
        let avoided = self.offers.iter().filter(|it| it.ejection.is_ejected());
        NodeInfo {
            id: self.id.clone(),
            tags: self.tags.load().to_vec(),
            functions: self.offers.iter().map(name).collect(),
            in_flight: self.n_calls(),
            load: *self.reported.lock(),
            gauges: self.gauges.lock().clone(),
            avoided_for: avoided.map(name).collect(),
        }
    }
}

impl<H: NodeHandle> RoutedNode<H> {
    /// Returns whether `newer` may take over this session's id.
    ///
    /// - The same process may: it has lost this session.
    /// - Another process may when it registers for the first time, for example after a restart.
    ///   Otherwise two processes with one id would replace each other for ever.
    /// - Another identity never may: it would take over calls that name the node by id.
    pub(crate) fn yields_to(&self, newer: &Self) -> bool {
        self.handle.is_closed()
            || (self.identity == newer.identity && (self.boot == newer.boot || newer.epoch == 0))
    }
}

impl NodeOffer {
    fn new(meter: Arc<FunctionMeter>, offer: Offer) -> Self {
        Self {
            offer,
            meter,
            latency: LatencyEstimate::default(),
            pace: UsualPace::default(),
            ejection: EjectionState::default(),
            in_flight: AtomicU64::new(0),
        }
    }

    /// Returns the maximum number of concurrent calls of the function, if it is limited.
    fn limit(&self) -> Option<u64> {
        (self.offer.concurrency > 0).then_some(self.offer.concurrency)
    }

    /// Returns the expected time until a call of this function is answered while `calls` calls are
    /// in flight, in microseconds. Unknown and failing nodes rank last.
    pub(crate) fn expected_wait(&self, calls: u64, now: Duration) -> f64 {
        use crate::gateway::routing::latency::LatencyForecast::{Failing, Micros, Unknown};
        match self.latency.forecast(now) {
            Micros(micros) => micros * (calls + 1) as f64,
            // A single call measures the latency; until then, other calls use other nodes.
            Unknown if calls == 0 => 0.0,
            Unknown => f64::MAX,
            Failing => f64::INFINITY,
        }
    }
}
