//! Who gets a call, of the nodes that can run it.

use std::sync::atomic::Ordering;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::gateway::table::{Route, Routed};
use crate::wire::header::CallHeader;
use crate::wire::wish::Strategy;

impl Routed {
    /// The node for a call, if one can run it now.
    pub(super) fn choose(&self, header: &CallHeader) -> Option<&Route> {
        let free = |route: &Route| route.fits(header) && route.is_free();
        let healthy = |route: &Route| free(route) && !route.node.is_suspect();
        let preferred = |route: &Route| healthy(route) && route.node.has(&header.wish.preferred);
        if !header.wish.preferred.is_empty()
            && let Some(route) = self.choose_among(header, preferred)
        {
            return Some(route);
        }
        let route = self.choose_among(header, healthy);
        // It may be lost, and it may be the only one that is left.
        route.or_else(|| self.choose_among(header, free))
    }

    fn choose_among(&self, header: &CallHeader, good: impl Fn(&Route) -> bool) -> Option<&Route> {
        if let Some(key) = header.wish.sticky {
            let good = self.routes.iter().filter(|route| good(route));
            return good.max_by_key(|route| rendezvous(key, route.node.id()));
        }
        match header.wish.strategy.unwrap_or_default() {
            Strategy::LeastBusy => {
                let (one, two) = (self.any(&good)?, self.any(&good)?);
                Some(if two.node.pressure() < one.node.pressure() { two } else { one })
            }
            Strategy::Fastest => {
                let (one, two) = (self.any(&good)?, self.any(&good)?);
                Some(if wait(two) < wait(one) { two } else { one })
            }
            Strategy::Random => self.any(&good),
            Strategy::RoundRobin => {
                let turn = self.turns.fetch_add(1, Ordering::Relaxed) as usize;
                let (before, after) = self.routes.split_at(turn % self.routes.len().max(1));
                after.iter().chain(before).find(|route| good(route))
            }
        }
    }

    /// A random one of those that are good.
    fn any(&self, good: impl Fn(&Route) -> bool) -> Option<&Route> {
        /// Where most are good, so many tries miss all of them once in a while only, and looking
        /// at all costs nothing as a rule.
        const TRIES: usize = 4;
        let routes = &self.routes;
        let mut tries =
            (0..TRIES).filter_map(|_| routes.get(fastrand::usize(..routes.len().max(1))));
        if let Some(route) = tries.find(|route| good(route)) {
            return Some(route);
        }
        let mut all: Vec<&Route> = routes.iter().filter(|route| good(route)).collect();
        (!all.is_empty()).then(|| all.swap_remove(fastrand::usize(..all.len())))
    }
}

/// How high the node called `id` ranks for calls with `key`; the highest of those that are there
/// gets them, so that one that comes or goes moves only the keys that it is the highest for.
fn rendezvous(key: u64, id: &str) -> u64 {
    // FNV-1a, and then the finaliser of SplitMix64 (Steele, Lea and Flood, 2014): without it, ids
    // that differ in their last letter only would rank alike for all keys. Not `DefaultHasher`,
    // since all gateways have to agree, whatever their version of the standard library.
    let hash = id.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    let mut mixed = hash ^ key;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
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

    pub(super) fn record(&self, took: Duration) {
        let micros = took.as_secs_f64() * 1e6;
        let mut average = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let updated = Instant::now();
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
mod tests {
    use super::*;

    #[test]
    fn keys_spread_and_move_only_when_they_have_to() {
        let ids: Vec<String> = (0..10).map(|i| format!("node-{i}")).collect();
        let owner = |key: u64, ids: &[String]| {
            (0..ids.len()).max_by_key(|&i| rendezvous(key, &ids[i])).unwrap()
        };
        let mut counts = [0; 10];
        for key in 0..10_000_u64 {
            let key = key.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let with_all = owner(key, &ids);
            counts[with_all] += 1;
            let without_last = owner(key, &ids[..9]);
            assert!(with_all == 9 || with_all == without_last, "{key} moved for nothing");
        }
        assert!(counts.iter().all(|&n| (850..1_150).contains(&n)), "{counts:?}");
    }

    #[test]
    fn a_slow_answer_counts_at_once_and_a_fast_one_little_by_little() {
        let latency = Latency::default();
        assert_eq!(latency.expected(), None);
        latency.record(Duration::from_micros(100));
        latency.record(Duration::from_millis(50));
        assert!(latency.expected().unwrap() > 49_000.0);
        latency.record(Duration::from_micros(100));
        assert!(latency.expected().unwrap() > 40_000.0, "a moment later");
        let long_ago = Instant::now().checked_sub(8 * Latency::MEMORY).unwrap();
        *latency.0.lock().unwrap() = Some(Average { micros: 50_000.0, updated: long_ago });
        latency.record(Duration::from_micros(100));
        assert!(latency.expected().unwrap() < 200.0);
    }
}
