//! What a call costs, over three processes: latency one at a time, calls a second with many in
//! flight, and processor time of all parties.
//!
//! `cargo bench --bench calls`; on Linux only, for `/proc`.

use std::time::{Duration, Instant};

use bytes::Bytes;
use common::is_smoke;
use common::trio::{Trio, role};
use easyremote::node::Functions;
use easyremote::{Client, functions, remote};
use futures::{StreamExt, stream};

#[remote]
async fn echo(bytes: Bytes) -> Bytes {
    bytes
}

#[remote]
fn echo_sync(bytes: Bytes) -> Bytes {
    bytes
}

#[remote(stream)]
fn items(n: u64, length: u64) -> impl futures::Stream<Item = Bytes> {
    let item = Bytes::from(vec![7; length as usize]);
    stream::iter(0..n).map(move |_| item.clone())
}

fn functions() -> Functions {
    functions![echo, echo_sync, items]
}

/// Answers `kind in_flight calls length`.
async fn client(client: Client, _: String, question: String) -> String {
    let mut words = question.split(' ');
    let kind = words.next().unwrap_or_default();
    let mut number = || words.next().and_then(|word| word.parse::<usize>().ok()).unwrap_or(1);
    let (in_flight, calls, length) = (number(), number(), number());
    let bytes = Bytes::from(vec![7; length]);
    let begun = Instant::now();
    match kind {
        "latency" => {
            let mut times: Vec<Duration> = Vec::with_capacity(calls);
            for _ in 0..calls {
                let begun = Instant::now();
                echo::call(&client, bytes.clone()).await.unwrap();
                times.push(begun.elapsed());
            }
            times.sort_unstable();
            let micros = |time: Duration| time.as_secs_f64() * 1e6;
            return format!(
                "{:.0} {:.0}",
                micros(times[calls / 2]),
                micros(times[calls * 99 / 100])
            );
        }
        "items" => {
            let received = items::call(&client, calls as u64, length as u64);
            assert_eq!(received.map(Result::unwrap).count().await, calls);
        }
        kind => {
            let one = |_| {
                let (client, bytes) = (client.clone(), bytes.clone());
                async move {
                    match kind {
                        "sync" => echo_sync::call(&client, bytes).await.unwrap(),
                        _ => echo::call(&client, bytes).await.unwrap(),
                    }
                }
            };
            stream::iter(0..calls).map(one).buffer_unordered(in_flight).count().await;
        }
    }
    begun.elapsed().as_secs_f64().to_string()
}

fn main() {
    role(functions, client);
    let mut trio = Trio::start();
    let mut client = trio.client("caller");
    // So many times less than for a measurement.
    let less = if is_smoke() { 200 } else { 1 };
    client.ask(&format!("async 16 {} 64", 5_000 / less));

    let measured = client.ask(&format!("latency 1 {} 64", 10_000 / less));
    let (median, p99) = measured.split_once(' ').unwrap_or_default();
    println!("64-byte calls, one at a time: p50 {median} us, p99 {p99} us\n");

    println!(
        "                             calls/s or MB/s   CPU-s per 100,000: client gateway node"
    );
    for (kind, in_flight, calls, length, text) in [
        ("async", 16, 100_000, 64, "64 B, 16 in flight"),
        ("async", 64, 100_000, 64, "64 B, 64 in flight"),
        ("async", 256, 100_000, 64, "64 B, 256 in flight"),
        ("sync", 64, 100_000, 64, "64 B, 64 in flight, sync fn"),
        ("async", 4, 400, 1 << 20, "1 MiB, 4 in flight"),
        ("items", 1, 3_000_000, 64, "stream of 64 B items"),
        ("items", 1, 20_000, 65_536, "stream of 64 KiB items"),
    ] {
        let calls = calls / less;
        let mut parties = [&mut client, &mut trio.gateway, &mut trio.node];
        let before = parties.each_mut().map(|party| party.cpu());
        let question = format!("{kind} {in_flight} {calls} {length}");
        let seconds: f64 = parties[0].ask(&question).parse().unwrap();
        let after = parties.each_mut().map(|party| party.cpu());
        let (calls, length) = (f64::from(calls), f64::from(length));
        let cpu: Vec<String> = (0..3)
            .map(|i| format!("{:8.2}", (after[i] - before[i]).as_secs_f64() * 1e5 / calls))
            .collect();
        let rate = match length > 64.0 {
            true => format!("{:.0} MB/s", calls * length / seconds / 1e6),
            false => format!("{:.0}/s", calls / seconds),
        };
        println!("{text:<32} {rate:>14}                 {}", cpu.join(""));
    }
}
