//! Calls that a function on a node makes itself.

use std::sync::Arc;

use crate::client::handle::Client;
use crate::function::context::Context;

impl Context {
    /// A client for calls that the function makes itself, on the connection that its node has to
    /// the gateway from which this call came.
    ///
    /// Its calls are part of this one. They end with [`ErrorKind::Cancelled`] when this call is
    /// over, for whatever reason, and with [`ErrorKind::DeadlineExceeded`] at its deadline at the
    /// latest. So what is to outlast the call needs a `detached` function, whose calls go on as it
    /// does, or a [`Client`] of the program's own.
    ///
    /// A node that is full of functions that wait for functions of the same node waits for ever:
    /// give such functions room with [`concurrency`](crate::node::NodeBuilder::concurrency), or nodes of
    /// their own.
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
