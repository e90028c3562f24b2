//! The tasks that run the small async functions of a mux.
//!
//! A task for each call, as a stream of its own has one, costs a call that takes a microsecond
//! several of them: to wake a thread of the user's runtime, and that to wake the I/O thread again.
//! So the calls that have come together are worked off together, by one task that polls each once;
//! a function that is not done by then gets a task of its own. What is ready is answered together.
//!
//! No call waits for another one, though. Before a function is polled that takes its time as a rule
//! ([`PollTimeEstimate`](crate::function::poll_time::PollTimeEstimate)), what is ready is sent, and another task takes over what
//! is left. Where that is not known beforehand, because a function blocks that does not do so as a
//! rule, the I/O thread sees to both a millisecond later.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures::FutureExt;
use futures::future::{AbortHandle, Abortable, BoxFuture};
use tokio::sync::Notify;
use tokio::task::yield_now;
use tokio::time::sleep;

use crate::function::handler::{Inputs, Reply, Request, Run};
use crate::function::registry::Function;
use crate::node::exec::admission::JobPermits;
use crate::node::exec::mux::NodeCalls;
use crate::node::exec::work::Died;
use crate::transport::mux::writer::MuxWriter;
use crate::wire::mux::MuxId;

/// Longest time that an answer waits for others while a task works calls off.
const MAX_LINGER: Duration = Duration::from_micros(50);

/// Longest time that an answer, or a call, waits for a function that blocks.
const PATIENCE: Duration = Duration::from_millis(1);

/// Calls that a task works off before it lets others run.
const BUDGET: u32 = 32;

/// A call that has not begun.
pub(crate) struct Job {
    pub(crate) id: MuxId,
    pub(crate) function: Arc<Function>,
    pub(crate) inputs: Inputs,
    pub(crate) request: Request,
}

/// What is to be run, and how many tasks see to it.
#[derive(Default)]
pub(crate) struct TaskPool {
    state: Mutex<PoolState>,
    /// There is something to see to.
    handed: Notify,
}

#[derive(Default)]
struct PoolState {
    /// Those of async functions that have their places.
    jobs: VecDeque<(JobPermits, Job)>,
    /// Tasks that will look for the next job soon, unless they are blocked.
    hands: usize,
    /// Those of them that have not run yet.
    called: usize,
}

impl TaskPool {
    fn state(&self) -> MutexGuard<'_, PoolState> {
        // Every section leaves it whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a job. It begins with the next [`NodeCalls::hand_out`], or before.
    pub(crate) fn add(&self, held: JobPermits, job: Job) {
        self.state().jobs.push_back((held, job));
    }
}

/// A task that works jobs off. However it ends, it is not counted on any more.
struct Worker {
    mux: Arc<NodeCalls>,
    /// Whether it is counted among those that look for jobs.
    counted: bool,
    /// Whether it is counted among those that have not run yet.
    called: bool,
}

impl Worker {
    /// The next job; with none left, that is the end.
    fn next(&mut self) -> Option<(JobPermits, Job)> {
        let mut state = self.mux.crew.state();
        state.called -= usize::from(std::mem::take(&mut self.called));
        if !self.counted {
            self.counted = true;
            state.hands += 1;
        }
        let job = state.jobs.pop_front();
        if job.is_none() {
            self.counted = false;
            state.hands -= 1;
        }
        job
    }

    /// It will not look for another job soon: somebody else is to do so.
    fn leave(&mut self) {
        self.mux.crew.state().hands -= 1;
        self.counted = false;
        self.mux.call_hand(false);
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let mut state = self.mux.crew.state();
        state.called -= usize::from(self.called);
        state.hands -= usize::from(self.counted);
    }
}

impl NodeCalls {
    /// Lets the jobs begin that have been added.
    pub(crate) fn hand_out(self: &Arc<Self>) {
        if self.call_hand(false) {
            self.crew.handed.notify_one();
        }
    }

