//! The task pool that runs the async functions of a session.
//!
//! One task per call would cost a call of a microsecond several more: to wake a thread of the
//! user's runtime, and for that thread to wake the I/O thread again. Instead, one worker task polls
//! each of the calls that have arrived together once, and their responses are flushed together. A
//! function that is still pending then moves to a separate task.
//!
//! No call waits for another one:
//!
//! - Before a worker polls a function that usually takes long ([`PollTimeEstimate`]), it flushes
//!   the responses that are ready, and hands the remaining jobs to another worker.
//! - If a function that is usually short blocks, the I/O thread does both a millisecond later
//!   ([`NodeCalls::oversee`]).
//!
//! ```text
//!   execute -> TaskPool::add      jobs queued
//!      |
//!   dispatch -> call_worker       no worker? spawn one      --> oversee: after 1 ms, flush, and
//!      |                                                        spawn another if jobs are left
//!   work_off: next -> begin -> first poll --ready--> finish, linger at most 50 us, flush
//!                                  |
//!                                  +--pending--> continue_in_task
//! ```
//!
//! [`PollTimeEstimate`]: crate::function::poll_time::PollTimeEstimate

use std::collections::VecDeque;
use std::convert::Infallible;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::FutureExt;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::task::yield_now;
use tokio::time::sleep;

use crate::function::handler::Run;
use crate::node::exec::calls::NodeCalls;
use crate::node::exec::job::{Job, JobPermits};
use crate::node::exec::table::Begin;
use crate::node::exec::work::Died;
use crate::transport::mux::writer::MuxWriter;

/// Longest time that a response waits to be flushed together with others.
const MAX_LINGER: Duration = Duration::from_micros(50);

/// Longest time that a response, or a queued job, waits behind a function that blocks.
const PATIENCE: Duration = Duration::from_millis(1);

/// Number of jobs after which a worker yields to other tasks of the runtime.
const BUDGET: u32 = 32;

/// The queue of jobs, and the number of workers.
#[derive(Default)]
pub(super) struct TaskPool {
    state: Mutex<PoolState>,
    /// Notified when jobs were dispatched: wakes [`NodeCalls::oversee`].
    handed: Notify,
}

/// Invariant, under one lock: if `jobs` is not empty after a dispatch, `workers` is at least 1. A
/// worker leaves this count only in the step that finds the queue empty, or before it calls a
/// substitute, so no job is left behind.
#[derive(Default)]
struct PoolState {
    /// Jobs of async functions that hold their permits.
    jobs: VecDeque<(JobPermits, Job)>,
    /// Workers that will take the next job soon, unless the function that they poll blocks.
    workers: usize,
    /// Workers, included in `workers`, that are spawned but have not run yet.
    called: usize,
}

impl TaskPool {
    /// Adds a job. It starts with the next [`NodeCalls::dispatch`], or earlier.
    pub(super) fn add(&self, permits: JobPermits, job: Job) {
        self.state.lock().jobs.push_back((permits, job));
    }
}

/// A task that runs jobs. Its drop takes it out of the counts, however it ends: a worker that is
/// aborted with its runtime must not be counted on.
struct Worker {
    calls: Arc<NodeCalls>,
    /// Whether `PoolState::workers` counts it.
    counted: bool,
    /// Whether `PoolState::called` counts it.
    called: bool,
}

impl Worker {
    /// Takes the next job; `None` ends the worker.
    fn next(&mut self) -> Option<(JobPermits, Job)> {
        let mut state = self.calls.pool.state.lock();
        state.called -= usize::from(std::mem::take(&mut self.called));
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
        }
        job
    }

    /// Hands the remaining jobs to another worker, since this one will not take one soon.
    fn leave(&mut self) {
        // First out of the count: `call_worker` spawns a substitute only if no worker is left.
        self.calls.pool.state.lock().workers -= 1;
        self.counted = false;
        self.calls.call_worker(false);
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let mut state = self.calls.pool.state.lock();
        state.called -= usize::from(self.called);
        state.workers -= usize::from(self.counted);
    }
}

