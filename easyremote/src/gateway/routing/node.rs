//! A node as the router sees it: what it offers, how much of that is in use, and how it does.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::gateway::routing::latency::LatencyEstimate;
use crate::gateway::routing::outlier::EjectionState;
use crate::gateway::routing::pace::UsualPace;
use crate::gateway::routing::rendezvous;
use crate::wire::control::{Hello, Offer, Register};
use crate::wire::directory::NodeInfo;
use crate::wire::header::CallHeader;
use crate::wire::limits::{MAX_NODE_STREAMS, SUSPECT_MISSES};
use crate::wire::load::NodeLoad;

/// The way to a node, of which routing knows nothing but whether it is still there.
///
/// In production this is a connection; in tests it is `()`.
pub(crate) trait NodeHandle: Send + Sync + 'static {
    /// Returns whether no call can reach the node by this handle any more.
    fn is_closed(&self) -> bool;
}

impl NodeHandle for () {
    fn is_closed(&self) -> bool {
        false
    }
}

/// A registered node. Its counters are atomics, so that calls acquire and release permits without
/// a lock.
#[derive(Debug)]
pub(crate) struct RoutedNode<H> {
    id: String,
    identity: Arc<str>,
    boot: [u8; 16],
    epoch: u64,
    handle: H,
    /// Most calls that the gateway gives it at a time.
    capacity: u64,
    offers: Vec<NodeOffer>,
    /// Index into the offers, by name.
    by_name: HashMap<String, usize>,
    /// Stored under the router's lock, together with a new snapshot.
    tags: ArcSwap<Vec<String>>,
    semaphore: CallSemaphore,
    /// Its last report.
    reported: Mutex<Option<NodeLoad>>,
    /// Heartbeats in a row without echo.
    misses: Arc<AtomicU32>,
    drain: watch::Sender<DrainState>,
    /// Its place in the sets of nodes, while it is in the routing table.
    place: AtomicUsize,
    /// Of its id, for sticky keys.
    seed: u64,
}

/// A function at one node.
#[derive(Debug)]
pub(crate) struct NodeOffer {
    pub(crate) offer: Offer,
    pub(crate) latency: LatencyEstimate,
    pub(crate) pace: UsualPace,
    pub(crate) ejection: EjectionState,
    /// Calls in flight, counted only if [`Offer::concurrency`] limits them.
    in_flight: AtomicU64,
}

/// Whether a node is about to leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DrainState {
    /// It takes calls.
    Serving,
    /// It takes no new calls and finishes those that it has.
    Draining,
    /// The same, and the node knows that the last call is over.
    Acknowledged,
}

/// What came of an attempt to give a node a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SlotOutcome {
    /// The call is counted.
    Acquired,
    /// No room; nothing was changed.
    Full,
    /// No room, and for a moment the function's counter was one too high. Another thread may have
    /// taken that for a full node, so the caller must look after the waiting calls.
    Retracted,
}

/// The calls in flight at a node, and whether it takes more of them.
///
/// Both are in one word: a compare-and-swap that adds a call fails if the node has been closed
/// before, so every call is either counted before the node closes or does not get there.
#[derive(Debug, Default)]
struct CallSemaphore(AtomicU64);

/// The bit that says that a node takes no more calls.
const CLOSED: u64 = 1 << 63;

impl CallSemaphore {
    fn n_calls(&self) -> u64 {
        self.0.load(Ordering::SeqCst) & !CLOSED
    }

    fn is_closed(&self) -> bool {
        self.0.load(Ordering::SeqCst) & CLOSED != 0
    }

    /// Takes no more calls from now on.
    fn close(&self) {
        self.0.fetch_or(CLOSED, Ordering::SeqCst);
    }

    fn has_room(&self, capacity: u64) -> bool {
        self.0.load(Ordering::SeqCst) < capacity
    }

