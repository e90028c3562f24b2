//! Calls that are made again: never one that may have run, unless it may run twice.

use std::time::Duration;

use common::{Probe, World, patient, say, soon, until};
use easyremote::{Client, Context, ErrorKind, Executed, Node, Retry, functions, remote};
use futures::{Stream, StreamExt, TryStreamExt, stream};

/// Hangs at the first attempt; gives the number of a later one, and the id that all have.
#[remote(idempotent)]
async fn at_least_once(#[ctx] ctx: &Context, key: u64) -> (u64, u128) {
    attempt(ctx, key).await
}

#[remote]
async fn at_most_once(#[ctx] ctx: &Context, key: u64) -> (u64, u128) {
    attempt(ctx, key).await
}

async fn attempt(ctx: &Context, key: u64) -> (u64, u128) {
    say(key, "started");
    if ctx.attempt() == 0 {
        std::future::pending::<()>().await;
    }
    (ctx.attempt(), ctx.call_id())
}

/// The same for a stream that is set up, and one that is not.
#[remote(stream, idempotent)]
async fn stream_of_attempts(
    #[ctx] ctx: &Context,
    key: u64,
    hang_after_opening: bool,
) -> Result<impl Stream<Item = u64>, ()> {
    say(key, "started");
    let attempt = ctx.attempt();
    if attempt == 0 && !hang_after_opening {
        std::future::pending::<()>().await;
    }
    let rest =
        if attempt == 0 { stream::pending().left_stream() } else { stream::empty().right_stream() };
    Ok(stream::iter([attempt]).chain(rest))
}

#[remote(idempotent)]
async fn always_hangs(key: u64) {
    say(key, "started");
    std::future::pending().await
}

/// A client, and a way to lose whichever node has the call.
async fn world() -> (World, Vec<Node>, Client) {
    let world = World::start().await;
    let mut nodes = Vec::new();
    for id in ["a", "b", "c"] {
        let functions = functions![at_least_once, at_most_once, stream_of_attempts, always_hangs];
        nodes.push(soon(world.node_builder().id(id).functions(functions).serve()).await.unwrap());
    }
    let client = world.client().await;
    (world, nodes, client)
}

async fn lose_the_busy_one(nodes: &[Node]) {
    let busy = nodes.iter().find(|node| node.stats().in_flight > 0).unwrap();
    soon(busy.shutdown()).await;
}

#[tokio::test]
async fn what_may_run_twice_is_called_again_when_its_node_is_lost() {
    let (_world, nodes, client) = world().await;
    let mut probe = Probe::new();
    let call = tokio::spawn(at_least_once::call(&client, probe.key).traced());
    assert_eq!(probe.next().await, "started");
    lose_the_busy_one(&nodes).await;
    let ((attempt, id), trace) = soon(call).await.unwrap().unwrap();
    assert_eq!((attempt, trace.attempts), (1, 2));
    assert_ne!(id, 0);
    assert_eq!(probe.next().await, "started");
    assert_eq!(probe.so_far(), [""; 0]);
}

#[tokio::test]
async fn what_may_not_is_not_and_the_error_says_so() {
    let (_world, nodes, client) = world().await;
    let mut probe = Probe::new();
    let call = at_most_once::call(&client, probe.key).retry(Retry::new().attempts(9));
    let call = tokio::spawn(call);
    assert_eq!(probe.next().await, "started");
    lose_the_busy_one(&nodes).await;
    let error = soon(call).await.unwrap().unwrap_err();
    assert_ne!(error.executed(), Executed::No, "{error}");
    assert!(!error.is_retryable());
    assert_eq!(probe.so_far(), [""; 0]);
}

#[tokio::test]
async fn a_stream_is_begun_again_until_it_is_open() {
    let (_world, nodes, client) = world().await;
    let mut probe = Probe::new();
    let call = stream_of_attempts::call(&client, probe.key, false);
    let items = tokio::spawn(call.try_collect::<Vec<u64>>());
    assert_eq!(probe.next().await, "started");
    lose_the_busy_one(&nodes).await;
    assert_eq!(soon(items).await.unwrap().unwrap(), [1]);

    let mut open = stream_of_attempts::call(&client, probe.key, true);
    assert_eq!(soon(open.next()).await.unwrap().unwrap(), 0);
    lose_the_busy_one(&nodes).await;
    let error = soon(open.next()).await.unwrap().unwrap_err();
    assert_eq!(error.remote().map(|error| error.delivered()), Some(1), "{error:?}");
}

