//! Calls to all nodes that offer a function.

use std::collections::BTreeSet;
use std::time::Duration;

use common::gate::{Gate, OPEN, pass};
use common::{Probe, SayOnDrop, World, serving, soon};
use easyremote::{CallError, Context, ErrorKind, Executed, Node, Options, functions, remote};
use fastrand::Rng;
use futures::{FutureExt, Stream, StreamExt, stream};

/// Returns the node, once the gate is open.
#[remote]
async fn where_am_i(#[ctx] ctx: &Context, key: u64, gate: u64) -> String {
    let _dropped = SayOnDrop(key, "ended");
    common::say(key, "began");
    pass(gate).await;
    ctx.node().to_owned()
}

#[remote]
async fn other() -> u64 {
    7
}

#[remote(name = "where_am_i")]
async fn of_other_types(text: String) -> String {
    text
}

#[remote]
async fn odd_ones_fail(#[ctx] ctx: &Context) -> Result<u64, String> {
    let number: u64 = ctx.node().trim_start_matches("node-").parse().unwrap();
    if number.is_multiple_of(2) { Ok(number) } else { Err(ctx.node().to_owned()) }
}

#[remote(idempotent)]
async fn total(numbers: impl Stream<Item = u64>) -> u64 {
    numbers.fold(0, |sum, number| async move { sum + number }).await
}

async fn start(world: &World, number: usize, concurrency: usize) -> Node {
    let node = world.node_builder().id(format!("node-{number}")).concurrency(concurrency);
    soon(node.functions(functions![where_am_i, odd_ones_fail, total]).serve()).await.unwrap()
}

#[tokio::test]
async fn each_node_that_offers_it_and_has_the_tags_is_called_once() {
    const TAGS: [&str; 3] = ["gpu", "eu", "warm"];
    for seed in 0..12 {
        let mut random = Rng::with_seed(seed);
        let world = World::start().await;
        let mut nodes = Vec::new();
        let mut offering = Vec::new();
        for number in 0..random.usize(1..8) {
            let (id, offers) = (format!("node-{number}"), random.u32(..4) > 0);
            let tags: Vec<&str> = TAGS.into_iter().filter(|_| random.bool()).collect();
            let functions = if offers { functions![where_am_i, other] } else { functions![other] };
            let node = world.node_builder().id(&id).functions(functions);
            let node = tags.iter().fold(node, |node, tag| node.tag(*tag));
            nodes.push(soon(node.serve()).await.unwrap());
            if offers {
                offering.push((id, tags));
            }
        }
        let client = world.client().await;
        for _ in 0..6 {
            let wanted: Vec<&str> = TAGS.into_iter().filter(|_| random.u32(..3) == 0).collect();
            let fits = |(_, tags): &&(String, Vec<&str>)| wanted.iter().all(|it| tags.contains(it));
            let expected: Vec<String> =
                offering.iter().filter(fits).map(|(id, _)| id.clone()).collect();
            // Some tags come from the handle, and some are of the call.
            let split = random.usize(..=wanted.len());
            let options = wanted[..split].iter().fold(Options::new(), |all, tag| all.tag(*tag));
            let call = where_am_i::call(&client.with(options), u64::MAX, OPEN);
            let call = wanted[split..].iter().fold(call, |call, tag| call.tag(*tag));
            let results: Vec<_> = soon(call.on_all().collect()).await;
            if expected.is_empty() {
                let [(id, Err(error))] = &results[..] else { panic!("{results:?}") };
                assert_eq!(id, "");
                assert_eq!((error.kind(), error.executed()), (ErrorKind::NoNode, Executed::No));
                continue;
            }
            let called: BTreeSet<String> = results
                .iter()
                .map(|(id, result)| {
                    assert_eq!(result.as_ref().unwrap(), id);
                    id.clone()
                })
                .collect();
            assert_eq!(called.into_iter().collect::<Vec<_>>(), expected, "seed {seed}: {wanted:?}");
            assert_eq!(results.len(), expected.len(), "seed {seed}: each once");
        }
    }
}

async fn nodes_come_and_go() {
    let world = World::start().await;
    let mut nodes = Vec::new();
    for number in 0..4 {
        nodes.push(start(&world, number, 8).await);
    }
    let client = world.client().await;
    let (mut probe, gate) = (Probe::new(), Gate::closed());
    let mut results = where_am_i::call(&client, probe.key, gate.key).on_all();
    let mut all = tokio::spawn(async move {
        let first = results.next().await;
        (first, results.collect::<Vec<_>>().await)
    });
    for _ in 0..4 {
        assert_eq!(probe.next().await, "began");
    }
    let late = start(&world, 4, 8).await;
    assert!((&mut all).now_or_never().is_none());
    soon(nodes.remove(2).shutdown()).await;
    soon(async { while probe.next().await != "ended" {} }).await;
    gate.open();
    let (first, mut rest) = soon(all).await.unwrap();
    rest.extend(first);
    rest.sort_by(|(one, _), (two, _)| one.cmp(two));
    assert_eq!(rest.len(), 4, "the late one is not called");
    for (number, (id, result)) in rest.into_iter().enumerate() {
        assert_eq!(id, format!("node-{number}"));
        match result {
            Ok(node) => assert!(node == id && number != 2),
            Err(error) => assert!(number == 2 && error.kind() == ErrorKind::NodeLost),
        }
    }
    assert_eq!(late.stats().calls, 0);
}

