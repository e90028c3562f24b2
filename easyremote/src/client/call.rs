//! Typed calls with one result.

use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::Stream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio_util::sync::WaitForCancellationFutureOwned;

use crate::call::executed::Evidence;
use crate::client::call_task::{CallTask, UnaryAnswer};
use crate::client::errors::thread_ended;
use crate::client::expired::Expired;
use crate::client::handle::Client;
use crate::client::options::{Options, options};
use crate::client::pending_call::{PendingCall, put_request};
use crate::client::upload::UploadSender;
use crate::error::{Error, ErrorKind};
use crate::function::outcome::Outcome;
use crate::function::remote::RemoteUnary;
use crate::transport::call_stats::CallGuard;
use crate::transport::live_connection::LiveConnection;
use crate::transport::mux::client::{MuxEnd, MuxWaiter};
use crate::transport::mux::in_flight::Declined;
use crate::wire::frame::{FRAME_HEADER, Frame, FrameKind};
use crate::wire::kind::Kind;
use crate::wire::limits::MAX_MUX_BODY;
use crate::wire::mux::MuxId;

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
    pub(super) raw: RawCall,
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
    pub(super) fn set(&mut self, change: impl FnOnce(&mut Options)) {
        self.raw.change(|prepared| change(&mut prepared.options));
    }

    pub(super) fn new(prepared: Result<PendingCall, Error>) -> Self {
        Self { raw: RawCall::new(prepared), function: PhantomData }
    }
}

options!(impl<F: RemoteUnary> Call<F>);

impl<F: RemoteUnary> Future for Call<F> {
    type Output = Result<<F::Output as Outcome>::Value, <F::Output as Outcome>::Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let max_decoded = self.raw.max_decoded;
        self.raw.poll(context).map(|answer| result::<F>(&answer?.frame, max_decoded))
    }
}

/// The result of `F` that is in `frame`, for which decoding may take `max_decoded` bytes.
pub(super) fn result<F: RemoteUnary>(
    frame: &Frame,
    max_decoded: usize,
) -> Result<<F::Output as Outcome>::Value, <F::Output as Outcome>::Error> {
    let types = F::signature();
    if frame.kind == FrameKind::Fault {
        let failure = types.failure.decode(&frame.body, max_decoded).map_err(undecoded)?;
        return Err(F::Output::function_error(failure));
    }
    Ok(types.value.decode(&frame.body, max_decoded).map_err(undecoded)?)
}

impl<F: RemoteUnary> std::fmt::Debug for Call<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Call({})", F::DESCRIPTOR.name)
    }
}

/// The error of a result that cannot be decoded.
pub(super) fn undecoded(text: String) -> Error {
    let text = format!("cannot decode the result: {text}");
    Error::new(ErrorKind::BadResponse, text).with_evidence(Evidence::Answered)
}

/// A call without types.
#[derive(Debug)]
pub(super) struct RawCall {
    state: CallState,
    /// Bytes of memory that decoding the result may take.
    pub(super) max_decoded: usize,
}

#[derive(Debug)]
enum CallState {
    /// Boxed: it is large, and gone for most of the call's life.
    Ready(Box<PendingCall>),
    Failed(Error),
    /// The first attempt, on the multiplexed stream.
    OnMux(MuxCall, Client, CallGuard),
    /// An attempt on a stream of its own, and all that follow.
    Running {
        task: CallHandle,
        upload: Option<UploadSender>,
        /// Kept for its thread, on which the task runs.
        client: Client,
    },
    Done,
}

impl RawCall {
    pub(super) fn new(pending: Result<PendingCall, Error>) -> Self {
        match pending {
            Ok(pending) => {
                let max_decoded = pending.client.link.limits.max_decoded;
                Self { state: CallState::Ready(Box::new(pending)), max_decoded }
            }
            Err(error) => Self { state: CallState::Failed(error), max_decoded: 0 },
        }
    }

    pub(super) fn change(&mut self, change: impl FnOnce(&mut PendingCall)) {
        if let CallState::Ready(pending) = &mut self.state {
            change(pending);
        }
    }

