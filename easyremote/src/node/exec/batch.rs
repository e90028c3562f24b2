//! Batches: calls of one function that run together.
//!
//! Each batch function of a node has one [`Collector`], which all gateways' calls share. It is
//! driven by events, and has no task of its own:
//!
//! ```text
//!   join ----> waiting --- full? ----------+
//!                |                         |
//!   Collectors::watch: waited, a deadline -+--> depart: begin each call --> a run
//!                |                         |      ^                          |
//!   withdraw <---+ the caller leaves       +------+------- end <-------------+
//! ```
//!
//! A run holds one of the function's `concurrency`, and a blocking thread if the function is sync.
//! Both are acquired before the batch is closed: while it waits for them, it collects.
//!
//! This module knows neither connections nor responses. A call is a [`BatchedCall`], which decides
//! whether it begins, and takes its reply.

use std::collections::HashMap;
use std::convert::Infallible;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use futures::FutureExt;
use futures::future::{AbortHandle, Abortable, pending};
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use crate::call::batch_meter::BatchReason;
use crate::call::deadline::{now, watch};
use crate::call::executed::Evidence;
use crate::call::function_meter::FunctionMeter;
use crate::error::{Error, ErrorKind};
use crate::function::batch::{BatchBody, BatchFunction, BatchMember};
use crate::function::handler::{Reply, Run};
use crate::function::panics::panicked;
use crate::function::registry::{Function, Registry};
use crate::node::exec::batch::queue::{BatchQueue, Departure, Waiting, latest};
use crate::transport::call_span::CallSpan;
use crate::wire::trace::BatchRecord;

mod queue;

/// A call, as its batch sees it.
pub(super) trait BatchedCall: Send + Sync {
    /// Returns the span of the call.
    fn span(&self) -> &CallSpan;

    /// Decides whether the call starts, atomically with everything that may end it. One that has
    /// started tells `run` when it leaves early.
    fn begin(&self, run: &Arc<LiveRun>) -> bool;

    /// Ends the call, unless it has left.
    fn finish(&self, reply: Result<Reply, Error>, batch: BatchRecord);
}

/// The batch functions of a node.
#[derive(Debug)]
pub(in crate::node) struct Collectors {
    collectors: HashMap<String, Arc<Collector>>,
    sooner: Arc<Notify>,
}

impl Collectors {
    /// Prepares for the batch functions of `registry`, whose runs are spawned on `runtime` and use
    /// the threads of `blocking`. The node has `places` for calls.
    pub(in crate::node) fn new(
        registry: &Registry,
        runtime: &Handle,
        blocking: &Arc<Semaphore>,
        places: usize,
    ) -> Self {
        let sooner = Arc::new(Notify::new());
        let collector = |function: &Arc<Function>| match &function.handler.run {
            Run::Batch(batch) => {
                let collector = Collector {
                    name: function.name.clone().into_owned(),
                    meter: function.meter.clone(),
                    batch: batch.clone(),
                    runtime: runtime.clone(),
                    blocking: blocking.clone(),
                    max_runs: function.handler.policy.concurrency,
                    places: AtomicUsize::new(places),
                    next: AtomicU64::new(0),
                    state: Mutex::default(),
                    in_runs: Arc::default(),
                    run_time: AtomicU64::new(0),
                    sooner: sooner.clone(),
                };
                Some((function.name.clone().into_owned(), Arc::new(collector)))
            }
            _ => None,
        };
        Self { collectors: registry.all().filter_map(collector).collect(), sooner }
    }

    /// Returns the collector of a batch function.
    pub(super) fn get(&self, function: &str) -> Option<&Arc<Collector>> {
        self.collectors.get(function)
    }

    /// Lets batches leave that have waited long enough, while it is polled; and all of them at once
    /// when `draining` is cancelled, since no further calls come. Cancel safe.
    pub(in crate::node) async fn watch(&self, draining: &CancellationToken) -> Infallible {
        let hurry = async {
            draining.cancelled().await;
            for collector in self.collectors.values() {
                collector.places.store(0, Ordering::Relaxed);
                collector.depart(None);
            }
            pending().await
        };
        let next = || self.collectors.values().filter_map(|it| it.state.lock().due).min();
        let passed = |now| {
            for collector in self.collectors.values() {
                if collector.state.lock().due.is_some_and(|due| due <= now) {
                    collector.depart(None);
                }
            }
        };
        tokio::select! {
            never = watch(&self.sooner, next, passed) => never,
            never = hurry => never,
        }
    }
}

