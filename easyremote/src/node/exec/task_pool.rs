//! The task pool that runs the functions of a session.
//!
//! One task or blocking thread per call would cost a call of a microsecond several more: to wake a
//! thread of the user's runtime, and for that thread to wake the I/O tasks again. Instead, one
//! worker runs the calls that have arrived together, and their responses are flushed together.
//! There are two [lanes](Lane): workers that are tasks poll each async function once, and one that
//! is still pending then moves to a separate task; workers on blocking threads run sync functions.
//!
//! No call waits for another one:
//!
//! - A sync function that usually takes long ([`PollTimeEstimate`]) does not come here: it gets a
//!   thread at once ([`NodeCalls::launch`]).
//! - Before a worker runs a function that usually takes long, it flushes the responses that are
//!   ready, and hands the remaining jobs to another worker.
//! - If a function that is usually short blocks, an I/O task does both a millisecond later
//!   ([`NodeCalls::oversee`]). While no job ends, it doubles the number of new workers each time:
//!   256 functions that block all run after some ten milliseconds.
//!
//! ```text
//!   launch -> TaskPool::add       jobs queued
//!      |
//!   dispatch -> call_worker       no worker? spawn one      --> oversee: after 1 ms, flush, and
//!      |                                                        spawn others if jobs are left
//!   turn: next -> begin -> run, or first poll --ready--> finish, linger at most 50 us, flush
//!                                        |
//!                                        +--pending--> continue_in_task
//! ```
//!
//! [`PollTimeEstimate`]: crate::function::poll_time::PollTimeEstimate

use std::collections::VecDeque;
use std::convert::Infallible;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::task::yield_now;
use tokio::time::sleep;
use tracing::Instrument;

use crate::function::handler::{Run, TaskSlot};
use crate::node::exec::calls::NodeCalls;
use crate::node::exec::job::{JobPermits, ReadyCall};
use crate::node::exec::table::Begin;
use crate::node::exec::work::{Died, ReplyMemory};
use crate::transport::io;
use crate::transport::mux::writer::MuxWriter;

/// Longest time that a response waits to be flushed together with others.
const MAX_LINGER: Duration = Duration::from_micros(50);

/// Longest time that a response, or a queued job, waits behind a function that blocks.
const PATIENCE: Duration = Duration::from_millis(1);

/// Number of jobs after which a worker yields to other tasks of the runtime.
const BUDGET: u32 = 32;

/// The queues of jobs, and the number of workers.
#[derive(Default)]
pub(super) struct TaskPool {
    tasks: Mutex<LaneState>,
    threads: Mutex<LaneState>,
    /// Notified when a job has to wait for a busy worker: wakes [`NodeCalls::oversee`].
    handed: Notify,
}

/// Where workers run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lane {
    /// As tasks of the user's runtime.
    Async,
    /// On blocking threads of the user's runtime. Their jobs hold permits of these threads.
    Blocking,
}

/// Invariant, under one lock: if `jobs` is not empty after a dispatch, `workers` is at least 1. A
/// worker leaves this count only in the step that finds the queue empty, or before it calls a
/// substitute, so no job is left behind.
#[derive(Default)]
struct LaneState {
    /// Jobs that hold their permits.
    jobs: VecDeque<(JobPermits, ReadyCall)>,
    /// Workers that will take the next job soon, unless the function that they run blocks.
    workers: usize,
    /// Workers, included in `workers`, that are spawned but have not run yet.
    called: usize,
    /// Jobs that a worker is done with.
    done: u64,
    /// What `done` was when [`NodeCalls::oversee`] last called workers, and how many those were.
    last_call: (u64, usize),
    /// Memory that the last worker has left.
    spare: WorkerMemory,
}

/// Memory that the calls of one worker use one after the other.
#[derive(Default)]
struct WorkerMemory {
    slot: TaskSlot,
    reply: ReplyMemory,
}

impl TaskPool {
    /// Adds a job. It starts with the next [`NodeCalls::dispatch`], or earlier.
    pub(super) fn add(&self, lane: Lane, permits: JobPermits, job: ReadyCall) {
        self.lane(lane).lock().jobs.push_back((permits, job));
    }

