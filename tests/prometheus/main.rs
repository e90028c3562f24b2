//! The metrics as Prometheus itself reads them: `promtool` finds no fault, and a server that scrapes
//! during 10,000 calls knows exactly how many there were. Both are in the package `prometheus` of most
//! distributions; without them, these tests only say so.

mod dashboard;
mod server;

use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Duration;

use common::{World, soon, until};
use easyremote::{Client, Node, functions, remote};
use futures::{Stream, StreamExt, stream};
use server::{Prometheus, Target, installed};

#[remote]
async fn work(micros: u64) -> u64 {
    tokio::time::sleep(Duration::from_micros(micros)).await;
    micros
}

#[remote]
async fn fails(n: u64) -> Result<u64, u64> {
    Err(n)
}

#[remote(stream)]
fn items(n: u64) -> impl Stream<Item = u64> {
    stream::iter(0..n)
}

#[remote(batch(max = 8, wait = "1ms"))]
fn batched(numbers: Vec<u64>) -> Vec<u64> {
    numbers
}

/// A world in which everything that has metrics has happened.
async fn world() -> (World, Node, Client) {
    let (world, node, client) = World::with(functions![work, fails, items, batched]).await;
    node.report("vram_free", 12.5).unwrap();
    soon(work::call(&client, 1)).await.unwrap();
    soon(fails::call(&client, 1)).await.unwrap_err();
    soon(batched::call(&client, 1)).await.unwrap();
    assert_eq!(soon(items::call(&client, 9).every(2).count()).await, 5);
    until(|| world.gateway.functions().iter().all(|it| it.in_flight == 0)).await;
    until(|| {
        world.gateway.nodes().iter().any(|it| it.load.is_some_and(|it| it.cpu_percent.is_some()))
    })
    .await;
    until(|| world.gateway.nodes().iter().any(|it| !it.gauges.is_empty())).await;
    (world, node, client)
}

#[tokio::test]
async fn promtool_finds_no_fault() {
    if !installed() {
        return;
    }
    let (world, node, client) = world().await;
    for text in [world.gateway.metrics(), node.metrics(), client.metrics()] {
        let mut promtool = Command::new("promtool")
            .args(["check", "metrics"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        promtool.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
        let said = promtool.wait_with_output().unwrap();
        let faults = [said.stdout, said.stderr].concat();
        assert!(said.status.success() && faults.is_empty(), "{}", String::from_utf8_lossy(&faults));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_scrapes_counts_10_000_calls_exactly() {
    const CALLS: usize = 10_000;
    if !installed() {
        return;
    }
    let (world, node, client) = world().await;
    let (gateway, node) = (std::sync::Arc::new(world), std::sync::Arc::new(node));
    let of_gateway = {
        let gateway = gateway.clone();
        Target::serve("gateway", move |format| gateway.gateway.metrics_in(format)).await
    };
    let of_node = {
        let node = node.clone();
        Target::serve("node", move |format| node.metrics_in(format)).await
    };
    let prometheus = Prometheus::start(&[&of_gateway, &of_node]).await;
    let before = gateway.gateway.functions().iter().find(|it| it.function == "work").unwrap().ran;
    assert_eq!(before.count(), 1);

    let calls = stream::iter(0..CALLS).map(|n| work::call(&client, 100 + n as u64 % 900).traced());
    let traces = calls.buffer_unordered(64).map(|traced| traced.unwrap().1).collect::<Vec<_>>();
    let traces = tokio::time::timeout(Duration::from_secs(300), traces).await.unwrap();
    let (queued, ran) = traces.iter().fold((0.0, 0.0), |(queued, ran), trace| {
        (queued + trace.queued.as_secs_f64(), ran + trace.ran.as_secs_f64())
    });

    let expected = (CALLS + 1) as f64;
    for role in ["gateway", "node"] {
        let returned = format!(
            "easyremote_calls_total{{function=\"work\",outcome=\"returned\",role=\"{role}\"}}"
        );
        prometheus.reaches(&returned, expected).await;
        for histogram in ["queue", "run"] {
            let count = format!(
                "easyremote_call_{histogram}_seconds_count{{function=\"work\",role=\"{role}\"}}"
            );
            prometheus.reaches(&count, expected).await;
        }
    }
    let sum = |histogram: &str| {
        format!("easyremote_call_{histogram}_seconds_sum{{function=\"work\",role=\"node\"}}")
    };
    let measured = prometheus.value(&sum("run")).await.unwrap();
    assert!((measured - ran).abs() < 0.05 * ran, "{measured} s, and {ran} s by the traces");
    // Queues are those of gateway and node together, and nobody waited for long.
    let at_node = prometheus.value(&sum("queue")).await.unwrap();
    let at_gateway =
        prometheus.value(&sum("queue").replace("role=\"node\"", "role=\"gateway\"")).await.unwrap();
    assert!(at_node + at_gateway <= queued * 1.05 + 0.05, "{at_node} + {at_gateway} of {queued}");
    let reported = "easyremote_node_reported{name=\"vram_free\",role=\"gateway\"}";
    assert_eq!(prometheus.value(reported).await, Some(12.5));
    let up = prometheus.value("sum(up)").await;
    assert_eq!(up, Some(2.0), "no text was refused");
}
