//! Nodes come and go; gateways know what they offer.

use std::time::Duration;

use common::{World, found_in, patient, soon, until};
use easyremote::{Client, ErrorKind, Node, functions, remote};

#[remote]
fn whoami(node: String) -> String {
    node
}

#[remote]
fn add(a: i64, b: i64) -> i64 {
    a + b
}

mod other {
    #[easyremote::remote]
    pub(crate) fn add(a: i64, b: i64) -> i64 {
        a - b
    }
}

#[tokio::test]
async fn a_node_is_registered_when_serve_returns() {
    let world = World::start().await;
    let node = world.node_builder().id("gpu-1").tag("gpu").functions(functions![add, whoami]);
    let node = soon(node.serve()).await.unwrap();
    assert_eq!(node.id(), "gpu-1");
    assert_eq!(node.stats().gateways, 1);
    let [info] = &world.gateway.nodes()[..] else { panic!("one node") };
    assert_eq!((info.id.as_str(), &info.tags[..]), ("gpu-1", &["gpu".to_owned()][..]));
    assert_eq!(info.functions, ["add", "whoami"]);
    soon(node.shutdown()).await;
    until(|| world.gateway.nodes().is_empty()).await;
}

#[tokio::test]
async fn two_functions_of_one_name_are_refused_with_both_origins() {
    let world = World::start().await;
    let node = world.node_builder().functions(functions![add, other::add]);
    let text = soon(node.serve()).await.unwrap_err().to_string();
    assert!(text.contains("two functions are called `add`"), "{text}");
    assert_eq!(text.matches("registration.rs:").count(), 2, "{text}");
    let node = world.node_builder().functions(functions![add, add]);
    assert_eq!(soon(node.serve()).await.unwrap_err().to_string(), "`add` is listed twice");
    let error = soon(world.node_builder().serve()).await.unwrap_err();
    assert!(error.to_string().contains("offers no functions"), "{error}");
}

#[tokio::test]
async fn roles_may_start_in_any_order() {
    let state = tempfile::tempdir().unwrap();
    // Taken to learn a free port, and given back for the gateway.
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    drop(socket);
    let client = Client::builder(address).dial(found_in(state.path())).connect();
    let node =
        Node::builder(address).dial(found_in(state.path())).functions(functions![add]).serve();
    let (client, node) = (tokio::spawn(client), tokio::spawn(node));
    let gateway = common::gateway_at(address).state_dir(state.path()).serve();
    let _gateway = soon(gateway).await.unwrap();
    let _node = soon(node).await.unwrap().unwrap();
    let client = soon(client).await.unwrap().unwrap();
    assert_eq!(soon(add::call(&client, 1, 2)).await.unwrap(), 3);
}

#[tokio::test]
async fn a_second_node_takes_over_an_id_when_it_starts_anew() {
    let world = World::start().await;
    let node = || world.node_builder().id("one").functions(functions![add]).serve();
    let first = soon(node()).await.unwrap();
    // As after a crash of the first, whose end the gateway has not noticed yet.
    let _second = soon(node()).await.unwrap();
    until(|| first.stats().gateways == 0).await;
    assert_eq!(world.gateway.nodes().len(), 1);
    let client = world.client().await;
    assert_eq!(soon(add::call(&client, 1, 2)).await.unwrap(), 3);
}

#[tokio::test]
async fn node_and_client_come_back_to_a_gateway_that_was_restarted() {
    let state = tempfile::tempdir().unwrap();
    let start = |address: String| soon(common::gateway_at(address).state_dir(state.path()).serve());
    let gateway = start("127.0.0.1:0".into()).await.unwrap();
    let address = gateway.local_addr();
    let node =
        Node::builder(address).dial(found_in(state.path())).functions(functions![add]).serve();
    let _node = soon(node).await.unwrap();
    let client =
        soon(Client::builder(address).dial(found_in(state.path())).connect()).await.unwrap();
    soon(gateway.shutdown()).await;
    drop(gateway);

    let gateway = start(address.to_string()).await.unwrap();
    until(|| gateway.stats().nodes == 1).await;
    // The call waits for the client's own connection.
    assert_eq!(soon(add::call(&client, 1, 2)).await.unwrap(), 3);
}

