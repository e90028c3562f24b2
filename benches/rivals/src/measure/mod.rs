//! One run of one party: starts its processes, asks its client, and watches what all of them use.

mod calls;
mod connect;
mod latency;
mod memory;
mod shapes;
mod streams;

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use crate::options::{Options, Runtime};
use crate::process::{Cast, Process};
use crate::rival::{ANYWHERE, Shape};
use crate::table::Table;
use crate::tls;

/// The parts of the table, in their order, each with processes of its own.
pub const PARTS: &[(&str, Measure)] = &[
    ("latency", latency::alone),
    ("open", latency::open),
    ("beside", latency::beside),
    ("calls", calls::in_flight),
    ("functions", calls::functions),
    ("allocations", calls::allocations),
    ("shapes", shapes::shapes),
    ("streams", streams::streams),
    ("connect", connect::connect),
    ("memory", memory::memory),
];

/// Measures a part, and adds its rows.
type Measure = fn(&Party<'_>, &mut Table) -> Result<()>;

/// Who is measured.
#[derive(Clone, Copy, Debug)]
pub struct Known {
    pub name: &'static str,
    pub shape: Shape,
    /// Whether the middle is this program.
    pub own_middle: bool,
}

/// Who is measured, and how.
pub struct Party<'a> {
    pub known: Known,
    pub options: &'a Options,
    pub runtime: Runtime,
}

impl Party<'_> {
    /// Measures once what is wanted. A part that fails is left out, and said to be.
    pub fn run(&self, table: &mut Table) {
        for (part, measure) in PARTS {
            if !self.options.wants_rows(part) {
                continue;
            }
            if let Err(error) = measure(self, table) {
                eprintln!("{}: measuring `{part}`: {error:#}", self.known.name);
                table.fail(self.known.name, part);
            }
        }
    }

    /// Processes with one node, and nothing done yet.
    fn start(&self) -> Result<Processes> {
        self.start_nodes(1)
    }

    /// The same with so many nodes, of which those without a middle can have but one.
    fn start_nodes(&self, n: u64) -> Result<Processes> {
        let directory = tempfile::tempdir()?;
        tls::create(directory.path())?;
        let cast = self.cast(&directory);
        let one = |role: &str, targets: &[_]| {
            cast.start(role, targets, 1)?.pop().context("one was started")
        };
        let (middle, nodes) = match self.known.shape {
            Shape::Direct => (None, cast.start("node", &[ANYWHERE], 1)?),
            Shape::Broker => {
                let middle = one("middle", &[ANYWHERE])?;
                let nodes = cast.start("node", &[middle.address], n)?;
                (Some(middle), nodes)
            }
            Shape::Proxy => {
                let nodes = cast.start("node", &[ANYWHERE], n)?;
                let addresses: Vec<_> = nodes.iter().map(|node| node.address).collect();
                (Some(one("middle", &addresses)?), nodes)
            }
        };
        let front = middle.as_ref().or(nodes.first()).context("nobody was started")?;
        let client = one("client", &[front.address])?;
        Ok(Processes { middle, nodes, client, directory })
    }

    /// The same after some calls, so that all that is made once has been.
    fn start_warm(&self) -> Result<Processes> {
        let mut processes = self.start()?;
        processes.warm_up(self.options)?;
        Ok(processes)
    }

    fn cast<'a>(&'a self, directory: &'a TempDir) -> Cast<'a> {
        Cast { name: self.known.name, runtime: self.runtime, directory: directory.path() }
    }

    fn add(&self, table: &mut Table, row: &'static str, value: Option<f64>) {
        table.add(self.known.name, row, value);
    }
}

/// The processes of one party.
struct Processes {
    middle: Option<Process>,
    nodes: Vec<Process>,
    client: Process,
    directory: TempDir,
}

impl Processes {
    fn warm_up(&mut self, options: &Options) -> Result<()> {
        let question = format!("calls {} 64 64", options.ms(500).max(100));
        self.ask::<2>(&question).map(drop)
    }

    /// Asks the client; `None` if the party does not have what is asked for.
    fn ask<const N: usize>(&mut self, question: &str) -> Result<Option<[f64; N]>> {
        let answer = self.client.ask(question)?;
        let numbers: Vec<f64> =
            answer.split_whitespace().map(str::parse).collect::<Result<_, _>>()?;
        let n = numbers.len();
        ensure!(n == N || n == 0, "asked `{question}`, answered `{answer}`");
        Ok(numbers.try_into().ok())
    }

    /// The same, and the processor time that client, middle and nodes used meanwhile.
    fn ask_cost<const N: usize>(&mut self, question: &str) -> Result<Option<([f64; N], [f64; 3])>> {
        let before = self.cpu()?;
        let answer = self.ask(question)?;
        let after = self.cpu()?;
        Ok(answer.map(|answer| (answer, std::array::from_fn(|i| after[i] - before[i]))))
    }

    /// Processor time of client, middle and nodes.
    fn cpu(&self) -> Result<[f64; 3]> {
        let middle = self.middle.as_ref().map_or(Ok(0.0), Process::cpu_seconds)?;
        let nodes: f64 = self.nodes.iter().map(Process::cpu_seconds).sum::<Result<_>>()?;
        Ok([self.client.cpu_seconds()?, middle, nodes])
    }

    /// Whom the client has dialled.
    fn front(&self) -> &Process {
        self.middle.as_ref().unwrap_or(&self.nodes[0])
    }

    fn pin(&self, processors: &str) -> Result<()> {
        let others = self.middle.iter().chain(&self.nodes);
        std::iter::once(&self.client).chain(others).try_for_each(|process| process.pin(processors))
    }
}
