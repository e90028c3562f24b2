//! What a world consists of, put together.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use tempfile::TempDir;

use crate::client::{Client, ClientBuilder};
use crate::error::{Error, ErrorKind};
use crate::gateway::{Gateway, GatewayBuilder};
use crate::node::{Node, NodeBuilder};
use crate::testing::world::World;
use crate::transport::auth::dial_options::DialOptions;

/// What a [`World`] is to consist of, from [`World::builder`].
#[must_use = "a builder does nothing until `serve` is called"]
pub struct WorldBuilder {
    nodes: Vec<ConfigureNode>,
    gateway: ConfigureGateway,
    client: ConfigureClient,
}

pub(super) type ConfigureGateway = Box<dyn Fn(GatewayBuilder) -> GatewayBuilder + Send + Sync>;
pub(super) type ConfigureClient = Box<dyn Fn(ClientBuilder) -> ClientBuilder + Send + Sync>;
type ConfigureNode = Box<dyn FnOnce(NodeBuilder) -> NodeBuilder + Send>;

impl WorldBuilder {
    pub(super) fn new() -> Self {
        Self {
            nodes: Vec::new(),
            gateway: Box::new(|gateway| gateway),
            client: Box::new(|client| client),
        }
    }

    /// Adds a node. `configure` gives it what it is to have; its gateway and its directory are set.
    /// Its id is `node-1`, `node-2` and so on by its place, unless set.
    pub fn node(
        mut self,
        configure: impl FnOnce(NodeBuilder) -> NodeBuilder + Send + 'static,
    ) -> Self {
        self.nodes.push(Box::new(configure));
        self
    }

    /// Sets options of the gateway, and of each [that follows it](World::start_gateway).
    pub fn gateway(
        mut self,
        configure: impl Fn(GatewayBuilder) -> GatewayBuilder + Send + Sync + 'static,
    ) -> Self {
        self.gateway = Box::new(configure);
        self
    }

    /// Sets options of the client, and of [further ones](World::connect).
    pub fn client(
        mut self,
        configure: impl Fn(ClientBuilder) -> ClientBuilder + Send + Sync + 'static,
    ) -> Self {
        self.client = Box::new(configure);
        self
    }

    /// Starts all of it. Nodes and client are connected when this returns.
    ///
    /// # Errors
    /// As for [`World::serve`].
    ///
    /// # Cancel safety
    /// As for [`World::serve`].
    ///
    /// # Panics
    /// As for [`World::serve`].
    pub async fn serve(self) -> Result<World, Error> {
        let state = state_dir()?;
        let anywhere = (Ipv4Addr::LOCALHOST, 0).into();
        let gateway = start_gateway(anywhere, &state, &self.gateway).await?;
        let address = gateway.local_addr();
        let mut nodes = Vec::new();
        for (number, configure) in (1..).zip(self.nodes) {
            nodes.push(Arc::new(start_node(address, &state, number, configure).await?));
        }
        let client = Client::builder(address).dial(DialOptions::new().state_dir(state.path()));
        let client = (self.client)(client).connect().await?;
        Ok(World::new(client, nodes, gateway, (self.gateway, self.client), state))
    }
}

pub(super) async fn start_gateway(
    address: SocketAddr,
    state: &TempDir,
    configure: &ConfigureGateway,
) -> Result<Gateway, Error> {
    configure(Gateway::builder(address).state_dir(state.path())).serve().await
}

pub(super) async fn start_node(
    gateway: SocketAddr,
    state: &TempDir,
    number: usize,
    configure: impl FnOnce(NodeBuilder) -> NodeBuilder,
) -> Result<Node, Error> {
    let node = Node::builder(gateway)
        .dial(DialOptions::new().state_dir(state.path()))
        .id(format!("node-{number}"));
    configure(node).serve().await
}

impl fmt::Debug for WorldBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WorldBuilder").field("nodes", &self.nodes.len()).finish_non_exhaustive()
    }
}

/// A directory for the identity of one world, which only its owner can enter.
fn state_dir() -> Result<TempDir, Error> {
    tempfile::Builder::new().prefix("easyremote-").tempdir().map_err(|error| {
        Error::new(ErrorKind::Unavailable, "cannot create a temporary directory").with_source(error)
    })
}
