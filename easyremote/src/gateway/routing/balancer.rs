//! Which of the nodes that can run a call gets it.

use std::cell::{Cell, OnceCell};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use fixedbitset::FixedBitSet;

use crate::gateway::routing::clock::RouterClock;
use crate::gateway::routing::node::{RoutedNode, SlotOutcome};
use crate::gateway::routing::outlier::{OutlierOptions, Standing};
use crate::gateway::routing::rendezvous;
use crate::gateway::routing::table::{
    AbleRoutes, AbleSubset, FunctionTable, Route, RoutingTable, is_in_all,
};
use crate::wire::header::CallHeader;
use crate::wire::routing_options::Strategy;

/// Chooses a node for one call, and counts the call there.
///
/// Takes no lock, so everything that it sees may have changed when it acts: only
/// [`RoutedNode::acquire`] decides whether there is room, and a node that has none any more is
/// passed over.
///
/// Nodes are tried in this order:
///
/// 1. those with all preferred tags, neither suspect nor avoided;
/// 2. all others that are neither suspect nor avoided;
/// 3. those that are suspect: such a node may be lost, or it may be the only one left;
/// 4. those that are avoided as outliers, but only if no other node can run the call even later:
///    a call rather waits for a node that works than runs at one that fails.
///
/// A call whose caller can ask another gateway does not go to suspect nodes.
#[derive(Debug)]
pub(crate) struct LoadBalancer<'a, H> {
    table: &'a RoutingTable<H>,
    header: &'a CallHeader,
    clock: &'a RouterClock,
    outliers: &'a OutlierOptions,
    /// Read at most once, and only if something depends on it.
    now: OnceCell<Duration>,
    /// Whether a node with room was passed over because it is suspect or avoided.
    has_passed_over: Cell<bool>,
    /// Nodes whose counters were one too high for a moment; see [`SlotOutcome::Retracted`].
    retracted: Vec<Arc<RoutedNode<H>>>,
}

/// A node that has been chosen; the call is counted there.
#[derive(Debug)]
pub(crate) struct Chosen<H> {
    pub(crate) route: Route<H>,
    /// The outcome decides whether the node is avoided any longer.
    pub(crate) is_probe: bool,
}

