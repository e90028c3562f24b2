//! Calls on separate streams: reads them, and sends what their functions return.
//!
//! ```text
//!   the stream's task (an I/O task)                  the function (runtime or thread)
//!
//!   read: header, arguments
//!     |  a reset, a deadline or an error: no function starts
//!     v
//!   execute ------------- table, permits -----------> runs
//!     |                                                 | items, through a byte channel
//!   send_result / send_items <--------------------------+
//!     :  `stopped`, the deadline or a broken upload     | ends; `JobGuard` releases the permits
//!     :  -> `give_up` or `fail` in the table            v
//!   send_last, or `end` after the last item <------- `Responder::Stream`
//! ```
//!
//! The direction to the gateway is finished only after `Responder::Stream` has resolved: the
//! gateway counts the call's permits as free when it sees the end of the stream.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use futures::FutureExt;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout};

use crate::call::executed::Evidence;
use crate::error::{Error, ErrorKind};
use crate::function::arguments::no_room;
use crate::function::context::Context;
use crate::function::handler::{Body, Reply, Request};
use crate::function::item_writer::ItemWriter;
use crate::gauge::{Gauge, MemoryCharge};
use crate::node::exec::admission::{AdmittedCall, admit};
use crate::node::exec::call_guards::{CallGuards, Interrupt};
use crate::node::exec::calls::NodeCalls;
use crate::node::exec::job::ReadyCall;
use crate::node::exec::mux;
use crate::node::exec::receive::{CHANNEL_BYTES, TakenFrames, receive, upload_channel};
use crate::node::exec::resumable::leg::{LegSession, NewLeg};
use crate::node::exec::resumable::{self, PreparedStream, Production, ResumableStream};
use crate::node::exec::table::{CallKey, Responder, RunningCall};
use crate::node::exec::unread::{Unwritten, unread, written};
use crate::node::exec::work::error_frames;
use crate::node::state::NodeState;
use crate::transport::byte_channel::{ByteReceiver, Received, byte_channel_in};
use crate::transport::quic::reset;
use crate::transport::quic::stream::{FrameError, RecvHalf, SendHalf};
use crate::wire::bytes::Malformed;
use crate::wire::caller::KnownCaller;
use crate::wire::frame::{FRAME_HEADER, Frame, FrameBuffer, FrameKind};
use crate::wire::header::CallHeader;
use crate::wire::job::{JobNumber, put_accepted};
use crate::wire::kind::Kind;
use crate::wire::limits::HEADER_TIMEOUT;

/// Serves a stream that the gateway has opened: one call, or the multiplexed stream.
pub(in crate::node) async fn serve((send, mut recv): (SendHalf, RecvHalf), calls: Arc<NodeCalls>) {
    let stream = send.id();
    let mut buffer = FrameBuffer::new(0);
    let first = timeout(HEADER_TIMEOUT, recv.frame(&mut buffer)).await;
    if matches!(&first, Ok(Ok(Some(frame))) if frame.kind == FrameKind::Mux) {
        // It carries no call of its own that the gateway could abandon.
        calls.end_reading(stream);
        return mux::serve((send, recv), buffer.take_rest(), calls).await;
    }
    let node = calls.node().clone();
    node.counters.calls.fetch_add(1, Ordering::Relaxed);
    let in_flight = Gauge::up(&node.counters.in_flight);
    let guards = CallGuards { stopped: send.stopped(), deadline: None, receiving: None };
    let mut call = StreamedCall { send, guards, calls, node: &node, key: CallKey::Stream(stream) };
    let read = match first {
        Ok(first) => call.read(first, recv, buffer).await,
        Err(_) => Err(protocol("no header in time").into()),
    };
    let wanted = call.calls.end_reading(stream);
    match read {
        Ok(read) if wanted => {
            // `execute` counts the call from now on. It runs in the first poll of `run`: no await
            // may come between it and `end_reading`.
            drop(in_flight);
            call.run(read).await;
        }
        Err(CallRejection::Request(header)) if wanted => {
            drop(in_flight);
            call.answer(*header).await;
        }
        Err(CallRejection::Continues(continued)) => {
            drop(in_flight);
            call.attach(*continued).await;
        }
        Ok(_) | Err(CallRejection::Gone | CallRejection::Request(_)) => {}
        Err(CallRejection::Answer(error)) => call.fail(&error.with_node(&*node.id)).await,
    }
}

