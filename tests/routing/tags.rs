//! Tags that change while a node runs.

use std::collections::BTreeSet;
use std::time::Duration;

use common::{Probe, SayOnDrop, World, found_in, soon, until};
use easyremote::node::NodeBuilder;
use easyremote::{Client, ErrorKind, Executed, Gateway, Node, Role, functions, remote};
use futures::future::join_all;

#[remote]
async fn whoami(#[ctx] ctx: &easyremote::Context) -> String {
    ctx.node().to_owned()
}

#[remote(needs = "gpu")]
async fn generate(#[ctx] ctx: &easyremote::Context) -> String {
    ctx.node().to_owned()
}

/// Runs until it is told to end.
#[remote]
async fn hold(#[ctx] ctx: &easyremote::Context, key: u64, end: u64) -> String {
    let held = SayOnDrop(key, "dropped");
    held.say("runs");
    ended(end).await;
    held.say("ends");
    ctx.node().to_owned()
}

static ENDS: std::sync::Mutex<BTreeSet<u64>> = std::sync::Mutex::new(BTreeSet::new());

async fn ended(key: u64) {
    until(|| ENDS.lock().unwrap().contains(&key)).await;
}

fn end(key: u64) {
    ENDS.lock().unwrap().insert(key);
}

fn builder(world: &World, id: &str) -> NodeBuilder {
    world.node_builder().id(id).functions(functions![whoami, generate, hold])
}

async fn node(world: &World, id: &str) -> Node {
    soon(builder(world, id).serve()).await.unwrap()
}

/// The tags of the node called `id`, as the gateway sees them.
fn tags_at(gateway: &Gateway, id: &str) -> Option<Vec<String>> {
    gateway.nodes().into_iter().find(|node| node.id == id).map(|node| node.tags)
}

#[tokio::test]
async fn new_tags_hold_when_setting_them_returns() {
    let world = World::start().await;
    let node = soon(builder(&world, "one").tag("eu").serve()).await.unwrap();
    let client = world.client().await;
    for n in 0..20 {
        let (new, old) = (format!("tag-{n}"), format!("tag-{}", n + 1));
        soon(node.set_tags([&*new, "eu"])).await.unwrap();
        assert_eq!(node.tags(), [&*new, "eu"]);
        assert_eq!(tags_at(&world.gateway, "one").unwrap(), [&*new, "eu"]);
        assert_eq!(soon(whoami::call(&client).tag(new).tag("eu")).await.unwrap(), "one");
        let error = soon(whoami::call(&client).tag(old)).await.unwrap_err();
        assert_eq!((error.kind(), error.executed()), (ErrorKind::NoNode, Executed::No));
    }
    soon(node.set_tags([""; 0])).await.unwrap();
    assert_eq!(tags_at(&world.gateway, "one").unwrap(), [""; 0]);
}

#[tokio::test]
async fn calls_that_wait_for_a_node_see_new_tags_at_once() {
    let world = World::start().await;
    let node = node(&world, "one").await;
    let client = world.client().await;
    let by_tag = tokio::spawn(whoami::call(&client).tag("eu").wait_for_node().into_future());
    let by_need = tokio::spawn(generate::call(&client).wait_for_node().into_future());
    until(|| world.gateway.stats().in_flight == 2).await;
    soon(node.set_tags(["gpu"])).await.unwrap();
    assert_eq!(soon(by_need).await.unwrap().unwrap(), "one");
    until(|| world.gateway.stats().in_flight == 1).await;
    assert!(!by_tag.is_finished());
    soon(node.set_tags(["eu"])).await.unwrap();
    assert_eq!(soon(by_tag).await.unwrap().unwrap(), "one");
}

#[tokio::test]
async fn calls_in_a_queue_go_where_the_tags_are_and_fail_where_none_are_left() {
    let world = World::start().await;
    let (busy, free) =
        (builder(&world, "busy").tag("a").concurrency(1), node(&world, "free").await);
    let busy = soon(busy.serve()).await.unwrap();
    let client = world.client().await;
    let mut probe = Probe::new();
    let running = tokio::spawn(hold::call(&client, probe.key, probe.key).tag("a").into_future());
    assert_eq!(probe.next().await, "runs");
    let queued = || tokio::spawn(whoami::call(&client).tag("a").into_future());
    // A node that gets the tag gets the call.
    let first = queued();
    until(|| world.gateway.stats().waiting == 1).await;
    soon(free.set_tags(["a"])).await.unwrap();
    assert_eq!(soon(first).await.unwrap().unwrap(), "free");
    // Without a node that has the tag there is nothing to wait for, but for who says so.
    soon(free.set_tags(["b"])).await.unwrap();
    let (second, patient) = (queued(), whoami::call(&client).tag("a").wait_for_node());
    let patient = tokio::spawn(patient.into_future());
    until(|| world.gateway.stats().waiting == 2).await;
    soon(busy.set_tags(["c"])).await.unwrap();
    let error = soon(second).await.unwrap().unwrap_err();
    assert_eq!((error.kind(), error.executed()), (ErrorKind::NoNode, Executed::No));
    // What runs goes on.
    assert_eq!(probe.so_far(), [""; 0]);
    end(probe.key);
    assert_eq!(soon(running).await.unwrap().unwrap(), "busy");
    assert_eq!(probe.so_far(), ["ends", "dropped"]);
    soon(busy.set_tags(["a"])).await.unwrap();
    assert_eq!(soon(patient).await.unwrap().unwrap(), "busy");
    until(|| world.gateway.stats().waiting == 0).await;
}

