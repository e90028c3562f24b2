//! Where calls between versions go, and how many attempts they take.

use std::time::Duration;

use common::{World, soon, until};
use easyremote::node::NodeBuilder;
use easyremote::{Client, ErrorKind, Executed, Gateway, Node, functions, remote};
use futures::{Stream, StreamExt, stream};
use serde::{Deserialize, Serialize};

mod old {
    use super::*;

    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    pub(super) struct Order {
        pub(super) id: u32,
    }

    #[remote]
    pub(super) fn price(order: Order) -> f64 {
        f64::from(order.id) / 0.0
    }

    #[remote(stream)]
    pub(super) fn orders(order: Order) -> impl Stream<Item = Order> {
        stream::iter([order])
    }

    #[remote]
    pub(super) fn length(data: Vec<u8>) -> u32 {
        data.len() as u32
    }
}

mod new {
    use super::*;

    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    pub(super) struct Order {
        pub(super) note: Option<String>,
        pub(super) id: u32,
    }

    #[remote(skew = "by-name")]
    pub(super) fn price(order: Order, currency: Option<String>) -> f64 {
        f64::from(order.id) / if currency.is_some() { 1.0 } else { 0.0 }
    }

    #[remote(stream, skew = "by-name")]
    pub(super) fn orders(order: Order) -> impl Stream<Item = Order> {
        stream::iter([order])
    }

    #[remote(operator)]
    pub(super) fn noted(order: &Order) -> bool {
        order.note.is_some()
    }

    #[remote(skew = "by-name")]
    pub(super) fn length(data: Vec<u8>) -> u64 {
        data.len() as u64
    }
}

fn order() -> new::Order {
    new::Order { note: None, id: 7 }
}

fn of_old(node: NodeBuilder) -> NodeBuilder {
    node.id("old").functions(functions![old::price, old::orders, old::length, new::noted])
}

fn of_new(node: NodeBuilder) -> NodeBuilder {
    node.id("new").functions(functions![new::price, new::orders, new::noted])
}

async fn start(world: &World, add: fn(NodeBuilder) -> NodeBuilder) -> Node {
    soon(add(world.node_builder()).serve()).await.unwrap()
}

/// The node of a call, whether it was made by name, and its attempts.
async fn place(client: &Client) -> (String, bool, u64) {
    let (price, trace) = soon(new::price::call(client, order(), None).traced()).await.unwrap();
    // Infinity, which JSON does not have.
    assert_eq!(price, f64::INFINITY);
    (trace.node, trace.by_name, trace.attempts)
}

#[tokio::test]
async fn one_attempt_is_refused_and_later_calls_know() {
    let world = World::start().await;
    let _old = start(&world, of_old).await;
    for multiplex in [true, false] {
        let client = soon(world.client_builder().multiplex(multiplex).connect()).await.unwrap();
        assert_eq!(place(&client).await, ("old".to_owned(), true, 2), "{multiplex}");
        assert_eq!(place(&client).await, ("old".to_owned(), true, 1), "{multiplex}");
    }
}

#[tokio::test]
async fn a_node_with_the_same_types_comes_first() {
    let world = World::start().await;
    let _old = start(&world, of_old).await;
    let early = world.client().await;
    assert_eq!(place(&early).await, ("old".to_owned(), true, 2));
    let new = start(&world, of_new).await;
    for _ in 0..10 {
        // By name as long as it remembers, and still at the node with its types.
        assert_eq!(place(&early).await, ("new".to_owned(), true, 1));
        assert_eq!(place(&world.client().await).await, ("new".to_owned(), false, 1));
    }
    soon(new.shutdown()).await;
    until(|| world.gateway.stats().nodes == 1).await;
    assert_eq!(place(&early).await, ("old".to_owned(), true, 1));
}

#[tokio::test]
async fn all_gateways_are_asked_before_names_are() {
    let two = Pair::start().await;
    assert_eq!(place(&two.client().await).await.0, "old");
    let new = two.second(of_new).await;
    let (node, by_name, _) = place(&two.client().await).await;
    assert_eq!((&*node, by_name), ("new", false));
    soon(new.shutdown()).await;
}

/// Two gateways of one identity, the first with a node of the old version.
struct Pair {
    gateways: [Gateway; 2],
    _old: Node,
}

impl Pair {
    async fn start() -> Self {
        let gateways = [0, 1].map(|_| Gateway::serve("127.0.0.1:0"));
        let [first, second] = gateways;
        let gateways = [soon(first).await.unwrap(), soon(second).await.unwrap()];
        let old = soon(of_old(Node::builder(gateways[0].local_addr())).serve()).await.unwrap();
        Self { gateways, _old: old }
    }

    async fn second(&self, add: fn(NodeBuilder) -> NodeBuilder) -> Node {
        soon(add(Node::builder(self.gateways[1].local_addr())).serve()).await.unwrap()
    }

    async fn client(&self) -> Client {
        let addresses = self.gateways.each_ref().map(Gateway::local_addr);
        soon(Client::connect(addresses)).await.unwrap()
    }
}

#[tokio::test]
async fn who_waits_for_a_node_takes_the_first_that_understands_names() {
    let world = World::start().await;
    let client = world.client().await;
    let call = tokio::spawn(new::price::call(&client, order(), None).wait_for_node().traced());
    let stream = new::orders::call(&client, order()).wait_for_node();
    let stream = tokio::spawn(async move { stream.collect::<Vec<_>>().await });
    until(|| world.gateway.stats().in_flight >= 2).await;
    let _old = start(&world, of_old).await;
    let (price, trace) = soon(call).await.unwrap().unwrap();
    assert_eq!((price, &*trace.node, trace.by_name), (f64::INFINITY, "old", true));
    let items: Vec<_> = soon(stream).await.unwrap().into_iter().map(Result::unwrap).collect();
    assert_eq!(items, [order()]);
}

#[tokio::test]
async fn a_parameter_more_is_an_option_or_an_error() {
    let world = World::start().await;
    let _old = start(&world, of_old).await;
    let client = world.client().await;
    let call = new::price::call(&client, order(), Some("EUR".to_owned()));
    let error = soon(call).await.unwrap_err();
    assert_eq!((error.kind(), error.executed()), (ErrorKind::BadArguments, Executed::No));
    let text = error.to_string();
    assert!(text.contains("no argument `currency`; it takes (order)"), "{text}");
}

#[tokio::test]
async fn a_stream_through_an_operator_needs_equal_types() {
    let world = World::start().await;
    let _old = start(&world, of_old).await;
    let client = world.client().await;
    let mut items = new::orders::call(&client, order()).through(new::noted::with());
    let error = soon(items.next()).await.unwrap().unwrap_err();
    assert_eq!((error.kind(), error.executed()), (ErrorKind::SignatureMismatch, Executed::No));
    let _new = start(&world, of_new).await;
    let noted = new::Order { note: Some("n".to_owned()), id: 1 };
    let items = new::orders::call(&client, noted.clone()).through(new::noted::with());
    let items: Vec<_> = soon(items.collect::<Vec<_>>()).await;
    assert_eq!(items.into_iter().map(Result::unwrap).collect::<Vec<_>>(), [noted]);
}

#[tokio::test]
async fn long_arguments_are_kept_for_the_second_attempt() {
    let world = World::start().await;
    let _old = start(&world, of_old).await;
    let client = world.client().await;
    for length in [0, 20 << 10, 3 << 20] {
        let call = new::length::call(&client, vec![1; length]).timeout(Duration::from_secs(60));
        assert_eq!(call.await.unwrap(), length as u64);
    }
}
