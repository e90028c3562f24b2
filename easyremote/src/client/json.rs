//! Calls and streams by name, with JSON arguments and results.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures::Stream;
use serde_json::Value;

use crate::client::call::{RawCall, not_asked_for, undecoded};
use crate::client::handle::Client;
use crate::client::options::{Options, options};
use crate::client::pending_call::PendingCall;
use crate::client::stream::operators::operators;
use crate::client::stream::raw::progress::StreamProgress;
use crate::client::stream::raw::{RawStream, StreamFrame};
use crate::client::stream::through::named;
use crate::error::{CallError, Error};
use crate::wire::codec::Codec;
use crate::wire::frame::{Frame, FrameKind};
use crate::wire::kind::Kind;
use crate::wire::operators::Operator;

impl Client {
    /// Calls a function by its name, with JSON.
    ///
    /// `arguments` is an array, by position, or an object, by parameter name. The node decodes
    /// them, so that this program needs no definition of the function.
    /// [`functions`](Self::functions) lists the functions, with their parameters and types.
    ///
    /// Returns a [`JsonCall`]: a future of the result as JSON, with the options of
    /// [`Call`](crate::Call). Its error is a [`CallError`]: the function's own error is
    /// `CallError::Function(`[`JsonError`]`)`. A call by name is never treated as `idempotent`.
    /// Nothing is sent before the first poll. A function that takes a client stream gets it with
    /// [`items`](JsonCall::items).
    ///
    /// ```
    /// # use serde_json::json;
    /// # use easyremote::{Client, Gateway, Node, functions, remote};
    /// # #[remote]
    /// # fn add(a: i64, b: i64) -> i64 { a + b }
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), easyremote::Error> {
    /// # let gateway = Gateway::serve("127.0.0.1:0").await?;
    /// # let _node = Node::serve(gateway.local_addr(), functions![add]).await?;
    /// # let client = Client::connect(gateway.local_addr()).await?;
    /// assert_eq!(client.call_json("add", json!([1, 2])).await.unwrap(), json!(3));
    /// assert_eq!(client.call_json("add", json!({"b": 2, "a": 1})).await.unwrap(), json!(3));
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "dynamic")]
    #[doc(alias = "invoke")]
    #[doc(alias = "reflection")]
    pub fn call_json(&self, function: impl Into<String>, arguments: Value) -> JsonCall {
        JsonCall::new(PendingCall::json(self, function.into(), Kind::Unary, &arguments))
    }

    /// Calls a streaming function by name, with JSON. `arguments` are as for
    /// [`call_json`](Self::call_json). Returns a [`JsonStream`], a stream of its items as JSON.
    /// Nothing is sent before the first poll.
    ///
    /// ```
    /// # use serde_json::json;
    /// # use easyremote::{Client, Gateway, Node, functions, remote};
    /// # use futures::{Stream, StreamExt, stream};
    /// # #[remote(stream)]
    /// # fn count(from: u64) -> impl Stream<Item = u64> { stream::iter(from..) }
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), easyremote::Error> {
    /// # let gateway = Gateway::serve("127.0.0.1:0").await?;
    /// # let _node = Node::serve(gateway.local_addr(), functions![count]).await?;
    /// # let client = Client::connect(gateway.local_addr()).await?;
    /// let mut items = client.stream_json("count", json!([7])).take(1);
    /// assert_eq!(items.next().await.unwrap().unwrap(), json!(7));
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "dynamic")]
    pub fn stream_json(&self, function: impl Into<String>, arguments: Value) -> JsonStream {
        JsonStream::new(PendingCall::json(self, function.into(), Kind::Stream, &arguments))
    }
}

/// A function's own error as JSON: the `E` in the [`CallError`] of calls by name.
///
/// `Display` writes its JSON text.
///
/// ```
/// use easyremote::client::JsonError;
/// use serde_json::json;
///
/// assert_eq!(JsonError(json!({"code": 7})).to_string(), r#"{"code":7}"#);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JsonError(pub Value);

impl fmt::Display for JsonError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for JsonError {}

