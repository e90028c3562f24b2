//! When a batch leaves, with whom, and what its trace says.

use std::sync::Arc;
use std::time::Duration;

use common::gate::{Gate, OPEN, pass, pass_blocking};
use common::{World, found_in, soon, until};
use easyremote::client::{BatchReason, Trace};
use easyremote::{Client, Error, Node, functions, remote};
use futures::future::join_all;

use super::{Runs, Stage, double, pair};

/// Leaves for a deadline, or not at all.
#[remote(batch(max = 1000, wait = "3600s"))]
fn patient(#[state] runs: &Runs, numbers: Vec<u64>) -> Vec<u64> {
    runs.note(&numbers);
    numbers
}

#[remote(batch(max = 4, wait = "0ms"), concurrency = 1)]
async fn eager(#[state] runs: &Runs, numbers: Vec<u64>, gates: Vec<u64>) -> Vec<u64> {
    runs.note(&numbers);
    pass(gates[0]).await;
    numbers
}

#[remote(batch(max = 10, wait = "3600s", weigh = weight_of), concurrency = 1)]
fn heavy(#[state] runs: &Runs, weights: Vec<u64>, gates: Vec<u64>) -> Vec<u64> {
    runs.note(&weights);
    pass_blocking(gates[0]);
    weights
}

fn weight_of(weight: &u64, _gate: &u64) -> u32 {
    *weight as u32
}

/// Size and reason of the batch that a call ran in.
async fn left(
    call: impl IntoFuture<Output = Result<(u64, Trace), Error>>,
) -> (u32, Option<BatchReason>) {
    let (_, trace) = soon(call.into_future()).await.unwrap();
    let batch = trace.batch.unwrap();
    (batch.size, batch.reason)
}

/// While the first run is held back, all others gather, and those that leave never run.
#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_callers_share_33_runs() {
    let stage = Stage::new(functions![double]).await;
    let gate = Gate::closed();
    let first = tokio::spawn(double::call(&stage.client, 0, gate.key));
    stage.runs.begun(1).await;
    let call = |n| tokio::spawn(double::call(&stage.client, n, OPEN));
    let calls: Vec<_> = (1..1_000).map(call).collect();
    stage.waits(999).await;
    let dropped = [1, 2, 33, 500, 999];
    dropped.iter().for_each(|n| calls[n - 1].abort());
    stage.waits(994).await;
    gate.open();
    assert_eq!(soon(first).await.unwrap().unwrap(), 0);
    for (n, call) in (1..).zip(calls) {
        if !dropped.contains(&n) {
            assert_eq!(soon(call).await.unwrap().unwrap(), 2 * n as u64);
        }
    }
    let runs = stage.runs.all();
    assert!(runs.len() <= 33, "{} runs", runs.len());
    let ran: Vec<u64> = runs.concat();
    assert_eq!(ran.len(), 995);
    assert!(dropped.iter().all(|n| !ran.contains(&(*n as u64))));
    assert!(runs.iter().all(|run| run.len() <= 32));
}

/// What waits beyond the batches that keep a node busy waits at the gateway, for any node.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_holds_33_batches_and_the_gateway_the_rest() {
    let stage = Stage::new(functions![pair]).await;
    let gate = Gate::closed();
    let calls = (0..100).map(|n| tokio::spawn(pair::call(&stage.client, n, gate.key)));
    let calls: Vec<_> = calls.collect();
    // 33 batches of two, of which one runs.
    stage.waits(64).await;
    assert_eq!(stage.node.stats().in_flight, 66);
    gate.open();
    for call in calls {
        soon(call).await.unwrap().unwrap();
    }
    assert_eq!(stage.runs.sizes(), [2; 50]);
}

