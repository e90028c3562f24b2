//! What gateway and node count of each function: how its calls ended, how long they waited and ran, and
//! what their streams carried.

use std::collections::BTreeMap;
use std::time::Duration;

use common::gate::{Gate, pass};
use common::{Probe, SayOnDrop, World, say, soon, until};
use easyremote::client::BatchReason;
use easyremote::node::{BatchStats, FunctionStats};
use easyremote::{CallError, Client, ErrorKind, Node, Options, Retry, functions, remote};
use futures::future::join_all;
use futures::{Stream, StreamExt, stream};
use serde_json::json;

use crate::metrics;

#[remote]
async fn value(n: u64) -> u64 {
    n
}

#[remote]
fn sync_value(n: u64) -> u64 {
    n
}

#[remote(inline)]
fn inline_value(n: u64) -> u64 {
    n
}

#[remote(batch(max = 4, wait = "1ms"))]
fn batched(numbers: Vec<u64>) -> Vec<u64> {
    numbers
}

#[remote]
async fn fails(n: u64) -> Result<u64, u64> {
    Err(n)
}

#[remote]
fn panics(n: u64) -> u64 {
    panic!("{n}")
}

/// A result that does not fit into one message.
#[remote]
async fn long(n: u64) -> Vec<u64> {
    vec![n; 20_000]
}

#[remote]
async fn waits(key: u64) {
    let _guard = SayOnDrop(key, "dropped");
    say(key, "started");
    std::future::pending().await
}

#[remote(stream)]
fn items(n: u64) -> impl Stream<Item = u64> {
    stream::iter(0..n)
}

#[remote(stream)]
fn iterated(n: u64) -> impl Iterator<Item = u64> {
    0..n
}

#[remote(stream)]
async fn refused(n: u64) -> Result<impl Stream<Item = u64>, u64> {
    if n < u64::MAX { Err(n) } else { Ok(stream::empty()) }
}

#[remote]
async fn total(numbers: impl Stream<Item = u64>) -> u64 {
    numbers.fold(0, |sum, n| async move { sum + n }).await
}

const NAMES: [&str; 12] = [
    "batched",
    "fails",
    "inline_value",
    "items",
    "iterated",
    "long",
    "panics",
    "refused",
    "sync_value",
    "total",
    "value",
    "waits",
];

async fn node(world: &World) -> Node {
    let functions = functions![
        value,
        sync_value,
        inline_value,
        batched,
        fails,
        panics,
        long,
        waits,
        items,
        iterated,
        refused,
        total
    ];
    soon(world.node_builder().functions(functions).serve()).await.unwrap()
}

/// How often each function has ended how, and how many items it has sent and left out.
#[derive(Debug, Default, PartialEq, Eq)]
struct Count {
    returned: u64,
    faults: u64,
    errors: Vec<(ErrorKind, u64)>,
    items: u64,
    skipped: u64,
}

impl Count {
    fn of(stats: &FunctionStats) -> Self {
        let FunctionStats { returned, faults, errors, items, skipped, .. } = stats.clone();
        Self { returned, faults, errors, items, skipped }
    }

    /// Counts a stream of `n` items, of which `sent` were not left out.
    fn stream(&mut self, n: u64, sent: u64) {
        self.items += sent;
        self.skipped += n - sent;
    }

    fn error(&mut self, kind: ErrorKind) {
        match self.errors.iter_mut().find(|(known, _)| *known == kind) {
            Some((_, n)) => *n += 1,
            None => self.errors.push((kind, 1)),
        }
    }
}

/// Sets random operators that leave items out, and counts what arrives.
macro_rules! thinned {
    ($call:expr) => {{
        let mut call = $call;
        for _ in 0..fastrand::usize(..3) {
            call = match fastrand::u8(..4) {
                0 => call.every(fastrand::usize(1..5)),
                1 => call.skip(fastrand::usize(..5)),
                2 => call.dedup(),
                _ => call.buffer(0),
            };
        }
        call.count().await as u64
    }};
}

