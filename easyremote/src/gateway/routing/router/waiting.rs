//! Waiting calls, and how they are granted permits.
//!
//! See [`Router`] for the proof that no wake-up is lost.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::sync::futures::Notified;
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::error::Error;
use crate::gateway::routing::diagnostics::no_room;
use crate::gateway::routing::node::{NodeHandle, RoutedNode};
use crate::gateway::routing::queue::WaitingCall;
use crate::gateway::routing::router::permit::CallPermit;
use crate::gateway::routing::router::{Router, can_pass};
use crate::gateway::routing::table::Route;
use crate::gateway::routing::waits::WaitStart;
use crate::wire::header::CallHeader;

/// The outcome of a routing lookup.
enum RouteDecision<'a, H: NodeHandle> {
    /// A node has a free slot.
    Now(CallPermit<H>),
    /// A node can run the call once it has a free slot; the call is queued.
    Later(QueuedCall<'a, H>),
    /// No node can run it, now or later.
    Unroutable(Error),
}

/// A queued call. Dropping it removes the call from the queue.
struct QueuedCall<'a, H: NodeHandle> {
    router: &'a Router<H>,
    function: &'a str,
    caller: u64,
    ticket: u64,
    granted: oneshot::Receiver<Result<CallPermit<H>, Error>>,
}

impl<H: NodeHandle> Drop for QueuedCall<'_, H> {
    fn drop(&mut self) {
        let was_there = self.router.lock().queues.remove(self.function, self.caller, self.ticket);
        // The party that takes a call out of the queue decrements `waiting`, so it is decremented
        // once. A permit that was granted meanwhile is in the channel, and is dropped with it.
        self.router.waiting.fetch_sub(u64::from(was_there), Ordering::SeqCst);
    }
}

impl<H: NodeHandle> Router<H> {
    /// Acquires a permit for a call, waiting for its turn if no node has a free slot.
    ///
    /// `caller` is the number of the session that the call belongs to. A call with `wait` in its
    /// routing options also waits while no node can run it. A call with `patience` does so for that
    /// time: its client may have reconnected before the nodes have.
    ///
    /// # Errors
    /// `PermissionDenied` if the caller is not allowed to call the function; `NoSuchFunction`,
    /// `NoNode`, `Draining`, `NodeLost`, `SignatureMismatch`, `BadArguments` for a call of the
    /// wrong kind, or `Overloaded`. The text says what the caller could use instead.
    ///
    /// # Cancel safety
    /// Dropping the future stops waiting. A permit that was granted meanwhile goes to the next
    /// call.
    pub(crate) async fn acquire(
        self: &Arc<Self>,
        header: &CallHeader,
        caller: u64,
    ) -> Result<CallPermit<H>, Error> {
        // Checked here, because every call to a node passes through here or through `try_acquire`.
        self.check_access(header)?;
        if header.continues() {
            return self.acquire_continued(header).await;
        }
        if let Some(permit) = self.choose(&self.table.load(), header) {
            return Ok(permit);
        }
        let start = self.begin_wait();
        loop {
            // Subscribe before looking, so that a node that registers in between is not missed.
            let grown = self.grown.notified();
            let error = match self.decide(header, caller, start) {
                RouteDecision::Now(permit) => return Ok(permit),
                RouteDecision::Unroutable(error) => error,
                RouteDecision::Later(queued) => match self.granted(queued).await {
                    Ok(permit) => return Ok(permit),
                    Err(error) => error,
                },
            };
            let patience = header.routing.patience.saturating_sub(start.since.elapsed());
            let waits = header.routing.wait || !patience.is_zero();
            if !waits || !can_pass(error.kind()) {
                return Err(error);
            }
            let _absent = self.absent.enter(header, start);
            if header.routing.wait {
                self.offered(grown, &header.function).await;
            } else {
                let offered = self.offered(grown, &header.function);
                if timeout(patience, offered).await.is_err() {
                    return Err(error);
                }
            }
        }
    }

    /// Waits until a node registers or changes its tags, after which some node offers `function`.
    async fn offered(&self, mut grown: Notified<'_>, function: &str) {
        loop {
            grown.await;
            grown = self.grown.notified();
            if self.table.load().function(function).is_some() {
                return;
            }
        }
    }

    /// Waits until a permit is granted.
    async fn granted(
        self: &Arc<Self>,
        mut queued: QueuedCall<'_, H>,
    ) -> Result<CallPermit<H>, Error> {
        let granted = loop {
            if !self.outliers.enabled {
                break (&mut queued.granted).await;
            }
            // While the call waits for one node, the ejection of another may end, which nothing
            // announces.
            match timeout(self.outliers.base_ejection, &mut queued.granted).await {
                Ok(granted) => break granted,
                Err(_) => self.dispatch_to_avoided(queued.function),
            }
        };
        // The party that takes a call out of its queue sends the reason, so this is only a
        // fallback.
        granted.unwrap_or_else(|_| Err(no_room(queued.function)))
    }

