//! Nested calls: calls that a function makes while it runs on a node.

use std::sync::Arc;

use crate::client::handle::Client;
use crate::function::context::Context;

impl Context {
    /// Returns a client for nested calls: calls that the function makes while it runs.
    ///
    /// It uses the connection of the node to the gateway from which this call came. Nested calls
    /// are part of the enclosing call:
    ///
    /// - they end with [`ErrorKind::Cancelled`] when it ends, for whatever reason;
    /// - they end with [`ErrorKind::DeadlineExceeded`] at its deadline, or at their own if that is
    ///   earlier.
    ///
    /// Work that must outlast the call belongs into a `detached` function, whose nested calls go on
    /// with it, or uses a separate [`Client`].
    ///
    /// **Deadlock.** If all places of a node are taken by functions that wait for functions of the
    /// same node, it waits for ever. Raise its
    /// [`concurrency`](crate::node::NodeBuilder::concurrency), or offer the inner functions on
    /// other nodes.
    ///
    /// ```
    /// use easyremote::{Context, remote};
    ///
    /// #[remote]
    /// fn tokens(text: String) -> u64 {
    ///     text.split_whitespace().count() as u64
    /// }
    ///
    /// #[remote]
    /// async fn price(#[ctx] ctx: &Context, text: String) -> Result<u64, String> {
    ///     let tokens = tokens::call(&ctx.client(), text).await;
    ///     Ok(3 * tokens.map_err(|error| error.to_string())?)
    /// }
    /// ```
    ///
    /// [`ErrorKind::Cancelled`]: crate::ErrorKind::Cancelled
    /// [`ErrorKind::DeadlineExceeded`]: crate::ErrorKind::DeadlineExceeded
    #[doc(alias = "nested")]
    #[must_use]
    pub fn client(&self) -> Client {
        Client {
            link: self.link().clone(),
            owned: None,
            options: Arc::default(),
            scope: self.scope(),
        }
    }
}
