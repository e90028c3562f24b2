//! Calls that are made a second time, at another node, if they are slow.

use std::time::Duration;

use common::gate::{Gate, OPEN, pass};
use common::{Probe, SayOnDrop, World, soon, until};
use easyremote::{Client, Context, ErrorKind, Executed, Node, Options, Retry, functions, remote};
use fastrand::Rng;
use futures::future::join_all;
use futures::{FutureExt, Stream, StreamExt, stream};

/// Returns its node. Says that it began, and when it is dropped; the first attempt waits at one gate,
/// further ones at the other.
#[remote(idempotent)]
async fn slow(#[ctx] ctx: &Context, key: u64, first: u64, second: u64) -> String {
    let _dropped = SayOnDrop(key, "ended");
    common::say(key, if ctx.attempt() == 0 { "first" } else { "second" });
    pass(if ctx.attempt() == 0 { first } else { second }).await;
    ctx.node().to_owned()
}

#[remote(idempotent, detached)]
async fn slow_detached() -> u64 {
    7
}

#[remote(idempotent)]
async fn total(numbers: impl Stream<Item = u64>) -> u64 {
    numbers.fold(0, |sum, number| async move { sum + number }).await
}

const SOON: Duration = Duration::from_millis(1);

/// A client that has made so many calls that 10 hedges are allowed, of a gateway with `n` nodes.
async fn with_tokens(n: usize, multiplex: bool) -> (World, Vec<Node>, Client) {
    let world = World::start().await;
    let mut nodes = Vec::new();
    for i in 0..n {
        let node = world.node_builder().id(format!("node-{i}")).concurrency(1_000);
        let node = node.functions(functions![slow, slow_detached, total]).serve();
        nodes.push(soon(node).await.unwrap());
    }
    let client = soon(world.client_builder().multiplex(multiplex).connect()).await.unwrap();
    save_tokens(&client, 200).await;
    (world, nodes, client)
}

async fn save_tokens(client: &Client, calls: usize) {
    for _ in 0..calls {
        soon(slow::call(client, u64::MAX, OPEN, OPEN).hedge(Duration::MAX)).await.unwrap();
    }
}

/// Waits until both calls run. They are at two nodes, so either may be the first to begin.
async fn both_begin(probe: &mut Probe) {
    let mut began = [probe.next().await, probe.next().await];
    began.sort_unstable();
    assert_eq!(began, ["first", "second"]);
}

fn n_calls(nodes: &[Node]) -> u64 {
    nodes.iter().map(|node| node.stats().calls).sum()
}

#[tokio::test]
async fn a_slow_call_is_made_again_at_another_node_and_the_slower_one_is_cancelled() {
    for multiplex in [true, false] {
        let (_world, nodes, client) = with_tokens(3, multiplex).await;
        let mut random = Rng::with_seed(3);
        for _ in 0..30 {
            let (mut probe, gates) = (Probe::new(), [Gate::closed(), Gate::closed()]);
            let wins = random.usize(..2);
            let call = slow::call(&client, probe.key, gates[0].key, gates[1].key);
            let call = tokio::spawn(call.hedge(SOON).traced().into_future());
            both_begin(&mut probe).await;
            gates[wins].open();
            let (node, trace) = soon(call).await.unwrap().unwrap();
            assert_eq!((&trace.node, trace.hedged), (&node, wins == 1));
            assert_eq!(trace.attempts, wins as u64 + 1);
            // The winner, and the other one, which nobody lets pass.
            assert_eq!([probe.next().await, probe.next().await], ["ended", "ended"]);
            save_tokens(&client, 20).await;
        }
        until(|| nodes.iter().all(|node| node.stats().in_flight == 0)).await;
    }
}

#[tokio::test]
async fn the_two_run_at_different_nodes() {
    for multiplex in [true, false] {
        let (_world, nodes, client) = with_tokens(2, multiplex).await;
        for _ in 0..10 {
            let (mut probe, gates) = (Probe::new(), [Gate::closed(), Gate::closed()]);
            let call = slow::call(&client, probe.key, gates[0].key, gates[1].key);
            let call = tokio::spawn(call.hedge(SOON).into_future());
            both_begin(&mut probe).await;
            assert!(nodes.iter().all(|node| node.stats().in_flight == 1));
            gates[1].open();
            soon(call).await.unwrap().unwrap();
            until(|| nodes.iter().all(|node| node.stats().in_flight == 0)).await;
            save_tokens(&client, 20).await;
        }
    }
}

