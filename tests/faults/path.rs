//! Client, gateway and node with a bad network between them.

use common::proxy::Proxy;
use common::{SayOnDrop, World, soon};
use easyremote::{Client, Functions, Node, functions, remote};
use futures::{Stream, StreamExt, stream};

/// Runs until it is cancelled; says when it starts and when that happens.
#[remote]
pub(crate) async fn wait(key: u64) {
    let guard = SayOnDrop(key, "dropped");
    guard.say("started");
    std::future::pending::<()>().await;
}

/// Three items, and then none and no end.
#[remote(stream)]
pub(crate) fn three(key: u64) -> impl Stream<Item = u64> {
    let guard = SayOnDrop(key, "dropped");
    stream::iter(0..3).chain(stream::pending()).inspect(move |_| {
        let _keep = &guard;
    })
}

#[remote]
pub(crate) async fn echo(bytes: Vec<u8>) -> Vec<u8> {
    bytes
}

#[remote(stream)]
pub(crate) fn double(numbers: impl Stream<Item = u64>) -> impl Stream<Item = u64> {
    numbers.map(|n| 2 * n)
}

pub(crate) fn functions() -> Functions {
    functions![wait, three, echo, double]
}

/// A part of the way between client and node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hop {
    ClientToGateway,
    NodeToGateway,
}

impl Hop {
    pub(crate) const BOTH: [Self; 2] = [Self::ClientToGateway, Self::NodeToGateway];
}

pub(crate) struct Path {
    pub(crate) world: World,
    pub(crate) client: Client,
    pub(crate) node: Node,
    proxies: [Proxy; 2],
}

impl Path {
    pub(crate) async fn start() -> Self {
        let world = World::start().await;
        let proxies = [1, 2].map(|seed| Proxy::start(world.gateway.local_addr(), seed));
        let (near, far) = (proxies[0].address(), proxies[1].address());
        let node = Node::builder(far).state_dir(world.state_dir()).functions(functions());
        let node = soon(node.serve()).await.unwrap();
        let client = Client::builder(near).state_dir(world.state_dir()).connect();
        let client = soon(client).await.unwrap();
        Self { world, client, node, proxies }
    }

    pub(crate) fn proxy(&self, hop: Hop) -> &Proxy {
        &self.proxies[hop as usize]
    }

    /// Whether the connections are those of the beginning, and no call was made twice.
    pub(crate) fn is_as_it_was(&self, calls: u64) {
        let (gateway, node) = (self.world.gateway.stats(), self.node.stats());
        assert_eq!((gateway.clients, gateway.nodes, node.gateways), (1, 1, 1));
        assert_eq!((gateway.calls, node.calls), (calls, calls));
    }
}
