//! Calls with a stream of items: the typed streams. [`raw`] has the untyped state machine.

mod batch;
mod local;
pub(super) mod operators;
mod progress;
pub(super) mod raw;
pub(crate) mod through;

use std::future::poll_fn;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures::Stream;

use crate::client::handle::Client;
use crate::client::options::{Options, options};
use crate::client::pending_call::PendingCall;
use crate::client::stream::batch::{ListOf, ReadItem, SingleItem};
use crate::client::stream::operators::operators;
use crate::client::stream::raw::{RawStream, StreamFrame};
use crate::client::stream::through::AppliesTo;
use crate::error::Error;
use crate::function::outcome::{Outcome, Stages, Value};
use crate::function::remote::RemoteStream;
use crate::wire::frame::Frame;
use crate::wire::operators::Operator;
use crate::wire::value::ValueType;

/// A call of a remote function that returns a stream: a [`Stream`] of its items, which sends the
/// call when it is first polled. Returned by a stub's `call`.
///
/// | the function returns                    | items of the stream                             |
/// |-----------------------------------------|-------------------------------------------------|
/// | items of `T`                            | `Result<T, `[`Error`]`>`                        |
/// | items of `Result<T, E>`                 | `Result<T, `[`CallError`]`<E>>`                 |
/// | `Result<_, S>`, items of `T`            | `Result<T, `[`CallError`]`<S>>`                 |
/// | `Result<_, S>`, items of `Result<T, E>` | `Result<T, CallError<`[`StreamError`]`<S, E>>>` |
///
/// With `err = "display"` the function's errors are [`Error`]s of kind
/// [`Failed`](crate::ErrorKind::Failed) instead of `E` and `S`.
///
/// Each item arrives as soon as the node has produced it. Back-pressure is end to end: a consumer
/// that reads slowly makes the producer wait. A stream that is not polled for 60 s while items are
/// waiting ends with [`SlowConsumer`](crate::ErrorKind::SlowConsumer);
/// [`stall_timeout`](crate::client::ClientLimits::stall_timeout) changes the time.
///
/// | a poll returns | meaning | afterwards |
/// |---|---|---|
/// | `Some(Ok(item))` | an item | it goes on |
/// | `Some(Err(_))` with the function's error of an item | an item that failed | it goes on |
/// | `Some(Err(_))` with any other error | the set-up or the stream failed | it has ended |
/// | `None` | the function has ended the stream, or `take` has | it has ended |
///
/// The function's error of an item is `CallError::Function(error)`, with a fallible set-up
/// `CallError::Function(StreamError::Item(error))`. A set-up that failed is
/// `CallError::Function(error)` if items cannot fail, otherwise
/// `CallError::Function(StreamError::Setup(error))`. `CallError::Remote` ends the stream, and so
/// does a plain [`Error`] except an item's of kind `Failed`. To read on after any error, poll
/// again: a stream that has ended returns `None`.
///
/// Set options before the first poll; later ones are ignored.
///
/// Operators choose and combine items at the node, in the order in which they are written:
/// [`take`](Self::take), [`skip`](Self::skip), [`every`](Self::every), [`sample`](Self::sample),
/// [`latest`](Self::latest), [`dedup`](Self::dedup), [`batches`](Self::batches),
/// [`through`](Self::through) and [`buffer`](Self::buffer), up to 16 of them. A chain that is longer or wrong fails with
/// [`InvalidInput`](crate::ErrorKind::InvalidInput), and nothing is sent. An error of an item passes
/// all of them unchanged, behind what they hold. After the first poll `take`, `skip`, `every` and `dedup`
/// act at the client, behind all others; any other makes the next item `InvalidInput`. `T` is the
/// type of the items that arrive, errors aside: that of the function, lists of it, or what the last
/// operator returns.
///
/// ```
/// # use easyremote::{Client, Gateway, Node, functions, remote};
/// # use futures::{Stream, StreamExt, stream};
/// # #[remote(stream)]
/// # fn count(from: u64) -> impl Stream<Item = u64> { stream::iter(from..) }
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), easyremote::Error> {
/// # let gateway = Gateway::serve("127.0.0.1:0").await?;
/// # let _node = Node::serve(gateway.local_addr(), functions![count]).await?;
/// # let client = Client::connect(gateway.local_addr()).await?;
/// let mut numbers = count::call(&client, 7).take(2);
/// while let Some(number) = numbers.next().await {
///     println!("{}", number?);
/// }
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// [`Error::kind`] returns what happened, [`Error::executed`] whether the function may have run,
/// and [`Error::delivered`] the number of items that the stream had returned before the error,
/// items that failed included.
///
/// # Cancel safety
/// Dropping the stream cancels it at the node: an async stream stops at its next await, an iterator
/// after its current item. Before the first poll nothing has been sent. Dropping the future of
/// `next` loses no item.
///
/// [`CallError`]: crate::CallError
/// [`StreamError`]: crate::error::StreamError
#[doc(alias = "subscribe")]
#[doc(alias = "generator")]
#[doc(alias = "cancel")]
#[doc(alias = "back-pressure")]
#[must_use = "a stream does nothing until it is polled"]
pub struct StreamCall<F: RemoteStream, T = StreamValue<F>> {
    raw: RawStream,
    /// Decodes items that are not those of the function; few streams have such.
    reader: Option<Arc<dyn ReadItem<T>>>,
    function: PhantomData<fn() -> F>,
}

/// The type of the items of `F`, errors aside.
type StreamValue<F> = <<F as RemoteStream>::Item as Outcome>::Value;

/// Creates a stream call of `F`. Generated stubs use it.
pub fn stream_call<F: RemoteStream>(client: &Client, arguments: F::Arguments) -> StreamCall<F> {
    StreamCall::new(PendingCall::typed::<F>(client, &arguments))
}

/// Creates a stream call of `F` that sends a client stream. Generated stubs use it.
pub fn stream_call_with<F, S>(client: &Client, arguments: F::Arguments, stream: S) -> StreamCall<F>
where
    F: RemoteStream,
    S: Stream<Item = F::Upload> + Send + 'static,
{
    let pending = PendingCall::typed::<F>(client, &arguments);
    StreamCall::new(pending.map(|pending| pending.with_upload(stream)))
}

impl<F: RemoteStream> StreamCall<F> {
    pub(super) fn new(pending: Result<PendingCall, Error>) -> Self {
        Self { raw: RawStream::new(pending), reader: None, function: PhantomData }
    }
}

impl<F: RemoteStream, T: Value> StreamCall<F, T> {
    fn set(&mut self, change: impl FnOnce(&mut Options)) {
        self.raw.change(|pending| change(&mut pending.options));
    }

    fn operator(&mut self, operator: Operator) {
        self.raw.operator(operator);
    }

    /// Passes lists of up to `items` items instead of items: fewer and longer messages.
    ///
    /// A list is passed when it has that many items, when `wait` has gone by since its first item,
    /// or when one more item would make it longer than a message may be. An error and the end of
    /// the stream are preceded by the items before them. The node holds the list in memory.
    ///
    /// Operators behind it act on lists: `batches(100, wait).take(3)` passes three of them. The
    /// stream has to be polled to receive them, as without it;
    /// [`StreamExt::chunks`](futures::StreamExt::chunks) collects items that have arrived one by
    /// one. With 0 items the stream fails with [`InvalidInput`](crate::ErrorKind::InvalidInput). To
    /// be set before the first poll.
    ///
    /// ```
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
    /// let mut batches = count::call(&client, 7).take(5).batches(3, Duration::from_secs(5));
    /// assert_eq!(batches.next().await.unwrap()?, [7, 8, 9]);
    /// assert_eq!(batches.next().await.unwrap()?, [10, 11]);
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "chunks")]
    #[doc(alias = "chunks_timeout")]
    pub fn batches(mut self, items: usize, wait: Duration) -> StreamCall<F, Vec<T>> {
        self.operator(Operator::Batches { items: items as u64, wait });
        let single = || Arc::new(SingleItem(F::signature().value)) as Arc<dyn ReadItem<T>>;
        let reader = ListOf(self.reader.unwrap_or_else(single));
        StreamCall { raw: self.raw, reader: Some(Arc::new(reader)), function: PhantomData }
    }

    /// Passes what an operator makes of each item: a `#[remote(operator)]` function of the node.
    ///
    /// | the operator | what it does |
    /// |---|---|
    /// | `fn hot(r: Reading, limit: f64) -> Option<Celsius>` | maps, and leaves items out |
    /// | `fn in_kelvin(r: Reading) -> Kelvin` | maps |
    /// | `fn warm(r: &Reading, limit: f64) -> bool` | passes items unchanged, or leaves them out |
    ///
    /// Its first parameter is the item, and `with` takes the further ones. It runs where the function
    /// runs, before items are encoded, and is to be as quick as an `inline` function. A call goes to a
    /// node that offers the function and all its operators, each with the types that the caller knows.
    ///
    /// | what is wrong | the stream fails with |
    /// |---|---|
    /// | no node offers the operator | [`NoSuchFunction`](crate::ErrorKind::NoSuchFunction) or [`NoNode`](crate::ErrorKind::NoNode), `No`, unless [`wait_for_node`](Self::wait_for_node) is set |
    /// | it has other types there | [`SignatureMismatch`](crate::ErrorKind::SignatureMismatch), `No` |
    /// | its arguments cannot be encoded, or have, with those of other operators, more than 6 KiB | [`InvalidInput`](crate::ErrorKind::InvalidInput), and nothing is sent |
    /// | it panics | [`Panicked`](crate::ErrorKind::Panicked), `Yes`, behind the items before |
    ///
    /// To be set before the first poll.
    ///
    /// ```
    /// # use easyremote::{Client, Gateway, Node, functions, remote};
    /// # use futures::{Stream, StreamExt, stream};
    /// # #[remote(stream)]
    /// # fn count(from: u64) -> impl Stream<Item = u64> { stream::iter(from..) }
    /// #[remote(operator)]
    /// fn multiples(n: u64, of: u64) -> Option<String> {
    ///     n.is_multiple_of(of).then(|| format!("{n} is a multiple of {of}"))
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), easyremote::Error> {
    /// # let gateway = Gateway::serve("127.0.0.1:0").await?;
    /// # let _node = Node::serve(gateway.local_addr(), functions![count, multiples]).await?;
    /// # let client = Client::connect(gateway.local_addr()).await?;
    /// let mut found = count::call(&client, 7).through(multiples::with(5)).take(2);
    /// assert_eq!(found.next().await.unwrap()?, "10 is a multiple of 5");
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "map")]
    #[doc(alias = "filter")]
    #[doc(alias = "filter_map")]
    pub fn through<A: AppliesTo<T>>(mut self, operator: A) -> StreamCall<F, A::Output> {
        self.raw.through(operator.into_function());
        let reader = SingleItem(ValueType::of::<A::Output>());
        StreamCall { raw: self.raw, reader: Some(Arc::new(reader)), function: PhantomData }
    }

    /// Makes the stream survive a lost connection, a lost gateway, and a change of gateway.
    ///
    /// The node keeps the items that the reader has not taken, and pauses the function when they
    /// reach the function's `replay` limit, 1 MiB unless
    /// [set](macro@crate::remote). When the connection breaks, or the gateway drains, the client
    /// connects again, to any gateway of its list, and the stream goes on at the next item: each item
    /// arrives exactly once, in order.
    ///
    /// | lost | what follows |
    /// |---|---|
    /// | the connection to the gateway, or the gateway | the stream goes on, for up to 30 s without its reader |
    /// | the connection of the node to the gateway | the same |
    /// | the node | with a `#[resume]` parameter the function is called again elsewhere, otherwise [`Gap`](crate::ErrorKind::Gap) |
    ///
    /// A stream that cannot be resumed ends with one error of kind [`Gap`](crate::ErrorKind::Gap), whose
    /// [`delivered`](Error::delivered) is the exact number of items that have arrived. Until the node
    /// has accepted the call, [`Retry`](crate::Retry) decides as for other calls.
    ///
    /// While its reader is away, the function holds its permits at the node. What is kept counts against
    /// `NodeLimits::kept` of the node: a stream for which there is no room fails with
    /// [`Overloaded`](crate::ErrorKind::Overloaded), `No`.
    /// Attempts to resume take no token of the retry budget. The deadline and the limit for readers
    /// that do not poll, 60 s, hold as for every stream.
    ///
    /// A call that sends a stream too cannot be resumable: its first poll returns
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput).
    ///
    /// ```
    /// # use easyremote::{Client, Gateway, Node, functions, remote};
    /// # use futures::{Stream, StreamExt, stream};
    /// # #[remote(stream)]
    /// # fn count(from: u64) -> impl Stream<Item = u64> { stream::iter(from..) }
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), easyremote::Error> {
    /// # let gateway = Gateway::serve("127.0.0.1:0").await?;
    /// # let _node = Node::serve(gateway.local_addr(), functions![count]).await?;
    /// # let client = Client::connect(gateway.local_addr()).await?;
    /// let mut numbers = count::call(&client, 7).resumable();
    /// assert_eq!(numbers.next().await.unwrap()?, 7);
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "reconnect")]
    #[doc(alias = "replay")]
    pub fn resumable(mut self) -> Self {
        self.raw.change(|pending| pending.resumable = true);
        self
    }

    /// Sends the call, and waits until the function has returned its stream.
    ///
    /// Separates the error of the set-up from those of the items:
    ///
    /// | the function returns                    | `open` fails with  | items after `open` |
    /// |-----------------------------------------|--------------------|--------------------|
    /// | items of `T`                            | [`Error`]          | `Result<T, Error>` |
    /// | items of `Result<T, E>`                 | [`Error`]          | `Result<T, CallError<E>>` |
    /// | `Result<_, S>`, items of `T`            | `CallError<S>`     | `Result<T, Error>` |
    /// | `Result<_, S>`, items of `Result<T, E>` | `CallError<S>`     | `Result<T, CallError<E>>` |
    ///
    /// Without `open` the first poll of the stream waits for the set-up too. If the set-up fails,
    /// that poll returns its error, and the next one `None`.
    ///
    /// ```
    /// # use easyremote::{CallError, Client, Gateway, Node, functions, remote};
    /// # use futures::{Stream, StreamExt, stream};
    /// #[remote(stream)]
    /// async fn tail(id: u64) -> Result<impl Stream<Item = u64>, String> {
    ///     if id == 0 { Err("not found".into()) } else { Ok(stream::iter(1..=id)) }
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), easyremote::Error> {
    /// # let gateway = Gateway::serve("127.0.0.1:0").await?;
    /// # let _node = Node::serve(gateway.local_addr(), functions![tail]).await?;
    /// # let client = Client::connect(gateway.local_addr()).await?;
    /// let error = tail::call(&client, 0).open().await.unwrap_err();
    /// assert!(matches!(error, CallError::Function(text) if text == "not found"));
    ///
    /// let mut rows = tail::call(&client, 2).open().await.unwrap();
    /// assert_eq!(rows.next().await.unwrap()?, 1);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// The function's own error of the set-up, or the error of the call.
    ///
    /// # Cancel safety
    /// Dropping the future drops the stream, which cancels the call.
    #[doc(alias = "setup")]
    pub async fn open(mut self) -> Result<OpenStream<F, T>, <F::Setup as Outcome>::Error> {
        match poll_fn(|context| self.raw.poll_open(context)).await? {
            None => Ok(OpenStream { raw: self.raw, reader: self.reader, function: PhantomData }),
            Some(fault) => {
                let of = F::signature().setup_failure;
                Err(F::Setup::function_error(self.raw.decode(of, &fault)?))
            }
        }
    }
}

