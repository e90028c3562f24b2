//! The test kit's worlds do what they say. For its mocks see `testing_mock`.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use common::offered::add;
use common::{Probe, SayOnDrop, found_in, patient, say, soon};
use easyremote::gateway::GatewayLimits;
use easyremote::node::Functions;
use easyremote::testing::World;
use easyremote::{Client, ErrorKind, Executed, Role, functions, remote};
use futures::TryStreamExt;

#[remote]
fn length(text: String) -> usize {
    text.len()
}

#[remote(stream)]
fn count(to: u64) -> impl Iterator<Item = u64> {
    0..to
}

#[remote]
async fn endless(key: u64) {
    let _guard = SayOnDrop(key, "dropped");
    say(key, "started");
    std::future::pending::<()>().await;
}

async fn world(functions: Functions) -> World {
    soon(World::serve(functions)).await.unwrap()
}

#[tokio::test]
async fn a_world_is_a_gateway_a_node_and_a_client() {
    let world = world(functions![add, count]).await;
    assert_eq!(soon(add::call(world.client(), 1, 2)).await.unwrap(), 3);
    let items: Vec<u64> = soon(count::call(world.client(), 3).try_collect()).await.unwrap();
    assert_eq!(items, [0, 1, 2]);
    assert_eq!(world.gateway().stats().calls, 2);
    assert_eq!(world.node("node-1").stats().calls, 2);
    assert_eq!(world.gateway().local_addr(), world.address());
}

#[tokio::test]
async fn worlds_have_nothing_in_common() {
    let (one, two) = futures::join!(world(functions![add]), world(functions![count]));
    assert_ne!(one.address(), two.address());
    assert_ne!(one.state_dir(), two.state_dir());
    let error = soon(add::call(two.client(), 1, 2)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NoSuchFunction);
    let stranger = Client::builder(one.address()).dial(found_in(two.state_dir())).connect();
    assert_eq!(soon(stranger).await.unwrap_err().kind(), ErrorKind::Unauthenticated);
    drop(two);
    assert_eq!(soon(add::call(one.client(), 1, 2)).await.unwrap(), 3);
}

#[tokio::test]
async fn a_world_leaves_nothing_behind() {
    let world = world(functions![endless]).await;
    let (client, node, gateway) = (world.client().clone(), world.node("node-1"), world.gateway());
    let state = world.state_dir().to_owned();
    assert!(state.join("identity").exists());
    let mut probe = Probe::new();
    let call = tokio::spawn(endless::call(&client, probe.key));
    assert_eq!(probe.next().await, "started");
    drop(world);
    // Also what is held elsewhere has ended.
    soon(async { futures::join!(node.closed(), gateway.closed()) }).await;
    assert_eq!(probe.next().await, "dropped");
    let error = soon(call).await.unwrap().unwrap_err();
    assert_eq!(error.executed(), Executed::Maybe);
    assert!(!state.exists());
}

#[tokio::test]
async fn code_under_test_may_connect_by_itself() {
    let world = world(functions![add]).await;
    let mine = soon(Client::connect(world.ticket(Role::Client))).await.unwrap();
    assert_eq!(soon(add::call(&mine, 1, 2)).await.unwrap(), 3);
}

#[tokio::test]
async fn the_roles_of_a_world_have_the_options_that_it_was_given() {
    let world = World::builder()
        .gateway(|gateway| gateway.limits(GatewayLimits::new().max_message(10_000)))
        .client(|client| client.dial(patient(Duration::from_secs(2))))
        .node(|node| node.functions(functions![add]))
        .node(|node| node.id("gpu-1").tag("gpu").functions(functions![add]))
        .node(|node| node.functions(functions![count]));
    let world = soon(world.serve()).await.unwrap();
    let nodes = soon(world.client().nodes()).await.unwrap();
    let ids: Vec<&str> = nodes.iter().map(|node| node.id.as_str()).collect();
    assert_eq!(ids, ["gpu-1", "node-1", "node-3"]);
    assert_eq!(soon(add::call(world.client(), 1, 2).tag("gpu")).await.unwrap(), 3);
    assert_eq!(world.node("gpu-1").stats().calls, 1);
    let long = length::call(world.client(), "x".repeat(10_001));
    assert_eq!(soon(long).await.unwrap_err().kind(), ErrorKind::TooLarge);
    // The client's patience is short, also that of a further one.
    let further = soon(world.connect()).await.unwrap();
    soon(world.stop_gateway()).await;
    for client in [world.client(), &further] {
        let error = loop {
            // The loss has to be noticed first.
            let error = soon(add::call(client, 1, 2)).await.unwrap_err();
            if error.kind() != ErrorKind::ConnectionLost {
                break error;
            }
        };
        assert_eq!((error.kind(), error.executed()), (ErrorKind::Unavailable, Executed::No));
    }
}

