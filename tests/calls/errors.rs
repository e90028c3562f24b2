//! Every failure says what happened, where, and whether the function may have run.

use std::time::Duration;

use common::offered::{add, wait};
use common::{Probe, World, found_in, patient, serving, soon, until};
use easyremote::gateway::GatewayLimits;
use easyremote::{CallError, Client, ErrorKind, Executed, Node, Role, functions, remote};
use futures::{Stream, StreamExt, stream};

#[remote]
fn panics(text: String) {
    panic!("{text}");
}

#[remote]
async fn panics_async(text: String) -> Result<(), String> {
    panic!("{text}");
}

#[remote(stream)]
fn three_then_wait() -> impl Stream<Item = u64> {
    stream::iter(0..3).chain(stream::pending())
}

#[remote]
async fn big(length: u64) -> Vec<u8> {
    vec![0; length as usize]
}

#[remote(stream)]
fn big_items(length: u64) -> impl Iterator<Item = Vec<u8>> {
    [vec![1], vec![0; length as usize]].into_iter()
}

mod newer {
    /// What a client has that was built from another version of the function.
    #[easyremote::remote]
    pub(crate) fn add(a: i32, b: i64) -> i64 {
        i64::from(a) + b
    }

    #[easyremote::remote(stream, name = "add")]
    pub(crate) fn add_stream(a: i64, b: i64) -> impl Iterator<Item = i64> {
        [a, b].into_iter()
    }
}

#[tokio::test]
async fn an_unknown_function_is_answered_with_what_there_is() {
    let world = World::start().await;
    let client = world.client().await;
    let error = soon(add::call(&client, 1, 2)).await.unwrap_err();
    assert_eq!((error.kind(), error.executed()), (ErrorKind::NoSuchFunction, Executed::No));
    assert_eq!(error.to_string(), "no node offers `add`; no node is connected");

    let node = world.node(functions![panics, big]).await;
    let error = soon(add::call(&client, 1, 2)).await.unwrap_err();
    let text = "no node offers `add`; 1 node is connected, offering `big`, `panics`";
    assert_eq!(error.to_string(), text);
    drop(node);
}

#[tokio::test]
async fn a_function_whose_node_has_left_is_one_without_a_node() {
    let (world, node, client) = World::with(functions![add]).await;
    soon(node.shutdown()).await;
    until(|| world.gateway.stats().nodes == 0).await;
    let error = soon(add::call(&client, 1, 2)).await.unwrap_err();
    assert_eq!((error.kind(), error.executed()), (ErrorKind::NoNode, Executed::No));
    assert!(error.is_retryable());
}

#[tokio::test]
async fn a_panic_is_reported_and_costs_nobody_else_anything() {
    let (_world, node, client) = World::with(functions![panics, panics_async, add]).await;
    let error = soon(panics::call(&client, "ouch".into())).await.unwrap_err();
    assert_eq!((error.kind(), error.executed()), (ErrorKind::Panicked, Executed::Yes));
    assert_eq!(error.to_string(), "`panics` panicked: ouch");
    assert_eq!(error.node(), Some(node.id()));
    let error = soon(panics_async::call(&client, "ouch".into())).await.unwrap_err();
    assert_eq!(error.remote().unwrap().kind(), ErrorKind::Panicked);
    assert_eq!(soon(add::call(&client, 1, 2)).await.unwrap(), 3);
}

#[tokio::test]
async fn different_types_are_noticed_before_anything_runs() {
    let (_world, node, client) = World::with(functions![add]).await;
    let error = soon(newer::add::call(&client, 1, 2)).await.unwrap_err();
    assert_eq!((error.kind(), error.executed()), (ErrorKind::SignatureMismatch, Executed::No));
    let text = error.to_string();
    assert!(text.contains("has `(a: i64, b: i64) -> i64`"), "{text}");
    assert!(text.contains("this caller `(a: i32, b: i64) -> i64`"), "{text}");
    // It is named in the text, and did not get the call.
    assert!(text.contains(&format!("node `{}`", node.id())) && error.node().is_none(), "{text}");

    let mut items = newer::add_stream::call(&client, 1, 2);
    let error = soon(items.next()).await.unwrap().unwrap_err();
    assert_eq!((error.kind(), error.executed()), (ErrorKind::SignatureMismatch, Executed::No));
    assert!(soon(items.next()).await.is_none());
}

#[tokio::test]
async fn a_node_that_is_lost_is_named_with_what_it_had_delivered() {
    let (_world, node, client) = World::with(functions![wait, three_then_wait]).await;
    let mut probe = Probe::new();
    let call = tokio::spawn(wait::call(&client, probe.key));
    assert_eq!(probe.next().await, "started");
    let mut items = three_then_wait::call(&client);
    for i in 0..3 {
        assert_eq!(soon(items.next()).await.unwrap().unwrap(), i);
    }
    let id = node.id().to_owned();
    soon(node.shutdown()).await;

    let error = soon(call).await.unwrap().unwrap_err();
    assert_eq!((error.kind(), error.executed()), (ErrorKind::NodeLost, Executed::Maybe));
    assert_eq!(error.node(), Some(&*id));
    assert!(!error.is_retryable());
    let error = soon(items.next()).await.unwrap().unwrap_err();
    assert_eq!((error.kind(), error.executed()), (ErrorKind::NodeLost, Executed::Yes));
    assert_eq!((error.delivered(), error.node()), (3, Some(&*id)));
}

