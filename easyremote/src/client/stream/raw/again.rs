//! Streams that are called several times with the same arguments and options.

use std::marker::PhantomData;

use super::{RawStream, StreamState};
use crate::client::stream::StreamCall;
use crate::function::outcome::Value;
use crate::function::remote::RemoteStream;

impl<F: RemoteStream, T: Value> StreamCall<F, T> {
    /// Returns a function that returns this call, and then further ones like it, as long as they
    /// can be made.
    pub(in crate::client) fn into_calls(self) -> impl FnMut() -> Option<Self> + Send {
        let (mut raw, reader) = (Some(self.raw), self.reader);
        move || {
            let more = raw.as_ref().and_then(RawStream::again);
            let now = std::mem::replace(&mut raw, more)?;
            Some(Self { raw: now, reader: reader.clone(), function: PhantomData })
        }
    }

    /// Returns whether the stream returns nothing more.
    pub(in crate::client) fn has_ended(&self) -> bool {
        matches!(self.raw.state, StreamState::Done)
    }
}

impl RawStream {
    /// Returns a stream of the same call, made anew; `None` if it has been made already, or sends a
    /// client stream.
    fn again(&self) -> Option<Self> {
        let pending = match &self.state {
            StreamState::Ready(pending) => Ok(pending.again()?),
            StreamState::Failed(error) => Err(error.clone()),
            StreamState::Running { .. } | StreamState::Done => return None,
        };
        Some(Self { limit: self.limit, ..Self::new(pending) })
    }
}
