//! The routing table: an immutable snapshot of all nodes and their offers.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use fixedbitset::FixedBitSet;

use crate::gateway::routing::node::{NodeOffer, Obstacle, RoutedNode};
use crate::gateway::routing::rendezvous;
use crate::wire::control::Offer;
use crate::wire::directory::JOBS;
use crate::wire::header::CallHeader;
use crate::wire::kind::Kind;
use crate::wire::operators::applied_in;

/// All nodes, and the nodes that offer each function, as of one moment.
///
/// Calls read it without a lock. A change creates a new table that shares all unchanged parts with
/// the old one: a node that registers copies the tables of its functions and the sets of its tags.
///
/// Each node has a small number, its place, so that the nodes with a tag are a bit set. The nodes
/// that can run a function and have the tags that a call requires are then found 64 at a time.
#[derive(Debug)]
pub(crate) struct RoutingTable<H> {
    nodes: Arc<HashMap<Arc<str>, Arc<RoutedNode<H>>>>,
    functions: ShardedMap<FunctionTable<H>>,
    /// Places of the nodes with each tag.
    tagged: ShardedMap<FixedBitSet>,
    /// Increases with each change of the offers, and of the nodes that can run them.
    version: u64,
}

// Not derived: that would require `H: Clone`, although only pointers are cloned.
impl<H> Clone for RoutingTable<H> {
    fn clone(&self) -> Self {
        Self {
            nodes: self.nodes.clone(),
            functions: self.functions.clone(),
            tagged: self.tagged.clone(),
            version: self.version,
        }
    }
}

impl<H> Default for RoutingTable<H> {
    fn default() -> Self {
        let (functions, tagged) = (ShardedMap::new(), ShardedMap::new());
        Self { nodes: Arc::default(), functions, tagged, version: 0 }
    }
}

/// One function, and the nodes that offer it.
#[derive(Debug)]
pub(crate) struct FunctionTable<H> {
    /// Sorted by place.
    pub(crate) routes: Vec<Route<H>>,
    /// The nodes that can run calls of a kind with a fingerprint, sorted by both. Fingerprint 0 is
    /// for callers that do not know one: all nodes that offer the kind.
    able: AbleLists<H>,
    /// Shared by successive tables, as long as some node offers the function.
    pub(crate) counters: Arc<FunctionCounters>,
}

/// Lists of routes by the code of a kind and a fingerprint.
type AbleLists<H> = Vec<((u8, u64), Arc<AbleRoutes<H>>)>;

/// Counters shared by all tables of one function.
#[derive(Debug, Default)]
pub(crate) struct FunctionCounters {
    /// Number of ejected nodes. Written under the router's lock.
    pub(crate) n_ejected: AtomicUsize,
    /// Number of calls routed round-robin.
    pub(crate) turns: AtomicUsize,
}

/// The nodes that can run calls of a kind with a fingerprint, regardless of the tags that a call
/// requires.
#[derive(Debug)]
pub(crate) struct AbleRoutes<H> {
    places: FixedBitSet,
    /// Sorted by place.
    pub(crate) routes: Vec<Route<H>>,
}

/// A function at one node.
#[derive(Debug)]
pub(crate) struct Route<H> {
    pub(crate) node: Arc<RoutedNode<H>>,
    /// Index into the node's offers.
    pub(crate) index: u32,
    place: u32,
    /// Hash of the node's id, for [`rendezvous`].
    pub(crate) seed: u64,
}

impl<H> Clone for Route<H> {
    fn clone(&self) -> Self {
        Self { node: self.node.clone(), ..*self }
    }
}

impl<H> Route<H> {
    fn new(node: &Arc<RoutedNode<H>>, index: usize) -> Self {
        let (seed, place) = (node.seed(), node.place() as u32);
        // A node has at most `MAX_FUNCTIONS` offers.
        Self { node: node.clone(), index: index as u32, place, seed }
    }

    /// Returns the route to `function` at a node, if the node offers it.
    pub(crate) fn to(node: &Arc<RoutedNode<H>>, function: &str) -> Option<Self> {
        Some(Self::new(node, node.offer_index(function)?))
    }

    pub(crate) fn offered(&self) -> &NodeOffer {
        &self.node.offers()[self.index as usize]
    }

    pub(crate) fn offer(&self) -> &Offer {
        &self.offered().offer
    }