/// Which nodes are good enough.
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

    /// Chooses a node that has room for the call, and counts the call there. `None` if no node has.
    pub(crate) fn acquire(&mut self) -> Option<Chosen<H>> {
        if let Some(id) = &self.header.routing.on {
            let route = self.table.route_to(id, self.header)?;
            if self.is_unsound(&route) {
                return None;
            }
            return self.count(&route).then_some(Chosen { route, is_probe: false });
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
            // As a rule all nodes are sound, and there are no others to look for.
            return chosen;
        }
        chosen = self.among(function, able, &[], Quality::NotAvoided);
        if chosen.is_none() && has_ejected(function) && !self.has_alternative(function, able) {
            chosen = self.among(function, able, &[], Quality::Any);
        }
        chosen
    }

    /// Chooses `route` for the call, which waits, if there is room; `None` if there is not, or if
    /// the node is avoided and another one can run the call.
    pub(crate) fn acquire_at(&mut self, route: &Route<H>) -> Option<Chosen<H>> {
        let function = self.table.function(&self.header.function)?;
        if self.header.routing.on.is_none() && has_ejected(function) {
            let able = function.able(self.header)?;
            if self.is_good(function, route, Quality::NotAvoided) {
                return self.take(function, route, Quality::NotAvoided);
            } else if self.has_alternative(function, able) {
                return None;
            }
        }
        self.count(route).then(|| Chosen { route: route.clone(), is_probe: false })
    }

    /// Returns whether a node can run the call, now or later.
    pub(crate) fn is_routable(&self) -> bool {
        if let Some(id) = &self.header.routing.on {
            let route = self.table.route_to(id, self.header);
            return route.is_some_and(|route| self.may_run(&route));
        }
        let function = self.table.function(&self.header.function);
        let able = function.and_then(|function| function.able(self.header));
        let members = able.and_then(|able| self.members(able, &[]));
        members.is_some_and(|members| members.iter().any(|route| self.may_run(route)))
    }

    /// Returns whether a node that fits the call can run it, now or later.
    fn may_run(&self, route: &Route<H>) -> bool {
        !route.node.is_leaving() && !self.is_unsound(route)
    }

    /// Returns whether a node is suspect, and the call not for such nodes.
    fn is_unsound(&self, route: &Route<H>) -> bool {
        self.header.routing.sound && route.node.is_suspect()
    }

    /// Returns the nodes at which a waiting call may have overlooked room.
    pub(crate) fn into_retracted(self) -> Vec<Arc<RoutedNode<H>>> {
        self.retracted
    }

    /// Chooses one of those that also have `tags`.
    fn among(
        &mut self,
        function: &FunctionTable<H>,
        able: &AbleRoutes<H>,
        tags: &[String],
        quality: Quality,
    ) -> Option<Chosen<H>> {
        let required = &self.header.routing.tags;
        let sets = self.table.tag_sets(required.iter().chain(tags))?;
        let strategy = self.header.routing.strategy.unwrap_or_default();
        if let Some(key) = self.header.routing.sticky {
            return self.owner(function, &able.in_all(&sets), quality, key);
        }
        if strategy == Strategy::RoundRobin {
            return self.in_turn(function, &able.in_all(&sets), quality);
        }
        // Where most nodes will do, a few draws find one without looking at all of them.
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

    /// Chooses one of two nodes that are drawn at random, if chance finds good ones soon.
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

    /// Chooses the first good one from the next turn on.
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
                // The turns of the others that were passed over are over as well: otherwise the
                // node after a full one would get its calls.
                turns.fetch_add(skipped, Ordering::Relaxed);
                return Some(chosen);
            }
        }
        None
    }

    /// Chooses the one with the highest weight for `key` among the good ones.
    fn owner(
        &mut self,
        function: &FunctionTable<H>,
        members: &AbleSubset<'_, H>,
        quality: Quality,
        key: u64,
    ) -> Option<Chosen<H>> {
        let mut limit = None;
        loop {
            // Where nobody is full, this is one pass over all members.
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

    /// Returns whether `two` should get the call rather than `one`.
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

    /// Returns how long the call is expected to take at a node.
    fn wait(&self, function: &FunctionTable<H>, route: &Route<H>) -> f64 {
        if has_ejected(function) && self.standing(route) == Standing::Probing {
            // What is known of it is why it was avoided; without a call, nobody would find out
            // whether it still holds.
            return 0.0;
        }
        route.offered().expected_wait(route.node.n_calls(), self.now())
    }

    fn is_good(&self, function: &FunctionTable<H>, route: &Route<H>, quality: Quality) -> bool {
        if !route.has_room() || self.is_unsound(route) {
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

    /// Returns whether a node can run the call, now or later, that is neither avoided nor suspect.
    fn has_alternative(&self, function: &FunctionTable<H>, able: &AbleRoutes<H>) -> bool {
        let good = |route: &Route<H>| {
            let fine = !route.node.is_leaving() && !route.node.is_suspect();
            fine && !(has_ejected(function) && self.standing(route) != Standing::InUse)
        };
        self.members(able, &[]).is_some_and(|members| members.iter().any(good))
    }

    /// Returns the nodes that can run the call, now or later, and have `tags`.
    fn members<'b>(&self, able: &'b AbleRoutes<H>, tags: &[String]) -> Option<AbleSubset<'b, H>> {
        let required = &self.header.routing.tags;
        Some(able.in_all(&self.table.tag_sets(required.iter().chain(tags))?))
    }

    fn standing(&self, route: &Route<H>) -> Standing {
        route.offered().ejection.standing(self.now(), self.outliers)
    }

    fn now(&self) -> Duration {
        *self.now.get_or_init(|| self.clock.now())
    }

    /// Counts the call at `route`, as a probe if the node is on probation.
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
                // Another thread has taken the last probe.
                route.node.release(route.index as usize);
                self.retracted.push(route.node.clone());
                return None;
            }
        }
        Some(Chosen { route: route.clone(), is_probe })
    }

    fn count(&mut self, route: &Route<H>) -> bool {
        let outcome = route.node.acquire(route.index as usize);
        if outcome == SlotOutcome::Retracted {
            self.retracted.push(route.node.clone());
        }
        outcome == SlotOutcome::Acquired
    }
}

/// Whether some node is avoided for the function: most of the time none is, and nobody needs to
/// know the time.
fn has_ejected<H>(function: &FunctionTable<H>) -> bool {
    function.counters.n_ejected.load(Ordering::Acquire) > 0
}

/// A random number below `n` that is not `first`.
fn other_than(first: usize, n: usize) -> usize {
    let other = fastrand::usize(..n - 1);
    if other < first { other } else { other + 1 }
}
