//! Which node gets a call, and how it went.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use common::{Probe, World, say, soon, until};
use easyremote::{Client, Context, Node, Options, Strategy, functions, remote};
use futures::{StreamExt, TryStreamExt};

#[remote]
async fn node(#[ctx] ctx: &Context) -> String {
    ctx.node().to_owned()
}

/// Says that it has started; takes until the caller drops it.
#[remote]
async fn hold(key: u64) {
    say(key, "holding");
    std::future::pending().await
}

#[remote]
async fn slowly(#[ctx] ctx: &Context) -> String {
    if ctx.node() == "c" {
        tokio::time::sleep(Duration::from_millis(400)).await;
    }
    ctx.node().to_owned()
}

#[remote]
async fn echo(#[ctx] ctx: &Context, n: u64) -> (u64, String) {
    (n, ctx.node().to_owned())
}

/// Fails at once on node a.
#[remote]
async fn fails_on_a(#[ctx] ctx: &Context, length: usize) -> Result<Vec<u8>, String> {
    if ctx.node() == "a" {
        return Err("this machine is broken".to_owned());
    }
    tokio::time::sleep(Duration::from_millis(20)).await;
    Ok(vec![0; length])
}

/// A stream that fails at once on node a.
#[remote(stream)]
async fn streams_not_on_a(#[ctx] ctx: &Context) -> Result<impl Iterator<Item = u32>, String> {
    if ctx.node() == "a" {
        return Err("this machine is broken".to_owned());
    }
    Ok(0..3)
}

/// Nodes a, b and c, of which a and b are tagged `eu`, and b and c `gpu`.
async fn three_nodes() -> (World, Vec<Node>, Client) {
    let world = World::start().await;
    let mut nodes = Vec::new();
    for (id, tags) in [("a", &["eu"][..]), ("b", &["eu", "gpu"]), ("c", &["gpu"])] {
        let builder = world.node_builder().id(id).functions(functions![
            node,
            hold,
            slowly,
            echo,
            fails_on_a,
            streams_not_on_a
        ]);
        let builder = tags.iter().fold(builder, |builder, tag| builder.tag(*tag));
        nodes.push(soon(builder.serve()).await.unwrap());
    }
    let client = world.client().await;
    (world, nodes, client)
}

/// How many of `n` calls each node got.
async fn shares(client: &Client, n: usize) -> BTreeMap<String, usize> {
    let mut shares = BTreeMap::new();
    for _ in 0..n {
        *shares.entry(soon(node::call(client)).await.unwrap()).or_default() += 1;
    }
    shares
}

fn ids(shares: &BTreeMap<String, usize>) -> Vec<&str> {
    shares.keys().map(String::as_str).collect()
}

#[tokio::test]
async fn round_robin_gives_each_node_its_turn() {
    let (_world, _nodes, client) = three_nodes().await;
    let client = client.with(Options::new().strategy(Strategy::RoundRobin));
    let shares = shares(&client, 30).await;
    assert_eq!(ids(&shares), ["a", "b", "c"]);
    assert!(shares.values().all(|&calls| calls == 10), "{shares:?}");
    let eu = client.with(Options::new().tag("eu"));
    assert_eq!(ids(&self::shares(&eu, 10).await), ["a", "b"]);
}

#[tokio::test]
async fn random_reaches_every_node() {
    let (_world, _nodes, client) = three_nodes().await;
    let client = client.with(Options::new().strategy(Strategy::Random));
    // That one of three is missed 100 times has a chance of 1 in 10^17.
    assert_eq!(ids(&shares(&client, 100).await), ["a", "b", "c"]);
}

#[tokio::test]
async fn the_least_busy_node_gets_the_call() {
    let (world, _nodes, client) = three_nodes().await;
    let mut probe = Probe::new();
    for id in ["a", "b"] {
        tokio::spawn(hold::call(&client, probe.key).on(id));
        assert_eq!(probe.next().await, "holding");
    }
    // Two different ones of three are compared in 2 of 3 picks, and c is better than both others.
    let shares = shares(&client, 200).await;
    assert!(shares["c"] > 70, "{shares:?}");
    until(|| world.gateway.stats().in_flight == 2).await;
}

#[tokio::test]
async fn the_fastest_node_gets_the_call() {
    let (_world, _nodes, client) = three_nodes().await;
    let client = client.with(Options::new().strategy(Strategy::Fastest));
    let mut slow = 0;
    for _ in 0..40 {
        slow += usize::from(soon(slowly::call(&client)).await.unwrap() == "c");
    }
    // Once to find out, and where both choices fall on it: 1 of 9.
    assert!(slow < 20, "{slow} of 40 calls went to the slow node");
}

#[tokio::test]
async fn a_key_sticks_to_a_node_for_every_caller() {
    let (world, nodes, client) = three_nodes().await;
    let other = world.client().await;
    let mut owners = BTreeMap::new();
    for key in 0..40 {
        let key = format!("session {key}");
        let owner = soon(node::call(&client).sticky(&key)).await.unwrap();
        for client in [&client, &other, &client] {
            assert_eq!(soon(node::call(client).sticky(&key)).await.unwrap(), owner, "{key}");
        }
        owners.insert(key, owner);
    }
    assert_eq!(owners.values().collect::<BTreeSet<_>>().len(), 3, "{owners:?}");
    nodes[0].shutdown().await;
    until(|| world.gateway.nodes().len() == 2).await;
    for (key, before) in &owners {
        let now = soon(node::call(&client).sticky(key)).await.unwrap();
        assert!(now == *before || before == "a", "{key} moved from {before} to {now}");
    }
}