#[tokio::test]
async fn a_trace_names_the_size_of_a_batch_and_why_it_left() {
    let stage = Stage::new(functions![double, pair, patient, eager, plain]).await;
    let client = &stage.client;
    assert_eq!(left(double::call(client, 1, OPEN).traced()).await, (1, Some(BatchReason::Waited)));
    let both = join_all([1, 2].map(|n| left(pair::call(client, n, OPEN).traced()))).await;
    assert_eq!(both, [(2, Some(BatchReason::Full)); 2]);
    // Of the function's time nothing is known: half of the call's is left to it.
    let hurried = patient::call(client, 1).timeout(Duration::from_secs(2));
    let others = [patient::call(client, 2), hurried, patient::call(client, 3)];
    let all = join_all(others.map(|call| left(call.traced()))).await;
    assert_eq!(all, [(3, Some(BatchReason::Deadline)); 3]);
    let gate = Gate::closed();
    let first = tokio::spawn(left(eager::call(client, 1, gate.key).traced()));
    stage.runs.begun(4).await;
    let waiting = [2, 3].map(|n| tokio::spawn(left(eager::call(client, n, OPEN).traced())));
    stage.waits(2).await;
    gate.open();
    assert_eq!(soon(first).await.unwrap(), (1, Some(BatchReason::Waited)));
    for call in waiting {
        assert_eq!(soon(call).await.unwrap(), (2, Some(BatchReason::Ready)));
    }
    // One that does not take batches has none.
    let (_, trace) = soon(plain::call(client).traced()).await.unwrap();
    assert_eq!(trace.batch, None);
}

#[remote]
fn plain() {}

/// Calls that the node has no place for cannot join: it does not wait for them.
#[tokio::test]
async fn a_batch_is_full_when_the_node_is() {
    let stage = Stage::with(|node| node.functions(functions![patient]).concurrency(3)).await;
    let calls = (0..9).map(|n| left(patient::call(&stage.client, n).traced()));
    assert_eq!(join_all(calls).await, [(3, Some(BatchReason::Full)); 9]);
    assert_eq!(stage.runs.sizes(), [3; 3]);
}

#[tokio::test]
async fn a_node_that_drains_does_not_wait_for_callers() {
    let stage = Stage::new(functions![patient]).await;
    let calls = (0..3).map(|n| tokio::spawn(left(patient::call(&stage.client, n).traced())));
    let calls: Vec<_> = calls.collect();
    stage.waits(3).await;
    soon(stage.node.drain(Duration::from_secs(600))).await;
    for call in calls {
        assert_eq!(soon(call).await.unwrap(), (3, Some(BatchReason::Full)));
    }
}

/// An element that is heavier than a batch runs alone, and others wait for the next batch rather
/// than overtake it.
#[tokio::test]
async fn weights_limit_a_batch() {
    let stage = Stage::new(functions![heavy]).await;
    let gate = Gate::closed();
    let mut calls = vec![tokio::spawn(heavy::call(&stage.client, 11, gate.key))];
    stage.runs.begun(1).await;
    // One by one, so that they join in this order. The last one fills its batch.
    let others = [4, 6, 3, 8, 2, 50, 0, 9];
    for (n, weight) in others.into_iter().enumerate() {
        calls.push(tokio::spawn(heavy::call(&stage.client, weight, OPEN)));
        stage.waits(n as u64 + 1).await;
    }
    gate.open();
    for (call, weight) in calls.into_iter().zip([11, 4, 6, 3, 8, 2, 50, 0, 9]) {
        assert_eq!(soon(call).await.unwrap().unwrap(), weight);
    }
    // One of weight 0 counts as 1.
    let runs = [vec![11], vec![4, 6], vec![3], vec![8, 2], vec![50], vec![0, 9]];
    assert_eq!(stage.runs.all(), runs);
}

/// The calls of all gateways of a node run together.
#[tokio::test]
async fn callers_of_two_gateways_share_a_run() {
    let world = World::start().await;
    // Of the same identity.
    let other = common::gateway_at("127.0.0.1:0").state_dir(world.state_dir()).serve();
    let other = soon(other).await.unwrap();
    let addresses = [world.gateway.local_addr(), other.local_addr()];
    let runs = Arc::new(Runs::default());
    let node = Node::builder(addresses).dial(found_in(world.state_dir()));
    let node = node.functions(functions![pair]).shared_state(runs.clone()).serve();
    let node = soon(node).await.unwrap();
    until(|| node.stats().gateways == 2).await;
    let connect = |address| Client::builder(address).dial(found_in(world.state_dir())).connect();
    let clients = soon(join_all(addresses.map(connect))).await;
    let calls = clients.iter().zip([1, 2]).map(|(client, n)| {
        let client = client.as_ref().unwrap();
        pair::call(client, n, OPEN)
    });
    let results = soon(join_all(calls)).await;
    assert_eq!(results.into_iter().map(Result::unwrap).collect::<Vec<_>>(), [2, 4]);
    assert_eq!(runs.sizes(), [2]);
}
