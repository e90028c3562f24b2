//! The calls of one session: how they acquire permits, run, and end.
//!
//! Reading is an I/O task of the node, functions run on the user's runtime or on threads, and a
//! call can be given up, expire or fail at any time in between. One lock decides all of these
//! races: that of the [`CallTable`]. Whatever happens to a call goes through its entry there, and
//! the entry is removed exactly once, by [`NodeCalls::finish`].

mod batched;
mod inline;
mod jobs;
pub(super) mod keys;
mod legs;
mod wrapped;

use std::borrow::Cow;
use std::convert::Infallible;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use futures::FutureExt;
use futures::future::{AbortHandle, Abortable};
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::time::Instant;
use tracing::Instrument;

use crate::call::deadline::{DeadlinePassed, has_passed, watch, within};
use crate::call::executed::Evidence;
use crate::error::{Error, ErrorKind};
use crate::function::context::Context;
use crate::function::end::End;
use crate::function::handler::{Reply, Run};
use crate::function::registry::Function;
use crate::gauge::Gauge;
use crate::node::exec::dedup::Start;
use crate::node::exec::inline_batch::InlineBatch;
use crate::node::exec::job::{JobPermits, ReadyCall};
use crate::node::exec::observer::{Observer, left};
use crate::node::exec::table::{Begin, CallKey, CallTable, Responder, RunningCall};
use crate::node::exec::task_pool::{Lane, TaskPool};
use crate::node::exec::unread::{Unwritten, unread, written};
use crate::node::exec::work::{Died, error_frames, own_thread};
use crate::node::state::{NodeState, Session};
use crate::transport::log_limit::LogLimiter;
use crate::transport::mux::overflow;
use crate::transport::mux::writer::MuxWriter;
use crate::transport::quic::reset;
use crate::wire::caller::KnownCaller;
use crate::wire::frame::FRAME_HEADER;
use crate::wire::limits::{MAX_MUX_BODY, MAX_TRACE};
use crate::wire::mux::MuxId;

/// The calls of one session.
pub(in crate::node) struct NodeCalls {
    pub(in crate::node) session: Arc<Session>,
    /// Writes the responses on the multiplexed stream.
    pub(super) writer: MuxWriter,
    pub(super) pool: TaskPool,
    table: Mutex<CallTable>,
    /// Limits the log of iterators that got no thread.
    unstarted: LogLimiter<()>,
    /// Used by the task that reads only.
    inline: Mutex<InlineBatch>,
    /// Of middleware that panicked after its function had ended.
    panicked: LogLimiter<()>,
    /// Notified when a deadline was added that is earlier than all others.
    sooner: Notify,
    /// The caller of the last call on the multiplexed stream, which usually makes the next one too.
    pub(super) caller: Mutex<Option<KnownCaller>>,
    /// Streams of abandoned calls whose permits are free; to be reported to the gateway.
    pub(in crate::node) released: Mutex<Vec<u64>>,
    /// Notified when a stream was added to `released`.
    pub(in crate::node) has_released: Notify,
}

/// Ends a call when its task or thread ends: by [`finish`](Self::finish), or by its drop if the
/// task was aborted or the runtime has ended.
pub(super) struct JobGuard {
    calls: Arc<NodeCalls>,
    key: CallKey,
    permits: Option<JobPermits>,
    /// Whether dropping the guard ends the call.
    armed: bool,
}

impl JobGuard {
    pub(super) fn new(calls: &Arc<NodeCalls>, key: CallKey, permits: Option<JobPermits>) -> Self {
        Self { calls: calls.clone(), key, permits, armed: true }
    }

    pub(super) fn calls(&self) -> &Arc<NodeCalls> {
        &self.calls
    }

    /// Ends the call with what its function has returned, or with why it has not.
    pub(super) fn finish(mut self, ended: Result<Reply, Died>) {
        self.end(ended);
    }

    /// Disarms the guard and returns the permits: someone else ends the call now.
    pub(super) fn release(mut self) -> Option<JobPermits> {
        self.armed = false;
        self.permits.take()
    }

    fn end(&mut self, ended: Result<Reply, Died>) {
        // Release the permits before the response leaves: the gateway counts the call's place as
        // free when it sees the response, and may send the next call at once.
        drop(self.permits.take());
        self.armed = false;
        self.calls.finish(self.key, ended, MuxWriter::push_frames);
    }
}

impl Drop for JobGuard {
    fn drop(&mut self) {
        if self.armed {
            self.end(Err(Died::Aborted));
        }
    }
}