#[tokio::test]
async fn never_means_never() {
    let (_world, nodes, client) = world().await;
    let mut probe = Probe::new();
    let call = tokio::spawn(at_least_once::call(&client, probe.key).retry(Retry::never()));
    assert_eq!(probe.next().await, "started");
    lose_the_busy_one(&nodes).await;
    assert_ne!(soon(call).await.unwrap().unwrap_err().executed(), Executed::No);
    assert_eq!(probe.so_far(), [""; 0]);
}

#[tokio::test]
async fn an_attempt_that_did_not_start_does_not_hide_one_that_may_have() {
    let (world, nodes, _) = world().await;
    // Another attempt waits so long for a node.
    let client = world.client_builder().dial(patient(Duration::from_secs(3))).connect();
    let client = soon(client).await.unwrap();
    let mut probe = Probe::new();
    let call = tokio::spawn(always_hangs::call(&client, probe.key));
    assert_eq!(probe.next().await, "started");
    // The others go first, so that nobody is left for the second attempt.
    for node in nodes.iter().filter(|node| node.stats().in_flight == 0) {
        soon(node.shutdown()).await;
    }
    until(|| world.gateway.nodes().len() == 1).await;
    lose_the_busy_one(&nodes).await;
    let error = soon(call).await.unwrap().unwrap_err();
    // What has become of the call, and not that nobody was there for it afterwards.
    assert_eq!(error.kind(), ErrorKind::NodeLost, "{error}");
    assert_ne!(error.executed(), Executed::No, "the first attempt has started");
    assert!(error.to_string().contains("the next attempt failed: no node"), "{error}");
}

#[tokio::test]
async fn a_call_that_is_made_again_waits_for_a_node() {
    let world = World::start().await;
    let node = world.node(functions![at_least_once, stream_of_attempts]).await;
    let client = world.client().await;
    let mut probe = Probe::new();
    let call = tokio::spawn(at_least_once::call(&client, probe.key));
    let items = stream_of_attempts::call(&client, probe.key, false);
    let items = tokio::spawn(items.try_collect::<Vec<u64>>());
    assert_eq!([probe.next().await, probe.next().await], ["started", "started"]);
    soon(node.shutdown()).await;
    // Both have come back, and nobody is there.
    until(|| world.gateway.nodes().is_empty() && world.gateway.stats().calls == 4).await;
    let _node = world.node(functions![at_least_once, stream_of_attempts]).await;
    assert_eq!(soon(call).await.unwrap().unwrap().0, 1);
    assert_eq!(soon(items).await.unwrap().unwrap(), [1]);
}

#[tokio::test]
async fn a_deadline_spans_all_attempts() {
    let (_world, nodes, client) = world().await;
    let mut probe = Probe::new();
    let retry =
        Retry::new().attempts(3).backoff(Duration::from_secs(600), Duration::from_secs(600));
    let call = always_hangs::call(&client, probe.key).retry(retry);
    let call = tokio::spawn(call.timeout(Duration::from_secs(3)));
    assert_eq!(probe.next().await, "started");
    lose_the_busy_one(&nodes).await;
    let error = soon(call).await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::DeadlineExceeded, "{error}");
    assert_ne!(error.executed(), Executed::No);
    assert_eq!(probe.so_far(), [""; 0]);
}

#[tokio::test]
async fn who_asks_for_it_is_called_again_when_there_is_no_node() {
    let world = World::start().await;
    let client = world.client().await;
    let retry = Retry::new().attempts(4).backoff(Duration::from_millis(1), Duration::ZERO);
    let before = world.gateway.stats().calls;
    let error = soon(at_most_once::call(&client, 0).retry(retry)).await.unwrap_err();
    assert_eq!((error.kind(), error.executed()), (ErrorKind::NoSuchFunction, Executed::No));
    assert_eq!(world.gateway.stats().calls - before, 1, "one that nobody knows is no wait away");
    let node = world.node(functions![at_most_once]).await;
    node.shutdown().await;
    until(|| world.gateway.nodes().is_empty()).await;
    let error = soon(at_most_once::call(&client, 0).retry(retry)).await.unwrap_err();
    assert_eq!((error.kind(), error.executed()), (ErrorKind::NoNode, Executed::No));
    assert_eq!(world.gateway.stats().calls - before, 5);
    // Without asking, the first answer is the last.
    let error = soon(at_most_once::call(&client, 0)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NoNode);
    assert_eq!(world.gateway.stats().calls - before, 6);
}
