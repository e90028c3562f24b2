//! Routes: who gets the next call, and which call gets the next place.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::{Notify, oneshot};
use tokio::time::timeout;

use crate::error::{Error, ErrorKind};
use crate::gateway::explain::no_room;
use crate::gateway::node_session::{Drain, NodeSession};
use crate::gateway::policy::access::Access;
use crate::gateway::queue::Waiter;
use crate::gateway::relay::node_mux::NodeMux;
use crate::gateway::table::{Outlook, Route, Table};
use crate::wire::control::Offer;
use crate::wire::directory::NodeInfo;
use crate::wire::header::CallHeader;
use crate::wire::load::NodeLoad;

/// All nodes, what they offer, and the calls that wait for it.
#[derive(Debug)]
pub(super) struct Routes {
    access: Arc<Access>,
    table: Mutex<Table>,
    /// Calls that wait for room, or are about to.
    waiting: AtomicU64,
    /// For the next one.
    tickets: AtomicU64,
    /// Notified when a node has come, or other tags of one.
    grown: Notify,
}

/// A node's place in the routes; dropping it takes the node out.
#[derive(Debug)]
pub(super) struct Registration {
    routes: Arc<Routes>,
    session: Arc<NodeSession>,
}

impl Registration {
    /// Puts `session` into the routes, and gives the session that it replaced, if any.
    ///
    /// # Errors
    /// `PermissionDenied` if a node of this id is there and stays, or another identity has one of the
    /// functions.
    pub(super) fn new(
        routes: &Arc<Routes>,
        session: NodeSession,
    ) -> Result<(Self, Option<Arc<NodeSession>>), Error> {
        let session = Arc::new(session);
        let replaced = routes.table().insert(&session)?;
        routes.grown.notify_waiters();
        routes.fill(&session);
        Ok((Self { routes: routes.clone(), session }, replaced))
    }

    /// Small calls go to the node by `mux` from now on.
    pub(super) fn set_lane(&self, mux: Arc<NodeMux>) {
        // A session registers once.
        let _ = self.session.mux.set(mux);
    }

    /// Keeps what the node says of itself.
    pub(super) fn report(&self, load: NodeLoad) {
        self.session.report(load);
    }

    /// Gives the node other tags: the next call is routed by them, and so are those that wait.
    pub(super) fn retag(&self, tags: Vec<String>) {
        self.routes.table().retag(&self.session, tags);
        self.routes.grown.notify_waiters();
        self.routes.fill(&self.session);
        self.routes.disappoint(&self.session);
    }

    /// Gives the node no more calls.
    pub(super) fn drain(&self) {
        {
            // Under the lock that picks hold: whoever has picked it before has been counted.
            let _table = self.routes.table();
            self.session.drain.send_replace(Drain::Leaves);
        }
        self.routes.disappoint(&self.session);
    }

    /// Resolves when the node drains and has no call any more, until it
    /// [has been told](Self::has_been_told). Cancel safe.
    pub(super) async fn drained(&self) {
        let mut drain = self.session.drain.subscribe();
        let idle = |drain: &Drain| *drain == Drain::Leaves && self.session.load() == 0;
        // The session holds the sender.
        let _ = drain.wait_for(idle).await;
    }

    pub(super) fn has_been_told(&self) {
        self.session.drain.send_replace(Drain::Told);
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.routes.table().remove(&self.session);
        self.routes.disappoint(&self.session);
    }
}

/// A call's place at a node; dropping it frees the place.
#[derive(Debug)]
pub(super) struct Place {
    routes: Arc<Routes>,
    route: Route,
    taken: Instant,
}

impl Place {
    pub(super) fn node(&self) -> &NodeSession {
        &self.route.node
    }

    /// Notes that the node has begun to answer.
    pub(super) fn answered(&self) {
        let now = Instant::now();
        self.route.latency().record(now - self.taken, now);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.routes.table().release(&self.route);
        self.routes.fill(&self.route.node);
    }
}

/// A call that waits for room; dropping it ends the wait.
struct Waiting<'a> {
    routes: &'a Routes,
    function: &'a str,
    caller: u64,
    ticket: u64,
    granted: oneshot::Receiver<Result<Place, Error>>,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let was_there = self.routes.table().give_up(self.function, self.caller, self.ticket);
        self.routes.waiting.fetch_sub(u64::from(was_there), Ordering::SeqCst);
    }
}

impl Routes {
    /// None yet; calls are for those whom `access` allows them.
    pub(super) fn new(access: Arc<Access>) -> Self {
        Self {
            table: Mutex::new(Table::new(access.clone())),
            access,
            waiting: AtomicU64::new(0),
            tickets: AtomicU64::new(0),
            grown: Notify::new(),
        }
    }

    /// Lets others offer the functions that `identity` was the first to offer.
    pub(super) fn disown(&self, identity: &str) {
        self.table().disown(identity);
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        // Every section leaves the table whole, so a panic in one does not spoil it.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn n_nodes(&self) -> u64 {
        self.table().n_nodes()
    }

