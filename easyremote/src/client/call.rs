//! Calls with one result: the typed future [`Call`], and the untyped state machine behind it.
//!
//! ```text
//!   Ready --first poll--> OnMux ---> Done
//!     |                     | failed, another attempt
//!     | not a small call    v
//!     +-----------------> Running ---> Done
//! ```
//!
//! A small call shares the multiplexed stream of its connection, and its caller's task polls it
//! directly. Every other call, and every further attempt, is a [`CallTask`], one of the I/O tasks. A
//! [`HedgedCall`] consists of two such calls.

use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::Stream;
use tokio::sync::oneshot;
use tokio_util::sync::WaitForCancellationFutureOwned;

use crate::call::executed::Evidence;
use crate::client::answer_form::AnswerForm;
use crate::client::call_task::{CallTask, UnaryAnswer};
use crate::client::errors::thread_ended;
use crate::client::expired::Expired;
use crate::client::handle::Client;
use crate::client::hedge::HedgedCall;
use crate::client::options::{Options, options};
use crate::client::pending_call::{PendingCall, put_request};
use crate::client::span::ClientSpan;
use crate::client::upload::UploadSender;
use crate::error::{Error, ErrorKind};
use crate::function::outcome::Outcome;
use crate::function::remote::RemoteUnary;
use crate::transport::call_stats::CallGuard;
use crate::transport::io::IoTask;
use crate::transport::live_connection::LiveConnection;
use crate::transport::mux::client::{MuxEnd, MuxWaiter};
use crate::transport::mux::in_flight::Declined;
use crate::wire::frame::{FRAME_HEADER, Frame, FrameKind};
use crate::wire::kind::Kind;
use crate::wire::limits::MAX_MUX_BODY;
use crate::wire::mux::MuxId;

/// A call of a remote function with one result: a future that sends the call when it is first
/// polled. Returned by a stub's `call`.
///
/// | the function returns              | awaiting the call returns                              |
/// |-----------------------------------|--------------------------------------------------------|
/// | `T`                               | `Result<T, `[`Error`]`>`                               |
/// | `Result<T, E>`                    | `Result<T, `[`CallError`]`<E>>`                        |
/// | `Result<T, E>`, `err = "display"` | `Result<T, `[`Error`]`>`; an `E` is of kind [`Failed`] |
/// | `Result<T, E>`, `plain`           | `Result<Result<T, E>, `[`Error`]`>`                    |
///
/// The methods set options. They have to be set before the first poll; later they have no effect.
/// The future is `Send` and `Unpin`, and runs on any executor.
///
/// ```
/// # use easyremote::{Client, Gateway, Node, functions, remote};
/// use std::time::Duration;
///
/// #[remote]
/// fn add(a: i64, b: i64) -> i64 {
///     a + b
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), easyremote::Error> {
/// # let gateway = Gateway::serve("127.0.0.1:0").await?;
/// # let _node = Node::serve(gateway.local_addr(), functions![add]).await?;
/// # let client = Client::connect(gateway.local_addr()).await?;
/// let sum = add::call(&client, 1, 2).timeout(Duration::from_secs(5)).await?;
/// assert_eq!(sum, 3);
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// [`Error::kind`] returns what happened, and [`Error::executed`] whether the function may have
/// run.
///
/// # Cancel safety
/// Dropping the call cancels it. An async function stops at its next await; a sync function runs to
/// its end, and its result is dropped. Before the first poll nothing has been sent.
///
/// # Panics
/// If it is polled after it has returned its result.
///
/// [`CallError`]: crate::CallError
/// [`Failed`]: ErrorKind::Failed
#[doc(alias = "rpc")]
#[doc(alias = "invoke")]
#[doc(alias = "request")]
#[doc(alias = "cancel")]
#[doc(alias = "abort")]
#[must_use = "a call does nothing until it is awaited"]
pub struct Call<F: RemoteUnary> {
    pub(super) raw: RawCall,
    function: PhantomData<fn() -> F>,
}

/// Creates a call of `F`. Generated stubs use it.
pub fn call<F: RemoteUnary>(client: &Client, arguments: F::Arguments) -> Call<F> {
    let raw = RawCall::new(PendingCall::typed::<F>(client, &arguments));
    Call { raw, function: PhantomData }
}

/// Creates a call of `F` that sends a client stream. Generated stubs use it.
pub fn call_with<F, S>(client: &Client, arguments: F::Arguments, stream: S) -> Call<F>
where
    F: RemoteUnary,
    S: Stream<Item = F::Upload> + Send + 'static,
{
    let pending = PendingCall::typed::<F>(client, &arguments);
    let raw = RawCall::new(pending.map(|pending| pending.with_upload(stream)));
    Call { raw, function: PhantomData }
}

impl<F: RemoteUnary> Call<F> {
    pub(super) fn set(&mut self, change: impl FnOnce(&mut Options)) {
        self.raw.change(|pending| change(&mut pending.options));
    }

    pub(super) fn new(pending: Result<PendingCall, Error>) -> Self {
        Self { raw: RawCall::new(pending), function: PhantomData }
    }
}

options!("let call = add::call(&client, 1, 2)", impl<F: RemoteUnary> Call<F>);

impl<F: RemoteUnary> Future for Call<F> {
    /// `Result<T, Error>`, or `Result<T, CallError<E>>`: see the table of [`Call`].
    type Output = Result<<F::Output as Outcome>::Value, <F::Output as Outcome>::Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let max_decoded = self.raw.max_decoded;
        self.raw.poll(context).map(|answer| {
            let UnaryAnswer { frame, form, .. } = answer?;
            result::<F>(&frame, &form, max_decoded, &mut 0)
        })
    }
}