/// A call on a separate stream.
struct StreamedCall<'a> {
    send: SendHalf,
    guards: CallGuards,
    calls: Arc<NodeCalls>,
    node: &'a NodeState,
    key: CallKey,
}

/// A call whose arguments have been read completely.
struct ReadCall {
    call: RunningCall,
    job: ReadyCall,
    /// Resolves with the last frames when the function has ended and released its permits.
    ended: oneshot::Receiver<Reply>,
    /// The items, if the function returns a stream.
    items: Option<ByteReceiver<()>>,
    /// The number of the job, if the call runs as one.
    job_number: Option<JobNumber>,
    /// Of a resumable stream, or a call with a resumable client stream, with the direction on which
    /// the caller sends that, or says what it has taken, and what has arrived there.
    resumable: Option<Box<(PreparedStream, RecvHalf, Bytes)>>,
}

/// Why a call does not start.
enum CallRejection {
    /// It continues a resumable stream.
    Continues(Box<ContinuedCall>),
    /// The caller receives this error.
    Answer(Error),
    /// The caller has left.
    Gone,
    /// It is a request about jobs, which runs no function and has no arguments.
    Request(Box<CallHeader>),
}

/// A call that continues a resumable stream.
struct ContinuedCall {
    header: CallHeader,
    caller: KnownCaller,
    recv: RecvHalf,
    rest: Bytes,
}

impl From<Error> for CallRejection {
    fn from(error: Error) -> Self {
        Self::Answer(error)
    }
}

