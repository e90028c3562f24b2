//! What a second thread of a gateway is worth: how much each thread has to do for the same calls,
//! and what a call costs that is alone.
//!
//! `cargo bench --bench threads`; on Linux only, for `/proc`. The gateway is a process of its own,
//! all nodes are another, and all clients a third. A machine of few cores has none to spare for
//! each thread, so calls per second would say more of the machine than of the gateway. Calls per
//! processor second of the busiest thread are what the gateway would reach where that thread is the
//! limit.

use std::fs;
use std::time::{Duration, Instant};

use bytes::Bytes;
use common::process::{Process, question, tell};
use common::{is_smoke, keep_calling};
use easyremote::auth::DialOptions;
use easyremote::{Client, Gateway, Node, Options, functions, remote};
use futures::future::try_join_all;

const PART: &str = "THREADS_PART";
const ADDRESS: &str = "THREADS_ADDRESS";
const DIRECTORY: &str = "THREADS_DIRECTORY";

/// Together 32 connections.
const NODES: usize = 8;
const CLIENTS: usize = 24;

/// Of all clients together.
const IN_FLIGHT: usize = 256;

#[remote]
async fn echo(bytes: Bytes) -> Bytes {
    bytes
}

/// In a child: plays its part, and does not return.
fn play() {
    let Ok(part) = std::env::var(PART) else { return };
    let environment = |name| std::env::var(name).unwrap();
    let (address, directory) = (environment(ADDRESS), environment(DIRECTORY));
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let dial = || DialOptions::new().state_dir(&directory);
        match part.as_str() {
            "nodes" => {
                let node = |i| {
                    let builder = Node::builder(&*address).dial(dial()).id(id(i));
                    builder.functions(functions![echo]).serve()
                };
                let nodes = try_join_all((0..NODES).map(node)).await.unwrap();
                tell("ready nodes");
                while question().await.is_some() {}
                drop(nodes);
            }
            "clients" => {
                let client = |_| Client::builder(&*address).dial(dial()).connect();
                serve_clients(&try_join_all((0..CLIENTS).map(client)).await.unwrap()).await;
            }
            threads => {
                let threads = threads.parse().unwrap();
                let gateway = Gateway::builder(address).state_dir(directory).threads(threads);
                let gateway = gateway.serve().await.unwrap();
                tell(format_args!("ready {}", gateway.local_addr()));
                while question().await.is_some() {}
            }
        }
    });
    std::process::exit(0);
}

/// Answers `alone MS` and `load MS`.
async fn serve_clients(clients: &[Client]) {
    tell("ready clients");
    while let Some(question) = question().await {
        let (kind, ms) = question.split_once(' ').unwrap();
        let during = Duration::from_millis(ms.parse().unwrap());
        let answer = match kind {
            "alone" => alone(clients, during).await,
            _ => load(clients, during).await,
        };
        tell(format_args!("{question} {answer}"));
    }
}

/// One call at a time, between one pair of client and node after another. Of the medians of the
/// pairs, in us: the tenth from below of a hundred, the median, and the tenth from above. With two
/// threads, the first is that of peers of one thread, and the last that of peers of different ones.
async fn alone(clients: &[Client], during: Duration) -> String {
    let each = during / (clients.len() * NODES) as u32;
    let mut pairs = Vec::new();
    for (client, node) in clients.iter().flat_map(|client| (0..NODES).map(move |i| (client, i))) {
        let at = client.with(Options::new().on(id(node)));
        let (begun, mut times) = (Instant::now(), Vec::new());
        while begun.elapsed() < each || times.is_empty() {
            let begun = Instant::now();
            echo::call(&at, Bytes::from_static(&[7; 64])).await.unwrap();
            times.push(begun.elapsed().as_secs_f64() * 1e6);
        }
        pairs.push(median(&mut times));
    }
    let p50 = median(&mut pairs);
    format!("{} {p50} {}", pairs[pairs.len() / 10], pairs[pairs.len() * 9 / 10])
}

fn id(node: usize) -> String {
    format!("node-{node}")
}

/// All clients at once: the number of calls, and the seconds.
async fn load(clients: &[Client], during: Duration) -> String {
    let callers = clients.iter().cycle().take(IN_FLIGHT).cloned();
    let call = |client: Client| async move {
        echo::call(&client, Bytes::from_static(&[7; 64])).await.unwrap();
        client
    };
    let (done, seconds) = keep_calling(callers, during, call).await;
    format!("{done} {seconds}")
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values[values.len() / 2]
}

fn numbers(answer: &str) -> Vec<f64> {
    answer.split_whitespace().map(|number| number.parse().unwrap()).collect()
}