/// As for a node that starts without them.
#[tokio::test]
async fn a_function_gets_calls_for_as_long_as_its_node_has_the_tags_it_needs() {
    let world = World::start().await;
    let node = node(&world, "one").await;
    let client = world.client().await;
    for tags in [&["gpu"][..], &[], &["gpu", "eu"], &["eu"]] {
        soon(node.set_tags(tags.iter().copied())).await.unwrap();
        let functions = soon(client.functions()).await.unwrap();
        let listed = functions.iter().find(|function| function.name == "generate").unwrap();
        let outcome = soon(generate::call(&client)).await;
        if tags.contains(&"gpu") {
            assert_eq!((&*listed.nodes, outcome.unwrap()), (&["one".to_owned()][..], "one".into()));
        } else {
            let error = outcome.unwrap_err();
            assert_eq!((error.kind(), listed.nodes.len()), (ErrorKind::NoNode, 0));
            assert!(error.to_string().contains("node `one` lacks the tag `gpu`"), "{error}");
        }
        // Others are not concerned.
        assert_eq!(soon(whoami::call(&client)).await.unwrap(), "one");
    }
}

#[tokio::test]
async fn every_gateway_has_them_also_one_that_was_away() {
    let (one, two) = (World::start().await, World::start().await);
    let tickets = [&one, &two].map(|world| world.gateway.ticket(Role::Node));
    let node = Node::builder(tickets).id("one").tag("old").functions(functions![whoami]);
    let node = soon(node.serve()).await.unwrap();
    soon(node.set_tags(["new"])).await.unwrap();
    for world in [&one, &two] {
        assert_eq!(tags_at(&world.gateway, "one").unwrap(), ["new"]);
    }
    let address = two.gateway.local_addr();
    soon(two.gateway.shutdown()).await;
    until(|| node.stats().gateways == 1).await;
    // The one that is away is not waited for.
    soon(node.set_tags(["newer"])).await.unwrap();
    assert_eq!(tags_at(&one.gateway, "one").unwrap(), ["newer"]);
    let again = common::gateway_at(address).state_dir(two.state_dir()).serve();
    let again = soon(again).await.unwrap();
    // From the first moment that it knows of the node.
    let mut seen = None;
    until(|| {
        seen = tags_at(&again, "one");
        seen.is_some()
    })
    .await;
    assert_eq!(seen.unwrap(), ["newer"]);
    let client =
        soon(Client::builder(address).dial(found_in(two.state_dir())).connect()).await.unwrap();
    assert_eq!(soon(whoami::call(&client).tag("newer")).await.unwrap(), "one");
}

#[tokio::test]
async fn of_many_changes_at_once_the_last_one_stays() {
    let world = World::start().await;
    let node = node(&world, "one").await;
    let changes = (0..500).map(|n| node.set_tags([format!("tag-{n}")]));
    assert!(soon(join_all(changes)).await.iter().all(Result::is_ok));
    assert_eq!(tags_at(&world.gateway, "one").unwrap(), ["tag-499"]);
    assert_eq!(node.tags(), ["tag-499"]);
}

#[tokio::test]
async fn tags_beyond_the_limits_are_refused_and_change_nothing() {
    let world = World::start().await;
    let node = node(&world, "one").await;
    let full: Vec<String> = (0..64).map(|n| format!("{n:0128}")).collect();
    soon(node.set_tags(full.clone())).await.unwrap();
    let too_many: Vec<String> = (0..65).map(|n| n.to_string()).collect();
    for tags in [too_many, vec![String::new()], vec!["x".repeat(129)]] {
        let error = soon(node.set_tags(tags)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
    }
    assert_eq!(tags_at(&world.gateway, "one").unwrap(), full);
}

#[tokio::test]
async fn a_node_that_has_left_waits_for_nobody() {
    let world = World::start().await;
    let node = node(&world, "one").await;
    soon(node.drain(Duration::from_secs(30))).await;
    soon(node.set_tags(["late"])).await.unwrap();
    assert_eq!(node.tags(), ["late"]);
}
