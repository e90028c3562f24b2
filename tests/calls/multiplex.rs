//! Small calls, which share a stream: everything is as on streams of their own.

use std::sync::{Condvar, Mutex};
use std::time::Duration;

use common::{Probe, SayOnDrop, World, say, soon, until};
use easyremote::client::ClientLimits;
use easyremote::{CallError, Client, Context, ErrorKind, Executed, Node, functions, remote};
use futures::stream::FuturesUnordered;
use futures::{StreamExt, future};
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, thiserror::Error)]
#[error("not {0}")]
struct Refused(u64);

#[remote]
async fn double(n: u64) -> Result<u64, Refused> {
    if n == 13 { Err(Refused(n)) } else { Ok(2 * n) }
}

#[remote]
fn double_sync(n: u64) -> u64 {
    2 * n
}

/// As many bytes as are asked for.
#[remote]
async fn bytes(n: usize, value: u8) -> Vec<u8> {
    vec![value; n]
}

/// As many bytes as are asked for; says when they are there.
#[remote]
async fn made(key: u64, n: usize) -> Vec<u8> {
    let bytes = vec![7; n];
    say(key, "made");
    bytes
}

#[remote]
async fn length(bytes: Vec<u8>) -> usize {
    bytes.len()
}

#[remote]
async fn panics(n: u64) -> u64 {
    assert_eq!(n, 0, "on purpose");
    n
}

#[remote]
fn panics_sync(n: u64) -> u64 {
    assert_eq!(n, 0, "on purpose");
    n
}

/// Says when it starts and when it is dropped; takes for ever.
#[remote]
async fn hang(key: u64) {
    let _dropped = SayOnDrop(key, "dropped");
    say(key, "started");
    future::pending().await
}

#[remote(detached)]
async fn hang_detached(#[ctx] ctx: &Context, key: u64) -> bool {
    let _dropped = SayOnDrop(key, "dropped");
    say(key, "started");
    tokio::time::sleep(Duration::from_millis(500)).await;
    say(key, if ctx.is_cancelled() { "cancelled" } else { "ran on" });
    true
}

#[remote(concurrency = 1)]
async fn one_at_a_time(key: u64) {
    hang(key).await;
}

/// Opens when it is dropped: no thread is blocked for good.
struct Gate;

impl Drop for Gate {
    fn drop(&mut self) {
        *GATE.0.lock().unwrap() = true;
        GATE.1.notify_all();
    }
}

static GATE: (Mutex<bool>, Condvar) = (Mutex::new(false), Condvar::new());

/// Gives `n`; at the gate it first blocks its thread until that is open.
#[remote]
async fn pass(n: u64, at_gate: bool) -> u64 {
    if at_gate {
        let open = GATE.0.lock().unwrap();
        drop(GATE.1.wait_while(open, |open| !*open).unwrap());
    }
    n
}

/// A client whose small calls share a stream, and one each of whose calls has a stream of its own.
async fn both() -> (World, Node, [Client; 2]) {
    let world = World::start().await;
    let node = world
        .node(functions![
            double,
            double_sync,
            bytes,
            made,
            length,
            panics,
            panics_sync,
            hang,
            pass,
            hang_detached,
            one_at_a_time
        ])
        .await;
    let client = |multiplex| world.client_builder().multiplex(multiplex).connect();
    let clients = [soon(client(true)).await.unwrap(), soon(client(false)).await.unwrap()];
    (world, node, clients)
}