/// Decodes the result of `F` in `frame`, using at most `max_decoded` bytes of memory. Writes how many
/// fields were left out to `left_out`.
///
/// # Errors
/// The function's own error, or why the frame cannot be decoded.
pub(super) fn result<F: RemoteUnary>(
    frame: &Frame,
    form: &AnswerForm,
    max_decoded: usize,
    left_out: &mut u64,
) -> Result<<F::Output as Outcome>::Value, <F::Output as Outcome>::Error> {
    let types = F::signature();
    match frame.kind {
        FrameKind::Fault => {
            let failure = form.decode(types.failure, &frame.body, max_decoded, left_out);
            Err(F::Output::function_error(failure.map_err(undecoded)?))
        }
        FrameKind::Body => {
            let value = form.decode(types.value, &frame.body, max_decoded, left_out);
            Ok(value.map_err(undecoded)?)
        }
        other => Err(not_asked_for(other).into()),
    }
}

impl<F: RemoteUnary> std::fmt::Debug for Call<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Call({})", F::DESCRIPTOR.name)
    }
}

/// Returns the error of a result that cannot be decoded.
pub(super) fn undecoded(text: String) -> Error {
    let text = format!("cannot decode the result: {text}");
    Error::new(ErrorKind::BadResponse, text).with_evidence(Evidence::Answered)
}

/// Returns the error of an answer of a kind that the call has not asked for.
pub(super) fn not_asked_for(kind: FrameKind) -> Error {
    let text = format!("a {kind:?} frame is no answer to this call");
    Error::new(ErrorKind::Protocol, text).with_evidence(Evidence::Sent)
}

/// A call without types.
#[derive(Debug)]
pub(super) struct RawCall {
    state: CallState,
    /// Limit of memory for decoding the result, in bytes.
    pub(super) max_decoded: usize,
    span: ClientSpan,
}

#[derive(Debug)]
enum CallState {
    /// Boxed: it is large, and gone for most of the call's life.
    Ready(Box<PendingCall>),
    Failed(Error),
    /// The first attempt, on the multiplexed stream.
    OnMux(MuxCall, Client, CallGuard),
    /// An attempt on a separate stream, and all further attempts.
    Running {
        task: CallHandle,
        upload: Option<UploadSender>,
        /// Keeps the client's I/O alive, which the task belongs to.
        client: Client,
    },
    Hedged(Box<HedgedCall>),
    Done,
}

impl RawCall {
    pub(super) fn new(pending: Result<PendingCall, Error>) -> Self {
        match pending {
            Ok(pending) => {
                let max_decoded = pending.client.link.limits.max_decoded;
                Self::at(CallState::Ready(Box::new(pending)), max_decoded)
            }
            Err(error) => Self::at(CallState::Failed(error), 0),
        }
    }

    /// Creates a call whose options are frozen, and starts it.
    pub(super) fn frozen(pending: Box<PendingCall>) -> Self {
        let max_decoded = pending.client.link.limits.max_decoded;
        Self::at(CallState::begin(pending), max_decoded)
    }

    fn at(state: CallState, max_decoded: usize) -> Self {
        Self { state, max_decoded, span: ClientSpan::none() }
    }

    pub(super) fn change(&mut self, change: impl FnOnce(&mut PendingCall)) {
        if let CallState::Ready(pending) = &mut self.state {
            change(pending);
        }
    }

    /// Returns whether the call has been polled.
    pub(super) fn has_begun(&self) -> bool {
        !matches!(self.state, CallState::Ready(_) | CallState::Failed(_))
    }

    /// Returns the call before its first poll.
    ///
    /// # Errors
    /// Why it could not be created; `InvalidInput` if it has been polled.
    pub(super) fn into_pending(self) -> Result<Box<PendingCall>, Error> {
        match self.state {
            CallState::Ready(pending) => Ok(pending),
            CallState::Failed(error) => Err(error),
            _ => Err(Error::new(ErrorKind::InvalidInput, "the call has been made already")),
        }
    }

    pub(super) fn poll(&mut self, context: &mut Context<'_>) -> Poll<Result<UnaryAnswer, Error>> {
        let polled = self.poll_state(context);
        if let Poll::Ready(result) = &polled {
            self.span.conclude(result);
        }
        polled
    }

