//! Who is there and offers what; and why a call cannot run.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use crate::error::{Error, ErrorKind};
use crate::gateway::access::Access;
use crate::gateway::choice::Latency;
use crate::gateway::needs::unable;
use crate::gateway::node_session::NodeSession;
use crate::gateway::queue::{Queue, Waiter};
use crate::wire::control::Offer;
use crate::wire::directory::NodeInfo;
use crate::wire::header::CallHeader;
use crate::wire::kind::Kind;
use crate::wire::limits::MAX_WAITING;

/// All nodes, what they offer, and who waits for it.
#[derive(Debug, Default)]
pub(super) struct Table {
    access: Arc<Access>,
    nodes: BTreeMap<String, Arc<NodeSession>>,
    functions: HashMap<String, Routed>,
    /// Names of the functions, in order, for texts.
    names: BTreeSet<String>,
    /// Names that were offered since the start, to tell "not now" from "never heard of", and the
    /// identity that was the first to offer each, unless that has lost it.
    known: BTreeMap<String, Option<Arc<str>>>,
    /// Calls for which no node has room, by function.
    waiting: BTreeMap<String, Queue>,
    /// The function that has had its turn last.
    last: String,
}

/// Most names that [`Table::known`] keeps; beyond that, "not now" is told as "never heard of", and
/// a name belongs to whoever offers it now.
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
}

impl Route {
    pub(super) fn offer(&self) -> &Offer {
        &self.node.register.functions[self.offer]
    }

    /// Whether the node can run such a call, now or later.
    pub(super) fn fits(&self, header: &CallHeader) -> bool {
        matches(self.offer(), header) && self.node.fits(header) && self.node.can_run(self.offer())
    }

    /// Whether the node has room for a call of it now.
    pub(super) fn is_free(&self) -> bool {
        self.node.is_free_for(self.offer)
    }

    /// Takes a place for a call.
    pub(super) fn take(&self) {
        self.node.take(self.offer);
    }

    /// Gives it back.
    pub(super) fn release(&self) {
        self.node.release(self.offer);
    }

    /// How long it takes there.
    pub(super) fn latency(&self) -> &Latency {
        &self.node.latencies[self.offer]
    }
}

/// Whether the caller and the node mean the same function.
pub(super) fn matches(offer: &Offer, header: &CallHeader) -> bool {
    offer.kind == header.kind
        && (header.fingerprint == 0 || offer.fingerprint == header.fingerprint)
}

/// What a call has to expect.
#[derive(Debug)]
pub(super) enum Outlook {
    /// It can run now.
    Now(Route),
    /// It can run when one of the nodes has room.
    Later,
    /// There is no node that can run it.
    Error(Error),
}

impl Table {
    pub(super) fn new(access: Arc<Access>) -> Self {
        Self { access, ..Self::default() }
    }

    /// Puts a node in, in place of another session of its id, which is given back.
    ///
    /// # Errors
    /// `PermissionDenied` if that one stays, or if a function belongs to another identity.
    pub(super) fn insert(
        &mut self,
        session: &Arc<NodeSession>,
    ) -> Result<Option<Arc<NodeSession>>, Error> {
        if let Some(old) = self.nodes.get(&session.id)
            && !old.yields_to(session)
        {
            let text = format!(
                "a node called `{}` is connected already; give each node an id of its own",
                session.id
            );
            return Err(Error::new(ErrorKind::PermissionDenied, text));
        }
        self.check_owner(session)?;
        let replaced = self.nodes.insert(session.id.clone(), session.clone());
        if let Some(old) = &replaced {
            self.forget(old);
        }
        for (offer, function) in session.register.functions.iter().enumerate() {
            self.names.insert(function.name.clone());
            let route = Route { node: session.clone(), offer };
            self.functions.entry(function.name.clone()).or_default().routes.push(route);
            if self.known.len() < MAX_KNOWN {
                let owner = self.known.entry(function.name.clone()).or_default();
                owner.get_or_insert_with(|| session.identity.clone());
            }
        }
        Ok(replaced)
    }