    /// Returns whether the node can run such a call, now or later.
    pub(crate) fn fits(&self, header: &CallHeader) -> bool {
        self.matches(header) && self.node.fits(header) && self.can_run() && self.applies(header)
    }

    /// Returns whether the node offers all functions that the operators of the call apply.
    pub(crate) fn applies(&self, header: &CallHeader) -> bool {
        applied_in(&header.operators).all(|applied| self.node.applies(applied))
    }

    /// Returns whether kind and fingerprint match those of the call. A call by name has that of its
    /// caller's types, and takes a node with others too.
    pub(crate) fn matches(&self, header: &CallHeader) -> bool {
        let offer = self.offer();
        offer.kind == header.kind
            && (header.fingerprint == 0
                || offer.fingerprint == header.fingerprint
                || header.codec.is_by_name())
    }

    /// Returns whether the node has all tags that the function requires.
    pub(crate) fn can_run(&self) -> bool {
        self.node.has_tags(&self.offer().needs)
    }

    pub(crate) fn has_room(&self) -> bool {
        self.node.has_room(self.index as usize)
    }

    /// Returns why the node has no room for a call of the function; `None` if it has.
    pub(crate) fn obstacle(&self) -> Option<Obstacle> {
        self.node.obstacle(self.index as usize)
    }
}

impl<H> RoutingTable<H> {
    pub(crate) fn n_nodes(&self) -> usize {
        self.nodes.len()
    }

    pub(crate) fn node(&self, id: &str) -> Option<&Arc<RoutedNode<H>>> {
        self.nodes.get(id)
    }

    /// Returns all nodes, sorted by id.
    pub(crate) fn nodes(&self) -> Vec<&Arc<RoutedNode<H>>> {
        let mut nodes: Vec<_> = self.nodes.values().collect();
        nodes.sort_unstable_by_key(|node| node.id());
        nodes
    }

    pub(crate) fn function(&self, name: &str) -> Option<&FunctionTable<H>> {
        self.functions.get(name).map(|function| &**function)
    }

    /// Returns the route to the node called `id` if it can run the call, now or later.
    pub(crate) fn route_to(&self, id: &str, header: &CallHeader) -> Option<Route<H>> {
        let route = Route::to(self.nodes.get(id)?, &header.function)?;
        route.fits(header).then_some(route)
    }

    /// Returns the route of a request about jobs to the node that it names. The node may be draining,
    /// or may lack a tag that the function needs by now.
    pub(crate) fn route_of_request(&self, header: &CallHeader) -> Option<Route<H>> {
        let node = self.nodes.get(header.routing.on.as_deref()?)?;
        if header.function == JOBS {
            return (!node.offers().is_empty()).then(|| Route::new(node, 0));
        }
        Route::to(node, &header.function).filter(|route| route.matches(header))
    }

