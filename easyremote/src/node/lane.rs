//! The gateway's lane at a node: small calls, of which many share one stream.
//!
//! Their answers are added to the lane by whichever thread has them; the I/O thread writes what it
//! finds there. So a call costs one task of the user's runtime and no other.

use std::borrow::Cow;
use std::collections::HashMap;
use std::convert::Infallible;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use futures::FutureExt;
use futures::future::{AbortHandle, Abortable};
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::error::{Error, ErrorKind, Executed};
use crate::function::handler::{Body, Inputs, Reply, Request, Run};
use crate::function::registry::Function;
use crate::gauge::Charge;
use crate::node::moved::send_moved;
use crate::node::session::Session;
use crate::node::work::Died;
use crate::node::{Shared, admission};
use crate::transport::lane::LaneOut;
use crate::transport::lane::calling::read_messages;
use crate::transport::lane::deadlines::{Deadlines, watch};
use crate::transport::reset;
use crate::transport::stream::{FrameError, RecvHalf, SendHalf};
use crate::wire::bytes::Malformed;
use crate::wire::error::put_error;
use crate::wire::frame::{FRAME_HEADER, FrameKind};
use crate::wire::header::CallHeader;
use crate::wire::kind::Kind;
use crate::wire::lane::{LaneId, take_frame};
use crate::wire::limits::{MAX_LANE_BODY, MAX_NODE_STREAMS};

/// The lane of one session.
struct Lane {
    out: LaneOut,
    running: Mutex<AllRunning>,
    /// A call is over before all others.
    sooner: Notify,
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
        connection.close(code, cause.text.as_bytes());
    };
    if session.has_lane.swap(true, Ordering::Relaxed) {
        return break_off(Malformed::new("a second lane on one connection"));
    }
    let (running, sooner) = (Mutex::default(), Notify::new());
    let lane = Open(Arc::new(Lane { out: LaneOut::default(), running, sooner, session }));
    let receive = |id, frames| Lane::receive(&lane.0, id, frames);
    let ready = || {
        let lane = lane.0.clone();
        async move { lane.out.roomy().await }
    };
    let error = tokio::select! {
        broken = lane.0.out.write_to(&mut send, &connection) => FrameError::Broken(broken),
        error = read_messages(&mut recv, &first, ready, receive) => error,
        never = lane.0.expire() => match never {},
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

/// A call that can run.
struct Ready {
    run: Run,
    inputs: Inputs,
    request: Request,
}

impl Lane {
    fn running(&self) -> MutexGuard<'_, AllRunning> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn shared(&self) -> &Arc<Shared> {
        &self.session.shared
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
        let header = CallHeader::read(&header.body).map_err(|cause| protocol(cause.to_string()))?;
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
        let (function, deadline) = (admitted.function, admitted.deadline);
        let cancelled = CancellationToken::new();
        let inner = (body, self.session.max_message);
        let (inputs, request) =
            admitted.inputs(shared, &cancelled, &self.session.link, None, inner);
        let run = function.handler.run.clone();
        self.run(id, function, deadline, cancelled, Ready { run, inputs, request });
        Ok(())
    }

    fn run(
        self: &Arc<Self>,
        id: LaneId,
        function: &Function,
        deadline: Option<Instant>,
        cancelled: CancellationToken,
        ready: Ready,
    ) {
        let shared = self.shared();
        let terms = &function.handler.terms;
        let (abort, registration) = AbortHandle::new_pair();
        let places = terms.places(&shared.running);
        let threads = match &ready.run {
            Run::Blocking(_) => Some(shared.blocking.clone().acquire_owned()),
            _ => None,
        };
        let mut held = Box::pin(async {
            let place = places.await.ok()?;
            let thread = match threads {
                Some(threads) => Some(threads.await.ok()?),
                None => None,
            };
            Some((place, thread))
        });
        // As a rule there is a place at once.
        let now = held.as_mut().now_or_never();
        self.insert(
            id,
            Running {
                function: function.name.clone(),
                begun: now.is_some(),
                deadline,
                cancelled,
                abort: (!terms.detached).then_some(abort),
            },
        );
        let lane = self.clone();
        let handle = shared.runtime.clone();
        match now {
            Some(Some(held)) if self.start(id, &ready) => match ready.run {
                Run::Task(_) => {
                    let work = lane.work(id, ready, held);
                    handle.spawn(Abortable::new(work, registration));
                }
                _ => drop(handle.spawn_blocking(move || lane.block(id, ready, held))),
            },
            // It has started before. (Nobody closes the semaphores.)
            Some(_) => {}
            None => {
                let waiting = async move {
                    let waiting = Waiting::new(lane.clone());
                    let Some(held) = held.await else { return };
                    drop(waiting);
                    if !lane.has_place(id) || !lane.start(id, &ready) {
                        return;
                    }
                    match ready.run {
                        Run::Task(_) => lane.work(id, ready, held).await,
                        _ => {
                            let runtime = tokio::runtime::Handle::current();
                            drop(runtime.spawn_blocking(move || lane.block(id, ready, held)));
                        }
                    }
                };
                handle.spawn(Abortable::new(waiting, registration));
            }
        }
    }

    /// Lets a call start, unless it has done so before: then it ends.
    fn start(&self, id: LaneId, ready: &Ready) -> bool {
        let (shared, context) = (self.shared(), &ready.inputs.context);
        let Some(function) = shared.registry.get(context.function()) else { return false };
        match shared.start(function, context) {
            Ok(start) => start.keep(),
            Err(error) => {
                self.remove(id);
                self.send_error(id, &error);
                return false;
            }
        }
        true
    }

    /// Runs an async function. `held` is kept for as long as it runs.
    async fn work<H>(self: Arc<Self>, id: LaneId, ready: Ready, held: H) {
        let Ready { run: Run::Task(run), inputs, request } = ready else { return };
        let result = AssertUnwindSafe(async { run(inputs, request).await }).catch_unwind().await;
        drop(held);
        self.reply(id, result.map_err(Died::Panicked));
    }

    /// Runs a sync function.
    fn block<H>(&self, id: LaneId, ready: Ready, held: H) {
        let Ready { run: Run::Blocking(run), inputs, request } = ready else { return };
        // Nothing that it has touched is used after a panic.
        let result = catch_unwind(AssertUnwindSafe(|| run(inputs, request)));
        drop(held);
        self.reply(id, result.map_err(Died::Panicked));
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

    /// Notes that a call has got its place, unless it is over.
    fn has_place(&self, id: LaneId) -> bool {
        let mut running = self.running();
        let call = running.calls.get_mut(&id);
        call.map(|call| call.begun = true).is_some()
    }

    /// Ends a call with what its function gave.
    fn reply(&self, id: LaneId, result: Result<Reply, Died>) {
        let Some(call) = self.remove(id) else { return };
        call.cancelled.cancel();
        if call.deadline.is_some_and(|deadline| deadline <= Instant::now()) {
            let late = self.shared().late(&call.function, Executed::Maybe);
            return self.send_error(id, &late);
        }
        match result {
            Ok(reply) if reply.len() <= FRAME_HEADER + MAX_LANE_BODY => {
                self.out.push_frames(id, &reply);
            }
            Ok(reply) => {
                let sent = send_moved(self.session.clone(), id, reply, call.deadline);
                drop(self.session.link.spawn(sent));
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
