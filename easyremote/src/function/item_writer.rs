//! Encodes a stream's items on the thread of the user's code, and passes them to an I/O task in
//! batches.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::call::executed::Evidence;
use crate::error::{Error, ErrorKind};
use crate::function::arguments::RETRY_AFTER;
use crate::function::context::Context;
use crate::function::end::End;
use crate::function::operators::piece::ItemForm;
use crate::function::outcome::{Failure, Sent, Value};
use crate::function::signature::Signature;
use crate::transport::byte_channel::{ByteSender, Closed, UNSHARED};
use crate::wire::codec::Codec;
use crate::wire::error::{put_error, put_item_error};
use crate::wire::frame::{self, FRAME_HEADER, FrameKind};
use crate::wire::limits::MessageLimits;
use crate::wire::value::ValueType;

/// Encodes the frames of one stream and sends them through a byte channel.
#[derive(Debug)]
pub(crate) struct ItemWriter {
    sender: ByteSender<()>,
    frames: Vec<u8>,
    /// Length of the complete frames; a frame that is being encoded follows them.
    whole: usize,
    items: u64,
    /// Encoded bytes of all items.
    bytes: u64,
    /// Expected length of the next item, in bytes.
    expected: usize,
    /// Whether memory for the next item is reserved and not used yet.
    reserved: bool,
    /// See [`hold`](Self::hold).
    held: AtomicUsize,
    sizes: Arc<ItemSizeEstimate>,
    codec: Codec,
    limits: MessageLimits,
    context: Context,
}

/// Estimate of the length of a function's items or results, in bytes: the longest recent one,
/// decaying by an eighth with each shorter one. 0 while all of them have been short.
#[derive(Debug, Default)]
pub(crate) struct ItemSizeEstimate(AtomicUsize);

impl ItemSizeEstimate {
    fn get(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    /// Returns whether recent items or results were long.
    pub(crate) fn is_long(&self) -> bool {
        self.get() > UNSHARED
    }

    /// Records an item or result of `length` bytes.
    pub(crate) fn note(&self, length: usize) {
        let before = self.get();
        if length > UNSHARED || before > 0 {
            // Not a read-modify-write: if two calls race, one sample is lost, which an estimate
            // tolerates.
            self.0.store(length.max(before - before.div_ceil(8)), Ordering::Relaxed);
        }
    }
}

impl ItemWriter {
    /// Creates a writer that sends the items of the call of `context` to `sender`, and reserves
    /// memory for one item of the size that `sizes` predicts.
    pub(crate) fn new(
        sender: ByteSender<()>,
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
        let (frames, whole, bytes) = (Vec::new(), 0, 0);
        let items = context.taken_before();
        Self {
            sender,
            frames,
            whole,
            items,
            bytes,
            expected,
            reserved,
            held: AtomicUsize::new(0),
            sizes,
            codec,
            limits,
            context,
        }
    }

    /// Returns the id of the node.
    #[cfg(feature = "testing")]
    pub(crate) fn node(&self) -> &str {
        self.context.node()
    }

    /// Returns how items of type `of` are encoded.
    pub(crate) fn form(&self, of: &'static ValueType) -> ItemForm {
        ItemForm { codec: self.codec, limits: self.limits, of }
    }

    /// Adds the frame that tells the caller that the stream is set up.
    pub(crate) fn open(&mut self) {
        frame::put(&mut self.frames, FrameKind::Open, &[]);
    }

    /// Adds an item, or the function's own error in place of one; `types` has the types of both.
    ///
    /// # Errors
    /// `TooLarge` or `BadResponse`; the stream must end then.
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
        .map_err(|error| self.located(error))?;
        self.note_item();
        Ok(())
    }

    /// Adds an item that is encoded already.
    ///
    /// # Errors
    /// `TooLarge`; the stream must end then.
    pub(crate) fn encoded(&mut self, item: &[u8]) -> Result<(), Error> {
        let start = frame::begin(&mut self.frames, FrameKind::Item);
        self.frames.extend_from_slice(item);
        finish_value(&mut self.frames, start, self.limits).map_err(|error| self.located(error))?;
        self.note_item();
        Ok(())
    }

    fn note_item(&mut self) {
        self.expected = self.frames.len() - self.whole;
        self.sizes.note(self.expected);
        self.whole = self.frames.len();
        self.items += 1;
        self.bytes += (self.expected - FRAME_HEADER) as u64;
        self.context.tally().note_items(self.items, self.bytes);
    }

    /// Adds how many items have been left out so far, and by each of some operators.
    pub(crate) fn skipped(&mut self, items: u64, each: &[u64]) {
        frame::put_skipped(&mut self.frames, items, each);
        self.context.tally().note_skipped(items);
        self.whole = self.frames.len();
    }

    /// Returns the length of the last item, with the header of its frame, in bytes.
    pub(crate) fn last_length(&self) -> usize {
        self.expected
    }

    /// Counts `bytes` that are held for later items against the node's memory for unread ones.
    pub(crate) fn hold(&self, bytes: usize) {
        // Small amounts count for nothing: no need for the lock.
        let held = if bytes > UNSHARED { bytes } else { 0 };
        if self.held.swap(held, Ordering::Relaxed) != held {
            self.sender.reserve(held);
        }
    }

    /// Returns an error of the stream, with what has been delivered before.
    pub(crate) fn located(&self, error: Error) -> Error {
        error.with_delivered(self.items).with_node(self.context.node())
    }

