//! Builds a world: its gateway, nodes and client.

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

/// Builds a [`World`] with nodes and options, from [`World::builder`].
///
/// ```
/// use easyremote::{functions, remote, testing::World};
///
/// #[remote]
/// fn add(a: i64, b: i64) -> i64 {
///     a + b
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), easyremote::Error> {
/// let world = World::builder()
///     .node(|node| node.functions(functions![add]))
///     .node(|node| node.functions(functions![add]))
///     .serve()
///     .await?;
/// assert_eq!(add::call(world.client(), 1, 2).on("node-2").await?, 3);
/// # Ok(())
/// # }
/// ```
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

    /// Adds a node. `configure` sets its functions and options; the gateway and the directory are
    /// set already. Default id: `node-1`, `node-2` and so on, in order.
    ///
    /// ```
    /// use easyremote::{functions, remote, testing::World};
    ///
    /// #[remote]
    /// fn add(a: i64, b: i64) -> i64 {
    ///     a + b
    /// }
    ///
    /// let world = World::builder().node(|node| node.id("gpu-1").functions(functions![add]));
    /// # let _ = world;
    /// ```
    #[doc(alias = "worker")]
    pub fn node(
        mut self,
        configure: impl FnOnce(NodeBuilder) -> NodeBuilder + Send + 'static,
    ) -> Self {
        self.nodes.push(Box::new(configure));
        self
    }

    /// Sets options of the gateway, and of each gateway that [replaces](World::start_gateway) it.
    ///
    /// ```
    /// use easyremote::gateway::GatewayLimits;
    /// use easyremote::testing::World;
    ///
    /// let world = World::builder()
    ///     .gateway(|gateway| gateway.limits(GatewayLimits::new().max_message(1 << 20))); // 1 MiB
    /// # let _ = world;
    /// ```
    pub fn gateway(
        mut self,
        configure: impl Fn(GatewayBuilder) -> GatewayBuilder + Send + Sync + 'static,
    ) -> Self {
        self.gateway = Box::new(configure);
        self
    }

    /// Sets options of the client, and of [further clients](World::connect).
    ///
    /// ```
    /// use easyremote::client::ClientLimits;
    /// use easyremote::testing::World;
    ///
    /// let limits = ClientLimits::new().max_message(1 << 20); // 1 MiB
    /// let world = World::builder().client(move |client| client.limits(limits));
    /// # let _ = world;
    /// ```
    pub fn client(
        mut self,
        configure: impl Fn(ClientBuilder) -> ClientBuilder + Send + Sync + 'static,
    ) -> Self {
        self.client = Box::new(configure);
        self
    }

    /// Starts the gateway, the nodes and the client. All are connected when this returns.
    ///
    /// ```
    /// use easyremote::testing::World;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), easyremote::Error> {
    /// let world = World::builder().serve().await?; // a gateway and a client
    /// assert!(world.gateway().nodes().is_empty());
    /// # Ok(())
    /// # }
    /// ```
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

/// Creates a directory for the identity of one world, accessible to its owner only.
fn state_dir() -> Result<TempDir, Error> {
    tempfile::Builder::new().prefix("easyremote-").tempdir().map_err(|error| {
        Error::new(ErrorKind::Unavailable, "cannot create a temporary directory").with_source(error)
    })
}
