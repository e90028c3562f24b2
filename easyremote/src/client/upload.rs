//! Client streams: polled and encoded by the caller's task, written by an I/O task.

use std::convert::Infallible;
use std::future::pending;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures::Stream;
use serde::Serialize;

use crate::call::demand::Demand;
use crate::call::executed::Evidence;
use crate::error::{Error, ErrorKind};
use crate::function::upload::Uploaded;
use crate::transport::byte_channel::{ByteReceiver, ByteSender, Received, byte_channel};
use crate::transport::quic::reset;
use crate::transport::quic::stream::SendHalf;
use crate::wire::codec::Codec;
use crate::wire::frame::{self, FRAME_HEADER, FrameKind};
use crate::wire::limits::MessageLimits;
use crate::wire::value::ValueType;

/// Bytes that may wait between the caller's task and the I/O task.
const HANDOVER: usize = 32 << 10;

/// Items that are polled before the task yields: as many as tokio's cooperative budget allows.
const ITEMS_PER_POLL: usize = 128;

/// Polls a client stream, and encodes its items as they arrive.
pub(super) struct UploadSender {
    source: Box<dyn ErasedStream>,
    /// `None` once nothing more will be sent.
    sender: Option<ByteSender<()>>,
    frames: Vec<u8>,
    items: u64,
    /// Whether the stream has ended. Its `End` frame is in `frames`, or has been handed over.
    ended: bool,
    max_message: usize,
}

impl std::fmt::Debug for UploadSender {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "UploadSender({} items so far)", self.items)
    }
}

/// A client stream with its type erased.
trait ErasedStream: Send {
    /// Polls for the next item and appends its encoding to `out`. Returns `None` at the end of the
    /// stream.
    fn poll_item(
        &mut self,
        context: &mut Context<'_>,
        out: &mut Vec<u8>,
    ) -> Poll<Option<Result<(), String>>>;

    /// Makes it encode items by name.
    fn send_by_name(&mut self);
}

/// A client stream, and the type of its items.
struct TypedStream<S> {
    stream: Pin<Box<S>>,
    of: &'static ValueType,
    max_decoded: usize,
    /// Whether items are sent by name.
    by_name: bool,
}

impl<S> ErasedStream for TypedStream<S>
where
    S: Stream<Item: Uploaded> + Send,
{
    fn poll_item(
        &mut self,
        context: &mut Context<'_>,
        out: &mut Vec<u8>,
    ) -> Poll<Option<Result<(), String>>> {
        let item = ready!(self.stream.as_mut().poll_next(context));
        Poll::Ready(item.map(|item| {
            if !self.by_name {
                return item.encode(self.of, out, self.max_decoded);
            }
            let mut typed = Vec::new();
            item.encode(self.of, &mut typed, self.max_decoded)?;
            self.of.rewrite_by_name(&typed, out, self.max_decoded).map(drop)
        }))
    }

    fn send_by_name(&mut self) {
        self.by_name = true;
    }
}

/// A client stream whose items travel as JSON.
struct JsonItems<S>(Pin<Box<S>>);

impl<S> ErasedStream for JsonItems<S>
where
    S: Stream<Item: Serialize + 'static> + Send,
{
    fn poll_item(
        &mut self,
        context: &mut Context<'_>,
        out: &mut Vec<u8>,
    ) -> Poll<Option<Result<(), String>>> {
        let item = ready!(self.0.as_mut().poll_next(context));
        Poll::Ready(item.map(|item| Codec::Json.encode(&item, out)))
    }

    fn send_by_name(&mut self) {}
}

impl UploadSender {
    /// Creates the sender of a client stream, whose items have to keep to `limits`, and the
    /// receiver of its frames.
    pub(super) fn new<S>(stream: S, limits: MessageLimits) -> (Self, ByteReceiver<()>)
    where
        S: Stream<Item: Uploaded> + Send + 'static,
    {
        let source = TypedStream {
            stream: Box::pin(stream),
            of: <S::Item as Uploaded>::schema(),
            max_decoded: limits.max_decoded,
            by_name: false,
        };
        Self::of(Box::new(source), limits.max_message)
    }

    /// Creates the sender of a client stream whose items travel as JSON, in messages of at most
    /// `max_message` bytes, and the receiver of its frames.
    pub(super) fn json<S>(stream: S, max_message: usize) -> (Self, ByteReceiver<()>)
    where
        S: Stream<Item: Serialize + 'static> + Send + 'static,
    {
        Self::of(Box::new(JsonItems(Box::pin(stream))), max_message)
    }

    fn of(source: Box<dyn ErasedStream>, max_message: usize) -> (Self, ByteReceiver<()>) {
        let (sender, receiver) = byte_channel(HANDOVER);
        let upload = Self {
            source,
            sender: Some(sender),
            frames: Vec::new(),
            items: 0,
            ended: false,
            max_message,
        };
        (upload, receiver)
    }

    /// Makes it encode items by name; to be called before the first poll.
    pub(super) fn send_by_name(&mut self) {
        self.source.send_by_name();
    }