#[tokio::test]
async fn results_and_errors_are_those_of_calls_on_streams_of_their_own() {
    let (world, node, clients) = both().await;
    for client in &clients {
        assert_eq!(soon(double::call(client, 4)).await.unwrap(), 8);
        assert_eq!(soon(double_sync::call(client, 4)).await.unwrap(), 8);
        let error = soon(double::call(client, 13)).await.unwrap_err();
        assert!(matches!(error, CallError::Function(Refused(13))), "{error}");
        let json = client.call_json("double_sync", serde_json::json!([21]));
        assert_eq!(soon(json).await.unwrap(), 42);
        let error = soon(client.call_json("double_sync", serde_json::json!({}))).await.unwrap_err();
        let CallError::Remote(error) = error else { panic!("{error}") };
        assert_eq!((error.kind(), error.executed()), (ErrorKind::BadArguments, Executed::No));
        for error in [
            soon(panics::call(client, 1)).await.unwrap_err(),
            soon(panics_sync::call(client, 1)).await.unwrap_err(),
        ] {
            assert_eq!((error.kind(), error.executed()), (ErrorKind::Panicked, Executed::Yes));
            assert_eq!(error.node(), Some(node.id()));
            assert!(error.to_string().contains("on purpose"), "{error}");
        }
        let elsewhere = double_sync::call(client, 1).on("elsewhere");
        let error = soon(elsewhere).await.unwrap_err();
        assert_eq!((error.kind(), error.executed()), (ErrorKind::NoNode, Executed::No));
        let error = soon(client.call_json("no_such", serde_json::json!([]))).await.unwrap_err();
        let CallError::Remote(error) = error else { panic!("{error}") };
        assert_eq!((error.kind(), error.executed()), (ErrorKind::NoSuchFunction, Executed::No));
        assert!(soon(client.functions()).await.unwrap().len() >= 9);
    }
    until(|| node.stats().in_flight == 0 && world.gateway.stats().in_flight == 0).await;
}

