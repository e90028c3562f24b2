//! One call at the node: read it, run the function, send what it gives.

use std::borrow::Cow;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use futures::FutureExt;
use tokio::sync::{AcquireError, oneshot};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::error::{Error, ErrorKind, Executed};
use crate::function::handler::{Body, Inputs, Reply, Request, Run};
use crate::function::item_writer::ItemWriter;
use crate::function::registry::Function;
use crate::function::upload::RawUpload;
use crate::gauge::{Gauge, MemoryCharge};
use crate::node::NodeState;
use crate::node::exec::admission::no_room;
use crate::node::exec::call_guards::{CallGuards, Interrupt};
use crate::node::exec::clock::Clock;
use crate::node::exec::mux;
use crate::node::exec::receive::receive;
use crate::node::exec::work::{Died, Task, own_thread};
use crate::node::session::Session;
use crate::transport::byte_channel::{ByteReceiver, Received, byte_channel};
use crate::transport::quic::reset;
use crate::transport::quic::stream::{FrameError, RecvHalf, SendHalf};
use crate::wire::error::put_error;
use crate::wire::frame::{Frame, FrameBuffer, FrameKind};
use crate::wire::header::CallHeader;
use crate::wire::limits::HEADER_TIMEOUT;

/// Bytes of a stream that may wait between the user's code and the I/O thread.
const HANDOVER: usize = 96 << 10;

/// Serves one stream that the gateway has opened: a call, or a mux of many.
pub(crate) async fn serve((send, mut recv): (SendHalf, RecvHalf), session: Arc<Session>) {
    let mut buffer = FrameBuffer::new(0);
    let first = timeout(HEADER_TIMEOUT, recv.frame(&mut buffer)).await;
    if matches!(&first, Ok(Ok(Some(frame))) if frame.kind == FrameKind::Mux) {
        return mux::serve(send, recv, buffer.take_rest(), session).await;
    }
    let shared = &session.shared;
    shared.counters.calls.fetch_add(1, Ordering::Relaxed);
    let _gauge = Gauge::up(&shared.counters.in_flight);
    let interrupts = CallGuards { stopped: send.stopped(), deadline: None, receiving: None };
    // However the call ends, its function hears of it, unless it is detached.
    let cancelled = CancellationToken::new();
    let _ended = cancelled.clone().drop_guard();
    let mut call = StreamedCall { send, interrupts, cancelled, trace: None, shared };
    let read = match first {
        Ok(first) => call.read(first, recv, buffer, &session).await,
        Err(_) => Err(protocol("no header in time").into()),
    };
    match read {
        Ok((function, inputs, request)) => call.run(function, inputs, request).await,
        Err(CallRejection::Answer(error)) => call.fail(&error.with_node(&*shared.id)).await,
        Err(CallRejection::Gone) => {}
    }
}

/// A call, as far as its answer is concerned.
struct StreamedCall<'a> {
    send: SendHalf,
    interrupts: CallGuards,
    /// Cancelled when the call is over.
    cancelled: CancellationToken,
    /// If the caller wants to know how the call went.
    trace: Option<Clock>,
    shared: &'a NodeState,
}

/// Why a call does not start.
enum CallRejection {
    /// The caller is told why.
    Answer(Error),
    /// The caller has left.
    Gone,
}

impl From<Error> for CallRejection {
    fn from(error: Error) -> Self {
        Self::Answer(error)
    }
}