    /// Takes a node out, unless another session has taken its id over.
    pub(super) fn remove(&mut self, session: &Arc<NodeSession>) {
        if self.nodes.get(&session.id).is_some_and(|current| Arc::ptr_eq(current, session)) {
            self.nodes.remove(&session.id);
            self.forget(session);
        }
    }

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

    pub(super) fn n_nodes(&self) -> u64 {
        self.nodes.len() as u64
    }

    pub(super) fn nodes(&self) -> Vec<NodeInfo> {
        self.nodes.values().map(|node| node.info()).collect()
    }

    /// Every offer, by function name and then node, and whether that node can run it.
    pub(super) fn offers(&self) -> BTreeMap<String, Vec<(String, Offer, bool)>> {
        let mut offers: BTreeMap<String, Vec<(String, Offer, bool)>> = BTreeMap::new();
        for node in self.nodes.values() {
            for offer in &node.register.functions {
                let of_function = offers.entry(offer.name.clone()).or_default();
                of_function.push((node.id.clone(), offer.clone(), node.can_run(offer)));
            }
        }
        offers
    }

    /// What a call has to expect.
    pub(super) fn outlook(&self, header: &CallHeader) -> Outlook {
        let Some(function) = self.functions.get(&header.function) else {
            return self.explain(header, &[]);
        };
        match function.choose(header) {
            Some(route) => Outlook::Now(route.clone()),
            None => self.explain(header, &function.routes),
        }
    }

    /// Lets a call wait for room. If no more may wait, the one that is not to is given back.
    pub(super) fn wait(&mut self, waiter: Waiter) -> Option<Waiter> {
        self.waiting.entry(waiter.header.function.clone()).or_default().push(waiter)
    }

    /// Takes a call that waits out, if it is still there. Says whether it was.
    pub(super) fn give_up(&mut self, function: &str, caller: u64, ticket: u64) -> bool {
        let Some(queue) = self.waiting.get_mut(function) else { return false };
        let was_there = queue.remove(caller, ticket);
        if queue.is_empty() {
            self.waiting.remove(function);
        }
        was_there
    }

    /// The next call that waits and that `node`, which has room, can run: the functions take turns,
    /// and so do the callers of each.
    pub(super) fn next_for(&mut self, node: &Arc<NodeSession>) -> Option<(Waiter, Route)> {
        if !node.is_free() {
            return None;
        }
        let last = self.last.as_str();
        let after = self.waiting.range::<str, _>((Bound::Excluded(last), Bound::Unbounded));
        let before = self.waiting.range::<str, _>((Bound::Unbounded, Bound::Included(last)));
        let mut in_turn = after.chain(before);
        let (name, spot, route) = in_turn.find_map(|(name, queue)| {
            let route = Route { node: node.clone(), offer: node.offer(name)? };
            if !route.is_free() {
                return None;
            }
            let spot = queue.find(|header| route.fits(header))?;
            Some((name.clone(), spot, route))
        })?;
        let queue = self.waiting.get_mut(&name)?;
        let waiter = queue.take(spot)?;
        if queue.is_empty() {
            self.waiting.remove(&name);
        }
        self.last = name;
        Some((waiter, route))
    }

    /// Takes out the calls that wait for nodes of which none is left, and says why.
    pub(super) fn hopeless(&mut self, session: &NodeSession) -> Vec<(Waiter, Error)> {
        let mut hopeless = Vec::new();
        for function in &session.register.functions {
            let Some(mut queue) = self.waiting.remove(&function.name) else { continue };
            let lost = queue.drain_if(|header| match self.outlook(header) {
                Outlook::Now(_) | Outlook::Later => None,
                Outlook::Error(error) => Some(error),
            });
            hopeless.extend(lost);
            if !queue.is_empty() {
                self.waiting.insert(function.name.clone(), queue);
            }
        }
        hopeless
    }