/// Longest response on the multiplexed stream, in bytes.
const MAX_RESPONSE: usize = FRAME_HEADER + MAX_TRACE + FRAME_HEADER + MAX_MUX_BODY;

/// How a response is queued on the multiplexed stream.
pub(super) type QueueResponse = fn(&MuxWriter, MuxId, &[u8]);

impl NodeCalls {
    pub(in crate::node) fn new(session: Arc<Session>) -> Arc<Self> {
        Arc::new(Self {
            session,
            writer: MuxWriter::default(),
            pool: TaskPool::default(),
            table: Mutex::default(),
            unstarted: LogLimiter::default(),
            inline: Mutex::default(),
            panicked: LogLimiter::default(),
            sooner: Notify::new(),
            caller: Mutex::default(),
            released: Mutex::default(),
            has_released: Notify::new(),
        })
    }

    pub(super) fn node(&self) -> &Arc<NodeState> {
        &self.session.node
    }

    pub(super) fn runtime(&self) -> &Handle {
        &self.node().runtime
    }

    /// The number of calls in the table, and whether `key` is one of them.
    pub(super) fn look_up(&self, key: CallKey) -> (usize, bool) {
        let table = self.table.lock();
        (table.len(), table.contains(key))
    }

    /// Runs a call as soon as it has its permits, which is usually at once. Jobs of the task pool
    /// start with the next [`dispatch`](Self::dispatch).
    pub(super) fn execute(self: &Arc<Self>, call: RunningCall, job: ReadyCall) {
        if call.context.key().is_some() && call.run.is_none() {
            return self.execute_keyed(call, job);
        }
        let key = job.key;
        if !matches!(key, CallKey::Run(_)) {
            // The callers of a run count, and not the run.
            self.node().counters.in_flight.fetch_add(1, Ordering::Relaxed);
        }
        let permits = JobPermits::try_acquire(self.node(), &job.function);
        let permits = match permits {
            Some(permits) if self.may_run_here(&permits, &job) => {
                return self.run_here(permits, call, job);
            }
            permits => permits,
        };
        // Insert before anything can run: `begin` refuses a call that is not in the table, and its
        // end must find the entry.
        if self.table.lock().insert(key, call) {
            self.sooner.notify_one();
        }
        if let Some(permits) = permits {
            return self.start(permits, job);
        }
        let guard = JobGuard::new(self, key, None);
        // The handle that aborts the wait is kept before the task runs: it must not replace that of
        // the function, which the task may start at once.
        self.spawn_abortable(key, async move {
            let calls = guard.calls.clone();
            let waits = Gauge::up(&calls.node().counters.waiting);
            let acquired = JobPermits::acquire(calls.node(), &job.function).await;
            let Some(permits) = acquired else { return };
            drop(waits);
            // From here on the guard of the next stage ends the call. No await lies between the
            // two, so an abort cannot leave the call without one.
            guard.release();
            calls.start(permits, job);
            // The task that reads dispatches after what it has read; this call starts later than that.
            calls.dispatch();
        });
    }

    /// Runs a call that has its permits, inside the node's middleware if it has any.
    fn start(self: &Arc<Self>, permits: JobPermits, job: ReadyCall) {
        match self.node().layers.is_empty() {
            true => self.launch(permits, job),
            false => self.start_wrapped(permits, job),
        }
    }

    /// Hands a call to the task pool, a task, a thread or its batch, unless it has started at this node
    /// before.
    pub(super) fn launch(self: &Arc<Self>, permits: JobPermits, job: ReadyCall) {
        if let Run::Batch(_) = job.function.handler.run {
            return self.start_in_batch(permits, job);
        }
        if let Err(error) = self.note_start(&job) {
            let (key, refused) = (job.key, Err(Died::Refused(error)));
            // As in `JobGuard::end`: release the permits before the response leaves.
            drop((job, permits));
            self.finish(key, refused, MuxWriter::push_frames);
            return;
        }
        match &job.function.handler.run {
            Run::Task(_) => self.pool.add(Lane::Async, permits, job),
            Run::Inline(_) if !permits.has_thread() => self.pool.add(Lane::Async, permits, job),
            Run::Blocking(_) | Run::Inline(_) if job.is_short() => {
                self.pool.add(Lane::Blocking, permits, job);
            }
            Run::Blocking(_) | Run::Inline(_) => {
                let guard = JobGuard::new(self, job.key, Some(permits));
                drop(self.runtime().spawn_blocking(move || run_blocking(guard, job)));
            }
            Run::Stream(_) => self.spawn_stream(JobGuard::new(self, job.key, Some(permits)), job),
            Run::Thread(_) => self.spawn_thread(JobGuard::new(self, job.key, Some(permits)), job),
            // Neither has come this far: a batch starts with its run, and an operator has no calls.
            Run::Batch(_) | Run::Operator(_) => {}
        }
    }

