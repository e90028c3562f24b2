//! What a distance costs: a client that is 100 ms away from the gateway and back, through the proxy
//! of the tests.
//!
//! `cargo bench --bench far`. All parties and the proxy are one process here: what counts is time
//! on the way, which is not spent computing.

use std::time::{Duration, Instant};

use bytes::Bytes;
use common::proxy::{Faults, Proxy};
use common::{World, found_in, is_smoke};
use easyremote::{Client, functions, remote};
use futures::{Stream, StreamExt, stream};

/// There and back.
const ROUND_TRIP: Duration = Duration::from_millis(100);

#[remote]
async fn echo(bytes: Bytes) -> Bytes {
    bytes
}

#[remote]
async fn blob(length: usize) -> Bytes {
    Bytes::from(vec![7; length])
}

#[remote(stream)]
fn items(n: u64, length: u64) -> impl Stream<Item = Bytes> {
    let item = Bytes::from(vec![7; length as usize]);
    stream::iter(0..n).map(move |_| item.clone())
}

#[remote]
async fn upload(chunks: impl Stream<Item = Bytes>) -> u64 {
    chunks.fold(0, |sum, chunk| async move { sum + chunk.len() as u64 }).await
}

fn print(what: &str, took: Duration) {
    let trips = took.as_secs_f64() / ROUND_TRIP.as_secs_f64();
    println!("{what:<44} {:>6.0} ms {trips:>6.2} round trips", took.as_secs_f64() * 1e3);
}

fn print_rate(what: &str, bytes: usize, took: Duration) {
    let rate = bytes as f64 * 8.0 / took.as_secs_f64() / 1e6;
    println!("{what:<44} {:>6.0} ms {rate:>6.0} Mbit/s", took.as_secs_f64() * 1e3);
}

async fn calls(world: &World, proxy: &Proxy) -> Client {
    let builder = Client::builder(proxy.address()).dial(found_in(world.state_dir()));
    let begun = Instant::now();
    let client = builder.connect().await.unwrap();
    print("connect", begun.elapsed());
    echo::call(&client, Bytes::new()).await.unwrap();
    print("connect and first call", begun.elapsed());
    let begun = Instant::now();
    echo::call(&client, Bytes::new()).await.unwrap();
    print("a call once connected", begun.elapsed());
    let begun = Instant::now();
    let first = items::call(&client, 1, 64).next().await;
    first.unwrap().unwrap();
    print("first item of a stream", begun.elapsed());
    client
}

async fn bulk(client: &Client, megabytes: usize) {
    const LENGTH: usize = 50_000;
    let n = megabytes * 1_000_000 / LENGTH;
    let begun = Instant::now();
    let received = items::call(client, n as u64, LENGTH as u64);
    assert_eq!(received.map(Result::unwrap).count().await, n);
    print_rate(&format!("a stream of {megabytes} MB"), n * LENGTH, begun.elapsed());
    let begun = Instant::now();
    let chunk = Bytes::from(vec![7; LENGTH]);
    let chunks = stream::iter(0..n).map(move |_| chunk.clone());
    let received = upload::call(client, chunks).await.unwrap();
    assert_eq!(received, (n * LENGTH) as u64);
    print_rate(&format!("an upload of {megabytes} MB"), n * LENGTH, begun.elapsed());
    // Of a call on a lane.
    let begun = Instant::now();
    assert_eq!(blob::call(client, n * LENGTH).await.unwrap().len(), n * LENGTH);
    print_rate(&format!("an answer of {megabytes} MB"), n * LENGTH, begun.elapsed());
}

#[tokio::main]
async fn main() {
    let world = World::start().await;
    let _node = world.node(functions![blob, echo, items, upload]).await;
    let proxy = Proxy::start(world.gateway.local_addr(), 1);
    proxy.set_both(Faults { delay: ROUND_TRIP / 2, ..Faults::default() });
    let client = calls(&world, &proxy).await;
    // The first brings the congestion window up, as for every connection.
    let sizes = if is_smoke() { &[1][..] } else { &[5, 25, 25] };
    for &megabytes in sizes {
        bulk(&client, megabytes).await;
    }
}
