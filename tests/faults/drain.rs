//! Nodes and gateways that leave on purpose: no call fails.

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use common::offered::add;
use common::{Probe, SayOnDrop, World, found_in, patient, say, soon, until};
use easyremote::{
    Client, Context, ErrorKind, Executed, Gateway, Node, Options, Retry, functions, remote,
};
use futures::{Stream, StreamExt, TryStreamExt};
use tempfile::TempDir;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

const GRACE: Duration = Duration::from_secs(60);

/// Runs until the test lets it go.
#[remote]
async fn wait(#[state] go: &Arc<Notify>, key: u64) -> u64 {
    say(key, "started");
    go.notified().await;
    key
}

/// A few numbers, the rest of which come when the test lets them.
#[remote(stream)]
fn count(#[state] go: &Arc<Notify>, key: u64) -> impl Stream<Item = u64> {
    let go = go.clone();
    async_stream::stream! {
        let _dropped = SayOnDrop(key, "dropped");
        for n in 0..3 {
            yield n;
        }
        go.notified().await;
        yield 3;
    }
}

#[remote]
async fn node_id(#[ctx] ctx: &Context) -> String {
    ctx.node().to_owned()
}

/// Calls another function after the test has let it.
#[remote]
async fn add_later(#[state] go: &Arc<Notify>, #[ctx] ctx: &Context, key: u64) -> i64 {
    say(key, "started");
    go.notified().await;
    add::call(&ctx.client(), 1, 2).await.unwrap()
}

async fn node(world: &World, id: &str, go: &Arc<Notify>) -> Node {
    let functions = functions![wait, add, count, node_id, add_later];
    let builder = world.node_builder().id(id).state(go.clone()).functions(functions);
    soon(builder.serve()).await.unwrap()
}

