//! Client streams: polled and encoded by the caller's task, written by an I/O task.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures::Stream;

use crate::call::executed::Evidence;
use crate::error::{Error, ErrorKind};
use crate::function::upload::Uploaded;
use crate::transport::byte_channel::{ByteReceiver, ByteSender, Received, byte_channel};
use crate::transport::quic::stream::SendHalf;
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
}

/// A client stream, and the type of its items.
struct TypedStream<S> {
    stream: Pin<Box<S>>,
    of: &'static ValueType,
    max_decoded: usize,
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
        Poll::Ready(item.map(|item| item.encode(self.of, out, self.max_decoded)))
    }
}

impl UploadSender {
    /// Creates the sender of a client stream, whose items have to keep to `limits`, and the
    /// receiver of its frames.
    pub(super) fn new<S>(stream: S, limits: MessageLimits) -> (Self, ByteReceiver<()>)
    where
        S: Stream<Item: Uploaded> + Send + 'static,
    {
        let (sender, receiver) = byte_channel(HANDOVER);
        let MessageLimits { max_message, max_decoded } = limits;
        let source = TypedStream {
            stream: Box::pin(stream),
            of: <S::Item as Uploaded>::schema(),
            max_decoded,
        };
        let upload = Self {
            source: Box::new(source),
            sender: Some(sender),
            frames: Vec::new(),
            items: 0,
            ended: false,
            max_message,
        };
        (upload, receiver)
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

/// Writes a call's client stream, if it has one, in its I/O task.
pub(super) struct Sending {
    pub(super) send: SendHalf,
    pub(super) upload: Option<ByteReceiver<()>>,
}

impl Sending {
    /// Writes the client stream until it ends, or the function does not want more. Never resolves:
    /// the outcome of the call is in its answer.
    pub(super) async fn rest(&mut self) -> Infallible {
        while let Some(upload) = &mut self.upload {
            match upload.receive().await {
                Received::Batch(mut batch) => {
                    if self.send.write_chunks(&mut batch).await.is_err() {
                        // Dropping the receiver makes the sender stop polling the caller's stream.
                        self.upload = None;
                    }
                }
                Received::End(Some(())) => {
                    self.send.finish();
                    self.upload = None;
                }
                // The call has been dropped, and this task is about to be aborted.
                Received::End(None) => self.upload = None,
            }
        }
        std::future::pending().await
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
