//! One run of one party: starts its processes, asks its client, and watches what all of them use.

use std::net::SocketAddr;

use anyhow::{Context, Result};
use tempfile::TempDir;

use crate::options::Options;
use crate::process::{Process, can_pin};
use crate::rival::Shape;
use crate::table::Table;
use crate::tls;

/// The processes of one party.
struct Parties {
    middle: Option<Process>,
    node: Process,
    client: Process,
    _directory: TempDir,
}

impl Parties {
    fn start(name: &str, shape: Shape, options: &Options) -> Result<Self> {
        let directory = tempfile::tempdir()?;
        tls::create(directory.path())?;
        let start = |role: &str, target: SocketAddr| {
            Process::start(role, name, target, directory.path(), &options.runtime)
        };
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
        let (middle, node) = match shape {
            Shape::Direct => (None, start("node", nowhere)?),
            Shape::Broker => {
                let middle = start("middle", nowhere)?;
                let node = start("node", middle.address)?;
                (Some(middle), node)
            }
            Shape::Proxy => {
                let node = start("node", nowhere)?;
                (Some(start("middle", node.address)?), node)
            }
        };
        let client = start("client", middle.as_ref().unwrap_or(&node).address)?;
        Ok(Self { middle, node, client, _directory: directory })
    }

    /// Asks the client; gives the numbers of its answer.
    fn ask(&mut self, question: &str) -> Result<Vec<f64>> {
        let answer = self.client.ask(question)?;
        Ok(answer.split_whitespace().filter_map(|word| word.parse().ok()).collect())
    }

    /// Processor time of client, middle and node.
    fn cpu(&self) -> Result<[f64; 3]> {
        let middle = self.middle.as_ref().map_or(Ok(0.0), Process::cpu_seconds)?;
        Ok([self.client.cpu_seconds()?, middle, self.node.cpu_seconds()?])
    }

    /// Whom the client has dialled.
    fn front(&self) -> &Process {
        self.middle.as_ref().unwrap_or(&self.node)
    }

    fn pin(&self, processors: &str) -> Result<()> {
        [Some(&self.client), self.middle.as_ref(), Some(&self.node)]
            .into_iter()
            .flatten()
            .try_for_each(|process| process.pin(processors))
    }
}

/// Measures everything once.
pub fn run(name: &'static str, shape: Shape, options: &Options, table: &mut Table) -> Result<()> {
    let mut parties = Parties::start(name, shape, options)?;
    parties.ask("calls 500 64 64")?;
    latency(name, &mut parties, options, table)?;
    calls(name, &mut parties, options, table)?;
    streams(name, &mut parties, options, table)?;
    drop(parties);
    memory(name, shape, options, table).context("measuring memory")
}

fn latency(
    name: &'static str,
    parties: &mut Parties,
    options: &Options,
    table: &mut Table,
) -> Result<()> {
    let question = format!("latency {}", options.share(2_000));
    let times = parties.ask(&question)?;
    table.add(name, "p50 at 1 in flight, us", times.first());
    table.add(name, "p99 at 1 in flight, us", times.get(1));
    if can_pin() {
        let all = format!("0-{}", std::thread::available_parallelism()?.get() - 1);
        parties.pin("0")?;
        let times = parties.ask(&question)?;
        parties.pin(&all)?;
        table.add(name, "p50, all on one core, us", times.first());
        table.add(name, "p99, all on one core, us", times.get(1));
    }
    Ok(())
}

fn calls(
    name: &'static str,
    parties: &mut Parties,
    options: &Options,
    table: &mut Table,
) -> Result<()> {
    for (in_flight, row) in [
        (16, "calls/s, 16 in flight"),
        (64, "calls/s, 64 in flight"),
        (256, "calls/s, 256 in flight"),
    ] {
        let before = parties.cpu()?;
        let measured = parties.ask(&format!("calls {} {in_flight} 64", options.share(2_500)))?;
        let after = parties.cpu()?;
        let [calls, seconds] = measured[..] else { continue };
        table.add(name, row, Some(&(calls / seconds)));
        if in_flight == 64 {
            let [client, middle, node] =
                std::array::from_fn(|i| (after[i] - before[i]) / calls * 100_000.0);
            table.add(
                name,
                "CPU-s per 100,000 calls, 64 in flight",
                Some(&(client + middle + node)),
            );
            table.add(name, "of these the client", Some(&client));
            table.add(name, "of these the middle", parties.middle.as_ref().map(|_| &middle));
            table.add(name, "of these the node", Some(&node));
        }
    }
    let measured = parties.ask(&format!("calls {} 4 1048576", options.share(2_500)))?;
    if let [calls, seconds] = measured[..] {
        table.add(
            name,
            "1 MiB calls, 4 in flight, MB/s each way",
            Some(&(calls / seconds * 1.048_576)),
        );
    }
    Ok(())
}

fn streams(
    name: &'static str,
    parties: &mut Parties,
    options: &Options,
    table: &mut Table,
) -> Result<()> {
    let first = parties.ask(&format!("first {}", options.share(2_000)))?;
    table.add(name, "first item of a stream, us", first.first());
    for (n, length, row) in
        [(3_000_000, 64, "64-byte items, million/s"), (20_000, 65_536, "64 KiB items, MB/s")]
    {
        let n = options.share(n);
        let before = parties.cpu()?;
        let seconds = parties.ask(&format!("items {n} {length}"))?;
        let used: f64 =
            parties.cpu()?.iter().zip(before).map(|(after, before)| after - before).sum();
        let (n, length) = (n as f64, length as f64);
        let rate = seconds.first().map(|seconds| match length > 64.0 {
            true => n * length / seconds / 1e6,
            false => n / seconds / 1e6,
        });
        table.add(name, row, rate.as_ref());
        let (row, cost) = match length > 64.0 {
            true => ("CPU-s per GB of 64 KiB items", used / (n * length) * 1e9),
            false => ("CPU-s per million 64-byte items", used / n * 1e6),
        };
        table.add(name, row, rate.map(|_| cost).as_ref());
    }
    Ok(())
}

/// In processes that have done nothing else: memory that was used before would be used again.
fn memory(name: &'static str, shape: Shape, options: &Options, table: &mut Table) -> Result<()> {
    for (question, few, many, row) in [
        ("streams", 10, options.share(1_000), "KiB per idle stream, at whom the client dials"),
        ("connections", 2, options.share(200), "KiB per idle connection, at whom the client dials"),
    ] {
        let mut parties = Parties::start(name, shape, options)?;
        if parties.client.ask(&format!("{question} {few}"))?.is_empty() {
            continue;
        }
        let before = parties.front().memory_kib()?;
        parties.ask(&format!("{question} {many}"))?;
        let after = parties.front().memory_kib()?;
        table.add(name, row, Some(&((after - before) / many as f64)));
    }
    Ok(())
}
