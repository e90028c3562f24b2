//! The stream that a caller sends, as the function receives it.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures::Stream;
use tokio::sync::oneshot;

use crate::call::executed::Evidence;
use crate::decode::{Budget, UNCHARGED};
use crate::error::{Error, ErrorKind};
use crate::function::context;
use crate::function::outcome::Argument;
use crate::gauge::MemoryCharge;
use crate::transport::byte_channel::{ByteReceiver, Received};
use crate::wire::codec::Codec;
use crate::wire::frame::{FrameBuffer, FrameKind, read_end};
use crate::wire::limits::MessageLimits;
use crate::wire::value::ValueType;

/// A type that may be an item of a caller's stream.
///
/// Implemented for every [`Argument`]. It has no supertraits, so that the compiler reports one
/// error for a type that is no `Argument`, and not one for each supertrait.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot cross the network as an item of a client stream",
    label = "not `Serialize + DeserializeOwned + Send + 'static`",
    note = "a type of your own: #[derive(serde::Serialize, serde::Deserialize)]",
    note = "an array of more than 32 elements: a `Vec`, or a struct of your own that holds it with \
            `serde_big_array`, or bytes with `serde_bytes`",
    note = "an `Instant`, which means nothing elsewhere: a `SystemTime`, or a `Duration`"
)]
pub trait Uploaded: Sized + 'static {
    /// Appends the encoded item, whose type is `of`.
    ///
    /// # Errors
    /// The error of `Serialize`, that the item would arrive changed, or that decoding it takes more
    /// than `max_decoded` bytes of memory.
    #[doc(hidden)]
    fn encode(
        &self,
        of: &'static ValueType,
        out: &mut Vec<u8>,
        max_decoded: usize,
    ) -> Result<(), String>;

    /// Decodes an item.
    ///
    /// # Errors
    /// Why it cannot be decoded.
    #[doc(hidden)]
    fn decode(source: ItemSource<'_>) -> Result<Self, String>;

    /// Returns the item's type as serde sees it.
    #[doc(hidden)]
    fn schema() -> &'static ValueType;
}

#[diagnostic::do_not_recommend]
impl<T: Argument> Uploaded for T {
    fn encode(
        &self,
        of: &'static ValueType,
        out: &mut Vec<u8>,
        max_decoded: usize,
    ) -> Result<(), String> {
        of.encode(Codec::Bincode, self, out, max_decoded)
    }

    fn decode(ItemSource { codec, of, bytes, budget }: ItemSource<'_>) -> Result<Self, String> {
        match codec {
            Codec::Json => codec.decode_within(bytes, budget),
            codec => of.decode_as(codec, bytes, budget),
        }
    }

    fn schema() -> &'static ValueType {
        ValueType::of::<T>()
    }
}

/// The source that an item is decoded from.
#[derive(Debug)]
pub struct ItemSource<'a> {
    of: &'static ValueType,
    codec: Codec,
    bytes: &'a Bytes,
    budget: &'a mut Budget,
}

/// The items that a caller sends, before their type is known.
#[derive(Debug)]
pub(crate) struct RawUpload {
    /// How the caller writes its items.
    pub(crate) codec: Codec,
    /// Frames, from the node's I/O task.
    pub(crate) receiver: ByteReceiver<()>,
    pub(crate) limits: MessageLimits,
    /// Charges the current item to the node's memory for arguments.
    pub(crate) room: MemoryCharge,
    /// Receives the error if the bytes are not a valid upload; it ends the call.
    pub(crate) failed: oneshot::Sender<Error>,
}

