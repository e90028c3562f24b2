//! Roles end, callers leave, limits are reached: everybody concerned learns it at once.

use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use common::offered::add;
use common::{Probe, SayOnDrop, World, found_in, patient, say, serving, soon, until};
use easyremote::client::ClientLimits;
use easyremote::gateway::GatewayLimits;
use easyremote::node::NodeLimits;
use easyremote::{Client, ErrorKind, Executed, Node, functions, remote};
use futures::future::join_all;
use futures::{Stream, StreamExt, stream};
use tokio::time::timeout;

#[remote]
async fn wait_for_ever() {
    std::future::pending::<()>().await;
}

/// Blocks the thread of whoever runs it until the test sends a word, or is gone.
struct Gate(Mutex<Receiver<()>>);

impl Gate {
    fn new() -> (Sender<()>, Self) {
        let (open, gate) = channel();
        (open, Self(Mutex::new(gate)))
    }

    fn pass(&self) {
        let _ = self.0.lock().unwrap().recv();
    }
}

/// Never pending, and slow all the same.
#[remote(stream)]
fn computed(#[state] gate: &Gate) -> impl Stream<Item = u64> {
    stream::iter(0..3).inspect(move |i| {
        if *i > 0 {
            gate.pass();
        }
    })
}

#[remote]
fn block(#[state] gate: &Gate, key: u64) {
    let _guard = SayOnDrop(key, "ended");
    say(key, "started");
    gate.pass();
}

#[remote(stream)]
fn blocks(#[state] gate: &Gate, key: u64) -> impl Iterator<Item = u64> {
    let guard = SayOnDrop(key, "ended");
    say(key, "started");
    (0..).inspect(move |_| {
        let _keep = &guard;
        gate.pass();
    })
}

#[remote(stream)]
fn endless(length: u64) -> impl Iterator<Item = Vec<u8>> {
    (0..).map(move |_| vec![0; length as usize])
}

#[remote(stream)]
fn three() -> impl Iterator<Item = u64> {
    0..3
}

#[remote]
fn length(bytes: Vec<u8>) -> usize {
    bytes.len()
}

#[remote]
async fn zeros(length: u64) -> Vec<u8> {
    vec![0; length as usize]
}

/// Far below the eight seconds after which a silent peer is given up.
const AT_ONCE: Duration = Duration::from_secs(4);

#[tokio::test]
async fn a_node_that_shuts_down_with_many_calls_says_goodbye() {
    let (world, node, client) = World::with(functions![wait_for_ever]).await;
    let calls: Vec<_> = (0..300).map(|_| tokio::spawn(wait_for_ever::call(&client))).collect();
    until(|| node.stats().in_flight == 300).await;
    soon(node.shutdown()).await;
    timeout(AT_ONCE, until(|| world.gateway.stats().nodes == 0)).await.expect("no goodbye");
    for outcome in soon(join_all(calls)).await {
        let error = outcome.unwrap().unwrap_err();
        assert_eq!((error.kind(), error.executed()), (ErrorKind::NodeLost, Executed::Maybe));
    }
}

#[tokio::test]
async fn a_node_ends_with_the_runtime_of_its_functions() {
    let world = World::start().await;
    let starting = world.node_builder().functions(functions![add]).serve();
    let (node, runtime) = tokio::task::spawn_blocking(|| {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        (runtime.block_on(starting).unwrap(), runtime)
    })
    .await
    .unwrap();
    assert_eq!(world.gateway.stats().nodes, 1);
    runtime.shutdown_background();
    soon(node.closed()).await;
    until(|| world.gateway.stats().nodes == 0).await;
}

#[tokio::test]
async fn an_item_does_not_wait_for_the_next_of_a_stream_that_is_never_pending() {
    let world = World::start().await;
    let (open, gate) = Gate::new();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
    let node = world.node_builder().state(gate).functions(functions![computed]).serve();
    let _node = runtime.spawn(node).await.unwrap().unwrap();
    let client = world.client().await;
    let mut items = computed::call(&client);
    assert_eq!(soon(items.next()).await.unwrap().unwrap(), 0);
    for i in 1..3 {
        open.send(()).unwrap();
        assert_eq!(soon(items.next()).await.unwrap().unwrap(), i);
    }
    assert!(soon(items.next()).await.is_none());
    runtime.shutdown_background();
}

