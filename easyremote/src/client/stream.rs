//! Calls with a stream of items: the typed streams. [`raw`] has the untyped state machine.

pub(super) mod raw;

use std::future::poll_fn;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures::Stream;

use crate::client::handle::Client;
use crate::client::options::{Options, options};
use crate::client::pending_call::PendingCall;
use crate::client::stream::raw::{RawStream, StreamFrame};
use crate::error::Error;
#[allow(unused_imports)] // named by the docs
use crate::error::ErrorKind;
use crate::function::outcome::{Outcome, Stages};
use crate::function::remote::RemoteStream;

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
/// [`Failed`](ErrorKind::Failed) instead of `E` and `S`.
///
/// Each item arrives as soon as the node has produced it. Back-pressure is end to end: a consumer
/// that reads slowly makes the producer wait. A stream that is not polled for 60 s while items are
/// waiting ends with [`SlowConsumer`](ErrorKind::SlowConsumer);
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
/// Set options before the first poll; later ones are ignored, except [`take`](Self::take).
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
pub struct StreamCall<F: RemoteStream> {
    raw: RawStream,
    function: PhantomData<fn() -> F>,
}

/// Creates a stream call of `F`. Generated stubs use it.
pub fn stream_call<F: RemoteStream>(client: &Client, arguments: F::Arguments) -> StreamCall<F> {
    let raw = RawStream::new(PendingCall::typed::<F>(client, &arguments));
    StreamCall { raw, function: PhantomData }
}

/// Creates a stream call of `F` that sends a client stream. Generated stubs use it.
pub fn stream_call_with<F, S>(client: &Client, arguments: F::Arguments, stream: S) -> StreamCall<F>
where
    F: RemoteStream,
    S: Stream<Item = F::Upload> + Send + 'static,
{
    let pending = PendingCall::typed::<F>(client, &arguments);
    let raw = RawStream::new(pending.map(|pending| pending.with_upload(stream)));
    StreamCall { raw, function: PhantomData }
}

impl<F: RemoteStream> StreamCall<F> {
    fn set(&mut self, change: impl FnOnce(&mut Options)) {
        self.raw.change(|pending| change(&mut pending.options));
    }

    /// Ends the stream after `items` further items, errors of items included.
    ///
    /// The limit is sent to the node, which stops the function after the last item.
    /// [`StreamExt::take`](futures::StreamExt::take) does not tell the node, which then produces
    /// items ahead until the stream is dropped.
    ///
    /// If it is set several times, the smallest limit counts. After the first poll the limit holds
    /// at the client only.
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
    /// let numbers = count::call(&client, 7).take(3); // the function is endless
    /// assert_eq!(numbers.count().await, 3);
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "limit")]
    pub fn take(mut self, items: usize) -> Self {
        self.raw.take(items as u64);
        self
    }

    pub(super) fn new(pending: Result<PendingCall, Error>) -> Self {
        Self { raw: RawStream::new(pending), function: PhantomData }
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
    pub async fn open(mut self) -> Result<OpenStream<F>, <F::Setup as Outcome>::Error> {
        match poll_fn(|context| self.raw.poll_open(context)).await? {
            None => Ok(OpenStream { raw: self.raw, function: PhantomData }),
            Some(fault) => {
                let of = F::signature().setup_failure;
                Err(F::Setup::function_error(self.raw.decode(of, &fault)?))
            }
        }
    }
}

options!("let items = count::call(&client, 1)", impl<F: RemoteStream> StreamCall<F>);

type ItemResult<F, E> = Result<<<F as RemoteStream>::Item as Outcome>::Value, E>;

impl<F: RemoteStream> Stream for StreamCall<F> {
    /// `Result<T, Error>`, or `Result<T, CallError<E>>`: see the table of [`StreamCall`].
    type Item = ItemResult<F, <F::Setup as Stages<F::Item>>::ItemError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let next = ready!(self.raw.poll_next(context));
        Poll::Ready(next.map(|next| match next? {
            StreamFrame::Item(frame) => Ok(self.raw.decode(F::signature().value, &frame)?),
            StreamFrame::ItemFault(frame) => {
                Err(F::Setup::item_error(self.raw.decode(F::signature().failure, &frame)?))
            }
            StreamFrame::ItemError(error) => Err(error.into()),
            StreamFrame::Fault(frame) => {
                let of = F::signature().setup_failure;
                Err(F::Setup::setup_error(self.raw.decode(of, &frame)?))
            }
        }))
    }
}

impl<F: RemoteStream> std::fmt::Debug for StreamCall<F> {
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
pub struct OpenStream<F: RemoteStream> {
    raw: RawStream,
    function: PhantomData<fn() -> F>,
}

impl<F: RemoteStream> Stream for OpenStream<F> {
    /// `Result<T, Error>`, or `Result<T, CallError<E>>` if the items of the function are
    /// `Result<T, E>`.
    type Item = ItemResult<F, <F::Item as Outcome>::Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let next = ready!(self.raw.poll_next(context));
        Poll::Ready(next.map(|next| match next? {
            StreamFrame::Item(frame) => Ok(self.raw.decode(F::signature().value, &frame)?),
            StreamFrame::ItemFault(frame) => {
                Err(F::Item::function_error(self.raw.decode(F::signature().failure, &frame)?))
            }
            StreamFrame::ItemError(error) => Err(error.into()),
            // `RawStream` returns a `Fault` only before the stream is open.
            StreamFrame::Fault(_) => {
                Err(self.raw.protocol("`Fault` frame in an open stream").into())
            }
        }))
    }
}

impl<F: RemoteStream> std::fmt::Debug for OpenStream<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "OpenStream({})", F::DESCRIPTOR.name)
    }
}