/// Of random calls some are slow, as far as a model of the budget allows a second one.
#[tokio::test]
async fn slow_calls_are_rescued_for_at_most_one_in_twenty() {
    let (world, nodes, _) = with_tokens(2, true).await;
    for seed in 0..2 {
        let mut random = Rng::with_seed(seed);
        let client = world.client().await;
        let (mut twentieths, mut hedges, before) = (0, 0, n_calls(&nodes));
        for _ in 0..1_000 {
            twentieths = (twentieths + 1).min(200);
            let stalls = random.u32(..100) < 2 && twentieths >= 20;
            let gate = Gate::closed();
            let first = if stalls { gate.key } else { OPEN };
            // Nobody opens the gate: without its hedge the call would never end.
            let after = if stalls { SOON } else { Duration::MAX };
            soon(slow::call(&client, u64::MAX, first, OPEN).hedge(after)).await.unwrap();
            (twentieths, hedges) =
                (twentieths - 20 * u32::from(stalls), hedges + u64::from(stalls));
        }
        assert!(hedges > 5 && hedges <= 50, "seed {seed}: {hedges}");
        assert_eq!(n_calls(&nodes) - before, 1_000 + hedges, "seed {seed}");
    }
}

#[tokio::test]
async fn while_every_call_is_slow_one_in_twenty_is_made_twice() {
    let (world, nodes, _) = with_tokens(2, true).await;
    let client = world.client().await;
    let before = n_calls(&nodes);
    for round in 1..=3 {
        let gate = Gate::closed();
        let call = |_| slow::call(&client, u64::MAX, gate.key, gate.key).hedge(SOON);
        let calls = tokio::spawn(join_all((0..200).map(call).collect::<Vec<_>>()));
        until(|| n_calls(&nodes) - before == round * 210).await;
        gate.open();
        assert!(soon(calls).await.unwrap().iter().all(Result::is_ok));
    }
    assert_eq!(n_calls(&nodes) - before, 630, "600 calls, and 30 hedges");
}

#[tokio::test]
async fn without_another_node_a_slow_call_goes_on_alone() {
    let (world, nodes, client) = with_tokens(1, true).await;
    let (mut probe, gate) = (Probe::new(), Gate::closed());
    let calls = world.gateway.stats().calls;
    let call = slow::call(&client, probe.key, gate.key, OPEN).hedge(SOON);
    let call = tokio::spawn(call.into_future());
    assert_eq!(probe.next().await, "first");
    until(|| world.gateway.stats().calls == calls + 2).await;
    until(|| client.stats().in_flight == 1).await;
    gate.open();
    assert_eq!(soon(call).await.unwrap().unwrap(), "node-0");
    assert_eq!(n_calls(&nodes), 201);
    assert_eq!(probe.so_far(), ["ended"]);
}

#[tokio::test]
async fn a_full_node_gets_no_hedge() {
    let world = World::start().await;
    let node = |id| world.node_builder().id(id).concurrency(1).functions(functions![slow]);
    let _one = soon(node("one").serve()).await.unwrap();
    let _two = soon(node("two").serve()).await.unwrap();
    let client = world.client().await;
    save_tokens(&client, 200).await;
    let (mut probe, gate) = (Probe::new(), Gate::closed());
    let busy = tokio::spawn(slow::call(&client, probe.key, gate.key, OPEN).into_future());
    assert_eq!(probe.next().await, "first");
    let calls = world.gateway.stats().calls;
    let call = slow::call(&client, probe.key, gate.key, OPEN).hedge(SOON);
    let call = tokio::spawn(call.into_future());
    assert_eq!(probe.next().await, "first");
    until(|| world.gateway.stats().calls == calls + 2 && client.stats().in_flight == 2).await;
    assert_eq!(world.gateway.stats().waiting, 0, "a hedge does not queue");
    gate.open();
    assert_ne!(soon(busy).await.unwrap().unwrap(), soon(call).await.unwrap().unwrap());
}

