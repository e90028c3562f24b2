//! One call at the node: read it, run the function, send what it gives.

use std::any::Any;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::thread;

use tokio::sync::{AcquireError, oneshot};
use tokio::task::{JoinError, JoinHandle};
use tokio::time::{Instant, sleep_until, timeout};

use crate::error::{Error, ErrorKind, Executed};
use crate::function::handler::{Reply, Request, Run, panicked};
use crate::function::outbox::{BATCH, Outbox};
use crate::function::registry::Function;
use crate::gauge::Gauge;
use crate::node::Shared;
use crate::transport::handover::{Taken, Taker, handover};
use crate::transport::reset;
use crate::transport::stream::{FrameError, RecvHalf, SendHalf, Stopped};
use crate::wire::error::put_error;
use crate::wire::frame::{Frame, FrameBuffer, FrameKind};
use crate::wire::header::CallHeader;
use crate::wire::limits::HEADER_TIMEOUT;

/// Bytes of a stream that may wait between the user's code and the I/O thread.
const HANDOVER: usize = 2 * BATCH;

/// Serves one call.
pub(super) async fn serve(
    send: quinn::SendStream,
    recv: quinn::RecvStream,
    shared: Arc<Shared>,
    max_message: usize,
) {
    let _gauge = Gauge::up(&shared.counters.in_flight);
    let send = SendHalf::new(send);
    let stopped = send.stopped();
    let mut call = Call { send, stopped, deadline: None, shared: &shared };
    match call.read(RecvHalf::new(recv), max_message).await {
        Ok((function, request)) => call.run(function, request).await,
        Err(Refusal::Answer(error)) => call.fail(&error.with_node(shared.id.as_str())).await,
        Err(Refusal::Gone) => {}
    }
}

/// A call, as far as its answer is concerned.
struct Call<'a> {
    send: SendHalf,
    /// Resolves when the caller has given the call up.
    stopped: Stopped,
    deadline: Option<Instant>,
    shared: &'a Shared,
}

/// Why a call does not start.
enum Refusal {
    /// The caller is told why.
    Answer(Error),
    /// The caller has left.
    Gone,
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self::Answer(error)
    }
}

/// How a wait for the user's code ended, if not with a result.
enum Interrupt {
    /// The caller has left.
    Gone,
    /// The deadline has passed.
    Late,
}

impl<'a> Call<'a> {
    /// Reads the whole call: nothing starts before the last byte of its arguments is here, so that
    /// whoever lost some of them on the way knows that it has not run.
    async fn read(
        &mut self,
        mut recv: RecvHalf,
        max_message: usize,
    ) -> Result<(&'a Function, Request), Refusal> {
        let mut buffer = FrameBuffer::new(0);
        let header = timeout(HEADER_TIMEOUT, frame(&mut recv, &mut buffer, FrameKind::Header));
        let header = match header.await {
            Ok(frame) => CallHeader::read(&frame?.body)
                .map_err(|cause| Error::new(ErrorKind::Protocol, cause.to_string()))?,
            Err(_) => return Err(Error::new(ErrorKind::Protocol, "no header in time").into()),
        };
        self.deadline = header.timeout.map(|left| Instant::now() + left);
        let function = self.function(&header)?;
        buffer.allow(max_message);
        let reading = frame(&mut recv, &mut buffer, FrameKind::Body);
        let body = match interruptible(&mut self.stopped, self.deadline, reading).await {
            Ok(frame) => frame?.body,
            Err(Interrupt::Gone) => return Err(Refusal::Gone),
            Err(Interrupt::Late) => return Err(self.late(function, Executed::No).into()),
        };
        Ok((function, Request { codec: header.codec, body, max_message }))
    }

