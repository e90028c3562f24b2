//! Calls and streams by name, with JSON for arguments and results.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures::Stream;
use serde_json::Value;

use crate::client::call::{RawCall, undecoded};
use crate::client::handle::Client;
use crate::client::options::{Options, options};
use crate::client::pending_call::PendingCall;
use crate::client::stream::{Next, RawStream};
use crate::error::{CallError, Error};
use crate::wire::codec::Codec;
use crate::wire::frame::FrameKind;
use crate::wire::kind::Kind;

impl Client {
    /// Calls a function by its name. `arguments` is an array, by position, or an object, by name.
    ///
    /// The node decodes, so neither this program nor the gateway needs to know the types; see
    /// [`functions`](Self::functions) for what there is.
    pub fn call_json(&self, function: impl Into<String>, arguments: Value) -> JsonCall {
        JsonCall::new(PendingCall::json(self, function.into(), Kind::Unary, &arguments))
    }

    /// Reads a function's stream by its name. `arguments` as for [`call_json`](Self::call_json).
    pub fn stream_json(&self, function: impl Into<String>, arguments: Value) -> JsonStream {
        JsonStream::new(PendingCall::json(self, function.into(), Kind::Stream, &arguments))
    }
}

/// A function's own error, as JSON: the `E` of calls by name.
///
/// `Display` is its JSON text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JsonError(pub Value);

impl fmt::Display for JsonError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for JsonError {}

/// A call by name, from [`Client::call_json`]: a future of its result, or of the function's own
/// error, as JSON. One that travels as text (`err = "display"`) is a [`CallError::Remote`] of kind
/// [`Failed`](crate::ErrorKind::Failed).
///
/// # Cancel safety
/// As for [`Call`](crate::Call).
#[derive(Debug)]
#[must_use = "a call does nothing until it is awaited"]
pub struct JsonCall {
    raw: RawCall,
}

impl JsonCall {
    fn new(prepared: Result<PendingCall, Error>) -> Self {
        Self { raw: RawCall::new(prepared) }
    }

    fn set(&mut self, change: impl FnOnce(&mut Options)) {
        self.raw.change(|prepared| change(&mut prepared.options));
    }
}

options!(impl JsonCall);

impl Future for JsonCall {
    type Output = Result<Value, CallError<JsonError>>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let max_decoded = self.raw.max_decoded;
        self.raw.poll(context).map(|answer| {
            let frame = answer?.frame;
            let value = Codec::Json.decode(&frame.body, max_decoded).map_err(undecoded)?;
            match frame.kind {
                FrameKind::Fault => Err(CallError::Function(JsonError(value))),
                _ => Ok(value),
            }
        })
    }
}

/// A stream by name, from [`Client::stream_json`]: its items as JSON.
///
/// The function's own error, of the set-up or of one item, is [`CallError::Function`], or if it
/// travels as text a [`CallError::Remote`] of kind [`Failed`](crate::ErrorKind::Failed); after one
/// of an item the stream goes on.
///
/// # Cancel safety
/// As for [`StreamCall`](crate::StreamCall).
#[derive(Debug)]
#[must_use = "a stream does nothing until it is polled"]
pub struct JsonStream {
    raw: RawStream,
}

impl JsonStream {
    fn new(prepared: Result<PendingCall, Error>) -> Self {
        Self { raw: RawStream::new(prepared) }
    }

    /// Ends the stream after `items` further items; see
    /// [`StreamCall::take`](crate::StreamCall::take).
    pub fn take(mut self, items: usize) -> Self {
        self.raw.take(items as u64);
        self
    }

    fn set(&mut self, change: impl FnOnce(&mut Options)) {
        self.raw.change(|prepared| change(&mut prepared.options));
    }
}

options!(impl JsonStream);

impl Stream for JsonStream {
    type Item = Result<Value, CallError<JsonError>>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let next = ready!(self.raw.poll_next(context));
        Poll::Ready(next.map(|next| match next? {
            Next::Item(frame) => Ok(self.raw.json(&frame)?),
            Next::ItemFault(frame) | Next::Fault(frame) => {
                Err(CallError::Function(JsonError(self.raw.json(&frame)?)))
            }
            Next::ItemError(error) => Err(error.into()),
        }))
    }
}
