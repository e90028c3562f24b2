//! Where a stream's items go: encoded here, on the thread of the user's code, and handed over in
//! batches.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::call::executed::Evidence;
use crate::error::{Error, ErrorKind};
use crate::function::arguments::RETRY_AFTER;
use crate::function::context::Context;
use crate::function::end::End;
use crate::function::outcome::{Failure, Sent, Value};
use crate::function::signature::Signature;
use crate::transport::byte_channel::{ByteSender, Closed, UNSHARED};
use crate::wire::codec::Codec;
use crate::wire::error::{put_error, put_item_error};
use crate::wire::frame::{self, FRAME_HEADER, FrameKind};
use crate::wire::limits::MessageLimits;
use crate::wire::value::ValueType;

/// Collects the frames of one stream and hands them over.
#[derive(Debug)]
pub(crate) struct ItemWriter {
    sender: ByteSender<()>,
    frames: Vec<u8>,
    /// Length of the frames that are whole; behind it is one that is being encoded.
    whole: usize,
    items: u64,
    /// How long the next item may be, in bytes.
    expected: usize,
    /// Whether room for it has been reserved that nothing has come into.
    reserved: bool,
    sizes: Arc<ItemSizeEstimate>,
    codec: Codec,
    limits: MessageLimits,
    context: Context,
}

/// How long the items of a function are, or its results: the longest of late, which shorter ones
/// make less of. 0 as long as all of them have been short.
#[derive(Debug, Default)]
pub(crate) struct ItemSizeEstimate(AtomicUsize);

impl ItemSizeEstimate {
    fn get(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    /// Whether there are long ones.
    pub(crate) fn is_long(&self) -> bool {
        self.get() > UNSHARED
    }

    /// Notes that there has been one of `length` bytes.
    pub(crate) fn note(&self, length: usize) {
        let before = self.get();
        if length > UNSHARED || before > 0 {
            // Of two at the same time one may be lost, which is no matter.
            self.0.store(length.max(before - before.div_ceil(8)), Ordering::Relaxed);
        }
    }
}

impl ItemWriter {
    /// One that sends to `sender`: items within `limits`, of the call that `context` tells of, and
    /// of a function whose items have had these `sizes`. Room for one is reserved.
    pub(crate) fn new(
        mut sender: ByteSender<()>,
        codec: Codec,
        limits: MessageLimits,
        context: Context,
        sizes: Arc<ItemSizeEstimate>,
    ) -> Self {
        let expected = sizes.get();
        let reserved = expected > 0;
        if reserved {
            sender.reserve(expected);
        }
        let (frames, whole, items) = (Vec::new(), 0, 0);
        Self { sender, frames, whole, items, expected, reserved, sizes, codec, limits, context }
    }

    /// Adds the frame that says that the stream is set up.
    pub(crate) fn open(&mut self) {
        frame::put(&mut self.frames, FrameKind::Open, &[]);
    }

    /// Adds an item, or the function's own error in place of one; `types` has the types of both.
    ///
    /// # Errors
    /// `TooLarge` or `BadResponse`; the stream cannot go on.
    pub(crate) fn item<T: Value, E: Failure>(
        &mut self,
        types: &Signature,
        item: &Result<T, Sent<E>>,
    ) -> Result<(), Error> {
        let form = (self.codec, self.limits);
        match item {
            Ok(value) => put_value(&mut self.frames, FrameKind::Item, form, types.value, value),
            Err(Sent::Value(fault)) => {
                put_value(&mut self.frames, FrameKind::ItemFault, form, types.failure, fault)
            }
            Err(Sent::Text(text)) => {
                put_item_error(&mut self.frames, &failed(&self.context, text.clone()));
                Ok(())
            }
        }
        .map_err(|error| error.with_delivered(self.items).with_node(self.context.node()))?;
        self.expected = self.frames.len() - self.whole;
        self.sizes.note(self.expected);
        self.whole = self.frames.len();
        self.items += 1;
        self.context.tally().note_item(self.expected - FRAME_HEADER);
        Ok(())
    }

    /// Hands over what is gathered; waits while the caller is slow, and then while the node has no
    /// room for another item beside it.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub(crate) async fn flush(&mut self) -> Result<(), Closed> {
        self.hand_over().await?;
        if self.items > 0 {
            self.unreserve();
        }
        // What is reserved is there.
        let next = if self.reserved { 0 } else { self.expected };
        self.sender.has_room_for(next).await
    }