    /// Why no node takes the call now.
    fn explain(&self, header: &CallHeader, routes: &[Route]) -> Outlook {
        let name = &header.function;
        if routes.is_empty() {
            let kind = match self.known.contains_key(name) {
                true => ErrorKind::NoNode,
                false => ErrorKind::NoSuchFunction,
            };
            let text = format!("no node offers `{name}`; {}", self.summary(header));
            return Outlook::Error(Error::new(kind, text));
        }
        let Some(route) = routes.iter().find(|route| matches(route.offer(), header)) else {
            return Outlook::Error(mismatch(header, &routes[0]));
        };
        let mut fitting = routes.iter().filter(|route| route.fits(header)).peekable();
        if let Some(&first) = fitting.peek() {
            let id = first.node.id();
            if !fitting.all(|route| route.node.is_leaving()) {
                return Outlook::Later;
            }
            let (kind, what) = match first.node.is_draining() {
                true => (ErrorKind::Draining, "is shutting down"),
                false => (ErrorKind::NodeLost, "has just been lost"),
            };
            let text = format!("node `{id}` {what}, and no other offers `{name}`");
            return Outlook::Error(Error::new(kind, text).with_node(id));
        }
        if let Some(error) = unable(header, routes) {
            return Outlook::Error(error);
        }
        let ids = routes.iter().map(|route| route.node.id());
        let text = format!(
            "`{name}` is offered by {}, but not by a node that the call asks for: {}",
            list(ids),
            wish(header)
        );
        Outlook::Error(Error::new(ErrorKind::NoNode, text).with_node(route.node.id()))
    }

    /// What there is for who makes this call.
    fn summary(&self, header: &CallHeader) -> String {
        let n = self.nodes.len();
        if n == 0 {
            return "no node is connected".to_owned();
        }
        let nodes = if n == 1 { "1 node is".to_owned() } else { format!("{n} nodes are") };
        let may_call = |name: &&str| {
            header.caller.as_ref().is_some_and(|caller| self.access.may_call(caller, name))
        };
        let names: Vec<&str> = self.names.iter().map(String::as_str).filter(may_call).collect();
        format!("{nodes} connected, offering {}", list(names.into_iter()))
    }

    /// Whether a node may offer what it does. Where no rules say so, a function belongs to the
    /// identity that was the first to offer it: no other can take its calls, while any number of
    /// nodes of that identity share them.
    fn check_owner(&self, session: &NodeSession) -> Result<(), Error> {
        if self.access.has_offers() {
            return Ok(());
        }
        for function in &session.register.functions {
            let now = || Some(&self.functions.get(&function.name)?.routes.first()?.node.identity);
            let owner = self.known.get(&function.name).and_then(Option::as_ref).or_else(now);
            if let Some(owner) = owner.filter(|owner| **owner != session.identity) {
                let text = format!(
                    "node `{}` (`{}`) may not offer `{}`: it belongs to `{owner}`, which was the \
                     first to offer it; rules made with `may_offer` at the gateway can allow both",
                    session.id, session.identity, function.name
                );
                return Err(Error::new(ErrorKind::PermissionDenied, text));
            }
        }
        Ok(())
    }

    /// Lets others offer the functions that `identity` was the first to offer.
    pub(super) fn disown(&mut self, identity: &str) {
        for owner in self.known.values_mut() {
            owner.take_if(|owner| **owner == *identity);
        }
    }
}

/// The error of a call for which there is no room, not even to wait.
pub(super) fn no_room(function: &str) -> Error {
    let text = format!(
        "every node that offers `{function}` is busy with all it takes, and {MAX_WAITING} calls of \
         it wait already"
    );
    Error::new(ErrorKind::Overloaded, text).with_retry_after(Duration::from_millis(100))
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

/// Most names in one text.
pub(super) const SHOWN: usize = 8;

/// The first few of some names, quoted, and how many more there are.
pub(super) fn list<'a>(mut names: impl ExactSizeIterator<Item = &'a str>) -> String {
    let first = names.by_ref().take(SHOWN);
    let mut text: Vec<String> = first.map(|name| format!("`{name}`")).collect();
    if names.len() > 0 {
        text.push(format!("and {} more", names.len()));
    }
    text.join(", ")
}
