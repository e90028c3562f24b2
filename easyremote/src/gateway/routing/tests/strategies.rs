//! Tests of the load-balancing strategies.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;

use super::{acquire, pick, register, router, strings};
use crate::gateway::routing::router::{Registration, Router};
use crate::gateway::routing::sample::{Sample, call};
use crate::wire::limits::SUSPECT_MISSES;
use crate::wire::routing_options::Strategy;

/// Creates `n` nodes; the first third have the tag `eu`.
fn pool(n: usize) -> (Arc<Router<()>>, Vec<Registration<()>>) {
    let router = router();
    let node = |id: usize| {
        let tags = if id < n / 3 { strings(&["eu"]) } else { Vec::new() };
        register(&router, Sample { tags, capacity: 9, ..Sample::new(&format!("node-{id}")) })
    };
    let nodes = (0..n).map(node).collect();
    (router, nodes)
}

#[test]
fn turns_go_round_and_chance_is_fair() {
    fastrand::seed(1);
    let (router, _nodes) = pool(90);
    for tags in [Vec::new(), strings(&["eu"])] {
        let mut header = call("f");
        let n = if tags.is_empty() { 90 } else { 30 };
        header.routing.tags = tags;
        header.routing.strategy = Some(Strategy::RoundRobin);
        let turn: BTreeSet<_> = (0..n).map(|_| pick(&router, &header)).collect();
        assert_eq!(turn.len(), n, "each has had one turn");
        header.routing.strategy = Some(Strategy::Random);
        let mut counts = BTreeMap::new();
        (0..200 * n).for_each(|_| *counts.entry(pick(&router, &header)).or_insert(0) += 1);
        assert!(counts.len() == n && counts.values().all(|n| (120..280).contains(n)));
    }
}

#[test]
fn turns_pass_over_full_nodes_evenly() {
    let (router, nodes) = pool(4);
    let mut on = call("f");
    on.routing.on = Some("node-1".to_owned());
    let _busy: Vec<_> = (0..9).map(|_| acquire(&router, &on)).collect();
    let mut header = call("f");
    header.routing.strategy = Some(Strategy::RoundRobin);
    let mut counts = BTreeMap::new();
    (0..300).for_each(|_| *counts.entry(pick(&router, &header)).or_insert(0) += 1);
    assert_eq!(counts.values().copied().collect::<Vec<_>>(), [100; 3]);
    drop(nodes);
}

#[test]
fn a_key_has_the_same_node_whatever_else_is_asked_for() {
    let (router, _nodes) = pool(90);
    let mut rng = Rng::with_seed(1);
    for _ in 0..300 {
        let mut header = call("f");
        header.routing.sticky = Some(rng.u64(..));
        let owner = pick(&router, &header);
        assert_eq!(pick(&router, &header), owner);
        header.routing.tags = strings(&["eu"]);
        let in_europe = pick(&router, &header);
        let number: usize = owner.strip_prefix("node-").unwrap().parse().unwrap();
        assert!(number >= 30 || in_europe == owner);
    }
}

#[test]
fn a_key_moves_only_while_its_node_is_full() {
    let (router, _nodes) = pool(10);
    let mut header = call("f");
    header.routing.sticky = Some(7);
    let owner = acquire(&router, &header).node().id().to_owned();
    let held: Vec<_> = (0..9).map(|_| acquire(&router, &header)).collect();
    assert!(held.iter().all(|permit| permit.node().id() == owner));
    let second = pick(&router, &header);
    assert!(second != owner && second == pick(&router, &header));
    drop(held);
    assert_eq!(pick(&router, &header), owner);
}

#[test]
fn of_two_nodes_the_one_with_fewer_calls_gets_the_call() {
    let router = router();
    let _large = register(&router, Sample { capacity: 100, ..Sample::new("large") });
    let _small = register(&router, Sample { capacity: 10, ..Sample::new("small") });
    let calls: Vec<_> = (0..55).map(|_| acquire(&router, &call("f"))).collect();
    let small = calls.iter().filter(|permit| permit.node().id() == "small").count();
    assert!((4..=6).contains(&small), "{small} of 55: both are half full");
}

#[test]
fn the_fastest_node_gets_most_calls() {
    fastrand::seed(1);
    let router = router();
    let _nodes = ["fast", "slow"].map(|id| register(&router, Sample::new(id)));
    let mut header = call("f");
    header.routing.strategy = Some(Strategy::Fastest);
    let mut fast = 0;
    for _ in 0..100 {
        let permit = acquire(&router, &header);
        let is_fast = permit.node().id() == "fast";
        router.clock().advance(Duration::from_millis(if is_fast { 1 } else { 100 }));
        permit.succeeded();
        fast += usize::from(is_fast);
    }
    assert!(fast >= 98, "{fast}");
}

#[test]
fn a_node_that_is_silent_is_used_where_there_is_no_other() {
    let router = router();
    let sample = Sample::new("silent");
    let misses = sample.misses.clone();
    let _silent = register(&router, sample);
    misses.store(SUSPECT_MISSES, std::sync::atomic::Ordering::Relaxed);
    assert_eq!(pick(&router, &call("f")), "silent");
    let _other = register(&router, Sample { capacity: 1, ..Sample::new("other") });
    assert!((0..50).all(|_| pick(&router, &call("f")) == "other"));
    let _held = acquire(&router, &call("f"));
    assert_eq!(pick(&router, &call("f")), "silent");
}

#[test]
fn a_preferred_tag_is_a_wish_and_no_condition() {
    let (router, _nodes) = pool(9);
    let mut header = call("f");
    header.routing.preferred = strings(&["eu"]);
    let held: Vec<_> = (0..27).map(|_| acquire(&router, &header)).collect();
    let in_europe = |id: &str| ["node-0", "node-1", "node-2"].contains(&id);
    assert!(held.iter().all(|permit| in_europe(permit.node().id())));
    assert!(!in_europe(&pick(&router, &header)));
    header.routing.preferred = strings(&["none has it"]);
    pick(&router, &header);
}