impl StreamedCall<'_> {
    /// Reads the call, whose `first` frame has arrived, up to the last byte of its arguments. The
    /// function never starts before that byte: see `call::executed`.
    async fn read(
        &mut self,
        first: Result<Option<Frame>, FrameError>,
        mut recv: RecvHalf,
        mut buffer: FrameBuffer,
    ) -> Result<ReadCall, CallRejection> {
        let limits = self.calls.session.limits;
        let header = expect(first, FrameKind::Header)?;
        let header = CallHeader::read(&header.body).map_err(Malformed::into_error)?;
        if header.job_request().is_some() {
            return Err(CallRejection::Request(Box::new(header)));
        }
        let node = self.node;
        if header.is_spawn() && header.kind != Kind::Unary {
            return Err(protocol("a job with a stream").into());
        }
        let admitted = admit(node, header)?;
        self.guards.deadline = admitted.deadline;
        if admitted.header.continues() {
            let AdmittedCall { header, caller, .. } = admitted;
            let rest = buffer.take_rest();
            let continued = ContinuedCall { header, caller, recv, rest };
            return Err(CallRejection::Continues(Box::new(continued)));
        }
        node.check_unread(admitted.function)?;
        // Only now: until the header is accepted, the peer must not make the node buffer a message.
        buffer.allow(limits.max_message);
        let mut charge = MemoryCharge::new(&node.unfinished, node.max_unfinished);
        let reading = recv.frame_if(&mut buffer, |bytes| charge.grow_to(bytes));
        let bytes = match self.guards.select(reading).await {
            Ok(read) => expect(read, FrameKind::Body)?.body,
            Err(Interrupt::Gone) => return Err(CallRejection::Gone),
            Err(Interrupt::Failed(error)) => return Err(error.into()),
            Err(Interrupt::Late) => {
                return Err(node.late(&admitted.function.name, Evidence::NotStarted).into());
            }
        };
        let body = Body { bytes, charge: Some(charge) };
        self.prepare(admitted, body, recv, buffer.take_rest())
    }

    /// Prepares a call whose arguments have arrived. `rest` has arrived behind them.
    ///
    /// # Errors
    /// Why a resumable stream cannot start.
    fn prepare(
        &mut self,
        admitted: AdmittedCall<'_>,
        body: Body,
        recv: RecvHalf,
        rest: Bytes,
    ) -> Result<ReadCall, CallRejection> {
        let node = self.node;
        let resumable = prepare_resumable(node, &admitted)?;
        let header = &admitted.header;
        let (kind, codec) = (header.kind, header.codec);
        let (demand, spawn) = (header.demand, header.is_spawn());
        let (responder, ended) = oneshot::channel();
        let responder = Responder::Stream(responder);
        let session = &self.calls.session;
        let (mut call, mut job) = admitted.prepare(session, self.key, responder, body);
        let items = kind.gives_stream().then(|| {
            let bytes = match &resumable {
                Some(_) => resumable::channel_bytes(call.function.handler.policy.replay()),
                None => CHANNEL_BYTES,
            };
            let (sender, receiver) = byte_channel_in(&node.unread, bytes);
            let Request { codec, limits, context, .. } = &job.request;
            let sizes = call.function.handler.policy.item_sizes.clone();
            let (codec, limits, context) = (*codec, *limits, context.clone());
            job.items = Some(ItemWriter::new(sender, codec, limits, context, sizes));
            receiver
        });
        if let Some(mut prepared) = resumable {
            call.resumable = true;
            job.inputs.demand = Some(prepared.demand().clone());
            job.inputs.upload =
                kind.takes_stream().then(|| prepared.add_upload(node, session.limits, codec));
            let resumable = Some(Box::new((prepared, recv, rest)));
            let job_number = None;
            return Ok(ReadCall { call, job, ended, items, job_number, resumable });
        }
        self.receive_behind(recv, rest, &mut job, demand);
        let job_number = match spawn {
            true => Some(self.calls.accept_job(&mut call, &job)?),
            false => None,
        };
        Ok(ReadCall { call, job, ended, items, job_number, resumable: None })
    }

    /// Receives what follows the arguments, beginning with `first`: the items of a client stream,
    /// and what the reader has taken if the caller tells its `demand`.
    fn receive_behind(&mut self, recv: RecvHalf, first: Bytes, job: &mut ReadyCall, demand: bool) {
        let (node, limits) = (self.node, self.calls.session.limits);
        let taken = demand.then(|| {
            let demand = job.inputs.demand.insert(Arc::default()).clone();
            TakenFrames::new(demand, job.request.context.clone(), limits.max_message)
        });
        if job.function.descriptor.kind.takes_stream() {
            let (sender, failing, upload) = upload_channel(node, limits, job.request.codec);
            let receiving = receive(recv, first, sender, failing, taken);
            self.guards.receiving = Some(receiving.boxed());
            job.inputs.upload = Some(upload);
        } else if let Some(mut taken) = taken {
            let receiving = async move { taken.receive(recv, first, None).await };
            self.guards.receiving = Some(receiving.boxed());
        }
    }

    /// Passes the stream that a call continues on to its task, or answers why it cannot.
    async fn attach(mut self, continued: ContinuedCall) {
        let ContinuedCall { header, caller, recv, rest } = continued;
        let (node, session) = (self.node, self.calls.clone());
        let taken = header.resume.as_ref().map_or(0, |request| request.taken);
        let leg = NewLeg { send: self.send, recv, rest, body: FRAME_HEADER, session, taken };
        if let Err((send, error)) = resumable::attach(node, &header, &caller, leg) {
            self.send = send;
            self.fail(&error.with_node(&*node.id)).await;
        }
    }

    /// Runs the function and sends what it returns.
    async fn run(mut self, read: ReadCall) {
        let ReadCall { call, job, ended, items, job_number, resumable } = read;
        let (function, context) = (call.function.name.clone(), call.context.clone());
        if let Some(resumable) = resumable {
            return self.run_resumable(call, job, (items, ended), *resumable);
        }
        if let Some(number) = job_number
            && call.run.is_none()
        {
            // There is a job with its key.
            drop((call, job));
            return self.send_accepted(number, ended).await;
        }
        self.calls.execute(call, job);
        self.calls.dispatch();
        if let Some(number) = job_number {
            return self.send_accepted(number, ended).await;
        }
        match items {
            Some(items) => self.send_items(&function, &context, items, ended).await,
            None => self.send_result(ended).await,
        }
    }

    /// Tells the caller that its call is a job. The direction is finished when the job has ended; a
    /// gateway whose caller has left by then learns it from `Released`.
    async fn send_accepted(&mut self, number: JobNumber, ended: oneshot::Receiver<Reply>) {
        let mut frames = Reply::new();
        put_accepted(&mut frames, number, &self.node.id);
        if self.write(&frames).await {
            tokio::select! {
                biased;
                _ = ended => self.send.finish(),
                _ = &mut self.guards.stopped => {}
            }
        }
    }

    /// Answers a request about jobs.
    async fn answer(mut self, header: CallHeader) {
        self.guards.deadline = header.timeout.map(|left| Instant::now() + left);
        let (responder, ended) = oneshot::channel();
        match self.calls.answer_request(header, self.key, Responder::Stream(responder)) {
            Ok(()) => self.send_result(ended).await,
            Err(error) => self.fail(&error.with_node(&*self.node.id)).await,
        }
    }

    /// Runs a function whose items are sent by a task of their own.
    fn run_resumable(
        self,
        call: RunningCall,
        job: ReadyCall,
        (items, ended): (Option<ByteReceiver<()>>, oneshot::Receiver<Reply>),
        (prepared, recv, rest): (PreparedStream, RecvHalf, Bytes),
    ) {
        let Self { send, guards, calls, key, .. } = self;
        let stream = ResumableStream {
            key,
            calls: calls.clone(),
            function: call.function.name.clone(),
            context: call.context.clone(),
            deadline: guards.deadline,
            production: Production { items, ended: Some(ended) },
            prepared,
        };
        let taken = stream.context.taken_before();
        // Before anything can be awaited: the gateway may abandon the call from now on.
        calls.add_leg(send.id());
        calls.execute(call, job);
        calls.dispatch();
        let leg = NewLeg { send, recv, rest, body: 0, session: calls.clone(), taken };
        calls.session.link.spawn(stream.run(leg)).detach();
    }

    /// Waits for the result of a function, and sends it. The table enforces the deadline.
    async fn send_result(&mut self, mut ended: oneshot::Receiver<Reply>) {
        loop {
            tokio::select! {
                // A result that is ready wins over a caller that leaves at the same time.
                biased;
                reply = &mut ended => {
                    // An error means that the call was given up: there is no one to answer.
                    if let Ok(reply) = reply {
                        let _held = self.node.hold_answer(&reply);
                        self.send_last(&reply).await;
                    }
                    return;
                }
                // After `fail` the loop goes on: `ended` resolves with the error once the function
                // has been dropped.
                interrupt = self.guards.left_or_failed() => match interrupt {
                    Interrupt::Failed(error) => self.calls.fail(self.key, error),
                    Interrupt::Gone | Interrupt::Late => return self.calls.give_up(self.key),
                },
            }
        }
    }

    /// Sends the items of a stream until one side ends it. Returning drops `items`, which stops the
    /// producer at its next item.
    async fn send_items(
        &mut self,
        function: &str,
        context: &Context,
        mut items: ByteReceiver<()>,
        mut ended: oneshot::Receiver<Reply>,
    ) {
        let metered = self.node.enter_stream(function, context);
        let meter = &*metered.meter;
        loop {
            let received = self.guards.with_deadline(items.receive()).await;
            let mut batch = match received {
                Ok(Received::Batch(batch)) => batch,
                Ok(Received::End(Some(()))) => return self.end(ended).await,
                Ok(Received::End(None)) => {
                    // The function panicked, was dropped, or never started; the last frames carry
                    // the error.
                    return match (&mut ended).await {
                        Ok(reply) if !reply.is_empty() => self.send_last(&reply).await,
                        _ => {}
                    };
                }
                Err(interrupt) => {
                    // Before waiting for its end: a producer that waits for room must wake up.
                    drop(items);
                    return self.break_off(function, interrupt, ended).await;
                }
            };
            let stream = self.send.id();
            let tally = context.tally();
            meter.note(tally.so_far(), tally.skipped());
            let writing = meter.send(self.send.write_chunks(&mut batch));
            let writing = written(&self.calls.session, stream, writing);
            match self.guards.select(writing).await {
                Ok(Ok(())) => {}
                Ok(Err(Unwritten::InTheWay)) => {
                    self.calls.give_up(self.key);
                    return self.send.reset(reset::code_of(&unread()));
                }
                Ok(Err(Unwritten::Gone)) | Err(Interrupt::Gone) => {
                    return self.calls.give_up(self.key);
                }
                // A frame may be half written, so no error frame can follow: reset the stream.
                Err(Interrupt::Late) => {
                    self.calls.give_up(self.key);
                    return self.send.reset(reset::code(ErrorKind::DeadlineExceeded));
                }
                Err(Interrupt::Failed(error)) => {
                    self.calls.fail(self.key, error.clone());
                    let error = error.with_evidence(Evidence::Answered);
                    return self.send.reset(reset::code_of(&error));
                }
            }
        }
    }

    /// Ends a stream before its function does.
    async fn break_off(
        &mut self,
        function: &str,
        interrupt: Interrupt,
        ended: oneshot::Receiver<Reply>,
    ) {
        let error = match interrupt {
            Interrupt::Gone => return self.calls.give_up(self.key),
            Interrupt::Late => self.node.late(function, Evidence::Sent),
            Interrupt::Failed(error) => {
                self.calls.fail(self.key, error.clone());
                error.with_node(&*self.node.id)
            }
        };
        if self.write(&error_frames(&error)).await {
            self.end(ended).await;
        }
    }

    /// Finishes the stream once the function has released its permits, which the gateway counts as
    /// free from then on.
    async fn end(&mut self, ended: oneshot::Receiver<Reply>) {
        // The deadline no longer matters: the caller has everything but the end of the stream.
        let stopped = &mut self.guards.stopped;
        tokio::select! {
            biased;
            _ = ended => self.send.finish(),
            _ = stopped => self.calls.give_up(self.key),
        }
    }

    async fn fail(&mut self, error: &Error) {
        self.send_last(&error_frames(error)).await;
    }

    async fn send_last(&mut self, frames: &[u8]) {
        if self.write(frames).await {
            self.send.finish();
        }
    }

    /// Writes frames; returns whether all of them were written.
    async fn write(&mut self, frames: &[u8]) -> bool {
        let stream = self.send.id();
        let writing = written(&self.calls.session, stream, self.send.write(frames));
        match self.guards.select(writing).await {
            Ok(Ok(())) => return true,
            // A caller that has left needs no reset.
            Ok(Err(Unwritten::Gone)) | Err(Interrupt::Gone | Interrupt::Failed(_)) => {}
            Ok(Err(Unwritten::InTheWay)) => self.send.reset(reset::code_of(&unread())),
            Err(Interrupt::Late) => self.send.reset(reset::code(ErrorKind::DeadlineExceeded)),
        }
        self.calls.give_up(self.key);
        false
    }
}

