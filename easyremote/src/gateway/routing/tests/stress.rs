//! Stress tests with many threads.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Barrier};
use std::time::Duration;

use fastrand::Rng;
use tokio::runtime::{Builder, Handle};
use tokio::time::timeout;

use super::{acquire, register, router_with, strings};
use crate::gateway::routing::outlier::OutlierOptions;
use crate::gateway::routing::router::{CallPermit, Router};
use crate::gateway::routing::sample::{Sample, call, offer};
use crate::wire::header::CallHeader;

const NODES: [&str; 3] = ["a", "b", "c"];
/// Few slots, so that most calls wait.
const CAPACITY: u64 = 3;
const LIMIT: u64 = 2;

/// Counts calls by node and function, independently of the router.
#[derive(Default)]
struct Seen(HashMap<(&'static str, &'static str), AtomicU64>);

impl Seen {
    fn new() -> Self {
        let keys = NODES.iter().flat_map(|node| ["f", "g", ""].map(|function| (*node, function)));
        Self(keys.map(|key| (key, AtomicU64::new(0))).collect())
    }

    /// Runs a call, and checks that no node and no function exceeds its limit.
    fn run(&self, permit: CallPermit<()>, function: &'static str, rng: &mut Rng) {
        let node = NODES.into_iter().find(|id| *id == permit.node().id()).unwrap();
        let counters = [(&self.0[&(node, "")], CAPACITY), (&self.0[&(node, function)], LIMIT)];
        for (counter, limit) in counters {
            let limit = if function == "g" { CAPACITY } else { limit };
            assert!(counter.fetch_add(1, Ordering::SeqCst) < limit, "{node} has too many calls");
        }
        (0..rng.u32(..200)).for_each(|_| std::hint::spin_loop());
        for (counter, _) in counters {
            counter.fetch_sub(1, Ordering::SeqCst);
        }
        drop(permit);
    }
}

fn sample(id: &str) -> Sample {
    let mut limited = offer("f");
    limited.concurrency = LIMIT;
    let (functions, tags) = (vec![limited, offer("g")], strings(&[id]));
    Sample { functions, tags, capacity: CAPACITY, ..Sample::new(id) }
}

fn header(rng: &mut Rng) -> (CallHeader, &'static str) {
    let function = if rng.bool() { "f" } else { "g" };
    let mut header = call(function);
    if rng.u8(..3) == 0 {
        header.routing.tags = strings(&[rng.choice(NODES).unwrap()]);
    }
    // Nodes register and leave.
    header.routing.wait = true;
    (header, function)
}

/// Runs calls on one thread. A lost wake-up shows as a call that waits for ever, because nothing
/// checks waiting calls periodically while outlier detection is off.
fn calls(router: &Arc<Router<()>>, seen: &Seen, runtime: &Handle, seed: u64) {
    let mut rng = Rng::with_seed(seed);
    for n in 0..4_000 {
        let (header, function) = header(&mut rng);
        if let Some(Ok(permit)) = router.try_acquire(&header) {
            seen.run(permit, function, &mut rng);
            continue;
        }
        runtime.block_on(async {
            let patience = match rng.u8(..10) {
                // Cancels at about the time at which it is granted a permit.
                0 => Duration::from_micros(rng.u64(..50)),
                _ => Duration::from_secs(60),
            };
            let acquired = timeout(patience, router.acquire(&header, seed)).await;
            match acquired {
                Ok(permit) => seen.run(permit.unwrap(), function, &mut rng),
                Err(_) => assert!(patience < Duration::from_secs(60), "call {n} was forgotten"),
            }
        });
    }
}

#[test]
fn no_node_has_too_many_calls_and_no_call_is_forgotten() {
    let (router, seen) = (router_with(OutlierOptions::off()), Seen::new());
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_time().build().unwrap();
    let (done, start) = (AtomicBool::new(false), Barrier::new(9));
    let _steady = ["a", "b"].map(|id| register(&router, sample(id)));
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|seed| {
                let (router, seen, start, handle) = (&router, &seen, &start, runtime.handle());
                scope.spawn(move || {
                    start.wait();
                    calls(router, seen, handle, seed);
                })
            })
            .collect();
        let (router, done, start) = (&router, &done, &start);
        scope.spawn(move || {
            start.wait();
            while !done.load(Ordering::Relaxed) {
                let node = register(router, sample("c"));
                std::thread::sleep(Duration::from_millis(1));
                node.retag(Vec::new());
                node.retag(strings(&["c"]));
                // Its calls end before its next session starts.
                node.drain();
                while node.node().n_calls() > 0 {
                    std::thread::yield_now();
                }
            }
            let _last = register(router, sample("c"));
            while router.n_waiting() > 0 {
                std::thread::yield_now();
            }
        });
        // Every thread may wait for the node that registers and leaves.
        let results: Vec<_> =
            threads.into_iter().map(std::thread::ScopedJoinHandle::join).collect();
        done.store(true, Ordering::Relaxed);
        results.into_iter().for_each(|result| result.unwrap());
    });
    assert_eq!(router.n_waiting(), 0);
    assert!(seen.0.values().all(|counter| counter.load(Ordering::SeqCst) == 0));
    assert!(router.nodes().iter().all(|node| node.in_flight == 0));
}

/// The race of "No lost wake-up": a call starts to wait while the only permit is freed, and no other
/// permit is freed later.
#[test]
fn a_permit_that_is_freed_while_a_call_goes_to_wait_wakes_it() {
    let router = router_with(OutlierOptions::off());
    let _node = register(&router, Sample { capacity: 1, ..Sample::new("a") });
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_time().build().unwrap();
    let (round, done) = (AtomicU64::new(0), AtomicU64::new(0));
    let wait_for = |counter: &AtomicU64, n| {
        while counter.load(Ordering::SeqCst) < n {
            std::hint::spin_loop();
            std::thread::yield_now();
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let (header, mut rng) = (call("f"), Rng::with_seed(1));
            for n in 1..=ROUNDS {
                wait_for(&round, n);
                (0..rng.u32(..300)).for_each(|_| std::hint::spin_loop());
                let acquired = runtime.block_on(async {
                    timeout(Duration::from_secs(20), router.acquire(&header, 1)).await
                });
                if acquired.is_err() {
                    // A panic here would leave the other thread waiting.
                    round.store(u64::MAX, Ordering::SeqCst);
                }
                drop(acquired);
                done.store(n, Ordering::SeqCst);
            }
        });
        let mut rng = Rng::with_seed(2);
        for n in 1..=ROUNDS {
            let permit = acquire(&router, &call("f"));
            round.fetch_max(n, Ordering::SeqCst);
            (0..rng.u32(..1_500)).for_each(|_| std::hint::spin_loop());
            drop(permit);
            wait_for(&done, n);
            assert_eq!(round.load(Ordering::SeqCst), n, "the call was forgotten");
        }
    });
    assert_eq!(router.n_waiting(), 0);
}

const ROUNDS: u64 = 20_000;
