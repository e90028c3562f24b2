//! Which nodes can run which calls, so that a call finds one without asking all of them.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::gateway::bits::Bits;
use crate::gateway::node_session::NodeSession;
use crate::gateway::ring::Ring;
use crate::gateway::table::Route;
use crate::wire::header::CallHeader;
use crate::wire::kind::Kind;

/// The nodes by what they can do.
///
/// Each has a place, a small number; what holds for nodes is a set of places. Such a set has 16
/// words for 1,000 nodes, so that the nodes for a call, which are what a few sets have in common,
/// are found in some 10 ns whether there is one or a thousand of them.
#[derive(Debug, Default)]
pub(super) struct Index {
    nodes: Vec<Option<Arc<NodeSession>>>,
    /// Permits without a node.
    vacant: Bits,
    pub(super) functions: HashMap<String, Routed>,
    /// The places of nodes by tag.
    tagged: HashMap<String, Bits>,
    /// Nodes that may have room: all that do, and such of which nobody knows yet that they do not.
    pub(super) free: Bits,
    /// Nodes that were silent when somebody looked.
    pub(super) suspect: Bits,
    /// How many of those have been looked at again.
    looks: usize,
    pub(super) ring: Ring,
}

/// A function, and where it is offered.
#[derive(Debug, Default)]
pub(super) struct Routed {
    /// By place.
    pub(super) routes: BTreeMap<usize, Route>,
    /// The places that run calls of a kind with a fingerprint; with 0, all that run the kind.
    able: HashMap<(Kind, u64), Able>,
    /// Permits where it may not be running as often as it may: like [`Index::free`].
    pub(super) open: Bits,
    /// How many calls have gone round.
    pub(super) turns: usize,
}

/// Who can run calls of a kind with a fingerprint, but for the tags that a call asks for.
#[derive(Debug, Default)]
pub(super) struct Able {
    places: Bits,
    /// To draw one at random.
    routes: Vec<Route>,
}

impl Routed {
    pub(super) fn able(&self, header: &CallHeader) -> Option<&Able> {
        self.able.get(&(header.kind, header.fingerprint))
    }
}

impl Able {
    fn insert(&mut self, place: usize, route: Route) {
        if !self.places.contains(place) {
            self.places.insert(place);
            self.routes.push(route);
        }
    }

    fn remove(&mut self, place: usize, node: &NodeSession) {
        self.places.remove(place);
        self.routes.retain(|route| !std::ptr::eq(&*route.node, node));
    }

    /// A random one of those that are good, unless chance will not have it: where most are good,
    /// that is rare.
    pub(super) fn try_any(&self, good: impl Fn(&Route) -> bool) -> Option<Route> {
        const TRIES: usize = 4;
        let any = || self.routes.get(fastrand::usize(..self.routes.len().max(1)));
        (0..TRIES).filter_map(|_| any()).find(|route| good(route)).cloned()
    }
}

impl Index {
    /// Puts a node in, with the tags that it has now.
    pub(super) fn insert(&mut self, node: &Arc<NodeSession>) {
        let place = self.vacant.nth(0).unwrap_or(self.nodes.len());
        self.vacant.remove(place);
        if place == self.nodes.len() {
            self.nodes.push(None);
        }
        self.nodes[place] = Some(node.clone());
        node.set_place(place);
        self.free.insert(place);
        self.ring.insert(place, node.id());
        for tag in node.tags() {
            self.tagged.entry(tag).or_default().insert(place);
        }
        for (i, offer) in node.register.functions.iter().enumerate() {
            if node.offer(&offer.name) != Some(i) {
                // Offered once more further on: that counts.
                continue;
            }
            let function = self.functions.entry(offer.name.clone()).or_default();
            let route = Route::new(node.clone(), i);
            function.open.insert(place);
            if node.can_run(offer) {
                for fingerprint in [offer.fingerprint, 0] {
                    let able = function.able.entry((offer.kind, fingerprint)).or_default();
                    able.insert(place, route.clone());
                }
            }
            function.routes.insert(place, route);
        }
    }

    /// Takes a node out that is in. Gives the functions that nobody offers any more.
    pub(super) fn remove(&mut self, node: &NodeSession) -> Vec<String> {
        let place = node.place();
        self.nodes[place] = None;
        self.vacant.insert(place);
        self.free.remove(place);
        self.suspect.remove(place);
        self.ring.remove(place);
        for tag in node.tags() {
            if let Some(places) = self.tagged.get_mut(&tag) {
                places.remove(place);
                if places.is_empty() {
                    self.tagged.remove(&tag);
                }
            }
        }
        let mut gone = Vec::new();
        for offer in &node.register.functions {
            let Some(function) = self.functions.get_mut(&offer.name) else { continue };
            function.routes.remove(&place);
            function.open.remove(place);
            function.able.retain(|_, able| {
                able.remove(place, node);
                !able.places.is_empty()
            });
            if function.routes.is_empty() {
                self.functions.remove(&offer.name);
                gone.push(offer.name.clone());
            }
        }
        gone
    }

    /// Notes that a call of `route` has ended.
    pub(super) fn released(&mut self, route: &Route) {
        let place = route.node.place();
        // The node may have left, and another one have its place.
        let there = self.nodes.get(place).and_then(Option::as_ref);
        if there.is_some_and(|node| Arc::ptr_eq(node, &route.node)) {
            self.free.insert(place);
            let offer = route.offer();
            if offer.concurrency > 0
                && let Some(function) = self.functions.get_mut(&offer.name)
            {
                function.open.insert(place);
            }
        }
    }

    /// Looks at one of the nodes that were silent once more.
    pub(super) fn look_at_a_suspect(&mut self) {
        let n = self.suspect.count();
        if n > 0 {
            self.looks = self.looks.wrapping_add(1);
            let place = self.suspect.nth(self.looks % n);
            let back = |place: &usize| self.node(*place).is_none_or(|node| !node.is_suspect());
            if let Some(place) = place.filter(back) {
                self.suspect.remove(place);
            }
        }
    }

    pub(super) fn node(&self, place: usize) -> Option<&Arc<NodeSession>> {
        self.nodes.get(place)?.as_ref()
    }

    pub(super) fn function(&self, name: &str) -> Option<&Routed> {
        self.functions.get(name)
    }

    /// The places of the nodes that can run a call now or later, and also have `tags`; if `now`, of
    /// those only the ones that may have room. Not for a call that is for one node only.
    pub(super) fn find(&self, header: &CallHeader, now: bool, tags: &[String]) -> Bits {
        let mut found = Bits::default();
        if let Some(sets) = self.sets(header, now, tags) {
            found.set_to_common(&sets);
        }
        found
    }

    /// The sets that such nodes are in; `None` if there are no such nodes.
    fn sets(&self, header: &CallHeader, now: bool, tags: &[String]) -> Option<Vec<&Bits>> {
        let function = self.functions.get(&header.function)?;
        let mut sets = Vec::with_capacity(3 + header.wish.tags.len() + tags.len());
        sets.push(&function.able(header)?.places);
        if now {
            sets.extend([&self.free, &function.open]);
        }
        for tag in header.wish.tags.iter().chain(tags) {
            sets.push(self.tagged.get(tag)?);
        }
        Some(sets)
    }
}
