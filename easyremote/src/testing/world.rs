//! Gateway, nodes and client in the process of a test.

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
/// They are those of production and talk over QUIC. The gateway has a free port and an identity of
/// its own, in a temporary directory, so any number of worlds can be there at a time, and none
/// touches the identity of the user.
///
/// Dropping it ends all of them and removes the directory. Calls under way fail. A handle that was taken from it and
/// is kept, such as a clone of the client, is of no more use.
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
    // Dropped last: the others find their identity in it.
    state: TempDir,
}

/// What may be lost and replaced.
struct Parts {
    nodes: Vec<Arc<Node>>,
    gateway: Arc<Gateway>,
    /// Nodes that there have been, for the ids of those that get none.
    n_nodes: usize,
}

/// Longest wait for the gateway's port to be free again, and then for its peers to be back. They
/// dial again after 250 ms at first, and a packet to a gateway that is gone is repeated after a
/// second or two.
const RETURN: Duration = Duration::from_secs(15);

/// Pause between two looks at what nothing announces.
const LOOK: Duration = Duration::from_millis(2);

impl World {
    /// Starts a gateway, one node that offers `functions`, and a client. All are connected when
    /// this returns.
    ///
    /// # Errors
    /// Those of [`Gateway::serve`], [`Node::serve`] and [`Client::connect`].
    ///
    /// # Cancel safety
    /// Dropping the future leaves nothing running.
    ///
    /// # Panics
    /// Outside of a tokio runtime: the functions run on the one that this is called from.
    pub async fn serve(functions: Functions) -> Result<Self, Error> {
        Self::builder().node(|node| node.functions(functions)).serve().await
    }

    /// A world with nodes, or options, of your choice. It has no nodes unless some are added.
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

    /// The client.
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Connects another client, with the options of the first. To see what happens to a program
    /// whose connection is gone, [`close`](Client::close) its client.
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

    /// The gateway; also after [`stop_gateway`](Self::stop_gateway), until there is a new one.
    #[must_use]
    pub fn gateway(&self) -> Arc<Gateway> {
        self.parts().gateway.clone()
    }

    /// The node with this id; the last, if there have been several. A node that gets no id is
    /// called `node-1`, or `node-2` if it is the second, and so on.
    ///
    /// # Panics
    /// If there has been no such node.
    #[must_use]
    pub fn node(&self, id: &str) -> Arc<Node> {
        let parts = self.parts();
        let found = parts.nodes.iter().rev().find(|node| node.id() == id).cloned();
        let ids: Vec<&str> = parts.nodes.iter().map(|node| node.id()).collect();
        found.unwrap_or_else(|| panic!("there is no node `{id}` in this world, but {ids:?}"))
    }

    /// The address of the gateway. It is the same for as long as the world is there.
    ///
    /// A client or node for it needs the [`state_dir`](Self::state_dir), or a
    /// [`ticket`](Self::ticket) instead of the address.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// A ticket for the gateway: for code under test that is given an address and connects by
    /// itself.
    #[must_use]
    pub fn ticket(&self, role: Role) -> Ticket {
        self.parts().gateway.ticket(role)
    }

    /// The directory with the identity of this world: what the builders of the roles take as
    /// `state_dir`. It is removed with the world.
    #[must_use]
    pub fn state_dir(&self) -> &Path {
        self.state.path()
    }

    /// Starts a further node. It is registered when this returns.
    ///
    /// A node that was [killed](Self::kill_node) comes back like this, with the same id.
    ///
    /// # Errors
    /// As for [`Node::serve`].
    ///
    /// # Cancel safety
    /// Dropping the future leaves nothing running.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
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

    /// Ends the node with this id: callers see what they see when its process ends. Calls and
    /// streams under way there fail with [`ErrorKind::NodeLost`], at once and not only after the
    /// 8 s that it takes to miss a machine that has fallen silent. The node has ended when this
    /// returns, and the gateway knows.
    ///
    /// Does nothing if it has ended already.
    ///
    /// # Cancel safety
    /// Once polled, the node ends whether or not this is waited for.
    ///
    /// # Panics
    /// If there has been no such node.
    pub async fn kill_node(&self, id: &str) {
        let node = self.node(id);
        node.shutdown().await;
        let gateway = self.gateway();
        // Nothing announces that the goodbye has arrived. If it was lost, the node is missed after
        // 8 s.
        let gone = || !gateway.nodes().iter().any(|info| info.id == id);
        let _ = until(Instant::now() + RETURN, gone).await;
    }

    /// Ends the gateway: calls and streams under way fail with [`ErrorKind::ConnectionLost`], and
    /// nodes and clients dial until there is [a new one](Self::start_gateway). The gateway has
    /// ended when this returns. Later calls wait for a connection, once their client has noticed.
    ///
    /// Does nothing if it has ended already.
    ///
    /// # Cancel safety
    /// Once polled, the gateway ends whether or not this is waited for.
    pub async fn stop_gateway(&self) {
        self.gateway().shutdown().await;
    }

    /// Starts a new gateway at the address of the old one and with its identity, after
    /// [ending](Self::stop_gateway) the old one if that is still there. The nodes are registered
    /// again, and the client is connected, when this returns.
    ///
    /// # Errors
    /// As for [`Gateway::serve`]: [`ErrorKind::Unavailable`] if the port has not become free in
    /// 15 s, or if nodes and client have not come back in another 15 s.
    ///
    /// # Cancel safety
    /// If the future is dropped, the old gateway has ended, and the new one may be there or not.
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
        // Only a call shows it: a client that has not noticed yet takes itself for connected.
        while !self.client.is_closed() && self.client.functions().await.is_err() {
            sleep(LOOK).await;
        }
    }

    fn parts(&self) -> MutexGuard<'_, Parts> {
        // Nothing panics in between its changes.
        self.parts.lock()
    }
}

/// Waits until something that nothing announces has become true.
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
    let text = format!("nodes, gateway and client have not found together in {RETURN:?}");
    Error::new(ErrorKind::Unavailable, text)
}

impl Drop for World {
    fn drop(&mut self) {
        // All are told before any is waited for; and those whose handles are kept elsewhere are not
        // to dial for ever.
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
