//! What a client calls methods on.

use std::sync::Arc;

use futures::Stream;

use crate::client::call::Call;
use crate::client::handle::Client;
use crate::client::pending_call::PendingCall;
use crate::client::stream::StreamCall;
use crate::error::{Error, ErrorKind};
use crate::function::remote::{Remote, RemoteStream, RemoteUnary};

/// A value that nodes keep, on which methods are called: what is behind the handles that
/// `#[remote]` writes for a type or a trait.
#[derive(Clone, Debug)]
pub struct Instance {
    client: Client,
    /// Its name; without one it is the node's state.
    name: Option<Arc<str>>,
}

impl Instance {
    /// The value that nodes keep as their state.
    #[must_use]
    pub fn new(client: &Client) -> Self {
        Self { client: client.clone(), name: None }
    }

    /// The value that nodes keep under `name`. Whether it is a proper name is for the call to say.
    #[must_use]
    pub fn named(&self, name: &str) -> Self {
        Self { client: self.client.clone(), name: Some(name.into()) }
    }

    /// Begins a call of the method `F`.
    pub fn call<F: RemoteUnary>(&self, arguments: F::Arguments) -> Call<F> {
        Call::new(self.prepare::<F>(&arguments))
    }

    /// Begins a call of the method `F` that sends a stream.
    pub fn call_with<F, S>(&self, arguments: F::Arguments, stream: S) -> Call<F>
    where
        F: RemoteUnary,
        S: Stream<Item = F::Upload> + Send + 'static,
    {
        Call::new(self.prepare::<F>(&arguments).map(|prepared| prepared.with_upload(stream)))
    }

    /// Begins a stream of the method `F`.
    pub fn stream_call<F: RemoteStream>(&self, arguments: F::Arguments) -> StreamCall<F> {
        StreamCall::new(self.prepare::<F>(&arguments))
    }

    /// Begins a stream of the method `F` to which a stream is sent.
    pub fn stream_call_with<F, S>(&self, arguments: F::Arguments, stream: S) -> StreamCall<F>
    where
        F: RemoteStream,
        S: Stream<Item = F::Upload> + Send + 'static,
    {
        StreamCall::new(self.prepare::<F>(&arguments).map(|prepared| prepared.with_upload(stream)))
    }

    fn prepare<F: Remote>(&self, arguments: &F::Arguments) -> Result<PendingCall, Error> {
        let mut prepared = PendingCall::typed::<F>(&self.client, arguments)?;
        if let Some(name) = &self.name {
            let function = F::DESCRIPTOR.name_at(name);
            prepared.header.function =
                function.map_err(|text| Error::new(ErrorKind::InvalidInput, text))?;
        }
        Ok(prepared)
    }
}
