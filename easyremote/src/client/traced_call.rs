//! Calls that return a trace with their result.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use crate::client::call::{Call, result};
use crate::client::call_task::UnaryAnswer;
use crate::client::options::{Options, options};
use crate::client::trace::Trace;
use crate::function::outcome::Outcome;
use crate::function::remote::RemoteUnary;

impl<F: RemoteUnary> Call<F> {
    /// Returns a [`Trace`] with the result: which node ran the call, and how long it waited and
    /// ran.
    ///
    /// Has to be set before the first poll. Otherwise the trace has an empty node id, and zeros.
    ///
    /// ```
    /// # use easyremote::{Client, remote};
    /// # #[remote]
    /// # fn add(a: i64, b: i64) -> i64 { a + b }
    /// # async fn example(client: Client) -> Result<(), easyremote::Error> {
    /// let (sum, trace) = add::call(&client, 1, 2).traced().await?;
    /// println!("{sum} from {} in {:?}, after {:?}", trace.node, trace.ran, trace.queued);
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "profile")]
    #[doc(alias = "latency")]
    pub fn traced(mut self) -> TracedCall<F> {
        self.raw.change(|pending| pending.header.traced = true);
        TracedCall::new(self)
    }
}

/// A [`Call`] that returns its result together with a [`Trace`]. Returned by [`Call::traced`].
///
/// | the function returns | awaiting the call returns                      |
/// |----------------------|------------------------------------------------|
/// | `T`                  | `Result<(T, `[`Trace`]`), Error>`              |
/// | `Result<T, E>`       | `Result<(T, `[`Trace`]`), CallError<E>>`       |
///
/// A failed call has no trace; [`Error::node`](crate::Error::node) returns the node where it is
/// known.
///
/// ```
/// # use easyremote::{Client, Gateway, Node, functions, remote};
/// # #[remote]
/// # fn add(a: i64, b: i64) -> i64 { a + b }
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), easyremote::Error> {
/// # let gateway = Gateway::serve("127.0.0.1:0").await?;
/// # let node = Node::builder(gateway.local_addr()).id("node-1").functions(functions![add]);
/// # let _node = node.serve().await?;
/// # let client = Client::connect(gateway.local_addr()).await?;
/// let (sum, trace) = add::call(&client, 1, 2).traced().await?;
/// assert_eq!((sum, &*trace.node, trace.attempts), (3, "node-1", 1));
/// # Ok(())
/// # }
/// ```
///
/// # Cancel safety
/// As for [`Call`].
#[derive(Debug)]
#[must_use = "a call does nothing until it is awaited"]
pub struct TracedCall<F: RemoteUnary> {
    pub(super) call: Call<F>,
}

impl<F: RemoteUnary> TracedCall<F> {
    fn new(call: Call<F>) -> Self {
        Self { call }
    }

    fn set(&mut self, change: impl FnOnce(&mut Options)) {
        self.call.set(change);
    }
}

options!("let call = add::call(&client, 1, 2).traced()", impl<F: RemoteUnary> TracedCall<F>);

impl<F: RemoteUnary> Future for TracedCall<F> {
    /// `Result<(T, Trace), Error>`, or `Result<(T, Trace), CallError<E>>`: see the table of
    /// [`TracedCall`].
    type Output = Result<(<F::Output as Outcome>::Value, Trace), <F::Output as Outcome>::Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let max_decoded = self.call.raw.max_decoded;
        self.call.raw.poll(context).map(|answer| {
            let UnaryAnswer { frame, trace, form } = answer?;
            let mut trace = trace.map_or_else(|| Trace::new(None, 1), |trace| *trace);
            trace.by_name = form.codec.is_by_name();
            let value = result::<F>(&frame, &form, max_decoded, &mut trace.left_out)?;
            Ok((value, trace))
        })
    }
}