    pub(super) fn poll(&mut self, context: &mut Context<'_>) -> Poll<Result<UnaryAnswer, Error>> {
        loop {
            match std::mem::replace(&mut self.state, CallState::Done) {
                CallState::Ready(pending) => self.state = CallState::start(pending)?,
                CallState::Failed(error) => return Poll::Ready(Err(error)),
                CallState::OnMux(mut call, client, guard) => match call.poll(context) {
                    Poll::Ready(Ok(answer)) => return Poll::Ready(Ok(answer)),
                    Poll::Ready(Err((mut task, error))) => {
                        let pause = task.prepare_again(error)?;
                        self.state = CallState::running(*task, pause, None, client, guard);
                    }
                    Poll::Pending => {
                        self.state = CallState::OnMux(call, client, guard);
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
                CallState::Done => panic!("a call was polled after it had returned its result"),
            }
        }
    }
}

impl CallState {
    /// Makes the first attempt.
    fn start(mut pending: Box<PendingCall>) -> Result<Self, Error> {
        let client = pending.client.clone();
        pending.freeze()?;
        let guard = CallGuard::new(&client.link, pending.header.kind);
        Ok(match MuxCall::submit(pending) {
            Ok(call) => Self::OnMux(call, client, guard),
            Err(pending) => {
                let (task, upload) = CallTask::new(*pending);
                Self::running(task, Duration::ZERO, upload, client, guard)
            }
        })
    }

    /// Begins an attempt on a stream of its own, after `pause`.
    fn running(
        task: CallTask,
        pause: Duration,
        upload: Option<UploadSender>,
        client: Client,
        guard: CallGuard,
    ) -> Self {
        let task = CallHandle(guard.spawn(task.unary(pause)));
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

/// A call on the multiplexed stream. Its caller polls it; no task stands between.
struct MuxCall {
    /// The connection counts as used as long as this is held.
    live: Arc<LiveConnection>,
    id: MuxId,
    ended: oneshot::Receiver<MuxEnd>,
    /// Resolves when the call ends for which this one is made.
    cancelled: Option<Pin<Box<WaitForCancellationFutureOwned>>>,
    /// For another attempt, and for errors. `None` once the call has ended.
    pending: Option<Box<PendingCall>>,
}

/// An attempt that failed: what makes the next one, and why.
type FailedAttempt = (Box<CallTask>, Error);

impl MuxCall {
    /// Sends the call, if it is a small one and a multiplexed stream takes it; otherwise it is
    /// given back.
    fn submit(mut pending: Box<PendingCall>) -> Result<Self, Box<PendingCall>> {
        let unary = pending.header.kind == Kind::Unary;
        let length = pending.body.len() - FRAME_HEADER;
        let function = &pending.header.function;
        let fits = |live: &Arc<LiveConnection>| {
            unary && length <= MAX_MUX_BODY.min(live.max_message) && !live.holds_back(function)
        };
        let Some(live) = pending.client.link.live().filter(fits) else { return Err(pending) };
        let Some(mux) = &live.mux else { return Err(pending) };
        let (ended, ending) = oneshot::channel();
        let waiter = MuxWaiter { ended, deadline: pending.deadline };
        let request = &mut *pending;
        request.prepare(&live);
        let sent = mux.submit(waiter, request.deadline, |_, out| {
            put_request(&mut request.header, request.deadline, &request.body, out)
        });
        let id = match sent {
            Ok(id) => id,
            // A header that cannot be written fails in the same way on a stream of its own.
            Err(Declined::Busy(_) | Declined::Unwritten(..)) => return Err(pending),
        };
        let scope = pending.client.scope.as_ref();
        let cancelled = scope.map(|scope| Box::pin(scope.cancelled.clone().cancelled_owned()));
        Ok(Self { live, id, ended: ending, cancelled, pending: Some(pending) })
    }

    /// # Panics
    /// If it is polled after it has ended.
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Result<UnaryAnswer, FailedAttempt>> {
        let ended = match Pin::new(&mut self.ended).poll(context) {
            Poll::Ready(ended) => Some(ended),
            Poll::Pending => {
                let cancelled = self.cancelled.as_mut().map(|it| it.as_mut().poll(context));
                if !matches!(cancelled, Some(Poll::Ready(()))) {
                    return Poll::Pending;
                }
                self.abandon();
                None
            }
        };
        let pending = self.pending.take().expect("a call was polled after its end");
        let mut task = Box::new(CallTask::new(*pending).0);
        Poll::Ready(match ended {
            Some(Ok(end)) => task.ended(end, &self.live).map_err(|error| (task, error)),
            // The I/O thread ended in the middle of the answer.
            Some(Err(_)) => Err((task, thread_ended())),
            None => {
                let error = task.expired(Expired::Cancelled, Evidence::Sent);
                Err((task, error))
            }
        })
    }

    fn abandon(&self) {
        if let Some(mux) = &self.live.mux {
            mux.abandon(self.id, |waiter| (waiter, ()));
        }
    }
}

impl Drop for MuxCall {
    fn drop(&mut self) {
        if self.pending.is_some() {
            self.abandon();
        }
    }
}

impl std::fmt::Debug for MuxCall {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "MuxCall({})", self.id)
    }
}