#[tokio::test]
async fn a_killed_node_takes_its_calls_with_it_and_may_come_back() {
    let world = world(functions![endless, add]).await;
    let mut probe = Probe::new();
    let call = tokio::spawn(endless::call(world.client(), probe.key));
    assert_eq!(probe.next().await, "started");
    soon(world.kill_node("node-1")).await;
    let error = soon(call).await.unwrap().unwrap_err();
    assert_eq!((error.kind(), error.executed()), (ErrorKind::NodeLost, Executed::Maybe));
    assert_eq!(error.node(), Some("node-1"));
    assert_eq!(probe.next().await, "dropped");
    let error = soon(add::call(world.client(), 1, 2)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NoNode);
    soon(world.kill_node("node-1")).await;

    let again = world.add_node(|node| node.id("node-1").functions(functions![add]));
    let again = soon(again).await.unwrap();
    assert_eq!(soon(add::call(world.client(), 1, 2)).await.unwrap(), 3);
    assert_eq!((again.stats().calls, world.node("node-1").stats().calls), (1, 1));
    let third = soon(world.add_node(|node| node.functions(functions![add]))).await.unwrap();
    assert_eq!(third.id(), "node-3");
}

#[tokio::test]
async fn a_gateway_comes_back_at_its_address() {
    let world = world(functions![endless, add]).await;
    let dead = world.add_node(|node| node.id("dead").functions(functions![add]));
    soon(dead).await.unwrap();
    soon(world.kill_node("dead")).await;
    let (address, ticket) = (world.address(), world.ticket(Role::Client).to_string());
    let mut probe = Probe::new();
    let call = tokio::spawn(endless::call(world.client(), probe.key));
    assert_eq!(probe.next().await, "started");
    soon(world.stop_gateway()).await;
    let error = soon(call).await.unwrap().unwrap_err();
    assert_eq!((error.kind(), error.executed()), (ErrorKind::ConnectionLost, Executed::Maybe));

    soon(world.start_gateway()).await.unwrap();
    assert_eq!(world.gateway().local_addr(), address);
    assert_eq!(world.ticket(Role::Client).to_string(), ticket);
    assert_eq!(world.gateway().nodes().len(), 1);
    assert_eq!(soon(add::call(world.client(), 1, 2)).await.unwrap(), 3);
}

#[tokio::test]
async fn a_closed_client_can_be_replaced() {
    let world = world(functions![add]).await;
    soon(world.client().close()).await;
    let error = soon(add::call(world.client(), 1, 2)).await.unwrap_err();
    assert_eq!((error.kind(), error.executed()), (ErrorKind::ConnectionLost, Executed::No));
    // It is not waited for.
    soon(world.start_gateway()).await.unwrap();
    let another = soon(world.connect()).await.unwrap();
    assert_eq!(soon(add::call(&another, 1, 2)).await.unwrap(), 3);
}

#[tokio::test]
async fn a_node_that_is_not_there_is_named_with_those_that_are() {
    let world = world(functions![add]).await;
    let panic = catch_unwind(AssertUnwindSafe(|| world.node("gpu-1"))).unwrap_err();
    let text = panic.downcast::<String>().unwrap();
    assert_eq!(*text, r#"no node `gpu-1` in this world; its nodes are ["node-1"]"#);
}

#[tokio::test]
async fn a_world_may_be_shared_between_tasks() {
    let world = std::sync::Arc::new(world(functions![add]).await);
    let other = world.clone();
    let restarted = tokio::spawn(async move {
        other.kill_node("node-1").await;
        other.add_node(|node| node.functions(functions![add])).await?;
        // Ends the old one first.
        other.start_gateway().await
    });
    soon(restarted).await.unwrap().unwrap();
    assert_eq!(world.gateway().nodes()[0].id, "node-2");
    assert_eq!(soon(add::call(world.client(), 1, 2)).await.unwrap(), 3);
}
