//! What is attacked.

use std::net::SocketAddr;

use bytes::Bytes;
use common::soon;
use easyremote::gateway::{GatewayBuilder, GatewayLimits};
use easyremote::node::Functions;
use easyremote::{Client, Gateway, Node, Role, functions, remote};
use futures::{Stream, StreamExt};
use tempfile::TempDir;

/// The kinds of errors, as they travel.
pub(crate) const SIGNATURE_MISMATCH: u64 = 4;
pub(crate) const UNAUTHENTICATED: u64 = 5;
pub(crate) const OVERLOADED: u64 = 7;
pub(crate) const TOO_LARGE: u64 = 8;
pub(crate) const PROTOCOL: u64 = 19;

#[remote]
pub(crate) async fn add(a: i64, b: i64) -> i64 {
    a + b
}

#[remote]
pub(crate) async fn size(bytes: Bytes) -> usize {
    bytes.len()
}

#[remote]
pub(crate) async fn never() {
    std::future::pending().await
}

#[remote]
pub(crate) async fn sum(numbers: impl Stream<Item = u64>) -> u64 {
    numbers.fold(0, async |sum, number| sum + number).await
}

/// A gateway in this process, a node, and a client that is honest.
pub(crate) struct Target {
    pub(crate) gateway: Gateway,
    pub(crate) node: Node,
    /// Each of its calls has a stream of its own.
    pub(crate) client: Client,
    _state: TempDir,
}

pub(crate) fn all() -> Functions {
    functions![add, size, never, sum]
}

impl Target {
    pub(crate) async fn start(limits: GatewayLimits) -> Self {
        Self::of(|gateway| gateway.limits(limits)).await
    }

    pub(crate) async fn of(set: impl FnOnce(GatewayBuilder) -> GatewayBuilder) -> Self {
        let state = tempfile::tempdir().unwrap();
        let gateway = set(Gateway::builder("127.0.0.1:0").state_dir(state.path()));
        let gateway = soon(gateway.serve()).await.unwrap();
        let node = Node::builder(gateway.ticket(Role::Node)).id("honest").functions(all());
        let node = soon(node.serve()).await.unwrap();
        let client = Client::builder(gateway.ticket(Role::Client)).multiplex(false).connect();
        let client = soon(client).await.unwrap();
        Self { gateway, node, client, _state: state }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.gateway.local_addr()
    }

    pub(crate) fn client_ticket(&self) -> String {
        self.gateway.ticket(Role::Client).to_string()
    }

    /// The honest client is served as ever.
    pub(crate) async fn serves(&self) {
        assert_eq!(soon(add::call(&self.client, 1, 2)).await.unwrap(), 3);
    }
}

/// The first packet of a handshake with a gateway.
pub(crate) async fn first_packet() -> Vec<u8> {
    let nobody = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let endpoint = common::hostile::attacker::endpoint_at("127.0.0.1");
    let config = common::hostile::attacker::config(quinn::TransportConfig::default());
    let address = nobody.local_addr().unwrap();
    let _connecting = endpoint.connect_with(config, address, "gateway").unwrap();
    let mut packet = vec![0; 2_000];
    let length = soon(nobody.recv(&mut packet)).await.unwrap();
    packet.truncate(length);
    packet
}
