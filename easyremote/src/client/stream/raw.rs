//! The untyped state machine behind a stream of items.
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

mod again;
#[cfg(feature = "http")]
mod position;
pub(in crate::client) mod progress;

use std::sync::Arc;
use std::task::{Context, Poll, ready};

use crate::call::demand::Demand;
use crate::call::executed::Evidence;
use crate::call::function_meter::CallEnd;
use crate::client::answer_form::StreamForm;
use crate::client::call::undecoded;
use crate::client::call_task::CallTask;
use crate::client::errors::{thread_ended, with_signature};
use crate::client::handle::Client;
use crate::client::leg::{NextLeg, ReadLeg, SkippedItems, StreamEnd};
use crate::client::pending_call::PendingCall;
use crate::client::span::ClientSpan;
use crate::client::stream::batch::ReadItem;
use crate::client::stream::local::{LocalOperator, passes};
use crate::client::stream::raw::progress::StreamFigures;
use crate::client::upload::UploadSender;
use crate::decode::Budget;
use crate::error::{Error, ErrorKind};
use crate::function::outcome::Value;
use crate::gauge::MemoryCharge;
use crate::transport::byte_channel::{ByteReceiver, Received, byte_channel};
use crate::transport::call_stats::CallGuard;
use crate::transport::reassembly::no_room;
use crate::wire::codec::{Codec, unwinding};
use crate::wire::error::read_error;
use crate::wire::frame::{Frame, FrameBuffer, FrameKind, read_end, read_skipped};
#[cfg(feature = "http")]
use crate::wire::json_text::JsonText;
use crate::wire::limits::MessageLimits;
use crate::wire::operators::{AppliedFunction, Operator};
use crate::wire::value::ValueType;

/// A stream without types.
#[derive(Debug)]
pub(in crate::client) struct RawStream {
    state: StreamState,
    /// Cuts the bytes that have arrived into frames.
    frames: FrameBuffer,
    /// What `frames` takes of the client's memory for unfinished items.
    room: Option<MemoryCharge>,
    items: u64,
    /// Items that the node has left out.
    skipped: u64,
    /// Operators that were set after the first poll.
    local: Vec<LocalOperator>,
    /// Items that arrived, and that these have left out.
    left_out: u64,
    figures: StreamFigures,
    /// The stream ends after this many items.
    limit: u64,
    opened: bool,
    /// Limit of memory for decoding an item, in bytes.
    max_decoded: usize,
    signature: &'static str,
    form: StreamForm,
    span: ClientSpan,
}

#[derive(Debug)]
enum StreamState {
    /// Boxed: it is large, and gone for most of the stream's life.
    Ready(Box<PendingCall>),
    Failed(Error),
    /// Keeps the client, and with it the I/O task that has the sender of `receiver`.
    Running {
        receiver: ByteReceiver<StreamEnd>,
        upload: Option<UploadSender>,
        /// What the reader has taken, if the node is told.
        demand: Option<Arc<Demand>>,
        /// Of a resumable stream.
        leg: Option<Box<ReadLeg>>,
        _client: Client,
    },
    Done,
}