impl NodeCalls {
    /// Starts the jobs that have been added.
    pub(super) fn dispatch(self: &Arc<Self>) {
        if self.call_worker(false) {
            // A permit of `Notify` is kept, so this is not lost if `oversee` is asleep or flushing.
            self.pool.handed.notify_one();
        }
    }

    /// Makes sure that a worker takes the next job, if there is one. Returns whether there is one.
    ///
    /// With `another`, the running workers may be blocked: spawns one more, unless as many as there
    /// are jobs have been spawned and not run yet.
    pub(super) fn call_worker(self: &Arc<Self>, another: bool) -> bool {
        let mut state = self.pool.state.lock();
        if state.jobs.is_empty() {
            return false;
        }
        if state.workers == 0 || (another && state.called < state.jobs.len()) {
            state.workers += 1;
            state.called += 1;
            drop(state);
            // Made before the spawn: a task that never runs, because the runtime has ended, is
            // dropped with its worker, which corrects the counts.
            let worker = Worker { calls: self.clone(), counted: true, called: true };
            self.runtime().spawn(work_off(worker));
        }
        true
    }

    /// Flushes responses and spawns workers while functions block. Runs on the I/O thread, which no
    /// user code can block.
    pub(in crate::node) async fn oversee(self: &Arc<Self>) -> Infallible {
        loop {
            self.pool.handed.notified().await;
            loop {
                sleep(PATIENCE).await;
                self.writer.flush();
                if !self.call_worker(true) {
                    break;
                }
            }
        }
    }

    /// Polls the function of a job once. Returns whether it added a response that is not flushed
    /// yet.
    fn poll_once(self: &Arc<Self>, permits: JobPermits, job: Job) -> bool {
        let Job { key, function, inputs, request, .. } = job;
        let Run::Task(run) = &function.handler.run else { return false };
        let polled = match self.begin(key) {
            // Unwind safe: the future owns its inputs, and is dropped with the panic. The poll has
            // no waker; if it is pending, `continue_in_task` polls again with a real one, so that
            // no wake-up in between is lost.
            Begin::Start => catch_unwind(AssertUnwindSafe(|| {
                let mut work = run(inputs, request);
                (&mut work).now_or_never().ok_or(work)
            })),
            Begin::Refuse => {
                // As in `JobGuard::end`: release the permits before the response leaves.
                drop((inputs, request, permits));
                self.finish(key, Err(Died::Aborted), MuxWriter::add_frames);
                return true;
            }
        };
        let result = match polled {
            Ok(Ok(reply)) => Ok(reply),
            Ok(Err(work)) => {
                self.continue_in_task(key, work, permits);
                return false;
            }
            Err(panic) => Err(Died::Panicked(panic)),
        };
        drop(permits);
        self.finish(key, result, MuxWriter::add_frames);
        true
    }
}

/// Runs jobs until none is left.
async fn work_off(mut worker: Worker) {
    let calls = worker.calls.clone();
    // When the oldest response that is not flushed yet was added.
    let mut ready: Option<Instant> = None;
    let (mut now, mut left) = (Instant::now(), BUDGET);
    while let Some((permits, job)) = worker.next() {
        let function = job.function.clone();
        let poll_time = &function.handler.policy.poll_time;
        let short = poll_time.is_short();
        // Before the poll: a function that takes long must hold up neither responses nor jobs.
        if ready.is_some_and(|since| !short || now.duration_since(since) > MAX_LINGER) {
            calls.writer.flush();
            ready = None;
        }
        if !short {
            worker.leave();
        }
        let answered = calls.poll_once(permits, job);
        let begun = std::mem::replace(&mut now, Instant::now());
        poll_time.note(now.duration_since(begun));
        if answered {
            ready.get_or_insert(now);
        }
        left -= 1;
        if left == 0 {
            calls.writer.flush();
            (ready, left) = (None, BUDGET);
            yield_now().await;
            now = Instant::now();
        }
    }
    calls.writer.flush();
}
