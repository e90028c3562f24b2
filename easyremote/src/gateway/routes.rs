//! Routes: which node offers which function, and who gets the next call.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use crate::error::{Error, ErrorKind};
use crate::gateway::Shared;
use crate::wire::control::{Hello, Offer, Register};
use crate::wire::directory::NodeInfo;
use crate::wire::header::CallHeader;
use crate::wire::kind::Kind;
use crate::wire::limits::MAX_NODE_STREAMS;

mod needs;

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
    functions: HashMap<String, Vec<Route>>,
    /// Names of the functions, in order, for texts.
    names: BTreeSet<String>,
    /// Names that were offered since the start, to tell "not now" from "never heard of".
    known: BTreeSet<String>,
}

/// Most names that [`Table::known`] keeps; beyond that, "not now" is told as "never heard of".
const MAX_KNOWN: usize = 16_384;

/// A function at one node.
#[derive(Debug)]
struct Route {
    node: Arc<NodeSession>,
    /// Index into the node's offers.
    offer: usize,
}

impl Route {
    fn offer(&self) -> &Offer {
        &self.node.register.functions[self.offer]
    }
}

/// A node that is connected.
#[derive(Debug)]
pub(super) struct NodeSession {
    id: String,
    boot: [u8; 16],
    epoch: u64,
    connection: quinn::Connection,
    register: Register,
    in_flight: AtomicU64,
}

impl NodeSession {
    pub(super) fn new(connection: quinn::Connection, hello: &Hello, register: Register) -> Self {
        Self {
            id: hello.id.clone(),
            boot: hello.boot,
            epoch: hello.epoch,
            connection,
            register,
            in_flight: AtomicU64::new(0),
        }
    }

    pub(super) fn id(&self) -> &str {
        &self.id
    }

    pub(super) fn connection(&self) -> &quinn::Connection {
        &self.connection
    }

    /// Whether `newer` may have this session's id.
    ///
    /// The same process may: it has lost this session. Another process may when it registers for
    /// the first time, as after a restart. Otherwise two processes with one id would push each
    /// other out for ever.
    fn yields_to(&self, newer: &Self) -> bool {
        self.connection.close_reason().is_some() || self.boot == newer.boot || newer.epoch == 0
    }

    fn fits(&self, header: &CallHeader) -> bool {
        header.on.as_ref().is_none_or(|id| *id == self.id)
            && header.tags.iter().all(|tag| self.register.tags.contains(tag))
    }

    fn is_full(&self) -> bool {
        // What the node's transport allows the gateway to have open.
        self.load() >= u64::from(MAX_NODE_STREAMS)
    }

    fn load(&self) -> u64 {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// Calls per thousand places: comparable between nodes of different size.
    fn pressure(&self) -> u64 {
        self.load().saturating_mul(1_000) / self.register.capacity.max(1)
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

impl Drop for Registration {
    fn drop(&mut self) {
        self.shared.routes.remove(&self.session);
    }
}

/// A call's place at a node; dropping it frees the place.
#[derive(Debug)]
pub(super) struct Place {
    node: Arc<NodeSession>,
}

impl Place {
    fn take(node: &Arc<NodeSession>) -> Self {
        node.in_flight.fetch_add(1, Ordering::Relaxed);
        Self { node: node.clone() }
    }

    pub(super) fn node(&self) -> &NodeSession {
        &self.node
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.node.in_flight.fetch_sub(1, Ordering::Relaxed);
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
            let route = Route { node: session.clone(), offer };
            table.functions.entry(function.name.clone()).or_default().push(route);
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
        let routes = table.functions.get(&header.function).map_or(&[][..], Vec::as_slice);
        let mut matching = routes.iter().filter(|route| matches(route.offer(), header)).peekable();
        let mismatch = !routes.is_empty() && matching.peek().is_none();
        !mismatch && !matching.any(|route| route.fits(header))
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

    /// Every offer, by function name and then node, and whether that node can run it.
    pub(super) fn offers(&self) -> BTreeMap<String, Vec<(String, Offer, bool)>> {
        let table = self.table();
        let mut offers: BTreeMap<String, Vec<(String, Offer, bool)>> = BTreeMap::new();
        for node in table.nodes.values() {
            for offer in &node.register.functions {
                let of_function = offers.entry(offer.name.clone()).or_default();
                of_function.push((node.id.clone(), offer.clone(), node.can_run(offer)));
            }
        }
        offers
    }

    /// Picks a node for a call: of two random ones that fit, the less busy one ("the power of two
    /// choices": Mitzenmacher, 2001).
    ///
    /// # Errors
    /// `NoSuchFunction`, `NoNode`, `SignatureMismatch`, `BadArguments` for a call of the wrong
    /// kind, or `Overloaded`; each says what there is instead.
    pub(super) fn pick(&self, header: &CallHeader) -> Result<Place, Error> {
        let table = self.table();
        let routes = table.functions.get(&header.function).map_or(&[][..], Vec::as_slice);
        let usable = |route: &&Route| matches(route.offer(), header) && route.fits(header);
        let choose = || {
            // A random one is usually good at the first try; only if not, look at all.
            let tried = routes.get(fastrand::usize(..routes.len().max(1)))?;
            if usable(&tried) && !tried.node.is_full() {
                return Some(tried);
            }
            let mut good: Vec<&Route> =
                routes.iter().filter(usable).filter(|route| !route.node.is_full()).collect();
            (!good.is_empty()).then(|| good.swap_remove(fastrand::usize(..good.len())))
        };
        match (choose(), choose()) {
            (Some(one), Some(two)) => {
                let better = if two.node.pressure() < one.node.pressure() { two } else { one };
                Ok(Place::take(&better.node))
            }
            _ => Err(table.explain(header, routes)),
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
            if let Some(routes) = self.functions.get_mut(&function.name) {
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
        if routes.iter().any(|route| matches(route.offer(), header) && route.fits(header)) {
            let text = format!("every node that offers `{name}` is busy with all it may take");
            return Error::new(ErrorKind::Overloaded, text)
                .with_retry_after(Duration::from_millis(100));
        }
        if let Some(error) = needs::unable(header, routes) {
            return error;
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
    let on = header.on.iter().map(|id| format!("node `{id}`"));
    let tags = header.tags.iter().map(|tag| format!("tag `{tag}`"));
    on.chain(tags).collect::<Vec<_>>().join(", ")
}

/// Most names in one text.
const SHOWN: usize = 8;

/// The first few of some names, quoted, and how many more there are.
fn list<'a>(mut names: impl ExactSizeIterator<Item = &'a str>) -> String {
    let first = names.by_ref().take(SHOWN);
    let mut text: Vec<String> = first.map(|name| format!("`{name}`")).collect();
    if names.len() > 0 {
        text.push(format!("and {} more", names.len()));
    }
    text.join(", ")
}