#[tokio::test]
async fn each_answer_goes_to_its_own_call() {
    let (_world, _node, [client, _]) = both().await;
    let calls: FuturesUnordered<_> = (100..3_100)
        .map(|n| {
            let client = client.clone();
            tokio::spawn(async move { (n, double::call(&client, n).await.unwrap()) })
        })
        .collect();
    let answers: Vec<_> = soon(calls.collect()).await;
    assert_eq!(answers.len(), 3_000);
    for answer in answers {
        let (n, doubled) = answer.unwrap();
        assert_eq!(doubled, 2 * n);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_function_that_blocks_holds_up_no_other_call() {
    let (_world, _node, [client, _]) = both().await;
    // As far as the node knows, it takes next to no time.
    for n in 0..100 {
        assert_eq!(soon(pass::call(&client, n, false)).await.unwrap(), n);
    }
    let gate = Gate;
    let calls = (0..200).map(|n| pass::call(&client, n, n == 100));
    let mut calls: FuturesUnordered<_> = calls.collect();
    let mut passed = Vec::new();
    while passed.len() < 199 {
        passed.push(soon(calls.next()).await.unwrap().unwrap());
    }
    assert!(!passed.contains(&100));
    drop(gate);
    assert_eq!(soon(calls.next()).await.unwrap().unwrap(), 100);
}

#[tokio::test]
async fn what_is_too_long_for_the_mux_goes_another_way() {
    let (world, node, clients) = both().await;
    /// Around the longest that shares a stream, and far beyond it.
    const LENGTHS: [usize; 8] = [0, 1, 16_370, 16_384, 16_390, 40_000, 300_000, 5_000_000];
    for client in &clients {
        let answers = LENGTHS.map(|n| bytes::call(client, n, n as u8));
        let answers = soon(future::join_all(answers)).await;
        for (answer, n) in answers.into_iter().zip(LENGTHS) {
            assert!(answer.unwrap() == vec![n as u8; n], "{n}");
        }
        let lengths = LENGTHS.map(|n| length::call(client, vec![7; n]));
        for (answer, n) in soon(future::join_all(lengths)).await.into_iter().zip(LENGTHS) {
            assert_eq!(answer.unwrap(), n);
        }
    }
    // More at a time than may have answers of their own under way.
    let many = (0..600_usize).map(|n| bytes::call(&clients[0], 20_000 + n, n as u8));
    for (n, answer) in soon(future::join_all(many)).await.into_iter().enumerate() {
        assert!(answer.unwrap() == vec![n as u8; 20_000 + n], "{n}");
    }
    until(|| node.stats().in_flight == 0 && world.gateway.stats().in_flight == 0).await;
}

#[tokio::test]
async fn an_answer_longer_than_the_client_takes_is_named_as_such() {
    let (world, _node, _) = both().await;
    let client = world
        .client_builder()
        .limits(ClientLimits::new().max_message(50_000))
        .multiplex(true)
        .connect();
    let client = soon(client).await.unwrap();
    let error = soon(bytes::call(&client, 50_001, 1)).await.unwrap_err();
    assert_eq!((error.kind(), error.executed()), (ErrorKind::TooLarge, Executed::Yes));
    assert_eq!(soon(bytes::call(&client, 49_000, 1)).await.unwrap().len(), 49_000);
}

#[tokio::test]
async fn dropping_a_call_stops_its_function_and_no_other() {
    let (world, node, clients) = both().await;
    for client in &clients {
        let (mut one, mut other) = (Probe::new(), Probe::new());
        let dropped = tokio::spawn(hang::call(client, one.key));
        let kept = tokio::spawn(hang::call(client, other.key));
        assert_eq!((one.next().await, other.next().await), ("started", "started"));
        dropped.abort();
        assert_eq!(one.next().await, "dropped");
        assert_eq!(soon(double::call(client, 1)).await.unwrap(), 2);
        assert!(other.so_far().is_empty());
        kept.abort();
        assert_eq!(other.next().await, "dropped");

        let mut detached = Probe::new();
        let dropped = tokio::spawn(hang_detached::call(client, detached.key));
        assert_eq!(detached.next().await, "started");
        dropped.abort();
        assert_eq!((detached.next().await, detached.next().await), ("ran on", "dropped"));
    }
    until(|| node.stats().in_flight == 0 && world.gateway.stats().in_flight == 0).await;
}

#[tokio::test]
async fn a_call_that_waits_for_its_turn_can_be_given_up() {
    let (world, node, clients) = both().await;
    for client in &clients {
        let (mut first, mut second, mut third) = (Probe::new(), Probe::new(), Probe::new());
        let running = tokio::spawn(one_at_a_time::call(client, first.key));
        assert_eq!(first.next().await, "started");
        let waiting = tokio::spawn(one_at_a_time::call(client, second.key));
        until(|| world.gateway.stats().waiting == 1).await;
        let late = one_at_a_time::call(client, second.key).timeout(Duration::from_secs(2));
        let late = tokio::spawn(late);
        until(|| world.gateway.stats().waiting == 2).await;
        let error = soon(late).await.unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::DeadlineExceeded);
        // `No` if the gateway, which knows that it waits, is first to tell of the deadline.
        assert_ne!(error.executed(), Executed::Yes);
        waiting.abort();
        until(|| world.gateway.stats().waiting == 0).await;
        let last = tokio::spawn(one_at_a_time::call(client, third.key));
        until(|| world.gateway.stats().waiting == 1).await;
        running.abort();
        assert_eq!((first.next().await, third.next().await), ("dropped", "started"));
        assert!(second.so_far().is_empty(), "it was never run");
        last.abort();
        assert_eq!(third.next().await, "dropped");
    }
    until(|| node.stats().in_flight == 0 && world.gateway.stats().in_flight == 0).await;
}

#[tokio::test]
async fn a_deadline_ends_the_call_at_every_party() {
    let (world, node, clients) = both().await;
    for client in &clients {
        let mut probe = Probe::new();
        let late = hang::call(client, probe.key).timeout(Duration::from_secs(2));
        let error = soon(late).await.unwrap_err();
        assert_eq!(
            (error.kind(), error.executed()),
            (ErrorKind::DeadlineExceeded, Executed::Maybe)
        );
        assert_eq!((probe.next().await, probe.next().await), ("started", "dropped"));
        let error = soon(double_sync::call(client, 1).timeout(Duration::ZERO)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::DeadlineExceeded);
        // Many deadlines that are never reached, and one that no clock can tell.
        let fine = (0..500).map(|n| double_sync::call(client, n).timeout(Duration::from_secs(600)));
        let failed = soon(future::join_all(fine)).await.into_iter().find_map(Result::err);
        assert!(failed.is_none(), "{failed:?}");
        let never = double_sync::call(client, 1).timeout(Duration::MAX);
        assert_eq!(soon(never).await.unwrap(), 2);
    }
    until(|| node.stats().in_flight == 0 && world.gateway.stats().in_flight == 0).await;
}

#[tokio::test]
async fn calls_end_with_what_they_are_on() {
    for shared in [0, 1] {
        let (world, node, clients) = both().await;
        let client = &clients[shared];
        let mut probe = Probe::new();
        let running = tokio::spawn(hang::call(client, probe.key));
        assert_eq!(probe.next().await, "started");
        node.shutdown().await;
        let error = soon(running).await.unwrap().unwrap_err();
        assert_eq!((error.kind(), error.executed()), (ErrorKind::NodeLost, Executed::Maybe));
        assert_eq!(probe.next().await, "dropped");

        let _node = world.node(functions![hang]).await;
        let running = tokio::spawn(hang::call(client, probe.key));
        assert_eq!(probe.next().await, "started");
        world.gateway.shutdown().await;
        let error = soon(running).await.unwrap().unwrap_err();
        assert_eq!((error.kind(), error.executed()), (ErrorKind::ConnectionLost, Executed::Maybe));
        assert_eq!(probe.next().await, "dropped");

        let (_world, _node, clients) = both().await;
        let client = &clients[shared];
        let running = tokio::spawn(hang::call(client, probe.key));
        assert_eq!(probe.next().await, "started");
        client.close().await;
        let error = soon(running).await.unwrap().unwrap_err();
        assert_eq!((error.kind(), error.executed()), (ErrorKind::ConnectionLost, Executed::Maybe));
        assert_eq!(probe.next().await, "dropped");
    }
}

#[tokio::test]
async fn a_long_answer_that_breaks_off_is_an_error() {
    for (shared, lost) in [(0, "node"), (1, "node"), (0, "gateway"), (1, "gateway")] {
        let (world, node, clients) = both().await;
        let mut probe = Probe::new();
        let call = tokio::spawn(made::call(&clients[shared], probe.key, 60 << 20));
        // Its answer takes longer than the end of either.
        assert_eq!(probe.next().await, "made");
        match lost {
            "node" => node.shutdown().await,
            _ => world.gateway.shutdown().await,
        }
        let error = soon(call).await.unwrap().unwrap_err();
        let expected = [ErrorKind::NodeLost, ErrorKind::ConnectionLost];
        assert!(expected.contains(&error.kind()), "{lost}: {error}");
        assert_ne!(error.executed(), Executed::No, "{lost}: {error}");
    }
}

#[tokio::test]
async fn a_long_answer_can_be_given_up_on_its_way() {
    let (world, node, clients) = both().await;
    for client in &clients {
        let call = bytes::call(client, 60 << 20, 1).timeout(Duration::from_millis(100));
        let error = soon(call).await;
        if let Err(error) = error {
            assert_eq!(error.kind(), ErrorKind::DeadlineExceeded, "{error}");
        }
        for _ in 0..20 {
            let call = tokio::spawn(bytes::call(client, 10 << 20, 1));
            tokio::task::yield_now().await;
            call.abort();
        }
        assert_eq!(soon(double::call(client, 1)).await.unwrap(), 2);
    }
    until(|| node.stats().in_flight == 0 && world.gateway.stats().in_flight == 0).await;
}
