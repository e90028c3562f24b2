//! A gateway and nodes as processes, which drain when they are asked to end.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use common::process::{Process, question, tell};
use common::{found_in, soon};
use easyremote::client::ClientLimits;
use easyremote::node::Functions;
use easyremote::{Client, Context, Node, Role, functions, remote};
use futures::{Stream, StreamExt, stream};
use tempfile::TempDir;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{interval, sleep, timeout};

const ROLE: &str = "PROMISES_ROLE";
const ADDRESS: &str = "PROMISES_ADDRESS";
pub(crate) const STATE: &str = "PROMISES_STATE";
const ID: &str = "PROMISES_ID";

/// How long a party that drains waits for its calls: longer than any of them takes.
const GRACE: Duration = Duration::from_secs(60);

/// Whose jobs are not those of the others.
const STRANGER: &str = "stranger";

/// Takes a moment, so that there are calls under way at any time.
#[remote]
pub(crate) async fn double(n: u64) -> u64 {
    sleep(Duration::from_millis(20)).await;
    2 * n
}

/// The numbers below `n`, with pauses.
#[remote(stream)]
pub(crate) fn count(n: u64) -> impl Stream<Item = u64> {
    stream::unfold(0, move |i| async move {
        sleep(Duration::from_millis(10)).await;
        (i < n).then_some((i, i + 1))
    })
}

/// So many tenths of a second.
#[remote(stream)]
pub(crate) fn tenths(n: u64) -> impl Stream<Item = u64> {
    stream::unfold(0, move |i| async move {
        sleep(Duration::from_millis(100)).await;
        (i < n).then_some((i, i + 1))
    })
}

/// As long, with one result.
#[remote]
pub(crate) async fn rest(tenths: u64) -> u64 {
    sleep(Duration::from_millis(100 * tenths)).await;
    tenths
}

#[remote(stream)]
pub(crate) fn endless() -> impl Stream<Item = u64> {
    stream::iter(0..)
}

/// Numbers with so much beside them that only a part of a long stream is ever on its way.
#[remote(stream)]
pub(crate) fn entries() -> impl Stream<Item = (u64, Bytes)> {
    entries_from(0)
}

/// The same, which go on at any node.
#[remote(stream, idempotent)]
pub(crate) fn onward(#[resume] done: u64) -> impl Stream<Item = (u64, Bytes)> {
    entries_from(done)
}

fn entries_from(first: u64) -> impl Stream<Item = (u64, Bytes)> {
    let bytes = Bytes::from(vec![7; 4 << 10]);
    stream::iter(first..).map(move |n| (n, bytes.clone()))
}

/// A sensor: a number every millisecond, when it was read, and what comes with it.
#[remote(stream)]
pub(crate) fn readings() -> impl Stream<Item = (u64, SystemTime, Bytes)> {
    let (ticks, bytes) = (interval(Duration::from_millis(1)), Bytes::from(vec![7; 4 << 10]));
    stream::unfold((ticks, 0), move |(mut ticks, n)| {
        let bytes = bytes.clone();
        async move {
            ticks.tick().await;
            Some(((n, SystemTime::now(), bytes), (ticks, n + 1)))
        }
    })
}

/// Takes so many tenths of a second, and then as long as there is no such file; says how far it is.
/// Returns how often it ran before, too.
#[remote]
pub(crate) async fn train(#[ctx] ctx: &Context, tenths: u64, file: PathBuf) -> (u64, u64) {
    static RUNS: AtomicU64 = AtomicU64::new(0);
    let (before, mut passed) = (RUNS.fetch_add(1, Ordering::Relaxed), 0);
    while passed < tenths || !file.exists() {
        ctx.progress(passed as f64 / (passed + tenths) as f64, format!("{passed} tenths"));
        sleep(Duration::from_millis(100)).await;
        passed += 1;
    }
    (tenths, before)
}

/// The file without which no job ends.
pub(crate) fn end_of_jobs(state: impl AsRef<Path>) -> PathBuf {
    state.as_ref().join("end of jobs")
}

/// How many numbers have come, their sum, and whether one was out of order.
#[remote(resumable)]
pub(crate) async fn summed(numbers: impl Stream<Item = (u64, Bytes)>) -> (u64, u64, bool) {
    let none = (0, 0, false);
    numbers.fold(none, async |(n, sum, wrong), (i, _)| (n + 1, sum + i, wrong || i != n)).await
}

/// The same piece of memory again and again.
#[remote(stream)]
pub(crate) fn bulk(length: usize) -> impl Stream<Item = Bytes> {
    stream::repeat(Bytes::from(vec![7; length]))
}

pub(crate) fn functions() -> Functions {
    functions![double, count, tenths, rest, endless, entries, onward, readings, train, summed, bulk]
}

/// A gateway's process, and what others need to find it.
pub(crate) struct Parts {
    pub(crate) gateway: Process,
    address: String,
    state: Arc<TempDir>,
}

impl Parts {
    pub(crate) fn start() -> Self {
        Self::with(Arc::new(tempfile::tempdir().unwrap()))
    }

    /// Another gateway of the same identity.
    pub(crate) fn beside(&self) -> Self {
        Self::with(self.state.clone())
    }

    fn with(state: Arc<TempDir>) -> Self {
        let mut gateway = start("gateway", "127.0.0.1:0", &state, "");
        let address = gateway.line("ready ");
        Self { gateway, address, state }
    }