/// Seconds that each thread of a gateway has used (proc(5): fields 14 and 15 of `stat`, in ticks of
/// 10 ms), by its id.
fn cpu_seconds(gateway: &Process) -> Vec<(u32, f64)> {
    let tasks = fs::read_dir(format!("/proc/{}/task", gateway.id())).unwrap();
    let mut threads = Vec::new();
    for task in tasks.map(Result::unwrap) {
        // The threads of the program's runtime have other names.
        let name = fs::read_to_string(task.path().join("comm")).unwrap();
        if !name.starts_with("easyremote-g") {
            continue;
        }
        let stat = fs::read_to_string(task.path().join("stat")).unwrap();
        let (_, after_name) = stat.rsplit_once(')').unwrap();
        let ticks = after_name.split_whitespace().skip(11).take(2);
        let seconds = ticks.map(|ticks| ticks.parse::<f64>().unwrap()).sum::<f64>() / 100.0;
        threads.push((task.file_name().to_str().unwrap().parse().unwrap(), seconds));
    }
    threads.sort_unstable_by_key(|(id, _)| *id);
    threads
}

/// What one gateway has shown.
struct Round {
    /// Calls per processor second of the thread that used most, in thousands.
    of_busiest: f64,
    /// Calls per processor second of all threads, in thousands.
    of_all: f64,
    per_second: f64,
    /// Of a call alone: see [`alone`].
    p10_of_p50: f64,
    p50: f64,
    p90_of_p50: f64,
}

impl Round {
    /// Measures a gateway with `threads` threads, and new peers.
    fn measure(threads: usize) -> Self {
        let state = tempfile::tempdir().unwrap();
        let directory = state.path().to_str().unwrap();
        let start = |part: &str, address: &str| {
            let environment = [(PART, part), (ADDRESS, address), (DIRECTORY, directory)];
            let mut process = Process::start(part, environment);
            let ready = process.line("ready ");
            (process, ready)
        };
        let (gateway, address) = start(&threads.to_string(), "127.0.0.1:0");
        let (_nodes, _) = start("nodes", &address);
        let (mut clients, _) = start("clients", &address);
        let less = if is_smoke() { 20 } else { 1 };
        clients.ask(&format!("load {}", 1_000 / less));
        let alone = numbers(&clients.ask(&format!("alone {}", 3_000 / less)));
        let before = cpu_seconds(&gateway);
        let load = numbers(&clients.ask(&format!("load {}", 4_000 / less)));
        let after = cpu_seconds(&gateway);
        assert_eq!(after.len(), threads, "threads of the gateway");
        let used: Vec<f64> = after.iter().zip(before).map(|(after, it)| after.1 - it.1).collect();
        Self {
            of_busiest: load[0] / used.iter().copied().fold(0.01, f64::max) / 1e3,
            of_all: load[0] / used.iter().sum::<f64>().max(0.01) / 1e3,
            per_second: load[0] / load[1],
            p10_of_p50: alone[0],
            p50: alone[1],
            p90_of_p50: alone[2],
        }
    }

    fn print(&self, title: &str) {
        println!(
            "| {title} | {:.0} | {:.0} | {:.0} | {:.0} | {:.0} | {:.0} |",
            self.of_busiest,
            self.of_all,
            self.per_second,
            self.p10_of_p50,
            self.p50,
            self.p90_of_p50
        );
    }
}

fn main() {
    play();
    println!(
        "{CLIENTS} clients and {NODES} nodes, {IN_FLIGHT} calls of 64 bytes in flight; each round \
         with new peers,\nwhose threads are random. p50 of a call alone, in us: of nearly the \
         fastest pair of peers, of\nall, and of nearly the slowest.\n"
    );
    println!(
        "| threads | thousand calls per CPU-s of the busiest | of all | calls/s | p50 | | |\n\
         |---|---|---|---|---|---|---|"
    );
    let mut rounds = [1, 2].map(|threads| (threads, Vec::new()));
    for _ in 0..if is_smoke() { 1 } else { 7 } {
        // In turn, so that what else the machine does concerns both.
        for (threads, rounds) in &mut rounds {
            let round = Round::measure(*threads);
            round.print(&threads.to_string());
            rounds.push(round);
        }
    }
    let medians = rounds.map(|(threads, rounds)| {
        let of = |get: fn(&Round) -> f64| median(&mut rounds.iter().map(get).collect::<Vec<_>>());
        let median = Round {
            of_busiest: of(|it| it.of_busiest),
            of_all: of(|it| it.of_all),
            per_second: of(|it| it.per_second),
            p10_of_p50: of(|it| it.p10_of_p50),
            p50: of(|it| it.p50),
            p90_of_p50: of(|it| it.p90_of_p50),
        };
        median.print(&format!("{threads}, median"));
        median
    });
    let [one, two] = medians;
    println!(
        "\n2 threads against 1: {:.2} x calls per CPU-s of the busiest, {:.2} x p50",
        two.of_busiest / one.of_busiest,
        two.p50 / one.p50
    );
}
