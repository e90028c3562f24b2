//! The gateway's mux at a node: small calls, of which many share one stream.
//!
//! Their answers are added to the mux by whichever thread has them; the I/O thread writes what it
//! finds there. What runs them: `crew.rs`.

use std::borrow::Cow;
use std::collections::HashMap;
use std::convert::Infallible;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use futures::future::{AbortHandle, Abortable};
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::error::{Error, ErrorKind, Executed};
use crate::function::handler::{Body, Reply, Run};
use crate::gauge::MemoryCharge;
use crate::node::NodeState;
use crate::node::exec::admission::{self, JobPermits};
use crate::node::exec::overflow::send_overflow;
use crate::node::exec::task_pool::{Job, TaskPool};
use crate::node::exec::work::Died;
use crate::node::session::Session;
use crate::transport::mux::deadlines::{Deadlines, watch};
use crate::transport::mux::in_flight::read_messages;
use crate::transport::mux::writer::MuxWriter;
use crate::transport::quic::reset;
use crate::transport::quic::stream::{FrameError, RecvHalf, SendHalf};
use crate::transport::quinn_ext::congestion;
use crate::wire::bytes::Malformed;
use crate::wire::caller::KnownCaller;
use crate::wire::error::put_error;
use crate::wire::frame::{FRAME_HEADER, FrameKind};
use crate::wire::header::CallHeader;
use crate::wire::kind::Kind;
use crate::wire::limits::{MAX_MUX_BODY, MAX_NODE_STREAMS};
use crate::wire::mux::{MuxId, take_frame};

/// The mux of one session.
pub(crate) struct NodeCalls {
    pub(crate) out: MuxWriter,
    pub(crate) crew: TaskPool,
    running: Mutex<AllRunning>,
    /// A call is over before all others.
    sooner: Notify,
    /// Who made the last call: as a rule, also the next one.
    caller: Mutex<Option<KnownCaller>>,
    session: Arc<Session>,
}

#[derive(Default)]
struct AllRunning {
    calls: HashMap<MuxId, Running>,
    deadlines: Deadlines,
}

/// A call that has no answer yet.
struct Running {
    function: Cow<'static, str>,
    /// Whether it has a place, so that the function may have started.
    begun: bool,
    deadline: Option<Instant>,
    /// Cancelled when the call is over.
    cancelled: CancellationToken,
    /// Stops what is no thread, and not detached.
    abort: Option<AbortHandle>,
}

impl Running {
    /// The call is over. If that is not because its function is, that ends too.
    fn end(&self) {
        self.cancelled.cancel();
        if let Some(abort) = &self.abort {
            abort.abort();
        }
    }
}

/// Serves the mux that the gateway has opened; `first` has come on it already.
pub(crate) async fn serve(
    mut send: SendHalf,
    mut recv: RecvHalf,
    first: Bytes,
    session: Arc<Session>,
) {
    send.lift();
    recv.lift();
    let connection = session.connection.clone();
    let break_off = |cause: Malformed| {
        let code = reset::code(ErrorKind::Protocol, Executed::Maybe);
        congestion::close(&connection, code, cause.text.as_bytes());
    };
    if session.has_mux.swap(true, Ordering::Relaxed) {
        return break_off(Malformed::new("a second mux on one connection"));
    }
    let (running, sooner, caller) = (Mutex::default(), Notify::new(), Mutex::default());
    let (out, crew) = (MuxWriter::default(), TaskPool::default());
    let mux = Open(Arc::new(NodeCalls { out, crew, running, sooner, caller, session }));
    let receive = |id, frames| NodeCalls::receive(&mux.0, id, frames);
    let ready = || {
        let mux = mux.0.clone();
        mux.hand_out();
        async move { mux.out.roomy().await }
    };
    let error = tokio::select! {
        broken = mux.0.out.write_to(&mut send, &connection) => FrameError::Broken(broken),
        error = read_messages(&mut recv, &first, ready, receive) => error,
        never = mux.0.expire() => match never {},
        never = mux.0.oversee() => match never {},
    };
    if let FrameError::Malformed(cause) = error {
        break_off(cause);
    }
}

/// A mux whose gateway is there; its calls end with it.
struct Open(Arc<NodeCalls>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.out.close();
        let calls = std::mem::take(&mut self.0.running().calls);
        self.0.shared().counters.in_flight.fetch_sub(calls.len() as u64, Ordering::Relaxed);
        calls.values().for_each(Running::end);
        // What is detached begins all the same.
        self.0.call_hand(true);
    }
}

