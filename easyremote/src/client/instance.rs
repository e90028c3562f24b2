//! Handles of remote values, on which methods are called.

use std::sync::Arc;

use futures::Stream;

use crate::client::call::Call;
use crate::client::handle::Client;
use crate::client::pending_call::PendingCall;
use crate::client::stream::StreamCall;
use crate::error::{Error, ErrorKind};
use crate::function::remote::{Remote, RemoteStream, RemoteUnary};

/// A handle of a value that nodes keep: the inside of the handles that `#[remote]` generates for a
/// type or a trait.
#[derive(Clone, Debug)]
pub struct Instance {
    client: Client,
    /// The name of the instance; `None` for the node's state of the type.
    name: Option<Arc<str>>,
}

impl Instance {
    /// Returns a handle of the value that nodes keep as their state.
    #[must_use]
    pub fn new(client: &Client) -> Self {
        Self { client: client.clone(), name: None }
    }

    /// Returns a handle of the value that nodes keep under `name`. The name is checked by each
    /// call.
    #[must_use]
    pub fn named(&self, name: &str) -> Self {
        Self { client: self.client.clone(), name: Some(name.into()) }
    }

    /// Creates a call of the method `F`.
    pub fn call<F: RemoteUnary>(&self, arguments: F::Arguments) -> Call<F> {
        Call::new(self.prepare::<F>(&arguments))
    }

    /// Creates a call of the method `F` that sends a client stream.
    pub fn call_with<F, S>(&self, arguments: F::Arguments, stream: S) -> Call<F>
    where
        F: RemoteUnary,
        S: Stream<Item = F::Upload> + Send + 'static,
    {
        Call::new(self.prepare::<F>(&arguments).map(|pending| pending.with_upload(stream)))
    }

    /// Creates a stream call of the method `F`.
    pub fn stream_call<F: RemoteStream>(&self, arguments: F::Arguments) -> StreamCall<F> {
        StreamCall::new(self.prepare::<F>(&arguments))
    }

    /// Creates a stream call of the method `F` that sends a client stream.
    pub fn stream_call_with<F, S>(&self, arguments: F::Arguments, stream: S) -> StreamCall<F>
    where
        F: RemoteStream,
        S: Stream<Item = F::Upload> + Send + 'static,
    {
        StreamCall::new(self.prepare::<F>(&arguments).map(|pending| pending.with_upload(stream)))
    }

    fn prepare<F: Remote>(&self, arguments: &F::Arguments) -> Result<PendingCall, Error> {
        let mut pending = PendingCall::typed::<F>(&self.client, arguments)?;
        if let Some(name) = &self.name {
            let function = F::DESCRIPTOR.name_at(name);
            let function = function.map_err(|text| Error::new(ErrorKind::InvalidInput, text))?;
            pending.header.function = function.into();
        }
        Ok(pending)
    }
}