    /// Returns the sets of nodes that a call requires beside its function: for each tag that it asks
    /// for or that is among `preferred`, and each function that its operators apply. `None` if one of
    /// them is empty.
    pub(crate) fn required<'a>(
        &'a self,
        header: &'a CallHeader,
        preferred: &'a [String],
    ) -> Option<Vec<&'a FixedBitSet>> {
        let tags = header.routing.tags.iter().chain(preferred);
        let tagged = tags.map(|tag| self.tagged.get(tag).map(|set| &**set));
        let applying = applied_in(&header.operators).map(|applied| {
            let function = self.function(&applied.name)?;
            let able = function.able_to(Kind::Operator, applied.fingerprint)?;
            Some(&able.places)
        });
        tagged.chain(applying).collect()
    }

    /// Returns a number that changes with the offers, and with the nodes that can run them.
    pub(crate) fn version(&self) -> u64 {
        self.version
    }

    /// Returns all offers by function name and then node id, and whether that node can run each.
    pub(crate) fn offers(&self) -> BTreeMap<&str, Vec<(&str, &Offer, bool)>> {
        let mut offers: BTreeMap<&str, Vec<(&str, &Offer, bool)>> = BTreeMap::new();
        for node in self.nodes() {
            for offered in node.offers() {
                let offer = &offered.offer;
                let can_run = node.has_tags(&offer.needs);
                offers.entry(&offer.name).or_default().push((node.id(), offer, can_run));
            }
        }
        offers
    }

    /// Adds a node at a free place, with its current tags.
    pub(crate) fn insert(&mut self, node: &Arc<RoutedNode<H>>, place: usize) {
        self.version += 1;
        node.set_place(place);
        Arc::make_mut(&mut self.nodes).insert(node.id().into(), node.clone());
        node.tags().iter().for_each(|tag| self.tag(tag, place));
        for (index, offered) in node.offers().iter().enumerate() {
            let name = &offered.offer.name;
            // Of duplicate offers of a function, the last one counts.
            if node.offer_index(name) == Some(index) {
                let route = Route::new(node, index);
                self.functions.update(name, |old| Some(FunctionTable::with(old, route)));
            }
        }
    }

    /// Removes a node. Returns the functions that no node offers any more.
    pub(crate) fn remove(&mut self, node: &RoutedNode<H>) -> Vec<String> {
        self.version += 1;
        let place = node.place();
        Arc::make_mut(&mut self.nodes).remove(node.id());
        node.tags().iter().for_each(|tag| self.untag(tag, place));
        let mut gone = Vec::new();
        for offered in node.offers() {
            let name = &offered.offer.name;
            let there = self.functions.get(name).is_some();
            self.functions.update(name, |old| FunctionTable::without(old?, node));
            if there && self.functions.get(name).is_none() {
                gone.push(name.clone());
            }
        }
        gone
    }

    /// Updates the tags of a node from `old` to its current ones: the sets of the tags that differ,
    /// and the functions that require one of them.
    pub(crate) fn retag(&mut self, node: &RoutedNode<H>, old: &[String]) {
        let (place, now) = (node.place(), node.tags());
        let (old, now): (HashSet<&String>, HashSet<&String>) =
            (old.iter().collect(), now.iter().collect());
        old.difference(&now).for_each(|tag| self.untag(tag, place));
        now.difference(&old).for_each(|tag| self.tag(tag, place));
        for (index, offered) in node.offers().iter().enumerate() {
            let (name, needs) = (&offered.offer.name, &offered.offer.needs);
            let can_run = |tags: &HashSet<&String>| needs.iter().all(|tag| tags.contains(tag));
            if can_run(&old) != can_run(&now) && node.offer_index(name) == Some(index) {
                self.version += 1;
                self.functions.update(name, |old| Some(FunctionTable::again(old?)));
            }
        }
    }

    fn tag(&mut self, tag: &str, place: usize) {
        self.tagged.update(tag, |set| {
            let mut set = set.map_or_else(FixedBitSet::new, |set| set.clone());
            set.grow_and_insert(place);
            Some(set)
        });
    }

    fn untag(&mut self, tag: &str, place: usize) {
        self.tagged.update(tag, |set| {
            let mut set = set?.clone();
            set.set(place, false);
            (!set.is_clear()).then_some(set)
        });
    }
}

impl<H> FunctionTable<H> {
    fn new(routes: Vec<Route<H>>, counters: Arc<FunctionCounters>) -> Self {
        let mut lists: BTreeMap<(u8, u64), Vec<Route<H>>> = BTreeMap::new();
        for route in routes.iter().filter(|route| route.can_run()) {
            let (kind, fingerprint) = (route.offer().kind.code(), route.offer().fingerprint);
            lists.entry((kind, 0)).or_default().push(route.clone());
            if fingerprint != 0 {
                lists.entry((kind, fingerprint)).or_default().push(route.clone());
            }
        }
        let mut able: AbleLists<H> = Vec::with_capacity(lists.len());
        for ((kind, fingerprint), routes) in lists {
            // The list of the kind comes first. Usually all nodes have the same types, and this
            // list also serves callers that know the fingerprint.
            let of_kind = able.iter().rev().find(|(key, _)| *key == (kind, 0));
            let same = of_kind.filter(|(_, all)| all.routes.len() == routes.len());
            let list = same.map_or_else(|| Arc::new(AbleRoutes::new(routes)), |it| it.1.clone());
            able.push(((kind, fingerprint), list));
        }
        Self { routes, able, counters }
    }

    fn with(old: Option<&Self>, route: Route<H>) -> Self {
        let (mut routes, counters) = match old {
            Some(old) => (old.routes.clone(), old.counters.clone()),
            None => (Vec::with_capacity(1), Arc::default()),
        };
        let at = routes.partition_point(|other| other.place < route.place);
        routes.insert(at, route);
        Self::new(routes, counters)
    }

