//! Functions that do what an async function must not: they block every thread of their runtime.

use std::sync::mpsc;
use std::time::Duration;

use common::offered::add;
use common::{Probe, World, say, soon};
use easyremote::{functions, remote};
use tokio::runtime::Builder;

/// Longer than any party waits for one that is silent.
const BLOCKED: Duration = Duration::from_secs(30);

#[remote]
async fn block(key: u64) {
    say(key, "blocks");
    std::thread::sleep(BLOCKED);
}

#[tokio::test]
async fn blocked_workers_lose_neither_the_node_nor_a_heartbeat() {
    const WORKERS: usize = 2;
    let world = World::start().await;
    let runtime = Builder::new_multi_thread().worker_threads(WORKERS).enable_all().build().unwrap();
    let (send, node) = mpsc::channel();
    let builder = world.node_builder().functions(functions![block, add]);
    runtime.spawn(async move { send.send(builder.serve().await.unwrap()) });
    let node = tokio::task::spawn_blocking(move || node.recv().unwrap()).await.unwrap();
    let client = world.client().await;
    let mut probe = Probe::new();
    let calls: Vec<_> =
        (0..WORKERS).map(|_| tokio::spawn(block::call(&client, probe.key))).collect();
    for _ in 0..WORKERS {
        assert_eq!(probe.next().await, "blocks");
    }
    // All of the time, what has another thread to run on runs.
    let mut n = 0;
    while calls.iter().any(|call| !call.is_finished()) {
        assert_eq!(soon(add::call(&client, n, 1)).await.unwrap(), n + 1);
        assert_eq!((node.stats().gateways, world.gateway.stats().nodes), (1, 1));
        n += 1;
    }
    // On the connection of the beginning: with another one, they would have failed.
    for call in calls {
        call.await.unwrap().unwrap();
    }
    assert!(n > 100, "{n} calls in half a minute");
    soon(node.shutdown()).await;
    runtime.shutdown_background();
}
