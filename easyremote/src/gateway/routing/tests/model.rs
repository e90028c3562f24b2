//! Compares the router with a model that scans all nodes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use fastrand::Rng;

use super::{register, router};
use crate::gateway::routing::router::{CallPermit, Registration, Router};
use crate::gateway::routing::sample::{Sample, call, offer};
use crate::wire::header::CallHeader;
use crate::wire::kind::Kind;
use crate::wire::limits::SUSPECT_MISSES;
use crate::wire::operators::{AppliedFunction, Operator, applied_in};
use crate::wire::routing_options::Strategy;

/// A router, and a model of its contents.
struct Model {
    router: Arc<Router<()>>,
    nodes: BTreeMap<usize, (Registration<()>, Arc<AtomicU32>)>,
    permits: Vec<CallPermit<()>>,
}

const TAGS: [&str; 4] = ["eu", "gpu", "big", "new"];

fn tags(rng: &mut Rng, most: usize) -> Vec<String> {
    let n = rng.usize(..=most);
    rng.choose_multiple(TAGS.iter(), n).into_iter().map(ToString::to_string).collect()
}

fn sample(rng: &mut Rng, id: usize) -> Sample {
    let mut functions = Vec::new();
    for name in ["f", "g"] {
        if rng.u8(..4) > 0 {
            let needs = if rng.u8(..4) == 0 { tags(rng, 1) } else { Vec::new() };
            let kind = if rng.u8(..8) == 0 { Kind::Stream } else { Kind::Unary };
            let (fingerprint, concurrency) = (rng.u64(7..9), rng.u64(..3));
            let it = crate::wire::control::Offer { needs, kind, fingerprint, ..offer(name) };
            functions.push(crate::wire::control::Offer { concurrency, ..it });
        }
    }
    for name in ["p", "q"] {
        if rng.u8(..4) > 0 {
            let kind = if rng.u8(..8) == 0 { Kind::Stream } else { Kind::Operator };
            let fingerprint = rng.u64(7..9);
            functions.push(crate::wire::control::Offer { kind, fingerprint, ..offer(name) });
        }
    }
    let (tags, capacity) = (tags(rng, 4), rng.u64(..4));
    Sample { tags, capacity, functions, ..Sample::new(&format!("node-{id}")) }
}

fn header(rng: &mut Rng, ids: usize) -> CallHeader {
    let mut header = call(rng.choice(["f", "g", "none"]).unwrap());
    header.fingerprint = rng.choice([0, 7, 8]).unwrap();
    for _ in 0..rng.usize(..8).saturating_sub(5) {
        let name = rng.choice(["p", "q"]).unwrap().to_owned();
        let fingerprint = rng.choice([0, 7, 8]).unwrap();
        let applied = AppliedFunction { name, fingerprint, arguments: Vec::new() };
        header.operators.extend([Operator::Skip(1), Operator::Through(Arc::new(applied))]);
    }
    let routing = &mut header.routing;
    match rng.u8(..8) {
        0 => routing.on = Some(format!("node-{}", rng.usize(..ids))),
        1..3 => routing.tags = tags(rng, 2),
        3..5 => routing.preferred = tags(rng, 2),
        _ => {}
    }
    routing.sticky = (rng.u8(..3) == 0).then(|| rng.u64(..));
    use Strategy::{Fastest, LeastBusy, Random, RoundRobin};
    routing.strategy = rng.choice([LeastBusy, Fastest, Random, RoundRobin]);
    header
}

impl Model {
    fn new() -> Self {
        Self { router: router(), nodes: BTreeMap::new(), permits: Vec::new() }
    }

