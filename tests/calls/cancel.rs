//! What is dropped stops: calls and streams, sync and async, on the node.

use std::time::Duration;

use common::{Probe, SayOnDrop, World, say, serving, soon, until};
use easyremote::{ErrorKind, functions, remote};
use futures::{Stream, StreamExt, stream};

#[remote]
async fn wait_for_ever(key: u64) {
    let _guard = SayOnDrop(key, "dropped");
    say(key, "started");
    std::future::pending::<()>().await;
}

#[remote]
fn block(key: u64) {
    let _guard = SayOnDrop(key, "dropped");
    say(key, "started");
}

#[remote(stream)]
fn endless(key: u64) -> impl Iterator<Item = u64> {
    let guard = SayOnDrop(key, "dropped");
    (0..).inspect(move |_| {
        let _keep = &guard;
    })
}

#[remote(stream)]
fn endless_async(key: u64) -> impl Stream<Item = u64> {
    let guard = SayOnDrop(key, "dropped");
    stream::iter(0..).inspect(move |_| {
        let _keep = &guard;
    })
}

#[remote(stream)]
fn silent(key: u64) -> impl Stream<Item = u64> {
    let guard = SayOnDrop(key, "dropped");
    say(key, "started");
    stream::pending().inspect(move |_: &u64| {
        let _keep = &guard;
    })
}

#[remote(stream)]
fn one_then_silence() -> impl Stream<Item = u64> {
    stream::iter([1]).chain(stream::pending())
}

#[remote(stream)]
async fn slow_set_up(key: u64) -> impl Stream<Item = u64> {
    let _guard = SayOnDrop(key, "dropped");
    say(key, "started");
    std::future::pending::<()>().await;
    stream::empty()
}

#[tokio::test]
async fn dropping_a_call_cancels_its_handler() {
    let (world, node, client) = World::with(functions![wait_for_ever]).await;
    let mut probe = Probe::new();
    let call = tokio::spawn(wait_for_ever::call(&client, probe.key));
    assert_eq!(probe.next().await, "started");
    call.abort();
    assert_eq!(probe.next().await, "dropped");
    until(|| node.stats().in_flight == 0 && world.gateway.stats().in_flight == 0).await;
}

#[tokio::test]
async fn a_deadline_cancels_the_handler() {
    let (_world, client) = serving(functions![wait_for_ever]).await;
    let mut probe = Probe::new();
    let call = wait_for_ever::call(&client, probe.key).timeout(Duration::from_secs(2));
    let (outcome, ()) = soon(async {
        futures::join!(call, async {
            assert_eq!(probe.next().await, "started");
            assert_eq!(probe.next().await, "dropped");
        })
    })
    .await;
    assert_eq!(outcome.unwrap_err().kind(), ErrorKind::DeadlineExceeded);
}

#[tokio::test]
async fn dropping_a_stream_stops_its_iterator() {
    let (_world, client) = serving(functions![endless]).await;
    let mut probe = Probe::new();
    let mut items = endless::call(&client, probe.key);
    soon(items.next()).await.unwrap().unwrap();
    drop(items);
    assert_eq!(probe.next().await, "dropped");
}

#[tokio::test]
async fn dropping_a_stream_stops_its_generator() {
    let (world, node, client) = World::with(functions![endless_async, silent]).await;
    let mut probe = Probe::new();
    let mut items = endless_async::call(&client, probe.key);
    soon(items.next()).await.unwrap().unwrap();
    drop(items);
    assert_eq!(probe.next().await, "dropped");

    // Also one that has nothing to say, and one that has not been read.
    let opened = soon(silent::call(&client, probe.key).open()).await.unwrap();
    assert_eq!(probe.next().await, "started");
    drop(opened);
    assert_eq!(probe.next().await, "dropped");
    until(|| node.stats().in_flight == 0 && world.gateway.stats().in_flight == 0).await;
}

#[tokio::test]
async fn dropping_a_stream_cancels_its_set_up() {
    let (_world, client) = serving(functions![slow_set_up]).await;
    let mut probe = Probe::new();
    let opening = tokio::spawn(slow_set_up::call(&client, probe.key).open());
    assert_eq!(probe.next().await, "started");
    opening.abort();
    assert_eq!(probe.next().await, "dropped");
}

#[tokio::test]
async fn a_client_that_goes_away_cancels_all_it_had_called() {
    let (_world, node, client) = World::with(functions![wait_for_ever, endless]).await;
    let mut probe = Probe::new();
    let call = tokio::spawn(wait_for_ever::call(&client, probe.key));
    assert_eq!(probe.next().await, "started");
    let mut stream_probe = Probe::new();
    let mut items = endless::call(&client, stream_probe.key);
    soon(items.next()).await.unwrap().unwrap();

    soon(client.close()).await;
    assert_eq!(probe.next().await, "dropped");
    assert_eq!(stream_probe.next().await, "dropped");
    assert_eq!(soon(call).await.unwrap().unwrap_err().kind(), ErrorKind::ConnectionLost);
    // What had arrived is still there; then comes the error, and then the end.
    let last = loop {
        if let Err(error) = soon(items.next()).await.unwrap() {
            break error;
        }
    };
    assert_eq!(last.kind(), ErrorKind::ConnectionLost);
    assert!(last.delivered() > 0);
    assert!(soon(items.next()).await.is_none());
    until(|| node.stats().in_flight == 0).await;
}

#[tokio::test]
async fn a_call_that_waits_for_a_place_is_never_started_if_it_is_dropped() {
    let world = World::start().await;
    let functions = functions![wait_for_ever];
    let node = soon(world.node_builder().concurrency(1).functions(functions).serve());
    let node = node.await.unwrap();
    let client = world.client().await;
    let (mut first, mut second) = (Probe::new(), Probe::new());
    let running = tokio::spawn(wait_for_ever::call(&client, first.key));
    assert_eq!(first.next().await, "started");
    let waiting = tokio::spawn(wait_for_ever::call(&client, second.key));
    until(|| world.gateway.stats().waiting == 1).await;
    waiting.abort();
    until(|| world.gateway.stats().waiting == 0).await;
    running.abort();
    until(|| node.stats().in_flight == 0).await;
    assert_eq!(node.stats().calls, 1);
    assert_eq!(second.so_far(), [""; 0]);
}

#[tokio::test]
async fn a_sync_function_runs_on_when_its_call_is_dropped() {
    let (_world, client) = serving(functions![block]).await;
    let mut probe = Probe::new();
    let call = tokio::spawn(block::call(&client, probe.key));
    assert_eq!(probe.next().await, "started");
    call.abort();
    assert_eq!(probe.next().await, "dropped");
}

#[tokio::test]
async fn abandoned_streams_leave_nothing_behind() {
    let (world, node, client) = World::with(functions![endless_async, one_then_silence]).await;
    for _ in 0..300 {
        let mut items = endless_async::call(&client, u64::MAX);
        soon(items.next()).await.unwrap().unwrap();
    }
    until(|| node.stats().in_flight == 0 && world.gateway.stats().in_flight == 0).await;
    // The streams' credit has come back as well: all of it can be used again.
    let mut open = Vec::new();
    for _ in 0..1_000 {
        let mut items = one_then_silence::call(&client);
        soon(items.next()).await.unwrap().unwrap();
        open.push(items);
    }
}
