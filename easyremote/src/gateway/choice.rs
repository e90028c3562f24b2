//! Who gets a call, of the nodes that can run it.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::gateway::bits::Bits;
use crate::gateway::index::{Index, Routed};
use crate::gateway::ring::Ring;
use crate::gateway::table::Route;
use crate::wire::header::CallHeader;
use crate::wire::routing_options::{RoutingOptions, Strategy};

impl Index {
    /// The node for a call, if one can run it now. Not for a call that is for one node only.
    pub(super) fn choose(&mut self, header: &CallHeader) -> Option<Route> {
        self.look_at_a_suspect();
        if let Some(route) = self.draw(header) {
            return Some(route);
        }
        let preferred = &header.wish.preferred;
        let route = if preferred.is_empty() { None } else { self.among(header, preferred, true) };
        route
            .or_else(|| self.among(header, &[], true))
            // It may be lost, and it may be the only one that is left.
            .or_else(|| self.among(header, &[], false))
    }

    /// One for a call that any node may run, if chance has it: without looking for all that could.
    fn draw(&self, header: &CallHeader) -> Option<Route> {
        let wish = &header.wish;
        let strategy = wish.strategy.unwrap_or_default();
        let any = wish.tags.is_empty() && wish.preferred.is_empty() && wish.sticky.is_none();
        if !any || strategy == Strategy::RoundRobin {
            return None;
        }
        let able = self.functions.get(&header.function)?.able(header)?;
        let good = |route: &Route| route.is_free() && !route.node.is_suspect();
        one_of(strategy, || able.try_any(good))
    }

    /// One of those that have `tags` as well, and are not suspect if they are to be `healthy`.
    fn among(&mut self, header: &CallHeader, tags: &[String], healthy: bool) -> Option<Route> {
        let mut candidates = self.find(header, true, tags);
        if healthy {
            candidates.subtract(&self.suspect);
        }
        let Self { functions, free, suspect, ring, .. } = self;
        let function = functions.get_mut(&header.function)?;
        let search = Search { function, free, suspect, ring, candidates, healthy };
        search.choose(&header.wish)
    }
}

/// Looks for the node for a call among candidates that may have room.
struct Search<'a> {
    function: &'a mut Routed,
    free: &'a mut Bits,
    suspect: &'a mut Bits,
    ring: &'a Ring,
    candidates: Bits,
    /// Whether those that are suspect are no candidates.
    healthy: bool,
}

impl Search<'_> {
    fn choose(mut self, wish: &RoutingOptions) -> Option<Route> {
        if let Some(key) = wish.sticky {
            return self.first(|ring, candidates| ring.owner(key, candidates));
        }
        let strategy = wish.strategy.unwrap_or_default();
        if strategy == Strategy::RoundRobin {
            let turn = self.function.turns;
            self.function.turns = turn.wrapping_add(1);
            return self.first(|_, candidates| candidates.nth(turn % candidates.count().max(1)));
        }
        one_of(strategy, || self.any())
    }

    /// A random one.
    fn any(&mut self) -> Option<Route> {
        self.first(|_, candidates| candidates.nth(fastrand::usize(..candidates.count().max(1))))
    }

    /// The first of those that `next` names which proves to be good. Another one is noted as what it
    /// is, and does not come up again until that changes: so each is looked at in vain once for each
    /// call that has ended there, however many calls look.
    fn first(&mut self, next: impl Fn(&Ring, &Bits) -> Option<usize>) -> Option<Route> {
        loop {
            let place = next(self.ring, &self.candidates)?;
            let route = self.function.routes.get(&place);
            match route {
                Some(route) if !route.node.is_free() => self.free.remove(place),
                Some(route) if !route.is_free() => self.function.open.remove(place),
                Some(route) if self.healthy && route.node.is_suspect() => {
                    self.suspect.insert(place)
                }
                Some(route) => return Some(route.clone()),
                None => {}
            }
            self.candidates.remove(place);
        }
    }
}

/// Chooses among those that `any` gives at random.
fn one_of(strategy: Strategy, mut any: impl FnMut() -> Option<Route>) -> Option<Route> {
    if strategy == Strategy::Random {
        return any();
    }
    let (one, two) = (any()?, any()?);
    let second = match strategy {
        Strategy::Fastest => wait(&two) < wait(&one),
        _ => two.node.pressure() < one.node.pressure(),
    };
    Some(if second { two } else { one })
}

/// How long a call is expected to wait for its answer at a node, in microseconds.
fn wait(route: &Route) -> f64 {
    let load = route.node.load();
    match route.latency().expected() {
        Some(latency) => latency * (load + 1) as f64,
        // Nothing is known: one call finds out, and until it has, the others go elsewhere.
        None if load == 0 => 0.0,
        None => f64::INFINITY,
    }
}

/// The moving average of how long a node takes for a function.
///
/// A peak counts at once, and is forgotten over [`MEMORY`](Self::MEMORY): a node that has become
/// slow is avoided from its first slow answer on.
#[derive(Debug, Default)]
pub(super) struct Latency(Mutex<Option<Average>>);

#[derive(Clone, Copy, Debug)]
struct Average {
    micros: f64,
    updated: Instant,
}

impl Latency {
    /// After so long, a measurement counts for little more than a third of what it did.
    const MEMORY: Duration = Duration::from_secs(10);

    /// Notes an answer that has taken so long until `updated`, which is now.
    pub(super) fn record(&self, took: Duration, updated: Instant) {
        let micros = took.as_secs_f64() * 1e6;
        let mut average = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let micros = match *average {
            Some(old) if micros < old.micros => {
                let age = updated.duration_since(old.updated).as_secs_f64();
                let weight = (-age / Self::MEMORY.as_secs_f64()).exp();
                old.micros * weight + micros * (1.0 - weight)
            }
            _ => micros,
        };
        *average = Some(Average { micros, updated });
    }

    fn expected(&self) -> Option<f64> {
        let average = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        average.map(|average| {
            // What nobody has asked for a while may have become faster.
            let age = average.updated.elapsed().as_secs_f64();
            average.micros * (-age / Self::MEMORY.as_secs_f64()).exp()
        })
    }
}

#[cfg(test)]
mod tests;
