//! Routes: which node offers which function, and who gets the next call.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use crate::error::{Error, ErrorKind};
use crate::gateway::Shared;
use crate::gateway::choice::Latency;
use crate::gateway::node_session::{Drain, NodeSession};
use crate::wire::control::Offer;
use crate::wire::directory::NodeInfo;
use crate::wire::header::CallHeader;
use crate::wire::kind::Kind;

/// All nodes and what they offer.
#[derive(Debug, Default)]
pub(super) struct Routes {
    table: Mutex<Table>,
    /// Notified when a node has come.
    grown: Notify,
}

#[derive(Debug, Default)]
struct Table {
    nodes: BTreeMap<String, Arc<NodeSession>>,
    functions: HashMap<String, Routed>,
    /// Names of the functions, in order, for texts.
    names: BTreeSet<String>,
    /// Names that were offered since the start, to tell "not now" from "never heard of".
    known: BTreeSet<String>,
}

/// Most names that [`Table::known`] keeps; beyond that, "not now" is told as "never heard of".
const MAX_KNOWN: usize = 16_384;

/// A function, and where it is offered.
#[derive(Debug, Default)]
pub(super) struct Routed {
    pub(super) routes: Vec<Route>,
    /// How many calls have gone round.
    pub(super) turns: AtomicU64,
}

/// A function at one node.
#[derive(Clone, Debug)]
pub(super) struct Route {
    pub(super) node: Arc<NodeSession>,
    /// Index into the node's offers.
    offer: usize,
    /// How long it takes.
    pub(super) latency: Arc<Latency>,
}

impl Route {
    fn offer(&self) -> &Offer {
        &self.node.register.functions[self.offer]
    }

    /// Whether the node can run such a call, now or later.
    pub(super) fn fits(&self, header: &CallHeader) -> bool {
        matches(self.offer(), header) && self.node.fits(header)
    }
}

/// A node's place in the routes; dropping it takes the node out.
#[derive(Debug)]
pub(super) struct Registration {
    shared: Arc<Shared>,
    session: Arc<NodeSession>,
}

impl Registration {
    /// Puts `session` into the routes, and gives the session that it replaced, if any.
    ///
    /// # Errors
    /// `PermissionDenied` if a node of this id is there and stays.
    pub(super) fn new(
        shared: Arc<Shared>,
        session: NodeSession,
    ) -> Result<(Self, Option<Arc<NodeSession>>), Error> {
        let session = Arc::new(session);
        let replaced = shared.routes.insert(&session)?;
        Ok((Self { shared, session }, replaced))
    }
}

impl Registration {
    /// Gives the node no more calls.
    pub(super) fn drain(&self) {
        // Under the lock that picks hold: whoever has picked it before has been counted.
        let _table = self.shared.routes.table();
        self.session.drain.send_replace(Drain::Leaves);
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
        self.shared.routes.remove(&self.session);
    }
}

/// A call's place at a node; dropping it frees the place.
#[derive(Debug)]
pub(super) struct Place {
    route: Route,
    taken: Instant,
}

impl Place {
    fn take(route: &Route) -> Self {
        route.node.in_flight.fetch_add(1, Ordering::Relaxed);
        Self { route: route.clone(), taken: Instant::now() }
    }

    pub(super) fn node(&self) -> &NodeSession {
        &self.route.node
    }

    /// Notes that the node has begun to answer.
    pub(super) fn answered(&self) {
        self.route.latency.record(self.taken.elapsed());
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let node = &self.route.node;
        if node.in_flight.fetch_sub(1, Ordering::Relaxed) == 1 && node.is_draining() {
            // It is looked at again whether there is a call.
            node.drain.send_modify(|_| ());
        }
    }
}

