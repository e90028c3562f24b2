//! Typed calls with one result.

use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::Stream;
use tokio::task::JoinHandle;

use crate::client::Client;
use crate::client::call_task::{CallTask, UnaryAnswer};
use crate::client::errors::{closed, thread_ended};
use crate::client::mux_call::{MuxCall, MuxOutcome};
use crate::client::options::{Options, options};
use crate::client::pending_call::PendingCall;
use crate::client::trace::TracedCall;
use crate::client::upload::UploadSender;
use crate::error::{Error, ErrorKind, Executed};
use crate::function::outcome::Outcome;
use crate::function::remote::RemoteUnary;
use crate::transport::call_stats::CallGuard;
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
    let raw = RawCall::new(PendingCall::typed::<F>(client, &arguments));
    Call { raw, function: PhantomData }
}

/// Begins a call of `F` that sends a stream; what the stubs do.
pub fn call_with<F, S>(client: &Client, arguments: F::Arguments, stream: S) -> Call<F>
where
    F: RemoteUnary,
    S: Stream<Item = F::Upload> + Send + 'static,
{
    let prepared = PendingCall::typed::<F>(client, &arguments);
    let raw = RawCall::new(prepared.map(|prepared| prepared.with_upload(stream)));
    Call { raw, function: PhantomData }
}

impl<F: RemoteUnary> Call<F> {
    /// Lets the call give a [`Trace`](crate::Trace) beside its result: which node ran it, and how
    /// long that took. To be asked for before the first poll; later nothing is known but zeros.
    ///
    /// ```
    /// # use easyremote::{Client, remote};
    /// # #[remote]
    /// # fn add(a: i64, b: i64) -> i64 { a + b }
    /// # async fn example(client: Client) -> Result<(), easyremote::Error> {
    /// let (sum, trace) = add::call(&client, 1, 2).traced().await?;
    /// println!("{sum} from {} in {:?}, after {:?}", trace.node, trace.ran, trace.queued);
    /// # Ok(())
    /// # }
    /// ```
    pub fn traced(mut self) -> TracedCall<F> {
        self.raw.change(|prepared| prepared.header.traced = true);
        TracedCall::new(self)
    }

    pub(super) fn set(&mut self, change: impl FnOnce(&mut Options)) {
        self.raw.change(|prepared| change(&mut prepared.options));
    }

    pub(super) fn poll_answer(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Result<UnaryAnswer, Error>> {
        self.raw.poll(context)
    }

    pub(super) fn new(prepared: Result<PendingCall, Error>) -> Self {
        Self { raw: RawCall::new(prepared), function: PhantomData }
    }
}

options!(impl<F: RemoteUnary> Call<F>);

impl<F: RemoteUnary> Future for Call<F> {
    type Output = Result<<F::Output as Outcome>::Value, <F::Output as Outcome>::Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.raw.poll(context).map(|answer| result::<F>(&answer?.frame))
    }
}

/// The result of `F` that is in `frame`.
pub(super) fn result<F: RemoteUnary>(
    frame: &Frame,
) -> Result<<F::Output as Outcome>::Value, <F::Output as Outcome>::Error> {
    if frame.kind == FrameKind::Fault {
        return Err(F::Output::function_error(decode(Codec::Bincode, frame)?));
    }
    Ok(decode(Codec::Bincode, frame)?)
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

/// A call without types.
#[derive(Debug)]
pub(super) struct RawCall {
    state: CallState,
}

#[derive(Debug)]
enum CallState {
    /// Boxed: it is large, and gone for most of the call's life.
    Ready(Box<PendingCall>),
    Failed(Error),
    /// Its first attempt shares a stream with other calls.
    OnLane(MuxCall, Client, CallGuard),
    Running {
        task: CallHandle,
        upload: Option<UploadSender>,
        /// Kept for its thread, on which the task runs.
        client: Client,
    },
    Done,
}

impl RawCall {
    pub(super) fn new(prepared: Result<PendingCall, Error>) -> Self {
        let state = match prepared {
            Ok(prepared) => CallState::Ready(Box::new(prepared)),
            Err(error) => CallState::Failed(error),
        };
        Self { state }
    }

    pub(super) fn change(&mut self, change: impl FnOnce(&mut PendingCall)) {
        if let CallState::Ready(prepared) = &mut self.state {
            change(prepared);
        }
    }

    pub(super) fn poll(&mut self, context: &mut Context<'_>) -> Poll<Result<UnaryAnswer, Error>> {
        loop {
            match std::mem::replace(&mut self.state, CallState::Done) {
                CallState::Ready(mut prepared) => {
                    let client = prepared.client.clone();
                    if client.link.is_closed() {
                        return Poll::Ready(Err(closed()));
                    }
                    prepared.freeze();
                    let counted = CallGuard::new(&client.link, prepared.header.kind);
                    self.state = match MuxCall::begin(prepared) {
                        Ok(call) => CallState::OnLane(call, client, counted),
                        Err(prepared) => {
                            let (exchange, upload) = CallTask::new(*prepared);
                            CallState::running(exchange, Duration::ZERO, upload, client, counted)
                        }
                    };
                }
                CallState::Failed(error) => return Poll::Ready(Err(error)),
                CallState::OnLane(mut call, client, counted) => match call.poll(context) {
                    Poll::Ready(MuxOutcome::Answered(answer)) => return Poll::Ready(Ok(answer)),
                    Poll::Ready(MuxOutcome::Failed(mut exchange, error)) => {
                        let pause = exchange.prepare_again(error)?;
                        self.state = CallState::running(*exchange, pause, None, client, counted);
                    }
                    Poll::Pending => {
                        self.state = CallState::OnLane(call, client, counted);
                        return Poll::Pending;
                    }
                },
                CallState::Running { mut task, mut upload, client } => {
                    let sent = upload.as_mut().map(|upload| upload.poll(context));
                    if let Some(Poll::Ready(Err(error))) = sent {
                        return Poll::Ready(Err(error));
                    }
                    return match Pin::new(&mut task.0).poll(context) {
                        Poll::Ready(joined) => {
                            Poll::Ready(joined.unwrap_or_else(|_| Err(thread_ended())))
                        }
                        Poll::Pending => {
                            self.state = CallState::Running { task, upload, client };
                            Poll::Pending
                        }
                    };
                }
                CallState::Done => panic!("a call was polled after it had given its result"),
            }
        }
    }
}

impl CallState {
    /// Begins an attempt on a stream of its own, after `pause`.
    fn running(
        exchange: CallTask,
        pause: Duration,
        upload: Option<UploadSender>,
        client: Client,
        counted: CallGuard,
    ) -> Self {
        let task = CallHandle(counted.spawn(exchange.unary(pause)));
        Self::Running { task, upload, client }
    }
}

/// A call's task on the I/O thread. It is aborted when this is dropped, also while a panic of the
/// caller's stream unwinds.
#[derive(Debug)]
struct CallHandle(JoinHandle<Result<UnaryAnswer, Error>>);

impl Drop for CallHandle {
    fn drop(&mut self) {
        // The task's halves of the stream are dropped with it, which tells the gateway.
        self.0.abort();
    }
}
