//! The parties of a campaign: a gateway and nodes as processes, clients, and proxies between them.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use common::process::{Process, question, tell};
use common::proxy::Proxy;
use common::{found_in, patient, soon, until};
use easyremote::{Client, Node};
use tempfile::TempDir;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Mutex;

use crate::calls::Caller;
use crate::functions::{self, Log};

const ADDRESS: &str = "CAMPAIGN_ADDRESS";
const STATE: &str = "CAMPAIGN_STATE";
const ID: &str = "CAMPAIGN_ID";
const LOG: &str = "CAMPAIGN_LOG";

const NODES: usize = 3;
const CLIENTS: usize = 4;

/// Who has a process may do something to it; nobody else does then.
pub(crate) type Held = Arc<Mutex<Process>>;

pub(crate) struct World {
    state: TempDir,
    address: String,
    pub(crate) gateway: Held,
    pub(crate) nodes: Vec<Held>,
    /// Those of the nodes, then those of the clients, and of the other program.
    pub(crate) links: Vec<Arc<Mutex<Proxy>>>,
    /// Where nodes find their links.
    link_addresses: Vec<String>,
    pub(crate) clients: Vec<Client>,
    /// Of another program, which finds what the clients have left. Its calls are not counted.
    other: Client,
}

impl World {
    pub(crate) async fn start(seed: u64) -> Self {
        let state = tempfile::tempdir().unwrap();
        note_panics(state.path());
        let mut gateway = gateway_process("127.0.0.1:0", state.path());
        let address = gateway.line("listening ");
        let links: Vec<_> = (0..(NODES + CLIENTS + 1) as u64)
            .map(|n| Proxy::start(address.parse().unwrap(), seed.wrapping_add(n)))
            .collect();
        let mut clients = Vec::new();
        for (n, link) in links[NODES..].iter().enumerate() {
            let client = Client::builder(link.address()).dial(found_in(state.path()));
            // Every other one gives each call a stream of its own.
            clients.push(soon(client.multiplex(n % 2 == 0).connect()).await.unwrap());
        }
        let other = clients.pop().unwrap();
        let mut world = Self {
            state,
            address,
            gateway: Arc::new(Mutex::new(gateway)),
            nodes: Vec::new(),
            link_addresses: links.iter().map(|link| link.address().to_string()).collect(),
            links: links.into_iter().map(|link| Arc::new(Mutex::new(link))).collect(),
            clients,
            other,
        };
        world.nodes = (0..NODES).map(|n| Arc::new(Mutex::new(world.node_process(n)))).collect();
        world
    }

    /// Starts the gateway, in place of one that has ended.
    pub(crate) fn gateway_process(&self) -> Process {
        gateway_process(&self.address, self.state.path())
    }

    /// Starts node number `n`; it registers when it can.
    pub(crate) fn node_process(&self, n: usize) -> Process {
        let log = self.log(n);
        let environment = [
            (ADDRESS, &*self.link_addresses[n]),
            (STATE, self.state.path().to_str().unwrap()),
            (ID, &format!("node-{n}")),
            (LOG, log.to_str().unwrap()),
        ];
        Process::start("node_process", environment)
    }

    fn log(&self, n: usize) -> PathBuf {
        self.state.path().join(format!("node-{n}.log"))
    }

    /// What the nodes have written down.
    pub(crate) fn logs(&self) -> impl Iterator<Item = (usize, PathBuf)> {
        (0..NODES).map(|n| (n, self.log(n)))
    }

    /// Those who make calls, one for each client.
    pub(crate) fn callers(&self) -> impl Iterator<Item = Caller> + Clone {
        let caller = |client: &Client| Caller { client: client.clone(), other: self.other.clone() };
        self.clients.iter().map(caller)
    }

    /// What has panicked, in any process.
    pub(crate) fn panics(&self) -> String {
        std::fs::read_to_string(self.state.path().join(PANICS)).unwrap_or_default()
    }

    /// What the gateway says about itself: calls in flight, calls that wait, nodes, and KiB of memory.
    pub(crate) async fn gateway_stats(&self) -> [u64; 4] {
        ask(&self.gateway).await
    }

    /// Waits until every node is registered and nobody has any calls.
    pub(crate) async fn is_calm(&self) {
        for node in &self.nodes {
            // No party sends a call again that has started: a node never has to refuse one.
            let calm = |figures: [u64; 4]| figures == [1, 0, 0, 0];
            until_it_says(node, calm).await;
        }
        let calm = |[in_flight, waiting, nodes, _]: [u64; 4]| {
            in_flight == 0 && waiting == 0 && nodes == NODES as u64
        };
        until_it_says(&self.gateway, calm).await;
        for client in self.clients.iter().chain([&self.other]) {
            let is_calm = || {
                let stats = client.stats();
                stats.connected
                    && [stats.in_flight, stats.streams, stats.queued, stats.queued_bytes] == [0; 4]
            };
            until(is_calm).await;
        }
    }