options!("let items = count::call(&client, 1)", impl<F: RemoteStream, T: Value> StreamCall<F, T>);
operators!("let items = count::call(&client, 1)", impl<F: RemoteStream, T: Value> StreamCall<F, T>);

/// Decodes an item of the stream of `F`.
fn decode<F: RemoteStream, T: Value>(
    raw: &mut RawStream,
    reader: Option<&dyn ReadItem<T>>,
    frame: &Frame,
) -> Result<T, Error> {
    match reader {
        None => raw.decode(F::signature().value, frame),
        Some(reader) => raw.read(reader, frame),
    }
}

impl<F: RemoteStream, T: Value> Stream for StreamCall<F, T> {
    /// `Result<T, Error>`, or `Result<T, CallError<E>>`: see the table of [`StreamCall`].
    type Item = Result<T, <F::Setup as Stages<F::Item>>::ItemError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Self { raw, reader, .. } = &mut *self;
        let next = ready!(raw.poll_next(context));
        Poll::Ready(next.map(|next| match next? {
            StreamFrame::Item(frame) => Ok(decode::<F, T>(raw, reader.as_deref(), &frame)?),
            StreamFrame::ItemFault(frame) => {
                Err(F::Setup::item_error(raw.decode(F::signature().failure, &frame)?))
            }
            StreamFrame::ItemError(error) => Err(error.into()),
            StreamFrame::Fault(frame) => {
                let of = F::signature().setup_failure;
                Err(F::Setup::setup_error(raw.decode(of, &frame)?))
            }
        }))
    }
}

