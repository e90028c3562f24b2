//! Calls by name whose arguments and results stay the JSON text that they are.
//!
//! A number keeps its digits and an object the order of its members, which a parsed value does not
//! have. What a node sends is checked before it is passed on: it is one JSON value, on one line.

use std::future::{Future, poll_fn};
use std::task::{Context, Poll, ready};

use futures::Stream;
use serde_json::value::RawValue;

use crate::client::call::{not_asked_for, undecoded};
use crate::client::handle::Client;
use crate::client::json::{JsonCall, JsonStream};
use crate::client::json_job::JsonJob;
use crate::client::pending_call::PendingCall;
use crate::client::ring::{RingCall, StreamPosition};
use crate::client::stream::raw::{RawStream, StreamFrame};
use crate::client::stream::through::named;
use crate::error::CallError;
use crate::wire::frame::{Frame, FrameKind};
use crate::wire::json_text::JsonText;
use crate::wire::kind::Kind;

impl Client {
    /// [`call_json`](Self::call_json), with arguments as text.
    pub(crate) fn call_text(&self, function: String, arguments: Box<RawValue>) -> JsonCall {
        JsonCall::new(PendingCall::json(self, function, Kind::Unary, &arguments))
    }

    /// [`stream_json`](Self::stream_json), with arguments as text.
    pub(crate) fn stream_text(&self, function: String, arguments: Box<RawValue>) -> JsonStream {
        JsonStream::new(PendingCall::json(self, function, Kind::Stream, &arguments))
    }
}

impl JsonCall {
    /// [`items`](Self::items), as text.
    pub(crate) fn items_text<S>(mut self, items: S) -> Self
    where
        S: Stream<Item = Box<RawValue>> + Send + 'static,
    {
        self.raw.change(|pending| pending.add_json_items(items));
        self
    }

    /// Makes the call. Returns its result as text.
    ///
    /// # Errors
    /// Those of the call; the function's own error as text.
    pub(crate) async fn text(mut self) -> Result<JsonText, CallError<JsonText>> {
        let answer = poll_fn(|context| self.raw.poll(context)).await?;
        text_result(&answer.frame)
    }
}

impl JsonJob {
    /// [`result`](Self::result), as text.
    ///
    /// # Errors
    /// Those of [`result`](Self::result); the function's own error as text.
    pub(crate) async fn text(&self) -> Result<JsonText, CallError<JsonText>> {
        text_result(&self.raw.result().await?)
    }
}

fn text_result(frame: &Frame) -> Result<JsonText, CallError<JsonText>> {
    let text = || JsonText::new(&frame.body).map_err(undecoded);
    match frame.kind {
        FrameKind::Fault => Err(CallError::Function(text()?)),
        FrameKind::Body => Ok(text()?),
        other => Err(not_asked_for(other).into()),
    }
}

impl JsonStream {
    /// [`items`](Self::items), as text.
    pub(crate) fn items_text<S>(mut self, items: S) -> Self
    where
        S: Stream<Item = Box<RawValue>> + Send + 'static,
    {
        self.raw.change(|pending| pending.add_json_items(items));
        self
    }

    /// [`through`](Self::through), with arguments as text.
    pub(crate) fn through_text(mut self, operator: String, arguments: Box<RawValue>) -> Self {
        self.raw.through(named(operator, &arguments));
        self
    }

    /// Waits until the function's set-up is done. Cancel safe.
    ///
    /// # Errors
    /// That of the set-up, as text, and what keeps the stream from opening.
    pub(crate) fn opened(
        &mut self,
    ) -> impl Future<Output = Result<(), CallError<JsonText>>> + use<'_> {
        poll_fn(|context| {
            Poll::Ready(match ready!(self.raw.poll_open(context))? {
                None => Ok(()),
                Some(fault) => Err(CallError::Function(self.raw.json_text(&fault)?)),
            })
        })
    }

    /// Polls for the next item, as text.
    pub(crate) fn poll_text(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<JsonText, CallError<JsonText>>>> {
        let next = ready!(self.raw.poll_next(context));
        Poll::Ready(next.map(|next| match next? {
            StreamFrame::Item(frame) => Ok(self.raw.json_text(&frame)?),
            StreamFrame::ItemFault(frame) | StreamFrame::Fault(frame) => {
                Err(CallError::Function(self.raw.json_text(&frame)?))
            }
            StreamFrame::ItemError(error) => Err(error.into()),
        }))
    }

    /// Returns whether nothing follows what was returned last.
    pub(crate) fn is_over(&self) -> bool {
        self.raw.is_over()
    }
}

/// Streams whose readers may come back, also at another gateway.
impl JsonStream {
    /// Makes the node keep the last items, for a reader that may lose what it has taken.
    ///
    /// Once [`position`](Self::position) has returned one, dropping the stream does not cancel it: its
    /// node keeps it for 30 s. To be called before the operators are set.
    pub(crate) fn with_ring(mut self) -> Self {
        self.raw
            .change(|pending| (pending.resumable, pending.ring) = (true, Some(RingCall::Starts)));
        self
    }

    /// Returns the rest of a stream with a replay ring, behind `position`.
    pub(crate) fn continued(client: &Client, function: String, position: StreamPosition) -> Self {
        Self { raw: RawStream::continued(client, function, position) }
    }

    /// Waits until the node has said that it has the stream. Returns what is there before that.
    pub(crate) async fn attached(
        &mut self,
    ) -> Option<Option<Result<JsonText, CallError<JsonText>>>> {
        // The first poll makes the call.
        let first = poll_fn(|context| {
            Poll::Ready(match self.poll_text(context) {
                Poll::Ready(next) => Some(next),
                Poll::Pending => None,
            })
        });
        if let Some(next) = first.await {
            return Some(next);
        }
        let attached = self.raw.attached()?;
        tokio::select! {
            biased;
            next = poll_fn(|context| self.poll_text(context)) => Some(next),
            () = attached.cancelled() => None,
        }
    }

    /// Returns the position behind the last item of a stream with a replay ring; `None` if it has not
    /// begun, or is over.
    pub(crate) fn position(&self) -> Option<StreamPosition> {
        self.raw.position()
    }
}
