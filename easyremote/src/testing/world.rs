//! A gateway, nodes and a client in the process of a test.

use std::fmt;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use parking_lot::{Mutex, MutexGuard};
use tempfile::TempDir;
use tokio::time::{Instant, interval, sleep, timeout_at};

use crate::client::Client;
use crate::error::{Error, ErrorKind};
use crate::function::registry::Functions;
use crate::gateway::Gateway;
use crate::node::{Node, NodeBuilder};
use crate::testing::world_builder::{
    ConfigureClient, ConfigureGateway, WorldBuilder, start_gateway, start_node,
};
use crate::transport::auth::dial_options::DialOptions;
use crate::transport::auth::ticket::Ticket;
use crate::wire::control::Role;

/// A gateway, nodes and a client in this process, on loopback.
///
/// They are the production types and communicate over QUIC. The gateway listens on a free port and
/// has a separate identity in a temporary directory. So any number of worlds can exist at a time,
/// and none touches the identity of the user.
///
/// Dropping it ends all of them and removes the directory. Calls under way fail. A handle that was
/// taken from it and is kept, such as a clone of the client, is of no more use.
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
/// let world = World::serve(functions![add]).await?;
/// assert_eq!(add::call(world.client(), 1, 2).await?, 3);
/// # Ok(())
/// # }
/// ```
pub struct World {
    client: Client,
    parts: Mutex<Parts>,
    address: SocketAddr,
    configure_gateway: ConfigureGateway,
    configure_client: ConfigureClient,
    // Dropped last: the others read their identity from it.
    state: TempDir,
}

/// The parts that can be lost and replaced.
struct Parts {
    nodes: Vec<Arc<Node>>,
    gateway: Arc<Gateway>,
    /// Number of nodes started so far, for default ids.
    n_nodes: usize,
}

/// Longest wait for the gateway's port to become free again, and then for its peers to reconnect.
/// They first dial again after 250 ms, and a packet to a gateway that is gone is sent again after a
/// second or two.
const RETURN: Duration = Duration::from_secs(15);

/// Interval of polling for a state that nothing announces.
const LOOK: Duration = Duration::from_millis(2);

impl World {
    /// Starts a gateway, one node that offers `functions`, and a client. All are connected when
    /// this returns.
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
    /// let world = World::serve(functions![add]).await?;
    /// assert_eq!(add::call(world.client(), 1, 2).await?, 3);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As for [`Gateway::serve`], [`Node::serve`] and [`Client::connect`].
    ///
    /// # Cancel safety
    /// Dropping the future leaves nothing running.
    ///
    /// # Panics
    /// If called outside of a tokio runtime: the functions run on the runtime that this is called
    /// from.
    #[doc(alias = "start")]
    pub async fn serve(functions: Functions) -> Result<Self, Error> {
        Self::builder().node(|node| node.functions(functions)).serve().await
    }