    fn without(old: &Self, node: &RoutedNode<H>) -> Option<Self> {
        let others = old.routes.iter().filter(|route| !std::ptr::eq(&*route.node, node));
        let routes: Vec<_> = others.cloned().collect();
        (!routes.is_empty()).then(|| Self::new(routes, old.counters.clone()))
    }

    /// Rebuilds the lists after the tags of a node have changed.
    fn again(old: &Self) -> Self {
        Self::new(old.routes.clone(), old.counters.clone())
    }

    /// Returns the nodes that can run such a call, regardless of the tags that it requires. A call by
    /// name goes to nodes with its caller's types while there is one.
    pub(crate) fn able(&self, header: &CallHeader) -> Option<&AbleRoutes<H>> {
        let same = self.able_to(header.kind, header.fingerprint);
        match header.codec.is_by_name() {
            true => same.or_else(|| self.able_to(header.kind, 0)),
            false => same,
        }
    }

    fn able_to(&self, kind: Kind, fingerprint: u64) -> Option<&AbleRoutes<H>> {
        let key = (kind.code(), fingerprint);
        let at = self.able.binary_search_by_key(&key, |(key, _)| *key).ok()?;
        Some(&self.able[at].1)
    }
}

impl<H> AbleRoutes<H> {
    fn new(routes: Vec<Route<H>>) -> Self {
        let mut places = FixedBitSet::new();
        routes.iter().for_each(|route| places.grow_and_insert(route.place as usize));
        Self { places, routes }
    }

    /// Returns the nodes that are in all of `sets`.
    pub(crate) fn in_all(&self, sets: &[&FixedBitSet]) -> AbleSubset<'_, H> {
        if sets.is_empty() {
            return AbleSubset::All(&self.routes);
        }
        let mut common = self.places.clone();
        sets.iter().for_each(|set| common.intersect_with(set));
        let route = |place: usize| {
            let at = self.routes.binary_search_by_key(&(place as u32), |route| route.place);
            at.ok().map(|at| &self.routes[at])
        };
        AbleSubset::Some(common.ones().filter_map(route).collect())
    }
}

/// A subset of the routes that can run a call.
pub(crate) enum AbleSubset<'a, H> {
    All(&'a [Route<H>]),
    Some(Vec<&'a Route<H>>),
}

impl<'a, H> AbleSubset<'a, H> {
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::All(routes) => routes.len(),
            Self::Some(routes) => routes.len(),
        }
    }

    pub(crate) fn get(&self, n: usize) -> &'a Route<H> {
        match self {
            Self::All(routes) => &routes[n],
            Self::Some(routes) => routes[n],
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &'a Route<H>> + use<'_, 'a, H> {
        let (all, some) = match self {
            Self::All(routes) => (*routes, &[][..]),
            Self::Some(routes) => (&[][..], &routes[..]),
        };
        all.iter().chain(some.iter().copied())
    }
}

/// Returns whether a node is in all of `sets`.
pub(crate) fn is_in_all<H>(route: &Route<H>, sets: &[&FixedBitSet]) -> bool {
    sets.iter().all(|set| set.contains(route.place as usize))
}

/// A map that is cheap to copy and to change: copies share all unchanged shards.
#[derive(Debug)]
struct ShardedMap<V>([Arc<HashMap<Arc<str>, Arc<V>>>; SHARDS]);

/// A change copies one shard of pointers; a copy of the map copies one pointer per shard. The sum
/// is lowest for about 4,000 names.
const SHARDS: usize = 64;

impl<V> Clone for ShardedMap<V> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<V> ShardedMap<V> {
    fn new() -> Self {
        Self(std::array::from_fn(|_| Arc::default()))
    }

    fn get(&self, key: &str) -> Option<&Arc<V>> {
        self.0[shard(key)].get(key)
    }

    /// Replaces the value of a key; `None` removes it.
    fn update(&mut self, key: &str, next: impl FnOnce(Option<&V>) -> Option<V>) {
        let shard = Arc::make_mut(&mut self.0[shard(key)]);
        match next(shard.get(key).map(|value| &**value)) {
            Some(value) => drop(shard.insert(key.into(), Arc::new(value))),
            None => drop(shard.remove(key)),
        }
    }
}

fn shard(key: &str) -> usize {
    rendezvous::seed(key) as usize % SHARDS
}
