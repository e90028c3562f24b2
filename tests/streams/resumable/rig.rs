//! Gateways that are lost and started again at the same addresses, with peers of all of them.

use std::net::SocketAddr;
use std::time::Duration;

use common::{found_in, soon, until};
use easyremote::client::ClientBuilder;
use easyremote::node::{Functions, NodeBuilder};
use easyremote::{Client, Gateway, Node};
use tempfile::TempDir;

pub(super) struct Rig {
    gateways: Vec<Option<Gateway>>,
    addresses: Vec<SocketAddr>,
    state: TempDir,
}

impl Rig {
    pub(super) async fn start(n: usize) -> Self {
        let state = tempfile::tempdir().unwrap();
        let mut rig = Self { gateways: Vec::new(), addresses: Vec::new(), state };
        for _ in 0..n {
            let gateway = rig.serve("127.0.0.1:0".parse().unwrap()).await;
            rig.addresses.push(gateway.local_addr());
            rig.gateways.push(Some(gateway));
        }
        rig
    }

    async fn serve(&self, address: SocketAddr) -> Gateway {
        let gateway = common::gateway_at(address).state_dir(self.state.path());
        soon(gateway.serve()).await.unwrap()
    }

    /// Ends a gateway without a drain, and starts it again.
    pub(super) async fn restart(&mut self, n: usize) {
        self.end(n).await;
        self.start_again(n).await;
    }

    /// Ends a gateway without a drain.
    pub(super) async fn end(&mut self, n: usize) {
        soon(self.gateway(n).shutdown()).await;
        self.gateways[n] = None;
    }

    pub(super) async fn start_again(&mut self, n: usize) {
        self.gateways[n] = Some(self.serve(self.addresses[n]).await);
    }

    pub(super) fn gateway(&self, n: usize) -> &Gateway {
        self.gateways[n].as_ref().unwrap()
    }

    /// Which gateway has the calls.
    pub(super) fn chosen(&self) -> usize {
        (0..self.gateways.len()).max_by_key(|n| self.gateway(*n).stats().in_flight).unwrap()
    }

    pub(super) fn in_flight(&self) -> u64 {
        self.gateways.iter().flatten().map(|gateway| gateway.stats().in_flight).sum()
    }

    pub(super) fn node_builder(&self, id: &str, functions: Functions) -> NodeBuilder {
        let node = Node::builder(self.addresses.clone()).dial(found_in(self.state.path()));
        node.id(id).functions(functions)
    }

    pub(super) async fn node(&self, id: &str, functions: Functions) -> Node {
        soon(self.node_builder(id, functions).serve()).await.unwrap()
    }

    pub(super) fn client_builder(&self) -> ClientBuilder {
        Client::builder(self.addresses.clone()).dial(found_in(self.state.path()))
    }

    pub(super) async fn client(&self) -> Client {
        soon(self.client_builder().connect()).await.unwrap()
    }

    /// Waits until all nodes are at this gateway.
    pub(super) async fn has_nodes(&self, n: usize, nodes: usize) {
        until(|| self.gateway(n).nodes().len() == nodes).await;
    }

    /// Drains a gateway, which waits for what it carries, however long, and starts it again.
    pub(super) async fn replace(&mut self, n: usize) {
        soon(self.gateway(n).drain(Duration::from_secs(3_600))).await;
        self.gateways[n] = None;
        self.start_again(n).await;
    }
}
