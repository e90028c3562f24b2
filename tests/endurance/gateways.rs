//! Clients of two gateways, of which one has no node for a call: it is asked of the other one, and
//! the client goes where it is served.

use std::time::Duration;

use common::gate::{Gate, OPEN, pass, serve};
use common::proxy::Proxy;
use common::{found_in, soon, until};
use easyremote::client::JsonCall;
use easyremote::gateway::GatewayLimits;
use easyremote::node::Functions;
use easyremote::{
    Call, Client, Context, Error, ErrorKind, Executed, Gateway, Node, Options, Retry, functions,
    remote,
};
use futures::future::{BoxFuture, join_all};
use futures::{FutureExt, Stream, StreamExt, TryFutureExt, TryStreamExt, stream};
use serde_json::json;
use tempfile::TempDir;
use tokio::time::Instant;

#[remote]
async fn twice(n: u64) -> u64 {
    2 * n
}

/// The same function in another version of the program.
mod old {
    use easyremote::remote;

    #[remote]
    pub(super) async fn twice(n: u32) -> u32 {
        2 * n
    }
}

#[remote]
async fn length(bytes: Vec<u8>) -> usize {
    bytes.len()
}

#[remote(stream)]
fn below(n: u64) -> impl Stream<Item = u64> {
    stream::iter(0..n)
}

#[remote(stream)]
fn gated(gate: u64) -> impl Stream<Item = u64> {
    stream::once(async { 0 }).chain(stream::once(async move {
        pass(gate).await;
        1
    }))
}

#[remote]
async fn sum(numbers: impl Stream<Item = u64>) -> u64 {
    numbers.fold(0, |sum, n| async move { sum + n }).await
}

#[remote]
async fn wait(gate: u64) -> u64 {
    pass(gate).await;
    gate
}

#[remote]
async fn attempt(#[ctx] ctx: &Context) -> u64 {
    ctx.attempt()
}

fn all() -> Functions {
    functions![twice, length, below, gated, sum, wait, attempt]
}

/// Two gateways, and a client whose home is the first.
struct Pair {
    state: TempDir,
    gateways: [Gateway; 2],
    client: Client,
    _proxy: Proxy,
}

impl Pair {
    async fn start(multiplex: bool) -> Self {
        Self::with(multiplex, GatewayLimits::new()).await
    }

    /// `limits` are those of the first gateway.
    async fn with(multiplex: bool, limits: GatewayLimits) -> Self {
        let state = tempfile::tempdir().unwrap();
        let builder = || common::gateway_at("127.0.0.1:0").state_dir(state.path());
        let first = soon(builder().limits(limits).serve()).await.unwrap();
        let second = soon(builder().serve()).await.unwrap();
        // Not to be reached until the client has its home.
        let proxy = Proxy::start(second.local_addr(), 1);
        proxy.block_for(Duration::from_secs(3_600));
        let client = Client::builder([first.local_addr(), proxy.address()]);
        let client = client.dial(found_in(state.path())).multiplex(multiplex).connect();
        let client = soon(client).await.unwrap();
        proxy.heal();
        Self { state, gateways: [first, second], client, _proxy: proxy }
    }

    async fn node(&self, gateway: usize, functions: Functions) -> Node {
        let node =
            Node::builder(self.gateways[gateway].local_addr()).dial(found_in(self.state.path()));
        serve(node.functions(functions)).await.unwrap()
    }
}

/// Every way to call, of which none may be sent twice or needs to be.
fn calls(client: &Client) -> Vec<(&'static str, BoxFuture<'static, Result<(), Error>>)> {
    let json = client.call_json("twice", json!([4]));
    let streamed = client.stream_json("below", json!([3])).try_collect::<Vec<_>>();
    let remote = |error: easyremote::CallError<easyremote::client::JsonError>| match error {
        easyremote::CallError::Remote(error) => error,
        easyremote::CallError::Function(error) => panic!("{error}"),
    };
    vec![
        ("unary", right(twice::call(client, 4), 8)),
        ("traced", twice::call(client, 4).traced().map_ok(|_| ()).boxed()),
        ("long", right(length::call(client, vec![7; 300 << 10]), 300 << 10)),
        ("stream", below::call(client, 3).try_collect::<Vec<_>>().map_ok(|_| ()).boxed()),
        ("opened", below::call(client, 3).open().map_ok(|_| ()).boxed()),
        ("by name", json.map_ok(|_| ()).map_err(remote).boxed()),
        ("stream by name", streamed.map_ok(|_| ()).map_err(remote).boxed()),
    ]
}

fn right<T>(
    call: impl Future<Output = Result<T, Error>> + Send + 'static,
    answer: T,
) -> BoxFuture<'static, Result<(), Error>>
where
    T: PartialEq + std::fmt::Debug + Send + 'static,
{
    async move {
        assert_eq!(call.await?, answer);
        Ok(())
    }
    .boxed()
}

/// Why the first gateway cannot serve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cause {
    /// It never had a node.
    Never,
    /// It had one.
    NotNow,
    /// Its node has other functions.
    Others,
    /// Its node has the functions with other types.
    OtherTypes,
}