    fn function(&self, header: &CallHeader) -> Result<&'a Function, Error> {
        let name = &header.function;
        let function = self.shared.registry.get(name).ok_or_else(|| {
            let text = format!("node `{}` does not offer `{name}`", self.shared.id);
            Error::new(ErrorKind::NoSuchFunction, text)
        })?;
        let signature = function.signature;
        let same = header.fingerprint == 0 || header.fingerprint == signature.fingerprint;
        // The gateway has compared both; the node relies on nobody for what it decodes.
        if !same || header.kind != function.descriptor.kind {
            let text = format!("the types of `{name}` differ: the node has `{}`", signature.text);
            return Err(Error::new(ErrorKind::SignatureMismatch, text));
        }
        Ok(function)
    }

    /// Runs the function, unless the caller leaves or the deadline passes first.
    async fn run(mut self, function: &'a Function, request: Request) {
        let shared = self.shared;
        let Some(_place) = self.wait(function, shared.running.acquire()).await else { return };
        match &function.handler.run {
            Run::Task(run) => {
                let task = shared.runtime.spawn(run(request));
                self.answer(function, Task(task)).await;
            }
            Run::Blocking(run) => {
                let threads = shared.blocking.clone().acquire_owned();
                let Some(thread) = self.wait(function, threads).await else { return };
                let run = run.clone();
                let task = shared.runtime.spawn_blocking(move || {
                    // Held until the function returns, also when its caller has left.
                    let _thread = thread;
                    run(request)
                });
                self.answer(function, Task(task)).await;
            }
            Run::Stream(run) => {
                let (outbox, taker) = outbox(&request);
                let task = shared.runtime.spawn(run(request, outbox));
                self.stream(function, taker, Task(task)).await;
            }
            Run::Thread(run) => {
                let (outbox, taker) = outbox(&request);
                let (run, runtime) = (run.clone(), shared.runtime.clone());
                match own_thread(move || {
                    let _runtime = runtime.enter();
                    run(request, outbox);
                }) {
                    Ok(ended) => self.stream(function, taker, ended).await,
                    Err(error) => self.fail(&error.with_node(shared.id.as_str())).await,
                }
            }
        }
    }

    /// Waits for a place to run. `None` if the call is over before there is one.
    async fn wait<P>(
        &mut self,
        function: &Function,
        place: impl Future<Output = Result<P, AcquireError>>,
    ) -> Option<P> {
        match interruptible(&mut self.stopped, self.deadline, place).await {
            // Nobody closes the semaphores.
            Ok(place) => place.ok(),
            Err(Interrupt::Gone) => None,
            Err(Interrupt::Late) => {
                self.fail(&self.late(function, Executed::No)).await;
                None
            }
        }
    }

    /// Waits for the result of a function, and sends it.
    async fn answer(&mut self, function: &Function, task: Task<Reply>) {
        match interruptible(&mut self.stopped, self.deadline, task).await {
            Ok(Ok(reply)) => self.send_last(&reply).await,
            Ok(Err(ended)) => self.fail(&self.died(function, ended)).await,
            Err(Interrupt::Gone) => {}
            Err(Interrupt::Late) => self.fail(&self.late(function, Executed::Maybe)).await,
        }
    }

    /// Sends what a stream's producer hands over, until one of them is done.
    ///
    /// Returning drops `taker`, which tells the producer, and `producer`, which aborts it if it is
    /// a task.
    async fn stream<P>(&mut self, function: &Function, mut taker: Taker<()>, producer: P)
    where
        P: Future<Output = Result<(), Died>>,
    {
        loop {
            let taken = interruptible(&mut self.stopped, self.deadline, taker.take()).await;
            let mut batch = match taken {
                Ok(Taken::Batch(batch)) => batch,
                Ok(Taken::End(Some(()))) => return self.send.finish(),
                Ok(Taken::End(None)) => {
                    let died = producer.await.err().unwrap_or(Died::Aborted);
                    return self.fail(&self.died(function, died)).await;
                }
                Err(Interrupt::Gone) => return,
                Err(Interrupt::Late) => {
                    return self.fail(&self.late(function, Executed::Maybe)).await;
                }
            };
            let writing = self.send.write_chunks(&mut batch);
            match interruptible(&mut self.stopped, self.deadline, writing).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) | Err(Interrupt::Gone) => return,
                Err(Interrupt::Late) => {
                    // A frame may be half written, so there is no room for an error frame.
                    let code = reset::code(ErrorKind::DeadlineExceeded, Executed::Yes);
                    return self.send.reset(code);
                }
            }
        }
    }

    async fn fail(&mut self, error: &Error) {
        let mut frames = Vec::new();
        put_error(&mut frames, error);
        self.send_last(&frames).await;
    }

    async fn send_last(&mut self, frames: &[u8]) {
        // If the caller has left, nobody needs it.
        if self.send.write(frames).await.is_ok() {
            self.send.finish();
        }
    }

    fn late(&self, function: &Function, executed: Executed) -> Error {
        let text = format!("the deadline of `{}` passed at its node", function.descriptor.name);
        Error::new(ErrorKind::DeadlineExceeded, text)
            .with_executed(executed)
            .with_node(self.shared.id.as_str())
    }

    fn died(&self, function: &Function, died: Died) -> Error {
        let name = function.descriptor.name;
        let error = match died {
            Died::Panicked(panic) => panicked(name, &*panic),
            Died::Aborted => {
                let text = format!("the node shut down while `{name}` was running");
                Error::new(ErrorKind::Cancelled, text).with_executed(Executed::Maybe)
            }
        };
        error.with_node(self.shared.id.as_str())
    }
}