#[tokio::test]
async fn a_function_that_runs_on_keeps_its_place() {
    let world = World::start().await;
    let (open, gate) = Gate::new();
    let node = world.node_builder().state(gate).concurrency(1).functions(functions![block, blocks]);
    let node = soon(node.serve()).await.unwrap();
    let client = world.client().await;
    // All that runs says so to one probe: had the second started early, it would say so too soon.
    let mut probe = Probe::new();

    let abandoned = tokio::spawn(block::call(&client, probe.key));
    assert_eq!(probe.next().await, "started");
    abandoned.abort();
    next_one_waits(&world, &node, &client, &open, &mut probe).await;

    let abandoned = soon(blocks::call(&client, probe.key).open()).await.unwrap();
    assert_eq!(probe.next().await, "started");
    drop(abandoned);
    next_one_waits(&world, &node, &client, &open, &mut probe).await;
}

/// Shows that a further call starts when what was abandoned has ended, and not before.
async fn next_one_waits(
    world: &World,
    node: &Node,
    client: &Client,
    open: &Sender<()>,
    probe: &mut Probe,
) {
    let waiting = tokio::spawn(block::call(client, probe.key));
    // The gateway knows that the place is not free.
    until(|| world.gateway.stats().waiting == 1).await;
    assert_eq!((node.stats().in_flight, node.stats().waiting), (1, 0));
    open.send(()).unwrap();
    assert_eq!(probe.next().await, "ended");
    assert_eq!(probe.next().await, "started");
    open.send(()).unwrap();
    soon(waiting).await.unwrap().unwrap();
    assert_eq!(probe.next().await, "ended");
}

#[tokio::test]
async fn closing_a_client_ends_a_stream_that_is_not_read() {
    let (_world, client) = serving(functions![endless]).await;
    let mut items = endless::call(&client, 100_000);
    soon(items.next()).await.unwrap().unwrap();
    soon(client.close()).await;
    let error = loop {
        if let Err(error) = soon(items.next()).await.unwrap() {
            break error;
        }
    };
    assert_eq!((error.kind(), error.executed()), (ErrorKind::ConnectionLost, Executed::Yes));
    assert!(soon(items.next()).await.is_none());
}

#[tokio::test]
async fn a_stream_that_is_open_may_be_opened() {
    let (_world, client) = serving(functions![three]).await;
    let mut items = three::call(&client);
    assert_eq!(soon(items.next()).await.unwrap().unwrap(), 0);
    let mut items = soon(items.open()).await.unwrap();
    assert_eq!(soon(items.next()).await.unwrap().unwrap(), 1);
    assert_eq!(soon(items.next()).await.unwrap().unwrap(), 2);
    assert!(soon(items.next()).await.is_none());
}

#[tokio::test]
async fn each_partys_limit_for_a_message_is_named_as_such() {
    let world = World::start().await;
    let node = world
        .node_builder()
        .limits(NodeLimits::new().max_message(100_000))
        .functions(functions![length, zeros]);
    let _node = soon(node.serve()).await.unwrap();
    let client = world.client_builder().limits(ClientLimits::new().max_message(50_000)).connect();
    let (small, large) = (soon(client).await.unwrap(), world.client().await);

    assert_eq!(soon(length::call(&large, vec![0; 90_000])).await.unwrap(), 90_000);
    let error = soon(length::call(&large, vec![0; 100_001])).await.unwrap_err();
    assert_eq!((error.kind(), error.executed()), (ErrorKind::TooLarge, Executed::No));
    let error = soon(length::call(&small, vec![0; 50_001])).await.unwrap_err();
    assert_eq!((error.kind(), error.executed()), (ErrorKind::TooLarge, Executed::No));
    let error = soon(zeros::call(&small, 90_000)).await.unwrap_err();
    assert_eq!((error.kind(), error.executed()), (ErrorKind::TooLarge, Executed::Yes));
}