    /// Records that the function of a call is about to start.
    ///
    /// # Errors
    /// `Protocol` if the call has started at this node before.
    pub(super) fn note_start(&self, job: &ReadyCall) -> Result<(), Error> {
        self.start_of(&job.function, &job.inputs.context).map(Start::keep)
    }

    /// Records that `function` is about to start for the call of `context`, unless the returned
    /// guard is dropped.
    ///
    /// # Errors
    /// `Protocol` if the call has started at this node before.
    fn start_of(&self, function: &Function, context: &Context) -> Result<Start<'_>, Error> {
        let node = self.node();
        node.started.start(function, context, &node.counters.repeats)
    }

    fn spawn_stream(&self, guard: JobGuard, job: ReadyCall) {
        self.spawn_abortable(job.key, async move {
            let ReadyCall { key, function, inputs, request, items, span } = job;
            let (Run::Stream(run), Some(items)) = (&function.handler.run, items) else { return };
            if guard.calls.begin(key) == Begin::Start {
                let work = run(inputs, request, items).instrument(span.to_span());
                let work = AssertUnwindSafe(work).catch_unwind();
                guard.finish(work.await.map(|()| Reply::new()).map_err(Died::Panicked));
            }
        });
    }

    fn spawn_thread(&self, guard: JobGuard, job: ReadyCall) {
        let (key, runtime) = (job.key, self.runtime().clone());
        let spawned = own_thread(move || {
            let ReadyCall { function, inputs, request, items, span, .. } = job;
            let (Run::Thread(run), Some(items)) = (&function.handler.run, items) else { return };
            if guard.calls.begin(key) == Begin::Start {
                let _runtime = runtime.enter();
                // Unwind safe: the closure owns its inputs, and they are dropped with the panic.
                let current = span.enter();
                let ran = catch_unwind(AssertUnwindSafe(|| run(inputs, request, items)));
                drop(current);
                guard.finish(ran.map(|()| Reply::new()).map_err(Died::Panicked));
            }
        });
        // Dropping the closure dropped the guard, which has ended the call; only the log has the
        // cause.
        if let Err(error) = spawned
            && let Some(left_out) = self.unstarted.next(())
        {
            let node = &self.node().id;
            let error = error.chain();
            tracing::warn!(%node, %error, left_out, "cannot start the thread of an iterator");
        }
    }

    /// Moves a function that is still pending after its first poll to a separate task.
    pub(super) fn continue_in_task(
        self: &Arc<Self>,
        key: CallKey,
        work: impl Future<Output = Reply> + Send + 'static,
        permits: JobPermits,
    ) {
        let guard = JobGuard::new(self, key, Some(permits));
        self.spawn_abortable(key, async move {
            let result = AssertUnwindSafe(work).catch_unwind().await;
            guard.finish(result.map_err(Died::Panicked));
        });
    }

    pub(super) fn spawn_abortable(
        &self,
        key: CallKey,
        work: impl Future<Output = ()> + Send + 'static,
    ) {
        let (abort, registration) = AbortHandle::new_pair();
        // Set before the task is spawned. If the call has ended meanwhile, `set_abort` aborts at
        // once, and the task is dropped at its first poll; later handles of the same call are set
        // by the task itself, and must not be overwritten by this one.
        self.table.lock().set_abort(key, abort);
        drop(self.runtime().spawn(Abortable::new(work, registration)));
    }

    /// Decides whether the function of a call starts. Called immediately before it runs.
    pub(super) fn begin(&self, key: CallKey) -> Begin {
        self.table.lock().begin(key)
    }

    /// Registers `observer` for the end of a call. From then on an early end no longer aborts the
    /// middleware's task.
    pub(super) fn observe(&self, key: CallKey, observer: Observer) {
        self.table.lock().observe(key, observer);
    }

    /// Notes that the caller has given up a call.
    pub(super) fn give_up(&self, key: CallKey) {
        self.table.lock().give_up(key);
    }

    /// Fails a call with `error` once its function has been dropped.
    pub(super) fn fail(&self, key: CallKey, error: Error) {
        self.table.lock().fail(key, error);
    }

    /// Notes that a stream that the gateway has opened was accepted.
    pub(in crate::node) fn accept_stream(&self, stream: u64) {
        self.table.lock().accept_stream(stream);
    }

    /// Notes that a call has been read from its stream, or never will be. Returns whether the
    /// gateway still wants it.
    ///
    /// [`execute`](Self::execute) must follow without an `.await`: in between, the call is in
    /// neither table of [`CallTable`], and [`abandon_stream`](Self::abandon_stream), which runs on
    /// the same thread, would report its permits as free.
    pub(super) fn end_reading(&self, stream: u64) -> bool {
        let wanted = self.table.lock().end_reading(stream);
        if !wanted {
            self.release(stream);
        }
        wanted
    }

    /// Gives up the call on `stream`, whose caller has left, and tells the gateway once its permits
    /// are free.
    pub(in crate::node) fn abandon_stream(&self, stream: u64) {
        if !self.table.lock().abandon_stream(stream) {
            self.release(stream);
        }
    }

    /// Tells the gateway that the permits of the call on `stream` are free.
    fn release(&self, stream: u64) {
        self.released.lock().push(stream);
        self.has_released.notify_one();
    }

    /// Ends a call whose function has ended and released its permits: removes it from the table and
    /// sends its response. Returns an empty buffer for the next response, which may have memory.
    pub(super) fn finish(
        self: &Arc<Self>,
        key: CallKey,
        ended: Result<Reply, Died>,
        queue: QueueResponse,
    ) -> Reply {
        // Removing is the commit point: what is noted in the entry from now on has no effect, and a
        // second `finish` finds nothing.
        let removed = self.table.lock().remove(key);
        removed.map_or_else(Reply::new, |call| self.settle(key, call, ended, queue))
    }

    /// Ends a call that is not in the table, as [`finish`](Self::finish) does.
    fn settle(
        self: &Arc<Self>,
        key: CallKey,
        mut call: RunningCall,
        ended: Result<Reply, Died>,
        queue: QueueResponse,
    ) -> Reply {
        if !matches!(key, CallKey::Run(_)) {
            self.node().counters.in_flight.fetch_sub(1, Ordering::Relaxed);
        }
        call.context.cancel();
        let observer = call.observer.take();
        if call.given_up {
            // A caller also leaves because its deadline has passed; that is the better reason.
            if has_passed(call.deadline) {
                call.note_error(ErrorKind::DeadlineExceeded, None);
                if let Some(observer) = observer {
                    let evidence = Evidence::of_start(call.started);
                    observer.tell(Err(&self.node().late(&call.function.name, evidence)));
                }
            } else {
                // A caller that has the last frame of a stream may leave before its function has ended.
                call.note_stream_end();
                observer.into_iter().for_each(|observer| observer.tell(Err(&left())));
            }
            match key {
                // An empty response tells the gateway that the permits are free.
                CallKey::Mux(id) => queue(&self.writer, id, &[]),
                CallKey::Stream(stream) if call.release_wanted => self.release(stream),
                CallKey::Stream(_) | CallKey::Run(_) => {}
            }
            return Reply::new();
        }
        let outcome = self.outcome(&mut call, ended);
        if let Err(error) = &outcome {
            call.note_error(error.kind(), Some(error.executed()));
        }
        if let Some(observer) = observer {
            observer.tell(outcome.as_ref());
        }
        if let Some(mut run) = call.run.take() {
            run.end(outcome);
            if call.release_wanted
                && let CallKey::Stream(stream) = key
            {
                self.release(stream);
            }
            // Tells the task of the stream, if it still waits, that the permits are free.
            let deadline = call.deadline;
            return self.respond(key, call.responder, Reply::new(), "", deadline, queue);
        }
        let reply = outcome.unwrap_or_else(|error| error_frames(&error));
        if call.started && !call.function.descriptor.kind.gives_stream() {
            call.function.handler.policy.item_sizes.note(reply.len());
        }
        let (name, deadline) = (&call.function.name, call.deadline);
        self.respond(key, call.responder, reply, name, deadline, queue)
    }

    /// Sends a response to where it goes. Returns an empty buffer for the next one.
    fn respond(
        self: &Arc<Self>,
        key: CallKey,
        responder: Responder,
        mut reply: Reply,
        function: &str,
        deadline: Option<Instant>,
        queue: QueueResponse,
    ) -> Reply {
        match (key, responder) {
            (CallKey::Mux(id), _) if reply.len() <= MAX_RESPONSE => {
                queue(&self.writer, id, &reply);
                reply.clear();
                return reply;
            }
            (CallKey::Mux(id), _) => {
                self.send_overflow(id, reply, function.to_owned().into(), deadline);
            }
            // Fails if the stream's task is gone: then there is no one to answer.
            (CallKey::Stream(_), Responder::Stream(task)) => drop(task.send(reply)),
            // A run has no caller of its own.
            (CallKey::Stream(_), Responder::Mux) | (CallKey::Run(_), _) => {}
        }
        Reply::new()
    }

    /// Decides what the caller receives. In order of precedence: the call's failure, its deadline,
    /// what the function returned.
    fn outcome(&self, call: &mut RunningCall, ended: Result<Reply, Died>) -> Result<Reply, Error> {
        let (node, name) = (self.node(), &call.function.name);
        let evidence = Evidence::of_start(call.started);
        if let Some(failure) = call.failure.take() {
            return Err(failure.with_node(&*node.id));
        }
        // Checked even if the timer has not fired yet: a nested call has the same deadline, and a
        // function that returns that call's error would otherwise race with the timer.
        if has_passed(call.deadline) {
            return Err(node.late(name, evidence));
        }
        let reply = ended.map_err(|died| died.into_error(name, &node.id, evidence))?;
        if let Some(clock) = &mut call.clock {
            let end = match reply.is_empty() {
                // The items of a stream are gone already.
                true => call.context.tally().end(),
                false => Some(End::of_frames(&reply).0),
            };
            end.iter().for_each(|end| clock.note_end(end));
            if let Some(trace) = clock.trace(&node.id) {
                return Ok(trace.before(&reply));
            }
        }
        Ok(reply)
    }

    /// Sends a response that is too long for the multiplexed stream on a separate stream, until its
    /// deadline passes.
    fn send_overflow(
        self: &Arc<Self>,
        id: MuxId,
        reply: Reply,
        function: Cow<'static, str>,
        deadline: Option<Instant>,
    ) {
        let calls = self.clone();
        let held = self.node().hold_answer(&reply);
        let sending = self.session.link.spawn(async move {
            let _held = held;
            let session = &calls.session;
            let opened = overflow::open(&session.connection, &session.windows).await;
            // Without the gateway there is no one to send it to.
            let Ok(mut send) = opened else { return };
            let (stream, mut stopped) = (send.id(), send.stopped());
            let first = overflow::first_bytes(id, &[]);
            let writing = within(
                deadline,
                written(session, stream, async {
                    send.write(&first).await?;
                    send.write(&reply).await
                }),
            );
            let written = tokio::select! {
                biased;
                written = writing => written,
                _ = &mut stopped => return,
            };
            match written {
                Ok(Ok(())) => send.finish(),
                Ok(Err(Unwritten::Gone)) => {}
                // A reset may overtake the first bytes of the stream, which name the call: the
                // gateway would not know which call failed, and the call would wait for ever. So
                // the error is also sent on the multiplexed stream, here and below.
                Ok(Err(Unwritten::InTheWay)) => {
                    let error = unread().with_node(&*calls.node().id);
                    send.reset(reset::code_of(&error));
                    calls.send_error(id, &error);
                }
                Err(DeadlinePassed) => {
                    send.reset(reset::code(ErrorKind::DeadlineExceeded));
                    let late = calls.node().late(&function, Evidence::Sent);
                    calls.send_error(id, &late);
                }
            }
        });
        sending.detach();
    }

    pub(super) fn send_error(&self, id: MuxId, error: &Error) {
        self.writer.push_frames(id, &error_frames(error));
    }

    /// Stops each call whose deadline passes. Cancel safe.
    pub(in crate::node) async fn expire(&self) -> Infallible {
        let next = || self.table.lock().next_deadline();
        watch(&self.sooner, next, |now| self.table.lock().expire(now)).await
    }

    /// Gives up all calls, because the gateway is gone. Detached functions run on, and so do
    /// resumable streams.
    pub(in crate::node) fn close(self: &Arc<Self>) {
        self.writer.close();
        self.table.lock().close();
        // Jobs that are queued with their permits now end, or start if they are detached. The I/O
        // thread will not dispatch again.
        self.dispatch();
    }
}

/// Runs a sync function on the current blocking thread.
fn run_blocking(guard: JobGuard, job: ReadyCall) {
    let ReadyCall { key, function, inputs, request, span, .. } = job;
    let (Run::Blocking(run) | Run::Inline(run)) = &function.handler.run else { return };
    if guard.calls.begin(key) == Begin::Start {
        let begun = std::time::Instant::now();
        // Unwind safe: the closure owns its inputs, and they are dropped with the panic.
        let current = span.enter();
        let result = catch_unwind(AssertUnwindSafe(|| run(inputs, request)));
        drop(current);
        guard.calls.note_time(&function, begun.elapsed());
        guard.finish(result.map_err(Died::Panicked));
    }
}
