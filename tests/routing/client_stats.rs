//! What a client counts.

use std::time::Duration;

use common::offered::add;
use common::{Probe, SayOnDrop, World, found_in, serving, soon, until};
use easyremote::client::ClientStats;
use easyremote::{Client, Context, ErrorKind, Node, Retry, functions, remote};
use futures::{Stream, StreamExt};

#[remote]
fn length(bytes: Vec<u8>) -> u64 {
    bytes.len() as u64
}

/// Never ends by itself.
#[remote]
async fn hold(key: u64) {
    SayOnDrop(key, "dropped").say("runs");
    std::future::pending().await
}

#[remote(stream)]
fn count() -> impl Stream<Item = u64> {
    futures::stream::iter(0..)
}

#[remote(stream)]
fn few() -> impl Stream<Item = u64> {
    futures::stream::iter(0..3)
}

#[remote]
async fn nested(#[ctx] ctx: &Context) -> [u64; 4] {
    let client = ctx.client();
    let before = client.stats();
    add::call(&client, 1, 2).await.unwrap();
    let stats = client.stats();
    [stats.connected.into(), stats.calls - before.calls, stats.retries, stats.reconnects]
}

fn gauges(stats: ClientStats) -> [u64; 4] {
    [stats.in_flight, stats.streams, stats.queued, stats.queued_bytes]
}

#[tokio::test]
async fn calls_and_streams_count_until_they_end_or_are_dropped() {
    let (_world, client) = serving(functions![add, hold, count, few]).await;
    assert_eq!(client.stats().calls, 0);
    assert!(client.stats().connected);
    let mut probe = Probe::new();
    let call = tokio::spawn(hold::call(&client, probe.key).into_future());
    assert_eq!(probe.next().await, "runs");
    let (mut endless, mut short) = (count::call(&client), few::call(&client));
    assert_eq!(gauges(client.stats()), [1, 0, 0, 0], "nothing counts before its first poll");
    for stream in [&mut endless as &mut (dyn Stream<Item = _> + Unpin), &mut short] {
        assert_eq!(soon(stream.next()).await.unwrap().unwrap(), 0);
    }
    // A clone, or a handle with options, is the same client.
    let handle = client.with(easyremote::Options::new().timeout(Duration::from_secs(60)));
    until(|| gauges(handle.stats())[0] >= 2).await;
    assert_eq!(handle.stats().calls, 3);
    assert_eq!(soon(short.collect::<Vec<_>>()).await.len(), 2);
    until(|| gauges(client.stats()) == [2, 1, 0, 0]).await;
    drop(endless);
    until(|| gauges(client.stats()) == [1, 0, 0, 0]).await;
    call.abort();
    until(|| gauges(client.stats()) == [0; 4]).await;
    assert_eq!(soon(add::call(&client, 1, 2)).await.unwrap(), 3);
    until(|| gauges(client.stats()) == [0; 4]).await;
    assert_eq!(client.stats(), handle.stats());
    let ClientStats { calls, retries, reconnects, .. } = client.stats();
    assert_eq!((calls, retries, reconnects), (4, 0, 0));
}

#[tokio::test]
async fn parked_calls_count_with_their_arguments_and_so_do_reconnects() {
    let state = tempfile::tempdir().unwrap();
    let start = |address: String| soon(common::gateway_at(address).state_dir(state.path()).serve());
    let gateway = start("127.0.0.1:0".into()).await.unwrap();
    let address = gateway.local_addr();
    let node = Node::builder(address).dial(found_in(state.path())).functions(functions![length]);
    let _node = soon(node.serve()).await.unwrap();
    let client =
        soon(Client::builder(address).dial(found_in(state.path())).connect()).await.unwrap();
    soon(gateway.shutdown()).await;
    drop(gateway);
    until(|| !client.stats().connected).await;
    let call = || length::call(&client, vec![7; 1_000]).wait_for_node();
    let calls: Vec<_> = (0..5).map(|_| tokio::spawn(call().into_future())).collect();
    until(|| client.stats().queued == 5).await;
    let stats = client.stats();
    assert_eq!((stats.in_flight, stats.calls), (5, 5));
    assert!((5_000..5_200).contains(&stats.queued_bytes), "{stats:?}");
    let _gateway = start(address.to_string()).await.unwrap();
    for call in calls {
        assert_eq!(soon(call).await.unwrap().unwrap(), 1_000);
    }
    until(|| gauges(client.stats()) == [0; 4]).await;
    let stats = client.stats();
    assert_eq!((stats.connected, stats.reconnects, stats.retries), (true, 1, 0));
}

#[tokio::test]
async fn each_further_attempt_is_a_retry() {
    let world = World::start().await;
    let client = world.client().await;
    let often =
        Retry::new().attempts(4).backoff(Duration::from_millis(1), Duration::from_millis(2));
    let error = soon(add::call(&client, 1, 2).retry(often)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NoSuchFunction);
    assert_eq!(client.stats().retries, 0, "what nobody offers is not asked for again");
    let node = world.node(functions![add]).await;
    soon(node.shutdown()).await;
    until(|| world.gateway.stats().nodes == 0).await;
    let error = soon(add::call(&client, 1, 2).retry(often)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NoNode);
    let stats = client.stats();
    assert_eq!((stats.calls, stats.retries), (2, 3));
}

#[tokio::test]
async fn the_client_of_a_function_counts_the_calls_of_its_node() {
    let (_world, client) = serving(functions![add, nested]).await;
    for _ in 0..2 {
        assert_eq!(soon(nested::call(&client)).await.unwrap(), [1, 1, 0, 0]);
    }
    assert_eq!(client.stats().calls, 2);
}
