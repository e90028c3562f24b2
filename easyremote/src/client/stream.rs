//! Calls with a stream of items: the typed streams, and the untyped state machine behind them.
//!
//! ```text
//!   Ready --first poll--> Running --`Open` frame--> opened --`End` frame, or an error--> Done
//!                            |                                                             ^
//!                            +----------- error, or `Fault` frame of the set-up -----------+
//! ```
//!
//! The [`CallTask`], an I/O task, passes on bytes as they arrive, and the consumer's poll cuts
//! them into frames and decodes items. Between the two wait at most [`HANDOVER`] bytes, which is
//! where back-pressure crosses the threads.

use std::future::poll_fn;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures::Stream;

use crate::call::executed::Evidence;
use crate::client::call::undecoded;
use crate::client::call_task::CallTask;
use crate::client::errors::{thread_ended, with_signature};
use crate::client::handle::Client;
use crate::client::options::{Options, options};
use crate::client::pending_call::PendingCall;
use crate::client::upload::UploadSender;
use crate::error::{Error, ErrorKind};
use crate::function::outcome::{Outcome, Stages, Value};
use crate::function::remote::RemoteStream;
use crate::gauge::MemoryCharge;
use crate::transport::byte_channel::{ByteReceiver, Received, byte_channel};
use crate::transport::call_stats::CallGuard;
use crate::transport::reassembly::no_room;
use crate::wire::codec::Codec;
use crate::wire::error::read_error;
use crate::wire::frame::{Frame, FrameBuffer, FrameKind, read_end};
use crate::wire::limits::MessageLimits;
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

/// A stream without types.
#[derive(Debug)]
pub(super) struct RawStream {
    state: StreamState,
    /// Cuts the bytes that have arrived into frames.
    frames: FrameBuffer,
    /// What `frames` takes of the client's memory for unfinished items.
    room: Option<MemoryCharge>,
    items: u64,
    /// The stream ends after this many items.
    limit: u64,
    opened: bool,
    /// Limit of memory for decoding an item, in bytes.
    max_decoded: usize,
    signature: &'static str,
}

#[derive(Debug)]
enum StreamState {
    /// Boxed: it is large, and gone for most of the stream's life.
    Ready(Box<PendingCall>),
    Failed(Error),
    /// Keeps the client, and with it the I/O task that has the sender of `receiver`.
    Running {
        receiver: ByteReceiver<Error>,
        upload: Option<UploadSender>,
        _client: Client,
    },
    Done,
}

/// What a stream yields.
pub(super) enum StreamFrame {
    Item(Frame),
    ItemFault(Frame),
    /// An item whose error travels as text; the stream goes on.
    ItemError(Error),
    /// The set-up failed; nothing follows.
    Fault(Frame),
}

/// Bytes that may wait between the I/O task and the consumer.
const HANDOVER: usize = 96 << 10;

impl RawStream {
    pub(super) fn new(pending: Result<PendingCall, Error>) -> Self {
        let (limits, signature) = match &pending {
            Ok(pending) => (pending.client.link.limits, pending.signature),
            Err(_) => (MessageLimits { max_message: 0, max_decoded: 0 }, ""),
        };
        let room = pending.as_ref().ok().map(|pending| pending.client.link.room.of_stream());
        let state = match pending {
            Ok(pending) => StreamState::Ready(Box::new(pending)),
            Err(error) => StreamState::Failed(error),
        };
        let frames = FrameBuffer::new(limits.max_message);
        let max_decoded = limits.max_decoded;
        Self {
            state,
            frames,
            room,
            items: 0,
            limit: u64::MAX,
            opened: false,
            max_decoded,
            signature,
        }
    }

    pub(super) fn change(&mut self, change: impl FnOnce(&mut PendingCall)) {
        if let StreamState::Ready(pending) = &mut self.state {
            change(pending);
        }
    }

