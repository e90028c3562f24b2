//! Typed streams.

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

/// A call of a remote function that gives a stream: a [`Stream`] of its items, opened when it is
/// first polled.
///
/// Items come as soon as the node has produced them. Reading slowly makes the producer wait. An
/// `Err` with the function's own error stands for one item; after any other error, and after a
/// set-up that failed, the stream is over. It ends with `None` only if the function has ended it.
///
/// # Cancel safety
/// Dropping it stops the producer on the node: a stream at its next await, an iterator after its
/// current item. Before the first poll nothing has been sent.
#[must_use = "a stream does nothing until it is polled"]
pub struct StreamCall<F: RemoteStream> {
    raw: RawStream,
    function: PhantomData<fn() -> F>,
}

/// Begins a stream of `F`; what the stubs do.
pub fn stream_call<F: RemoteStream>(client: &Client, arguments: F::Arguments) -> StreamCall<F> {
    let raw = RawStream::new(PendingCall::typed::<F>(client, &arguments));
    StreamCall { raw, function: PhantomData }
}

/// Begins a stream of `F` to which a stream is sent; what the stubs do.
pub fn stream_call_with<F, S>(client: &Client, arguments: F::Arguments, stream: S) -> StreamCall<F>
where
    F: RemoteStream,
    S: Stream<Item = F::Upload> + Send + 'static,
{
    let prepared = PendingCall::typed::<F>(client, &arguments);
    let raw = RawStream::new(prepared.map(|prepared| prepared.with_upload(stream)));
    StreamCall { raw, function: PhantomData }
}

impl<F: RemoteStream> StreamCall<F> {
    fn set(&mut self, change: impl FnOnce(&mut Options)) {
        self.raw.change(|prepared| change(&mut prepared.options));
    }

    /// Ends the stream after `items` further items, of both kinds. The node is told, so that it
    /// stops by itself after the last one, which [`StreamExt::take`](futures::StreamExt::take)
    /// cannot do: that one drops the stream, and what the node has produced ahead of it.
    ///
    /// The least counts if it is given several times. After the first poll the node is not told.
    pub fn take(mut self, items: usize) -> Self {
        self.raw.take(items as u64);
        self
    }

    pub(super) fn new(prepared: Result<PendingCall, Error>) -> Self {
        Self { raw: RawStream::new(prepared), function: PhantomData }
    }

