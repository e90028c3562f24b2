//! Calls for which no node has room: they wait at the gateway, in turn, and not too many of them.

use std::sync::Arc;
use std::time::Duration;

use common::{Probe, World, patient, say, soon, until};
use easyremote::{Client, ErrorKind, Executed, Node, functions, remote};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

/// Runs until the test lets it go; says which one it is when it starts.
#[remote]
async fn work(#[state] go: &Arc<Semaphore>, key: u64, name: String) {
    say(key, NAMES.iter().find(|known| **known == name).unwrap());
    go.acquire().await.unwrap().forget();
}

#[remote]
async fn other(#[state] go: &Arc<Semaphore>, key: u64) {
    say(key, "other");
    go.acquire().await.unwrap().forget();
}

const NAMES: [&str; 7] = ["first", "a1", "a2", "a3", "b1", "b2", "c1"];

async fn node(world: &World, id: &str, places: usize, go: &Arc<Semaphore>) -> Node {
    let builder = world.node_builder().id(id).concurrency(places).state(go.clone());
    soon(builder.functions(functions![work, other]).serve()).await.unwrap()
}

fn gate() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(0))
}

/// Makes a call and waits until the gateway holds `waiting` of them.
async fn enqueue(
    world: &World,
    client: &Client,
    probe: &Probe,
    name: &str,
    waiting: u64,
) -> JoinHandle<Result<(), easyremote::Error>> {
    let call = tokio::spawn(work::call(client, probe.key, name.into()));
    until(|| world.gateway.stats().waiting == waiting).await;
    call
}

#[tokio::test]
async fn callers_take_turns_and_keep_their_own_order() {
    let (world, go, mut probe) = (World::start().await, gate(), Probe::new());
    let _node = node(&world, "a", 1, &go).await;
    let (a, b, c) = (world.client().await, world.client().await, world.client().await);
    let mut calls = vec![enqueue(&world, &a, &probe, "first", 0).await];
    assert_eq!(probe.next().await, "first");
    let order = [(&a, "a1"), (&a, "a2"), (&a, "a3"), (&b, "b1"), (&b, "b2"), (&c, "c1")];
    for (waiting, (client, name)) in (1..).zip(order) {
        calls.push(enqueue(&world, client, &probe, name, waiting).await);
    }
    let mut started = Vec::new();
    for _ in order {
        go.add_permits(1);
        started.push(probe.next().await);
    }
    assert_eq!(started, ["a1", "b1", "c1", "a2", "b2", "a3"]);
    go.add_permits(1);
    for call in calls {
        soon(call).await.unwrap().unwrap();
    }
    until(|| world.gateway.stats().in_flight == 0).await;
}

