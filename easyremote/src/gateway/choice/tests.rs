use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use fastrand::Rng;

use super::*;
use crate::gateway::node_session::{Drain, NodeSession};
use crate::gateway::sample::{Peer, call, offer};
use crate::gateway::table::{Outlook, Table};
use crate::wire::control::{Offer, Register};
use crate::wire::kind::Kind;
use crate::wire::limits::SUSPECT_MISSES;

/// A table, and what is in it.
#[derive(Default)]
struct Model {
    table: Table,
    nodes: BTreeMap<usize, (Arc<NodeSession>, Arc<AtomicU32>)>,
    taken: Vec<Route>,
}

const TAGS: [&str; 4] = ["eu", "gpu", "big", "new"];

fn tags(rng: &mut Rng, most: usize) -> Vec<String> {
    let n = rng.usize(..=most);
    rng.choose_multiple(TAGS.iter(), n).into_iter().map(ToString::to_string).collect()
}

fn register(rng: &mut Rng) -> Register {
    let mut functions = Vec::new();
    for name in ["f", "g"] {
        if rng.u8(..4) > 0 {
            let needs = if rng.u8(..4) == 0 { tags(rng, 1) } else { Vec::new() };
            let kind = if rng.u8(..8) == 0 { Kind::Stream } else { Kind::Unary };
            let (fingerprint, concurrency) = (rng.u64(7..9), rng.u64(..3));
            functions.push(Offer { needs, kind, fingerprint, concurrency, ..offer(name) });
        }
    }
    Register { tags: tags(rng, 4), capacity: rng.u64(..4), functions }
}

fn header(rng: &mut Rng, ids: usize) -> CallHeader {
    let mut header = call(rng.choice(["f", "g", "none"]).unwrap());
    header.fingerprint = rng.choice([0, 7, 8]).unwrap();
    let wish = &mut header.wish;
    match rng.u8(..8) {
        0 => wish.on = Some(format!("node-{}", rng.usize(..ids))),
        1..3 => wish.tags = tags(rng, 2),
        3..5 => wish.preferred = tags(rng, 2),
        _ => {}
    }
    wish.sticky = (rng.u8(..3) == 0).then(|| rng.u64(..));
    use Strategy::{Fastest, LeastBusy, Random, RoundRobin};
    wish.strategy = rng.choice([LeastBusy, Fastest, Random, RoundRobin]);
    header
}

impl Model {
    /// Does something to the nodes.
    fn change(&mut self, rng: &mut Rng, peer: &Peer, ids: usize) {
        let id = rng.usize(..ids);
        match (rng.u8(..8), self.nodes.get(&id)) {
            (0..2, None) => {
                let (node, misses) = peer.node(&format!("node-{id}"), register(rng));
                self.table.insert(&node).unwrap();
                self.nodes.insert(id, (node, misses));
            }
            (0, Some((node, _))) => {
                self.table.remove(node);
                self.nodes.remove(&id);
            }
            (1, Some((node, _))) if rng.u8(..8) == 0 => node.give_up(),
            (2, Some((node, _))) if rng.u8(..8) == 0 => {
                node.drain.send_replace(Drain::Leaves);
            }
            (3..5, Some((_, misses))) => {
                let suspect = rng.bool() && misses.load(Ordering::Relaxed) == 0;
                misses.store(u32::from(suspect) * SUSPECT_MISSES, Ordering::Relaxed);
            }
            (5.., _) if !self.taken.is_empty() => {
                let route = self.taken.swap_remove(rng.usize(..self.taken.len()));
                self.table.release(&route);
            }
            _ => {}
        }
    }

    /// Who may get a call, found by asking all nodes.
    fn scan(&self, header: &CallHeader) -> BTreeSet<String> {
        let fits = |node: &&Arc<NodeSession>| {
            let route = node.offer(&header.function).map(|i| Route::new((*node).clone(), i));
            route.is_some_and(|route| route.fits(header) && route.is_free())
        };
        let free: Vec<_> = self.nodes.values().map(|(node, _)| node).filter(fits).collect();
        let healthy: Vec<_> = free.iter().copied().filter(|node| !node.is_suspect()).collect();
        let preferred = healthy.iter().copied().filter(|node| node.has(&header.wish.preferred));
        let preferred: Vec<_> = preferred.collect();
        let classes = match header.wish.on {
            Some(_) => [free, Vec::new(), Vec::new()],
            None => [preferred, healthy, free],
        };
        let best = classes.into_iter().find(|class| !class.is_empty());
        best.unwrap_or_default().into_iter().map(|node| node.id().to_owned()).collect()
    }
}