fn outbox(request: &Request) -> (Outbox, Taker<()>) {
    let (feeder, taker) = handover(HANDOVER);
    (Outbox::new(feeder, request.codec, request.max_message), taker)
}

/// Reads the next frame, which has to be of `kind`.
async fn frame(
    recv: &mut RecvHalf,
    buffer: &mut FrameBuffer,
    kind: FrameKind,
) -> Result<Frame, Refusal> {
    let protocol = |text: String| Refusal::Answer(Error::new(ErrorKind::Protocol, text));
    match recv.frame(buffer).await {
        Ok(Some(frame)) if frame.kind == kind => Ok(frame),
        Ok(Some(frame)) => Err(protocol(format!("{:?} frame instead of {kind:?}", frame.kind))),
        Ok(None) => Err(protocol(format!("the call ends before its {kind:?} frame"))),
        Err(FrameError::Malformed(text)) => Err(protocol(text)),
        Err(FrameError::Broken(_)) => Err(Refusal::Gone),
    }
}

/// Waits for `future`, unless the caller leaves or the deadline passes first.
async fn interruptible<F: Future>(
    stopped: &mut Stopped,
    deadline: Option<Instant>,
    future: F,
) -> Result<F::Output, Interrupt> {
    let late = async {
        match deadline {
            Some(deadline) => sleep_until(deadline).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        biased;
        output = future => Ok(output),
        _ = stopped => Err(Interrupt::Gone),
        () = late => Err(Interrupt::Late),
    }
}

/// How the user's code ended, if not by itself.
enum Died {
    Panicked(Box<dyn Any + Send>),
    Aborted,
}

impl From<JoinError> for Died {
    fn from(error: JoinError) -> Self {
        error.try_into_panic().map_or(Self::Aborted, Self::Panicked)
    }
}

/// A task of the user's runtime; dropping it aborts the task.
struct Task<T>(JoinHandle<T>);

impl<T> Future for Task<T> {
    type Output = Result<T, Died>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(context).map_err(Died::from)
    }
}

impl<T> Drop for Task<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Runs `work` on a thread of its own, and gives a future of how it ended.
fn own_thread(
    work: impl FnOnce() + Send + 'static,
) -> Result<impl Future<Output = Result<(), Died>>, Error> {
    let (ending, ended) = oneshot::channel();
    thread::Builder::new()
        .name("easyremote-iter".into())
        .spawn(move || {
            // Nothing that the work has touched is used after a panic.
            let result = catch_unwind(AssertUnwindSafe(work)).map_err(Died::Panicked);
            let _ = ending.send(result);
        })
        .map_err(|error| {
            let text = "the node has no thread for an iterator";
            Error::new(ErrorKind::Overloaded, text).with_source(error)
        })?;
    Ok(async { ended.await.unwrap_or(Err(Died::Aborted)) })
}
