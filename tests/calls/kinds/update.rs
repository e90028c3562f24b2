//! Nodes of an old and a new version of a program side by side, as while they are updated one by
//! one: callers of either wait for theirs.

use std::time::Duration;

use common::gate::serve;
use common::{World, soon, until};
use easyremote::node::Functions;
use easyremote::{Client, Error, ErrorKind, Executed, Node, Options, functions, remote};
use futures::future::{BoxFuture, join_all};
use futures::{FutureExt, Stream, StreamExt, TryFutureExt, TryStreamExt, stream};
use tokio::task::JoinHandle;

mod old {
    use super::*;

    #[remote]
    pub(super) async fn scale(n: u32) -> u32 {
        2 * n
    }

    #[remote(stream)]
    pub(super) fn items(n: u32) -> impl Stream<Item = u32> {
        stream::iter(0..n)
    }

    #[remote]
    pub(super) async fn shape(n: u64) -> u64 {
        n
    }
}

mod new {
    use super::*;

    #[remote]
    pub(super) async fn scale(n: u64, by: u64) -> u64 {
        by * n
    }

    #[remote(stream)]
    pub(super) fn items(n: u64) -> impl Stream<Item = u64> {
        stream::iter(0..n)
    }

    /// One result has become many.
    #[remote(stream)]
    pub(super) fn shape(n: u64) -> impl Stream<Item = u64> {
        stream::iter(0..n)
    }

    #[remote]
    pub(super) async fn sum(numbers: impl Stream<Item = u64>) -> u64 {
        numbers.fold(0, |sum, n| async move { sum + n }).await
    }
}

fn of_old() -> Functions {
    functions![old::scale, old::items, old::shape]
}

fn of_new() -> Functions {
    functions![new::scale, new::items, new::shape, new::sum]
}

async fn node(world: &World, id: &str, functions: Functions) -> Node {
    serve(world.node_builder().id(id).functions(functions)).await.unwrap()
}

type Outcome = BoxFuture<'static, Result<(), Error>>;

fn new_calls(client: &Client) -> Vec<(&'static str, Outcome)> {
    vec![
        ("unary", new::scale::call(client, 3, 4).map_ok(|n| assert_eq!(n, 12)).boxed()),
        ("stream", new::items::call(client, 3).try_collect::<Vec<_>>().map_ok(|_| ()).boxed()),
        ("other kind", new::shape::call(client, 3).try_collect::<Vec<_>>().map_ok(|_| ()).boxed()),
        ("client stream", new::sum::call(client, stream::iter(0..3)).map_ok(|_| ()).boxed()),
    ]
}

async fn waits_for_its_version(multiplex: bool, on: Option<&str>) {
    let world = World::start().await;
    let _old = node(&world, "old1", of_old()).await;
    let client = soon(world.client_builder().multiplex(multiplex).connect()).await.unwrap();
    let mut options = Options::new().wait_for_node();
    if let Some(id) = on {
        options = options.on(id);
    }
    let calls = new_calls(&client.with(options));
    let n = calls.len() as u64;
    let calls: Vec<(_, JoinHandle<_>)> =
        calls.into_iter().map(|(what, call)| (what, tokio::spawn(call))).collect();
    until(|| world.gateway.stats().in_flight == n).await;
    // Those of the old version go on.
    assert_eq!(soon(old::scale::call(&client, 4)).await.unwrap(), 8);
    assert!(calls.iter().all(|(_, call)| !call.is_finished()));
    let _new = node(&world, "new1", of_new()).await;
    for (what, call) in calls {
        let outcome = soon(call).await.unwrap();
        outcome
            .unwrap_or_else(|error| panic!("multiplexed {multiplex}, {on:?}, {what}: {error:?}"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_waits_for_a_node_waits_for_one_of_its_version() {
    let rows = [(true, None), (false, None), (true, Some("new1")), (false, Some("new1"))];
    join_all(rows.map(|(multiplex, on)| waits_for_its_version(multiplex, on))).await;
}

#[tokio::test]
async fn who_waits_for_a_version_that_does_not_come_waits_until_the_deadline() {
    let world = World::start().await;
    let _old = node(&world, "old1", of_old()).await;
    let client = world.client().await;
    let late = Options::new().wait_for_node().timeout(Duration::from_millis(700));
    for (what, call) in new_calls(&client.with(late)) {
        let error = soon(call).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::DeadlineExceeded, "{what}: {error}");
    }
    // Who does not wait is told at once.
    for (what, call) in new_calls(&client).into_iter().take(3) {
        let error = soon(call).await.unwrap_err();
        let seen = (error.kind(), error.executed());
        assert_eq!(seen, (ErrorKind::SignatureMismatch, Executed::No), "{what}: {error}");
    }
}

#[tokio::test]
async fn the_error_tells_of_the_node_that_was_asked_for() {
    let world = World::start().await;
    let _old = node(&world, "old1", of_old()).await;
    let _new = node(&world, "new1", of_new()).await;
    let client = world.client().await;
    let error = soon(new::scale::call(&client, 3, 4).on("old1")).await.unwrap_err();
    let seen = (error.kind(), error.executed());
    assert_eq!(seen, (ErrorKind::SignatureMismatch, Executed::No), "{error}");
    let text = error.to_string();
    assert!(text.contains("node `old1` has `(n: u32) -> u32`"), "{text}");
    assert!(text.contains("this caller `(n: u64, by: u64) -> u64`"), "{text}");
    assert!(text.contains("node `new1` has those of the caller"), "{text}");
    let error = soon(new::sum::call(&client, stream::iter(0..3)).on("old1")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NoNode, "{error}");
    assert!(error.to_string().ends_with("node `old1` does not offer it"), "{error}");
    let error = soon(old::scale::call(&client, 3).on("new2")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NoNode, "{error}");
    assert!(error.to_string().ends_with("node `new2` is not connected"), "{error}");
}