    /// Waits until the function has set the stream up.
    ///
    /// # Errors
    /// That of the set-up, or that of the call.
    ///
    /// # Cancel safety
    /// Dropping the future drops the stream.
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

options!(impl<F: RemoteStream> StreamCall<F>);

type ItemResult<F, E> = Result<<<F as RemoteStream>::Item as Outcome>::Value, E>;

impl<F: RemoteStream> Stream for StreamCall<F> {
    type Item = ItemResult<F, <F::Setup as Stages<F::Item>>::ItemError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let next = ready!(self.raw.poll_next(context));
        Poll::Ready(next.map(|next| match next? {
            Next::Item(frame) => Ok(self.raw.decode(F::signature().value, &frame)?),
            Next::ItemFault(frame) => {
                Err(F::Setup::item_error(self.raw.decode(F::signature().failure, &frame)?))
            }
            Next::ItemError(error) => Err(error.into()),
            Next::Fault(frame) => {
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

/// A stream that has been set up, from [`StreamCall::open`].
///
/// # Cancel safety
/// As for [`StreamCall`].
#[must_use = "a stream does nothing until it is polled"]
pub struct OpenStream<F: RemoteStream> {
    raw: RawStream,
    function: PhantomData<fn() -> F>,
}

impl<F: RemoteStream> Stream for OpenStream<F> {
    type Item = ItemResult<F, <F::Item as Outcome>::Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let next = ready!(self.raw.poll_next(context));
        Poll::Ready(next.map(|next| match next? {
            Next::Item(frame) => Ok(self.raw.decode(F::signature().value, &frame)?),
            Next::ItemFault(frame) => {
                Err(F::Item::function_error(self.raw.decode(F::signature().failure, &frame)?))
            }
            Next::ItemError(error) => Err(error.into()),
            // Not after the set-up: `RawStream` sees to that.
            Next::Fault(_) => Err(self.raw.protocol("a set-up that fails twice").into()),
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
    /// Frames, put together from what has come.
    frames: FrameBuffer,
    /// What `frames` takes of the client's room.
    room: Option<MemoryCharge>,
    items: u64,
    /// After so many items it is over.
    limit: u64,
    opened: bool,
    /// Bytes of memory that decoding an item may take.
    max_decoded: usize,
    signature: &'static str,
}

#[derive(Debug)]
enum StreamState {
    /// Boxed: it is large, and gone for most of the stream's life.
    Ready(Box<PendingCall>),
    Failed(Error),
    /// The client is kept for its thread, on which the other end of the hand-over is.
    Running {
        receiver: ByteReceiver<Error>,
        upload: Option<UploadSender>,
        _client: Client,
    },
    Done,
}

/// What a stream gives.
pub(super) enum Next {
    Item(Frame),
    ItemFault(Frame),
    /// An item that is an error; the stream goes on.
    ItemError(Error),
    /// The set-up failed; the last thing to come.
    Fault(Frame),
}

/// Bytes that may wait between the I/O thread and the consumer.
const HANDOVER: usize = 96 << 10;

impl RawStream {
    pub(super) fn new(prepared: Result<PendingCall, Error>) -> Self {
        let (limits, signature) = match &prepared {
            Ok(prepared) => (prepared.client.link.limits, prepared.signature),
            Err(_) => (MessageLimits { max_message: 0, max_decoded: 0 }, ""),
        };
        let room = prepared.as_ref().ok().map(|prepared| prepared.client.link.room.of_stream());
        let state = match prepared {
            Ok(prepared) => StreamState::Ready(Box::new(prepared)),
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
        if let StreamState::Ready(prepared) = &mut self.state {
            change(prepared);
        }
    }

    /// Ends the stream after `items` further items.
    pub(super) fn take(&mut self, items: u64) {
        self.limit = self.limit.min(self.items.saturating_add(items));
        let limit = self.limit;
        self.change(|prepared| prepared.header.limit = Some(limit));
    }

    /// Resolves when the stream is set up (`None`), or with the frame that says that it is not.
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

    /// The next item; `None` after the end, and after an error that ended the stream.
    pub(super) fn poll_next(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Next, Error>>> {
        if self.items >= self.limit {
            self.state = StreamState::Done;
            return Poll::Ready(None);
        }
        if !self.opened && !matches!(self.state, StreamState::Done) {
            match ready!(self.poll_open(context)) {
                Ok(None) => {}
                Ok(Some(fault)) => return Poll::Ready(Some(Ok(Next::Fault(fault)))),
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
                Some(Ok(Next::Item(frame)))
            }
            FrameKind::ItemFault => {
                self.items += 1;
                Some(Ok(Next::ItemFault(frame)))
            }
            FrameKind::ItemError => Some(match read_error(&frame.body) {
                Ok(error) => {
                    self.items += 1;
                    // Whatever it says: it is an item of the function.
                    Ok(Next::ItemError(error.with_evidence(Evidence::Answered)))
                }
                Err(cause) => Err(self.protocol(&cause.text)),
            }),
            FrameKind::End => match read_end(&frame.body) {
                Ok(items) if items == self.items => {
                    self.state = StreamState::Done;
                    None
                }
                _ => Some(Err(self.protocol("the end does not fit the number of items"))),
            },
            other => Some(Err(self.protocol(&format!("{other:?} frame inside a stream")))),
        })
    }

    /// The next frame that is not an error; `None` if the stream is over.
    fn poll_frame(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame, Error>>> {
        loop {
            self.start();
            match &mut self.state {
                StreamState::Running { receiver, upload, .. } => {
                    receiver.ask();
                    let sent = upload.as_mut().map(|upload| upload.poll(context));
                    if let Some(Poll::Ready(Err(error))) = sent {
                        return Poll::Ready(Some(Err(self.fail(error))));
                    }
                    let next = self.frames.next();
                    // What is whole is on its way to the reader.
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

    /// Sends the call, if that has not been done.
    fn start(&mut self) {
        if let StreamState::Ready(_) = self.state
            && let StreamState::Ready(mut prepared) =
                std::mem::replace(&mut self.state, StreamState::Done)
        {
            let (sender, receiver) = byte_channel(HANDOVER);
            let client = prepared.client.clone();
            if let Err(error) = prepared.freeze() {
                self.state = StreamState::Failed(error);
                return;
            }
            let kind = prepared.header.kind;
            let (exchange, upload) = CallTask::new(*prepared);
            CallGuard::new(&client.link, kind).spawn(exchange.stream(sender));
            self.state = StreamState::Running { receiver, upload, _client: client };
        }
    }

    /// Decodes an item of this type. One that makes no sense ends the stream.
    fn decode<T: Value>(&mut self, of: &ValueType, frame: &Frame) -> Result<T, Error> {
        let decoded = of.decode(&frame.body, self.max_decoded);
        self.delivered(decoded)
    }

    /// Decodes an item of JSON. One that makes no sense ends the stream.
    pub(super) fn json(&mut self, frame: &Frame) -> Result<serde_json::Value, Error> {
        let decoded = Codec::Json.decode(&frame.body, self.max_decoded);
        self.delivered(decoded)
    }

    /// The item, if it could be decoded.
    fn delivered<T>(&mut self, decoded: Result<T, String>) -> Result<T, Error> {
        decoded.map_err(|text| {
            // It did come, but it was not delivered.
            self.items = self.items.saturating_sub(1);
            self.fail(undecoded(text))
        })
    }

    fn refused(&mut self, frame: &Frame) -> Error {
        match read_error(&frame.body) {
            Ok(error) => {
                let error = error.weighed();
                let executed = error.executed();
                let error = self.fail(with_signature(error, self.signature));
                // The peer's word is a proof where it says so, and this side's where it does.
                if self.opened { error } else { error.with_executed(executed) }
            }
            Err(cause) => self.protocol(&cause.text),
        }
    }

    fn protocol(&mut self, text: &str) -> Error {
        self.fail(Error::new(ErrorKind::Protocol, text.to_owned()).with_evidence(Evidence::Sent))
    }

    /// Ends the stream with `error`.
    fn fail(&mut self, error: Error) -> Error {
        self.state = StreamState::Done;
        let error = error.with_delivered(self.items);
        // A stream that was open has run, whatever became of it.
        if self.opened { error.with_evidence(Evidence::Answered) } else { error }
    }
}