#[tokio::test]
async fn a_preferred_tag_is_a_wish_and_no_condition() {
    let (world, nodes, client) = three_nodes().await;
    let near = client.with(Options::new().prefer_tag("eu").prefer_tag("gpu"));
    assert_eq!(ids(&shares(&near, 20).await), ["b"]);
    nodes[1].shutdown().await;
    until(|| world.gateway.nodes().len() == 2).await;
    assert_eq!(ids(&shares(&near, 60).await), ["a", "c"]);
}

#[tokio::test]
async fn a_traced_call_tells_how_it_went() {
    let (_world, _nodes, client) = three_nodes().await;
    let (id, trace) = soon(slowly::call(&client).on("c").traced()).await.unwrap();
    assert_eq!((&*id, &*trace.node, trace.attempts), ("c", "c", 1));
    assert!(trace.ran >= Duration::from_millis(400), "{trace:?}");
    assert!(trace.queued < Duration::from_secs(60), "{trace:?}");
}

#[tokio::test]
async fn a_trace_counts_the_time_in_both_queues() {
    let world = World::start().await;
    let client = world.client().await;
    let traced = node::call(&client).wait_for_node().traced();
    let call = tokio::spawn(traced);
    until(|| world.gateway.stats().in_flight == 1).await;
    // A tick of the clock at least, before there is a node; and then a place that is taken.
    let waiting = std::time::Instant::now();
    until(|| waiting.elapsed() > Duration::from_millis(20)).await;
    let builder = world.node_builder().functions(functions![node, hold]).concurrency(1);
    let _node = soon(builder.serve()).await.unwrap();
    let (_, trace) = soon(call).await.unwrap().unwrap();
    assert!(trace.queued >= Duration::from_millis(20), "{trace:?}");

    let mut probe = Probe::new();
    let holding = tokio::spawn(hold::call(&client, probe.key));
    assert_eq!(probe.next().await, "holding");
    let called = std::time::Instant::now();
    let call = tokio::spawn(node::call(&client).traced());
    until(|| world.gateway.stats().waiting == 1).await;
    let waiting = std::time::Instant::now();
    until(|| waiting.elapsed() > Duration::from_millis(20)).await;
    holding.abort();
    let (_, trace) = soon(call).await.unwrap().unwrap();
    assert!(trace.queued >= Duration::from_millis(20), "{trace:?}");
    assert!(trace.queued + trace.ran <= called.elapsed(), "some of it counts twice: {trace:?}");
}

#[tokio::test]
async fn map_uses_all_nodes_and_keeps_the_order() {
    let (_world, _nodes, client) = three_nodes().await;
    let results: Vec<(u64, String)> =
        soon(echo::map(&client, 0..300).concurrency(64).try_collect()).await.unwrap();
    assert!(results.iter().map(|(n, _)| *n).eq(0..300));
    let nodes: BTreeSet<&str> = results.iter().map(|(_, node)| &**node).collect();
    assert_eq!(nodes.len(), 3);
    let unordered = echo::map(&client, 0..300).unordered().tag("gpu");
    let results: BTreeMap<u64, String> = soon(unordered.try_collect()).await.unwrap();
    assert_eq!(results.len(), 300);
    assert!(results.values().all(|node| node != "a"));
}

#[tokio::test]
async fn map_takes_inputs_as_it_goes_and_no_more_than_it_may() {
    let (world, _nodes, client) = three_nodes().await;
    let mut probe = Probe::new();
    let mut endless = hold::map(&client, std::iter::repeat(probe.key)).concurrency(5);
    let map = tokio::spawn(async move { endless.next().await });
    for _ in 0..5 {
        assert_eq!(probe.next().await, "holding");
    }
    until(|| world.gateway.stats().in_flight == 5).await;
    assert_eq!(probe.so_far(), [""; 0]);
    map.abort();
    until(|| world.gateway.stats().in_flight == 0).await;
    let mut empty = echo::map(&client, std::iter::empty());
    assert!(soon(empty.next()).await.is_none());
    assert!(soon(empty.next()).await.is_none());
}

/// Without avoidance, the node that fails at once is always the least busy one.
#[tokio::test]
async fn a_node_whose_calls_fail_is_avoided() {
    let (world, nodes, client) = three_nodes().await;
    // Multiplexed, and on separate streams.
    for length in [1, 100_000] {
        let calls = futures::stream::iter(0..400).map(|_| fails_on_a::call(&client, length));
        let results: Vec<_> = soon(calls.buffer_unordered(8).collect()).await;
        let succeeded = results.iter().filter(|result| result.is_ok()).count();
        assert!(succeeded >= 360, "{succeeded} of 400");
    }
    let infos = world.gateway.nodes();
    assert_eq!(infos[0].avoided_for, ["fails_on_a"]);
    assert!(infos[1..].iter().all(|node| node.avoided_for.is_empty()));
    assert!(world.gateway.stats().ejections > 0);
    assert!(shares(&client, 60).await.contains_key("a"), "other functions run there");
    drop(nodes);
}

#[tokio::test]
async fn a_node_whose_streams_fail_is_avoided() {
    let (world, nodes, client) = three_nodes().await;
    let mut succeeded = 0;
    for _ in 0..200 {
        let items: Result<Vec<u32>, _> = soon(streams_not_on_a::call(&client).try_collect()).await;
        succeeded += usize::from(items.is_ok());
    }
    assert!(succeeded >= 180, "{succeeded} of 200");
    assert_eq!(world.gateway.nodes()[0].avoided_for, ["streams_not_on_a"]);
    drop(nodes);
}
