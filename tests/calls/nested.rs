//! Functions that call functions: on other nodes, for as long as their own call lasts.

use std::time::Duration;

use common::{Probe, SayOnDrop, World, say, serving, soon, until};
use easyremote::{Client, Context, ErrorKind, Executed, Role, functions, remote};
use futures::{Stream, StreamExt, TryStreamExt};

#[remote]
fn square(n: u64) -> u64 {
    n * n
}

#[remote(stream)]
fn count(from: u64) -> impl Iterator<Item = u64> {
    from..
}

/// Says when it starts, and when it is dropped; takes for ever.
#[remote]
async fn hang(key: u64) {
    let _dropped = SayOnDrop(key, "inner dropped");
    say(key, "inner started");
    std::future::pending().await
}

#[remote]
async fn sum_of_squares(#[ctx] ctx: &Context, up_to: u64) -> u64 {
    let squares = square::map(&ctx.client(), 1..=up_to);
    squares.map(|square| square.unwrap()).fold(0, |sum, square| async move { sum + square }).await
}

/// A stream made of another one, live.
#[remote(stream)]
fn squares(#[ctx] ctx: &Context, from: u64) -> impl Stream<Item = u64> {
    let client = ctx.client();
    count::call(&client, from).map(|n| n.unwrap()).then(move |n| {
        let call = square::call(&client, n);
        async move { call.await.unwrap() }
    })
}

#[remote]
async fn outer(#[ctx] ctx: &Context, key: u64) {
    hang::call(&ctx.client(), key).await.unwrap();
}

/// Runs on a blocking thread, which nothing stops from outside.
#[remote]
fn outer_sync(#[ctx] ctx: &Context, key: u64) {
    let error = futures::executor::block_on(hang::call(&ctx.client(), key)).unwrap_err();
    let kind = error.kind();
    // Whichever is noticed first, where the deadline is what ends the call.
    let over = matches!(kind, ErrorKind::Cancelled | ErrorKind::DeadlineExceeded);
    say(key, if over { "cancelled" } else { "another error" });
}

/// Hands on how its own call failed.
#[remote(err = "display")]
async fn hands_on(#[ctx] ctx: &Context) -> Result<Vec<u64>, easyremote::Error> {
    silence::call(&ctx.client()).try_collect().await
}

#[remote(stream)]
fn silence() -> impl Stream<Item = u64> {
    futures::stream::pending()
}

#[remote]
async fn time_left(#[ctx] ctx: &Context) -> Option<Duration> {
    ctx.remaining()
}

#[remote]
async fn time_left_inside(#[ctx] ctx: &Context, longer: Duration) -> Option<Duration> {
    time_left::call(&ctx.client()).timeout(longer).await.unwrap()
}

#[remote]
async fn who(#[ctx] ctx: &Context) -> (bool, String, String) {
    let caller = ctx.caller();
    (caller.role == Role::Node, caller.id.clone(), caller.address.ip().to_string())
}

#[remote]
async fn who_from_node(#[ctx] ctx: &Context) -> (bool, String, String) {
    who::call(&ctx.client()).await.unwrap()
}

/// Two nodes, the outer functions on one and the inner ones on the other.
async fn two_nodes() -> (World, Vec<easyremote::Node>, Client) {
    let world = World::start().await;
    let outer = functions![
        sum_of_squares,
        squares,
        outer,
        outer_sync,
        hands_on,
        time_left_inside,
        who_from_node
    ];
    let inner = functions![square, count, hang, silence, time_left, who];
    let node = |id: &str, functions| world.node_builder().id(id).functions(functions).serve();
    let nodes = vec![soon(node("a", outer)).await.unwrap(), soon(node("b", inner)).await.unwrap()];
    let client = world.client().await;
    (world, nodes, client)
}

#[tokio::test]
async fn a_function_calls_functions_of_another_node() {
    let (_world, _nodes, client) = two_nodes().await;
    assert_eq!(soon(sum_of_squares::call(&client, 100)).await.unwrap(), 338_350);
    let squares: Vec<u64> = soon(squares::call(&client, 3).take(4).try_collect()).await.unwrap();
    assert_eq!(squares, [9, 16, 25, 36]);
}