    /// Applies a random change to the nodes.
    fn change(&mut self, rng: &mut Rng, ids: usize) {
        let id = rng.usize(..ids);
        match (rng.u8(..9), self.nodes.get(&id)) {
            (0..2, None) => {
                let sample = sample(rng, id);
                let misses = sample.misses.clone();
                self.nodes.insert(id, (register(&self.router, sample), misses));
            }
            (0, Some(_)) => drop(self.nodes.remove(&id)),
            (1, Some((it, _))) if rng.u8(..8) == 0 => it.node().close(),
            (2, Some((it, _))) if rng.u8(..8) == 0 => it.drain(),
            (2, Some((it, _))) if rng.u8(..4) == 0 => it.retag(tags(rng, 4)),
            (3..5, Some((_, misses))) => {
                let suspect = rng.bool() && misses.load(Ordering::Relaxed) == 0;
                misses.store(u32::from(suspect) * SUSPECT_MISSES, Ordering::Relaxed);
            }
            (5.., _) if !self.permits.is_empty() => {
                drop(self.permits.swap_remove(rng.usize(..self.permits.len())));
            }
            _ => {}
        }
    }

    /// Those that can run a call, now or later; and those of them that may get it, found by asking
    /// all nodes.
    fn scan(&self, header: &CallHeader) -> (usize, BTreeSet<String>) {
        let nodes = self.nodes.values().map(|(registration, _)| registration.node());
        let able: Vec<_> = nodes
            .filter(|node| {
                let Some(index) = node.offer_index(&header.function) else { return false };
                let offer = &node.offers()[index].offer;
                let same = header.fingerprint == 0 || offer.fingerprint == header.fingerprint;
                let fits = node.fits(header) && node.has_tags(&offer.needs);
                let applies = |applied: &AppliedFunction| {
                    let mut offers = node.offers().iter().map(|offered| &offered.offer);
                    offers.any(|offer| {
                        let same = [0, offer.fingerprint].contains(&applied.fingerprint);
                        offer.name == applied.name && offer.kind == Kind::Operator && same
                    })
                };
                let applies = applied_in(&header.operators).all(|applied| applies(applied));
                same && offer.kind == header.kind && fits && applies && !node.is_leaving()
            })
            .collect();
        let has_room = |index: Option<usize>, node: &crate::gateway::routing::RoutedNode<()>| {
            index.is_some_and(|index| node.has_room(index))
        };
        let free = able.iter().filter(|it| has_room(it.offer_index(&header.function), it));
        let free: Vec<_> = free.copied().collect();
        let healthy: Vec<_> = free.iter().copied().filter(|node| !node.is_suspect()).collect();
        let preferred = healthy.iter().copied().filter(|it| it.has_tags(&header.routing.preferred));
        let preferred: Vec<_> = preferred.collect();
        let classes = match header.routing.on {
            Some(_) => [free, Vec::new(), Vec::new()],
            None => [preferred, healthy, free],
        };
        let best = classes.into_iter().find(|class| !class.is_empty()).unwrap_or_default();
        (able.len(), best.into_iter().map(|node| node.id().to_owned()).collect())
    }
}

#[test]
fn the_router_finds_the_nodes_that_a_scan_finds() {
    let (mut found, mut later, mut failed) = (0, 0, 0);
    for seed in 0..60 {
        fastrand::seed(seed);
        let (rng, mut model) = (&mut Rng::with_seed(seed), Model::new());
        let ids = rng.usize(1..150);
        for _ in 0..600 {
            model.change(rng, ids);
            let header = header(rng, ids);
            let (able, expected) = model.scan(&header);
            let shown = format!("seed {seed}: {header:?}");
            match model.router.try_acquire(&header) {
                Some(Ok(permit)) => {
                    let id = permit.node().id();
                    assert!(expected.contains(id), "{shown}: {id}, not {expected:?}");
                    model.permits.push(permit);
                    found += 1;
                }
                None => {
                    assert!(expected.is_empty() && able > 0, "{shown}: {expected:?}");
                    later += 1;
                }
                Some(Err(_)) => {
                    assert_eq!(able, 0, "{shown}");
                    failed += 1;
                }
            }
        }
        model.permits.clear();
        assert!(model.nodes.values().all(|(it, _)| it.node().n_calls() == 0), "seed {seed}");
    }
    assert!(found > 5_000 && later > 1_000 && failed > 1_000, "{found} {later} {failed}");
}
