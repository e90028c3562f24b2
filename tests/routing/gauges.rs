//! The gauges that programs report, as their gateways and clients see them.

use std::collections::BTreeMap;

use common::{World, found_in, gateway_at, soon, until};
use easyremote::client::NodeInfo;
use easyremote::{Client, Context, ErrorKind, Node, Role, functions, remote};

type Gauges = BTreeMap<String, f64>;

#[remote(err = "display")]
fn measure(#[ctx] ctx: &Context, gauge: String, value: f64) -> Result<(), easyremote::Error> {
    ctx.report(&gauge, value)
}

/// The gauges of the node with this id; `None` if it is not registered.
fn gauges_of(nodes: &[NodeInfo], id: &str) -> Option<Gauges> {
    nodes.iter().find(|node| node.id == id).map(|node| node.gauges.clone())
}

/// Waits until the gateway has the gauges of `node`, and compares them with those that a client sees.
async fn arrive(world: &World, client: &Client, node: &Node) {
    until(|| gauges_of(&world.gateway.nodes(), node.id()) == Some(node.gauges())).await;
    let seen = soon(client.nodes()).await.unwrap();
    assert_eq!(gauges_of(&seen, node.id()), Some(node.gauges()));
}

/// A name of 1 to 64 characters that are allowed.
fn any_name() -> String {
    const FIRST: &[u8] = b"_ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let any = |n: usize| (0..n).map(|_| if fastrand::bool() { b'7' } else { b'_' });
    let first = FIRST[fastrand::usize(..FIRST.len())];
    let name = [first].into_iter().chain(any(fastrand::usize(..64))).collect();
    String::from_utf8(name).unwrap()
}

fn any_value() -> f64 {
    match fastrand::u8(..4) {
        0 => fastrand::i32(..).into(),
        1 => fastrand::f64(),
        2 => [0.0, -0.0, f64::MAX, f64::MIN, f64::MIN_POSITIVE, 5e-324][fastrand::usize(..6)],
        _ => loop {
            let value = f64::from_bits(fastrand::u64(..));
            if value.is_finite() {
                break value;
            }
        },
    }
}

async fn any_gauges_arrive() {
    fastrand::seed(5);
    let (world, node, client) = World::with(functions![measure]).await;
    let mut expected = Gauges::new();
    for _ in 0..3 {
        for _ in 0..100 {
            let (name, value) = (any_name(), any_value());
            let fits = expected.len() < 32 || expected.contains_key(&name);
            match node.report(&name, value) {
                Ok(()) => drop(expected.insert(name, value)),
                Err(error) => {
                    assert_eq!((error.kind(), fits), (ErrorKind::InvalidInput, false), "{error}");
                    let oldest = expected.keys().next().unwrap().clone();
                    assert!(expected.remove(&oldest).is_some() && node.unreport(&oldest));
                }
            }
        }
        assert_eq!(node.gauges(), expected);
        arrive(&world, &client, &node).await;
    }
    for name in expected.keys() {
        assert!(node.unreport(name));
    }
    arrive(&world, &client, &node).await;
}

#[tokio::test]
async fn gauges_of_any_name_and_value_arrive() {
    any_gauges_arrive().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn gauges_of_any_name_and_value_arrive_on_several_threads() {
    any_gauges_arrive().await;
}

#[tokio::test]
async fn functions_report_gauges_of_their_node() {
    let (world, node, client) = World::with(functions![measure]).await;
    soon(measure::call(&client, "vram_free".to_owned(), 12.5)).await.unwrap();
    soon(measure::call(&client, "vram_free".to_owned(), 11.0)).await.unwrap();
    soon(measure::call(&client, "not a name".to_owned(), 1.0)).await.unwrap_err();
    assert_eq!(node.gauges(), [("vram_free".to_owned(), 11.0)].into());
    arrive(&world, &client, &node).await;
}

#[tokio::test]
async fn gauges_belong_to_their_node() {
    let world = World::start().await;
    let (one, two) = (world.node(functions![measure]).await, world.node(functions![measure]).await);
    one.report("temperature", 71.5).unwrap();
    two.report("temperature", 42.0).unwrap();
    let client = world.client().await;
    arrive(&world, &client, &one).await;
    arrive(&world, &client, &two).await;
}

#[tokio::test]
async fn a_gateway_that_restarts_learns_gauges_again() {
    let (one, two) = (World::start().await, World::start().await);
    let tickets = [&one, &two].map(|world| world.gateway.ticket(Role::Node));
    let node = soon(Node::serve(tickets, functions![measure])).await.unwrap();
    node.report("vram_free", 12.5).unwrap();
    let knows = |nodes: Vec<NodeInfo>| gauges_of(&nodes, node.id()) == Some(node.gauges());
    until(|| knows(one.gateway.nodes()) && knows(two.gateway.nodes())).await;
    let address = two.gateway.local_addr();
    soon(two.gateway.shutdown()).await;
    node.report("vram_free", 3.0).unwrap();
    let again = soon(gateway_at(address).state_dir(two.state_dir()).serve()).await.unwrap();
    until(|| knows(again.nodes()) && knows(one.gateway.nodes())).await;
    let client = Client::builder(address).dial(found_in(two.state_dir())).connect();
    let client = soon(client).await.unwrap();
    assert!(knows(soon(client.nodes()).await.unwrap()));
    node.unreport("vram_free");
    until(|| knows(again.nodes())).await;
}