#[tokio::test]
async fn dropping_a_call_cancels_what_it_has_called() {
    let (world, _nodes, client) = two_nodes().await;
    let mut probe = Probe::new();
    let call = tokio::spawn(outer::call(&client, probe.key));
    assert_eq!(probe.next().await, "inner started");
    call.abort();
    assert_eq!(probe.next().await, "inner dropped");
    until(|| world.gateway.stats().in_flight == 0).await;
}

#[tokio::test]
async fn a_blocked_function_hears_that_its_call_is_over() {
    let (_world, _nodes, client) = two_nodes().await;
    let mut probe = Probe::new();
    let call = tokio::spawn(outer_sync::call(&client, probe.key));
    assert_eq!(probe.next().await, "inner started");
    call.abort();
    let mut said = [probe.next().await, probe.next().await];
    said.sort_unstable();
    assert_eq!(said, ["cancelled", "inner dropped"]);
}

#[tokio::test]
async fn the_deadline_of_a_call_is_that_of_what_it_calls() {
    let (_world, _nodes, client) = two_nodes().await;
    let minute = Duration::from_secs(60);
    let left = time_left_inside::call(&client, 2 * minute).timeout(minute);
    let left = soon(left).await.unwrap().unwrap();
    assert!(left <= minute && left > Duration::ZERO, "{left:?}");
    let left = time_left_inside::call(&client, minute).timeout(2 * minute);
    assert!(soon(left).await.unwrap().unwrap() <= minute, "its own deadline is the nearer one");
    let left = soon(time_left_inside::call(&client, minute)).await.unwrap().unwrap();
    assert!(left <= minute, "there is only its own");

    let mut probe = Probe::new();
    let late = outer_sync::call(&client, probe.key).timeout(Duration::from_secs(2));
    let error = soon(late).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::DeadlineExceeded);
    assert_eq!(probe.next().await, "inner started");
    let mut said = [probe.next().await, probe.next().await];
    said.sort_unstable();
    assert_eq!(said, ["cancelled", "inner dropped"]);
}

#[tokio::test]
async fn a_function_that_hands_on_that_it_was_late_is_late() {
    let (_world, _nodes, client) = two_nodes().await;
    // It is over at every party in the same moment, of which each party has a view of its own.
    for n in 0..32 {
        let call = hands_on::call(&client).timeout(Duration::from_micros(50_000 + 333 * n));
        let error = soon(call).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::DeadlineExceeded, "{error}");
    }
}

#[tokio::test]
async fn a_function_knows_who_calls_it() {
    let (_world, _nodes, client) = two_nodes().await;
    let (from_node, id, address) = soon(who::call(&client)).await.unwrap();
    assert!(!from_node && id.starts_with("client-") && address == "127.0.0.1", "{id} {address}");
    assert_eq!(soon(who::call(&client)).await.unwrap().1, id, "the same process");
    let (from_node, id, _) = soon(who_from_node::call(&client)).await.unwrap();
    assert!(from_node && id == "a", "{id}");
}

#[tokio::test]
async fn a_node_calls_itself() {
    let functions = functions![sum_of_squares, square, squares, count];
    let (_world, client) = serving(functions).await;
    assert_eq!(soon(sum_of_squares::call(&client, 10)).await.unwrap(), 385);
    let squares: Vec<u64> = soon(squares::call(&client, 1).take(3).try_collect()).await.unwrap();
    assert_eq!(squares, [1, 4, 9]);
}

#[tokio::test]
async fn an_error_of_a_nested_call_is_an_error_like_any_other() {
    let (_world, nodes, client) = two_nodes().await;
    nodes[1].shutdown().await;
    let error = soon(outer::call(&client, 0)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Panicked, "it unwraps");
    assert!(error.to_string().contains("no node offers `hang`"), "{error}");
    assert_eq!(error.executed(), Executed::Yes);
}
