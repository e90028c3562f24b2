//! More calls than a client may have open, many of which are given up: no party loses a connection.

use std::collections::VecDeque;
use std::task::Poll;
use std::time::{Duration, Instant};

use common::ended::{Ended, ended};
use common::gate::serve;
use common::{World, found_in, kinds_long, soon, until};
use easyremote::gateway::GatewayLimits;
use easyremote::node::NodeBuilder;
use easyremote::{Client, Context, ErrorKind, Executed, Gateway, Node, Options, functions, remote};
use fastrand::Rng;
use futures::future::{join_all, try_join_all};
use futures::{Stream, StreamExt, poll, stream};
use serde_json::json;

#[remote]
async fn nap(ms: u64) -> u64 {
    tokio::time::sleep(Duration::from_millis(ms)).await;
    ms
}

#[remote(stream)]
fn naps(ms: u64) -> impl Stream<Item = u64> {
    stream::once(nap(ms))
}

/// Tasks that make calls at a time, and the calls that each has open: above what a client may have.
const TASKS: usize = 4;
const OPEN: usize = 300;

/// For how long.
fn time() -> Duration {
    Duration::from_secs(if kinds_long() { 30 } else { 2 })
}

/// Has calls open all of the time, gives up the oldest if it has not ended, and gives the errors of
/// those that have. Nothing is between a call that is given up and the next one.
async fn churn(client: Client, seed: u64, until: Instant) -> Vec<Ended> {
    let mut rng = Rng::with_seed(seed);
    let (mut open, mut failed) = (VecDeque::new(), Vec::new());
    for n in 0.. {
        let mut call = Box::pin(nap::call(&client, 20 + rng.u64(..100)));
        if let Poll::Ready(result) = poll!(&mut call) {
            failed.extend(result.is_err().then(|| ended(result)));
            continue;
        }
        open.push_back(call);
        if open.len() > OPEN
            && let Some(mut oldest) = open.pop_front()
            && let Poll::Ready(Err(error)) = poll!(&mut oldest)
        {
            failed.push(ended(Err::<(), _>(error)));
        }
        if n % 16 == 0 {
            if Instant::now() > until {
                break;
            }
            tokio::task::yield_now().await;
        }
    }
    let left = join_all(open).await.into_iter();
    failed.extend(left.filter(Result::is_err).map(ended));
    failed
}

async fn churns(client: &Client) -> Vec<Ended> {
    let until = Instant::now() + time();
    let tasks = (0..TASKS).map(|seed| tokio::spawn(churn(client.clone(), seed as u64, until)));
    join_all(tasks).await.into_iter().flat_map(Result::unwrap).collect()
}

/// Makes calls one after the other, half of which it gives up in the middle in one of several ways;
/// gives the errors of those that ended.
async fn mixed(client: Client, seed: u64, until: Instant) -> Vec<Ended> {
    let mut rng = Rng::with_seed(seed);
    let mut failed = Vec::new();
    while Instant::now() < until {
        let ms = 20 + rng.u64(..100);
        let half = Duration::from_millis(ms / 2);
        let outcome = match rng.u32(..8) {
            0..4 => Some(ended(nap::call(&client, ms).await)),
            4 => Some(ended(nap::call(&client, ms).timeout(half).await)),
            5 => {
                let call = tokio::time::timeout(half, nap::call(&client, ms));
                call.await.ok().map(ended)
            }
            6 => {
                let call = client.call_json("nap", json!([ms]));
                tokio::time::timeout(half, call).await.ok().map(ended)
            }
            _ => {
                let mut items = naps::call(&client, ms);
                let item = tokio::time::timeout(half, items.next()).await;
                item.ok().flatten().map(ended)
            }
        };
        failed.extend(outcome.filter(Result::is_err));
    }
    failed
}

async fn mixes(client: &Client, tasks: u64) -> Vec<Ended> {
    let until = Instant::now() + time();
    let tasks = (0..tasks).map(|seed| tokio::spawn(mixed(client.clone(), seed, until)));
    join_all(tasks).await.into_iter().flat_map(Result::unwrap).collect()
}

/// What may end a call here: its time, or that too many are open, which proves that it did not run.
fn is_fair(ended: &Ended) -> bool {
    matches!(
        ended,
        Ok(())
            | Err((ErrorKind::DeadlineExceeded, ..))
            | Err((ErrorKind::Overloaded, Executed::No, _))
    )
}