/// A call by name: a future of the result as JSON. Returned by [`Client::call_json`].
///
/// | the function                     | awaiting the call returns                      |
/// |----------------------------------|------------------------------------------------|
/// | returns a value, or `Ok`         | `Ok` with the value as JSON                    |
/// | returns `Err`                    | [`CallError::Function`] with the error as JSON |
/// | returns `Err`, `err = "display"` | [`CallError::Remote`] of kind [`Failed`]       |
/// | cannot be called                 | [`CallError::Remote`]                          |
///
/// ```
/// # use serde_json::json;
/// # use std::time::Duration;
/// # use easyremote::{Client, Gateway, Node, functions, remote};
/// # #[remote]
/// # fn add(a: i64, b: i64) -> i64 { a + b }
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), easyremote::Error> {
/// # let gateway = Gateway::serve("127.0.0.1:0").await?;
/// # let _node = Node::serve(gateway.local_addr(), functions![add]).await?;
/// # let client = Client::connect(gateway.local_addr()).await?;
/// let call = client.call_json("add", json!([1, 2])).timeout(Duration::from_secs(5));
/// assert_eq!(call.await.unwrap(), json!(3));
/// # Ok(())
/// # }
/// ```
///
/// # Cancel safety
/// As for [`Call`](crate::Call).
///
/// [`Failed`]: crate::ErrorKind::Failed
#[derive(Debug)]
#[must_use = "a call does nothing until it is awaited"]
pub struct JsonCall {
    pub(super) raw: RawCall,
}

impl JsonCall {
    pub(super) fn new(pending: Result<PendingCall, Error>) -> Self {
        Self { raw: RawCall::new(pending) }
    }

    /// Adds the client stream of a function that takes one. Its items travel as JSON.
    ///
    /// ```
    /// # use serde_json::json;
    /// # use easyremote::{Client, Gateway, Node, functions, remote};
    /// # use futures::{Stream, StreamExt, stream};
    /// #[remote]
    /// async fn total(from: u64, parts: impl Stream<Item = u64>) -> u64 {
    ///     parts.fold(from, |sum, part| async move { sum + part }).await
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), easyremote::Error> {
    /// # let gateway = Gateway::serve("127.0.0.1:0").await?;
    /// # let _node = Node::serve(gateway.local_addr(), functions![total]).await?;
    /// # let client = Client::connect(gateway.local_addr()).await?;
    /// let call = client.call_json("total", json!([10])).items(stream::iter([json!(1), json!(2)]));
    /// assert_eq!(call.await.unwrap(), json!(13));
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "upload")]
    pub fn items<S>(mut self, items: S) -> Self
    where
        S: Stream<Item = Value> + Send + 'static,
    {
        self.raw.change(|pending| pending.add_json_items(items));
        self
    }

    fn set(&mut self, change: impl FnOnce(&mut Options)) {
        self.raw.change(|pending| change(&mut pending.options));
    }
}

options!("let call = client.call_json(\"add\", json!([1, 2]))", impl JsonCall);

impl Future for JsonCall {
    type Output = Result<Value, CallError<JsonError>>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let max_decoded = self.raw.max_decoded;
        self.raw.poll(context).map(|answer| json_result(&answer?.frame, max_decoded))
    }
}

/// Decodes the result in `frame`, using at most `max_decoded` bytes of memory.
///
/// # Errors
/// The function's own error, or why the frame cannot be decoded.
pub(super) fn json_result(
    frame: &Frame,
    max_decoded: usize,
) -> Result<Value, CallError<JsonError>> {
    let decoded = || Codec::Json.decode(&frame.body, max_decoded).map_err(undecoded);
    match frame.kind {
        FrameKind::Fault => Err(CallError::Function(JsonError(decoded()?))),
        FrameKind::Body => Ok(decoded()?),
        other => Err(not_asked_for(other).into()),
    }
}