    fn acquire(&self, capacity: u64) -> bool {
        // A closed word is greater than any capacity.
        let next = |calls| (calls < capacity).then(|| calls + 1);
        self.0.fetch_update(Ordering::SeqCst, Ordering::SeqCst, next).is_ok()
    }

    /// Frees a slot; returns whether it was the last one of a closed node.
    fn release(&self) -> bool {
        self.0.fetch_sub(1, Ordering::SeqCst) == CLOSED | 1
    }
}

impl<H> RoutedNode<H> {
    /// Describes the node that sent `hello` and `register`. `misses` counts the heartbeats in a row
    /// that it has not echoed.
    pub(crate) fn new(
        handle: H,
        misses: Arc<AtomicU32>,
        identity: &str,
        hello: &Hello,
        register: Register,
    ) -> Self {
        let names = register.functions.iter().map(|offer| offer.name.clone());
        Self {
            id: hello.id.clone(),
            identity: identity.into(),
            boot: hello.boot,
            epoch: hello.epoch,
            handle,
            // What the node asks for, and what its transport allows the gateway to have open.
            capacity: register.capacity.min(u64::from(MAX_NODE_STREAMS)),
            by_name: names.zip(0..).collect(),
            offers: register.functions.into_iter().map(NodeOffer::new).collect(),
            tags: ArcSwap::from_pointee(register.tags),
            semaphore: CallSemaphore::default(),
            reported: Mutex::new(None),
            misses,
            drain: watch::Sender::new(DrainState::Serving),
            place: AtomicUsize::new(0),
            seed: rendezvous::seed(&hello.id),
        }
    }

    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    /// Whose node it is.
    pub(crate) fn identity(&self) -> &Arc<str> {
        &self.identity
    }

    pub(crate) fn handle(&self) -> &H {
        &self.handle
    }

    pub(crate) fn offers(&self) -> &[NodeOffer] {
        &self.offers
    }

    /// Returns the index of a function among the offers. A function that is offered twice is the
    /// later one.
    pub(crate) fn offer_index(&self, function: &str) -> Option<usize> {
        self.by_name.get(function).copied()
    }

    /// Returns whether it has the tags that the call requires, and is the node that it names.
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

    /// Replaces its tags. Under the router's lock, with the node taken out of the table.
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

    /// Returns whether it may get another call of this offer.
    pub(crate) fn has_room(&self, index: usize) -> bool {
        let offer = &self.offers[index];
        self.semaphore.has_room(self.capacity)
            && offer.limit().is_none_or(|limit| offer.in_flight.load(Ordering::SeqCst) < limit)
    }

