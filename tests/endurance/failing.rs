//! A node that fails fast attracts no calls, and those that all fail alike share them.

use std::sync::Arc;
use std::sync::Once;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use common::ended::{Ended, ended};
use common::{World, kinds_long, soon};
use easyremote::node::Functions;
use easyremote::{Client, Node, Strategy, functions, remote};
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt, stream};
use serde_json::json;

/// What a node knows of itself.
struct Health {
    /// It fails so many of 100 calls.
    fails: u64,
    calls: AtomicU64,
}

type State = Arc<Health>;

impl Health {
    /// Counts a call; whether it is one that fails.
    fn is_bad(&self) -> bool {
        // Spread over the calls, whatever the share.
        let n = self.calls.fetch_add(1, Ordering::Relaxed);
        (n * 37) % 100 < self.fails
    }
}

/// What a healthy node takes.
async fn work() -> u64 {
    tokio::time::sleep(Duration::from_millis(20)).await;
    1
}

const PANIC: &str = "no GPU";

#[remote]
async fn typed(#[state] health: &State) -> Result<u64, String> {
    if health.is_bad() { Err("no GPU".into()) } else { Ok(work().await) }
}

#[remote(err = "display")]
async fn text(#[state] health: &State) -> Result<u64, std::fmt::Error> {
    if health.is_bad() { Err(std::fmt::Error) } else { Ok(work().await) }
}

#[remote]
async fn panics(#[state] health: &State) -> u64 {
    assert!(!health.is_bad(), "{PANIC}");
    work().await
}

fn all() -> Functions {
    functions![typed, text, panics]
}

/// Nothing is printed of the panics that are part of a test.
fn hush() {
    static HUSHED: Once = Once::new();
    HUSHED.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if info.payload().downcast_ref::<String>().is_none_or(|text| text != PANIC) {
                before(info);
            }
        }));
    });
}

type Way = fn(&Client, Strategy) -> BoxFuture<'static, Ended>;

const WAYS: [(&str, Way); 4] = [
    ("typed error", |client, strategy| {
        let call = typed::call(client).strategy(strategy);
        async move { ended(call.await) }.boxed()
    }),
    ("error as text", |client, strategy| {
        let call = text::call(client).strategy(strategy);
        async move { ended(call.await) }.boxed()
    }),
    ("panic", |client, strategy| {
        let call = panics::call(client).strategy(strategy);
        async move { ended(call.await) }.boxed()
    }),
    ("typed error by name", |client, strategy| {
        let call = client.call_json("typed", json!([])).strategy(strategy);
        async move { ended(call.await) }.boxed()
    }),
];

const STRATEGIES: [Strategy; 4] =
    [Strategy::LeastBusy, Strategy::Fastest, Strategy::RoundRobin, Strategy::Random];

const CALLS: u64 = 3_000;

/// Makes calls of nodes that fail as many of 100 as is said; gives how many went well, and how many
/// each node got.
async fn spread(
    fails: [u64; 4],
    (call, strategy): (Way, Strategy),
    at_a_time: usize,
    multiplex: bool,
) -> (u64, Vec<u64>) {
    hush();
    let world = World::start().await;
    let states = fails.map(|fails| Arc::new(Health { fails, calls: AtomicU64::new(0) }));
    let mut nodes: Vec<Node> = Vec::new();
    for state in &states {
        let node = world.node_builder().concurrency(64).functions(all()).state(state.clone());
        nodes.push(soon(node.serve()).await.unwrap());
    }
    let client = soon(world.client_builder().multiplex(multiplex).connect()).await.unwrap();
    let calls = stream::iter(0..CALLS).map(|_| call(&client, strategy));
    let ended = calls.buffer_unordered(at_a_time);
    let good = soon(ended.filter(|ended| std::future::ready(ended.is_ok())).count()).await;
    (good as u64, states.iter().map(|state| state.calls.load(Ordering::Relaxed)).collect())
}

/// Every kind of failure with every strategy, at 8 and 64 at a time, with and without multiplexing. A few
/// rows at once; each of all these in some row, unless there is time for all rows.
async fn rows<F: Future<Output = Option<String>>>(
    row: impl Fn(String, (Way, Strategy), usize, bool) -> F,
) {
    let mut all = Vec::new();
    for (i, (name, way)) in WAYS.into_iter().enumerate() {
        for (j, strategy) in STRATEGIES.into_iter().enumerate() {
            for at_a_time in [8, 64] {
                for multiplex in [true, false] {
                    let at = if i == 1 || i == 2 { 8 } else { 64 };
                    let short = i == j && at_a_time == at && multiplex == (i % 2 == 0);
                    if kinds_long() || short {
                        let told = format!("{name}, {strategy:?}, {at_a_time} at a time");
                        all.push(row(told, (way, strategy), at_a_time, multiplex));
                    }
                }
            }
        }
    }
    let wrong: Vec<_> = stream::iter(all).buffer_unordered(4).collect().await;
    let wrong: Vec<_> = wrong.into_iter().flatten().collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_fails_at_once_attracts_no_calls() {
    rows(async |row: String, way, at_a_time, multiplex| {
        let (good, calls) = spread([0, 0, 0, 100], way, at_a_time, multiplex).await;
        (good * 10 < CALLS * 9).then(|| format!("{row}: {good} of {CALLS} good, nodes {calls:?}"))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_that_fail_alike_share_the_calls() {
    rows(async |row: String, way, at_a_time, multiplex| {
        let (good, calls) = spread([20; 4], way, at_a_time, multiplex).await;
        // A quarter is fair; half of that is more than chance takes.
        let fair = calls.iter().all(|calls| *calls >= CALLS / 8);
        let right = fair && (CALLS * 7 / 10..=CALLS * 9 / 10).contains(&good);
        (!right).then(|| format!("{row}: {good} of {CALLS} good, nodes {calls:?}"))
    })
    .await;
}

/// Who else could run them: the functions' own errors arrive, and nothing else does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_that_all_fail_are_called_all_the_same() {
    for (name, way) in &WAYS[..if kinds_long() { 4 } else { 1 }] {
        let (good, calls) = spread([100; 4], (*way, Strategy::LeastBusy), 64, true).await;
        assert_eq!((good, calls.iter().sum()), (0, CALLS), "{name}");
        assert!(calls.iter().all(|calls| *calls >= CALLS / 8), "{name}: {calls:?}");
    }
}
