//! Who is there and offers what; and why a call cannot run.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;

use crate::error::{Error, ErrorKind};
use crate::gateway::choice::Latency;
use crate::gateway::index::Index;
use crate::gateway::node_session::NodeSession;
use crate::gateway::policy::access::Access;
use crate::gateway::queue::{Queue, Waiter};
use crate::wire::control::Offer;
use crate::wire::directory::NodeInfo;
use crate::wire::header::CallHeader;

/// All nodes, what they offer, and who waits for it.
#[derive(Debug, Default)]
pub(super) struct Table {
    pub(super) access: Arc<Access>,
    pub(super) nodes: BTreeMap<String, Arc<NodeSession>>,
    pub(super) index: Index,
    /// Names of the functions, in order, for texts.
    pub(super) names: BTreeSet<String>,
    /// Names that were offered since the start, to tell "not now" from "never heard of", and the
    /// identity that was the first to offer each, unless that has lost it.
    pub(super) known: BTreeMap<String, Option<Arc<str>>>,
    /// Calls for which no node has room, by function.
    waiting: BTreeMap<String, Queue>,
    /// The function that has had its turn last.
    last: String,
}

/// Most names that [`Table::known`] keeps; beyond that, "not now" is told as "never heard of", and
/// a name belongs to whoever offers it now.
const MAX_KNOWN: usize = 16_384;

/// A function at one node.
#[derive(Clone, Debug)]
pub(super) struct Route {
    pub(super) node: Arc<NodeSession>,
    /// Index into the node's offers.
    offer: usize,
}

impl Route {
    pub(super) fn new(node: Arc<NodeSession>, offer: usize) -> Self {
        Self { node, offer }
    }

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
        self.index.insert(session);
        for function in &session.register.functions {
            self.names.insert(function.name.clone());
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

    /// Gives a node other tags. It keeps what it runs, also what it would not be given any more.
    pub(super) fn retag(&mut self, session: &Arc<NodeSession>, tags: Vec<String>) {
        let current = self.nodes.get(&session.id);
        let there = current.is_some_and(|current| Arc::ptr_eq(current, session));
        if there {
            self.index.remove(session);
        }
        session.retag(tags);
        if there {
            self.index.insert(session);
        }
    }

    fn forget(&mut self, session: &NodeSession) {
        for name in self.index.remove(session) {
            self.names.remove(&name);
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
    pub(super) fn outlook(&mut self, header: &CallHeader) -> Outlook {
        let route = match &header.wish.on {
            Some(id) => self.route_to(id, header).filter(Route::is_free),
            None => self.index.choose(header),
        };
        match route {
            Some(route) => Outlook::Now(route),
            None if self.has_taker(header) => Outlook::Later,
            None => Outlook::Error(self.explain(header)),
        }
    }

    #[cfg(test)]
    pub(super) fn look_at_a_suspect(&mut self) {
        self.index.look_at_a_suspect();
    }

    /// The node called `id`, if it can run the call.
    fn route_to(&self, id: &str, header: &CallHeader) -> Option<Route> {
        let node = self.nodes.get(id)?;
        let route = Route::new(node.clone(), node.offer(&header.function)?);
        route.fits(header).then_some(route)
    }

    /// Whether there is a node that can run the call, now or later.
    fn has_taker(&self, header: &CallHeader) -> bool {
        match &header.wish.on {
            Some(id) => self.route_to(id, header).is_some_and(|route| !route.node.is_leaving()),
            None => {
                let stays = |place| self.index.node(place).is_some_and(|node| !node.is_leaving());
                self.index.find(header, false, &[]).iter().any(stays)
            }
        }
    }

    /// Gives the place of a call back.
    pub(super) fn release(&mut self, route: &Route) {
        route.node.release(route.offer);
        self.index.released(route);
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
            let route = Route::new(node.clone(), node.offer(name)?);
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
            let lost =
                queue.drain_if(|header| (!self.has_taker(header)).then(|| self.explain(header)));
            hopeless.extend(lost);
            if !queue.is_empty() {
                self.waiting.insert(function.name.clone(), queue);
            }
        }
        hopeless
    }

    /// Whether a node may offer what it does. Where no rules say so, a function belongs to the
    /// identity that was the first to offer it: no other can take its calls, while any number of
    /// nodes of that identity share them.
    fn check_owner(&self, session: &NodeSession) -> Result<(), Error> {
        if self.access.has_offers() {
            return Ok(());
        }
        for function in &session.register.functions {
            let offered = self.index.function(&function.name);
            let now = || Some(&offered?.routes.values().next()?.node.identity);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::sample::{Peer, offer};
    use crate::wire::control::Register;

    #[tokio::test]
    async fn names_are_not_remembered_without_end() {
        let (mut table, peer) = (Table::default(), Peer::new().await.unwrap());
        for n in 0..20 {
            let functions = (0..1_000).map(|i| offer(&format!("f{n}-{i}"))).collect();
            let (node, _) = peer.node("one", Register { tags: Vec::new(), capacity: 1, functions });
            table.insert(&node).unwrap();
            table.remove(&node);
        }
        assert_eq!(table.known.len(), MAX_KNOWN);
    }
}