    /// Counts a call of this offer, if there is room for it.
    pub(crate) fn acquire(&self, index: usize) -> SlotOutcome {
        let offer = &self.offers[index];
        let Some(limit) = offer.limit() else {
            return match self.semaphore.acquire(self.capacity) {
                true => SlotOutcome::Acquired,
                false => SlotOutcome::Full,
            };
        };
        // Looks before it touches the counter, so that a full node is rarely retracted from.
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

    /// Counts a call of this offer no more.
    pub(crate) fn release(&self, index: usize) {
        let offer = &self.offers[index];
        if offer.limit().is_some() {
            offer.in_flight.fetch_sub(1, Ordering::SeqCst);
        }
        if self.semaphore.release() {
            // Whoever waits for the end of the drain looks at the calls again.
            self.drain.send_modify(|_| ());
        }
    }

    /// Returns whether it gets no more calls, for whatever reason.
    pub(crate) fn is_leaving(&self) -> bool {
        self.semaphore.is_closed()
    }

    pub(crate) fn is_draining(&self) -> bool {
        *self.drain.borrow() != DrainState::Serving
    }

    /// Gives the node no more calls: its connection is broken, or it has left the routing table. A
    /// call that still reads an older snapshot finds it full.
    pub(crate) fn close(&self) {
        self.semaphore.close();
    }

    /// Begins to drain; returns whether it did not drain before.
    pub(crate) fn drain(&self) -> bool {
        // Closed before it is announced: whoever sees the state also sees a count that only falls.
        self.semaphore.close();
        self.drain.send_if_modified(|state| {
            let begins = *state == DrainState::Serving;
            if begins {
                *state = DrainState::Draining;
            }
            begins
        })
    }

    /// Notes that the node knows that its last call is over.
    pub(crate) fn acknowledge_drained(&self) {
        self.drain.send_replace(DrainState::Acknowledged);
    }

    /// Resolves when the node drains, has no call left, and has not been told so. Cancel safe.
    pub(crate) async fn drained(&self) {
        let mut drain = self.drain.subscribe();
        // Either the last release comes before the state changes, and is seen here, or it notifies.
        let idle = |state: &DrainState| *state == DrainState::Draining && self.n_calls() == 0;
        // The node holds the sender.
        let _ = drain.wait_for(idle).await;
    }

    /// Returns whether it has been silent for so long that it may be lost.
    pub(crate) fn is_suspect(&self) -> bool {
        self.misses.load(Ordering::Relaxed) >= SUSPECT_MISSES
    }

    /// Keeps what the node says of itself.
    pub(crate) fn report(&self, load: NodeLoad) {
        *self.reported.lock() = Some(load);
    }

    pub(crate) fn n_calls(&self) -> u64 {
        self.semaphore.n_calls()
    }

    /// Returns its calls in relation to its capacity, in units that tell one call in thousands of
    /// slots from none: comparable between nodes of different size.
    pub(crate) fn pressure(&self) -> u64 {
        self.n_calls().saturating_mul(1 << 32) / self.capacity.max(1)
    }

    /// Returns what others may know of it.
    pub(crate) fn info(&self) -> NodeInfo {
        let name = |it: &NodeOffer| it.offer.name.clone();
        let avoided = self.offers.iter().filter(|it| it.ejection.is_ejected());
        NodeInfo {
            id: self.id.clone(),
            tags: self.tags.load().to_vec(),
            functions: self.offers.iter().map(name).collect(),
            in_flight: self.n_calls(),
            load: *self.reported.lock(),
            avoided_for: avoided.map(name).collect(),
        }
    }
}

impl<H: NodeHandle> RoutedNode<H> {
    /// Returns whether `newer` may have this session's id.
    ///
    /// The same process may: it has lost this session. Another process may when it registers for
    /// the first time, as after a restart. Otherwise two processes with one id would push each
    /// other out for ever. Another identity never may: it would take over what others ask for by
    /// id.
    pub(crate) fn yields_to(&self, newer: &Self) -> bool {
        self.handle.is_closed()
            || (self.identity == newer.identity && (self.boot == newer.boot || newer.epoch == 0))
    }
}

impl NodeOffer {
    fn new(offer: Offer) -> Self {
        Self {
            offer,
            latency: LatencyEstimate::default(),
            pace: UsualPace::default(),
            ejection: EjectionState::default(),
            in_flight: AtomicU64::new(0),
        }
    }

    /// Most calls of the function that the node runs at a time.
    fn limit(&self) -> Option<u64> {
        (self.offer.concurrency > 0).then_some(self.offer.concurrency)
    }

    /// Returns the time that a call of this function is expected to take with `calls` calls in
    /// flight, in an order that also ranks what is unknown.
    pub(crate) fn expected_wait(&self, calls: u64, now: Duration) -> f64 {
        use crate::gateway::routing::latency::LatencyForecast::{Failing, Micros, Unknown};
        match self.latency.forecast(now) {
            Micros(micros) => micros * (calls + 1) as f64,
            // One call finds out, and until it has, the others go elsewhere.
            Unknown if calls == 0 => 0.0,
            Unknown => f64::MAX,
            Failing => f64::INFINITY,
        }
    }
}
