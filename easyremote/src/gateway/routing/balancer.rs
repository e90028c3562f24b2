//! Load balancing: selects one of the nodes that can run a call.

use std::cell::{Cell, OnceCell};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use fixedbitset::FixedBitSet;

use crate::gateway::routing::clock::RouterClock;
use crate::gateway::routing::diagnostics::waits_for_room;
use crate::gateway::routing::node::{Obstacle, RoutedNode, SlotOutcome};
use crate::gateway::routing::outlier::{OutlierOptions, Standing};
use crate::gateway::routing::rendezvous;
use crate::gateway::routing::table::{
    AbleRoutes, AbleSubset, FunctionTable, Route, RoutingTable, is_in_all,
};
use crate::wire::header::CallHeader;
use crate::wire::routing_options::Strategy;

/// Selects a node for one call, and counts the call there.
///
/// Takes no lock, so everything it reads may have changed when it acts. Only
/// [`RoutedNode::acquire`] decides whether a node has a free slot; a node that no longer has one is
/// skipped.
///
/// Nodes are tried in this order:
///
/// 1. nodes with all preferred tags that are neither suspect nor avoided;
/// 2. all other nodes that are neither suspect nor avoided;
/// 3. suspect nodes: such a node may be lost, or it may be the only one left;
/// 4. nodes avoided as outliers, but only if no other node can run the call now or later: waiting
///    for a working node is better than running at a failing one.
///
/// A call that names its node, or has a key, has one node to run at, whatever its condition. A call
/// whose caller can use another gateway is not sent to suspect nodes.
#[derive(Debug)]
pub(crate) struct LoadBalancer<'a, H> {
    table: &'a RoutingTable<H>,
    header: &'a CallHeader,
    clock: &'a RouterClock,
    outliers: &'a OutlierOptions,
    /// Read at most once, and only if a decision depends on it.
    now: OnceCell<Duration>,
    /// Whether a node with a free slot was skipped because it is suspect or avoided.
    has_passed_over: Cell<bool>,
    /// Nodes whose counters were briefly one too high; see [`SlotOutcome::Retracted`].
    retracted: Vec<Arc<RoutedNode<H>>>,
}

/// The selected node; the call is already counted there.
#[derive(Debug)]
pub(crate) struct Chosen<H> {
    pub(crate) route: Route<H>,
    /// Whether the outcome decides if the node is still avoided.
    pub(crate) is_probe: bool,
    /// Whether it is a request about jobs, which takes no place at the node.
    pub(crate) is_request: bool,
}

impl<H> Chosen<H> {
    /// A node that is not on probation, for a call that runs there.
    fn sound(route: Route<H>) -> Self {
        Self { route, is_probe: false, is_request: false }
    }
}

/// Minimum condition of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Quality {
    Sound,
    NotAvoided,
    Any,
}

impl<'a, H> LoadBalancer<'a, H> {
    pub(crate) fn new(
        table: &'a RoutingTable<H>,
        header: &'a CallHeader,
        clock: &'a RouterClock,
        outliers: &'a OutlierOptions,
    ) -> Self {
        let (now, has_passed_over) = (OnceCell::new(), Cell::new(false));
        let retracted = Vec::new();
        Self { table, header, clock, outliers, now, has_passed_over, retracted }
    }

    /// Selects a node with a free slot, and counts the call there. `None` if no node has one.
    pub(crate) fn acquire(&mut self) -> Option<Chosen<H>> {
        if self.header.job_request().is_some() {
            let route = self.table.route_of_request(self.header)?;
            let chosen = Chosen { is_request: true, ..Chosen::sound(route) };
            return chosen.route.node.begin_request().then_some(chosen);
        }
        if let Some(only) = self.destination() {
            let route = only?;
            if self.is_excluded(&route) {
                return None;
            }
            return self.count(&route).then(|| Chosen::sound(route));
        }
        let function = self.table.function(&self.header.function)?;
        let able = function.able(self.header)?;
        let preferred = &self.header.routing.preferred;
        let mut chosen = None;
        if !preferred.is_empty() {
            chosen = self.among(function, able, preferred, Quality::Sound);
        }
        chosen = chosen.or_else(|| self.among(function, able, &[], Quality::Sound));
        if chosen.is_some() || !self.has_passed_over.get() {
            // Usually all nodes are sound, and the search ends here.
            return chosen;
        }
        chosen = self.among(function, able, &[], Quality::NotAvoided);
        if chosen.is_none() && has_ejected(function) && !self.has_alternative(function, able) {
            chosen = self.among(function, able, &[], Quality::Any);
        }
        chosen
    }

