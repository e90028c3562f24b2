//! Tests of outlier detection: a simulation with a manual clock.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;

use super::{acquire, pick, register, router, router_with};
use crate::gateway::routing::outlier::OutlierOptions;
use crate::gateway::routing::router::{CallPermit, Registration, Router};
use crate::gateway::routing::sample::{Sample, call};
use crate::wire::header::CallHeader;
use crate::wire::routing_options::Strategy;

const STRATEGIES: [Strategy; 4] =
    [Strategy::LeastBusy, Strategy::Fastest, Strategy::Random, Strategy::RoundRobin];

const MS: Duration = Duration::from_millis(1);

fn nodes(router: &Arc<Router<()>>, n: usize, capacity: u64) -> Vec<Registration<()>> {
    let sample = |n| Sample { capacity, ..Sample::new(&format!("node-{n}")) };
    (0..n).map(|n| register(router, sample(n))).collect()
}

/// Behaviour of calls at a node: their duration, and their probability of failure in percent.
type Behaviour = fn(node: &str) -> (Duration, u32);

fn the_first_one_fails_at_once(node: &str) -> (Duration, u32) {
    if node == "node-0" { (Duration::ZERO, 100) } else { (20 * MS, 0) }
}

#[derive(Default)]
struct Report {
    succeeded: usize,
    by_node: BTreeMap<String, usize>,
    ejections: u64,
}

/// Makes `calls` calls, so many at a time, on virtual time. A call that fails is not made again.
fn simulate(
    router: &Arc<Router<()>>,
    header: &CallHeader,
    (concurrency, calls): (usize, usize),
    behaviour: Behaviour,
) -> Report {
    let mut report = Report::default();
    let mut running: BinaryHeap<Reverse<(Duration, usize)>> = BinaryHeap::new();
    let mut permits: BTreeMap<usize, (CallPermit<()>, bool)> = BTreeMap::new();
    for call in 0..calls + concurrency {
        if call >= concurrency {
            // The next one starts when the first of the running ones has ended.
            let Reverse((end, ended)) = running.pop().unwrap();
            router.clock().advance(end - router.clock().now());
            let (permit, fails) = permits.remove(&ended).unwrap();
            if fails {
                permit.failed()
            } else {
                permit.succeeded()
            }
            report.succeeded += usize::from(!fails);
        }
        if call < calls {
            let permit = acquire(router, header);
            let (takes, percent) = behaviour(permit.node().id());
            *report.by_node.entry(permit.node().id().to_owned()).or_default() += 1;
            running.push(Reverse((router.clock().now() + takes, call)));
            permits.insert(call, (permit, fastrand::u32(..100) < percent));
        }
    }
    report.ejections = router.n_ejections();
    report
}

#[test]
fn a_node_that_fails_at_once_costs_few_calls() {
    for strategy in STRATEGIES {
        for concurrency in [8, 64] {
            for seed in 0..20 {
                fastrand::seed(seed);
                let router = router();
                let _nodes = nodes(&router, 4, 64);
                let mut header = call("f");
                header.routing.strategy = Some(strategy);
                let load = (concurrency, 3_000);
                let report = simulate(&router, &header, load, the_first_one_fails_at_once);
                let Report { succeeded, ejections, .. } = report;
                let shown = format!("{strategy:?}, {concurrency} at a time, seed {seed}");
                assert!(succeeded >= 2_850, "{shown}: {succeeded} of 3,000, {ejections} ejections");
            }
        }
    }
}

#[test]
fn without_avoidance_most_calls_fail() {
    fastrand::seed(1);
    let router = router_with(OutlierOptions::off());
    let _nodes = nodes(&router, 4, 64);
    let report = simulate(&router, &call("f"), (8, 3_000), the_first_one_fails_at_once);
    assert!(report.succeeded < 2_000 && report.ejections == 0, "{}", report.succeeded);
}

#[test]
fn where_all_nodes_fail_alike_none_is_avoided() {
    let behaviours: [Behaviour; 3] = [|_| (20 * MS, 20), |_| (20 * MS, 60), |_| (MS, 100)];
    for strategy in STRATEGIES {
        for behaviour in behaviours {
            for (seed, concurrency) in [(1, 8), (2, 64)] {
                fastrand::seed(seed);
                let router = router();
                let _nodes = nodes(&router, 4, 64);
                let mut header = call("f");
                header.routing.strategy = Some(strategy);
                let report = simulate(&router, &header, (concurrency, 20_000), behaviour);
                assert_eq!(report.ejections, 0, "{strategy:?}, {concurrency} at a time");
            }
        }
    }
}

#[test]
fn no_more_than_half_of_the_nodes_are_avoided() {
    fastrand::seed(1);
    let router = router();
    let _nodes = nodes(&router, 4, 64);
    let only_one_works: Behaviour = |node| if node == "node-3" { (20 * MS, 0) } else { (MS, 100) };
    for _ in 0..30 {
        simulate(&router, &call("f"), (8, 100), only_one_works);
        let avoided = router.nodes().iter().filter(|node| !node.avoided_for.is_empty()).count();
        assert!(avoided <= 2, "{avoided}");
    }
}

