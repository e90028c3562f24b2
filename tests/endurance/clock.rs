//! Times: as long as they can be, and on whose clock.

use std::time::Duration;

use common::gate::{Gate, OPEN, pass, serve};
use common::{World, found_in, patient, soon, until};
use easyremote::client::ClientLimits;
use easyremote::gateway::{GatewayLimits, OutlierOptions};
use easyremote::{Client, ErrorKind, Node, Options, Retry, functions, remote};
use futures::StreamExt;
use futures::{Stream, stream};

#[remote(idempotent)]
async fn wait(gate: u64) -> u64 {
    pass(gate).await;
    gate
}

#[remote(stream)]
fn below(n: u64) -> impl Stream<Item = u64> {
    stream::iter(0..n)
}

const EXTREMES: [Duration; 5] = [
    Duration::ZERO,
    Duration::from_nanos(1),
    Duration::from_secs(u32::MAX as u64),
    Duration::from_secs(u64::MAX),
    Duration::MAX,
];

/// Every time that a program can set, as long as it can be.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_time_that_can_be_set_overflows() {
    const LONG: Duration = Duration::MAX;
    let state = tempfile::tempdir().unwrap();
    let limits = GatewayLimits::new().handshake_timeout(LONG).authentication_timeout(LONG);
    let limits = limits.header_timeout(LONG).progress_timeout(LONG);
    let outliers = OutlierOptions::new().base_ejection(LONG).max_ejection(LONG);
    let gateway = common::gateway_at("127.0.0.1:0").state_dir(state.path()).limits(limits);
    let gateway = soon(gateway.outliers(outliers).serve()).await.unwrap();
    let node = Node::builder(gateway.local_addr()).dial(found_in(state.path())).dial(patient(LONG));
    let node = serve(node.functions(functions![wait, below])).await.unwrap();
    let client = Client::builder(gateway.local_addr()).dial(found_in(state.path()));
    let client =
        client.dial(patient(LONG)).limits(ClientLimits::new().stall_timeout(LONG)).connect();
    let client = soon(client).await.unwrap();
    assert_eq!(soon(wait::call(&client, OPEN).timeout(LONG)).await.unwrap(), OPEN);
    assert_eq!(soon(below::call(&client, 3).timeout(LONG).count()).await, 3);
    soon(node.drain(LONG)).await;
    soon(gateway.drain(LONG)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_pause_between_attempts_overflows() {
    let world = World::start().await;
    let node = serve(world.node_builder().functions(functions![wait])).await.unwrap();
    let client = world.client().await;
    let mut calls = Vec::new();
    let gate = Gate::closed();
    for first in EXTREMES {
        for longest in EXTREMES {
            let retry = Retry::new().attempts(u32::MAX).backoff(first, longest);
            let call = wait::call(&client, gate.key).retry(retry);
            let call = tokio::spawn(call.timeout(Duration::from_secs(20)));
            calls.push((first, longest, call));
        }
    }
    until(|| node.stats().in_flight == calls.len() as u64).await;
    soon(node.shutdown()).await;
    let _node = serve(world.node_builder().functions(functions![wait])).await.unwrap();
    gate.open();
    for (first, longest, call) in calls {
        let outcome = soon(call).await.expect("no panic");
        // The pause is the shorter one, and some are longer than the deadline.
        let short = first.min(longest) <= Duration::from_nanos(1);
        match outcome {
            Ok(answer) => assert!(short && answer == gate.key, "{first:?}, {longest:?}"),
            Err(error) => {
                assert!(!short, "{first:?}, {longest:?}: {error}");
                assert_eq!(error.kind(), ErrorKind::DeadlineExceeded, "{error}");
            }
        }
    }
}

/// A test that pauses tokio's clock pauses it for its own runtime: gateways, nodes and clients have
/// threads of their own, whose clock goes on. Nothing here may wait by a timer of the test's.
async fn timeouts_are_real(multiplex: bool) {
    let world = World::start().await;
    let node = world.node_builder().functions(functions![wait, below]);
    let node = node.serve().await.unwrap();
    let client = world.client_builder().multiplex(multiplex).connect().await.unwrap();
    let gate = Gate::closed();
    tokio::time::pause();
    // The test's clock falls behind, and then runs ahead.
    for _ in 0..2 {
        let options = Options::new().timeout(Duration::from_secs(2));
        std::thread::sleep(Duration::from_secs(2));
        let quick = client.with(options);
        assert_eq!(wait::call(&quick, OPEN).await.unwrap(), OPEN, "multiplexed {multiplex}");
        assert_eq!(below::call(&quick, 3).count().await, 3, "multiplexed {multiplex}");
        let deadline = std::time::Instant::now() + Duration::from_secs(2);
        let call = wait::call(&client, OPEN).deadline(deadline);
        assert_eq!(call.await.unwrap(), OPEN, "multiplexed {multiplex}");

        let begun = std::time::Instant::now();
        let call = wait::call(&client, gate.key).timeout(Duration::from_millis(300));
        let error = call.await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::DeadlineExceeded, "{error}");
        let took = begun.elapsed();
        let right = Duration::from_millis(300)..Duration::from_secs(30);
        assert!(right.contains(&took), "multiplexed {multiplex}: {took:?}");
        tokio::time::advance(Duration::from_secs(3_600)).await;
    }
    // What is under way is waited for as long as was said, and not an hour less.
    let before = node.stats().calls;
    let call = tokio::spawn(wait::call(&client, gate.key));
    while node.stats().calls == before {
        tokio::task::yield_now().await;
    }
    let (drained, ()) = tokio::join!(
        async {
            node.drain(Duration::from_secs(600)).await;
            call.await.unwrap()
        },
        async {
            tokio::time::advance(Duration::from_secs(3_600)).await;
            gate.open();
        }
    );
    assert_eq!(drained.unwrap(), gate.key, "multiplexed {multiplex}");
    world.gateway.drain(Duration::from_secs(600)).await;
}

#[test]
fn a_paused_clock_of_a_test_is_not_that_of_timeouts() {
    for multiplex in [true, false] {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(timeouts_are_real(multiplex));
    }
}