#[tokio::test]
async fn a_gateway_with_a_lower_limit_is_named_before_anything_is_sent() {
    let state = tempfile::tempdir().unwrap();
    let gateway = common::gateway_at("127.0.0.1:0")
        .state_dir(state.path())
        .limits(GatewayLimits::new().max_message(10_000));
    let gateway = soon(gateway.serve()).await.unwrap();
    let address = gateway.local_addr();
    let client = Client::builder(address).dial(found_in(state.path())).connect();
    let client = soon(client).await.unwrap();
    let error = soon(length::call(&client, vec![0; 10_001])).await.unwrap_err();
    assert_eq!((error.kind(), error.executed()), (ErrorKind::TooLarge, Executed::No));
    assert_eq!(gateway.stats().calls, 0);
}

#[tokio::test]
async fn a_client_that_has_everything_open_says_so() {
    let (world, node, client) = World::with(functions![wait_for_ever, add]).await;
    let limited = world.client_builder().dial(patient(Duration::from_secs(3))).connect();
    let limited = soon(limited).await.unwrap();
    // 1,024 on its multiplexed stream, and as many and a few more on separate streams.
    let waiting: Vec<_> = (0..2_250).map(|_| tokio::spawn(wait_for_ever::call(&limited))).collect();
    until(|| node.stats().in_flight > 2_048).await;
    let error = soon(add::call(&limited, 1, 2)).await.unwrap_err();
    assert_eq!((error.kind(), error.executed()), (ErrorKind::Overloaded, Executed::No));
    // Nobody else is concerned.
    assert_eq!(soon(add::call(&client, 1, 2)).await.unwrap(), 3);
    waiting.iter().for_each(tokio::task::JoinHandle::abort);
    until(|| node.stats().in_flight == 0).await;
    assert_eq!(soon(add::call(&limited, 1, 2)).await.unwrap(), 3);
}

#[tokio::test]
async fn arguments_beyond_a_nodes_room_are_refused_and_leave_nothing() {
    let world = World::start().await;
    let (open, gate) = Gate::new();
    let functions = functions![length, block];
    let node = world.node_builder().state(gate).functions(functions);
    let node = node
        .limits(NodeLimits::new().blocking_threads(1).max_message(1 << 20).max_unfinished(8 << 20));
    let _node = soon(node.serve()).await.unwrap();
    let client = world.client().await;
    let mut probe = Probe::new();
    let blocking = tokio::spawn(block::call(&client, probe.key));
    assert_eq!(probe.next().await, "started");
    // While the one thread is taken, arguments wait at the node, which has room for eight of these.
    const LONG: usize = (1 << 20) - 100;
    let calls = (0..20).map(|_| length::call(&client, vec![0; LONG]));
    let mut calls = stream::iter(calls).buffer_unordered(20);
    for _ in 0..12 {
        let error = soon(calls.next()).await.unwrap().unwrap_err();
        assert_eq!((error.kind(), error.executed()), (ErrorKind::Overloaded, Executed::No));
        assert!(error.is_retryable() && error.retry_after().is_some());
    }
    open.send(()).unwrap();
    soon(blocking).await.unwrap().unwrap();
    // Of the other eight, some may have been refused for the sake of those that came along.
    while let Some(outcome) = soon(calls.next()).await {
        match outcome {
            Ok(length) => assert_eq!(length, LONG),
            Err(error) => assert_eq!(error.kind(), ErrorKind::Overloaded),
        }
    }
    let again = join_all((0..4).map(|_| length::call(&client, vec![0; LONG])));
    assert!(soon(again).await.iter().all(Result::is_ok));
}

#[tokio::test]
async fn a_timeout_without_end_is_no_mistake() {
    let world = World::start().await;
    let node = world.node_builder().dial(patient(Duration::MAX)).functions(functions![add]);
    let _node = soon(node.serve()).await.unwrap();
    let client = soon(world.client_builder().dial(patient(Duration::MAX)).connect());
    let client = client.await.unwrap();
    let call = add::call(&client, 1, 2).timeout(Duration::MAX);
    assert_eq!(soon(call).await.unwrap(), 3);
}