async fn is_left(cause: Cause, multiplex: bool, waits: bool) {
    let row = format!("{cause:?}, multiplexed {multiplex}, waits {waits}");
    let pair = Pair::start(multiplex).await;
    let _node = pair.node(1, all()).await;
    let _first = match cause {
        Cause::Never => None,
        Cause::NotNow => {
            let node = pair.node(0, all()).await;
            soon(node.shutdown()).await;
            until(|| pair.gateways[0].nodes().is_empty()).await;
            None
        }
        Cause::Others => Some(pair.node(0, functions![attempt]).await),
        Cause::OtherTypes => Some(pair.node(0, functions![old::twice]).await),
    };
    let options = if waits { Options::new().wait_for_node() } else { Options::new() };
    let client = pair.client.with(options);
    for (what, call) in calls(&client) {
        if cause == Cause::OtherTypes && what.contains("name") {
            // Without types, those of the first gateway's node will do.
            continue;
        }
        soon(call).await.unwrap_or_else(|error| panic!("{row}, {what}: {error:?}"));
    }
    // One that cannot be sent twice either, once the client has seen enough.
    until(|| pair.client.stats().reconnects == 1).await;
    let numbers = sum::call(&client, stream::iter(0..5));
    assert_eq!(soon(numbers).await.unwrap(), 10, "{row}");
    let before = pair.gateways[0].stats().calls;
    for (what, call) in calls(&client) {
        soon(call).await.unwrap_or_else(|error| panic!("{row}, {what}: {error:?}"));
    }
    assert_eq!(pair.gateways[0].stats().calls, before, "{row}: it is not asked any more");
    assert_eq!(soon(attempt::call(&client)).await.unwrap(), 0, "{row}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_without_a_node_for_its_client_is_left() {
    for cause in [Cause::Never, Cause::NotNow, Cause::Others, Cause::OtherTypes] {
        let rows = [(true, false), (true, true), (false, false), (false, true)];
        join_all(rows.map(|(multiplex, waits)| is_left(cause, multiplex, waits))).await;
    }
}

#[tokio::test]
async fn a_caller_on_one_thread_is_served_elsewhere_too() {
    is_left(Cause::NotNow, true, false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_under_way_at_a_gateway_that_is_left_goes_on() {
    for multiplex in [true, false] {
        let pair = Pair::start(multiplex).await;
        let _first = pair.node(0, functions![gated, wait]).await;
        let _second = pair.node(1, functions![twice]).await;
        let gate = Gate::closed();
        let mut items = gated::call(&pair.client, gate.key);
        assert_eq!(soon(items.next()).await.unwrap().unwrap(), 0);
        let waiting = tokio::spawn(wait::call(&pair.client, gate.key));
        until(|| pair.gateways[0].stats().in_flight == 2).await;
        while pair.client.stats().reconnects == 0 {
            assert_eq!(soon(twice::call(&pair.client, 1)).await.unwrap(), 2);
        }
        gate.open();
        assert_eq!(soon(items.next()).await.unwrap().unwrap(), 1);
        assert!(soon(items.next()).await.is_none());
        assert_eq!(soon(waiting).await.unwrap().unwrap(), gate.key);
        // Each function is at one gateway only: both are used, and no call fails.
        for n in 0..20 {
            assert_eq!(soon(twice::call(&pair.client, n)).await.unwrap(), 2 * n);
            assert_eq!(soon(wait::call(&pair.client, OPEN)).await.unwrap(), OPEN);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_without_room_is_passed_over() {
    let pair = Pair::with(true, GatewayLimits::new().calls_per_peer(1)).await;
    let (_first, _second) = (pair.node(0, all()).await, pair.node(1, all()).await);
    let gate = Gate::closed();
    let waiting: Vec<_> =
        (0..4).map(|_| tokio::spawn(wait::call(&pair.client, gate.key))).collect();
    until(|| pair.gateways[1].stats().in_flight > 0).await;
    gate.open();
    for call in waiting {
        assert_eq!(soon(call).await.unwrap().unwrap(), gate.key);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_no_gateway_has_a_node_the_error_says_so() {
    let pair = Pair::start(true).await;
    let error = soon(twice::call(&pair.client, 1)).await.unwrap_err();
    assert_eq!((error.kind(), error.executed()), (ErrorKind::NoSuchFunction, Executed::No));
    assert!(error.to_string().ends_with("2 gateways of this client were asked"), "{error}");
    // Each was asked once.
    assert_eq!(pair.gateways.each_ref().map(|gateway| gateway.stats().calls), [1, 1]);
    // One that is not let in by the first is not sent to the second, nor one that is to be made once.
    let once = twice::call(&pair.client, 1).retry(Retry::never());
    let error = soon(once).await.unwrap_err();
    assert_eq!((error.kind(), error.executed()), (ErrorKind::NoSuchFunction, Executed::No));
    let stats = soon(pair.client.gateway_stats()).await.unwrap_err();
    assert_eq!(stats.kind(), ErrorKind::PermissionDenied, "{stats}");
    assert_eq!(pair.gateways[1].stats().calls, 1);
    // Whoever has a deadline waits until then, at both.
    let late: Call<_> = twice::call(&pair.client, 1).wait_for_node();
    let error = soon(late.timeout(Duration::from_secs(3))).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::DeadlineExceeded, "{error}");
    let by_name: JsonCall = pair.client.call_json("twice", json!([1]));
    soon(by_name).await.unwrap_err();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_waits_for_a_node_waits_at_all_gateways() {
    for (multiplex, gateway) in [(true, 0), (true, 1), (false, 0), (false, 1)] {
        let pair = Pair::start(multiplex).await;
        let client = pair.client.with(Options::new().wait_for_node());
        let calls: Vec<_> =
            calls(&client).into_iter().map(|(what, call)| (what, tokio::spawn(call))).collect();
        until(|| pair.gateways.iter().all(|gateway| gateway.stats().in_flight > 0)).await;
        let _node = pair.node(gateway, all()).await;
        for (what, call) in calls {
            let row = format!("multiplexed {multiplex}, gateway {gateway}, {what}");
            soon(call).await.unwrap().unwrap_or_else(|error| panic!("{row}: {error:?}"));
        }
    }
}

/// The nodes are at both gateways, and their way to the client's is cut: nobody says goodbye.
async fn cut_off(multiplex: bool, waits: bool) {
    let row = format!("multiplexed {multiplex}, waits {waits}");
    let pair = Pair::start(multiplex).await;
    let proxy = Proxy::start(pair.gateways[0].local_addr(), 2);
    let mut nodes = Vec::new();
    for id in ["a", "b"] {
        let node = Node::builder([proxy.address(), pair.gateways[1].local_addr()]);
        let node = node.dial(found_in(pair.state.path())).id(id).functions(all());
        nodes.push(serve(node).await.unwrap());
    }
    let options = if waits { Options::new().wait_for_node() } else { Options::new() };
    let client = pair.client.with(options.timeout(Duration::from_millis(500)));
    assert_eq!(soon(twice::call(&client, 1)).await.unwrap(), 2, "{row}");
    let cut = Instant::now();
    proxy.block_for(Duration::from_secs(3_600));
    // Until the gateway has noticed, calls get to nodes that do not answer.
    let served = async {
        let (mut last_failure, mut in_a_row) = (Instant::now(), 0);
        while in_a_row < 200 {
            match twice::call(&client, 1).await {
                Ok(_) => in_a_row += 1,
                Err(_) => (last_failure, in_a_row) = (Instant::now(), 0),
            }
        }
        last_failure
    };
    let last_failure = soon(served).await;
    // 6 s until the nodes are suspect; on a machine that is short of processors somewhat longer.
    let after = last_failure - cut;
    assert!(after < Duration::from_secs(10), "{row}: calls failed for {after:?}");
    println!("{row}: calls failed for {after:?}");
    for (what, call) in calls(&client) {
        soon(call).await.unwrap_or_else(|error| panic!("{row}, {what}: {error:?}"));
    }
    assert_eq!(pair.client.stats().reconnects, 1, "{row}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_that_are_cut_off_from_one_gateway_are_reached_through_the_other() {
    let rows = [(true, false), (true, true), (false, false), (false, true)];
    join_all(rows.map(|(multiplex, waits)| cut_off(multiplex, waits))).await;
}

/// The client's other gateway is none, and it is back at the first before the node is.
async fn is_back_first(multiplex: bool) {
    let state = tempfile::tempdir().unwrap();
    let builder = |address: String| common::gateway_at(address).state_dir(state.path()).serve();
    let gateway = soon(builder("127.0.0.1:0".into())).await.unwrap();
    let address = gateway.local_addr();
    let nowhere = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let client = Client::builder([address, nowhere.local_addr().unwrap()]);
    let client =
        soon(client.dial(found_in(state.path())).multiplex(multiplex).connect()).await.unwrap();
    let node = || serve(Node::builder(address).dial(found_in(state.path())).functions(all()));
    let first = node().await.unwrap();
    assert_eq!(soon(twice::call(&client, 1)).await.unwrap(), 2);
    soon(first.shutdown()).await;
    soon(gateway.shutdown()).await;
    let queued = tokio::spawn(twice::call(&client, 2));
    let gateway = soon(builder(address.to_string())).await.unwrap();
    until(|| client.stats().reconnects == 1).await;
    let calls: Vec<_> =
        calls(&client).into_iter().map(|(what, call)| (what, tokio::spawn(call))).collect();
    until(|| gateway.stats().calls > calls.len() as u64).await;
    let _second = node().await.unwrap();
    assert_eq!(soon(queued).await.unwrap().unwrap(), 4, "multiplexed {multiplex}");
    for (what, call) in calls {
        let outcome = soon(call).await.unwrap();
        outcome.unwrap_or_else(|error| panic!("multiplexed {multiplex}, {what}: {error:?}"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_is_back_before_the_nodes_waits_although_it_has_another_gateway() {
    join_all([true, false].map(is_back_first)).await;
}