    /// Looks for a node under the lock, and queues the call if none has a free slot.
    fn decide<'a>(
        self: &'a Arc<Self>,
        header: &'a CallHeader,
        caller: u64,
        start: WaitStart,
    ) -> RouteDecision<'a, H> {
        let mut state = self.lock();
        let table = self.table.load();
        // Increment before looking: see "No lost wake-up".
        self.waiting.fetch_add(1, Ordering::SeqCst);
        let mut balancer = self.balancer(&table, header);
        let chosen = balancer.acquire();
        let is_routable = chosen.is_some() || balancer.is_routable();
        // A retraction under the lock needs no dispatch: a call that was misled by it on the fast
        // path takes the lock next, and looks again.
        drop(balancer);
        if chosen.is_some() || !is_routable {
            self.waiting.fetch_sub(1, Ordering::SeqCst);
        }
        if let Some(chosen) = chosen {
            return RouteDecision::Now(self.permit(chosen));
        }
        if !is_routable {
            return RouteDecision::Unroutable(self.explain(&state, &table, header));
        }
        let (grant, granted) = oneshot::channel();
        let header_of_call = Arc::new(header.clone());
        let call = WaitingCall { start, caller, header: header_of_call, grant };
        let refused = state.queues.push(call);
        drop(state);
        if let Some(refused) = refused {
            // It may be this very call.
            self.waiting.fetch_sub(1, Ordering::SeqCst);
            let _ = refused.grant.send(Err(no_room(&header.function)));
        }
        let function = &header.function;
        let ticket = start.ticket;
        RouteDecision::Later(QueuedCall { router: self, function, caller, ticket, granted })
    }

    /// Grants the free slots of `node` to waiting calls.
    pub(super) fn dispatch_waiting(self: &Arc<Self>, node: &Arc<RoutedNode<H>>) {
        while self.waiting.load(Ordering::SeqCst) > 0 {
            let mut guard = self.lock();
            let state = &mut *guard;
            let table = &self.table.load();
            // The id may belong to another session now.
            let is_current = table.node(node.id()).is_some_and(|it| Arc::ptr_eq(it, node));
            if !is_current {
                return;
            }
            let next = state.queues.take_next(
                |function| Route::to(node, function).filter(Route::has_room),
                |route, header| {
                    let mut balancer = self.balancer(table, header);
                    if route.fits(header) { balancer.acquire_at(route) } else { None }
                },
            );
            let Some((call, chosen)) = next else { return };
            self.waiting.fetch_sub(1, Ordering::SeqCst);
            drop(guard);
            // If the call has just been cancelled, the permit is dropped, which dispatches again
            // and takes the lock. So the lock must be released here.
            let _ = call.grant.send(Ok(self.permit(chosen)));
        }
    }

    /// Grants free slots of ejected nodes of a function to waiting calls that may run there: as
    /// probes, or because no other node is left.
    fn dispatch_to_avoided(self: &Arc<Self>, function: &str) {
        let table = self.table.load_full();
        let Some(function) = table.function(function) else { return };
        if function.counters.n_ejected.load(Ordering::Acquire) == 0 {
            return;
        }
        let avoided = function.routes.iter().filter(|route| route.offered().ejection.is_ejected());
        avoided.for_each(|route| self.dispatch_waiting(&route.node));
    }

    /// Handles the waiting calls after `node` has stopped accepting them: calls that no other node
    /// can run fail, and others may now run at ejected nodes, or at those that own their keys now.
    pub(super) fn fail_unroutable(self: &Arc<Self>, node: &RoutedNode<H>) {
        if self.waiting.load(Ordering::SeqCst) == 0 {
            return;
        }
        for offered in node.offers() {
            let function = &offered.offer.name;
            for call in self.take_unroutable(function) {
                let error = self.explain(&self.lock(), &self.table.load(), &call.header);
                let _ = call.grant.send(Err(error));
            }
            self.dispatch_to_avoided(function);
            self.dispatch_to_owners(function);
        }
    }

    /// Grants free slots of all nodes of a function to waiting calls: the keys of a node that has left
    /// are others' now, which may be idle.
    fn dispatch_to_owners(self: &Arc<Self>, function: &str) {
        let table = self.table.load_full();
        let routes = table.function(function).map_or(&[][..], |function| &function.routes);
        routes.iter().for_each(|route| self.dispatch_waiting(&route.node));
    }

    /// Takes the calls of a function out of their queue that no node can run any more.
    fn take_unroutable(&self, function: &str) -> Vec<WaitingCall<CallPermit<H>>> {
        let mut state = self.lock();
        let table = self.table.load();
        let is_routable = |header: &CallHeader| self.balancer(&table, header).is_routable();
        let failed = state.queues.take_unless(function, is_routable);
        self.waiting.fetch_sub(failed.len() as u64, Ordering::SeqCst);
        failed
    }
}
