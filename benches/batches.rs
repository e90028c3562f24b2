//! What batches are worth: calls a second of a function whose run takes 5 ms, whatever it is given,
//! and of its twin without batches. Both run one at a time, like a model on a GPU.
//!
//! `cargo bench --bench batches`; on Linux only, as it uses the processes of `calls`.

use std::time::{Duration, Instant};

use common::is_smoke;
use common::trio::{Trio, role};
use easyremote::node::Functions;
use easyremote::{Client, functions, remote};
use futures::{StreamExt, stream};

const RUN: Duration = Duration::from_millis(5);

#[remote(concurrency = 1)]
fn single(number: u64) -> u64 {
    std::thread::sleep(RUN);
    number
}

#[remote(batch(max = 32, wait = "5ms"), concurrency = 1)]
fn batched(numbers: Vec<u64>) -> Vec<u64> {
    std::thread::sleep(RUN);
    numbers
}

#[remote(batch(max = 32, wait = "5ms"), concurrency = 1)]
async fn batched_async(numbers: Vec<u64>) -> Vec<u64> {
    tokio::time::sleep(RUN).await;
    numbers
}

/// Takes no time: what batching itself costs.
#[remote(batch(max = 32, wait = "5ms"), concurrency = 1)]
async fn nothing(numbers: Vec<u64>) -> Vec<u64> {
    numbers
}

fn functions() -> Functions {
    functions![single, batched, batched_async, nothing]
}

/// Answers `function in_flight calls` with the calls per second, the mean size of a batch, and the
/// median and the 99th percentile of the latency in milliseconds.
async fn client(client: Client, _: String, question: String) -> String {
    let mut words = question.split(' ');
    let function = words.next().unwrap_or_default();
    let mut number = || words.next().and_then(|word| word.parse::<usize>().ok()).unwrap_or(1);
    let (in_flight, calls) = (number(), number());
    let one = |n: usize| {
        let (client, n) = (client.clone(), n as u64);
        async move {
            let begun = Instant::now();
            let (_, trace) = match function {
                "single" => single::call(&client, n).traced().await,
                "batched" => batched::call(&client, n).traced().await,
                "batched_async" => batched_async::call(&client, n).traced().await,
                _ => nothing::call(&client, n).traced().await,
            }
            .unwrap();
            (begun.elapsed(), trace.batch.map_or(1, |batch| batch.size))
        }
    };
    let begun = Instant::now();
    let ended: Vec<_> = stream::iter(0..calls).map(one).buffer_unordered(in_flight).collect().await;
    let rate = calls as f64 / begun.elapsed().as_secs_f64();
    let runs: f64 = ended.iter().map(|(_, size)| 1.0 / f64::from(*size)).sum();
    let mut times: Vec<Duration> = ended.iter().map(|(time, _)| *time).collect();
    times.sort_unstable();
    let at = |part: usize| times[(calls - 1) * part / 100].as_secs_f64() * 1e3;
    format!("{rate:.0} {:.1} {:.1} {:.1}", calls as f64 / runs, at(50), at(99))
}

fn main() {
    role(functions, client);
    let trio = Trio::start();
    let mut client = trio.client("caller");
    // So many times less than for a measurement.
    let less = if is_smoke() { 40 } else { 1 };
    client.ask(&format!("batched 64 {}", 2_000 / less));
    println!("| function | in flight | calls/s | mean batch | p50, ms | p99, ms |");
    println!("|---|---|---|---|---|---|");
    let mut rates = Vec::new();
    for (function, in_flight, calls) in [
        ("single", 1, 400),
        ("batched", 1, 200),
        ("single", 64, 1_000),
        ("batched", 64, 20_000),
        ("single", 256, 1_000),
        ("batched", 256, 20_000),
        ("batched_async", 256, 20_000),
        ("nothing", 256, 100_000),
    ] {
        let answer = client.ask(&format!("{function} {in_flight} {}", calls / less));
        let fields: Vec<&str> = answer.split(' ').collect();
        println!("| `{function}` | {in_flight} | {} |", fields.join(" | "));
        rates.push(fields[0].parse::<f64>().unwrap_or_default());
    }
    let gain = rates[5] / rates[4];
    println!("\nwith 256 callers, batches serve {gain:.1} times the calls");
    assert!(is_smoke() || gain >= 10.0, "batches are worth less than they should be");
}