/// Counts a call that waits for a place.
struct Waiting(Arc<NodeCalls>);

impl Waiting {
    fn new(mux: Arc<NodeCalls>) -> Self {
        mux.shared().counters.waiting.fetch_add(1, Ordering::Relaxed);
        Self(mux)
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.shared().counters.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

impl NodeCalls {
    fn running(&self) -> MutexGuard<'_, AllRunning> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn shared(&self) -> &Arc<NodeState> {
        &self.session.shared
    }

    pub(crate) fn runtime(&self) -> &Handle {
        &self.shared().runtime
    }

    /// Takes a message of the gateway.
    ///
    /// # Errors
    /// The gateway breaks the rules of a mux.
    fn receive(self: &Arc<Self>, id: MuxId, frames: Bytes) -> Result<(), Malformed> {
        if frames.is_empty() {
            // What has its answer already is not there any more.
            if let Some(running) = self.remove(id) {
                running.end();
            }
            return Ok(());
        }
        {
            let running = self.running();
            let n = running.calls.len();
            if n >= MAX_NODE_STREAMS as usize || running.calls.contains_key(&id) {
                let text = format!(
                    "more than {MAX_NODE_STREAMS} calls on a mux, or two with one id at a time"
                );
                return Err(Malformed::new(text));
            }
        }
        self.shared().counters.calls.fetch_add(1, Ordering::Relaxed);
        if let Err(error) = self.begin(id, frames) {
            self.send_error(id, &error.with_node(&*self.shared().id));
        }
        Ok(())
    }

    /// Reads a call and lets it run.
    ///
    /// # Errors
    /// Why it does not.
    fn begin(self: &Arc<Self>, id: MuxId, mut frames: Bytes) -> Result<(), Error> {
        let header = take_frame(&mut frames, 0).map_err(Malformed::into_error)?;
        let limit = MAX_MUX_BODY.min(self.session.max_message);
        let body = take_frame(&mut frames, limit).map_err(Malformed::into_error)?;
        let protocol = |text: String| Error::new(ErrorKind::Protocol, text);
        let kinds = (header.kind, body.kind);
        if kinds != (FrameKind::Header, FrameKind::Body) || !frames.is_empty() {
            return Err(protocol(format!("{kinds:?} frames on a mux")));
        }
        let header = self.read_header(&header.body).map_err(|cause| protocol(cause.to_string()))?;
        if header.kind != Kind::Unary {
            return Err(protocol(format!("a {:?} call on a mux", header.kind)));
        }
        let shared = self.shared();
        let admitted = shared.admit(header)?;
        let mut charge = MemoryCharge::new(&shared.unfinished, shared.max_unfinished);
        if !charge.grow_to(body.body.len()) {
            return Err(admission::no_room());
        }
        let body = Body { bytes: body.body, _charge: Some(charge) };
        let (function, deadline) = (admitted.function.clone(), admitted.deadline);
        let cancelled = CancellationToken::new();
        let inner = (body, self.session.max_message);
        let (inputs, request) =
            admitted.inputs(shared, &cancelled, &self.session.link, None, inner);
        let name = function.name.clone();
        let call = Running { function: name, begun: false, deadline, cancelled, abort: None };
        self.run(call, Job { id, function, inputs, request });
        Ok(())
    }

    fn read_header(&self, body: &[u8]) -> Result<CallHeader, Malformed> {
        let mut caller = self.caller.lock().unwrap_or_else(PoisonError::into_inner);
        CallHeader::read_knowing(body, &mut caller)
    }

    /// Runs a call as soon as it has its place, which as a rule is at once.
    fn run(self: &Arc<Self>, call: Running, job: Job) {
        let (id, detached) = (job.id, job.function.handler.policy.detached);
        let held = self.shared().places_now(&job.function);
        self.insert(id, Running { begun: held.is_some(), ..call });
        if let Some(held) = held {
            if self.start(&job) {
                self.run_in(held, job);
            }
            return;
        }
        let (abort, registration) = AbortHandle::new_pair();
        if !detached {
            self.stops_by(id, abort);
        }
        let mux = self.clone();
        let waiting = async move {
            let waiting = Waiting::new(mux.clone());
            let Some(held) = mux.shared().places(&job.function).await else { return };
            drop(waiting);
            if mux.has_place(id) && mux.start(&job) {
                mux.run_in(held, job);
                mux.hand_out();
            }
        };
        self.runtime().spawn(Abortable::new(waiting, registration));
    }

    fn run_in(self: &Arc<Self>, held: JobPermits, job: Job) {
        match &job.function.handler.run {
            Run::Task(_) => self.crew.add(held, job),
            _ => {
                let mux = self.clone();
                drop(self.runtime().spawn_blocking(move || mux.block(held, job)));
            }
        }
    }

    /// Lets a call start, unless it has done so before: then it ends.
    fn start(&self, job: &Job) -> bool {
        match self.shared().start(&job.function, &job.inputs.context) {
            Ok(start) => start.keep(),
            Err(error) => {
                self.remove(job.id);
                self.send_error(job.id, &error);
                return false;
            }
        }
        true
    }

    /// Runs a sync function.
    fn block(self: &Arc<Self>, held: JobPermits, job: Job) {
        let Job { id, function, inputs, request } = job;
        let Run::Blocking(run) = &function.handler.run else { return };
        // Nothing that it has touched is used after a panic.
        let result = catch_unwind(AssertUnwindSafe(|| run(inputs, request)));
        drop(held);
        self.reply(id, result.map_err(Died::Panicked), MuxWriter::push_frames);
    }

    fn insert(&self, id: MuxId, call: Running) {
        self.shared().counters.in_flight.fetch_add(1, Ordering::Relaxed);
        let mut running = self.running();
        let AllRunning { calls, deadlines } = &mut *running;
        let deadline = call.deadline;
        calls.insert(id, call);
        if let Some(deadline) = deadline
            && deadlines.add(deadline, id, calls.len(), |id| calls.contains_key(&id))
        {
            self.sooner.notify_one();
        }
    }

    /// Takes a call out: it is over.
    fn remove(&self, id: MuxId) -> Option<Running> {
        let call = self.running().calls.remove(&id)?;
        self.shared().counters.in_flight.fetch_sub(1, Ordering::Relaxed);
        Some(call)
    }

    pub(crate) fn is_running(&self, id: MuxId) -> bool {
        self.running().calls.contains_key(&id)
    }

    /// Notes what stops a call. Gives whether it still runs.
    pub(crate) fn stops_by(&self, id: MuxId, abort: AbortHandle) -> bool {
        let mut running = self.running();
        let call = running.calls.get_mut(&id);
        call.map(|call| call.abort = Some(abort)).is_some()
    }

    /// Notes that a call has got its place, unless it is over.
    fn has_place(&self, id: MuxId) -> bool {
        let mut running = self.running();
        let call = running.calls.get_mut(&id);
        call.map(|call| call.begun = true).is_some()
    }

    /// Ends a call with what its function gave, which is added to the mux by `add`.
    pub(crate) fn reply(
        self: &Arc<Self>,
        id: MuxId,
        result: Result<Reply, Died>,
        add: fn(&MuxWriter, MuxId, &[u8]),
    ) {
        let Some(call) = self.remove(id) else { return };
        call.cancelled.cancel();
        if call.deadline.is_some_and(|deadline| deadline <= Instant::now()) {
            let late = self.shared().late(&call.function, Executed::Maybe);
            return self.send_error(id, &late);
        }
        match result {
            Ok(reply) if reply.len() <= FRAME_HEADER + MAX_MUX_BODY => {
                add(&self.out, id, &reply);
            }
            Ok(reply) => {
                let mux = self.clone();
                drop(self.session.link.spawn(async move {
                    let sent = send_overflow(&mux.session, id, reply, call.deadline).await;
                    if sent.is_err() {
                        let late = mux.shared().late(&call.function, Executed::Maybe);
                        mux.send_error(id, &late);
                    }
                }));
            }
            Err(died) => self.send_error(id, &self.shared().died(&call.function, died)),
        }
    }

    fn send_error(&self, id: MuxId, error: &Error) {
        let mut frames = Vec::new();
        put_error(&mut frames, error);
        self.out.push_frames(id, &frames);
    }

    /// Ends each call whose deadline passes.
    async fn expire(&self) -> Infallible {
        let over = |now| self.running().deadlines.take(now);
        watch(
            &self.sooner,
            || self.running().deadlines.next(),
            |now| {
                while let Some(id) = over(now) {
                    if let Some(call) = self.remove(id) {
                        call.end();
                        let executed = if call.begun { Executed::Maybe } else { Executed::No };
                        self.send_error(id, &self.shared().late(&call.function, executed));
                    }
                }
            },
        )
        .await
    }
}