impl Routes {
    fn table(&self) -> MutexGuard<'_, Table> {
        // Every section leaves the table whole, so a panic in one does not spoil it.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn insert(&self, session: &Arc<NodeSession>) -> Result<Option<Arc<NodeSession>>, Error> {
        let mut table = self.table();
        if let Some(old) = table.nodes.get(&session.id)
            && !old.yields_to(session)
        {
            let text = format!(
                "a node called `{}` is connected already; give each node an id of its own",
                session.id
            );
            return Err(Error::new(ErrorKind::PermissionDenied, text));
        }
        let replaced = table.nodes.insert(session.id.clone(), session.clone());
        if let Some(old) = &replaced {
            table.forget(old);
        }
        for (offer, function) in session.register.functions.iter().enumerate() {
            table.names.insert(function.name.clone());
            let route = Route { node: session.clone(), offer, latency: Arc::default() };
            table.functions.entry(function.name.clone()).or_default().routes.push(route);
            if table.known.len() < MAX_KNOWN {
                table.known.insert(function.name.clone());
            }
        }
        drop(table);
        self.grown.notify_waiters();
        Ok(replaced)
    }

    fn remove(&self, session: &Arc<NodeSession>) {
        let mut table = self.table();
        // Another session may have taken the id over.
        if table.nodes.get(&session.id).is_some_and(|current| Arc::ptr_eq(current, session)) {
            table.nodes.remove(&session.id);
            table.forget(session);
        }
    }

    /// Picks a node for a call that waits for one if there is none.
    ///
    /// # Errors
    /// Those of [`pick`](Self::pick), but for `NoSuchFunction` and `NoNode`.
    ///
    /// # Cancel safety
    /// Dropping the future ends the wait.
    pub(super) async fn pick_patiently(&self, header: &CallHeader) -> Result<Place, Error> {
        loop {
            // Listens before it looks: a node that comes in between is not missed.
            let grown = self.grown.notified();
            if !self.lacks_node(header) {
                return self.pick(header);
            }
            grown.await;
        }
    }

    /// Whether a call could run if only there were a node for it.
    fn lacks_node(&self, header: &CallHeader) -> bool {
        let table = self.table();
        let routes = table.functions.get(&header.function).map_or(&[][..], |it| &it.routes);
        let mut matching = routes.iter().filter(|route| matches(route.offer(), header)).peekable();
        let mismatch = !routes.is_empty() && matching.peek().is_none();
        !mismatch && !matching.any(|route| route.node.fits(header) && !route.node.is_draining())
    }

    pub(super) fn n_nodes(&self) -> u64 {
        self.table().nodes.len() as u64
    }

    pub(super) fn nodes(&self) -> Vec<NodeInfo> {
        let info = |node: &Arc<NodeSession>| NodeInfo {
            id: node.id.clone(),
            tags: node.register.tags.clone(),
            functions: node.register.functions.iter().map(|offer| offer.name.clone()).collect(),
            in_flight: node.load(),
        };
        self.table().nodes.values().map(info).collect()
    }

    /// Every offer, by function name and then node.
    pub(super) fn offers(&self) -> BTreeMap<String, Vec<(String, Offer)>> {
        let table = self.table();
        let mut offers: BTreeMap<String, Vec<(String, Offer)>> = BTreeMap::new();
        for node in table.nodes.values() {
            for offer in &node.register.functions {
                let of_function = offers.entry(offer.name.clone()).or_default();
                of_function.push((node.id.clone(), offer.clone()));
            }
        }
        offers
    }

    /// Picks a node for a call.
    ///
    /// # Errors
    /// `NoSuchFunction`, `NoNode`, `SignatureMismatch`, `BadArguments` for a call of the wrong
    /// kind, or `Overloaded`; each says what there is instead.
    pub(super) fn pick(&self, header: &CallHeader) -> Result<Place, Error> {
        let table = self.table();
        let Some(function) = table.functions.get(&header.function) else {
            return Err(table.explain(header, &[]));
        };
        match function.choose(header) {
            Some(route) => Ok(Place::take(route)),
            None => Err(table.explain(header, &function.routes)),
        }
    }
}