/// That what ended otherwise is nothing; tells a few of them, and how many there are.
fn all_fair(row: &str, ended: Vec<Ended>) {
    let unfair: Vec<_> = ended.into_iter().filter(|ended| !is_fair(ended)).collect();
    let some = &unfair[..unfair.len().min(3)];
    assert!(unfair.is_empty(), "{row}: {} calls, such as {some:#?}", unfair.len());
}

/// A gateway that counts no calls that are given up, for that is not what this is about.
async fn start(world: &World) -> Gateway {
    let limits = GatewayLimits::new().cancels(u32::MAX, u32::MAX);
    let gateway = common::gateway_at("127.0.0.1:0").state_dir(world.state_dir()).limits(limits);
    soon(gateway.serve()).await.unwrap()
}

fn node(world: &World, gateway: &Gateway) -> NodeBuilder {
    Node::builder(gateway.local_addr()).dial(found_in(world.state_dir()))
}

async fn client(world: &World, gateway: &Gateway, multiplex: bool) -> Client {
    let client = Client::builder(gateway.local_addr()).dial(found_in(world.state_dir()));
    soon(client.multiplex(multiplex).connect()).await.unwrap()
}

/// All is as it was, on the connections of the beginning.
async fn is_as_it_was(row: &str, gateway: &Gateway, node: &Node, client: &Client) {
    assert_eq!(soon(nap::call(client, 1)).await.unwrap(), 1, "{row}");
    until(|| client.stats().in_flight == 0 && gateway.stats().in_flight == 0).await;
    until(|| node.stats().in_flight == 0).await;
    assert_eq!(client.stats().reconnects, 0, "{row}");
    assert_eq!((gateway.stats().nodes, node.stats().gateways), (1, 1), "{row}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn calls_given_up_above_the_limit_cost_no_connection() {
    for multiplex in [true, false] {
        let row = format!("multiplexed {multiplex}");
        let world = World::start().await;
        let gateway = start(&world).await;
        let node = serve(node(&world, &gateway).functions(functions![nap])).await.unwrap();
        let client = client(&world, &gateway, multiplex).await;
        all_fair(&row, soon(churns(&client)).await);
        is_as_it_was(&row, &gateway, &node, &client).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn tasks_above_the_limit_that_give_up_half_of_their_calls_cost_no_connection() {
    const CALLERS: u64 = 1_100;
    for multiplex in [true, false] {
        let row = format!("multiplexed {multiplex}");
        let world = World::start().await;
        let gateway = start(&world).await;
        let node = serve(node(&world, &gateway).functions(functions![nap, naps])).await.unwrap();
        let client = client(&world, &gateway, multiplex).await;
        all_fair(&row, soon(mixes(&client, CALLERS)).await);
        is_as_it_was(&row, &gateway, &node, &client).await;
    }
}

/// Makes the same calls as a client; gives those that ended as they must not.
#[remote]
async fn nested(#[ctx] ctx: &Context, in_order: bool) -> Vec<String> {
    let client = ctx.client().with(Options::new().on("inner"));
    let ended = if in_order { churns(&client).await } else { mixes(&client, 1_100).await };
    ended.into_iter().filter(|ended| !is_fair(ended)).map(|ended| format!("{ended:?}")).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nested_calls_given_up_above_the_limit_cost_no_registration() {
    for in_order in [true, false] {
        let row = format!("in order {in_order}");
        let world = World::start().await;
        let gateway = start(&world).await;
        let inner = node(&world, &gateway).id("inner").concurrency(10_000);
        let outer = node(&world, &gateway).id("outer").functions(functions![nested]);
        let nodes = [serve(inner.functions(functions![nap, naps])), serve(outer)];
        let nodes = try_join_all(nodes).await.unwrap();
        let client = client(&world, &gateway, true).await;
        let ended = soon(nested::call(&client, in_order)).await;
        let unfair = ended.unwrap_or_else(|error| panic!("{row}: {error:?}"));
        assert!(unfair.is_empty(), "{row}: {} calls, such as {}", unfair.len(), unfair[0]);
        until(|| gateway.stats().in_flight == 0).await;
        for node in &nodes {
            until(|| node.stats().in_flight == 0).await;
            assert_eq!(node.stats().gateways, 1, "{row}");
        }
        assert_eq!(gateway.stats().nodes, 2, "{row}");
    }
}