/// Collects the calls of one function, and runs them.
pub(super) struct Collector {
    name: String,
    meter: Arc<FunctionMeter>,
    batch: Arc<BatchFunction>,
    runtime: Handle,
    /// Permits of blocking threads.
    blocking: Arc<Semaphore>,
    /// Maximum number of runs at a time; 0 means no limit.
    max_runs: u32,
    /// Maximum number of calls that the node holds, waiting or running; 0 once it drains.
    places: AtomicUsize,
    /// The number of the next call.
    next: AtomicU64,
    state: Mutex<CollectorState>,
    /// Number of calls in runs that have not left.
    in_runs: Arc<AtomicUsize>,
    /// Estimate of how long a run takes, in nanoseconds: the longest recent one, decaying by an
    /// eighth with each shorter one. 0 before the first.
    run_time: AtomicU64,
    /// Notified when a batch is due earlier than all others.
    sooner: Arc<Notify>,
}

#[derive(Default)]
struct CollectorState {
    waiting: BatchQueue<WaitingMember>,
    /// When the next batch leaves, if neither a run nor a thread has to be waited for.
    due: Option<Instant>,
    runs: u32,
    /// When a run last ended.
    ended: Option<Instant>,
    /// Whether a task waits for a blocking thread.
    wants_thread: bool,
}

/// A call that waits for a run.
struct WaitingMember {
    call: Arc<dyn BatchedCall>,
    member: BatchMember,
}

impl WaitingMember {
    /// Whether the call has not ended for its caller. One that has is about to be withdrawn.
    fn is_live(&self) -> bool {
        !self.member.request.context.is_cancelled()
    }
}

/// A batch that leaves.
struct LeavingBatch {
    calls: Vec<WaitingMember>,
    reason: BatchReason,
    thread: Option<OwnedSemaphorePermit>,
}

/// A run, as its calls see it: the last one that leaves cancels it.
pub(super) struct LiveRun {
    /// Number of calls that have not left; 0 once the run has ended.
    live: AtomicUsize,
    /// [`Collector::in_runs`]
    in_runs: Arc<AtomicUsize>,
    abort: AbortHandle,
}

impl LiveRun {
    /// Counts a call that has started.
    pub(super) fn join(&self) {
        self.live.fetch_add(1, Ordering::AcqRel);
        self.in_runs.fetch_add(1, Ordering::Relaxed);
    }