/// What a stream yields.
pub(in crate::client) enum StreamFrame {
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
    pub(in crate::client) fn new(pending: Result<PendingCall, Error>) -> Self {
        let (limits, signature) = match &pending {
            Ok(pending) => (pending.client.link.limits, pending.signature),
            Err(_) => (MessageLimits { max_message: 0, max_decoded: 0 }, ""),
        };
        let form = pending.as_ref().map_or(StreamForm::TYPED, PendingCall::stream_form);
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
            skipped: 0,
            local: Vec::new(),
            left_out: 0,
            figures: StreamFigures::default(),
            limit: u64::MAX,
            opened: false,
            max_decoded,
            signature,
            form,
            span: ClientSpan::none(),
        }
    }

    pub(in crate::client) fn change(&mut self, change: impl FnOnce(&mut PendingCall)) {
        if let StreamState::Ready(pending) = &mut self.state {
            change(pending);
        }
    }

    /// Adds an operator behind all others: at the node before the first poll, and at the client
    /// after it.
    pub(in crate::client) fn operator(&mut self, operator: Operator) {
        if matches!(self.state, StreamState::Failed(_) | StreamState::Done) {
            return;
        }
        if let Some(mistake) = operator.mistake() {
            return self.refuse(mistake.to_owned());
        }
        match (&mut self.state, LocalOperator::new(&operator)) {
            (StreamState::Ready(pending), _) => match pending.add_operator(operator) {
                Ok(()) => self.limit = pending.only_limit().unwrap_or(u64::MAX),
                Err(text) => self.refuse(text),
            },
            (_, Some(local)) => self.local.push(local),
            (_, None) => {
                let text = format!(
                    "{operator:?} was set after the first poll; set it before, so that the node \
                     learns of it"
                );
                self.refuse(text);
            }
        }
    }

    /// Adds a function to the operators, or makes the next item the error of the program that applied
    /// it.
    pub(in crate::client) fn through(&mut self, applied: Result<AppliedFunction, Error>) {
        match applied {
            Ok(applied) => self.operator(Operator::Through(Arc::new(applied))),
            Err(error) if !matches!(self.state, StreamState::Failed(_) | StreamState::Done) => {
                self.fail_input(error);
            }
            Err(_) => {}
        }
    }

    /// Makes the next item an error of the program that set an operator.
    fn refuse(&mut self, text: String) {
        self.fail_input(Error::new(ErrorKind::InvalidInput, text));
    }

    fn fail_input(&mut self, error: Error) {
        let error = match self.state {
            StreamState::Ready(_) => error,
            _ => self.fail(error.with_evidence(Evidence::Sent)),
        };
        self.state = StreamState::Failed(error);
    }

    /// Resolves with `None` when the stream is set up, or with the `Fault` frame of its set-up.
    pub(in crate::client) fn poll_open(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Result<Option<Frame>, Error>> {
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
                self.close(CallEnd::Fault);
                Ok(Some(frame))
            }
            other => Err(self.protocol(&format!("{other:?} frame before the stream is open"))),
        }))
    }

    /// Polls for the next item; see [`poll_next`](Self::poll_next).
    fn poll_item(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<StreamFrame, Error>>> {
        loop {
            if self.local.iter().any(LocalOperator::is_over) {
                // Drops the receiver: the I/O task then resets the stream.
                self.close(CallEnd::Returned);
                return Poll::Ready(None);
            }
            let next = ready!(self.poll_arrived(context));
            let item = match &next {
                _ if self.local.is_empty() => return Poll::Ready(next),
                Some(Ok(StreamFrame::Item(frame))) => Some(&frame.body),
                Some(Ok(StreamFrame::ItemFault(_) | StreamFrame::ItemError(_))) => None,
                _ => return Poll::Ready(next),
            };
            if passes(&mut self.local, item) {
                return Poll::Ready(next);
            }
            self.left_out += 1;
            self.figures.bytes -= item.map_or(0, |body| body.len() as u64);
        }
    }

    /// Polls for the next item that arrives, as [`poll_next`](Self::poll_next) does.
    #[inline]
    fn poll_arrived(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<StreamFrame, Error>>> {
        if self.items >= self.limit {
            // Drops the receiver: the I/O task then resets the stream.
            self.close(CallEnd::Returned);
            return Poll::Ready(None);
        }
        if !self.opened && !matches!(self.state, StreamState::Done) {
            match ready!(self.poll_open(context)) {
                Ok(None) => {}
                Ok(Some(fault)) => return Poll::Ready(Some(Ok(StreamFrame::Fault(fault)))),
                Err(error) => return Poll::Ready(Some(Err(error))),
            }
        }
        let frame = loop {
            let Some(frame) = ready!(self.poll_frame(context)) else { return Poll::Ready(None) };
            let noted = match frame {
                Ok(frame) if frame.kind == FrameKind::Skipped => self.note_skipped(&frame),
                Ok(frame) => break frame,
                Err(error) => Err(error),
            };
            if let Err(error) = noted {
                return Poll::Ready(Some(Err(error)));
            }
        };
        Poll::Ready(match frame.kind {
            FrameKind::Item => {
                self.count(&frame);
                Some(Ok(StreamFrame::Item(frame)))
            }
            FrameKind::ItemFault => {
                self.count(&frame);
                Some(Ok(StreamFrame::ItemFault(frame)))
            }
            FrameKind::ItemError => Some(match read_error(&frame.body) {
                Ok(error) => {
                    self.count(&frame);
                    // Whatever the frame says, an item proves that the function has run.
                    Ok(StreamFrame::ItemError(error.with_evidence(Evidence::Answered)))
                }
                Err(cause) => Err(self.protocol(&cause.text)),
            }),
            FrameKind::End => match read_end(&frame.body) {
                Ok(items) if items == self.items => {
                    self.close(CallEnd::Returned);
                    None
                }
                _ => Some(Err(self.protocol("the item count of the `End` frame is wrong"))),
            },
            FrameKind::Fault if self.figures.resumptions > 0 => {
                let text = "the function was called again after its node was lost, and its set-up \
                            failed there";
                Some(Err(self.fail(Error::new(ErrorKind::Gap, text))))
            }
            other => Some(Err(self.protocol(&format!("{other:?} frame inside a stream")))),
        })
    }

    /// Notes how many items the node has left out.
    fn note_skipped(&mut self, frame: &Frame) -> Result<(), Error> {
        let mut each = Vec::new();
        let read = read_skipped(&frame.body, &mut each);
        match (&mut self.state, read) {
            (StreamState::Running { leg: Some(leg), .. }, Ok(all)) => {
                // It may have come again.
                let all = leg.note_skipped(self.items, SkippedItems { all, each });
                self.skipped = self.skipped.max(all);
                Ok(())
            }
            (_, Ok(all)) if all > self.skipped => {
                self.skipped = all;
                Ok(())
            }
            _ => Err(self.protocol("a `Skipped` frame that is wrong")),
        }
    }

    /// Polls for the next frame, except `Error` frames, which become errors. Returns `None` if the
    /// stream has ended.
    fn poll_frame(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame, Error>>> {
        loop {
            self.start();
            let StreamState::Running { receiver, upload, demand, leg, .. } = &mut self.state else {
                let ended = std::mem::replace(&mut self.state, StreamState::Done);
                return Poll::Ready(match ended {
                    StreamState::Failed(error) => Some(Err(error)),
                    _ => None,
                });
            };
            // Before anything else: a consumer that polls is not a slow one, also if the item that
            // it gets was here before.
            receiver.ask();
            if let Some(demand) = demand
                && leg.as_mut().is_none_or(|leg| leg.tells())
            {
                // It has come back, so it has taken all items before.
                demand.raise(self.items);
            }
            let sent = upload.as_mut().map(|upload| upload.poll(context));
            if let Some(Poll::Ready(Err(error))) = sent {
                return Poll::Ready(Some(Err(self.fail(error))));
            }
            match self.next_frame() {
                Ok(Some(frame)) if self.is_void(&frame) => continue,
                Ok(Some(frame)) => return Poll::Ready(Some(Ok(frame))),
                Ok(None) => {}
                Err(error) => return Poll::Ready(Some(Err(error))),
            }
            let StreamState::Running { receiver, leg, .. } = &mut self.state else { continue };
            match ready!(receiver.poll_receive(context)) {
                Received::Batch(_) if leg.as_ref().is_some_and(|leg| leg.void) => {}
                Received::Batch(batch) => batch.iter().for_each(|chunk| self.frames.push(chunk)),
                Received::End(Some(StreamEnd::Resumed(next))) => self.follow(*next),
                Received::End(Some(StreamEnd::Failed(error))) => {
                    return Poll::Ready(Some(Err(self.fail(error))));
                }
                Received::End(None) => return Poll::Ready(Some(Err(self.fail(thread_ended())))),
            }
        }
    }

    /// Cuts the next frame from what has arrived; `None` if it has not arrived completely.
    ///
    /// # Errors
    /// That in an `Error` frame, and of bytes that are no frame or find no room.
    fn next_frame(&mut self) -> Result<Option<Frame>, Error> {
        let next = self.frames.next();
        // Only unfinished frames count: a whole one goes to the consumer right now.
        let unfinished = match next {
            Ok(None) => self.frames.unfinished(),
            _ => 0,
        };
        if self.room.as_mut().is_some_and(|room| !room.set_to(unfinished)) {
            return Err(self.fail(no_room().with_evidence(Evidence::Sent)));
        }
        match next {
            Ok(Some(frame)) if frame.kind == FrameKind::Error => Err(self.refused(&frame)),
            Ok(frame) => Ok(frame),
            Err(cause) => Err(self.fail(cause.into_error().with_evidence(Evidence::Sent))),
        }
    }

    /// Returns whether a frame is void, because the stream is being resumed: an item comes again,
    /// and an `Open` frame has come again.
    #[inline]
    fn is_void(&mut self, frame: &Frame) -> bool {
        matches!(self.state, StreamState::Running { leg: Some(_), .. }) && self.comes_again(frame)
    }

    fn comes_again(&mut self, frame: &Frame) -> bool {
        let StreamState::Running { leg: Some(leg), .. } = &mut self.state else { return false };
        if frame.kind == FrameKind::Open && self.opened {
            return true;
        }
        let taken = leg.take(frame);
        if !taken {
            drop(self.frames.take_rest());
        }
        !taken
    }

    /// Goes on with the next leg of a resumable stream.
    fn follow(&mut self, next: NextLeg) {
        let StreamState::Running { receiver, leg: Some(leg), .. } = &mut self.state else { return };
        // What is left may end with a part of a frame.
        drop(self.frames.take_rest());
        *receiver = next.receiver;
        leg.follow(next.mark);
        self.figures.resumptions += 1;
        if let Some(watched) = &self.figures.watched {
            receiver.watch(watched.0.clone());
        }
    }

    /// Sends the call, unless that has happened.
    #[inline]
    fn start(&mut self) {
        if let StreamState::Ready(_) = self.state {
            self.make_call();
        }
    }

    fn make_call(&mut self) {
        if let StreamState::Ready(mut pending) =
            std::mem::replace(&mut self.state, StreamState::Done)
        {
            let (sender, mut receiver) = byte_channel(HANDOVER);
            let client = pending.client.clone();
            self.span = pending.begin_span();
            pending.seal_operators();
            let prepared = pending.freeze().and_then(|()| pending.prepare_legs(HANDOVER));
            let leg = match prepared {
                Ok(leg) => leg.map(Box::new),
                Err(error) => {
                    self.span.fail(&error);
                    self.state = StreamState::Failed(error);
                    return;
                }
            };
            let kind = pending.header.kind;
            let demand = pending.demand.clone();
            let (task, upload) = CallTask::new(*pending);
            // The handle is not kept: the task ends by itself once `receiver` is dropped.
            CallGuard::new(&client.link, kind).spawn(task.stream(sender)).detach();
            if let Some(watched) = &self.figures.watched {
                receiver.watch(watched.0.clone());
            }
            self.state = StreamState::Running { receiver, upload, demand, leg, _client: client };
        }
    }

    /// Decodes an item of this type. An item that cannot be decoded ends the stream.
    pub(super) fn decode<T: Value>(&mut self, of: &ValueType, frame: &Frame) -> Result<T, Error> {
        let decoded = self.form.now().decode(of, &frame.body, self.max_decoded, &mut 0);
        self.delivered(decoded)
    }

    /// Decodes an item by means of `reader`. An item that cannot be decoded ends the stream.
    pub(super) fn read<T>(&mut self, reader: &dyn ReadItem<T>, frame: &Frame) -> Result<T, Error> {
        let mut budget = Budget::for_message(frame.body.len(), self.max_decoded);
        let form = self.form.now();
        let read = unwinding(|| reader.read(&frame.body, form.codec, &mut budget));
        form.note_left_out(budget.left_out());
        self.delivered(read.and_then(|(item, length)| match frame.body.len() - length {
            0 => Ok(item),
            left => Err(format!("{left} bytes are left over after the item")),
        }))
    }

    /// Decodes an item of JSON. An item that cannot be decoded ends the stream.
    pub(in crate::client) fn json(&mut self, frame: &Frame) -> Result<serde_json::Value, Error> {
        let decoded = Codec::Json.decode(&frame.body, self.max_decoded);
        self.delivered(decoded)
    }

    /// Returns an item of JSON as text. An item that is no JSON ends the stream.
    #[cfg(feature = "http")]
    pub(in crate::client) fn json_text(&mut self, frame: &Frame) -> Result<JsonText, Error> {
        self.delivered(JsonText::new(&frame.body))
    }

    /// Returns whether nothing follows what was returned last.
    #[cfg(feature = "http")]
    pub(in crate::client) fn is_over(&self) -> bool {
        matches!(self.state, StreamState::Done)
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
    pub(super) fn protocol(&mut self, text: &str) -> Error {
        self.fail(Error::new(ErrorKind::Protocol, text.to_owned()).with_evidence(Evidence::Sent))
    }

    /// Returns the number of items that the reader has got.
    fn returned(&self) -> u64 {
        self.items - self.left_out
    }

    /// Ends the stream with `error`.
    fn fail(&mut self, error: Error) -> Error {
        self.state = StreamState::Done;
        let error = error.with_delivered(self.returned());
        // A stream that was open has run, whatever the error says.
        let error = if self.opened { error.with_evidence(Evidence::Answered) } else { error };
        self.span.fail(&error);
        error
    }

    /// Ends the stream as its function, or the operators at the client, have.
    fn close(&mut self, end: CallEnd) {
        self.state = StreamState::Done;
        self.span.end(end);
    }
}
