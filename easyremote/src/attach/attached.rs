//! A server that is attached.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::task::AbortOnDropHandle;

use crate::function::forward::MODEL_TAG;
use crate::node::Node;

/// A server that is attached to a gateway, and the node that forwards requests to it. Returned by
/// [`LocalServer::attach`](crate::attach::LocalServer::attach).
///
/// Dropping it shuts the node down.
#[derive(Debug)]
#[must_use = "dropping it shuts the node down"]
pub struct AttachedServer {
    pub(super) node: Arc<Node>,
    pub(super) _models: AbortOnDropHandle<()>,
}

impl AttachedServer {
    /// Returns the node.
    ///
    /// ```no_run
    /// # async fn example(attached: easyremote::attach::AttachedServer) {
    /// println!("{} requests so far", attached.node().stats().calls);
    /// # }
    /// ```
    #[must_use]
    pub fn node(&self) -> &Node {
        &self.node
    }

    /// Returns the models for which the node gets requests, sorted.
    ///
    /// ```no_run
    /// # async fn example(attached: easyremote::attach::AttachedServer) {
    /// for model in attached.models() {
    ///     println!("{model}");
    /// }
    /// # }
    /// ```
    #[must_use]
    pub fn models(&self) -> Vec<String> {
        let tags = self.node.tags();
        let mut models: Vec<_> =
            tags.iter().filter_map(|tag| tag.strip_prefix(MODEL_TAG)).map(str::to_owned).collect();
        models.sort();
        models
    }

    /// Lets requests that run end, for up to `grace`, and shuts the node down: see [`Node::drain`].
    ///
    /// ```no_run
    /// # use std::time::Duration;
    /// # async fn example(attached: easyremote::attach::AttachedServer) {
    /// attached.drain(Duration::from_secs(30)).await;
    /// # }
    /// ```
    ///
    /// # Cancel safety
    /// As for [`Node::drain`].
    pub async fn drain(&self, grace: Duration) {
        self.node.drain(grace).await;
    }
}
