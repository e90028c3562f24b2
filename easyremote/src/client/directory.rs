//! Queries to the gateway: its functions, its nodes, and its counters.

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::call::function_meter::FunctionStats;
use crate::client::handle::Client;
use crate::error::{CallError, Error, ErrorKind};
use crate::transport::stream_table::StreamStats;
use crate::wire::directory::{
    FUNCTION_STATS, FUNCTIONS, FunctionInfo, GatewayStats, NODES, NodeInfo, STATS, STREAM_STATS,
};

impl Client {
    /// Returns the functions that this client may call and that nodes offer now, sorted by name. A
    /// function that nodes offer with different types or tags has an entry for each variant.
    ///
    /// ```
    /// # use easyremote::{Client, Gateway, Node, functions, remote};
    /// # #[remote]
    /// # fn add(a: i64, b: i64) -> i64 { a + b }
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), easyremote::Error> {
    /// # let gateway = Gateway::serve("127.0.0.1:0").await?;
    /// # let _node = Node::serve(gateway.local_addr(), functions![add]).await?;
    /// # let client = Client::connect(gateway.local_addr()).await?;
    /// for function in client.functions().await? {
    ///     println!("{}", function.name);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// The errors of any call: see [`ErrorKind`].
    ///
    /// # Cancel safety
    /// Dropping the future cancels the query.
    #[doc(alias = "list")]
    #[doc(alias = "discover")]
    pub async fn functions(&self) -> Result<Vec<FunctionInfo>, Error> {
        self.ask(FUNCTIONS).await
    }

    /// Returns the registered nodes that offer at least one function that this client may call,
    /// sorted by id.
    ///
    /// ```
    /// # use easyremote::{Client, Gateway, Node, functions, remote};
    /// # #[remote]
    /// # fn add(a: i64, b: i64) -> i64 { a + b }
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), easyremote::Error> {
    /// # let gateway = Gateway::serve("127.0.0.1:0").await?;
    /// # let _node = Node::serve(gateway.local_addr(), functions![add]).await?;
    /// # let client = Client::connect(gateway.local_addr()).await?;
    /// for node in client.nodes().await? {
    ///     println!("{} runs {} calls", node.id, node.in_flight);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// The errors of any call: see [`ErrorKind`].
    ///
    /// # Cancel safety
    /// Dropping the future cancels the query.
    #[doc(alias = "list")]
    pub async fn nodes(&self) -> Result<Vec<NodeInfo>, Error> {
        self.ask(NODES).await
    }

    /// Returns the counters of the gateway.
    ///
    /// The client has to be an [admin](crate::Role::Admin), from
    /// [`ClientBuilder::admin`](crate::client::ClientBuilder::admin) or with an admin's ticket, or
    /// a [rule](crate::gateway::GatewayBuilder::may_call) has to allow it `easyremote.stats`.
    ///
    /// ```
    /// # use easyremote::{Client, Gateway};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), easyremote::Error> {
    /// # let gateway = Gateway::serve("127.0.0.1:0").await?;
    /// let client = Client::builder(gateway.local_addr()).admin().connect().await?;
    /// println!("{:?}", client.gateway_stats().await?);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::PermissionDenied`] if the client is neither; otherwise the errors of any
    /// call: see [`ErrorKind`].
    ///
    /// # Cancel safety
    /// Dropping the future cancels the query.
    #[doc(alias = "metrics")]
    pub async fn gateway_stats(&self) -> Result<GatewayStats, Error> {
        self.ask(STATS).await
    }

    /// Returns the figures of each function at the gateway, as
    /// [`Gateway::functions`](crate::Gateway::functions) does: how its calls ended, and how long they
    /// waited and ran.
    ///
    /// For those who may read [`gateway_stats`](Self::gateway_stats). Kinds of errors that only a later
    /// version of the gateway knows are left out.
    ///
    /// ```
    /// # use easyremote::{Client, Gateway};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), easyremote::Error> {
    /// # let gateway = Gateway::serve("127.0.0.1:0").await?;
    /// let client = Client::builder(gateway.local_addr()).admin().connect().await?;
    /// for function in client.function_stats().await? {
    ///     println!("{}: p99 {:?}", function.function, function.ran.quantile(0.99));
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Those of [`gateway_stats`](Self::gateway_stats), and [`ErrorKind::NoSuchFunction`] from a
    /// gateway of an older version.
    ///
    /// # Cancel safety
    /// Dropping the future cancels the query.
    #[doc(alias = "metrics")]
    #[doc(alias = "latency")]
    pub async fn function_stats(&self) -> Result<Vec<FunctionStats>, Error> {
        self.ask(FUNCTION_STATS).await
    }

    /// Returns the open streams of the gateway with their figures, the oldest first, as
    /// [`Gateway::streams`](crate::Gateway::streams) does.
    ///
    /// For those who may read [`gateway_stats`](Self::gateway_stats).
    ///
    /// ```
    /// # use easyremote::{Client, Gateway};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), easyremote::Error> {
    /// # let gateway = Gateway::serve("127.0.0.1:0").await?;
    /// let client = Client::builder(gateway.local_addr()).admin().connect().await?;
    /// for stream in client.stream_stats().await? {
    ///     println!("{} for {}: {} items", stream.function, stream.caller.id, stream.items);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Those of [`function_stats`](Self::function_stats), and [`ErrorKind::TooLarge`] if the list is
    /// longer than a message of the gateway may be.
    ///
    /// # Cancel safety
    /// Dropping the future cancels the query.
    #[doc(alias = "metrics")]
    pub async fn stream_stats(&self) -> Result<Vec<StreamStats>, Error> {
        self.ask(STREAM_STATS).await
    }

    /// Calls one of the gateway's own functions.
    async fn ask<T: DeserializeOwned>(&self, question: &str) -> Result<T, Error> {
        let answer = self.call_json(question, Value::Array(Vec::new())).await;
        let answer = answer.map_err(|error| match error {
            CallError::Remote(error) => error,
            CallError::Function(_) => Error::new(
                ErrorKind::Protocol,
                "the gateway answered a query with a function's error",
            ),
        })?;
        serde_json::from_value(answer).map_err(|error| {
            // In the text and not the source: it may quote the gateway, and only the text is made
            // printable.
            let text = format!("cannot decode the gateway's answer to `{question}`: {error}");
            Error::new(ErrorKind::BadResponse, text)
        })
    }
}