#[tokio::test]
async fn functions_take_turns() {
    let (world, go, mut probe) = (World::start().await, gate(), Probe::new());
    let _node = node(&world, "a", 1, &go).await;
    let client = world.client().await;
    let mut calls = vec![enqueue(&world, &client, &probe, "first", 0).await];
    assert_eq!(probe.next().await, "first");
    for (waiting, name) in (1..).zip(["a1", "a2", "a3"]) {
        calls.push(enqueue(&world, &client, &probe, name, waiting).await);
    }
    calls.push(tokio::spawn(other::call(&client, probe.key)));
    until(|| world.gateway.stats().waiting == 4).await;
    let mut started = Vec::new();
    for _ in 0..4 {
        go.add_permits(1);
        started.push(probe.next().await);
    }
    let place = started.iter().position(|name| *name == "other").unwrap();
    assert!(place < 2, "{started:?}");
    go.add_permits(1);
    for call in calls {
        soon(call).await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn a_node_that_comes_takes_what_waits() {
    let (world, go, mut probe) = (World::start().await, gate(), Probe::new());
    let _a = node(&world, "a", 1, &go).await;
    let client = world.client().await;
    let mut calls = vec![enqueue(&world, &client, &probe, "first", 0).await];
    assert_eq!(probe.next().await, "first");
    for (waiting, name) in (1..).zip(["a1", "a2", "a3"]) {
        calls.push(enqueue(&world, &client, &probe, name, waiting).await);
    }
    let _b = node(&world, "b", 2, &go).await;
    assert_eq!([probe.next().await, probe.next().await], ["a1", "a2"]);
    assert_eq!(world.gateway.stats().waiting, 1);
    go.add_permits(4);
    for call in calls {
        soon(call).await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn who_waits_for_a_node_that_leaves_is_told() {
    let (world, go, mut probe) = (World::start().await, gate(), Probe::new());
    let leaving = node(&world, "a", 1, &go).await;
    // So long it waits for another one.
    let client = world.client_builder().dial(patient(Duration::from_secs(3))).connect();
    let client = soon(client).await.unwrap();
    let first = enqueue(&world, &client, &probe, "first", 0).await;
    assert_eq!(probe.next().await, "first");
    let waiting = enqueue(&world, &client, &probe, "a1", 1).await;
    let patient = tokio::spawn(work::call(&client, probe.key, "a2".into()).wait_for_node());
    until(|| world.gateway.stats().waiting == 2).await;
    let drain = tokio::spawn(async move { leaving.drain(Duration::from_secs(60)).await });
    let error = soon(waiting).await.unwrap().unwrap_err();
    assert_eq!((error.kind(), error.executed()), (ErrorKind::Draining, Executed::No), "{error}");
    go.add_permits(1);
    soon(first).await.unwrap().unwrap();
    soon(drain).await.unwrap();
    assert!(!patient.is_finished());
    let _next = node(&world, "b", 1, &go).await;
    assert_eq!(probe.next().await, "a2");
    go.add_permits(1);
    soon(patient).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_deadline_holds_while_waiting_too() {
    let (world, go, mut probe) = (World::start().await, gate(), Probe::new());
    let node = node(&world, "a", 1, &go).await;
    let client = world.client().await;
    let first = enqueue(&world, &client, &probe, "first", 0).await;
    assert_eq!(probe.next().await, "first");
    let late = work::call(&client, probe.key, "a1".into()).timeout(Duration::from_secs(2));
    let late = tokio::spawn(late);
    // Otherwise it might come to the gateway when the place is free.
    until(|| world.gateway.stats().waiting == 1).await;
    let error = soon(late).await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::DeadlineExceeded);
    until(|| world.gateway.stats().waiting == 0).await;
    go.add_permits(1);
    soon(first).await.unwrap().unwrap();
    assert_eq!(node.stats().calls, 1);
    assert_eq!(probe.so_far(), [""; 0]);
}

#[tokio::test]
async fn beyond_a_thousand_the_caller_with_most_is_refused_at_once() {
    let (world, go, mut probe) = (World::start().await, gate(), Probe::new());
    let _node = node(&world, "a", 1, &go).await;
    let (greedy, modest) = (world.client().await, world.client().await);
    let also_greedy = world.client().await;
    let first = enqueue(&world, &modest, &probe, "first", 0).await;
    assert_eq!(probe.next().await, "first");
    let call = |client: &Client| tokio::spawn(work::call(client, probe.key, "a1".into()));
    let mut calls: Vec<_> = (0..1_000).map(|_| call(&greedy)).collect();
    calls.extend((0..24).map(|_| call(&also_greedy)));
    until(|| world.gateway.stats().waiting == 1_024).await;
    let error = soon(work::call(&greedy, probe.key, "a2".into())).await.unwrap_err();
    assert_eq!((error.kind(), error.executed()), (ErrorKind::Overloaded, Executed::No), "{error}");
    assert!(error.retry_after().is_some() && error.is_retryable());
    // The modest one gets in, in place of a call of the greedy one.
    let modest = tokio::spawn(work::call(&modest, probe.key, "b1".into()));
    soon(async {
        while !calls.iter().any(JoinHandle::is_finished) {
            tokio::task::yield_now().await
        }
    })
    .await;
    assert_eq!(world.gateway.stats().waiting, 1_024);
    go.add_permits(2_000);
    soon(first).await.unwrap().unwrap();
    soon(modest).await.unwrap().unwrap();
    let mut refused = 0;
    for call in calls {
        match soon(call).await.unwrap() {
            Ok(()) => {}
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Overloaded);
                refused += 1;
            }
        }
    }
    assert_eq!(refused, 1);
    until(|| world.gateway.stats().in_flight == 0).await;
}