#[tokio::test]
async fn the_index_finds_whom_a_scan_finds() {
    let peer = Peer::new().await.unwrap();
    let (mut found, mut later) = (0, 0);
    for seed in 0..60 {
        let (rng, mut model) = (&mut Rng::with_seed(seed), Model::default());
        let ids = rng.usize(1..150);
        for _ in 0..600 {
            model.change(rng, &peer, ids);
            // Those that are not suspect any more are noticed one by one.
            (0..model.nodes.len()).for_each(|_| model.table.look_at_a_suspect());
            let header = header(rng, ids);
            let expected = model.scan(&header);
            let shown = format!("seed {seed}: {header:?}");
            match model.table.outlook(&header) {
                Outlook::Now(route) => {
                    let id = route.node.id();
                    assert!(expected.contains(id), "{shown}: {id}, not {expected:?}");
                    route.take();
                    model.taken.push(route);
                    found += 1;
                }
                Outlook::Later => {
                    assert!(expected.is_empty(), "{shown}: {expected:?}");
                    later += 1;
                }
                Outlook::Error(_) => assert!(expected.is_empty(), "{shown}: {expected:?}"),
            }
        }
    }
    assert!(found > 5_000 && later > 1_000, "{found} and {later} show little");
}

/// `n` nodes, the first third of which are tagged `eu`.
fn pool(peer: &Peer, n: usize) -> Table {
    let mut table = Table::default();
    for id in 0..n {
        let tags = if id < n / 3 { vec!["eu".to_owned()] } else { Vec::new() };
        let register = Register { tags, capacity: 9, functions: vec![offer("f")] };
        table.insert(&peer.node(&format!("node-{id}"), register).0).unwrap();
    }
    table
}

fn pick(table: &mut Table, header: &CallHeader) -> String {
    match table.outlook(header) {
        Outlook::Now(route) => route.node.id().to_owned(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn turns_go_round_and_chance_is_fair() {
    let mut table = pool(&Peer::new().await.unwrap(), 90);
    for tags in [Vec::new(), vec!["eu".to_owned()]] {
        let mut header = call("f");
        let n = if tags.is_empty() { 90 } else { 30 };
        header.wish.tags = tags;
        header.wish.strategy = Some(Strategy::RoundRobin);
        let turn: BTreeSet<_> = (0..n).map(|_| pick(&mut table, &header)).collect();
        assert_eq!(turn.len(), n, "each has had one turn");
        header.wish.strategy = Some(Strategy::Random);
        let mut counts = BTreeMap::new();
        (0..200 * n).for_each(|_| *counts.entry(pick(&mut table, &header)).or_insert(0) += 1);
        assert!(counts.len() == n && counts.values().all(|n| (120..280).contains(n)));
    }
}

#[tokio::test]
async fn a_key_has_the_same_node_whoever_else_is_asked_for() {
    let mut table = pool(&Peer::new().await.unwrap(), 90);
    let mut rng = Rng::with_seed(1);
    for _ in 0..300 {
        let mut header = call("f");
        header.wish.sticky = Some(rng.u64(..));
        let owner = pick(&mut table, &header);
        assert_eq!(pick(&mut table, &header), owner);
        header.wish.tags = vec!["eu".to_owned()];
        let in_europe = pick(&mut table, &header);
        let number: usize = owner.strip_prefix("node-").unwrap().parse().unwrap();
        assert!(number >= 30 || in_europe == owner);
    }
}

#[test]
fn a_slow_answer_counts_at_once_and_a_fast_one_little_by_little() {
    let latency = Latency::default();
    assert_eq!(latency.expected(), None);
    latency.record(Duration::from_micros(100), Instant::now());
    latency.record(Duration::from_millis(50), Instant::now());
    // Half of it is forgotten after 7 s.
    assert!(latency.expected().unwrap() > 25_000.0);
    latency.record(Duration::from_micros(100), Instant::now());
    assert!(latency.expected().unwrap() > 25_000.0, "a moment later");
    let long_ago = Instant::now().checked_sub(8 * Latency::MEMORY).unwrap();
    *latency.0.lock().unwrap() = Some(Average { micros: 50_000.0, updated: long_ago });
    latency.record(Duration::from_micros(100), Instant::now());
    assert!(latency.expected().unwrap() < 200.0);
}
