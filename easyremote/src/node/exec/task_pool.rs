//! The tasks that run the small async functions of a session.
//!
//! A task for each call, as a stream of its own has one, costs a call that takes a microsecond
//! several of them: to wake a thread of the user's runtime, and that to wake the I/O thread again.
//! So the calls that have come together are worked off together, by one task that polls each once;
//! a function that is not done by then gets a task of its own. What is ready is answered together.
//!
//! No call waits for another one, though. Before a function is polled that takes its time as a rule
//! ([`PollTimeEstimate`]), what is ready is sent, and another task takes over what is left. Where
//! that is not known beforehand, because a function blocks that does not do so as a rule, the I/O
//! thread sees to both a millisecond later.
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

/// Longest time that an answer waits for others while a task works calls off.
const MAX_LINGER: Duration = Duration::from_micros(50);

/// Longest time that an answer, or a call, waits for a function that blocks.
const PATIENCE: Duration = Duration::from_millis(1);

/// Calls that a task works off before it lets others run.
const BUDGET: u32 = 32;

/// What is to be run, and how many tasks see to it.
#[derive(Default)]
pub(super) struct TaskPool {
    state: Mutex<PoolState>,
    /// There is something to see to.
    handed: Notify,
}

#[derive(Default)]
struct PoolState {
    /// Those of async functions that have their places.
    jobs: VecDeque<(JobPermits, Job)>,
    /// Tasks that will look for the next job soon, unless they are blocked.
    workers: usize,
    /// Those of them that have not run yet.
    called: usize,
}

impl TaskPool {
    /// Adds a job. It begins with the next [`NodeCalls::dispatch`], or before.
    pub(super) fn add(&self, permits: JobPermits, job: Job) {
        self.state.lock().jobs.push_back((permits, job));
    }
}

/// A task that works jobs off. However it ends, it is not counted on any more.
struct Worker {
    calls: Arc<NodeCalls>,
    /// Whether it is counted among those that look for jobs.
    counted: bool,
    /// Whether it is counted among those that have not run yet.
    called: bool,
}

impl Worker {
    /// The next job; with none left, that is the end.
    fn next(&mut self) -> Option<(JobPermits, Job)> {
        let mut state = self.calls.pool.state.lock();
        state.called -= usize::from(std::mem::take(&mut self.called));
        if !self.counted {
            self.counted = true;
            state.workers += 1;
        }
        let job = state.jobs.pop_front();
        if job.is_none() {
            self.counted = false;
            state.workers -= 1;
        }
        job
    }

    /// It will not look for another job soon: somebody else is to do so.
    fn leave(&mut self) {
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
    /// Lets the jobs begin that have been added.
    pub(super) fn dispatch(self: &Arc<Self>) {
        if self.call_worker(false) {
            self.pool.handed.notify_one();
        }
    }

    /// Makes sure that somebody looks for the next job, if there is one: somebody else with
    /// `another`, unless as many as there are jobs are about to do so. Gives whether there is one.
    pub(super) fn call_worker(self: &Arc<Self>, another: bool) -> bool {
        let mut state = self.pool.state.lock();
        if state.jobs.is_empty() {
            return false;
        }
        if state.workers == 0 || (another && state.called < state.jobs.len()) {
            state.workers += 1;
            state.called += 1;
            drop(state);
            // Made here: what never runs, because the runtime ends, is not counted on either.
            let worker = Worker { calls: self.clone(), counted: true, called: true };
            self.runtime().spawn(work_off(worker));
        }
        true
    }

    /// Sees to it that nothing waits for a function that blocks. To be run on the I/O thread.
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

    /// Polls the function of a job once. Returns whether there is a response that nobody has been
    /// notified of.
    fn poll_once(self: &Arc<Self>, permits: JobPermits, job: Job) -> bool {
        let Job { key, function, inputs, request, .. } = job;
        let Run::Task(run) = &function.handler.run else { return false };
        let polled = match self.begin(key) {
            // Nothing that it has touched is used after a panic.
            Begin::Start => catch_unwind(AssertUnwindSafe(|| {
                let mut work = run(inputs, request);
                (&mut work).now_or_never().ok_or(work)
            })),
            Begin::Refuse => {
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

/// Works jobs off until there are none.
async fn work_off(mut worker: Worker) {
    let calls = worker.calls.clone();
    // Since when there is an answer that nobody has been told of.
    let mut ready: Option<Instant> = None;
    let (mut now, mut left) = (Instant::now(), BUDGET);
    while let Some((permits, job)) = worker.next() {
        let function = job.function.clone();
        let poll_time = &function.handler.policy.poll_time;
        let short = poll_time.is_short();
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