#[test]
fn a_node_that_works_again_gets_its_share_again() {
    for strategy in STRATEGIES {
        fastrand::seed(1);
        let router = router();
        let _nodes = nodes(&router, 4, 64);
        let mut header = call("f");
        header.routing.strategy = Some(strategy);
        simulate(&router, &header, (64, 3_000), the_first_one_fails_at_once);
        // The fastest-first strategy does not even send it the calls that would reveal it.
        let avoided = !router.nodes()[0].avoided_for.is_empty();
        assert!(avoided || strategy == Strategy::Fastest, "{strategy:?}");
        router.clock().advance(Duration::from_secs(10));
        let report = simulate(&router, &header, (64, 12_000), |_| (20 * MS, 0));
        assert!(router.nodes()[0].avoided_for.is_empty(), "{strategy:?}");
        assert!(report.by_node["node-0"] > 2_000, "{strategy:?}: {:?}", report.by_node);
    }
}

/// Two nodes with one slot each; `node-0` is avoided.
fn one_of_two_is_avoided(options: OutlierOptions) -> (Arc<Router<()>>, Vec<Registration<()>>) {
    let router = router_with(options);
    let nodes = nodes(&router, 2, 1);
    for (n, fails) in [(1, false); 63].into_iter().chain([(0, true); 5]) {
        let permit = acquire(&router, &on(n));
        if fails { permit.failed() } else { permit.succeeded() }
    }
    assert_eq!(router.nodes()[0].avoided_for, ["f"]);
    assert_eq!(router.n_ejections(), 1);
    (router, nodes)
}

fn on(node: usize) -> CallHeader {
    let mut header = call("f");
    header.routing.on = Some(format!("node-{node}"));
    header
}

#[test]
fn calls_rather_wait_than_run_at_a_node_that_fails() {
    let (router, _nodes) = one_of_two_is_avoided(OutlierOptions::new());
    let held = acquire(&router, &call("f"));
    assert_eq!(held.node().id(), "node-1");
    assert!(router.try_acquire(&call("f")).is_none());
    assert_eq!(pick(&router, &on(0)), "node-0", "unless they name it");
}

#[tokio::test]
async fn a_failing_node_is_better_than_none() {
    let (router, mut nodes) = one_of_two_is_avoided(OutlierOptions::new());
    let held = acquire(&router, &call("f"));
    let header = call("f");
    let mut waiting = Box::pin(router.acquire(&header, 1));
    assert!((&mut waiting).now_or_never().is_none());
    // The call goes there as soon as the other node leaves.
    nodes[1].drain();
    assert_eq!(waiting.await.unwrap().node().id(), "node-0");
    drop(held);
    drop(nodes.pop());
    assert!(router.nodes()[0].avoided_for.is_empty(), "one of one is too many");
}

#[tokio::test(start_paused = true)]
async fn a_waiting_call_is_a_probe_when_the_time_is_over() {
    let (router, _nodes) = one_of_two_is_avoided(OutlierOptions::new());
    let _held = acquire(&router, &call("f"));
    let header = call("f");
    let mut waiting = Box::pin(router.acquire(&header, 1));
    assert!((&mut waiting).now_or_never().is_none());
    router.clock().advance(Duration::from_secs(1));
    assert_eq!(waiting.await.unwrap().node().id(), "node-0");
}

#[test]
fn three_probes_decide() {
    for works in [false, true] {
        let (router, _nodes) = one_of_two_is_avoided(OutlierOptions::new());
        let _held = acquire(&router, &call("f"));
        router.clock().advance(Duration::from_secs(1));
        for probe in 0..3 {
            let permit = acquire(&router, &call("f"));
            assert_eq!(permit.node().id(), "node-0");
            if works || probe < 2 { permit.succeeded() } else { permit.failed() }
        }
        assert_eq!(router.nodes()[0].avoided_for.is_empty(), works);
        assert_eq!(router.n_ejections(), if works { 1 } else { 2 });
        assert_eq!(router.try_acquire(&call("f")).is_some(), works);
        router.clock().advance(Duration::from_secs(1));
        assert_eq!(router.try_acquire(&call("f")).is_some(), works, "two seconds now");
        router.clock().advance(Duration::from_secs(1));
        assert!(router.try_acquire(&call("f")).is_some());
    }
}

#[test]
fn an_outcome_counts_once_and_may_be_none() {
    let router = router();
    let _nodes = nodes(&router, 2, 64);
    for _ in 0..100 {
        let permit = acquire(&router, &on(1));
        permit.succeeded();
        permit.failed();
        // Cancelled.
        drop(acquire(&router, &on(0)));
    }
    assert_eq!(router.n_ejections(), 0);
    for _ in 0..4 {
        let permit = acquire(&router, &on(0));
        permit.failed();
        permit.failed();
    }
    assert_eq!(router.n_ejections(), 0, "fewer than five calls");
    acquire(&router, &on(0)).failed();
    assert_eq!(router.n_ejections(), 1);
}