    /// Notes that a call has left. Cancels an async run that has no call left; a sync function can
    /// only observe its contexts.
    pub(super) fn leave(&self) {
        if self.release() {
            self.in_runs.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Returns whether the run had not ended.
    fn release(&self) -> bool {
        let less = |live: usize| live.checked_sub(1);
        let before = self.live.fetch_update(Ordering::AcqRel, Ordering::Acquire, less);
        if before == Ok(1) {
            self.abort.abort();
        }
        before.is_ok()
    }

    /// Notes that the run has ended. Its calls have yet to be answered, but their places at the node
    /// are as good as free.
    fn end(&self) {
        let left = self.live.swap(0, Ordering::AcqRel);
        self.in_runs.fetch_sub(left, Ordering::Relaxed);
    }
}

impl Collector {
    /// Returns the function, to decode its calls with.
    pub(super) fn function(&self) -> &BatchFunction {
        &self.batch
    }

    /// Returns the number of a call that has arrived. Calls leave in this order.
    pub(super) fn number(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    /// Adds the call of this [`number`](Self::number). `deadline` is that of the call, and `rtt` the
    /// round trip to its gateway.
    pub(super) fn join(
        self: &Arc<Self>,
        number: u64,
        call: Arc<dyn BatchedCall>,
        member: BatchMember,
        deadline: Option<Instant>,
        rtt: Duration,
    ) {
        let since = now();
        let run = Duration::from_nanos(self.run_time.load(Ordering::Relaxed));
        let latest = deadline.map(|deadline| latest(since, deadline, run, rtt));
        let weight = member.weight;
        let call = Waiting { call: WaitingMember { call, member }, weight, since, latest };
        let (due, _) = call.leaves(self.batch.limits.wait);
        let mut state = self.state.lock();
        state.waiting.push(number, call);
        let full = state.waiting.weight() >= self.batch.limits.max.into()
            || state.waiting.len() >= self.free_places();
        if full || due <= since {
            drop(state);
            self.depart(None);
        } else if state.due.is_none_or(|earlier| due < earlier) && self.may_run(&state) {
            state.due = Some(due);
            drop(state);
            self.sooner.notify_one();
        }
    }

    /// Removes a call that leaves before its run, unless that has begun.
    pub(super) fn withdraw(&self, number: u64) {
        let withdrawn = self.state.lock().waiting.remove(number);
        // Not under the lock.
        discard(withdrawn);
    }

    fn note_run_time(&self, taken: Duration) {
        let taken = u64::try_from(taken.as_nanos()).unwrap_or(u64::MAX).max(1);
        let before = self.run_time.load(Ordering::Relaxed);
        // Not a read-modify-write: if two runs race, one sample is lost, which an estimate
        // tolerates.
        self.run_time.store(taken.max(before - before.div_ceil(8)), Ordering::Relaxed);
    }

    /// Whether another run may begin.
    fn may_run(&self, state: &CollectorState) -> bool {
        self.max_runs == 0 || state.runs < self.max_runs
    }

    /// The number of calls that can wait, while others run.
    fn free_places(&self) -> usize {
        self.places.load(Ordering::Relaxed).saturating_sub(self.in_runs.load(Ordering::Relaxed))
    }

    /// Runs the batches that are ready; `thread` is a permit for the first of them.
    fn depart(self: &Arc<Self>, mut thread: Option<OwnedSemaphorePermit>) {
        while let Some(batch) = self.next_batch(thread.take()) {
            self.begin(batch);
        }
    }

    /// Takes the next batch if it is ready, and counts its run.
    fn next_batch(self: &Arc<Self>, thread: Option<OwnedSemaphorePermit>) -> Option<LeavingBatch> {
        let limits = self.batch.limits;
        let now = now();
        let mut state = self.state.lock();
        state.due = None;
        // The end of a run, or the thread, departs again.
        if !self.may_run(&state) || (state.wants_thread && thread.is_none()) {
            return None;
        }
        let (max, places) = (limits.max.into(), self.free_places());
        let departure =
            state.waiting.departure(now, (max, limits.wait, places), WaitingMember::is_live);
        let (reason, due) = match departure {
            Departure::Now { reason, due } => (reason, due),
            Departure::At(due) => {
                state.due = Some(due);
                drop(state);
                self.sooner.notify_one();
                return None;
            }
            Departure::Empty => return None,
        };
        let is_sync = matches!(self.batch.body, BatchBody::Thread(_));
        let thread = match (thread, is_sync) {
            (None, true) => match self.blocking.clone().try_acquire_owned() {
                Ok(thread) => Some(thread),
                Err(_) => {
                    state.wants_thread = true;
                    drop(state);
                    self.wait_for_thread();
                    return None;
                }
            },
            (thread, _) => thread,
        };
        // It had to leave before a run has ended, and has only waited for that.
        let held = due.zip(state.ended).is_some_and(|(due, ended)| due < ended);
        let reason = if held { BatchReason::Ready } else { reason };
        let calls = state.waiting.take(max, WaitingMember::is_live);
        state.runs += 1;
        Some(LeavingBatch { calls, reason, thread })
    }

    fn wait_for_thread(self: &Arc<Self>) {
        let collector = self.clone();
        drop(self.runtime.spawn(async move {
            // Nothing closes the semaphore, so there is a permit.
            let thread = collector.blocking.clone().acquire_owned().await.ok();
            collector.state.lock().wants_thread = false;
            collector.depart(thread);
        }));
    }

    /// Starts the calls of a batch, and runs those that have not left.
    fn begin(self: &Arc<Self>, batch: LeavingBatch) {
        let LeavingBatch { calls, reason, thread } = batch;
        let (abort, registration) = AbortHandle::new_pair();
        // Counted as one call, so that the run is not cancelled before all have begun.
        let live = AtomicUsize::new(1);
        let run = Arc::new(LiveRun { live, in_runs: self.in_runs.clone(), abort });
        let (mut begun, mut members) = (Vec::new(), Vec::new());
        for WaitingMember { call, member } in calls {
            match call.begin(&run) {
                true => {
                    begun.push(call);
                    members.push(member);
                }
                false => discard(member),
            }
        }
        run.release();
        let record = BatchRecord::new(begun.len(), reason);
        let span = span_of(&begun, &members, reason);
        let running = RunningBatch {
            collector: self.clone(),
            run,
            calls: begun,
            record,
            thread,
            ended: false,
        };
        let since = std::time::Instant::now();
        if running.run.abort.is_aborted() {
            // None has begun, or all have left meanwhile.
            discard(members);
            return running.release_only();
        }
        self.meter.batches.ran(running.calls.len(), reason);
        match &self.batch.body {
            BatchBody::Thread(_) => drop(self.runtime.spawn_blocking(move || {
                let function = running.collector.batch.clone();
                let BatchBody::Thread(body) = &function.body else { return };
                // Unwind safe: the function owns its inputs, and they are dropped with the panic.
                let current = span.enter();
                let ended = catch_unwind(AssertUnwindSafe(|| body(members)));
                drop(current);
                running.end(ended, since.elapsed());
            })),
            BatchBody::Task(body) => {
                let work = body(members).instrument(span.to_span());
                let work = Abortable::new(AssertUnwindSafe(work), registration);
                drop(self.runtime.spawn(async move {
                    let ended = AssertUnwindSafe(work).catch_unwind().await;
                    match ended {
                        Ok(Ok(replies)) => running.end(Ok(replies), since.elapsed()),
                        Err(panic) => running.end(Err(panic), since.elapsed()),
                        // The last caller has left.
                        Ok(Err(_)) => drop(running),
                    }
                }));
            }
        }
    }

    /// Notes that a run has ended.
    fn note_end(&self, run: &LiveRun) {
        run.end();
        let mut state = self.state.lock();
        state.runs -= 1;
        state.ended = Some(now());
    }
}

/// A run, until its calls are answered. Its drop ends a run whose function was dropped.
struct RunningBatch {
    collector: Arc<Collector>,
    run: Arc<LiveRun>,
    calls: Vec<Arc<dyn BatchedCall>>,
    record: BatchRecord,
    thread: Option<OwnedSemaphorePermit>,
    /// Whether the collector knows that the run has ended.
    ended: bool,
}

impl RunningBatch {
    /// Begins the next run, and then answers the calls of this one, so that the function does not
    /// stand still meanwhile.
    fn end(mut self, ended: std::thread::Result<Vec<Reply>>, taken: Duration) {
        if ended.is_ok() {
            self.collector.note_run_time(taken);
        }
        self.collector.note_end(&self.run);
        self.ended = true;
        self.collector.depart(self.thread.take());
        match ended {
            Ok(replies) => self.finish(replies.into_iter().map(Ok)),
            Err(panic) => {
                let error = panicked(&self.collector.name, &*panic);
                self.finish(std::iter::repeat(Err(error)));
            }
        }
    }

    /// Ends a run that has not begun: [`Collector::depart`] goes on by itself.
    fn release_only(mut self) {
        self.collector.note_end(&self.run);
        self.ended = true;
    }

    fn finish(&mut self, replies: impl Iterator<Item = Result<Reply, Error>>) {
        for (call, reply) in std::mem::take(&mut self.calls).into_iter().zip(replies) {
            call.finish(reply, self.record);
        }
    }
}

impl Drop for RunningBatch {
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        self.collector.note_end(&self.run);
        // In a task: if the runtime has ended, that is dropped, and no further run begins.
        let (collector, thread) = (self.collector.clone(), self.thread.take());
        drop(self.collector.runtime.spawn(async move { collector.depart(thread) }));
        // Usually all have left.
        let text = format!("`{}` was dropped while it was running", self.collector.name);
        let error = Error::new(ErrorKind::Cancelled, text).with_evidence(Evidence::Sent);
        self.finish(std::iter::repeat(Err(error)));
    }
}

/// Begins the span of a run.
fn span_of(
    calls: &[Arc<dyn BatchedCall>],
    members: &[BatchMember],
    reason: BatchReason,
) -> CallSpan {
    // All of them if there is a subscriber that wants them.
    if calls.iter().all(|call| call.span().is_none()) {
        return CallSpan::none();
    }
    let contexts = members.iter().map(|member| member.request.context.trace_context());
    let spans = calls.iter().map(|call| call.span());
    CallSpan::of_batch(&spans.zip(contexts).collect::<Vec<_>>(), reason)
}

/// Drops arguments of calls that have not begun. Their code is the user's: a panic must not end the
/// task that runs others.
fn discard<T>(arguments: T) {
    // Unwind safe: they are gone.
    drop(catch_unwind(AssertUnwindSafe(|| drop(arguments))));
}

impl std::fmt::Debug for Collector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Collector({}, {:?})", self.name, self.batch)
    }
}