/// The stream of items that a caller sends: the value of a function's parameter of type
/// `impl Stream<Item = T>`.
///
/// Ends with `None` only if the caller has ended it. If the caller is lost, or sends something that
/// does not decode as `T`, it stays pending and the function is dropped.
#[derive(Debug)]
pub struct Upload<T> {
    receiver: ByteReceiver<()>,
    frames: FrameBuffer,
    /// Charges an incomplete item, and the last decoded one until the function polls again. `None`
    /// only while an item is decoded.
    room: Option<MemoryCharge>,
    items: u64,
    ended: bool,
    failed: Option<oneshot::Sender<Error>>,
    of: &'static ValueType,
    codec: Codec,
    max_decoded: usize,
    /// The call, to note what is left out.
    context: context::Context,
    // Stored as a pointer, so that `impl Stream` needs no bounds on `T`.
    decode: fn(ItemSource<'_>) -> Result<T, String>,
}

impl<T: Uploaded> Upload<T> {
    /// Creates the stream of the call of `context`.
    pub(crate) fn new(raw: RawUpload, context: context::Context) -> Self {
        Self {
            receiver: raw.receiver,
            frames: FrameBuffer::new(raw.limits.max_message),
            room: Some(raw.room),
            items: 0,
            ended: false,
            failed: Some(raw.failed),
            codec: raw.codec,
            of: T::schema(),
            max_decoded: raw.limits.max_decoded,
            context,
            decode: T::decode,
        }
    }
}

impl<T> Upload<T> {
    /// Decodes an item.
    fn decoded(&mut self, bytes: &Bytes) -> Poll<Option<T>> {
        let budget = Budget::for_message(bytes.len(), self.max_decoded);
        let mut budget = budget.charged_to(self.room.take(), UNCHARGED);
        let (codec, of) = (self.codec, self.of);
        let decoded = (self.decode)(ItemSource { codec, of, bytes, budget: &mut budget });
        self.context.tally().note_left_out(budget.left_out());
        let crowded = budget.is_crowded();
        self.room = budget.into_charge();
        match decoded {
            Ok(item) => {
                self.items += 1;
                Poll::Ready(Some(item))
            }
            Err(_) if crowded => self.fail(ErrorKind::Overloaded, NO_ROOM.to_owned()),
            Err(text) => self.fail(ErrorKind::BadArguments, text),
        }
    }

    /// Ends the call. The function is dropped while it waits for the next item.
    fn fail(&mut self, kind: ErrorKind, text: String) -> Poll<Option<T>> {
        let text = format!("item {} of the caller's stream: {text}", self.items);
        if let Some(failed) = self.failed.take() {
            let _ = failed.send(Error::new(kind, text).with_evidence(Evidence::Answered));
        }
        Poll::Pending
    }
}

const NO_ROOM: &str = "the node's memory for arguments and callers' items is used up";

impl<T> Stream for Upload<T> {
    type Item = T;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<T>> {
        let this = &mut *self;
        if this.ended {
            return Poll::Ready(None);
        }
        if this.failed.is_none() {
            return Poll::Pending;
        }
        loop {
            let frame = match this.frames.next() {
                Ok(frame) => frame,
                Err(cause) => return this.fail(cause.kind, cause.text),
            };
            // A complete item is charged by its decoder below.
            let unfinished = if frame.is_none() { this.frames.unfinished() } else { 0 };
            if this.room.as_mut().is_some_and(|room| !room.set_to(unfinished)) {
                return this.fail(ErrorKind::Overloaded, NO_ROOM.to_owned());
            }
            match frame {
                Some(frame) if frame.kind == FrameKind::Item => {
                    return this.decoded(&frame.body);
                }
                Some(frame) if frame.kind == FrameKind::End => {
                    if read_end(&frame.body) != Ok(this.items) {
                        let text = "the end frame does not match the number of items".to_owned();
                        return this.fail(ErrorKind::Protocol, text);
                    }
                    this.ended = true;
                    return Poll::Ready(None);
                }
                Some(frame) => {
                    return this.fail(ErrorKind::Protocol, format!("{:?} frame", frame.kind));
                }
                None => {}
            }
            match ready!(this.receiver.poll_receive(context)) {
                Received::Batch(batch) => batch.iter().for_each(|chunk| this.frames.push(chunk)),
                Received::End(Some(())) => {
                    let text = "the stream ended without an end frame".to_owned();
                    return this.fail(ErrorKind::Protocol, text);
                }
                // The caller is gone, and the function is about to be dropped.
                Received::End(None) => return Poll::Pending,
            }
        }
    }
}