impl<F: RemoteStream, T> std::fmt::Debug for StreamCall<F, T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "StreamCall({})", F::DESCRIPTOR.name)
    }
}

/// A stream that has been set up: a [`Stream`] of its items. Returned by [`StreamCall::open`].
///
/// Items are `Result<T, `[`Error`]`>`, or `Result<T, `[`CallError`](crate::CallError)`<E>>` if the
/// items of the function are `Result<T, E>`. Otherwise it behaves like a [`StreamCall`].
///
/// ```
/// # use easyremote::{Client, Gateway, Node, functions, remote};
/// # use futures::{Stream, StreamExt, stream};
/// # #[remote(stream)]
/// # fn count(from: u64) -> impl Stream<Item = u64> { stream::iter(from..) }
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), easyremote::Error> {
/// # let gateway = Gateway::serve("127.0.0.1:0").await?;
/// # let _node = Node::serve(gateway.local_addr(), functions![count]).await?;
/// # let client = Client::connect(gateway.local_addr()).await?;
/// let mut numbers = count::call(&client, 7).open().await?;
/// assert_eq!(numbers.next().await.unwrap()?, 7);
/// # Ok(())
/// # }
/// ```
///
/// # Cancel safety
/// As for [`StreamCall`].
#[must_use = "a stream does nothing until it is polled"]
pub struct OpenStream<F: RemoteStream, T = StreamValue<F>> {
    raw: RawStream,
    reader: Option<Arc<dyn ReadItem<T>>>,
    function: PhantomData<fn() -> F>,
}

impl<F: RemoteStream, T: Value> Stream for OpenStream<F, T> {
    /// `Result<T, Error>`, or `Result<T, CallError<E>>` if the items of the function are
    /// `Result<T, E>`.
    type Item = Result<T, <F::Item as Outcome>::Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Self { raw, reader, .. } = &mut *self;
        let next = ready!(raw.poll_next(context));
        Poll::Ready(next.map(|next| match next? {
            StreamFrame::Item(frame) => Ok(decode::<F, T>(raw, reader.as_deref(), &frame)?),
            StreamFrame::ItemFault(frame) => {
                Err(F::Item::function_error(raw.decode(F::signature().failure, &frame)?))
            }
            StreamFrame::ItemError(error) => Err(error.into()),
            // `RawStream` returns a `Fault` only before the stream is open.
            StreamFrame::Fault(_) => Err(raw.protocol("`Fault` frame in an open stream").into()),
        }))
    }
}

impl<F: RemoteStream, T> std::fmt::Debug for OpenStream<F, T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "OpenStream({})", F::DESCRIPTOR.name)
    }
}