    /// Gives the workers a turn. Returns whether they have done all jobs, as they usually have: a
    /// timer would wake two threads more.
    async fn soon_quiet(&self) -> bool {
        /// With the first, workers may run at the same time.
        const TURNS: usize = 2;
        for _ in 0..TURNS {
            io::yield_now().await;
            if [&self.tasks, &self.threads].iter().all(|lane| lane.lock().workers == 0) {
                return true;
            }
        }
        false
    }

    fn lane(&self, lane: Lane) -> &Mutex<LaneState> {
        match lane {
            Lane::Async => &self.tasks,
            Lane::Blocking => &self.threads,
        }
    }
}

/// A task or thread that runs jobs. Its drop takes it out of the counts, however it ends: a worker
/// that is aborted with its runtime must not be counted on.
struct Worker {
    calls: Arc<NodeCalls>,
    lane: Lane,
    /// Whether `LaneState::workers` counts it.
    counted: bool,
    /// Whether `LaneState::called` counts it.
    called: bool,
    memory: WorkerMemory,
}

impl Worker {
    fn lane(&self) -> &Mutex<LaneState> {
        self.calls.pool.lane(self.lane)
    }

    /// Takes the next job; `None` ends the worker.
    fn next(&mut self) -> Option<(JobPermits, ReadyCall)> {
        let mut state = self.calls.pool.lane(self.lane).lock();
        match std::mem::take(&mut self.called) {
            true => {
                state.called -= 1;
                self.memory = std::mem::take(&mut state.spare);
            }
            false => state.done += 1,
        }
        // It is back from a function that took long.
        if !self.counted {
            self.counted = true;
            state.workers += 1;
        }
        let job = state.jobs.pop_front();
        // Under the lock that found the queue empty: a job added later finds no worker, and
        // `call_worker` spawns one.
        if job.is_none() {
            self.counted = false;
            state.workers -= 1;
            state.spare = std::mem::take(&mut self.memory);
        }
        job
    }

    /// Hands the remaining jobs to another worker, since this one will not take one soon.
    fn leave(&mut self) {
        // First out of the count: `call_worker` spawns a substitute only if no worker is left.
        self.lane().lock().workers -= 1;
        self.counted = false;
        self.calls.call_worker(self.lane, 0);
        if self.lane == Lane::Async {
            // A multi-thread runtime keeps the task that was woken last for the thread that woke
            // it, where no other thread takes it. That may be the substitute, or the task that
            // sends the responses; one that does nothing takes its place.
            drop(self.calls.runtime().spawn(async {}));
        }
    }

    /// Runs jobs until none is left, or its budget is used up. Returns whether jobs may be left.
    fn turn(&mut self) -> bool {
        let calls = self.calls.clone();
        // When the oldest response that is not flushed yet was added.
        let mut ready: Option<Instant> = None;
        let mut now = Instant::now();
        let mut left = BUDGET;
        while left > 0 {
            let Some((permits, job)) = self.next() else { break };
            let function = job.function.clone();
            let short = job.is_short();
            // Before the function runs: one that takes long must hold up neither responses nor jobs.
            if ready.is_some_and(|since| !short || now.duration_since(since) > MAX_LINGER) {
                calls.writer.flush();
                ready = None;
            }
            if !short {
                self.leave();
            }
            let answered = calls.run_once(permits, job, &mut self.memory);
            let begun = std::mem::replace(&mut now, Instant::now());
            calls.note_time(&function, now.duration_since(begun));
            if answered {
                ready.get_or_insert(now);
            }
            left -= 1;
        }
        calls.writer.flush();
        left == 0
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let mut state = self.lane().lock();
        state.called -= usize::from(self.called);
        state.workers -= usize::from(self.counted);
    }
}

impl NodeCalls {
    /// Starts the jobs that have been added.
    pub(super) fn dispatch(self: &Arc<Self>) {
        let tasks = self.call_worker(Lane::Async, 0);
        if self.call_worker(Lane::Blocking, 0) || tasks {
            // A permit of `Notify` is kept, so this is not lost if `oversee` is asleep or flushing.
            self.pool.handed.notify_one();
        }
    }

