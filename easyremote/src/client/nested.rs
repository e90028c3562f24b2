//! Nested calls: calls that a function makes while it runs on a node.

use std::sync::Arc;

use crate::client::handle::Client;
use crate::client::options::Options;
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
    /// They belong in its [trace](Context::trace_context), also those of a `detached` function.
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
        let trace_context = self.trace_context().cloned().map(Box::new);
        let options = Options { trace_context, ..Options::new() };
        let (link, scope) = (self.link().clone(), self.scope());
        Client { link, owned: None, options: Arc::new(options), scope }
    }
}