    /// Makes sure that somebody looks for the next job, if there is one: somebody else with `another`,
    /// unless as many as there are jobs are about to do so. Gives whether there is one.
    pub(crate) fn call_hand(self: &Arc<Self>, another: bool) -> bool {
        let mut state = self.crew.state();
        if state.jobs.is_empty() {
            return false;
        }
        if state.hands == 0 || (another && state.called < state.jobs.len()) {
            state.hands += 1;
            state.called += 1;
            drop(state);
            // Made here: what never runs, because the runtime ends, is not counted on either.
            let hand = Worker { mux: self.clone(), counted: true, called: true };
            self.runtime().spawn(work_off(hand));
        }
        true
    }

    /// Sees to it that nothing waits for a function that blocks. To be run on the I/O thread.
    pub(crate) async fn oversee(self: &Arc<Self>) -> Infallible {
        loop {
            self.crew.handed.notified().await;
            loop {
                sleep(PATIENCE).await;
                self.out.tell();
                if !self.call_hand(true) {
                    break;
                }
            }
        }
    }

    /// Polls the function of a job once. Gives whether there is an answer that nobody has been told
    /// of.
    fn work(self: &Arc<Self>, held: JobPermits, job: Job) -> bool {
        let Job { id, function, inputs, request } = job;
        let detached = function.handler.policy.detached;
        if !detached && !self.is_running(id) {
            return false;
        }
        let Run::Task(run) = &function.handler.run else { return false };
        // Nothing that it has touched is used after a panic.
        let polled = catch_unwind(AssertUnwindSafe(|| {
            let mut work = run(inputs, request);
            (&mut work).now_or_never().ok_or(work)
        }));
        let result = match polled {
            Ok(Ok(reply)) => Ok(reply),
            Ok(Err(work)) => {
                self.go_on(id, detached, work, held);
                return false;
            }
            Err(panic) => Err(Died::Panicked(panic)),
        };
        drop(held);
        self.reply(id, result, MuxWriter::add_frames);
        true
    }

    /// Gives a function that waits for something a task of its own.
    fn go_on(
        self: &Arc<Self>,
        id: MuxId,
        detached: bool,
        work: BoxFuture<'static, Reply>,
        held: JobPermits,
    ) {
        let (abort, registration) = AbortHandle::new_pair();
        if !detached && !self.stops_by(id, abort) {
            // The call is over. What the function has may panic when it goes, as in a task.
            let _ = catch_unwind(AssertUnwindSafe(|| drop(work)));
            return;
        }
        let mux = self.clone();
        let work = async move {
            let result = AssertUnwindSafe(work).catch_unwind().await;
            drop(held);
            mux.reply(id, result.map_err(Died::Panicked), MuxWriter::push_frames);
        };
        self.runtime().spawn(Abortable::new(work, registration));
    }
}

/// Works jobs off until there are none.
async fn work_off(mut hand: Worker) {
    let mux = hand.mux.clone();
    // Since when there is an answer that nobody has been told of.
    let mut ready: Option<Instant> = None;
    let (mut now, mut left) = (Instant::now(), BUDGET);
    while let Some((held, job)) = hand.next() {
        let function = job.function.clone();
        let pace = &function.handler.policy.pace;
        let short = pace.is_short();
        if ready.is_some_and(|since| !short || now.duration_since(since) > MAX_LINGER) {
            mux.out.tell();
            ready = None;
        }
        if !short {
            hand.leave();
        }
        let answered = mux.work(held, job);
        let begun = std::mem::replace(&mut now, Instant::now());
        pace.note(now.duration_since(begun));
        if answered {
            ready.get_or_insert(now);
        }
        left -= 1;
        if left == 0 {
            mux.out.tell();
            (ready, left) = (None, BUDGET);
            yield_now().await;
            now = Instant::now();
        }
    }
    mux.out.tell();
}
