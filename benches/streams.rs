//! What streams promise, measured over three processes: memory that does not depend on a stream's
//! length, a first item at once, and an end when nobody listens.
//!
//! `cargo bench --bench streams`; on Linux only, for `/proc`.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use common::is_smoke;
use common::trio::{Trio, role};
use easyremote::node::Functions;
use easyremote::{Client, functions, remote};
use futures::{Stream, StreamExt, stream};

const ITEMS: u64 = 1_000;
const LENGTH: u64 = 100_000;
const SMALL_ITEMS: u64 = 1_000_000;

/// So many times less is done in a smoke run.
const SMOKE: u64 = 50;

#[remote(stream)]
fn large_items(n: u64) -> impl Iterator<Item = Vec<u8>> {
    (0..n).map(|i| vec![i as u8; LENGTH as usize])
}

#[remote]
fn large_items_collected(n: u64) -> Vec<Vec<u8>> {
    (0..n).map(|i| vec![i as u8; LENGTH as usize]).collect()
}

#[remote(stream)]
fn small_items() -> impl Stream<Item = u64> {
    stream::iter(0..)
}

#[remote]
fn small_items_collected(n: u64) -> Vec<u64> {
    (0..n).collect()
}

/// Nanoseconds since the epoch; the processes share a clock.
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64
}

/// When each item was made, one per 100 ms.
#[remote(stream)]
fn clock(n: u64) -> impl Stream<Item = u64> {
    stream::iter(0..n).then(|_| async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        now()
    })
}

static STOPPED: AtomicU64 = AtomicU64::new(0);

struct NoteEnd;

impl Drop for NoteEnd {
    fn drop(&mut self) {
        STOPPED.store(now(), Ordering::SeqCst);
    }
}

#[remote(stream)]
fn endless_iterator() -> impl Iterator<Item = u64> {
    let end = NoteEnd;
    (0..).inspect(move |_| {
        let _ = &end;
    })
}

#[remote(stream)]
fn endless_stream() -> impl Stream<Item = u64> {
    let end = NoteEnd;
    stream::iter(0..).inspect(move |_| {
        let _ = &end;
    })
}

#[remote(stream)]
fn endless_silence() -> impl Stream<Item = u64> {
    let end = NoteEnd;
    stream::iter([0]).chain(stream::pending()).inspect(move |_| {
        let _ = &end;
    })
}

/// When the last of the endless streams has stopped; 0 if it has not.
#[remote]
fn stopped() -> u64 {
    STOPPED.swap(0, Ordering::SeqCst)
}

fn functions() -> Functions {
    functions![
        large_items,
        large_items_collected,
        small_items,
        small_items_collected,
        clock,
        endless_iterator,
        endless_stream,
        endless_silence,
        stopped
    ]
}

/// Answers what a part is asked; the questions of most are by how much to do less.
async fn client(client: Client, part: String, question: String) -> String {
    let less: u64 = question.parse().unwrap_or(1);
    match (part.as_str(), question.as_str()) {
        (_, "warm up") => {
            // One of each, short: buffers, threads and allocator arenas are there afterwards.
            let _ = large_items::call(&client, 3).count().await;
            let _ = small_items::call(&client).take(1_000).count().await;
            let _ = large_items_collected::call(&client, 3).await;
            String::from("warm")
        }
        ("slow", _) => {
            let items = large_items::call(&client, ITEMS / less).then(|item| async {
                tokio::time::sleep(Duration::from_millis(2)).await;
                item.unwrap()
            });
            items.count().await.to_string()
        }
        ("stalled", _) => {
            let mut items = large_items::call(&client, ITEMS / less);
            items.next().await.unwrap().unwrap();
            tokio::time::sleep(Duration::from_millis(3_000 / less)).await;
            String::from("1")
        }
        ("endless", _) => {
            let items = small_items::call(&client).take((SMALL_ITEMS / less) as usize);
            items
                .fold(0_u64, |n, item| async move { n + u64::from(item.is_ok()) })
                .await
                .to_string()
        }
        ("large at once", _) => {
            large_items_collected::call(&client, ITEMS / less).await.unwrap().len().to_string()
        }
        ("small at once", _) => small_items_collected::call(&client, SMALL_ITEMS / less)
            .await
            .unwrap()
            .len()
            .to_string(),
        ("latency", _) => latency(&client, if less > 1 { 3 } else { 30 }).await,
        ("abandoned", kind) => abandoned(&client, kind).await,
        (part, _) => panic!("no part is called {part}"),
    }
}

/// Milliseconds from an item's production to its arrival: median and longest.
async fn latency(client: &Client, n: u64) -> String {
    let mut delays: Vec<u64> =
        clock::call(client, n).map(|made| now().saturating_sub(made.unwrap())).collect().await;
    let first = delays[0];
    delays.sort_unstable();
    let ms = |nanos: u64| nanos as f64 / 1e6;
    format!(
        "{:.2} {:.2} {:.2}",
        ms(first),
        ms(delays[delays.len() / 2]),
        ms(delays[delays.len() - 1])
    )
}

/// Milliseconds from dropping a stream to the end of its producer: median and longest of 20.
async fn abandoned(client: &Client, kind: &str) -> String {
    let mut delays = Vec::new();
    for _ in 0..20 {
        let mut items = match kind {
            "iterator" => endless_iterator::call(client).boxed(),
            "stream" => endless_stream::call(client).boxed(),
            _ => endless_silence::call(client).boxed(),
        };
        items.next().await.unwrap().unwrap();
        stopped::call(client).await.unwrap();
        let dropped = now();
        drop(items);
        let end = loop {
            match stopped::call(client).await.unwrap() {
                0 => tokio::time::sleep(Duration::from_millis(1)).await,
                end => break end,
            }
        };
        delays.push(end.saturating_sub(dropped));
    }
    delays.sort_unstable();
    format!("{:.2} {:.2}", delays[10] as f64 / 1e6, delays[19] as f64 / 1e6)
}

fn main() {
    role(functions, client);
    let less = if is_smoke() { SMOKE } else { 1 }.to_string();
    println!("rise of peak memory, KiB                       client  gateway     node    items");
    for (part, text) in [
        ("slow", "1,000 x 100 kB, 2 ms pause at each"),
        ("stalled", "1,000 x 100 kB, one read, then none"),
        ("large at once", "1,000 x 100 kB as one answer"),
        ("endless", "endless u64, 1,000,000 read"),
        ("small at once", "1,000,000 u64 as one answer"),
    ] {
        let mut trio = Trio::start();
        let mut client = trio.client(part);
        client.ask("warm up");
        client.mark();
        trio.gateway.mark();
        trio.node.mark();
        let items = client.ask(&less);
        let rises = [client.rise_kib(), trio.gateway.rise_kib(), trio.node.rise_kib()];
        let [client, gateway, node] = rises;
        println!("{text:<44} {client:>8} {gateway:>8} {node:>8} {items:>8}");
    }

    let trio = Trio::start();
    let measured = trio.client("latency").ask(&less);
    let mut values = measured.split(' ');
    let mut value = || values.next().unwrap_or_default();
    println!("\none item per 100 ms, from production to arrival, ms");
    println!("first {}, median {}, longest {}", value(), value(), value());

    println!("\nabandoned endless streams, from drop to the end of the producer, ms");
    for kind in ["iterator", "stream", "silence"] {
        let measured = trio.client("abandoned").ask(kind);
        let (median, longest) = measured.split_once(' ').unwrap_or_default();
        println!("{kind:<10} median {median}, longest {longest}");
    }
}