    /// Lets jobs end.
    pub(crate) fn end_jobs(&self) {
        std::fs::write(end_of_jobs(self.state.path()), "").unwrap();
    }

    /// Kills the gateway, and starts it again.
    pub(crate) fn kill_gateway(&mut self) {
        self.gateway.kill();
        self.start_gateway_again();
    }

    /// Starts the gateway again, which has ended.
    pub(crate) fn start_gateway_again(&mut self) {
        self.gateway = start("gateway", &self.address, &self.state, "");
        self.gateway.line("ready ");
    }

    /// The ticket of an identity that is not that of the others. Once for each process of the
    /// gateway.
    pub(crate) fn ticket_of_a_stranger(&mut self) -> String {
        self.gateway.line("stranger ")
    }

    /// A process of this role, when it is connected.
    pub(crate) fn process(&self, role: &str, id: &str) -> Process {
        self.process_at(&self.address, role, id)
    }

    /// The same, connected to the gateways at other addresses.
    pub(crate) fn process_at(&self, addresses: &str, role: &str, id: &str) -> Process {
        let mut process = start(role, addresses, &self.state, id);
        process.line("ready ");
        process
    }

    pub(crate) async fn client(&self) -> Client {
        self.client_at(&self.address).await
    }

    pub(crate) async fn client_at(&self, addresses: &str) -> Client {
        let client = Client::builder(addresses).dial(found_in(self.state.path()));
        soon(client.connect()).await.unwrap()
    }

    /// The addresses of several gateways, for those who use all of them.
    pub(crate) fn addresses(all: &[Self]) -> String {
        all.iter().map(|parts| &*parts.address).collect::<Vec<_>>().join(",")
    }
}

fn start(role: &str, address: &str, state: &TempDir, id: &str) -> Process {
    let state = state.path().to_str().unwrap();
    let environment = [(ROLE, role), (ADDRESS, address), (STATE, state), (ID, id)];
    Process::start(&format!("{role}_process"), environment)
}

/// What this process finds in its environment, if it is one of this role.
pub(crate) fn part(role: &str) -> Option<HashMap<String, String>> {
    (std::env::var(ROLE).ok()? == role).then(|| std::env::vars().collect())
}

/// What a client's process connects with.
pub(crate) async fn connect(part: &HashMap<String, String>) -> Client {
    // On a slow machine too, nothing that is not read is given up before the test is over.
    let builder = Client::builder(&*part[ADDRESS])
        .limits(ClientLimits::new().stall_timeout(Duration::from_secs(600)));
    builder.dial(found_in(&part[STATE])).connect().await.unwrap()
}

pub(crate) async fn be_gateway() {
    let Some(part) = part("gateway") else { return };
    let mut terminated = signal(SignalKind::terminate()).unwrap();
    let gateway = common::gateway_at(&part[ADDRESS]).state_dir(&part[STATE]);
    let gateway = gateway.token(Role::Client, STRANGER).serve().await.unwrap();
    tell(format_args!("ready {}", gateway.local_addr()));
    tell(format_args!("stranger {}", gateway.ticket_of(Role::Client, STRANGER).unwrap()));
    let answers = answer(|| {
        let stats = gateway.stats();
        [stats.in_flight, stats.waiting, stats.nodes]
    });
    tokio::select! {
        _ = terminated.recv() => gateway.drain(GRACE).await,
        () = answers => {}
    }
    // Not by returning: the runtime would wait for the thread that reads questions.
    std::process::exit(0);
}

pub(crate) async fn be_node() {
    let Some(part) = part("node") else { return };
    let mut terminated = signal(SignalKind::terminate()).unwrap();
    let node = Node::builder(&*part[ADDRESS]).dial(found_in(&part[STATE])).id(&*part[ID]);
    let node = node.functions(functions()).serve().await.unwrap();
    tell("ready ");
    let answers = answer(|| {
        let stats = node.stats();
        [stats.in_flight, 0, stats.gateways]
    });
    tokio::select! {
        _ = terminated.recv() => drop(node.drain(GRACE).await),
        () = answers => {}
    }
    std::process::exit(0);
}

/// Answers questions with figures and KiB of memory, until nobody asks any more.
async fn answer(figures: impl Fn() -> [u64; 3]) {
    while question().await.is_some() {
        let [a, b, c] = figures();
        tell(format_args!("figures {a} {b} {c} {}", memory_kib()));
    }
}

/// Calls in flight, calls that wait, peers, and KiB of memory of a process.
pub(crate) fn figures(process: &mut Process) -> [u64; 4] {
    let figures = process.ask("figures");
    let figures: Vec<_> = figures.split(' ').map(|figure| figure.parse().unwrap()).collect();
    figures.try_into().unwrap()
}

/// Waits until no process has any calls.
pub(crate) async fn are_idle(processes: &mut [&mut Process]) {
    let mut looks = interval(Duration::from_millis(20));
    let mut last = Vec::new();
    let idle = timeout(Duration::from_secs(60), async {
        loop {
            last = processes.iter_mut().map(|process| figures(process)).collect();
            if last.iter().all(|[in_flight, waiting, ..]| in_flight + waiting == 0) {
                break;
            }
            looks.tick().await;
        }
    });
    assert!(idle.await.is_ok(), "not idle after a minute: {last:?}");
}

/// Resident memory of this process.
pub(crate) fn memory_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}
