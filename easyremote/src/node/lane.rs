//! The gateway's lane at a node: small calls, of which many share one stream.
//!
//! Their answers are added to the lane by whichever thread has them; the I/O thread writes what it
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
use crate::gauge::Charge;
use crate::node::Shared;
use crate::node::admission::{self, Held};
use crate::node::crew::{Crew, Job};
use crate::node::moved::send_moved;
use crate::node::session::Session;
use crate::node::work::Died;
use crate::transport::congestion;
use crate::transport::lane::LaneOut;
use crate::transport::lane::calling::read_messages;
use crate::transport::lane::deadlines::{Deadlines, watch};
use crate::transport::reset;
use crate::transport::stream::{FrameError, RecvHalf, SendHalf};
use crate::wire::bytes::Malformed;
use crate::wire::caller::KnownCaller;
use crate::wire::error::put_error;
use crate::wire::frame::{FRAME_HEADER, FrameKind};
use crate::wire::header::CallHeader;
use crate::wire::kind::Kind;
use crate::wire::lane::{LaneId, take_frame};
use crate::wire::limits::{MAX_LANE_BODY, MAX_NODE_STREAMS};

/// The lane of one session.
pub(super) struct Lane {
    pub(super) out: LaneOut,
    pub(super) crew: Crew,
    running: Mutex<AllRunning>,
    /// A call is over before all others.
    sooner: Notify,
    /// Who made the last call: as a rule, also the next one.
    caller: Mutex<Option<KnownCaller>>,
    session: Arc<Session>,
}