    /// Selects `route` for a waiting call if it has a free slot. `None` if it has none, or if the
    /// node is avoided and another one can run the call.
    pub(crate) fn acquire_at(&mut self, route: &Route<H>) -> Option<Chosen<H>> {
        let function = self.table.function(&self.header.function)?;
        if let Some(only) = self.destination() {
            // The owner of a key may have changed since the call has queued.
            let is_it = only.is_some_and(|only| Arc::ptr_eq(&only.node, &route.node));
            return (is_it && self.count(route)).then(|| Chosen::sound(route.clone()));
        }
        if has_ejected(function) {
            let able = function.able(self.header)?;
            if self.is_good(function, route, Quality::NotAvoided) {
                return self.take(function, route, Quality::NotAvoided);
            } else if self.has_alternative(function, able) {
                return None;
            }
        }
        self.count(route).then(|| Chosen::sound(route.clone()))
    }

    /// Returns whether some node can run the call, now or later.
    pub(crate) fn is_routable(&self) -> bool {
        if self.header.job_request().is_some() {
            // It never waits for a place.
            return false;
        }
        if let Some(only) = self.destination() {
            return only.is_some_and(|route| self.may_run(&route));
        }
        let function = self.table.function(&self.header.function);
        let able = function.and_then(|function| function.able(self.header));
        let members = able.and_then(|able| self.members(able, &[]));
        members.is_some_and(|members| members.iter().any(|route| self.may_run(route)))
    }

    /// Returns what a call that is [routable](Self::is_routable) waits for: room at nodes that can
    /// run it, and why they do not get it.
    pub(crate) fn lacks_room(&self) -> String {
        let function = self.table.function(&self.header.function);
        let obstacle = |route: &Route<H>| {
            let avoided = || {
                let is_avoided = |it| has_ejected(it) && self.standing(route) == Standing::Avoided;
                function.is_some_and(is_avoided).then_some(Obstacle::Avoided)
            };
            let silent = || self.is_excluded(route).then_some(Obstacle::Silent);
            route.obstacle().or_else(silent).or_else(avoided)
        };
        let described = |routes: &[&Route<H>]| {
            let nodes = routes.iter().map(|route| (route.node.id(), obstacle(route)));
            waits_for_room(self.header, nodes, routes.len())
        };
        if let Some(only) = self.destination() {
            return described(&only.iter().collect::<Vec<_>>());
        }
        let able = function.and_then(|function| function.able(self.header));
        let members = able.and_then(|able| self.members(able, &[]));
        let mut routes: Vec<_> = members.iter().flat_map(AbleSubset::iter).collect();
        routes.sort_unstable_by_key(|route| route.node.id());
        described(&routes)
    }

    /// Returns the only node that a call may run at, if it names one or has a key; `Some(None)` if
    /// that is not there.
    fn destination(&self) -> Option<Option<Route<H>>> {
        let CallHeader { routing, key, .. } = self.header;
        match (&routing.on, key) {
            (Some(id), _) => Some(self.table.route_to(id, self.header)),
            (None, Some(key)) => Some(self.owner_of_key(key)),
            (None, None) => None,
        }
    }

    /// Returns the node that has the runs of a key. Where a sticky call would go on to the next node
    /// because this one is full or suspect, a call with a key must not.
    fn owner_of_key(&self, key: &str) -> Option<Route<H>> {
        let key = rendezvous::seed(key);
        let function = self.table.function(&self.header.function)?;
        let members = self.members(function.able(self.header)?, &[])?;
        let staying = members.iter().filter(|route| !route.node.is_leaving());
        staying.max_by_key(|route| rendezvous::weight(route.seed, key)).cloned()
    }

    /// Returns whether a node that matches the call can run it, now or later.
    fn may_run(&self, route: &Route<H>) -> bool {
        !route.node.is_leaving() && !self.is_excluded(route)
    }