#[tokio::test]
async fn an_error_of_one_waits_for_the_other() {
    // Which of the two fails first, and whether the other one fails too.
    for (dies, both) in [(0, false), (1, false), (0, true), (1, true)] {
        let (_world, mut nodes, client) = with_tokens(2, true).await;
        let (mut probe, gates) = (Probe::new(), [Gate::closed(), Gate::closed()]);
        let call = slow::call(&client, probe.key, gates[0].key, gates[1].key);
        let mut call = call.retry(Retry::never()).hedge(SOON);
        assert!((&mut call).now_or_never().is_none());
        assert_eq!(probe.next().await, "first");
        let is_first = nodes.iter().position(|node| node.stats().in_flight == 1).unwrap();
        let mut call = tokio::spawn(call.into_future());
        assert_eq!(probe.next().await, "second");
        let dying = if dies == 0 { is_first } else { 1 - is_first };
        let dead = nodes.remove(dying);
        let died = dead.id().to_owned();
        soon(dead.shutdown()).await;
        until(|| client.stats().in_flight == 1).await;
        assert!((&mut call).now_or_never().is_none(), "the other one still runs");
        if !both {
            gates[1 - dies].open();
            assert_eq!(soon(call).await.unwrap().unwrap(), nodes[0].id());
            continue;
        }
        let last = nodes.remove(0);
        soon(last.shutdown()).await;
        let error = soon(call).await.unwrap().unwrap_err();
        let first = if dies == 0 { died } else { last.id().to_owned() };
        assert_eq!((error.kind(), error.node()), (ErrorKind::NodeLost, Some(&*first)));
        assert_ne!(error.executed(), Executed::No);
    }
}

#[tokio::test]
async fn dropping_the_call_cancels_both() {
    let (_world, _nodes, client) = with_tokens(2, true).await;
    let (mut probe, gate) = (Probe::new(), Gate::closed());
    let call = slow::call(&client, probe.key, gate.key, gate.key).hedge(SOON);
    let call = tokio::spawn(call.into_future());
    both_begin(&mut probe).await;
    call.abort();
    assert_eq!([probe.next().await, probe.next().await], ["ended", "ended"]);
    // And the deadline ends both.
    save_tokens(&client, 20).await;
    let call = slow::call(&client, probe.key, gate.key, gate.key).hedge(SOON);
    let error = soon(call.timeout(Duration::from_millis(100))).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::DeadlineExceeded);
    soon(async { while probe.next().await != "ended" {} }).await;
    assert_eq!(probe.next().await, "ended");
}

#[tokio::test]
async fn what_cannot_be_made_twice_is_refused() {
    let (world, _nodes, client) = with_tokens(2, true).await;
    let calls = world.gateway.stats().calls;
    let there = client.with(Options::new().on("node-0"));
    let open = |client| slow::call(client, u64::MAX, OPEN, OPEN).hedge(SOON);
    for error in [
        open(&client).on("node-0").await.unwrap_err(),
        open(&there).await.unwrap_err(),
        slow_detached::call(&client).hedge(SOON).await.unwrap_err(),
        total::call(&client, stream::iter(0..3)).hedge(SOON).await.unwrap_err(),
        open(&client).key("once").await.unwrap_err(),
        open(&client).spawn().await.unwrap_err(),
    ] {
        assert_eq!((error.kind(), error.executed()), (ErrorKind::InvalidInput, Executed::No));
    }
    assert_eq!(world.gateway.stats().calls, calls, "nothing was sent");
}

#[test]
fn it_needs_no_runtime_of_its_caller() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let (world, _nodes, client) = runtime.block_on(with_tokens(2, true));
    let (mut probe, gate) = (Probe::new(), Gate::closed());
    let call = slow::call(&client, probe.key, gate.key, OPEN).hedge(SOON);
    futures::executor::block_on(call).unwrap();
    let heard = runtime.block_on(async { [probe.next().await, probe.next().await] });
    assert_eq!(heard, ["first", "second"]);
    drop((client, world));
}