    /// What the clients have counted: calls, retries and reconnects. Of the other program only
    /// retries and reconnects count.
    pub(crate) fn counted(&self) -> [u64; 3] {
        let [_, retries, reconnects] = figures(&self.other);
        self.clients.iter().map(figures).fold([0, retries, reconnects], |sum, figures| {
            [sum[0] + figures[0], sum[1] + figures[1], sum[2] + figures[2]]
        })
    }
}

/// Calls, retries and reconnects of a client.
fn figures(client: &Client) -> [u64; 3] {
    let stats = client.stats();
    [stats.calls, stats.retries, stats.reconnects]
}

/// Writes down what panics in this process, besides saying so.
fn note_panics(state: &Path) {
    let file = state.join(PANICS);
    let print = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        print(panic);
        // After the campaign the directory is gone.
        if let Ok(mut panics) = File::options().create(true).append(true).open(&file) {
            let _ = writeln!(panics, "{panic}");
        }
    }));
}

const PANICS: &str = "panics";

fn gateway_process(address: &str, state: &Path) -> Process {
    let environment = [(ADDRESS, address), (STATE, state.to_str().unwrap())];
    Process::start("gateway_process", environment)
}

/// Asks a process for its figures.
async fn ask<const N: usize>(process: &Held) -> [u64; N] {
    let mut process = process.clone().lock_owned().await;
    let asked = tokio::task::spawn_blocking(move || process.ask("stats"));
    let figures = soon(asked).await.unwrap();
    let figures: Vec<_> = figures.split(' ').map(|figure| figure.parse().unwrap()).collect();
    figures.try_into().unwrap()
}

async fn until_it_says<const N: usize>(process: &Held, fine: impl Fn([u64; N]) -> bool) {
    let mut looks = tokio::time::interval(Duration::from_millis(50));
    let mut last = None;
    let wait = async {
        while !last.is_some_and(&fine) {
            looks.tick().await;
            last = Some(ask(process).await);
        }
    };
    let calm = tokio::time::timeout(Duration::from_secs(60), wait).await;
    assert!(calm.is_ok(), "not calm after a minute: {last:?}");
}

/// What the gateway's process does.
pub(crate) async fn be_gateway() {
    let (Ok(address), Err(_)) = (std::env::var(ADDRESS), std::env::var(ID)) else { return };
    let state = std::env::var(STATE).unwrap();
    note_panics(Path::new(&state));
    let gateway = common::gateway_at(address).state_dir(state).serve().await.unwrap();
    tell(format_args!("listening {}", gateway.local_addr()));
    while question().await.is_some() {
        let stats = gateway.stats();
        let (in_flight, waiting, nodes) = (stats.in_flight, stats.waiting, stats.nodes);
        tell(format_args!("stats {in_flight} {waiting} {nodes} {}", memory_kib()));
    }
}

/// Resident memory of this process.
fn memory_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// How long the calls of a node that drains have: longer than any takes.
const GRACE: Duration = Duration::from_secs(5);

/// What a node's process does.
pub(crate) async fn be_node() {
    let Ok(id) = std::env::var(ID) else { return };
    let mut terminated = signal(SignalKind::terminate()).unwrap();
    let state = std::env::var(STATE).unwrap();
    note_panics(Path::new(&state));
    let log = Log::open(Path::new(&std::env::var(LOG).unwrap()));
    let builder = Node::builder(std::env::var(ADDRESS).unwrap());
    let builder = builder.dial(found_in(state)).id(id).state(log);
    let builder = builder.dial(patient(Duration::MAX)).concurrency(CONCURRENCY);
    let node = tokio::select! {
        node = builder.functions(functions::all()).serve() => node.unwrap(),
        _ = terminated.recv() => return,
    };
    loop {
        tokio::select! {
            _ = terminated.recv() => {
                node.drain(GRACE).await;
                // Not by returning: the runtime would wait for the thread that reads questions.
                std::process::exit(0);
            }
            asked = question() => match asked {
                Some(_) => {
                    let stats = node.stats();
                    let (in_flight, waiting) = (stats.in_flight, stats.waiting);
                    let (gateways, repeats) = (stats.gateways, stats.repeats);
                    tell(format_args!("stats {gateways} {in_flight} {waiting} {repeats}"));
                }
                None => return,
            },
        }
    }
}

/// Few enough that calls wait at the gateway when another node is away.
const CONCURRENCY: usize = 8;