/// A stream by name: a [`Stream`] of its items as JSON. Returned by [`Client::stream_json`].
///
/// An error of the set-up, or of one item, is a [`CallError::Function`] with the error as JSON, or,
/// with `err = "display"`, a [`CallError::Remote`] of kind [`Failed`](crate::ErrorKind::Failed).
/// After an error of one item the stream goes on. Any other error ends it.
///
/// ```
/// # use serde_json::json;
/// # use easyremote::{Client, Gateway, Node, functions, remote};
/// # use futures::{Stream, StreamExt, stream};
/// # #[remote(stream)]
/// # fn count(from: u64) -> impl Stream<Item = u64> { stream::iter(from..) }
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), easyremote::Error> {
/// # let gateway = Gateway::serve("127.0.0.1:0").await?;
/// # let _node = Node::serve(gateway.local_addr(), functions![count]).await?;
/// # let client = Client::connect(gateway.local_addr()).await?;
/// let items = client.stream_json("count", json!({"from": 7})).take(3);
/// let items: Vec<_> = items.map(Result::unwrap).collect().await;
/// assert_eq!(items, [7, 8, 9]);
/// # Ok(())
/// # }
/// ```
///
/// # Cancel safety
/// As for [`StreamCall`](crate::StreamCall).
#[derive(Debug)]
#[must_use = "a stream does nothing until it is polled"]
pub struct JsonStream {
    pub(super) raw: RawStream,
}

impl JsonStream {
    pub(super) fn new(pending: Result<PendingCall, Error>) -> Self {
        Self { raw: RawStream::new(pending) }
    }

    /// Adds the client stream of a function that takes one. Its items travel as JSON.
    ///
    /// ```
    /// # use serde_json::json;
    /// # use easyremote::{Client, Gateway, Node, functions, remote};
    /// # use futures::{Stream, StreamExt, stream};
    /// #[remote(stream)]
    /// fn doubled(numbers: impl Stream<Item = u64> + Send) -> impl Stream<Item = u64> {
    ///     numbers.map(|n| 2 * n)
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), easyremote::Error> {
    /// # let gateway = Gateway::serve("127.0.0.1:0").await?;
    /// # let _node = Node::serve(gateway.local_addr(), functions![doubled]).await?;
    /// # let client = Client::connect(gateway.local_addr()).await?;
    /// let items = client.stream_json("doubled", json!([])).items(stream::iter([json!(1), json!(2)]));
    /// let items: Vec<_> = items.map(Result::unwrap).collect().await;
    /// assert_eq!(items, [2, 4]);
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "upload")]
    pub fn items<S>(mut self, items: S) -> Self
    where
        S: Stream<Item = Value> + Send + 'static,
    {
        self.raw.change(|pending| pending.add_json_items(items));
        self
    }

    fn operator(&mut self, operator: Operator) {
        self.raw.operator(operator);
    }

    /// Makes the stream survive a lost connection; see
    /// [`StreamCall::resumable`](crate::StreamCall::resumable). A `#[resume]` parameter has no effect
    /// on a call by name.
    ///
    /// ```
    /// # use serde_json::json;
    /// # use easyremote::{Client, Gateway, Node, functions, remote};
    /// # use futures::{Stream, StreamExt, stream};
    /// # #[remote(stream)]
    /// # fn count(from: u64) -> impl Stream<Item = u64> { stream::iter(from..) }
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), easyremote::Error> {
    /// # let gateway = Gateway::serve("127.0.0.1:0").await?;
    /// # let _node = Node::serve(gateway.local_addr(), functions![count]).await?;
    /// # let client = Client::connect(gateway.local_addr()).await?;
    /// let mut items = client.stream_json("count", json!([7])).resumable();
    /// assert_eq!(items.next().await.unwrap().unwrap(), json!(7));
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "reconnect")]
    pub fn resumable(mut self) -> Self {
        self.raw.change(|pending| pending.resumable = true);
        self
    }

    /// Passes arrays of items instead of items; see
    /// [`StreamCall::batches`](crate::StreamCall::batches).
    ///
    /// ```
    /// # use serde_json::json;
    /// # use std::time::Duration;
    /// # use easyremote::{Client, Gateway, Node, functions, remote};
    /// # use futures::{Stream, StreamExt, stream};
    /// # #[remote(stream)]
    /// # fn count(from: u64) -> impl Stream<Item = u64> { stream::iter(from..) }
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), easyremote::Error> {
    /// # let gateway = Gateway::serve("127.0.0.1:0").await?;
    /// # let _node = Node::serve(gateway.local_addr(), functions![count]).await?;
    /// # let client = Client::connect(gateway.local_addr()).await?;
    /// let items = client.stream_json("count", json!([7])).take(3);
    /// let mut batches = items.batches(2, Duration::from_secs(5));
    /// assert_eq!(batches.next().await.unwrap().unwrap(), json!([7, 8]));
    /// assert_eq!(batches.next().await.unwrap().unwrap(), json!([9]));
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "chunks")]
    pub fn batches(mut self, items: usize, wait: Duration) -> Self {
        self.operator(Operator::Batches { items: items as u64, wait });
        self
    }

    /// Passes what an operator makes of each item, by its name; see
    /// [`StreamCall::through`](crate::StreamCall::through).
    ///
    /// `arguments` are those behind the item: an array, by position, or an object, by parameter name.
    ///
    /// ```
    /// # use serde_json::json;
    /// # use easyremote::{Client, Gateway, Node, functions, remote};
    /// # use futures::{Stream, StreamExt, stream};
    /// # #[remote(stream)]
    /// # fn count(from: u64) -> impl Stream<Item = u64> { stream::iter(from..) }
    /// #[remote(operator)]
    /// fn multiple(n: &u64, of: u64) -> bool {
    ///     n.is_multiple_of(of)
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), easyremote::Error> {
    /// # let gateway = Gateway::serve("127.0.0.1:0").await?;
    /// # let _node = Node::serve(gateway.local_addr(), functions![count, multiple]).await?;
    /// # let client = Client::connect(gateway.local_addr()).await?;
    /// let items = client.stream_json("count", json!([7]));
    /// let mut found = items.through("multiple", json!({"of": 5})).take(2);
    /// assert_eq!(found.next().await.unwrap().unwrap(), json!(10));
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "map")]
    #[doc(alias = "filter")]
    pub fn through(mut self, operator: impl Into<String>, arguments: Value) -> Self {
        self.raw.through(named(operator.into(), &arguments));
        self
    }

    /// Returns a live handle of the stream's progress; see
    /// [`StreamCall::progress`](crate::StreamCall::progress).
    ///
    /// ```
    /// # use serde_json::json;
    /// # use easyremote::{Client, Gateway, Node, functions, remote};
    /// # use futures::{Stream, StreamExt, stream};
    /// # #[remote(stream)]
    /// # fn count(from: u64) -> impl Stream<Item = u64> { stream::iter(from..) }
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), easyremote::Error> {
    /// # let gateway = Gateway::serve("127.0.0.1:0").await?;
    /// # let _node = Node::serve(gateway.local_addr(), functions![count]).await?;
    /// # let client = Client::connect(gateway.local_addr()).await?;
    /// let mut items = client.stream_json("count", json!([7])).take(2);
    /// let progress = items.progress();
    /// items.next().await.unwrap().unwrap();
    /// assert_eq!(progress.items(), 1);
    /// # Ok(())
    /// # }
    /// ```
    pub fn progress(&mut self) -> StreamProgress {
        self.raw.progress()
    }

    fn set(&mut self, change: impl FnOnce(&mut Options)) {
        self.raw.change(|pending| change(&mut pending.options));
    }
}

options!("let items = client.stream_json(\"count\", json!([1]))", impl JsonStream);
operators!("let items = client.stream_json(\"count\", json!([1]))", impl JsonStream);

impl Stream for JsonStream {
    type Item = Result<Value, CallError<JsonError>>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let next = ready!(self.raw.poll_next(context));
        Poll::Ready(next.map(|next| match next? {
            StreamFrame::Item(frame) => Ok(self.raw.json(&frame)?),
            StreamFrame::ItemFault(frame) | StreamFrame::Fault(frame) => {
                Err(CallError::Function(JsonError(self.raw.json(&frame)?)))
            }
            StreamFrame::ItemError(error) => Err(error.into()),
        }))
    }
}