    /// Hands over what the stream yields. Ready once all of it has been handed over, or the
    /// function does not want more.
    ///
    /// # Errors
    /// If an item cannot be sent. The call has failed then.
    pub(super) fn poll(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Error>> {
        for _ in 0..ITEMS_PER_POLL {
            if self.sender.is_some() && self.frames.is_empty() {
                ready!(self.poll_frame(context))?;
            }
            let Some(sender) = &mut self.sender else { return Poll::Ready(Ok(())) };
            // One by one and not in batches: the stream may take long to produce its next item
            // without ever being pending.
            if ready!(sender.poll_send(context, &mut self.frames)).is_err() {
                self.sender = None;
            } else if self.ended {
                sender.end(());
                self.sender = None;
            }
        }
        // A stream that is always ready has to yield.
        context.waker().wake_by_ref();
        Poll::Pending
    }

    /// Encodes the next item, or the end of the stream, into `frames`.
    fn poll_frame(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Error>> {
        // Taken out while user code runs: if the stream panics, no partial frame stays behind.
        let mut frames = std::mem::take(&mut self.frames);
        let start = frame::begin(&mut frames, FrameKind::Item);
        let polled = self.source.poll_item(context, &mut frames);
        self.frames = frames;
        if let Poll::Ready(Some(encoded)) = polled {
            encoded.map_err(|text| unsendable(self.items, &text))?;
            frame::finish(&mut self.frames, start, self.max_message)
                .map_err(|length| too_large(self.items, length, self.max_message))?;
            self.items += 1;
            return Poll::Ready(Ok(()));
        }
        self.frames.truncate(start - FRAME_HEADER);
        if polled.is_pending() {
            return Poll::Pending;
        }
        frame::put_end(&mut self.frames, self.items);
        self.ended = true;
        Poll::Ready(Ok(()))
    }
}

/// Writes what follows the arguments of a call, in its I/O task: the client stream, and what the
/// reader has taken, if the call has either.
pub(super) struct Sending {
    send: SendHalf,
    upload: Option<ByteReceiver<()>>,
    /// `None` also once the node does not want to know.
    demand: Option<Arc<Demand>>,
    /// The number of items in the last `Taken` frame.
    told: u64,
}

impl Sending {
    /// Creates the sender of what follows the arguments, on a stream that has carried those.
    pub(super) fn new(
        send: SendHalf,
        upload: Option<ByteReceiver<()>>,
        demand: Option<Arc<Demand>>,
    ) -> Self {
        Self { send, upload, demand, told: 0 }
    }

    /// Returns the half of a stream on which only the arguments have been sent so far.
    pub(super) fn into_half(self) -> SendHalf {
        self.send
    }

    /// Writes until the client stream ends, or the function does not want more. Never resolves: the
    /// outcome of the call is in its answer.
    pub(super) async fn rest(&mut self) -> Infallible {
        while self.upload.is_some() || self.demand.is_some() {
            let (demand, told) = (&self.demand, self.told);
            let taken = async {
                match demand {
                    Some(demand) => demand.above(told).await,
                    None => pending().await,
                }
            };
            let upload = &mut self.upload;
            let received = async {
                match upload {
                    Some(upload) => upload.receive().await,
                    None => pending().await,
                }
            };
            tokio::select! {
                // Biased: what was taken is the shorter message, and the node may wait for it.
                biased;
                taken = taken => self.tell(taken).await,
                received = received => self.pass(received).await,
            }
        }
        pending().await
    }

    /// Writes how many items have been taken. While it is being written the number may rise: what
    /// follows is the newest.
    async fn tell(&mut self, taken: u64) {
        self.told = taken;
        let mut frame = Vec::with_capacity(FRAME_HEADER + 8);
        frame::put_count(&mut frame, FrameKind::Taken, taken);
        if self.send.write(&frame).await.is_err() {
            self.demand = None;
        }
    }

    /// Writes a part of the client stream, or its end.
    async fn pass(&mut self, received: Received<()>) {
        match received {
            Received::Batch(mut batch) => {
                if self.send.write_chunks(&mut batch).await.is_err() {
                    // Dropping the receiver makes the sender stop polling the caller's stream.
                    self.upload = None;
                }
            }
            Received::End(Some(())) => {
                self.upload = None;
                if self.demand.is_none() {
                    self.send.finish();
                }
            }
            // The call has been dropped, and this task is about to be aborted.
            Received::End(None) => self.upload = None,
        }
    }

    /// Aborts the direction for a reason of this kind.
    pub(super) fn reset(&mut self, kind: ErrorKind) {
        self.send.reset(reset::code(kind));
    }

    /// Ends the direction after the reader of a stream has gone: at the end of its answer, or
    /// before, which the half that is not read on tells the gateway. A reset would look like a
    /// reader that leaves, if it overtook the end of the answer at the gateway.
    pub(super) fn finish(mut self) {
        if self.upload.is_none() {
            self.send.finish();
        }
    }
}

fn unsendable(item: u64, text: &str) -> Error {
    let text = format!("item {item} of the caller's stream cannot be encoded: {text}");
    Error::new(ErrorKind::InvalidInput, text).with_evidence(Evidence::Sent)
}

fn too_large(item: u64, length: usize, max_message: usize) -> Error {
    let text = format!(
        "item {item} of the caller's stream is {length} bytes long, and the limit for one message \
         is {max_message}"
    );
    Error::new(ErrorKind::TooLarge, text).with_evidence(Evidence::Sent)
}