    pub(super) fn nodes(&self) -> Vec<NodeInfo> {
        self.table().nodes()
    }

    /// Every offer, by function name and then node, and whether that node can run it.
    pub(super) fn offers(&self) -> BTreeMap<String, Vec<(String, Offer, bool)>> {
        self.table().offers()
    }

    /// Calls that wait for room.
    pub(super) fn n_waiting(&self) -> u64 {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Gives a call a place at a node: at once if one has room, and otherwise when it is its turn.
    /// `caller` is the number of the connection that it came over. A call that says so waits for a
    /// node, too, if there is none, and one that may have come back before the nodes for a while.
    ///
    /// # Errors
    /// `PermissionDenied` if the caller may not; `NoSuchFunction`, `NoNode`, `Draining`, `NodeLost`,
    /// `SignatureMismatch`, `BadArguments` for a call of the wrong kind, or `Overloaded`; each says
    /// what there is instead.
    ///
    /// # Cancel safety
    /// Dropping the future ends the wait.
    pub(super) async fn acquire(
        self: &Arc<Self>,
        header: &CallHeader,
        caller: u64,
    ) -> Result<Place, Error> {
        use ErrorKind::{Draining, NoNode, NoSuchFunction, NodeLost};
        let absent = [NoSuchFunction, NoNode, Draining, NodeLost];
        // Since when it waits; as a rule it does not.
        let mut begun = None;
        // Here, because no call gets to a node in any other way.
        self.access.check_call(header.caller.as_deref(), &header.function)?;
        loop {
            // Listens before it looks: a node that comes in between is not missed.
            let grown = self.grown.notified();
            let error = match self.look(header, caller) {
                Look::Found(place) => return Ok(place),
                Look::Error(error) => error,
                Look::Waiting(mut waiting) => {
                    begun.get_or_insert_with(Instant::now);
                    match (&mut waiting.granted).await {
                        Ok(Ok(place)) => return Ok(place),
                        Ok(Err(error)) => error,
                        // Whoever takes a call out of its queue says why.
                        Err(_) => no_room(&header.function),
                    }
                }
            };
            let begun = begun.get_or_insert_with(Instant::now);
            let patience = header.wish.patience.saturating_sub(begun.elapsed());
            let waits = header.wish.wait || !patience.is_zero();
            if !waits || !absent.contains(&error.kind()) {
                return Err(error);
            }
            if header.wish.wait {
                grown.await;
            } else if timeout(patience, grown).await.is_err() {
                return Err(error);
            }
        }
    }

    fn look<'a>(self: &'a Arc<Self>, header: &'a CallHeader, caller: u64) -> Look<'a> {
        let mut table = self.table();
        match table.outlook(header) {
            Outlook::Now(route) => return Look::Found(self.place(route)),
            Outlook::Error(error) => return Look::Error(error),
            Outlook::Later => {}
        }
        // CallGuard before it looks once more: whoever frees a place after that sees the count.
        self.waiting.fetch_add(1, Ordering::SeqCst);
        if let Outlook::Now(route) = table.outlook(header) {
            self.waiting.fetch_sub(1, Ordering::SeqCst);
            return Look::Found(self.place(route));
        }
        let (grant, granted) = oneshot::channel();
        let ticket = self.tickets.fetch_add(1, Ordering::Relaxed);
        let refused = table.wait(Waiter { ticket, caller, header: header.clone(), grant });
        drop(table);
        if let Some(refused) = refused {
            // It may be this one.
            self.waiting.fetch_sub(1, Ordering::SeqCst);
            let _ = refused.grant.send(Err(no_room(&header.function)));
        }
        Look::Waiting(Waiting { routes: self, function: &header.function, caller, ticket, granted })
    }

    /// Takes a place; under the lock, so that nobody takes the same one.
    fn place(self: &Arc<Self>, route: Route) -> Place {
        route.take();
        Place { routes: self.clone(), route, taken: Instant::now() }
    }

    /// Gives the places that `node` has free to calls that wait.
    fn fill(self: &Arc<Self>, node: &Arc<NodeSession>) {
        while self.waiting.load(Ordering::SeqCst) > 0 {
            let mut table = self.table();
            let Some((waiter, route)) = table.next_for(node) else { return };
            let place = self.place(route);
            drop(table);
            self.waiting.fetch_sub(1, Ordering::SeqCst);
            // If nobody waits any more, the place is dropped, and filled again.
            let _ = waiter.grant.send(Ok(place));
        }
    }

    /// Tells the calls that wait for `session`, and now for nobody.
    fn disappoint(&self, session: &NodeSession) {
        if self.waiting.load(Ordering::SeqCst) == 0 {
            return;
        }
        let hopeless = self.table().hopeless(session);
        self.waiting.fetch_sub(hopeless.len() as u64, Ordering::SeqCst);
        for (waiter, error) in hopeless {
            let _ = waiter.grant.send(Err(error));
        }
    }
}

/// What looking for a place came to.
enum Look<'a> {
    Found(Place),
    Waiting(Waiting<'a>),
    Error(Error),
}
