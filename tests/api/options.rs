//! Options that say how a node runs a function: `detached`, `concurrency` and `idempotent`.

use std::time::Duration;

use common::{Probe, SayOnDrop, World, say, soon, until};
use easyremote::{Client, Context, ErrorKind, Node, functions, remote};
use futures::{FutureExt, StreamExt, stream};
use tokio::sync::Semaphore;

/// Functions wait here until the test lets them go on.
struct Gate(Semaphore);

impl Gate {
    fn closed() -> std::sync::Arc<Self> {
        std::sync::Arc::new(Self(Semaphore::new(0)))
    }

    async fn pass(&self) {
        self.0.acquire().await.unwrap().forget();
    }

    fn open(&self, times: usize) {
        self.0.add_permits(times);
    }
}

type Shared = std::sync::Arc<Gate>;

async fn start(
    functions: easyremote::node::Functions,
    concurrency: usize,
) -> (World, easyremote::Node, easyremote::Client, Shared) {
    let world = World::start().await;
    let gate = Gate::closed();
    let node = world.node_builder().state(gate.clone()).concurrency(concurrency);
    let node = soon(node.functions(functions).serve()).await.unwrap();
    let client = world.client().await;
    (world, node, client, gate)
}

mod detached {
    use super::*;

    #[remote(detached)]
    async fn finish(#[state] gate: &Shared, #[ctx] ctx: &Context, key: u64) -> u64 {
        let _end = SayOnDrop(key, "gone");
        say(key, "started");
        gate.pass().await;
        say(key, if ctx.is_cancelled() { "cancelled" } else { "finished" });
        key
    }

    #[remote(detached)]
    fn finish_sync(#[state] gate: &Shared, #[ctx] ctx: &Context, key: u64) {
        say(key, "started");
        futures::executor::block_on(gate.pass());
        say(key, if ctx.is_cancelled() { "cancelled" } else { "finished" });
    }

    #[remote]
    async fn ping() {}

    /// The node has heard that the one call of `client` was given up, and runs it on.
    async fn runs_on(node: &Node, client: &Client) {
        // It comes behind that word.
        soon(ping::call(client)).await.unwrap();
        until(|| node.stats().in_flight == 1).await;
    }

    #[tokio::test]
    async fn a_detached_function_runs_on_when_its_call_is_dropped() {
        let functions = functions![finish, ping];
        let (_world, node, client, gate) = start(functions, 8).await;
        let mut probe = Probe::new();
        let call = tokio::spawn(finish::call(&client, probe.key));
        assert_eq!(probe.next().await, "started");
        call.abort();
        let _ = call.await;
        runs_on(&node, &client).await;
        assert!(probe.so_far().is_empty());
        gate.open(1);
        assert_eq!(probe.next().await, "finished");
        assert_eq!(probe.next().await, "gone");
    }

    #[tokio::test]
    async fn a_detached_function_runs_on_when_its_time_is_over() {
        let (_world, node, client, gate) = start(functions![finish, ping], 8).await;
        let mut probe = Probe::new();
        let call = finish::call(&client, probe.key).timeout(Duration::from_secs(2));
        let error = soon(call).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::DeadlineExceeded);
        assert_eq!(probe.next().await, "started");
        runs_on(&node, &client).await;
        gate.open(1);
        assert_eq!(probe.next().await, "finished");
    }

    #[tokio::test]
    async fn a_detached_sync_function_does_not_see_that_its_caller_is_gone() {
        let (_world, node, client, gate) = start(functions![finish_sync, ping], 8).await;
        let mut probe = Probe::new();
        let call = tokio::spawn(finish_sync::call(&client, probe.key));
        assert_eq!(probe.next().await, "started");
        call.abort();
        let _ = call.await;
        runs_on(&node, &client).await;
        gate.open(1);
        assert_eq!(probe.next().await, "finished");
        let call = finish_sync::call(&client, probe.key).timeout(Duration::from_secs(2));
        let error = soon(call).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::DeadlineExceeded);
        assert_eq!(probe.next().await, "started");
        gate.open(1);
        assert_eq!(probe.next().await, "finished");
    }

    #[tokio::test]
    async fn a_detached_function_answers_a_caller_who_waits() {
        let (_world, _node, client, gate) = start(functions![finish], 8).await;
        gate.open(1);
        assert_eq!(soon(finish::call(&client, 7)).await.unwrap(), 7);
    }

    #[tokio::test]
    async fn a_detached_function_holds_its_place_until_it_ends() {
        let (_world, node, client, gate) = start(functions![finish, ping], 1).await;
        let mut probe = Probe::new();
        let call = tokio::spawn(finish::call(&client, probe.key));
        assert_eq!(probe.next().await, "started");
        call.abort();
        let _ = call.await;
        let waiting = ping::call(&client).timeout(Duration::from_millis(200));
        let error = soon(waiting).await.unwrap_err();
        assert_eq!((error.kind(), node.stats().in_flight), (ErrorKind::DeadlineExceeded, 1));
        gate.open(1);
        assert_eq!(probe.next().await, "finished");
        soon(ping::call(&client)).await.unwrap();
    }

    #[tokio::test]
    async fn a_node_that_shuts_down_does_not_wait_for_a_detached_function() {
        let (_world, node, client, gate) = start(functions![finish], 8).await;
        let mut probe = Probe::new();
        let call = tokio::spawn(finish::call(&client, probe.key));
        assert_eq!(probe.next().await, "started");
        soon(node.shutdown()).await;
        let error = soon(call).await.unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NodeLost);
        assert!(probe.so_far().is_empty());
        gate.open(1);
        assert_eq!(probe.next().await, "finished");
    }
}