/// Whether the caller and the node mean the same function.
fn matches(offer: &Offer, header: &CallHeader) -> bool {
    offer.kind == header.kind
        && (header.fingerprint == 0 || offer.fingerprint == header.fingerprint)
}

impl Table {
    fn forget(&mut self, session: &Arc<NodeSession>) {
        for function in &session.register.functions {
            if let Some(Routed { routes, .. }) = self.functions.get_mut(&function.name) {
                routes.retain(|route| !Arc::ptr_eq(&route.node, session));
                if routes.is_empty() {
                    self.functions.remove(&function.name);
                    self.names.remove(&function.name);
                }
            }
        }
    }

    /// Why no node can take the call.
    fn explain(&self, header: &CallHeader, routes: &[Route]) -> Error {
        let name = &header.function;
        if routes.is_empty() {
            let kind = match self.known.contains(name) {
                true => ErrorKind::NoNode,
                false => ErrorKind::NoSuchFunction,
            };
            return Error::new(kind, format!("no node offers `{name}`; {}", self.summary()));
        }
        let Some(route) = routes.iter().find(|route| matches(route.offer(), header)) else {
            return mismatch(header, &routes[0]);
        };
        let mut fitting = routes.iter().filter(|route| route.fits(header)).peekable();
        if let Some(first) = fitting.peek() {
            let id = first.node.id();
            if fitting.all(|route| route.node.is_draining()) {
                let text = format!("node `{id}` is shutting down, and no other offers `{name}`");
                return Error::new(ErrorKind::Draining, text).with_node(id);
            }
            let text = format!("every node that offers `{name}` is busy with all it may take");
            return Error::new(ErrorKind::Overloaded, text)
                .with_retry_after(Duration::from_millis(100));
        }
        let ids = routes.iter().map(|route| route.node.id());
        let text = format!(
            "`{name}` is offered by {}, but not by a node that the call asks for: {}",
            list(ids),
            wish(header)
        );
        Error::new(ErrorKind::NoNode, text).with_node(route.node.id())
    }

    fn summary(&self) -> String {
        let n = self.nodes.len();
        if n == 0 {
            return "no node is connected".to_owned();
        }
        let nodes = if n == 1 { "1 node is".to_owned() } else { format!("{n} nodes are") };
        format!("{nodes} connected, offering {}", list(self.names.iter().map(String::as_str)))
    }
}

fn mismatch(header: &CallHeader, route: &Route) -> Error {
    let (name, offer) = (&header.function, route.offer());
    if offer.kind != header.kind {
        let hint = match offer.kind {
            Kind::Unary => "gives one result: call it with `call`, or `call_json`",
            Kind::Stream => "gives a stream: read it as one, or with `stream_json`",
            Kind::Upload | Kind::Duplex => "takes a stream, which only its stub can send",
        };
        let kind = match header.fingerprint {
            0 => ErrorKind::BadArguments,
            _ => ErrorKind::SignatureMismatch,
        };
        return Error::new(kind, format!("`{name}` {hint}"));
    }
    let text = format!(
        "the types of `{name}` differ: node `{}` has `{}`",
        route.node.id(),
        offer.signature
    );
    Error::new(ErrorKind::SignatureMismatch, text).with_node(route.node.id())
}

fn wish(header: &CallHeader) -> String {
    let on = header.wish.on.iter().map(|id| format!("node `{id}`"));
    let tags = header.wish.tags.iter().map(|tag| format!("tag `{tag}`"));
    on.chain(tags).collect::<Vec<_>>().join(", ")
}

/// The first few of some names, quoted, and how many more there are.
fn list<'a>(mut names: impl ExactSizeIterator<Item = &'a str>) -> String {
    const SHOWN: usize = 8;
    let first = names.by_ref().take(SHOWN);
    let mut text: Vec<String> = first.map(|name| format!("`{name}`")).collect();
    if names.len() > 0 {
        text.push(format!("and {} more", names.len()));
    }
    text.join(", ")
}