#[tokio::test]
async fn a_gateway_that_shuts_down_ends_every_call_at_once() {
    let (world, _node, client) = World::with(functions![wait, three_then_wait]).await;
    let mut probe = Probe::new();
    let call = tokio::spawn(wait::call(&client, probe.key));
    assert_eq!(probe.next().await, "started");
    let mut items = three_then_wait::call(&client);
    for i in 0..3 {
        assert_eq!(soon(items.next()).await.unwrap().unwrap(), i);
    }

    soon(world.gateway.shutdown()).await;
    let error = soon(call).await.unwrap().unwrap_err();
    assert_eq!((error.kind(), error.executed()), (ErrorKind::ConnectionLost, Executed::Maybe));
    let error = soon(items.next()).await.unwrap().unwrap_err();
    assert_eq!((error.kind(), error.executed()), (ErrorKind::ConnectionLost, Executed::Yes));
    assert_eq!(error.delivered(), 3);
}

#[tokio::test]
async fn a_message_above_the_limit_is_refused_at_its_sender() {
    let state = tempfile::tempdir().unwrap();
    let gateway = common::gateway_at("127.0.0.1:0")
        .state_dir(state.path())
        .limits(GatewayLimits::new().max_message(100_000));
    let gateway = soon(gateway.serve()).await.unwrap();
    let address = gateway.local_addr();
    let node =
        Node::builder(address).dial(found_in(state.path())).functions(functions![big, big_items]);
    let _node = soon(node.serve()).await.unwrap();
    let client =
        soon(Client::builder(address).dial(found_in(state.path())).connect()).await.unwrap();

    // The encoded length counts: four bytes in front of so many.
    soon(big::call(&client, 99_000)).await.unwrap();
    let error = soon(big::call(&client, 100_001)).await.unwrap_err();
    assert_eq!((error.kind(), error.executed()), (ErrorKind::TooLarge, Executed::Yes));

    let mut items = big_items::call(&client, 200_000);
    assert_eq!(soon(items.next()).await.unwrap().unwrap(), [1]);
    let error = soon(items.next()).await.unwrap().unwrap_err();
    assert_eq!((error.kind(), error.delivered()), (ErrorKind::TooLarge, 1));
    assert!(soon(items.next()).await.is_none());
}

#[tokio::test]
async fn a_taken_port_is_named() {
    let world = World::start().await;
    let state = tempfile::tempdir().unwrap();
    let again = common::gateway_at(world.gateway.local_addr()).state_dir(state.path()).serve();
    let error = soon(again).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.to_string().ends_with("the port is taken"), "{error}");
}

#[tokio::test]
async fn no_gateway_is_said_so_in_time() {
    let state = tempfile::tempdir().unwrap();
    // Bound and silent: no other process can take the port meanwhile.
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    let limit = Duration::from_millis(300);
    let client =
        Client::builder(address).dial(found_in(state.path())).dial(patient(limit)).connect();
    let error = soon(client).await.unwrap_err();
    assert_eq!((error.kind(), error.executed()), (ErrorKind::Unavailable, Executed::No));
    assert!(error.to_string().contains("does UDP get through"), "{error}");
    let node = Node::builder(address).dial(found_in(state.path())).functions(functions![add]);
    let error = soon(node.dial(patient(limit)).serve()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
}

#[tokio::test]
async fn another_users_gateway_is_not_trusted_and_does_not_let_in() {
    let world = World::start().await;
    let mallory = tempfile::tempdir().unwrap();
    let address = world.gateway.local_addr();
    let error = soon(Client::builder(address).dial(found_in(mallory.path())).connect()).await;
    let error = error.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthenticated);
    assert!(error.to_string().contains("not the gateway that was expected"), "{error}");

    // Knowing the key is not enough: the token has to be right as well.
    let good = world.gateway.ticket(Role::Client).to_string();
    let (rest, _) = good.split_once("erc_").unwrap();
    let forged = format!("{rest}erc_{}", "A".repeat(43));
    let error = soon(Client::connect(forged)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthenticated);
    assert!(error.to_string().contains("the token is not valid for a client"), "{error}");
    assert_eq!(world.gateway.stats().clients, 0);
}

#[tokio::test]
async fn a_ticket_is_all_that_a_peer_needs_and_good_for_one_role() {
    let world = World::start().await;
    let node = Node::serve(world.gateway.ticket(Role::Node), functions![add]);
    let _node = soon(node).await.unwrap();
    let client = Client::connect(world.gateway.ticket(Role::Client).to_string());
    let client = soon(client).await.unwrap();
    assert_eq!(soon(add::call(&client, 1, 2)).await.unwrap(), 3);

    let error = soon(Client::connect(world.gateway.ticket(Role::Node))).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(error.to_string().ends_with("is one for a node, and this is a client"), "{error}");
}

#[tokio::test]
async fn a_closed_client_says_so() {
    let (_world, client) = serving(functions![add]).await;
    soon(client.clone().close()).await;
    let error = soon(add::call(&client, 1, 2)).await.unwrap_err();
    assert_eq!((error.kind(), error.executed()), (ErrorKind::ConnectionLost, Executed::No));
}

#[test]
fn call_errors_convert_and_print() {
    #[derive(Debug)]
    struct Own;
    impl std::fmt::Display for Own {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("own")
        }
    }
    impl std::error::Error for Own {}
    let error: Box<dyn std::error::Error + Send + Sync> = CallError::Function(Own).into();
    assert_eq!(error.to_string(), "own");
}