/// Lists a resumable stream, or a call with a resumable client stream, that is about to start; `None`
/// for other calls.
///
/// # Errors
/// `Overloaded` if the budget for what is kept is used up, `Gap` if the reader has taken items that
/// the function cannot leave out, `SignatureMismatch` if only the caller takes a function to be
/// `resumable`.
fn prepare_resumable(
    node: &NodeState,
    AdmittedCall { function, header, caller, .. }: &AdmittedCall<'_>,
) -> Result<Option<PreparedStream>, Error> {
    let Some(request) = &header.resume else { return Ok(None) };
    if request.taken > 0 && !function.handler.policy.resumes {
        let text = format!("`{}` has no `#[resume]` parameter here", function.name);
        return Err(Error::new(ErrorKind::Gap, text));
    }
    if header.kind.takes_stream() && !function.descriptor.resumable {
        let text = format!("`{}` is not `resumable` at node `{}`", function.name, node.id);
        return Err(Error::new(ErrorKind::SignatureMismatch, text));
    }
    PreparedStream::new(node, (header, request), caller, function.handler.policy.replay()).map(Some)
}

fn protocol(text: impl Into<Cow<'static, str>>) -> Error {
    Error::new(ErrorKind::Protocol, text)
}

/// Returns the frame that was read if it is of `kind`.
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
