//! What is attacked.

use std::net::SocketAddr;

use common::soon;
use easyremote::gateway::{GatewayBuilder, GatewayLimits};
use easyremote::node::NodeBuilder;
use easyremote::{Client, Gateway, Node, Role};
use tempfile::TempDir;

use super::functions::{add, all};

/// A gateway in this process, a node, and a client that is honest.
pub(crate) struct Target {
    pub(crate) gateway: Gateway,
    pub(crate) node: Node,
    /// Each of its calls has a stream of its own.
    pub(crate) client: Client,
    _state: TempDir,
}

impl Target {
    pub(crate) async fn start(limits: GatewayLimits) -> Self {
        Self::of(|gateway| gateway.limits(limits)).await
    }

    pub(crate) async fn of(set: impl FnOnce(GatewayBuilder) -> GatewayBuilder) -> Self {
        Self::with(set, |node| node).await
    }

    pub(crate) async fn with(
        set: impl FnOnce(GatewayBuilder) -> GatewayBuilder,
        set_node: impl FnOnce(NodeBuilder) -> NodeBuilder,
    ) -> Self {
        let state = tempfile::tempdir().unwrap();
        let gateway = set(common::gateway_at("127.0.0.1:0").state_dir(state.path()));
        let gateway = soon(gateway.serve()).await.unwrap();
        let node = Node::builder(gateway.ticket(Role::Node)).id("honest").functions(all());
        let node = soon(set_node(node).serve()).await.unwrap();
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