    async fn hand_over(&mut self) -> Result<(), Closed> {
        self.sender.send(&mut self.frames).await?;
        self.whole = 0;
        Ok(())
    }

    /// Gives the room back that is reserved for an item: it is here, or nobody knows when it comes.
    pub(crate) fn unreserve(&mut self) {
        if std::mem::take(&mut self.reserved) {
            self.sender.reserve(0);
        }
    }

    /// Resolves when nobody wants the items any more.
    pub(crate) async fn closed(&mut self) {
        self.sender.closed().await;
    }

    /// Ends the stream well.
    pub(crate) async fn end(mut self) {
        frame::put_end(&mut self.frames, self.items);
        self.context.tally().note_end(End::Returned);
        self.close().await;
    }

    /// Ends the stream, or the attempt to set it up, with an error that is not the function's own.
    pub(crate) async fn fail(mut self, error: &Error) {
        put_error(&mut self.frames, error);
        self.context.tally().note_end(End::Error(error.clone()));
        self.close().await;
    }

    /// Ends the attempt to set the stream up with the function's own error, which is of this type.
    pub(crate) async fn fault<E: Failure>(mut self, of: &'static ValueType, fault: Sent<E>) {
        let form = (self.codec, self.limits);
        let start = self.frames.len();
        put_fault(&mut self.frames, &self.context, form, of, fault);
        self.context.tally().note_end(End::of_frames(&self.frames[start..]).0);
        self.close().await;
    }

    /// Ends the attempt to set the stream up with a frame that is encoded already.
    pub(crate) async fn refuse(mut self, mut refusal: Vec<u8>) {
        self.context.tally().note_end(End::of_frames(&refusal).0);
        self.frames.append(&mut refusal);
        self.close().await;
    }

    async fn close(mut self) {
        // If nobody wants the end, nobody has to get it.
        if self.hand_over().await.is_ok() {
            self.sender.end(());
        }
    }
}

impl Drop for ItemWriter {
    /// Items that were gathered before the producer panicked have been produced all the same.
    fn drop(&mut self) {
        self.frames.truncate(self.whole);
        self.sender.send_now(&mut self.frames);
    }
}

/// Appends the function's own failure, which answers a call or the attempt to set a stream up.
pub(crate) fn put_fault<E: Failure>(
    out: &mut Vec<u8>,
    context: &Context,
    form: (Codec, MessageLimits),
    of: &ValueType,
    fault: Sent<E>,
) {
    let put = match fault {
        Sent::Value(fault) => put_value(out, FrameKind::Fault, form, of, &fault),
        Sent::Text(text) => Err(failed(context, text)),
    };
    if let Err(error) = put {
        put_error(out, &error.with_node(context.node()));
    }
}

/// The error of a call for whose items or answer there is no room at its node.
pub(crate) fn no_room() -> Error {
    let text = "the node holds all the items and answers that it has room for, since nobody reads \
                them; try again, or ask for less at a time";
    Error::new(ErrorKind::Overloaded, text).with_retry_after(RETRY_AFTER)
}

/// The error of a function whose own error travels as text.
fn failed(context: &Context, text: String) -> Error {
    let error = Error::new(ErrorKind::Failed, text).with_evidence(Evidence::Answered);
    error.with_node(context.node())
}

/// Appends `value`, which is of this type, as a frame of `kind`; nothing is appended if that fails.
///
/// # Errors
/// `TooLarge` if it is longer than the limit, `BadResponse` if it cannot be encoded or would take
/// more memory than the limit; in both cases the function has run.
pub(crate) fn put_value<T: Value>(
    out: &mut Vec<u8>,
    kind: FrameKind,
    (codec, limits): (Codec, MessageLimits),
    of: &ValueType,
    value: &T,
) -> Result<(), Error> {
    let max_message = limits.max_message;
    let start = frame::begin(out, kind);
    if let Err(text) = of.encode(codec, value, out, limits.max_decoded) {
        out.truncate(start - frame::FRAME_HEADER);
        let text = format!("the function's result cannot be encoded: {text}");
        return Err(Error::new(ErrorKind::BadResponse, text).with_evidence(Evidence::Answered));
    }
    frame::finish(out, start, max_message).map_err(|length| {
        let text = format!(
            "the function's result has {length} bytes, and a message may have {max_message}; \
             stream it in pieces, or raise the limit"
        );
        Error::new(ErrorKind::TooLarge, text).with_evidence(Evidence::Answered)
    })
}
