//! How the cost of one gateway grows with what is connected to it: nodes, functions, calls and
//! streams that are open, and clients that do nothing.
//!
//! `cargo bench --bench scale`; on Linux only, for `/proc`. The gateway is a process of its own, all
//! nodes are another, and all clients a third. The figures are the gateway's but for the time of a
//! call, which is seen by a client that makes calls beside all that is there already.

mod parts;

use std::time::Duration;

use common::is_smoke;
use common::process::Process;

/// The gateway, the process of the nodes, and that of the clients.
struct World {
    gateway: Process,
    nodes: Process,
    clients: Process,
    _state: tempfile::TempDir,
}

impl World {
    fn start() -> Self {
        let state = tempfile::tempdir().unwrap();
        let directory = state.path().to_str().unwrap();
        let start = |part: &str, address: &str| {
            let environment =
                [(parts::PART, part), (parts::ADDRESS, address), (parts::DIRECTORY, directory)];
            let mut process = Process::start(part, environment);
            let ready = process.line("ready ");
            (process, ready)
        };
        let (gateway, address) = start("gateway", "127.0.0.1:0");
        let (mut nodes, _) = start("nodes", &address);
        nodes.ask("nodes 1");
        let (clients, _) = start("clients", &address);
        Self { gateway, nodes, clients, _state: state }
    }

    /// Measures, and prints a row.
    fn row(&mut self, n: u64) {
        let less = if is_smoke() { 40 } else { 1 };
        let idle = Duration::from_millis(2_000 / less);
        // Otherwise what is measured is how the peers arrived.
        self.clients.ask(&format!("rate {}", 200 / less));
        let before = cpu_seconds(&self.gateway);
        std::thread::sleep(idle);
        let idle = (cpu_seconds(&self.gateway) - before) / idle.as_secs_f64() * 100.0;
        let memory = memory_kib(&self.gateway);
        let latency = numbers(&self.clients.ask(&format!("latency {}", 1_000 / less)));
        let before = cpu_seconds(&self.gateway);
        let rate = numbers(&self.clients.ask(&format!("rate {}", 2_000 / less)));
        let cost = (cpu_seconds(&self.gateway) - before) / rate[0] * 100_000.0;
        println!(
            "| {n} | {:.0} | {:.0} | {:.0} | {cost:.2} | {idle:.1} % | {:.1} |",
            latency[0],
            latency[1],
            rate[0] / rate[1],
            memory / 1024.0
        );
    }
}

fn numbers(answer: &str) -> Vec<f64> {
    answer.split_whitespace().map(|number| number.parse().unwrap()).collect()
}

/// User and system time (proc(5), fields 14 and 15), which come in ticks of 10 ms.
fn cpu_seconds(process: &Process) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", process.id())).unwrap();
    let (_, after_name) = stat.rsplit_once(')').unwrap();
    let ticks = after_name.split_whitespace().skip(11).take(2);
    ticks.map(|ticks| ticks.parse::<f64>().unwrap()).sum::<f64>() / 100.0
}

fn memory_kib(process: &Process) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", process.id())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// So many roles fit into one process: each has a socket, an event queue and its wake-ups.
fn most_roles() -> u64 {
    const FILES_PER_ROLE: u64 = 6;
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap();
    let line = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    // The soft limit; what is unlimited is not a number.
    let files = line.split_whitespace().nth(3).unwrap().parse().unwrap_or(u64::MAX);
    files.saturating_sub(64) / FILES_PER_ROLE
}

fn table(title: &str, unit: &str) {
    println!("\n{title}\n");
    println!(
        "| {unit} | p50, us | p99, us | calls/s, 64 in flight | gateway: CPU-s per 100,000 | \
         idle CPU | memory, MiB |\n|---|---|---|---|---|---|---|"
    );
}

fn main() {
    parts::play();
    // The two least sizes are enough to go through all there is.
    let most_sizes = if is_smoke() { 2 } else { usize::MAX };
    let most = most_roles();
    println!("this process may have the files of {most} roles (`ulimit -n`)");

    for (title, question, sizes) in [
        ("Nodes beside the one that is called", "others", &[1, 100, 1_000][..]),
        ("Nodes that all offer the function that is called", "nodes", &[1, 100, 1_000]),
        (
            "Functions beside the one that is called, 1,000 a node",
            "functions",
            &[10, 100, 1_000, 10_000],
        ),
    ] {
        let mut world = World::start();
        table(title, question);
        let sizes = sizes.iter().take(most_sizes);
        for &n in sizes.filter(|&&n| n <= most || question == "functions") {
            world.nodes.ask(&format!("{question} {n}"));
            world.row(n);
        }
    }
    let mut connecting = String::new();
    for (title, question, sizes) in [
        (
            "Calls under way beside those that are measured, 1,000 a client",
            "calls",
            &[1, 100, 1_000, 10_000][..],
        ),
        ("Streams that are open and silent, 1,000 a client", "streams", &[1, 100, 1_000, 10_000]),
        ("Clients that do nothing", "idle", &[1, 100, 1_000, 2_000]),
    ] {
        let mut world = World::start();
        // A node takes 4,096 calls.
        world.nodes.ask("nodes 4");
        table(title, question);
        let (mut before, mut peers) = (cpu_seconds(&world.gateway), 0);
        let sizes = sizes.iter().take(most_sizes);
        for &n in sizes.filter(|&&n| n <= most || question != "idle") {
            world.clients.ask(&format!("{question} {n}"));
            if question == "idle" {
                let each = (cpu_seconds(&world.gateway) - before) / (n - peers) as f64 * 1e3;
                connecting = format!("{each:.2} ms");
            }
            world.row(n);
            (before, peers) = (cpu_seconds(&world.gateway), n);
        }
    }
    println!("\nEach of the last clients cost the gateway {connecting} of a processor to connect.");
}