#[tokio::test]
async fn a_node_registers_at_every_gateway_and_a_client_uses_one_that_is_there() {
    let (one, two) = (World::start().await, World::start().await);
    let tickets = [&one, &two].map(|world| world.gateway.ticket(easyremote::Role::Node));
    let node = soon(Node::serve(tickets, functions![add])).await.unwrap();
    assert_eq!(node.stats().gateways, 2);
    soon(one.gateway.shutdown()).await;
    let tickets = [&one, &two].map(|world| world.gateway.ticket(easyremote::Role::Client));
    let client = soon(Client::connect(tickets)).await.unwrap();
    assert_eq!(soon(add::call(&client, 1, 2)).await.unwrap(), 3);
}

#[tokio::test]
async fn calls_spread_over_nodes() {
    let world = World::start().await;
    let mut nodes = Vec::new();
    for id in ["a", "b", "c"] {
        let node = world.node_builder().id(id).functions(functions![add]);
        nodes.push(soon(node.serve()).await.unwrap());
    }
    let client = world.client().await;
    for i in 0..200 {
        assert_eq!(soon(add::call(&client, i, 1)).await.unwrap(), i + 1);
    }
    assert!(nodes.iter().all(|node| node.stats().calls > 0));
    assert_eq!(nodes.iter().map(|node| node.stats().calls).sum::<u64>(), 200);
}

#[tokio::test]
async fn a_handle_that_is_dropped_shuts_its_role_down() {
    let (world, node, client) = World::with(functions![add]).await;
    drop(node);
    until(|| world.gateway.stats().nodes == 0).await;
    drop(client);
    until(|| world.gateway.stats().connections == 0).await;
}

#[tokio::test]
async fn a_bad_id_or_tag_is_refused_at_once() {
    let world = World::start().await;
    for builder in [
        world.node_builder().id(""),
        world.node_builder().id("x".repeat(129)),
        world.node_builder().id("a\nb"),
        world.node_builder().tag(""),
        world.node_builder().tag("x".repeat(129)),
    ] {
        let error = builder.functions(functions![add]).dial(patient(Duration::from_secs(1)));
        assert_eq!(soon(error.serve()).await.unwrap_err().kind(), ErrorKind::InvalidInput);
    }
}

#[tokio::test]
async fn a_call_can_wait_for_a_node() {
    let world = World::start().await;
    let client = world.client().await;
    let waiting = tokio::spawn(add::call(&client, 1, 2).wait_for_node());
    let dropped = tokio::spawn(add::call(&client, 1, 2).wait_for_node());
    let late = add::call(&client, 1, 2).wait_for_node().timeout(Duration::from_millis(50));
    until(|| world.gateway.stats().in_flight == 2).await;
    assert_eq!(soon(late).await.unwrap_err().kind(), ErrorKind::DeadlineExceeded);
    dropped.abort();
    until(|| world.gateway.stats().in_flight == 1).await;
    let node = world.node(functions![add]).await;
    assert_eq!(soon(waiting).await.unwrap().unwrap(), 3);
    assert_eq!(node.stats().calls, 1);
}

#[tokio::test]
async fn a_gateway_that_is_missing_at_first_is_dialled_on() {
    let there = World::start().await;
    let state = tempfile::tempdir().unwrap();
    let late = common::gateway_at("127.0.0.1:0").state_dir(state.path()).serve();
    let late = soon(late).await.unwrap();
    let (address, ticket) = (late.local_addr(), late.ticket(easyremote::Role::Node));
    soon(late.shutdown()).await;
    drop(late);
    let tickets = vec![there.gateway.ticket(easyremote::Role::Node), ticket];
    let node = Node::builder(tickets).functions(functions![add]);
    let node = soon(node.dial(patient(Duration::from_secs(3))).serve()).await.unwrap();
    assert_eq!(node.stats().gateways, 1);
    let _late = soon(common::gateway_at(address).state_dir(state.path()).serve()).await.unwrap();
    until(|| node.stats().gateways == 2).await;
}