    /// Sends the collected frames. Applies back-pressure: waits while the caller is slow, and then
    /// while the node has no memory for another item.
    ///
    /// # Cancel safety
    /// Dropping the future loses no frames.
    pub(crate) async fn flush(&mut self) -> Result<(), Closed> {
        self.hand_over().await?;
        if self.items > 0 {
            self.unreserve();
        }
        // Reserved memory need not be waited for.
        let next = if self.reserved { 0 } else { self.expected };
        self.sender.has_room_for(next).await
    }

    async fn hand_over(&mut self) -> Result<(), Closed> {
        self.sender.send(&mut self.frames).await?;
        self.whole = 0;
        Ok(())
    }

    /// Releases the memory that is reserved for an item: the item has arrived, or may be long in
    /// coming.
    pub(crate) fn unreserve(&mut self) {
        if std::mem::take(&mut self.reserved) {
            self.sender.reserve(*self.held.get_mut());
        }
    }

    /// Resolves when the receiver is dropped: the caller wants no more items.
    pub(crate) async fn closed(&self) {
        self.sender.closed().await;
    }

    /// Ends the stream without an error.
    pub(crate) async fn end(mut self) {
        frame::put_end(&mut self.frames, self.items);
        self.context.tally().note_end(End::Returned);
        self.close().await;
    }

    /// Ends the stream, or its set-up, with an error that is not the function's own.
    pub(crate) async fn fail(mut self, error: &Error) {
        put_error(&mut self.frames, error);
        self.context.tally().note_end(End::Error(error.clone()));
        self.close().await;
    }

    /// Ends the set-up of the stream with the function's own error, whose type is `of`.
    pub(crate) async fn fault<E: Failure>(mut self, of: &'static ValueType, fault: Sent<E>) {
        let form = (self.codec, self.limits);
        let start = self.frames.len();
        put_fault(&mut self.frames, &self.context, form, of, &fault);
        self.context.tally().note_end(End::of_frames(&self.frames[start..]).0);
        self.close().await;
    }

    /// Ends the set-up of the stream with a frame that is encoded already.
    pub(crate) async fn refuse(mut self, mut refusal: Vec<u8>) {
        self.context.tally().note_end(End::of_frames(&refusal).0);
        self.frames.append(&mut refusal);
        self.close().await;
    }

    async fn close(mut self) {
        // If the receiver is gone, so is the need for an end.
        if self.hand_over().await.is_ok() {
            self.sender.end(());
        }
    }
}

impl Drop for ItemWriter {
    /// Sends the complete items: they were produced before the producer panicked.
    fn drop(&mut self) {
        // The frame that was being encoded is incomplete.
        self.frames.truncate(self.whole);
        self.sender.send_now(&mut self.frames);
    }
}

/// Appends the function's own failure, which answers a call or the set-up of a stream.
pub(crate) fn put_fault<E: Failure>(
    out: &mut Vec<u8>,
    context: &Context,
    form: (Codec, MessageLimits),
    of: &ValueType,
    fault: &Sent<E>,
) {
    let put = match fault {
        Sent::Value(fault) => put_value(out, FrameKind::Fault, form, of, fault),
        Sent::Text(text) => Err(failed(context, text.clone())),
    };
    if let Err(error) = put {
        put_error(out, &error.with_node(context.node()));
    }
}

/// Returns the error of a call whose items or answer exceed the node's memory for unread ones.
pub(crate) fn no_room() -> Error {
    let text = "the node's memory for unread items and answers is used up, because callers do not \
                read them; try again later, or ask for less at a time";
    Error::new(ErrorKind::Overloaded, text).with_retry_after(RETRY_AFTER)
}

/// Returns the error of a function whose own error is sent as text.
fn failed(context: &Context, text: String) -> Error {
    let error = Error::new(ErrorKind::Failed, text).with_evidence(Evidence::Answered);
    error.with_node(context.node())
}

/// Appends `value`, whose type is `of`, as a frame of `kind`. Appends nothing on an error.
///
/// # Errors
/// `TooLarge` if it is longer than the limit, `BadResponse` if it cannot be encoded or would take
/// more memory than the limit. The function has run in both cases.
pub(crate) fn put_value<T: Value>(
    out: &mut Vec<u8>,
    kind: FrameKind,
    (codec, limits): (Codec, MessageLimits),
    of: &ValueType,
    value: &T,
) -> Result<(), Error> {
    let start = frame::begin(out, kind);
    if let Err(text) = of.encode(codec, value, out, limits.max_decoded) {
        out.truncate(start - frame::FRAME_HEADER);
        let text = format!("the function's result cannot be encoded: {text}");
        return Err(Error::new(ErrorKind::BadResponse, text).with_evidence(Evidence::Answered));
    }
    finish_value(out, start, limits)
}

/// Finishes the frame of a value, whose body starts at `start`. Removes it on an error.
///
/// # Errors
/// `TooLarge` if it is longer than the limit. The function has run.
fn finish_value(out: &mut Vec<u8>, start: usize, limits: MessageLimits) -> Result<(), Error> {
    let max_message = limits.max_message;
    frame::finish(out, start, max_message).map_err(|length| {
        let text = format!(
            "the function's result has {length} bytes, and a message may have {max_message}; \
             stream it in pieces, or raise the limit"
        );
        Error::new(ErrorKind::TooLarge, text).with_evidence(Evidence::Answered)
    })
}