impl<'a> StreamedCall<'a> {
    /// Reads the call, whose `first` frame is here, up to the last byte of its arguments. Nothing
    /// starts before it is here, so that whoever lost some of them on the way knows that it has not
    /// run.
    async fn read(
        &mut self,
        first: Result<Option<Frame>, FrameError>,
        mut recv: RecvHalf,
        mut buffer: FrameBuffer,
        session: &Session,
    ) -> Result<(&'a Function, Inputs, Request), CallRejection> {
        let max_message = session.max_message;
        let header = expect(first, FrameKind::Header)?;
        let header = CallHeader::read(&header.body).map_err(|cause| protocol(cause.to_string()))?;
        let shared = self.shared;
        let admitted = shared.admit(header)?;
        let function = admitted.function;
        self.interrupts.deadline = admitted.deadline;
        buffer.allow(max_message);
        let mut charge = MemoryCharge::new(&shared.unfinished, shared.max_unfinished);
        let reading = recv.frame_if(&mut buffer, |bytes| charge.grow_to(bytes));
        let bytes = match self.interrupts.unless(reading).await {
            Ok(read) => expect(read, FrameKind::Body)?.body,
            Err(Interrupt::Gone) => return Err(CallRejection::Gone),
            Err(Interrupt::Failed(error)) => return Err(error.into()),
            Err(Interrupt::Late) => return Err(self.late(function, Executed::No).into()),
        };
        let body = Body { bytes, _charge: Some(charge) };
        let header = &admitted.header;
        self.trace = header.traced.then(|| Clock::start(header.held));
        let upload = header.kind.takes_stream().then(|| {
            let (feeder, taker) = byte_channel(HANDOVER);
            let (failed, failing) = oneshot::channel();
            let receiving = receive(recv, buffer.take_rest(), feeder, failing);
            self.interrupts.receiving = Some(receiving.boxed());
            let room = MemoryCharge::new(&self.shared.unfinished, self.shared.max_unfinished);
            RawUpload { taker, max_message, room, failed }
        });
        let inner = (body, max_message);
        let (inputs, request) =
            admitted.inputs(shared, &self.cancelled, &session.link, upload, inner);
        Ok((function, inputs, request))
    }

