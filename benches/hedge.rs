//! What hedging does to slow calls, and what it costs: two nodes, of whose calls some take 500 ms.
//!
//! `cargo bench --bench hedge`. All parties are one process here: what counts is the time that a
//! call waits.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use common::{World, is_smoke};
use easyremote::{Client, functions, remote};
use futures::{StreamExt, stream};

/// How often a call has started, at any node.
static STARTED: AtomicU64 = AtomicU64::new(0);

/// Takes 500 ms each time that it falls to the given share of calls.
#[remote(idempotent)]
async fn look_up(percent: f64) {
    STARTED.fetch_add(1, Ordering::Relaxed);
    if fastrand::f64() * 100.0 < percent {
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

async fn measure(client: &Client, percent: f64, hedged: bool, calls: usize) {
    STARTED.store(0, Ordering::Relaxed);
    let one = |_| async move {
        let (begun, call) = (Instant::now(), look_up::call(client, percent));
        let call = if hedged { call.hedge(Duration::from_millis(20)) } else { call };
        call.await.unwrap();
        begun.elapsed()
    };
    let mut times: Vec<Duration> =
        stream::iter(0..calls).map(one).buffer_unordered(16).collect().await;
    times.sort_unstable();
    let millis = |time: Duration| time.as_secs_f64() * 1e3;
    let extra = STARTED.load(Ordering::Relaxed) as f64 / calls as f64 * 100.0 - 100.0;
    println!(
        "| {percent} % | {} | {:.1} | {:.1} | {extra:.2} % |",
        if hedged { "after 20 ms" } else { "none" },
        millis(times[calls / 2]),
        millis(times[calls * 99 / 100]),
    );
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    fastrand::seed(7);
    let world = World::start().await;
    let node = |id| world.node_builder().id(id).concurrency(1_000).functions(functions![look_up]);
    let _nodes = (node("one").serve().await.unwrap(), node("two").serve().await.unwrap());
    let less = if is_smoke() { 50 } else { 1 };
    println!(
        "| slow | second call | p50, ms | p99, ms | calls made twice |\n|---|---|---|---|---|"
    );
    for (percent, hedged, calls) in
        [(2.0, false, 5_000), (2.0, true, 5_000), (100.0, false, 500), (100.0, true, 500)]
    {
        let client = world.client().await;
        measure(&client, percent, hedged, calls / less).await;
    }
}