    /// Returns a builder for a world with several nodes, or with options. Default: no nodes.
    ///
    /// ```
    /// use easyremote::{functions, remote, testing::World};
    ///
    /// struct Model(&'static str);
    ///
    /// #[remote]
    /// fn name(#[state] model: &Model) -> String {
    ///     model.0.into()
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), easyremote::Error> {
    /// let world = World::builder()
    ///     .node(|node| node.id("small").functions(functions![name]).state(Model("7b")))
    ///     .node(|node| node.id("large").tag("gpu").functions(functions![name]).state(Model("70b")))
    ///     .serve()
    ///     .await?;
    /// assert_eq!(name::call(world.client()).tag("gpu").await?, "70b");
    /// # Ok(())
    /// # }
    /// ```
    pub fn builder() -> WorldBuilder {
        WorldBuilder::new()
    }

    pub(super) fn new(
        client: Client,
        nodes: Vec<Arc<Node>>,
        gateway: Gateway,
        configure: (ConfigureGateway, ConfigureClient),
        state: TempDir,
    ) -> Self {
        let address = gateway.local_addr();
        let (n_nodes, gateway) = (nodes.len(), Arc::new(gateway));
        let parts = Mutex::new(Parts { nodes, gateway, n_nodes });
        let (configure_gateway, configure_client) = configure;
        Self { client, parts, address, configure_gateway, configure_client, state }
    }

    /// Returns the client. Clone it to keep a handle; it stops working when the world is dropped.
    ///
    /// ```
    /// # use easyremote::{functions, remote, testing::World};
    /// # #[remote]
    /// # fn add(a: i64, b: i64) -> i64 {
    /// #     a + b
    /// # }
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), easyremote::Error> {
    /// # let world = World::serve(functions![add]).await?;
    /// let client = world.client().clone();
    /// let sum = tokio::spawn(async move { add::call(&client, 1, 2).await });
    /// assert_eq!(sum.await.unwrap()?, 3);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Connects another client, with the options of the first. To test how a program handles a
    /// closed connection, [`close`](Client::close) its client.
    ///
    /// ```
    /// # use easyremote::{functions, remote, testing::World};
    /// # #[remote]
    /// # fn add(a: i64, b: i64) -> i64 {
    /// #     a + b
    /// # }
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), easyremote::Error> {
    /// # let world = World::serve(functions![add]).await?;
    /// let other = world.connect().await?;
    /// other.close().await;
    /// assert!(add::call(&other, 1, 2).await.is_err());
    /// assert_eq!(add::call(world.client(), 1, 2).await?, 3);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As for [`Client::connect`].
    ///
    /// # Cancel safety
    /// As for [`Client::connect`].
    pub async fn connect(&self) -> Result<Client, Error> {
        let client =
            Client::builder(self.address).dial(DialOptions::new().state_dir(self.state_dir()));
        (self.configure_client)(client).connect().await
    }

    /// Returns the gateway. After [`stop_gateway`](Self::stop_gateway), it is the stopped one until
    /// a new one is started.
    ///
    /// ```
    /// # use easyremote::{functions, remote, testing::World};
    /// # #[remote]
    /// # fn add(a: i64, b: i64) -> i64 {
    /// #     a + b
    /// # }
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), easyremote::Error> {
    /// # let world = World::serve(functions![add]).await?;
    /// assert_eq!(world.gateway().nodes()[0].id, "node-1");
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn gateway(&self) -> Arc<Gateway> {
        self.parts().gateway.clone()
    }

    /// Returns the node with this id; the last one, if several had it. By default, nodes are called
    /// `node-1`, `node-2` and so on.
    ///
    /// ```
    /// # use easyremote::{functions, remote, testing::World};
    /// # #[remote]
    /// # fn add(a: i64, b: i64) -> i64 {
    /// #     a + b
    /// # }
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), easyremote::Error> {
    /// # let world = World::serve(functions![add]).await?;
    /// add::call(world.client(), 1, 2).await?;
    /// assert_eq!(world.node("node-1").stats().calls, 1);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Panics
    /// If no node of this world has had the id.
    #[must_use]
    pub fn node(&self, id: &str) -> Arc<Node> {
        let parts = self.parts();
        let found = parts.nodes.iter().rev().find(|node| node.id() == id).cloned();
        let ids: Vec<&str> = parts.nodes.iter().map(|node| node.id()).collect();
        found.unwrap_or_else(|| panic!("no node `{id}` in this world; its nodes are {ids:?}"))
    }

    /// Returns the address of the gateway. It stays the same while the world exists.
    ///
    /// A client or node that connects by itself also needs the [`state_dir`](Self::state_dir), or a
    /// [`ticket`](Self::ticket) instead of the address.
    ///
    /// ```
    /// # use easyremote::{Client, functions, remote, testing::World};
    /// # #[remote]
    /// # fn add(a: i64, b: i64) -> i64 {
    /// #     a + b
    /// # }
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), easyremote::Error> {
    /// use easyremote::auth::DialOptions;
    ///
    /// # let world = World::serve(functions![add]).await?;
    /// let dial = DialOptions::new().state_dir(world.state_dir());
    /// let client = Client::builder(world.address()).dial(dial).connect().await?;
    /// assert_eq!(add::call(&client, 1, 2).await?, 3);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns a ticket for the gateway: for code under test that receives an address and connects
    /// by itself.
    ///
    /// ```
    /// # use easyremote::{functions, remote, testing::World};
    /// # #[remote]
    /// # fn add(a: i64, b: i64) -> i64 {
    /// #     a + b
    /// # }
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), easyremote::Error> {
    /// use easyremote::{Client, Role};
    ///
    /// # let world = World::serve(functions![add]).await?;
    /// let client = Client::connect(world.ticket(Role::Client)).await?;
    /// assert_eq!(add::call(&client, 1, 2).await?, 3);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn ticket(&self, role: Role) -> Ticket {
        self.parts().gateway.ticket(role)
    }

    /// Returns the directory with the identity of this world, for the `state_dir` option of the
    /// roles. Dropping the world removes it.
    ///
    /// ```
    /// use easyremote::auth::DialOptions;
    /// use easyremote::testing::World;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), easyremote::Error> {
    /// let world = World::builder().serve().await?;
    /// let options = DialOptions::new().state_dir(world.state_dir());
    /// # let _ = options;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn state_dir(&self) -> &Path {
        self.state.path()
    }

    /// Starts another node. It is registered when this returns.
    ///
    /// Also restarts a node that was [killed](Self::kill_node), with the same id.
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
    /// let world = World::builder().serve().await?;
    /// let node = world.add_node(|node| node.id("late").functions(functions![add])).await?;
    /// assert_eq!(add::call(world.client(), 1, 2).on(node.id()).await?, 3);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As for [`Node::serve`].
    ///
    /// # Cancel safety
    /// Dropping the future leaves nothing running.
    ///
    /// # Panics
    /// If called outside of a tokio runtime.
    pub async fn add_node(
        &self,
        configure: impl FnOnce(NodeBuilder) -> NodeBuilder + Send,
    ) -> Result<Arc<Node>, Error> {
        let number = {
            let mut parts = self.parts();
            parts.n_nodes += 1;
            parts.n_nodes
        };
        let node = Arc::new(start_node(self.address, &self.state, number, configure).await?);
        self.parts().nodes.push(node.clone());
        Ok(node)
    }

    /// Ends the node with this id, as the end of its process would.
    ///
    /// Its running calls and streams fail with [`ErrorKind::NodeLost`], at once: not after the 8 s
    /// that the gateway takes to notice a silent machine. When this returns, the node has ended and
    /// the gateway knows it. Does nothing if the node has ended already.
    ///
    /// ```
    /// # use easyremote::{ErrorKind, functions, remote, testing::World};
    /// # #[remote]
    /// # fn add(a: i64, b: i64) -> i64 {
    /// #     a + b
    /// # }
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), easyremote::Error> {
    /// # let world = World::serve(functions![add]).await?;
    /// world.kill_node("node-1").await;
    /// let error = add::call(world.client(), 1, 2).await.unwrap_err();
    /// assert_eq!(error.kind(), ErrorKind::NoNode);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Cancel safety
    /// The first poll starts the shutdown. The node ends even if the future is dropped then.
    ///
    /// # Panics
    /// If no node of this world has had the id.
    #[doc(alias = "shutdown")]
    #[doc(alias = "stop")]
    pub async fn kill_node(&self, id: &str) {
        let node = self.node(id);
        node.shutdown().await;
        let gateway = self.gateway();
        // Nothing announces that the goodbye has arrived. If it was lost, the gateway notices the
        // missing node after 8 s.
        let gone = || !gateway.nodes().iter().any(|info| info.id == id);
        let _ = until(Instant::now() + RETURN, gone).await;
    }

    /// Ends the gateway, and returns when it has ended.
    ///
    /// Running calls and streams fail with [`ErrorKind::ConnectionLost`]. Nodes and clients dial
    /// until a [new gateway](Self::start_gateway) is started; calls made after a client has noticed
    /// the loss wait for its connection. Does nothing if the gateway has ended already.
    ///
    /// ```
    /// # use easyremote::{functions, remote, testing::World};
    /// # #[remote]
    /// # fn add(a: i64, b: i64) -> i64 {
    /// #     a + b
    /// # }
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), easyremote::Error> {
    /// # let world = World::serve(functions![add]).await?;
    /// world.stop_gateway().await;
    /// world.start_gateway().await?;
    /// assert_eq!(add::call(world.client(), 1, 2).await?, 3);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Cancel safety
    /// The first poll starts the shutdown. The gateway ends even if the future is dropped then.
    #[doc(alias = "shutdown")]
    pub async fn stop_gateway(&self) {
        self.gateway().shutdown().await;
    }

    /// Starts a new gateway with the address and the identity of the old one, which it
    /// [ends](Self::stop_gateway) first if it still runs.
    ///
    /// When this returns, the nodes are registered again and the client is connected.
    ///
    /// ```
    /// # use easyremote::{functions, remote, testing::World};
    /// # #[remote]
    /// # fn add(a: i64, b: i64) -> i64 {
    /// #     a + b
    /// # }
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), easyremote::Error> {
    /// # let world = World::serve(functions![add]).await?;
    /// world.start_gateway().await?; // a restart
    /// assert_eq!(add::call(world.client(), 1, 2).await?, 3);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As for [`Gateway::serve`]; [`ErrorKind::Unavailable`] if the port does not become free
    /// within 15 s, or if nodes and client do not reconnect within another 15 s.
    ///
    /// # Cancel safety
    /// If the future is dropped, the old gateway has ended or ends, and the new one may or may not
    /// run.
    #[doc(alias = "restart")]
    pub async fn start_gateway(&self) -> Result<(), Error> {
        self.stop_gateway().await;
        let end = Instant::now() + RETURN;
        let gateway = loop {
            // The old socket is closed a moment after its gateway has ended.
            match start_gateway(self.address, &self.state, &self.configure_gateway).await {
                Err(error) if error.kind() == ErrorKind::Unavailable && Instant::now() < end => {
                    sleep(LOOK).await;
                }
                started => break Arc::new(started?),
            }
        };
        let nodes = {
            let mut parts = self.parts();
            parts.gateway = gateway.clone();
            parts.nodes.clone()
        };
        let there = || {
            let registered = gateway.nodes();
            let back = |node: &Node| registered.iter().any(|info| info.id == node.id());
            nodes.iter().all(|node| node.closed().now_or_never().is_some() || back(node))
        };
        let end = Instant::now() + RETURN;
        until(end, there).await?;
        timeout_at(end, self.client_is_back()).await.map_err(|_| apart())
    }

    /// Waits until the client can call again, unless it was closed.
    async fn client_is_back(&self) {
        // Only a request shows it: a client that has not noticed the loss yet seems connected.
        while !self.client.is_closed() && self.client.functions().await.is_err() {
            sleep(LOOK).await;
        }
    }

    fn parts(&self) -> MutexGuard<'_, Parts> {
        self.parts.lock()
    }
}

/// Polls until `condition` is true, for a state that nothing announces.
async fn until(end: Instant, condition: impl Fn() -> bool) -> Result<(), Error> {
    let mut looks = interval(LOOK);
    let true_at_last = async {
        while !condition() {
            looks.tick().await;
        }
    };
    timeout_at(end, true_at_last).await.map_err(|_| apart())
}

fn apart() -> Error {
    let text = format!("nodes and client have not reconnected to the gateway within {RETURN:?}");
    Error::new(ErrorKind::Unavailable, text)
}

impl Drop for World {
    fn drop(&mut self) {
        // Start all shutdowns before the drops below wait for any of them. Parts whose handles are
        // kept elsewhere must end too, or they would dial for ever.
        let parts = self.parts();
        let _ = self.client.close().now_or_never();
        for node in &parts.nodes {
            let _ = node.shutdown().now_or_never();
        }
        let _ = parts.gateway.shutdown().now_or_never();
    }
}

impl fmt::Debug for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nodes = self.parts().nodes.clone();
        let ids: Vec<&str> = nodes.iter().map(|node| node.id()).collect();
        f.debug_struct("World").field("address", &self.address).field("nodes", &ids).finish()
    }
}