#[tokio::test]
async fn a_node_that_drains_finishes_what_it_has_and_gets_no_more() {
    let (world, go, mut probe) = (World::start().await, Arc::new(Notify::new()), Probe::new());
    let leaving = Arc::new(node(&world, "leaving", &go).await);
    let client = world.client().await;
    let call = tokio::spawn(wait::call(&client, probe.key));
    assert_eq!(probe.next().await, "started");
    let mut numbers = count::call(&client, probe.key);
    assert_eq!(soon(numbers.next()).await.unwrap().unwrap(), 0);

    let _staying = node(&world, "staying", &go).await;
    let drain = tokio::spawn({
        let leaving = leaving.clone();
        async move { leaving.drain(GRACE).await }
    });
    // The gateway hears of it at some time; from then on all calls go to the other node.
    let on_leaving = client.with(Options::new().on("leaving").retry(Retry::never()));
    soon(async {
        while node_id::call(&on_leaving).await.is_ok() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let error = soon(node_id::call(&on_leaving)).await.unwrap_err();
    assert_eq!((error.kind(), error.executed()), (ErrorKind::Draining, Executed::No), "{error}");
    assert!(error.to_string().contains("node `leaving` is shutting down"), "{error}");
    assert_eq!(error.node(), None);
    for _ in 0..20 {
        assert_eq!(soon(node_id::call(&client)).await.unwrap(), "staying");
    }

    assert!(!drain.is_finished(), "two calls are running");
    go.notify_waiters();
    assert_eq!(soon(call).await.unwrap().unwrap(), probe.key);
    for n in 1..=3 {
        assert_eq!(soon(numbers.next()).await.unwrap().unwrap(), n);
    }
    assert!(soon(numbers.next()).await.is_none());
    soon(drain).await.unwrap();
    soon(leaving.closed()).await;
    until(|| world.gateway.nodes().len() == 1).await;
}

#[tokio::test]
async fn an_idle_node_drains_at_once() {
    let (world, go) = (World::start().await, Arc::new(Notify::new()));
    let node = node(&world, "a", &go).await;
    soon(node.drain(GRACE)).await;
    until(|| world.gateway.nodes().is_empty()).await;
    soon(node.drain(GRACE)).await;
}

#[tokio::test]
async fn what_outlasts_the_grace_is_cut_off_and_its_resources_are_dropped() {
    let (world, go, mut probe) = (World::start().await, Arc::new(Notify::new()), Probe::new());
    let node = node(&world, "a", &go).await;
    let client = world.client().await;
    let mut numbers = count::call(&client, probe.key);
    for n in 0..3 {
        assert_eq!(soon(numbers.next()).await.unwrap().unwrap(), n);
    }
    soon(node.drain(Duration::from_millis(50))).await;
    assert_eq!(probe.next().await, "dropped");
    let error = soon(numbers.next()).await.unwrap().unwrap_err();
    assert_eq!((error.kind(), error.delivered()), (ErrorKind::NodeLost, 3), "{error}");
    assert_eq!(error.executed(), Executed::Yes);
}

#[tokio::test]
async fn a_function_of_a_draining_node_still_makes_calls() {
    let (world, go, mut probe) = (World::start().await, Arc::new(Notify::new()), Probe::new());
    let leaving = node(&world, "leaving", &go).await;
    let client = world.client().await;
    let call = tokio::spawn(add_later::call(&client, probe.key));
    assert_eq!(probe.next().await, "started");
    let _staying = node(&world, "staying", &go).await;
    let drain = tokio::spawn(async move { leaving.drain(GRACE).await });
    let once = client.with(Options::new().on("leaving").retry(Retry::never()));
    soon(async { while node_id::call(&once).await.is_ok() {} }).await;
    go.notify_waiters();
    assert_eq!(soon(call).await.unwrap().unwrap(), 3);
    soon(drain).await.unwrap();
}

/// Calls without pause until told to stop; gives how many there were.
fn caller(
    client: Client,
    stop: Arc<AtomicBool>,
    made: Arc<AtomicU64>,
) -> tokio::task::JoinHandle<()> {
    tokio::spawn(async move {
        let mut n = 0;
        while !stop.load(Ordering::Relaxed) {
            assert_eq!(add::call(&client, n, 1).await.unwrap(), n + 1);
            n += 1;
            made.fetch_add(1, Ordering::Relaxed);
        }
    })
}

#[tokio::test]
async fn two_gateways_are_drained_in_turn_and_no_call_fails() {
    let state = tempfile::tempdir().unwrap();
    let serve = |address: String| common::gateway_at(address).state_dir(state.path()).serve();
    let mut gateways = Vec::new();
    for _ in 0..2 {
        gateways.push(soon(serve("127.0.0.1:0".into())).await.unwrap());
    }
    let addresses: Vec<_> = gateways.iter().map(Gateway::local_addr).collect();
    let node = Node::builder(addresses.clone()).dial(found_in(state.path()));
    let _node = soon(node.functions(functions![add]).serve()).await.unwrap();
    let client = Client::builder(addresses.clone()).dial(found_in(state.path())).connect();
    let client = soon(client).await.unwrap();
    let (stop, made) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let callers: Vec<_> =
        (0..8).map(|_| caller(client.clone(), stop.clone(), made.clone())).collect();
    for turn in 0..4 {
        let before = made.load(Ordering::Relaxed);
        until(|| made.load(Ordering::Relaxed) > before + 50).await;
        let i = turn % 2;
        soon(gateways[i].drain(GRACE)).await;
        gateways[i] = soon(serve(addresses[i].to_string())).await.unwrap();
        // The node is there again before the other one goes.
        until(|| gateways[i].nodes().len() == 1).await;
    }
    stop.store(true, Ordering::Relaxed);
    for caller in callers {
        soon(caller).await.unwrap();
    }
}

/// The only gateway of a client, and what there is to it.
struct OnlyGateway {
    state: TempDir,
    address: SocketAddr,
    gateway: Arc<Gateway>,
    _node: Node,
    client: Client,
    go: Arc<Notify>,
}

impl OnlyGateway {
    /// Calls wait so long for a connection.
    const PATIENCE: Duration = Duration::from_secs(5);

    async fn start(multiplex: bool) -> Self {
        let state = tempfile::tempdir().unwrap();
        let gateway = common::gateway_at("127.0.0.1:0").state_dir(state.path()).serve();
        let gateway = soon(gateway).await.unwrap();
        let (address, go) = (gateway.local_addr(), Arc::new(Notify::new()));
        let node = Node::builder(address).dial(found_in(state.path())).state(go.clone());
        let node = node.functions(functions![add, wait, count, soon_over]);
        let node = soon(node.serve()).await.unwrap();
        let client = Client::builder(address).dial(found_in(state.path())).multiplex(multiplex);
        let client = soon(client.dial(patient(Self::PATIENCE)).connect()).await.unwrap();
        Self { state, address, gateway: Arc::new(gateway), _node: node, client, go }
    }

    fn drain(&self, grace: Duration) -> JoinHandle<()> {
        let gateway = self.gateway.clone();
        tokio::spawn(async move { gateway.drain(grace).await })
    }

    async fn again(&mut self) {
        let gateway = common::gateway_at(self.address.to_string()).state_dir(self.state.path());
        self.gateway = Arc::new(soon(gateway.serve()).await.unwrap());
    }
}

/// Takes long enough for a gateway to know it as slow.
#[remote]
async fn soon_over() {
    tokio::time::sleep(Duration::from_millis(1_200)).await;
}

async fn is_drained_and_started_again(multiplex: bool) {
    let mut only = OnlyGateway::start(multiplex).await;
    let client = only.client.clone();
    let (stop, made) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let callers: Vec<_> =
        (0..8).map(|_| caller(client.clone(), stop.clone(), made.clone())).collect();
    let mut probe = Probe::new();
    let long = tokio::spawn(wait::call(&client, probe.key));
    assert_eq!(probe.next().await, "started");
    let mut numbers = count::call(&client, probe.key);
    assert_eq!(soon(numbers.next()).await.unwrap().unwrap(), 0);

    let draining = only.drain(GRACE);
    // Longer than a call waits for a connection: what is long under way makes nobody wait.
    let begun = Instant::now();
    while begun.elapsed() < OnlyGateway::PATIENCE + Duration::from_secs(2) {
        let before = made.load(Ordering::Relaxed);
        until(|| made.load(Ordering::Relaxed) > before + 10).await;
    }
    assert!(!draining.is_finished());
    // A stream that the gateway would have to wait for waits for its successor instead.
    let late = tokio::spawn(count::call(&client, probe.key).take(3).try_collect::<Vec<_>>());
    // Whoever comes is let in as long as there is something to wait for.
    let newcomer = Client::builder(only.address).dial(found_in(only.state.path())).connect();
    assert_eq!(soon(add::call(&soon(newcomer).await.unwrap(), 1, 2)).await.unwrap(), 3);
    assert!(!late.is_finished());
    only.go.notify_waiters();
    assert_eq!(soon(long).await.unwrap().unwrap(), probe.key);
    for n in 1..=3 {
        assert_eq!(soon(numbers.next()).await.unwrap().unwrap(), n);
    }
    assert!(soon(numbers.next()).await.is_none());
    soon(draining).await.unwrap();
    only.again().await;
    let before = made.load(Ordering::Relaxed);
    until(|| made.load(Ordering::Relaxed) > before + 50).await;
    assert_eq!(soon(late).await.unwrap().unwrap(), [0, 1, 2]);
    stop.store(true, Ordering::Relaxed);
    for caller in callers {
        soon(caller).await.unwrap();
    }
}

#[tokio::test]
async fn one_gateway_is_drained_and_started_again_and_no_call_fails() {
    is_drained_and_started_again(true).await;
}

#[tokio::test]
async fn one_gateway_without_multiplexing_is_drained_and_started_again_and_no_call_fails() {
    is_drained_and_started_again(false).await;
}

#[tokio::test]
async fn slow_calls_that_come_all_the_time_do_not_keep_a_gateway() {
    for multiplex in [true, false] {
        let mut only = OnlyGateway::start(multiplex).await;
        let (stop, client) = (Arc::new(AtomicBool::new(false)), only.client.clone());
        let slow: Vec<_> = (0..10)
            .map(|n| {
                let (client, stop) = (client.clone(), stop.clone());
                tokio::spawn(async move {
                    tokio::time::sleep(Duration::from_millis(120 * n)).await;
                    let mut made = 0;
                    while !stop.load(Ordering::Relaxed) {
                        soon_over::call(&client).await.unwrap();
                        made += 1;
                    }
                    made
                })
            })
            .collect();
        // The gateway knows how long they take.
        soon(soon_over::call(&client)).await.unwrap();
        soon(only.drain(GRACE)).await.unwrap();
        only.again().await;
        soon(soon_over::call(&client)).await.unwrap();
        stop.store(true, Ordering::Relaxed);
        for calls in slow {
            assert!(soon(calls).await.unwrap() > 0);
        }
    }
}

#[tokio::test]
async fn what_outlasts_a_gateways_grace_is_cut_off_and_nothing_else() {
    for multiplex in [true, false] {
        let mut only = OnlyGateway::start(multiplex).await;
        let client = only.client.clone();
        let (stop, made) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let callers: Vec<_> =
            (0..4).map(|_| caller(client.clone(), stop.clone(), made.clone())).collect();
        let mut probe = Probe::new();
        let long = tokio::spawn(wait::call(&client, probe.key));
        assert_eq!(probe.next().await, "started");
        let mut numbers = count::call(&client, probe.key);
        for n in 0..3 {
            assert_eq!(soon(numbers.next()).await.unwrap().unwrap(), n);
        }
        soon(only.drain(Duration::from_secs(2))).await.unwrap();
        let error = soon(long).await.unwrap().unwrap_err();
        let seen = (error.kind(), error.executed());
        assert_eq!(seen, (ErrorKind::ConnectionLost, Executed::Maybe), "{error}");
        let error = soon(numbers.next()).await.unwrap().unwrap_err();
        let seen = (error.kind(), error.executed(), error.delivered());
        assert_eq!(seen, (ErrorKind::ConnectionLost, Executed::Yes, 3), "{error}");
        only.again().await;
        let before = made.load(Ordering::Relaxed);
        until(|| made.load(Ordering::Relaxed) > before + 50).await;
        stop.store(true, Ordering::Relaxed);
        for caller in callers {
            soon(caller).await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_drain_goes_on_without_whoever_has_asked_for_it() {
    let only = OnlyGateway::start(true).await;
    assert!(futures::poll!(pin!(only.gateway.drain(GRACE))).is_pending());
    soon(only.gateway.closed()).await;
    // One that has ended drains at once.
    soon(only.gateway.drain(GRACE)).await;
}

#[tokio::test]
async fn whoever_is_back_before_the_nodes_waits_for_them() {
    const LIMIT: Duration = Duration::from_secs(5);
    let state = tempfile::tempdir().unwrap();
    let serve = |address: String| common::gateway_at(address).state_dir(state.path()).serve();
    let gateway = soon(serve("127.0.0.1:0".into())).await.unwrap();
    let address = gateway.local_addr();
    let node =
        || Node::builder(address).dial(found_in(state.path())).functions(functions![add]).serve();
    let first = soon(node()).await.unwrap();
    let builder = Client::builder(address).dial(found_in(state.path()));
    let client = soon(builder.dial(patient(LIMIT)).connect()).await.unwrap();
    assert_eq!(soon(add::call(&client, 1, 2)).await.unwrap(), 3);
    soon(first.shutdown()).await;
    soon(gateway.shutdown()).await;

    // One waits for the connection, and one comes when it is there.
    let queued = tokio::spawn(add::call(&client, 1, 2));
    let gateway = soon(serve(address.to_string())).await.unwrap();
    until(|| gateway.stats().in_flight == 1).await;
    let next = tokio::spawn(add::call(&client, 3, 4));
    until(|| gateway.stats().in_flight == 2).await;
    assert!(!queued.is_finished() && !next.is_finished());
    let second = soon(node()).await.unwrap();
    assert_eq!(soon(queued).await.unwrap().unwrap(), 3);
    assert_eq!(soon(next).await.unwrap().unwrap(), 7);

    // But not for ever.
    soon(second.shutdown()).await;
    until(|| gateway.nodes().is_empty()).await;
    let error = soon(add::call(&client, 1, 2)).await.unwrap_err();
    assert_eq!((error.kind(), error.executed()), (ErrorKind::NoNode, Executed::No), "{error}");
    let asked = std::time::Instant::now();
    let error = soon(add::call(&client, 1, 2)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NoNode, "{error}");
    assert!(asked.elapsed() < LIMIT, "it was long ago that the client came back");
}