    /// Returns whether the call excludes a node: a suspect one, or that of the call that it hedges.
    fn is_excluded(&self, route: &Route<H>) -> bool {
        let routing = &self.header.routing;
        routing.sound && route.node.is_suspect()
            || routing.not_on.as_ref().is_some_and(|id| route.node.id() == id)
    }

    /// Returns the nodes where a concurrent call may have missed a free slot.
    pub(crate) fn into_retracted(self) -> Vec<Arc<RoutedNode<H>>> {
        self.retracted
    }

    /// Selects one of the nodes that also have `tags`.
    fn among(
        &mut self,
        function: &FunctionTable<H>,
        able: &AbleRoutes<H>,
        tags: &[String],
        quality: Quality,
    ) -> Option<Chosen<H>> {
        let sets = self.table.required(self.header, tags)?;
        let strategy = self.header.routing.strategy.unwrap_or_default();
        if let Some(key) = self.header.routing.sticky {
            return self.owner(function, &able.in_all(&sets), quality, key);
        }
        if strategy == Strategy::RoundRobin {
            return self.in_turn(function, &able.in_all(&sets), quality);
        }
        // Where most nodes qualify, a few random draws find one without a scan.
        self.draw(function, able, &sets, quality, strategy).or_else(|| {
            let members = able.in_all(&sets);
            let good = members.iter().filter(|route| self.is_good(function, route, quality));
            let mut good: Vec<&Route<H>> = good.collect();
            while !good.is_empty() {
                let n = good.len();
                let first = fastrand::usize(..n);
                let second = if n > 1 { other_than(first, n) } else { first };
                let better = self.better(function, strategy, good[first], good[second]);
                let best = if better { second } else { first };
                if let Some(chosen) = self.take(function, good[best], quality) {
                    return Some(chosen);
                }
                good.swap_remove(best);
            }
            None
        })
    }

    /// Selects the better of two random nodes, if a few draws find qualifying ones.
    fn draw(
        &mut self,
        function: &FunctionTable<H>,
        able: &AbleRoutes<H>,
        sets: &[&FixedBitSet],
        quality: Quality,
        strategy: Strategy,
    ) -> Option<Chosen<H>> {
        const DRAWS: usize = 4;
        let (routes, n) = (&able.routes, able.routes.len());
        let good = |n: &usize| {
            is_in_all(&routes[*n], sets) && self.is_good(function, &routes[*n], quality)
        };
        let first = (0..DRAWS).map(|_| fastrand::usize(..n)).find(good)?;
        let mut best = first;
        if strategy != Strategy::Random && n > 1 {
            let second = (0..DRAWS).map(|_| other_than(first, n)).find(good)?;
            if self.better(function, strategy, &routes[first], &routes[second]) {
                best = second;
            }
        }
        self.take(function, &routes[best], quality)
    }

    /// Selects the first qualifying node, round-robin.
    fn in_turn(
        &mut self,
        function: &FunctionTable<H>,
        members: &AbleSubset<'_, H>,
        quality: Quality,
    ) -> Option<Chosen<H>> {
        let n = members.len();
        let turns = &function.counters.turns;
        let turn = turns.fetch_add(1, Ordering::Relaxed);
        for skipped in 0..n {
            let route = members.get(turn.wrapping_add(skipped) % n);
            if self.is_good(function, route, quality)
                && let Some(chosen) = self.take(function, route, quality)
            {
                // Advance past the nodes that were skipped: otherwise the node after a full one
                // would get its share as well.
                turns.fetch_add(skipped, Ordering::Relaxed);
                return Some(chosen);
            }
        }
        None
    }

    /// Selects the qualifying node with the highest weight for `key`.
    fn owner(
        &mut self,
        function: &FunctionTable<H>,
        members: &AbleSubset<'_, H>,
        quality: Quality,
        key: u64,
    ) -> Option<Chosen<H>> {
        let mut limit = None;
        loop {
            // If no node is full, one pass over all members is enough.
            let (weight, route) = members.iter().fold(None, |best, route| {
                let weight = rendezvous::weight(route.seed, key);
                let skipped = limit.is_some_and(|limit| weight >= limit);
                match best {
                    Some((highest, _)) if skipped || weight <= highest => best,
                    None if skipped => None,
                    _ => Some((weight, route)),
                }
            })?;
            if self.is_good(function, route, quality)
                && let Some(chosen) = self.take(function, route, quality)
            {
                return Some(chosen);
            }
            limit = Some(weight);
        }
    }

