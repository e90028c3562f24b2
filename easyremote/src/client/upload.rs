//! The caller's stream: polled and encoded with the call, written on the I/O thread.

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

/// Bytes that may wait between the caller and the I/O thread.
const HANDOVER: usize = 32 << 10;

/// Items that are taken before others get their turn; as many as tokio lets a task do.
const ITEMS_PER_POLL: usize = 128;

/// A stream whose items are encoded as they come.
pub(super) struct UploadSender {
    source: Box<dyn ErasedStream>,
    /// `None` when nothing more is to be sent.
    sender: Option<ByteSender<()>>,
    frames: Vec<u8>,
    items: u64,
    /// The stream has ended, and its end is in `frames` or handed over.
    ended: bool,
    max_message: usize,
}

impl std::fmt::Debug for UploadSender {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "UploadSender({} items so far)", self.items)
    }
}

/// A stream with its type erased.
trait ErasedStream: Send {
    /// Appends the next item to `out`, or says that there is none.
    fn poll_item(
        &mut self,
        context: &mut Context<'_>,
        out: &mut Vec<u8>,
    ) -> Poll<Option<Result<(), String>>>;
}

/// The caller's stream, and the type of its items.
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
    /// Sends the items of `stream`, each within `limits`, and gives where their frames come out.
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

    /// Sends what there is to send. Ready when all of it has been handed over, or nobody wants it.
    ///
    /// # Errors
    /// An item cannot be sent; the call is to be given up.
    pub(super) fn poll(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Error>> {
        for _ in 0..ITEMS_PER_POLL {
            if self.sender.is_some() && self.frames.is_empty() {
                ready!(self.poll_frame(context))?;
            }
            let Some(sender) = &mut self.sender else { return Poll::Ready(Ok(())) };
            // At once: the next item may be long in coming although the stream is never pending.
            if ready!(sender.poll_send(context, &mut self.frames)).is_err() {
                self.sender = None;
            } else if self.ended {
                sender.end(());
                self.sender = None;
            }
        }
        // A stream that is always ready must let others run.
        context.waker().wake_by_ref();
        Poll::Pending
    }

    /// Encodes the next item, or the end.
    fn poll_frame(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Error>> {
        // Taken out, so that the caller's stream leaves no half a frame behind if it panics.
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

/// Sends the caller's stream, if there is one.
pub(super) struct Sending {
    pub(super) send: SendHalf,
    pub(super) upload: Option<ByteReceiver<()>>,
}

impl Sending {
    /// Writes what the caller's stream gives, until it ends or the function wants no more of it.
    /// Never resolves: the answer says how the call goes.
    pub(super) async fn rest(&mut self) -> Infallible {
        while let Some(upload) = &mut self.upload {
            match upload.receive().await {
                Received::Batch(mut batch) => {
                    if self.send.write_chunks(&mut batch).await.is_err() {
                        // Tells the caller's side that nobody wants more.
                        self.upload = None;
                    }
                }
                Received::End(Some(())) => {
                    self.send.finish();
                    self.upload = None;
                }
                // The call has been given up, and this task with it.
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
        "item {item} of the caller's stream has {length} bytes, and a message may have {max_message}"
    );
    Error::new(ErrorKind::TooLarge, text).with_evidence(Evidence::Sent)
}