    fn poll_state(&mut self, context: &mut Context<'_>) -> Poll<Result<UnaryAnswer, Error>> {
        loop {
            match std::mem::replace(&mut self.state, CallState::Done) {
                CallState::Ready(mut pending) => {
                    self.span = pending.begin_span();
                    self.state = CallState::start(pending)?;
                }
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
                    return match Pin::new(&mut task).poll(context) {
                        Poll::Ready(joined) => {
                            Poll::Ready(joined.unwrap_or_else(|| Err(thread_ended())))
                        }
                        Poll::Pending => {
                            self.state = CallState::Running { task, upload, client };
                            Poll::Pending
                        }
                    };
                }
                CallState::Hedged(mut call) => {
                    let polled = call.poll(context);
                    if polled.is_pending() {
                        self.state = CallState::Hedged(call);
                    }
                    return polled;
                }
                CallState::Done => panic!("a call was polled after it had returned its result"),
            }
        }
    }
}

impl CallState {
    /// Starts the first attempt.
    fn start(mut pending: Box<PendingCall>) -> Result<Self, Error> {
        if let Some(hedge) = pending.hedge.take() {
            return HedgedCall::start(pending, hedge).map(|call| Self::Hedged(Box::new(call)));
        }
        pending.freeze()?;
        pending.keep_upload()?;
        Ok(Self::begin(pending))
    }

    /// Starts the first attempt of a call whose options are frozen.
    fn begin(pending: Box<PendingCall>) -> Self {
        let client = pending.client.clone();
        let guard = CallGuard::new(&client.link, pending.header.kind);
        match MuxCall::submit(pending) {
            Ok(call) => Self::OnMux(call, client, guard),
            Err(pending) => {
                let (task, upload) = CallTask::new(*pending);
                Self::running(task, Duration::ZERO, upload, client, guard)
            }
        }
    }

    /// Starts an attempt on a separate stream after `pause`.
    fn running(
        task: CallTask,
        pause: Duration,
        upload: Option<UploadSender>,
        client: Client,
        guard: CallGuard,
    ) -> Self {
        let task = guard.spawn(task.unary(pause));
        Self::Running { task, upload, client }
    }
}

/// A call's task beside its connection. Dropping it cancels the task, also while a panic of the
/// caller's stream unwinds. The task owns both halves of the stream: with them go RESET_STREAM and
/// STOP_SENDING, which tell the gateway that the call is cancelled.
type CallHandle = IoTask<Result<UnaryAnswer, Error>>;

/// A call on the multiplexed stream. The caller polls it directly, without a task between.
struct MuxCall {
    /// Held so that the connection counts as in use until the call ends.
    live: Arc<LiveConnection>,
    id: MuxId,
    ended: oneshot::Receiver<MuxEnd>,
    /// Resolves when the enclosing call ends, if this is a nested call.
    cancelled: Option<Pin<Box<WaitForCancellationFutureOwned>>>,
    /// Kept for another attempt and for error texts; `None` once the call has ended.
    pending: Option<Box<PendingCall>>,
}

/// A failed attempt: the task that can make the next attempt, and the error.
type FailedAttempt = (Box<CallTask>, Error);

impl MuxCall {
    /// Queues a small call on the multiplexed stream.
    ///
    /// # Errors
    /// Returns the call if it is not a small one, or if the multiplexed stream does not take it.
    /// Nothing has been sent then.
    fn submit(mut pending: Box<PendingCall>) -> Result<Self, Box<PendingCall>> {
        // A job keeps its place at the node beyond its answer.
        let unary = pending.header.kind == Kind::Unary && !pending.header.is_spawn();
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
            // A header that cannot be written fails in the same way on a separate stream.
            Err(Declined::Busy(_) | Declined::Unwritten(..)) => return Err(pending),
        };
        let scope = pending.client.scope.as_ref();
        let cancelled = scope.map(|scope| Box::pin(scope.cancelled.clone().cancelled_owned()));
        Ok(Self { live, id, ended: ending, cancelled, pending: Some(pending) })
    }

    /// Polls for the answer.
    ///
    /// # Panics
    /// If it is polled after it has ended.
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Result<UnaryAnswer, FailedAttempt>> {
        // The answer first: a call that has been answered does not count as cancelled, even if the
        // enclosing call has ended in the same moment.
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
        let ended = match ended {
            Some(Ok(MuxEnd::Response(response))) => {
                let link = &pending.client.link;
                match UnaryAnswer::new(response, &pending.header, &self.live, link) {
                    Ok(answer) => {
                        pending.client.link.retries.refund();
                        return Poll::Ready(Ok(answer));
                    }
                    Err(response) => Some(Ok(MuxEnd::Response(response))),
                }
            }
            other => other,
        };
        let mut task = Box::new(CallTask::new(*pending).0);
        let error = match ended {
            Some(Ok(end)) => task.failed(end, &self.live),
            // The sender was dropped without an end: the client has ended.
            Some(Err(_)) => thread_ended(),
            None => task.expired(Expired::Cancelled, Evidence::Sent),
        };
        Poll::Ready(Err((task, error)))
    }

    fn abandon(&self) {
        if let Some(mux) = &self.live.mux {
            mux.abandon(self.id, |waiter| (waiter, ()));
        }
    }
}

impl Drop for MuxCall {
    fn drop(&mut self) {
        // If the answer arrives at the same time, its slot is vacant, and abandoning does nothing.
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