/// Makes a random call, and counts how it has to end.
async fn call(client: &Client, n: u64, counts: &mut BTreeMap<&'static str, Count>) {
    let name = NAMES[fastrand::usize(..NAMES.len())];
    let count = counts.entry(name).or_default();
    match name {
        "value" => assert_eq!(value::call(client, n).await.unwrap(), n),
        "sync_value" => assert_eq!(sync_value::call(client, n).await.unwrap(), n),
        "inline_value" => assert_eq!(inline_value::call(client, n).await.unwrap(), n),
        "batched" => assert_eq!(batched::call(client, n).await.unwrap(), n),
        "long" => assert_eq!(long::call(client, n).await.unwrap().len(), 20_000),
        "total" => {
            let sum = total::call(client, stream::iter(0..n)).await.unwrap();
            assert_eq!(sum, (0..n).sum::<u64>());
        }
        "items" => count.stream(n, thinned!(items::call(client, n))),
        "iterated" => count.stream(n, thinned!(iterated::call(client, n))),
        _ => {}
    }
    match name {
        "fails" => {
            fails::call(client, n).await.unwrap_err();
            count.faults += 1;
        }
        "panics" => {
            panics::call(client, n).await.unwrap_err();
            count.error(ErrorKind::Panicked);
        }
        "refused" => {
            refused::call(client, n).next().await.unwrap().unwrap_err();
            count.faults += 1;
        }
        "waits" => {
            let mut probe = Probe::new();
            let waiting = tokio::spawn(waits::call(client, probe.key).into_future());
            assert_eq!(probe.next().await, "started");
            waiting.abort();
            assert_eq!(probe.next().await, "dropped");
            count.error(ErrorKind::Cancelled);
        }
        _ => count.returned += 1,
    }
}

/// Waits until no call is under way, and compares the counts with `expected`.
async fn agree(stats: impl Fn() -> Vec<FunctionStats>, expected: &BTreeMap<&'static str, Count>) {
    until(|| stats().iter().all(|it| (it.in_flight, it.waiting) == (0, 0))).await;
    let ended: u64 = expected
        .values()
        .map(|it| it.returned + it.faults + it.errors.iter().map(|it| it.1).sum::<u64>())
        .sum();
    until(|| stats().iter().map(FunctionStats::ended).sum::<u64>() == ended).await;
    let stats = stats();
    assert_eq!(stats.iter().map(|it| &*it.function).collect::<Vec<_>>(), NAMES);
    for it in &stats {
        let name = &*it.function;
        assert_eq!(Some(&Count::of(it)), expected.get(name), "{name}");
        assert_eq!((it.queued.count(), it.ran.count()), (it.ended(), it.ended()), "{name}");
        assert_eq!(it.bytes > 0, it.items > 0, "{name}");
    }
}

async fn all_ends_are_counted() {
    fastrand::seed(3);
    let world = World::start().await;
    let node = node(&world).await;
    let client = world.client().await;
    let mut expected = BTreeMap::new();
    for n in 1..=200 {
        soon(call(&client, n, &mut expected)).await;
    }
    agree(|| node.functions(), &expected).await;
    agree(|| world.gateway.functions(), &expected).await;
    assert!(expected["items"].skipped > 0 && expected["iterated"].skipped > 0);
    metrics::agree(&node.metrics(), "node", &node.functions());
    metrics::agree(&world.gateway.metrics(), "gateway", &world.gateway.functions());
    let batches = batches_of(node.functions());
    assert_eq!((batches.calls, batches.runs), (expected["batched"].returned, batches.calls));
    assert_eq!(batches_of(world.gateway.functions()), BatchStats::default());
    let bytes = |stats: Vec<FunctionStats>| stats.iter().map(|it| it.bytes).collect::<Vec<_>>();
    assert_eq!(bytes(node.functions()), bytes(world.gateway.functions()));
}

