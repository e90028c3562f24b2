//! Calls by name that return a trace with their result.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use serde_json::Value;

use crate::client::call_task::UnaryAnswer;
use crate::client::json::{JsonCall, JsonError, json_result};
use crate::client::options::{Options, options};
use crate::client::trace::Trace;
use crate::error::CallError;

impl JsonCall {
    /// Returns a [`Trace`] with the result; see [`Call::traced`](crate::Call::traced).
    ///
    /// ```
    /// # use easyremote::{Client, Gateway, Node, functions, remote};
    /// # use serde_json::json;
    /// # #[remote]
    /// # fn add(a: i64, b: i64) -> i64 { a + b }
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), easyremote::Error> {
    /// # let gateway = Gateway::serve("127.0.0.1:0").await?;
    /// # let node = Node::builder(gateway.local_addr()).id("node-1").functions(functions![add]);
    /// # let _node = node.serve().await?;
    /// # let client = Client::connect(gateway.local_addr()).await?;
    /// let (sum, trace) = client.call_json("add", json!([1, 2])).traced().await.unwrap();
    /// assert_eq!((sum, &*trace.node), (json!(3), "node-1"));
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "profile")]
    #[doc(alias = "latency")]
    pub fn traced(mut self) -> JsonTracedCall {
        self.raw.change(|pending| pending.header.traced = true);
        JsonTracedCall { call: self }
    }
}

/// A [`JsonCall`] that returns its result together with a [`Trace`]. Returned by
/// [`JsonCall::traced`].
///
/// ```
/// # use easyremote::Client;
/// # use serde_json::json;
/// # async fn example(client: Client) {
/// if let Ok((sum, trace)) = client.call_json("add", json!([1, 2])).traced().await {
///     println!("{sum} from {} in {:?}", trace.node, trace.ran);
/// }
/// # }
/// ```
///
/// # Cancel safety
/// As for [`Call`](crate::Call).
#[derive(Debug)]
#[must_use = "a call does nothing until it is awaited"]
pub struct JsonTracedCall {
    call: JsonCall,
}

impl JsonTracedCall {
    fn set(&mut self, change: impl FnOnce(&mut Options)) {
        self.call.raw.change(|pending| change(&mut pending.options));
    }
}

options!("let call = client.call_json(\"add\", json!([1, 2])).traced()", impl JsonTracedCall);

impl Future for JsonTracedCall {
    type Output = Result<(Value, Trace), CallError<JsonError>>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let max_decoded = self.call.raw.max_decoded;
        self.call.raw.poll(context).map(|answer| {
            let UnaryAnswer { frame, trace, .. } = answer?;
            let value = json_result(&frame, max_decoded)?;
            Ok((value, trace.map_or_else(|| Trace::new(None, 1), |trace| *trace)))
        })
    }
}