#[tokio::test]
async fn a_node_that_leaves_is_its_own_error_and_one_that_comes_is_not_called() {
    nodes_come_and_go().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_come_and_go_on_threads() {
    nodes_come_and_go().await;
}

#[tokio::test]
async fn a_full_node_keeps_its_call_waiting_and_the_others_come_first() {
    let world = World::start().await;
    let _nodes = (start(&world, 0, 1).await, start(&world, 1, 1).await);
    let client = world.client().await;
    let (mut probe, gate) = (Probe::new(), Gate::closed());
    let busy = where_am_i::call(&client, probe.key, gate.key).on("node-1");
    let busy = tokio::spawn(busy.into_future());
    assert_eq!(probe.next().await, "began");
    let call = || where_am_i::call(&client, u64::MAX, OPEN);
    // With a deadline only the call that waits misses it.
    let timeout = Duration::from_millis(300);
    let results: Vec<_> = soon(call().timeout(timeout).on_all().collect()).await;
    let [(first, Ok(_)), (second, Err(error))] = &results[..] else { panic!("{results:?}") };
    assert_eq!((&**first, &**second), ("node-0", "node-1"));
    assert_eq!(error.kind(), ErrorKind::DeadlineExceeded);
    // `No` if the gateway tells first, `Maybe` if the client's own timer fires.
    assert_ne!(error.executed(), Executed::Yes);
    let mut results = call().on_all();
    assert_eq!(soon(results.next()).await.unwrap().0, "node-0");
    assert!(results.next().now_or_never().is_none());
    gate.open();
    let (id, result) = soon(results.next()).await.unwrap();
    assert!(id == "node-1" && result.is_ok());
    assert!(soon(results.next()).await.is_none());
    soon(busy).await.unwrap().unwrap();
}

#[tokio::test]
async fn errors_belong_to_their_node() {
    let world = World::start().await;
    let mut nodes = Vec::new();
    for number in 0..4 {
        nodes.push(start(&world, number, 8).await);
    }
    let strange = world.node_builder().id("strange").functions(functions![of_other_types]);
    let _strange = soon(strange.serve()).await.unwrap();
    let client = world.client().await;
    let results: Vec<_> = soon(odd_ones_fail::call(&client).on_all().collect()).await;
    assert_eq!(results.len(), 4);
    for (id, result) in results {
        match result {
            Ok(number) => assert!(id == format!("node-{number}") && number.is_multiple_of(2)),
            Err(CallError::Function(text)) => assert_eq!(text, id),
            Err(CallError::Remote(error)) => panic!("{error}"),
        }
    }
    let results: Vec<_> = soon(where_am_i::call(&client, 0, OPEN).on_all().collect()).await;
    assert_eq!(results.len(), 5);
    for (id, result) in results {
        match result {
            Ok(node) => assert_eq!(node, id),
            Err(error) => {
                assert_eq!((&*id, error.kind()), ("strange", ErrorKind::SignatureMismatch));
            }
        }
    }
}

#[tokio::test]
async fn dropping_the_stream_cancels_all() {
    let world = World::start().await;
    let _nodes = (start(&world, 0, 8).await, start(&world, 1, 8).await);
    let client = world.client().await;
    let (mut probe, gate) = (Probe::new(), Gate::closed());
    let mut results = where_am_i::call(&client, probe.key, gate.key).on_all();
    let waiting = tokio::spawn(async move { results.next().await.map(|(id, _)| id) });
    assert_eq!([probe.next().await, probe.next().await], ["began", "began"]);
    waiting.abort();
    assert_eq!([probe.next().await, probe.next().await], ["ended", "ended"]);
}

#[tokio::test]
async fn what_cannot_be_made_everywhere_is_refused_and_a_question_that_fails_is_told() {
    let (_world, client) = serving(functions![where_am_i, total]).await;
    let call = || where_am_i::call(&client, u64::MAX, OPEN);
    let there = client.with(Options::new().on("node-0"));
    for results in [
        soon(call().on("node-0").on_all().collect::<Vec<_>>()).await,
        soon(where_am_i::call(&there, 0, OPEN).on_all().collect()).await,
    ] {
        let [(id, Err(error))] = &results[..] else { panic!("{results:?}") };
        assert_eq!((&**id, error.kind()), ("", ErrorKind::InvalidInput));
    }
    for call in [
        total::call(&client, stream::iter(0..3)),
        total::call(&client, stream::iter(0..3)).hedge(Duration::from_millis(1)),
    ] {
        let results = soon(call.on_all().collect::<Vec<_>>()).await;
        let [(id, Err(error))] = &results[..] else { panic!("{results:?}") };
        assert_eq!((&**id, error.kind()), ("", ErrorKind::InvalidInput));
    }
    let none = soon(other::call(&client).on_all().collect::<Vec<_>>()).await;
    let [(id, Err(error))] = &none[..] else { panic!("{none:?}") };
    assert_eq!((&**id, error.kind(), error.executed()), ("", ErrorKind::NoNode, Executed::No));
    let late = soon(call().timeout(Duration::ZERO).on_all().collect::<Vec<_>>()).await;
    let [(id, Err(error))] = &late[..] else { panic!("{late:?}") };
    assert_eq!((&**id, error.kind()), ("", ErrorKind::DeadlineExceeded));
    assert_eq!(error.executed(), Executed::No);
    soon(client.close()).await;
    let closed = soon(call().on_all().collect::<Vec<_>>()).await;
    let [(id, Err(error))] = &closed[..] else { panic!("{closed:?}") };
    assert_eq!((&**id, error.kind()), ("", ErrorKind::ConnectionLost));
    assert_eq!(error.executed(), Executed::No);
}