    /// Runs the function, unless the caller leaves or the deadline passes first.
    async fn run(mut self, function: &'a Function, inputs: Inputs, request: Request) {
        let shared = self.shared;
        let terms = &function.handler.policy;
        // Held by the user's code for as long as it runs, also when its caller has left.
        let Some(place) = self.wait(function, terms.places(&shared.running)).await else { return };
        if let Some(clock) = &mut self.trace {
            clock.has_place();
        }
        let start = match shared.start(function, &inputs.context) {
            Ok(start) => start,
            Err(error) => return self.fail(&error).await,
        };
        match &function.handler.run {
            Run::Task(run) => {
                let work = run(inputs, request);
                start.keep();
                let task = shared.runtime.spawn(async move {
                    let _place = place;
                    work.await
                });
                self.answer(function, Task::new(task, terms)).await;
            }
            Run::Blocking(run) => {
                let threads = shared.blocking.clone().acquire_owned();
                let Some(thread) = self.wait(function, threads).await else { return };
                let run = run.clone();
                start.keep();
                let task = shared.runtime.spawn_blocking(move || {
                    let _held = (place, thread);
                    run(inputs, request)
                });
                self.answer(function, Task::new(task, terms)).await;
            }
            Run::Stream(run) => {
                let (outbox, taker) = outbox(&request);
                let work = run(inputs, request, outbox);
                start.keep();
                let task = shared.runtime.spawn(async move {
                    let _place = place;
                    work.await;
                });
                self.stream(function, taker, Task::new(task, terms)).await;
            }
            Run::Thread(run) => {
                let (outbox, taker) = outbox(&request);
                let (run, runtime) = (run.clone(), shared.runtime.clone());
                match own_thread(move || {
                    let _place = place;
                    let _runtime = runtime.enter();
                    run(inputs, request, outbox);
                }) {
                    Ok(ended) => {
                        start.keep();
                        self.stream(function, taker, ended).await;
                    }
                    Err(error) => self.fail(&error.with_node(&*shared.id)).await,
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
        let _waiting = Gauge::up(&self.shared.counters.waiting);
        match self.interrupts.unless(place).await {
            // Nobody closes the semaphores.
            Ok(place) => place.ok(),
            Err(Interrupt::Gone) => None,
            Err(Interrupt::Failed(error)) => {
                self.fail(&error.with_executed(Executed::No)).await;
                None
            }
            Err(Interrupt::Late) => {
                self.fail(&self.late(function, Executed::No)).await;
                None
            }
        }
    }

    /// Waits for the result of a function, and sends it.
    async fn answer(&mut self, function: &Function, task: Task<Reply>) {
        match self.interrupts.in_time(task).await {
            Ok(Ok(mut reply)) => {
                if let Some(clock) = &self.trace {
                    reply = clock.before(&self.shared.id, &reply);
                }
                self.send_last(&reply).await;
            }
            Ok(Err(ended)) => self.fail(&self.died(function, ended)).await,
            Err(Interrupt::Gone) => {}
            Err(Interrupt::Failed(error)) => {
                self.fail(&error.with_node(&*self.shared.id)).await;
            }
            Err(Interrupt::Late) => self.fail(&self.late(function, Executed::Maybe)).await,
        }
    }

    /// Sends what a stream's producer hands over, until one of them is done.
    ///
    /// Returning drops `taker`, which tells the producer, and `producer`, which aborts it if it is
    /// a task.
    async fn stream<P>(&mut self, function: &Function, mut taker: ByteReceiver<()>, producer: P)
    where
        P: Future<Output = Result<(), Died>>,
    {
        loop {
            let taken = self.interrupts.in_time(taker.take()).await;
            let mut batch = match taken {
                Ok(Received::Batch(batch)) => batch,
                Ok(Received::End(Some(()))) => return self.send.finish(),
                Ok(Received::End(None)) => {
                    let died = producer.await.err().unwrap_or(Died::Aborted);
                    return self.fail(&self.died(function, died)).await;
                }
                Err(Interrupt::Gone) => return,
                Err(Interrupt::Failed(error)) => {
                    return self.fail(&error.with_node(&*self.shared.id)).await;
                }
                Err(Interrupt::Late) => {
                    return self.fail(&self.late(function, Executed::Maybe)).await;
                }
            };
            let writing = self.send.write_chunks(&mut batch);
            match self.interrupts.unless(writing).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) | Err(Interrupt::Gone) => return,
                // A frame may be half written, so there is no room for an error frame. Maybe it is
                // one that refuses the call.
                Err(Interrupt::Late) => {
                    let code = reset::code(ErrorKind::DeadlineExceeded, Executed::Maybe);
                    return self.send.reset(code);
                }
                Err(Interrupt::Failed(error)) => {
                    return self.send.reset(reset::code(error.kind(), Executed::Yes));
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
        match self.interrupts.unless(self.send.write(frames)).await {
            Ok(Ok(())) => self.send.finish(),
            // If the caller has left, nobody needs it.
            Ok(Err(_)) | Err(Interrupt::Gone | Interrupt::Failed(_)) => {}
            Err(Interrupt::Late) => {
                self.send.reset(reset::code(ErrorKind::DeadlineExceeded, Executed::Maybe));
            }
        }
    }

    fn late(&self, function: &Function, executed: Executed) -> Error {
        self.shared.late(&function.name, executed)
    }

    fn died(&self, function: &Function, died: Died) -> Error {
        self.shared.died(&function.name, died)
    }
}

fn outbox(request: &Request) -> (ItemWriter, ByteReceiver<()>) {
    let (feeder, taker) = byte_channel(HANDOVER);
    (ItemWriter::new(feeder, request), taker)
}

fn protocol(text: impl Into<Cow<'static, str>>) -> Error {
    Error::new(ErrorKind::Protocol, text)
}

/// What was read, if it is a frame of `kind`.
fn expect(
    read: Result<Option<Frame>, FrameError>,
    kind: FrameKind,
) -> Result<Frame, CallRejection> {
    let protocol = |text: String| CallRejection::Answer(protocol(text));
    match read {
        Ok(Some(frame)) if frame.kind == kind => Ok(frame),
        Ok(Some(frame)) => Err(protocol(format!("{:?} frame instead of {kind:?}", frame.kind))),
        Ok(None) => Err(protocol(format!("the call ends before its {kind:?} frame"))),
        Err(FrameError::Malformed(cause)) => Err(CallRejection::Answer(cause.into_error())),
        Err(FrameError::NoRoom) => Err(CallRejection::Answer(no_room())),
        Err(FrameError::Broken(_)) => Err(CallRejection::Gone),
    }
}