    /// Ends the stream after `items` further items.
    pub(super) fn take(&mut self, items: u64) {
        self.limit = self.limit.min(self.items.saturating_add(items));
        let limit = self.limit;
        self.change(|pending| pending.header.limit = Some(limit));
    }

    /// Resolves with `None` when the stream is set up, or with the `Fault` frame of its set-up.
    fn poll_open(&mut self, context: &mut Context<'_>) -> Poll<Result<Option<Frame>, Error>> {
        if self.opened {
            return Poll::Ready(Ok(None));
        }
        let Some(frame) = ready!(self.poll_frame(context)) else {
            return Poll::Ready(Err(thread_ended()));
        };
        Poll::Ready(frame.and_then(|frame| match frame.kind {
            FrameKind::Open => {
                self.opened = true;
                Ok(None)
            }
            FrameKind::Fault => {
                self.state = StreamState::Done;
                Ok(Some(frame))
            }
            other => Err(self.protocol(&format!("{other:?} frame before the stream is open"))),
        }))
    }

    /// Polls for the next item. Returns `None` after the end, and after an error that ended the
    /// stream.
    pub(super) fn poll_next(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<StreamFrame, Error>>> {
        if self.items >= self.limit {
            // Drops the receiver: the I/O task then resets the stream.
            self.state = StreamState::Done;
            return Poll::Ready(None);
        }
        if !self.opened && !matches!(self.state, StreamState::Done) {
            match ready!(self.poll_open(context)) {
                Ok(None) => {}
                Ok(Some(fault)) => return Poll::Ready(Some(Ok(StreamFrame::Fault(fault)))),
                Err(error) => return Poll::Ready(Some(Err(error))),
            }
        }
        let Some(frame) = ready!(self.poll_frame(context)) else { return Poll::Ready(None) };
        let frame = match frame {
            Ok(frame) => frame,
            Err(error) => return Poll::Ready(Some(Err(error))),
        };
        Poll::Ready(match frame.kind {
            FrameKind::Item => {
                self.items += 1;
                Some(Ok(StreamFrame::Item(frame)))
            }
            FrameKind::ItemFault => {
                self.items += 1;
                Some(Ok(StreamFrame::ItemFault(frame)))
            }
            FrameKind::ItemError => Some(match read_error(&frame.body) {
                Ok(error) => {
                    self.items += 1;
                    // Whatever the frame says, an item proves that the function has run.
                    Ok(StreamFrame::ItemError(error.with_evidence(Evidence::Answered)))
                }
                Err(cause) => Err(self.protocol(&cause.text)),
            }),
            FrameKind::End => match read_end(&frame.body) {
                Ok(items) if items == self.items => {
                    self.state = StreamState::Done;
                    None
                }
                _ => Some(Err(self.protocol("the item count of the `End` frame is wrong"))),
            },
            other => Some(Err(self.protocol(&format!("{other:?} frame inside a stream")))),
        })
    }

    /// Polls for the next frame, except `Error` frames, which become errors. Returns `None` if the
    /// stream has ended.
    fn poll_frame(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame, Error>>> {
        loop {
            self.start();
            match &mut self.state {
                StreamState::Running { receiver, upload, .. } => {
                    // Before anything else: a consumer that polls is not a slow one, also if the
                    // item that it gets was here before.
                    receiver.ask();
                    let sent = upload.as_mut().map(|upload| upload.poll(context));
                    if let Some(Poll::Ready(Err(error))) = sent {
                        return Poll::Ready(Some(Err(self.fail(error))));
                    }
                    let next = self.frames.next();
                    // Only unfinished frames count: a whole one goes to the consumer right now.
                    let unfinished = match next {
                        Ok(None) => self.frames.unfinished(),
                        _ => 0,
                    };
                    if self.room.as_mut().is_some_and(|room| !room.set_to(unfinished)) {
                        let error = no_room().with_evidence(Evidence::Sent);
                        return Poll::Ready(Some(Err(self.fail(error))));
                    }
                    match next {
                        Ok(Some(frame)) if frame.kind == FrameKind::Error => {
                            return Poll::Ready(Some(Err(self.refused(&frame))));
                        }
                        Ok(Some(frame)) => return Poll::Ready(Some(Ok(frame))),
                        Ok(None) => {}
                        Err(cause) => {
                            let error = cause.into_error().with_evidence(Evidence::Sent);
                            return Poll::Ready(Some(Err(self.fail(error))));
                        }
                    }
                    match ready!(receiver.poll_receive(context)) {
                        Received::Batch(batch) => {
                            batch.iter().for_each(|chunk| self.frames.push(chunk));
                        }
                        Received::End(Some(error)) => {
                            return Poll::Ready(Some(Err(self.fail(error))));
                        }
                        Received::End(None) => {
                            return Poll::Ready(Some(Err(self.fail(thread_ended()))));
                        }
                    }
                }
                _ => {
                    return Poll::Ready(
                        match std::mem::replace(&mut self.state, StreamState::Done) {
                            StreamState::Failed(error) => Some(Err(error)),
                            _ => None,
                        },
                    );
                }
            }
        }
    }

    /// Sends the call, unless that has happened.
    fn start(&mut self) {
        if let StreamState::Ready(_) = self.state
            && let StreamState::Ready(mut pending) =
                std::mem::replace(&mut self.state, StreamState::Done)
        {
            let (sender, receiver) = byte_channel(HANDOVER);
            let client = pending.client.clone();
            if let Err(error) = pending.freeze() {
                self.state = StreamState::Failed(error);
                return;
            }
            let kind = pending.header.kind;
            let (task, upload) = CallTask::new(*pending);
            // The handle is not kept: the task ends by itself once `receiver` is dropped.
            CallGuard::new(&client.link, kind).spawn(task.stream(sender)).detach();
            self.state = StreamState::Running { receiver, upload, _client: client };
        }
    }

    /// Decodes an item of this type. An item that cannot be decoded ends the stream.
    fn decode<T: Value>(&mut self, of: &ValueType, frame: &Frame) -> Result<T, Error> {
        let decoded = of.decode(&frame.body, self.max_decoded);
        self.delivered(decoded)
    }

    /// Decodes an item of JSON. An item that cannot be decoded ends the stream.
    pub(super) fn json(&mut self, frame: &Frame) -> Result<serde_json::Value, Error> {
        let decoded = Codec::Json.decode(&frame.body, self.max_decoded);
        self.delivered(decoded)
    }

    /// Returns a decoded item, or ends the stream with the error of one that cannot be decoded.
    fn delivered<T>(&mut self, decoded: Result<T, String>) -> Result<T, Error> {
        decoded.map_err(|text| {
            // It was counted when it arrived, but has not been delivered.
            self.items = self.items.saturating_sub(1);
            self.fail(undecoded(text))
        })
    }

    /// Ends the stream with the error in an `Error` frame.
    fn refused(&mut self, frame: &Frame) -> Error {
        match read_error(&frame.body) {
            Ok(error) => {
                let error = error.weighed();
                let executed = error.executed();
                let error = self.fail(with_signature(error, self.signature));
                // `fail` sets the evidence of an open stream, which has run. Before that the peer
                // decides.
                if self.opened { error } else { error.with_executed(executed) }
            }
            Err(cause) => self.protocol(&cause.text),
        }
    }

    /// Ends the stream with a violation of the protocol.
    fn protocol(&mut self, text: &str) -> Error {
        self.fail(Error::new(ErrorKind::Protocol, text.to_owned()).with_evidence(Evidence::Sent))
    }

    /// Ends the stream with `error`.
    fn fail(&mut self, error: Error) -> Error {
        self.state = StreamState::Done;
        let error = error.with_delivered(self.items);
        // A stream that was open has run, whatever the error says.
        if self.opened { error.with_evidence(Evidence::Answered) } else { error }
    }
}