#[tokio::test]
async fn every_call_is_counted_once_by_how_it_ended() {
    all_ends_are_counted().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn every_call_is_counted_once_on_several_threads() {
    all_ends_are_counted().await;
}

#[remote(concurrency = 1)]
async fn one_at_a_time(gate: u64) {
    pass(gate).await;
}

fn only(stats: Vec<FunctionStats>) -> FunctionStats {
    let [stats] = <[_; 1]>::try_from(stats).unwrap();
    stats
}

#[tokio::test]
async fn calls_that_wait_are_told_from_those_that_run() {
    let (world, node, client) = World::with(functions![one_at_a_time]).await;
    let gate = Gate::closed();
    let mut calls: Vec<_> = (0..4)
        .map(|_| tokio::spawn(one_at_a_time::call(&client, gate.key).into_future()))
        .collect();
    let now = || {
        let stats = only(world.gateway.functions());
        (stats.in_flight, stats.waiting)
    };
    until(|| now() == (1, 3)).await;
    // One leaves while it waits; the gateway alone has known it.
    calls.pop().unwrap().abort();
    until(|| now() == (1, 2)).await;
    until(|| only(node.functions()).in_flight == 1).await;
    // Some are queued for longer than the call that does not wait.
    gate.open();
    for call in calls {
        soon(call).await.unwrap().unwrap();
    }
    until(|| now() == (0, 0)).await;
    let (gateway, node) = (only(world.gateway.functions()), only(node.functions()));
    let cancelled = vec![(ErrorKind::Cancelled, 1)];
    assert_eq!((gateway.returned, &gateway.errors), (3, &cancelled));
    assert_eq!((gateway.queued.count(), gateway.ran.count()), (3, 3));
    assert!(!gateway.queued.sum().is_zero(), "two have waited");
    assert_eq!((node.returned, node.errors.len()), (3, 0));
}

#[tokio::test]
async fn calls_that_no_node_takes_are_counted_under_one_name() {
    let (world, node, client) = World::with(functions![value]).await;
    let client = client.with(Options::new().retry(Retry::never()));
    for n in 0..5 {
        let error = soon(client.call_json(format!("unknown{n}"), json!([]))).await.unwrap_err();
        let CallError::Remote(error) = error else { panic!("{error}") };
        assert_eq!(error.kind(), ErrorKind::NoSuchFunction);
    }
    let error = soon(value::call(&client, 1).on("nowhere")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NoNode);
    let error = soon(value::call(&client, 1).timeout(Duration::ZERO)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::DeadlineExceeded, "not even sent");
    let [known, other] = <[_; 2]>::try_from(world.gateway.functions()).unwrap();
    assert_eq!((&*known.function, known.errors), ("value", vec![(ErrorKind::NoNode, 1)]));
    assert_eq!(other.function, "easyremote.other");
    assert_eq!(other.errors, [(ErrorKind::NoSuchFunction, 5)]);
    assert_eq!(only(node.functions()).ended(), 0);
}

#[tokio::test]
async fn figures_outlive_their_nodes_and_are_shared_by_them() {
    let world = World::start().await;
    let one = world.node(functions![value, fails]).await;
    let client = world.client().await;
    soon(value::call(&client, 1)).await.unwrap();
    soon(one.shutdown()).await;
    until(|| world.gateway.nodes().is_empty()).await;
    let _two = world.node(functions![value]).await;
    soon(value::call(&client, 2)).await.unwrap();
    let returned: Vec<_> =
        world.gateway.functions().into_iter().map(|it| (it.function, it.returned)).collect();
    assert_eq!(returned, [("fails".to_owned(), 0), ("value".to_owned(), 2)]);
}

#[tokio::test]
async fn a_job_is_returned_to_its_caller_once_it_is_accepted() {
    let (world, node, client) = World::with(functions![one_at_a_time]).await;
    let gate = Gate::closed();
    let job = soon(one_at_a_time::call(&client, gate.key).spawn()).await.unwrap();
    until(|| only(node.functions()).in_flight == 1).await;
    assert_eq!(only(node.functions()).ended(), 0);
    gate.open();
    soon(job.result()).await.unwrap();
    until(|| only(world.gateway.functions()).ended() == 1).await;
    until(|| only(node.functions()).ended() == 1).await;
    let (gateway, node) = (only(world.gateway.functions()), only(node.functions()));
    assert_eq!((gateway.returned, node.returned), (1, 1), "requests about a job do not count");
}

fn batches_of(stats: Vec<FunctionStats>) -> BatchStats {
    stats.into_iter().find(|it| it.function == "batched").unwrap().batches
}

/// How many runs the traces of their calls show, by size, and by reason.
fn runs_of(traces: &[(u32, BatchReason)]) -> (BTreeMap<u32, u64>, BTreeMap<String, u64>) {
    let (mut sizes, mut reasons) = (BTreeMap::new(), BTreeMap::new());
    let mut calls: BTreeMap<_, u64> = BTreeMap::new();
    for (size, reason) in traces {
        *calls.entry((*size, format!("{reason:?}"))).or_default() += 1;
    }
    for ((size, reason), n) in calls {
        let runs = n / u64::from(size);
        // 3 counts at the bound of 4.
        *sizes.entry(size.next_power_of_two()).or_default() += runs;
        *reasons.entry(reason).or_default() += runs;
    }
    (sizes, reasons)
}

async fn batches_are_counted() {
    fastrand::seed(4);
    let world = World::start().await;
    let node = node(&world).await;
    let client = world.client().await;
    let mut traces = Vec::new();
    for _ in 0..20 {
        let calls = (0..fastrand::u64(1..12)).map(|n| batched::call(&client, n).traced());
        for traced in soon(join_all(calls)).await {
            let (_, trace) = traced.unwrap();
            let batch = trace.batch.unwrap();
            traces.push((batch.size, batch.reason.unwrap()));
        }
    }
    metrics::agree(&node.metrics(), "node", &node.functions());
    let batches = batches_of(node.functions());
    let (sizes, reasons) = runs_of(&traces);
    assert_eq!(batches.calls, traces.len() as u64);
    assert_eq!(batches.runs, sizes.values().sum::<u64>());
    assert!(batches.runs < batches.calls, "some ran together");
    let found: BTreeMap<_, _> =
        batches.sizes.iter().map(|(bound, n)| (bound.unwrap(), *n)).collect();
    assert_eq!(found, sizes);
    let found: BTreeMap<_, _> =
        batches.reasons.iter().map(|(reason, n)| (format!("{reason:?}"), *n)).collect();
    assert_eq!(found, reasons);
}

#[tokio::test]
async fn runs_of_batches_are_those_that_their_traces_show() {
    batches_are_counted().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn runs_of_batches_are_counted_on_several_threads() {
    batches_are_counted().await;
}

#[remote]
async fn held(gate: u64) {
    pass(gate).await;
}

#[tokio::test]
async fn a_node_counts_the_jobs_that_it_runs_and_keeps() {
    let (_world, node, client) = World::with(functions![held, value]).await;
    let jobs = || (node.stats().jobs, node.stats().kept_jobs);
    let gate = Gate::closed();
    let mut spawned = Vec::new();
    for n in 1..=3 {
        spawned.push(soon(held::call(&client, gate.key).spawn()).await.unwrap());
        assert_eq!(jobs(), (n, 0));
    }
    soon(value::call(&client, 1)).await.unwrap();
    soon(value::call(&client, 1).key("k")).await.unwrap();
    assert_eq!(jobs(), (3, 0), "the run of a key is no job");
    soon(spawned.pop().unwrap().cancel()).await.unwrap();
    until(|| jobs() == (2, 1)).await;
    gate.open();
    until(|| jobs() == (0, 3)).await;
    for job in spawned {
        soon(job.result()).await.unwrap();
    }
    assert_eq!(jobs(), (0, 3), "results are kept for a while after they were collected");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_admin_reads_the_figures_of_functions_over_the_network() {
    let (world, _node, client) = World::with(functions![value, fails, panics, items]).await;
    let admin = soon(world.client_builder().admin().connect()).await.unwrap();
    for n in 0..5 {
        soon(value::call(&client, n)).await.unwrap();
        soon(fails::call(&client, n)).await.unwrap_err();
        soon(panics::call(&client, n)).await.unwrap_err();
    }
    let read: Vec<_> = soon(items::call(&client, 7).collect()).await;
    assert_eq!(read.len(), 7);
    let ended = || world.gateway.functions().iter().map(FunctionStats::ended).sum::<u64>();
    until(|| ended() == 16).await;
    let figures = soon(admin.function_stats()).await.unwrap();
    assert_eq!(figures, world.gateway.functions());
    let panicked = figures.iter().find(|figures| figures.function == "panics").unwrap();
    assert_eq!(panicked.errors, [(ErrorKind::Panicked, 5)]);
    assert_eq!(panicked.ran.count(), 5);
    let ticket = world.gateway.ticket(easyremote::Role::Client);
    let other = soon(Client::connect(ticket)).await.unwrap();
    let error = soon(other.function_stats()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied);
}

#[test]
fn figures_of_a_gateway_that_lies_are_harmless() {
    let most = vec![u64::MAX; 20];
    let histogram = json!({"buckets": most, "sum_seconds": f64::MAX});
    let figures: FunctionStats = serde_json::from_value(json!({
        "function": "a\u{1b}[2Jb\n", "in_flight": 0, "waiting": 0, "returned": u64::MAX,
        "faults": u64::MAX, "errors": {"Panicked": u64::MAX, "OfTomorrow": 1},
        "queued": histogram, "ran": histogram, "items": 0, "bytes": 0, "skipped": 0,
        "stalled_seconds": -1.0,
    }))
    .unwrap();
    assert!(!figures.function.chars().any(char::is_control), "{}", figures.function);
    assert_eq!(figures.errors, [(ErrorKind::Panicked, u64::MAX)]);
    assert_eq!((figures.ended(), figures.ran.count()), (u64::MAX, u64::MAX));
    for share in [0.0, 0.5, 1.0] {
        assert!(figures.ran.quantile(share).is_some());
    }
}
