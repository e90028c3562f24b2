//! What an open page costs a gateway: processor time of its I/O thread with and without a reader of
//! `GET /feed`, while 50 nodes serve some 2,000 calls a second.
//!
//! `cargo bench --features http --bench feed`; Linux only. All parties are one process: what counts
//! is the time of the thread "easyremote-gateway".

use std::fs;
use std::time::Duration;

use common::{World, is_smoke};
use easyremote::http::HttpOptions;
use easyremote::{Client, Node, Role, functions, remote};
use futures::future::join_all;
use futures::{Stream, StreamExt, stream};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

#[remote]
async fn add(a: i64, b: i64) -> i64 {
    a + b
}

/// Occupies its node.
#[remote]
async fn hold() {
    std::future::pending::<()>().await;
}

#[remote(stream)]
fn ticks() -> impl Stream<Item = u64> {
    stream::iter(0..).then(async |n| {
        sleep(Duration::from_millis(500)).await;
        n
    })
}

const NODES: usize = 50;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let world = World::start().await;
    let http = world.gateway.serve_http(HttpOptions::new("127.0.0.1:0")).await.unwrap();
    let (bearer, at) = (world.gateway.bearer(Role::Admin, "default").unwrap(), http.local_addr());
    let nodes = (0..NODES).map(|n| {
        let node = world.node_builder().id(format!("node-{n:02}")).tag("eu").concurrency(64);
        node.functions(functions![add, hold, ticks]).serve()
    });
    let _nodes: Vec<Node> = join_all(nodes).await.into_iter().map(Result::unwrap).collect();
    let client = world.client().await;
    let _streams: Vec<_> = (0..20).map(|_| follow(&client)).collect();
    // Calls under way at all nodes, and some that wait for a node that is not there.
    let held = (0..100).map(|_| tokio::spawn(hold::call(&client)));
    let waiting = (0..50).map(|_| tokio::spawn(hold::call(&client).tag("none").wait_for_node()));
    let _held: Vec<_> = held.chain(waiting).collect();
    let load = tokio::spawn(call_steadily(client.clone()));
    let (rounds, length) = match is_smoke() {
        true => (1, Duration::from_millis(1_500)),
        false => (5, Duration::from_secs(4)),
    };
    sleep(length / 2).await;
    println!("| round | calls/s | without a page, ms/s | with one, ms/s | more, % of a core |");
    println!("|---|---|---|---|---|");
    for round in 1..=rounds {
        let without = measure(&world, length).await;
        let page = tokio::spawn(read(at, bearer.to_string()));
        // The first answer has everything.
        sleep(length / 8).await;
        let with = measure(&world, length).await;
        page.abort();
        println!(
            "| {round} | {:.0} | {:.1} | {:.1} | {:.2} |",
            (without.0 + with.0) / 2.0,
            without.1,
            with.1,
            (with.1 - without.1) / 10.0
        );
    }
    load.abort();
}

/// Makes some 2,000 calls a second, or as many as the machine can answer.
async fn call_steadily(client: Client) {
    let mut ticks = interval(Duration::from_millis(5));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        join_all((0..10).map(|n| add::call(&client, n, 1))).await;
    }
}

fn follow(client: &Client) -> tokio::task::JoinHandle<()> {
    let mut items = ticks::call(client);
    tokio::spawn(async move { while let Some(Ok(_)) = items.next().await {} })
}

/// Reads the feed, as a page does.
async fn read(at: std::net::SocketAddr, bearer: String) {
    let mut stream = TcpStream::connect(at).await.unwrap();
    let request =
        format!("GET /feed HTTP/1.1\r\nHost: {at}\r\nAuthorization: Bearer {bearer}\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut bytes = vec![0; 64 << 10];
    while stream.read(&mut bytes).await.unwrap() > 0 {}
}

/// Returns calls a second, and milliseconds of processor time of the gateway's thread a second.
async fn measure(world: &World, length: Duration) -> (f64, f64) {
    let (begun, calls, time) = (Instant::now(), world.gateway.stats().calls, thread_time());
    sleep(length).await;
    let seconds = begun.elapsed().as_secs_f64();
    let calls = (world.gateway.stats().calls - calls) as f64 / seconds;
    (calls, (thread_time() - time).as_secs_f64() * 1e3 / seconds)
}

/// Returns the processor time of the gateway's I/O thread. The kernel cuts names of threads.
fn thread_time() -> Duration {
    let threads = fs::read_dir("/proc/self/task").unwrap().flatten();
    let named = threads.filter(|thread| {
        let name = fs::read_to_string(thread.path().join("comm")).unwrap_or_default();
        name.starts_with("easyremote-gate")
    });
    let nanos = named.map(|thread| {
        // Nanoseconds on a processor; `stat` counts in hundredths of a second.
        let time = fs::read_to_string(thread.path().join("schedstat")).unwrap();
        time.split(' ').next().unwrap().parse::<u64>().unwrap()
    });
    Duration::from_nanos(nanos.sum())
}