mod concurrency {
    use futures::Stream;

    use super::*;

    #[remote(concurrency = 2)]
    async fn two(#[state] gate: &Shared, key: u64) {
        let _end = SayOnDrop(key, "gone");
        say(key, "two");
        gate.pass().await;
    }

    #[remote(concurrency = 1)]
    fn one_sync(#[state] gate: &Shared, key: u64) {
        say(key, "one");
        futures::executor::block_on(gate.pass());
    }

    #[remote(stream, concurrency = 1)]
    fn one_stream(#[state] gate: &Shared, key: u64) -> impl Stream<Item = u64> {
        say(key, "stream");
        stream::once(gate.pass().map(|()| 7))
    }

    #[remote(stream, concurrency = 1)]
    fn one_iterator(#[state] gate: &Shared, key: u64) -> impl Iterator<Item = u64> {
        say(key, "iterator");
        std::iter::once_with(|| futures::executor::block_on(gate.pass())).map(|()| 7)
    }

    #[remote(concurrency = 1)]
    async fn one_upload(#[state] gate: &Shared, key: u64, n: impl Stream<Item = u64>) -> u64 {
        say(key, "upload");
        gate.pass().await;
        n.fold(0, |sum, n| async move { sum + n }).await
    }

    #[remote]
    fn other() -> u8 {
        7
    }

    fn all() -> easyremote::node::Functions {
        functions![two, one_sync, one_stream, one_iterator, one_upload, other]
    }

    /// Nothing announces that a call waits: that it does not start is seen by what comes after it.
    async fn waits(world: &World, in_flight: u64) {
        until(|| world.gateway.stats().in_flight == in_flight).await;
    }

    #[tokio::test]
    async fn calls_beyond_the_limit_wait_for_one_to_end() {
        let (world, _node, client, gate) = start(all(), 8).await;
        let mut probe = Probe::new();
        let calls: Vec<_> = (0..5).map(|_| tokio::spawn(two::call(&client, probe.key))).collect();
        assert_eq!([probe.next().await, probe.next().await], ["two"; 2]);
        waits(&world, 5).await;
        // They are in nobody's way.
        assert_eq!(soon(other::call(&client)).await.unwrap(), 7);
        assert!(probe.so_far().is_empty());
        for _ in 0..3 {
            gate.open(1);
            assert_eq!([probe.next().await, probe.next().await], ["gone", "two"]);
        }
        gate.open(2);
        for call in calls {
            soon(call).await.unwrap().unwrap();
        }
    }

    #[tokio::test]
    async fn waiting_calls_take_no_place_of_the_node() {
        let (world, _node, client, gate) = start(all(), 2).await;
        let mut probe = Probe::new();
        let calls: Vec<_> =
            (0..3).map(|_| tokio::spawn(one_sync::call(&client, probe.key))).collect();
        assert_eq!(probe.next().await, "one");
        waits(&world, 3).await;
        assert_eq!(soon(other::call(&client)).await.unwrap(), 7);
        assert!(probe.so_far().is_empty());
        gate.open(3);
        for call in calls {
            soon(call).await.unwrap().unwrap();
        }
    }

    #[tokio::test]
    async fn a_waiting_call_keeps_its_deadline_and_can_be_cancelled() {
        let (world, _node, client, gate) = start(all(), 8).await;
        let mut probe = Probe::new();
        let first = tokio::spawn(one_sync::call(&client, probe.key));
        assert_eq!(probe.next().await, "one");
        let late = one_sync::call(&client, probe.key).timeout(Duration::from_secs(2));
        let late = tokio::spawn(late);
        waits(&world, 2).await;
        assert_eq!(soon(late).await.unwrap().unwrap_err().kind(), ErrorKind::DeadlineExceeded);
        waits(&world, 1).await;
        let dropped = tokio::spawn(one_sync::call(&client, probe.key));
        waits(&world, 2).await;
        dropped.abort();
        waits(&world, 1).await;
        gate.open(1);
        soon(first).await.unwrap().unwrap();
        // Neither of the two has started, and both have left their places.
        let last = tokio::spawn(one_sync::call(&client, probe.key));
        gate.open(1);
        soon(last).await.unwrap().unwrap();
        assert_eq!(probe.so_far(), ["one"]);
    }

    #[tokio::test]
    async fn streams_of_all_kinds_are_limited() {
        let (world, _node, client, gate) = start(all(), 8).await;
        let mut probe = Probe::new();
        let key = probe.key;
        for round in ["stream", "iterator", "upload"] {
            let calls: Vec<_> = (0..2)
                .map(|_| {
                    let client = client.clone();
                    tokio::spawn(async move {
                        match round {
                            "stream" => one_stream::call(&client, key).next().await.unwrap(),
                            "iterator" => one_iterator::call(&client, key).next().await.unwrap(),
                            _ => one_upload::call(&client, key, stream::iter([3, 4])).await,
                        }
                    })
                })
                .collect();
            assert_eq!(probe.next().await, round);
            waits(&world, 2).await;
            assert_eq!(soon(other::call(&client)).await.unwrap(), 7);
            assert!(probe.so_far().is_empty(), "{round}");
            gate.open(1);
            assert_eq!(probe.next().await, round);
            gate.open(1);
            for call in calls {
                assert_eq!(soon(call).await.unwrap().unwrap(), 7);
            }
            waits(&world, 0).await;
        }
    }
}