    /// Makes sure that a worker takes the next job, if there is one. Returns whether a job waits for
    /// a worker that is busy.
    ///
    /// With `others`, the running workers may be blocked: spawns so many more, but not more than
    /// there are jobs for which no worker has been spawned yet.
    fn call_worker(self: &Arc<Self>, lane: Lane, others: usize) -> bool {
        let mut state = self.pool.lane(lane).lock();
        if state.jobs.is_empty() {
            return false;
        }
        let others = others.min(state.jobs.len().saturating_sub(state.called));
        let n = others.max(usize::from(state.workers == 0));
        state.workers += n;
        state.called += n;
        let waits = state.jobs.len() > state.called;
        drop(state);
        for _ in 0..n {
            // Made before the spawn: a worker that never runs, because the runtime has ended, is
            // dropped, which corrects the counts.
            let (calls, memory) = (self.clone(), WorkerMemory::default());
            let mut worker = Worker { calls, lane, counted: true, called: true, memory };
            match lane {
                Lane::Async => drop(self.runtime().spawn(async move {
                    while worker.turn() {
                        yield_now().await;
                    }
                })),
                Lane::Blocking => {
                    drop(self.runtime().spawn_blocking(move || while worker.turn() {}));
                }
            }
        }
        waits
    }

    /// Flushes responses and spawns workers while functions block. An I/O task: the
    /// I/O thread runs it if user code blocks the runtime.
    pub(in crate::node) async fn oversee(self: &Arc<Self>) -> Infallible {
        loop {
            self.pool.handed.notified().await;
            if self.pool.soon_quiet().await {
                continue;
            }
            loop {
                sleep(PATIENCE).await;
                self.writer.flush();
                let tasks = self.relieve(Lane::Async);
                if !self.relieve(Lane::Blocking) && !tasks {
                    break;
                }
            }
        }
    }

    /// Spawns workers if jobs wait: one, or twice as many as the last time if no job has ended
    /// since. Returns whether a job waits for a worker that is busy.
    fn relieve(self: &Arc<Self>, lane: Lane) -> bool {
        let mut state = self.pool.lane(lane).lock();
        let (done, n) = state.last_call;
        let n = if done == state.done { (2 * n).clamp(1, state.jobs.len().max(1)) } else { 1 };
        state.last_call = (state.done, n);
        drop(state);
        self.call_worker(lane, n)
    }

    /// Runs the sync function of a job, or polls an async one once. Returns whether it added a
    /// response that is not flushed yet.
    fn run_once(
        self: &Arc<Self>,
        permits: JobPermits,
        job: ReadyCall,
        memory: &mut WorkerMemory,
    ) -> bool {
        let ReadyCall { key, function, inputs, mut request, span, .. } = job;
        if self.begin(key) == Begin::Refuse {
            // As in `JobGuard::end`: release the permits before the response leaves.
            drop((inputs, request, permits));
            self.finish(key, Err(Died::Aborted), MuxWriter::add_frames);
            return true;
        }
        let WorkerMemory { slot, reply } = memory;
        request.reply = reply.take();
        // Unwind safe: the function owns its inputs, and they are dropped with the panic. A poll
        // has no waker; if it is pending, `continue_in_task` polls again with a real one, so that
        // no wake-up in between is lost.
        let current = span.enter();
        let ran = catch_unwind(AssertUnwindSafe(|| match &function.handler.run {
            Run::Task(run) => {
                run(inputs, request, slot);
                slot.poll_once()
            }
            Run::Blocking(run) | Run::Inline(run) => Ok(run(inputs, request)),
            // `launch` adds none of these.
            Run::Thread(_) | Run::Stream(_) | Run::Batch(_) | Run::Operator(_) => Err(None),
        }));
        drop(current);
        let result = match ran {
            Ok(Ok(reply)) => Ok(reply),
            Ok(Err(Some(work))) => {
                self.continue_in_task(key, work.instrument(span.to_span()), permits);
                return false;
            }
            Ok(Err(None)) => Err(Died::Aborted),
            Err(panic) => Err(Died::Panicked(panic)),
        };
        drop(permits);
        let spare = self.finish(key, result, MuxWriter::add_frames);
        reply.keep(spare);
        true
    }
}
