//! Keys of callers, under which a function runs once.

use crate::client::call::Call;
use crate::client::json::JsonCall;
use crate::client::traced_call::TracedCall;
use crate::function::remote::RemoteUnary;

impl<F: RemoteUnary> Call<F> {
    /// Runs the function once for all calls of this identity with this key: a deduplication key of
    /// the caller's own.
    ///
    /// A call with a key that is in use joins the run that is under way, or gets the answer that it
    /// has left, which the node keeps for 10 minutes after the end. So a call that has failed with
    /// [`Maybe`](crate::Executed::Maybe) can be repeated with its key.
    ///
    /// - The key is 1 to 256 bytes long, and is scoped to the identity and the function. A call with
    ///   the same key and other arguments fails with
    ///   [`InvalidInput`](crate::ErrorKind::InvalidInput), `No`. Arguments by name are others than
    ///   the same ones of a stub, and [`spawn`](Self::spawn) is another use than a call.
    /// - Each caller has a deadline of its own, and leaves alone. The run has none, and is cancelled
    ///   when no caller is left, unless the function is `detached`.
    /// - Every answer is kept: a value, the function's own error, a panic, and that the run was
    ///   cancelled after it had started. A run that has not started is forgotten
    ///   ([`Executed::No`](crate::Executed::No)), and the next call with the key starts another one.
    /// - What is kept is charged to [`NodeLimits::kept`](crate::node::NodeLimits::kept). A call
    ///   beyond it is [`Overloaded`](crate::ErrorKind::Overloaded), `No`. An answer that does not fit
    ///   reaches those who wait for it; later callers get
    ///   [`TooLarge`](crate::ErrorKind::TooLarge), `Yes`.
    /// - All calls with a key go to one node, which [`sticky`](Self::sticky) would choose, and wait
    ///   for it if it has no room. A node that joins or leaves takes keys over without their answers.
    ///   [`prefer_tag`](Self::prefer_tag), `sticky` and [`strategy`](Self::strategy) are ignored.
    ///
    /// The key is as durable as the memory of the node: after that is lost, or the answer has
    /// expired, the function may run again. Therefore a call with a key is not retried by itself
    /// where one without it would not be.
    ///
    /// A function that takes or returns a stream has no keys.
    ///
    /// ```
    /// # use easyremote::{Client, Gateway, Node, functions, remote};
    /// use std::sync::atomic::{AtomicU64, Ordering};
    ///
    /// static ORDERS: AtomicU64 = AtomicU64::new(0);
    ///
    /// #[remote]
    /// fn order(item: String) -> u64 {
    ///     ORDERS.fetch_add(1, Ordering::Relaxed) + 1
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), easyremote::Error> {
    /// # let gateway = Gateway::serve("127.0.0.1:0").await?;
    /// # let _node = Node::serve(gateway.local_addr(), functions![order]).await?;
    /// # let client = Client::connect(gateway.local_addr()).await?;
    /// for _ in 0..3 {
    ///     let number = order::call(&client, "tea".to_owned()).key("cart-17").await?;
    ///     assert_eq!(number, 1);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "idempotency key")]
    #[doc(alias = "deduplication")]
    pub fn key(mut self, key: impl Into<String>) -> Self {
        self.raw.change(|pending| pending.header.key = Some(key.into().into()));
        self
    }
}

impl<F: RemoteUnary> TracedCall<F> {
    /// Runs the function once for all calls with this key: see [`Call::key`]. The trace of a call
    /// that joins a run tells how long it waited for the answer.
    ///
    /// ```
    /// # use easyremote::{Client, remote};
    /// # #[remote]
    /// # async fn add(a: i64, b: i64) -> i64;
    /// # async fn example(client: Client) -> Result<(), easyremote::Error> {
    /// let (sum, trace) = add::call(&client, 1, 2).traced().key("sum-1").await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn key(mut self, key: impl Into<String>) -> Self {
        self.call = self.call.key(key);
        self
    }
}

impl JsonCall {
    /// Runs the function once for all calls with this key: see [`Call::key`](crate::Call::key).
    ///
    /// ```
    /// # use easyremote::Client;
    /// # use serde_json::json;
    /// # async fn example(client: Client) {
    /// let sum = client.call_json("add", json!([1, 2])).key("sum-1").await;
    /// # }
    /// ```
    #[doc(alias = "idempotency key")]
    pub fn key(mut self, key: impl Into<String>) -> Self {
        self.raw.change(|pending| pending.header.key = Some(key.into().into()));
        self
    }
}
