//! The trace of a call: where it ran, and how long that took.

use std::time::Duration;

use crate::call::batch_meter::BatchReason;
use crate::wire::trace::{BatchRecord, NodeTrace};

/// Where a call ran, and how long it waited and ran, from [`Call::traced`](crate::Call::traced).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Trace {
    /// The id of the node that ran the call.
    pub node: String,
    /// Number of attempts, the successful one included; see [`Retry`](crate::Retry).
    pub attempts: u64,
    /// Whether this is the second call of a [hedged](crate::Call::hedge) one, which has answered
    /// before the first.
    pub hedged: bool,
    /// How long the call waited to run: at the gateway for a node, and in the queue of the node.
    pub queued: Duration,
    /// How long the node took to run it, from the end of the queue until it had the answer.
    pub ran: Duration,
    /// The batch that the call ran in, if the function [takes batches](macro@crate::remote).
    pub batch: Option<BatchTrace>,
    /// Whether the call was made by name, because no node had the caller's types; see
    /// [`skew`](macro@crate::remote#versions).
    pub by_name: bool,
    /// Number of fields of the answer that were left out, because the caller does not know them. Above
    /// 0 only with `skew = "lossy"`. What the node has left out of the arguments is in its
    /// [`NodeStats::left_out`](crate::node::NodeStats::left_out).
    pub left_out: u64,
}

/// The batch that a call ran in, of a function with
/// [`#[remote(batch)]`](macro@crate::remote#batches); in [`Trace::batch`].
///
/// ```
/// # use easyremote::{Client, Gateway, Node, functions, remote};
/// use easyremote::client::BatchReason;
///
/// #[remote(batch(max = 32, wait = "5ms"))]
/// fn lengths(texts: Vec<String>) -> Vec<usize> {
///     texts.iter().map(String::len).collect()
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), easyremote::Error> {
/// # let gateway = Gateway::serve("127.0.0.1:0").await?;
/// # let _node = Node::serve(gateway.local_addr(), functions![lengths]).await?;
/// # let client = Client::connect(gateway.local_addr()).await?;
/// let (length, trace) = lengths::call(&client, "text".into()).traced().await?;
/// let batch = trace.batch.unwrap();
/// assert_eq!((length, batch.size, batch.reason), (4, 1, Some(BatchReason::Waited)));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BatchTrace {
    /// Number of calls in the batch, this one included.
    pub size: u32,
    /// Why the batch left; `None` if the node has a later version that knows other reasons.
    pub reason: Option<BatchReason>,
}

impl Trace {
    pub(super) fn new(node: Option<NodeTrace>, attempts: u64) -> Self {
        // A missing trace is no reason to fail a call that has its result.
        let (nothing, batch) = (Duration::ZERO, None);
        let none = NodeTrace { node: String::new(), queued: nothing, ran: nothing, batch };
        let NodeTrace { node, queued, ran, batch } = node.unwrap_or(none);
        let batch =
            batch.map(|batch: BatchRecord| BatchTrace { size: batch.size, reason: batch.reason() });
        let (by_name, left_out) = (false, 0);
        Self { node, attempts, hedged: false, queued, ran, batch, by_name, left_out }
    }
}