#[derive(Default)]
struct AllRunning {
    calls: HashMap<LaneId, Running>,
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

/// Serves the lane that the gateway has opened; `first` has come on it already.
pub(super) async fn serve(
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
    if session.has_lane.swap(true, Ordering::Relaxed) {
        return break_off(Malformed::new("a second lane on one connection"));
    }
    let (running, sooner, caller) = (Mutex::default(), Notify::new(), Mutex::default());
    let (out, crew) = (LaneOut::default(), Crew::default());
    let lane = Open(Arc::new(Lane { out, crew, running, sooner, caller, session }));
    let receive = |id, frames| Lane::receive(&lane.0, id, frames);
    let ready = || {
        let lane = lane.0.clone();
        lane.hand_out();
        async move { lane.out.roomy().await }
    };
    let error = tokio::select! {
        broken = lane.0.out.write_to(&mut send, &connection) => FrameError::Broken(broken),
        error = read_messages(&mut recv, &first, ready, receive) => error,
        never = lane.0.expire() => match never {},
        never = lane.0.oversee() => match never {},
    };
    if let FrameError::Malformed(cause) = error {
        break_off(cause);
    }
}

/// A lane whose gateway is there; its calls end with it.
struct Open(Arc<Lane>);

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
struct Waiting(Arc<Lane>);

impl Waiting {
    fn new(lane: Arc<Lane>) -> Self {
        lane.shared().counters.waiting.fetch_add(1, Ordering::Relaxed);
        Self(lane)
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.shared().counters.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Lane {
    fn running(&self) -> MutexGuard<'_, AllRunning> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn shared(&self) -> &Arc<Shared> {
        &self.session.shared
    }

    pub(super) fn runtime(&self) -> &Handle {
        &self.shared().runtime
    }

    /// Takes a message of the gateway.
    ///
    /// # Errors
    /// The gateway breaks the rules of a lane.
    fn receive(self: &Arc<Self>, id: LaneId, frames: Bytes) -> Result<(), Malformed> {
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
                    "more than {MAX_NODE_STREAMS} calls on a lane, or two with one id at a time"
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
    fn begin(self: &Arc<Self>, id: LaneId, mut frames: Bytes) -> Result<(), Error> {
        let header = take_frame(&mut frames, 0).map_err(Malformed::into_error)?;
        let limit = MAX_LANE_BODY.min(self.session.max_message);
        let body = take_frame(&mut frames, limit).map_err(Malformed::into_error)?;
        let protocol = |text: String| Error::new(ErrorKind::Protocol, text);
        let kinds = (header.kind, body.kind);
        if kinds != (FrameKind::Header, FrameKind::Body) || !frames.is_empty() {
            return Err(protocol(format!("{kinds:?} frames on a lane")));
        }
        let header = self.read_header(&header.body).map_err(|cause| protocol(cause.to_string()))?;
        if header.kind != Kind::Unary {
            return Err(protocol(format!("a {:?} call on a lane", header.kind)));
        }
        let shared = self.shared();
        let admitted = shared.admit(header)?;
        let mut charge = Charge::new(&shared.unfinished, shared.max_unfinished);
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
        let (id, detached) = (job.id, job.function.handler.terms.detached);
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
        let lane = self.clone();
        let waiting = async move {
            let waiting = Waiting::new(lane.clone());
            let Some(held) = lane.shared().places(&job.function).await else { return };
            drop(waiting);
            if lane.has_place(id) && lane.start(&job) {
                lane.run_in(held, job);
                lane.hand_out();
            }
        };
        self.runtime().spawn(Abortable::new(waiting, registration));
    }

    fn run_in(self: &Arc<Self>, held: Held, job: Job) {
        match &job.function.handler.run {
            Run::Task(_) => self.crew.add(held, job),
            _ => {
                let lane = self.clone();
                drop(self.runtime().spawn_blocking(move || lane.block(held, job)));
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
    fn block(self: &Arc<Self>, held: Held, job: Job) {
        let Job { id, function, inputs, request } = job;
        let Run::Blocking(run) = &function.handler.run else { return };
        // Nothing that it has touched is used after a panic.
        let result = catch_unwind(AssertUnwindSafe(|| run(inputs, request)));
        drop(held);
        self.reply(id, result.map_err(Died::Panicked), LaneOut::push_frames);
    }

    fn insert(&self, id: LaneId, call: Running) {
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
    fn remove(&self, id: LaneId) -> Option<Running> {
        let call = self.running().calls.remove(&id)?;
        self.shared().counters.in_flight.fetch_sub(1, Ordering::Relaxed);
        Some(call)
    }

    pub(super) fn is_running(&self, id: LaneId) -> bool {
        self.running().calls.contains_key(&id)
    }

    /// Notes what stops a call. Gives whether it still runs.
    pub(super) fn stops_by(&self, id: LaneId, abort: AbortHandle) -> bool {
        let mut running = self.running();
        let call = running.calls.get_mut(&id);
        call.map(|call| call.abort = Some(abort)).is_some()
    }

    /// Notes that a call has got its place, unless it is over.
    fn has_place(&self, id: LaneId) -> bool {
        let mut running = self.running();
        let call = running.calls.get_mut(&id);
        call.map(|call| call.begun = true).is_some()
    }

    /// Ends a call with what its function gave, which is added to the lane by `add`.
    pub(super) fn reply(
        self: &Arc<Self>,
        id: LaneId,
        result: Result<Reply, Died>,
        add: fn(&LaneOut, LaneId, &[u8]),
    ) {
        let Some(call) = self.remove(id) else { return };
        call.cancelled.cancel();
        if call.deadline.is_some_and(|deadline| deadline <= Instant::now()) {
            let late = self.shared().late(&call.function, Executed::Maybe);
            return self.send_error(id, &late);
        }
        match result {
            Ok(reply) if reply.len() <= FRAME_HEADER + MAX_LANE_BODY => {
                add(&self.out, id, &reply);
            }
            Ok(reply) => {
                let lane = self.clone();
                drop(self.session.link.spawn(async move {
                    let sent = send_moved(&lane.session, id, reply, call.deadline).await;
                    if sent.is_err() {
                        let late = lane.shared().late(&call.function, Executed::Maybe);
                        lane.send_error(id, &late);
                    }
                }));
            }
            Err(died) => self.send_error(id, &self.shared().died(&call.function, died)),
        }
    }

    fn send_error(&self, id: LaneId, error: &Error) {
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