    /// Returns whether `two` is the better choice.
    fn better(
        &self,
        function: &FunctionTable<H>,
        strategy: Strategy,
        one: &Route<H>,
        two: &Route<H>,
    ) -> bool {
        match strategy {
            Strategy::Random => false,
            Strategy::Fastest => self.wait(function, two) < self.wait(function, one),
            _ => two.node.pressure() < one.node.pressure(),
        }
    }

    /// Returns how long the call is expected to take at a node, in microseconds.
    fn wait(&self, function: &FunctionTable<H>, route: &Route<H>) -> f64 {
        if has_ejected(function) && self.standing(route) == Standing::Probing {
            // Its statistics are the reason for the ejection. Prefer it, so that a probe finds out
            // whether they still hold.
            return 0.0;
        }
        route.offered().expected_wait(route.node.n_calls(), self.now())
    }

    fn is_good(&self, function: &FunctionTable<H>, route: &Route<H>, quality: Quality) -> bool {
        if !route.has_room() || self.is_excluded(route) {
            return false;
        }
        let avoided = || has_ejected(function) && self.standing(route) == Standing::Avoided;
        let good = match quality {
            Quality::Sound => !route.node.is_suspect() && !avoided(),
            Quality::NotAvoided => !avoided(),
            Quality::Any => true,
        };
        if !good {
            self.has_passed_over.set(true);
        }
        good
    }

    /// Returns whether a node that is neither avoided nor suspect can run the call, now or later.
    fn has_alternative(&self, function: &FunctionTable<H>, able: &AbleRoutes<H>) -> bool {
        let good = |route: &Route<H>| {
            let fine = !route.node.is_leaving() && !route.node.is_suspect();
            fine && !(has_ejected(function) && self.standing(route) != Standing::InUse)
        };
        self.members(able, &[]).is_some_and(|members| members.iter().any(good))
    }

    /// Returns the nodes with `tags` that can run the call, now or later.
    fn members<'b>(&self, able: &'b AbleRoutes<H>, tags: &[String]) -> Option<AbleSubset<'b, H>> {
        Some(able.in_all(&self.table.required(self.header, tags)?))
    }

    fn standing(&self, route: &Route<H>) -> Standing {
        route.offered().ejection.standing(self.now(), self.outliers)
    }

    fn now(&self) -> Duration {
        *self.now.get_or_init(|| self.clock.now())
    }

    /// Counts the call at `route`; as a probe if the node is on probation.
    fn take(
        &mut self,
        function: &FunctionTable<H>,
        route: &Route<H>,
        quality: Quality,
    ) -> Option<Chosen<H>> {
        if !self.count(route) {
            return None;
        }
        let mut is_probe = false;
        if has_ejected(function) && self.standing(route) == Standing::Probing {
            is_probe = route.offered().ejection.take_probe(self.now(), self.outliers);
            if !is_probe && quality != Quality::Any {
                // Another thread has taken the last probe. Undo, and report the node: a waiting
                // call may have seen it full for a moment.
                route.node.release(route.index as usize);
                self.retracted.push(route.node.clone());
                return None;
            }
        }
        Some(Chosen { is_probe, ..Chosen::sound(route.clone()) })
    }

    fn count(&mut self, route: &Route<H>) -> bool {
        let outcome = route.node.acquire(route.index as usize);
        if outcome == SlotOutcome::Retracted {
            self.retracted.push(route.node.clone());
        }
        outcome == SlotOutcome::Acquired
    }
}

/// Returns whether any node is avoided for the function. Usually none is, and the clock need not be
/// read.
fn has_ejected<H>(function: &FunctionTable<H>) -> bool {
    function.counters.n_ejected.load(Ordering::Acquire) > 0
}

/// Returns a random number below `n` other than `first`.
fn other_than(first: usize, n: usize) -> usize {
    let other = fastrand::usize(..n - 1);
    if other < first { other } else { other + 1 }
}
