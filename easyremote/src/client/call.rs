//! Typed calls with one result.

use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures::Stream;
use tokio::task::JoinHandle;

use crate::client::Client;
use crate::client::exchange::{Exchange, closed};
use crate::client::prepared::{Prepared, options};
use crate::client::upload::Upload;
use crate::error::{Error, ErrorKind, Executed};
use crate::function::outcome::Outcome;
use crate::function::remote::RemoteUnary;
use crate::wire::codec::Codec;
use crate::wire::frame::{Frame, FrameKind};

/// A call of a remote function: a future of its result, sent when it is first polled.
///
/// The output is `Result<T, Error>` for a function that returns a plain `T`, and
/// `Result<T, CallError<E>>` for one that returns `Result<T, E>`. Options can be set before the
/// first poll; later they have no effect.
///
/// # Cancel safety
/// Dropping it cancels the call: an async function stops at its next await, a sync one runs on and
/// its result is dropped. Before the first poll nothing has been sent.
#[must_use = "a call does nothing until it is awaited"]
pub struct Call<F: RemoteUnary> {
    raw: RawCall,
    function: PhantomData<fn() -> F>,
}

/// Begins a call of `F`; what the stubs do.
pub fn call<F: RemoteUnary>(client: &Client, arguments: F::Arguments) -> Call<F> {
    let raw = RawCall::new(Prepared::typed::<F>(client, &arguments));
    Call { raw, function: PhantomData }
}

/// Begins a call of `F` that sends a stream; what the stubs do.
pub fn call_with<F, S>(client: &Client, arguments: F::Arguments, stream: S) -> Call<F>
where
    F: RemoteUnary,
    S: Stream<Item = F::Upload> + Send + 'static,
{
    let prepared = Prepared::typed::<F>(client, &arguments);
    let raw = RawCall::new(prepared.map(|prepared| prepared.with_upload(stream)));
    Call { raw, function: PhantomData }
}

impl<F: RemoteUnary> Call<F> {
    pub(super) fn new(prepared: Result<Prepared, Error>) -> Self {
        Self { raw: RawCall::new(prepared), function: PhantomData }
    }

    fn set(&mut self, change: impl FnOnce(&mut Prepared)) {
        self.raw.set(change);
    }
}

options!(impl<F: RemoteUnary> Call<F>);

impl<F: RemoteUnary> Future for Call<F> {
    type Output = Result<<F::Output as Outcome>::Value, <F::Output as Outcome>::Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.raw.poll(context).map(|frame| {
            let frame = frame?;
            if frame.kind == FrameKind::Fault {
                return Err(F::Output::function_error(decode(Codec::Bincode, &frame)?));
            }
            Ok(decode(Codec::Bincode, &frame)?)
        })
    }
}

impl<F: RemoteUnary> std::fmt::Debug for Call<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Call({})", F::DESCRIPTOR.name)
    }
}

/// Decodes what a function gave.
pub(super) fn decode<T: serde::de::DeserializeOwned + 'static>(
    codec: Codec,
    frame: &Frame,
) -> Result<T, Error> {
    codec.decode(&frame.body).map_err(|text| {
        let text = format!("the function's result makes no sense here: {text}");
        Error::new(ErrorKind::BadResponse, text).with_executed(Executed::Yes)
    })
}

/// A call without types: a future of its `Body` or `Fault` frame.
#[derive(Debug)]
pub(super) struct RawCall {
    state: State,
}

#[derive(Debug)]
enum State {
    /// Boxed: it is large, and gone for most of the call's life.
    Ready(Box<Prepared>),
    Doomed(Error),
    Running {
        task: JoinHandle<Result<Frame, Error>>,
        upload: Option<Upload>,
        /// Kept for its thread, on which the task runs.
        client: Client,
    },
    Done,
}

impl RawCall {
    pub(super) fn new(prepared: Result<Prepared, Error>) -> Self {
        let state = match prepared {
            Ok(prepared) => State::Ready(Box::new(prepared)),
            Err(error) => State::Doomed(error),
        };
        Self { state }
    }

    pub(super) fn set(&mut self, change: impl FnOnce(&mut Prepared)) {
        if let State::Ready(prepared) = &mut self.state {
            change(prepared);
        }
    }

    pub(super) fn poll(&mut self, context: &mut Context<'_>) -> Poll<Result<Frame, Error>> {
        loop {
            match std::mem::replace(&mut self.state, State::Done) {
                State::Ready(prepared) => {
                    let client = prepared.client.clone();
                    if client.is_closed() {
                        return Poll::Ready(Err(closed()));
                    }
                    let (exchange, upload) = Exchange::new(*prepared);
                    let task = client.shared.io.spawn(exchange.unary());
                    self.state = State::Running { task, upload, client };
                }
                State::Doomed(error) => return Poll::Ready(Err(error)),
                State::Running { mut task, mut upload, client } => {
                    let sent = upload.as_mut().map(|upload| upload.poll(context));
                    if let Some(Poll::Ready(Err(error))) = sent {
                        task.abort();
                        return Poll::Ready(Err(error));
                    }
                    return match Pin::new(&mut task).poll(context) {
                        Poll::Ready(joined) => {
                            Poll::Ready(joined.unwrap_or_else(|_| Err(thread_ended())))
                        }
                        Poll::Pending => {
                            self.state = State::Running { task, upload, client };
                            Poll::Pending
                        }
                    };
                }
                State::Done => panic!("a call was polled after it had given its result"),
            }
        }
    }
}

impl Drop for RawCall {
    fn drop(&mut self) {
        // The task's halves of the stream are dropped with it, which tells the gateway.
        if let State::Running { task, .. } = &self.state {
            task.abort();
        }
    }
}

/// The error of a call whose task was dropped: only closing the client does that.
pub(super) fn thread_ended() -> Error {
    let text = "the client was closed during the call";
    Error::new(ErrorKind::ConnectionLost, text).with_executed(Executed::Maybe)
}
