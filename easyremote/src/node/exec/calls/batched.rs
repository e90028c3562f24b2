//! Calls of batch functions: how they wait for a run, take part in it, and leave.
//!
//! ```text
//!   launch ---> the call's task: decode -> join -> waits until the call has ended
//!                                           |          |
//!                                           v          | aborted: the caller has left, or the
//!                     Waiting ------------------------>| deadline has passed
//!                        | begin                       |
//!                     Running ------------------------>|
//!                        | finish                      v
//!                     Ended <--------------------- the call ends, alone
//! ```
//!
//! The task exists so that a call can be aborted like every other one: its drop takes the call out
//! of the batch. Both sides take the [`JobGuard`] out of the seat, so the call ends once.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::error::Error;
use crate::function::context::Context;
use crate::function::handler::Reply;
use crate::function::registry::Function;
use crate::node::exec::batch::{BatchedCall, Collector, LiveRun};
use crate::node::exec::calls::{JobGuard, NodeCalls};
use crate::node::exec::job::{JobPermits, ReadyCall};
use crate::node::exec::table::{Begin, CallKey};
use crate::node::exec::work::Died;
use crate::transport::call_span::CallSpan;
use crate::wire::trace::BatchRecord;

/// The place of a call in a batch.
struct BatchSeat {
    key: CallKey,
    function: Arc<Function>,
    context: Context,
    span: CallSpan,
    state: Mutex<SeatState>,
    /// Notified when the call has ended.
    ended: Notify,
}

enum SeatState {
    Waiting(JobGuard),
    Running(JobGuard, Arc<LiveRun>),
    /// The call has ended, or is about to.
    Ended,
}

impl BatchSeat {
    fn new(
        guard: JobGuard,
        key: CallKey,
        function: Arc<Function>,
        (context, span): (Context, CallSpan),
    ) -> Self {
        guard.calls().node().counters.waiting.fetch_add(1, Ordering::Relaxed);
        let state = Mutex::new(SeatState::Waiting(guard));
        Self { key, function, context, span, state, ended: Notify::new() }
    }

    /// Takes the state out; the call is the taker's to end.
    fn take(&self) -> SeatState {
        let state = std::mem::replace(&mut *self.state.lock(), SeatState::Ended);
        if let SeatState::Waiting(guard) = &state {
            note_no_wait(guard.calls());
        }
        state
    }

    /// Ends a call that leaves alone.
    fn leave(&self) {
        // Not under the lock, which `begin` holds while it locks the table.
        match self.take() {
            SeatState::Waiting(guard) => drop(guard),
            SeatState::Running(guard, run) => {
                drop(guard);
                run.leave();
            }
            SeatState::Ended => {}
        }
    }

    /// Ends a call that does not begin.
    fn refuse(&self, guard: JobGuard, died: Died) -> bool {
        guard.finish(Err(died));
        self.ended.notify_one();
        false
    }
}

fn note_no_wait(calls: &NodeCalls) {
    calls.node().counters.waiting.fetch_sub(1, Ordering::Relaxed);
}

impl BatchedCall for BatchSeat {
    fn span(&self) -> &CallSpan {
        &self.span
    }

    fn begin(&self, run: &Arc<LiveRun>) -> bool {
        let mut state = self.state.lock();
        let guard = match std::mem::replace(&mut *state, SeatState::Ended) {
            SeatState::Waiting(guard) => guard,
            other => {
                *state = other;
                return false;
            }
        };
        let calls = guard.calls().clone();
        note_no_wait(&calls);
        // The state stays locked until the call has begun: a call that leaves meanwhile would end,
        // and the next one with its key would begin in its place.
        let start = match calls.start_of(&self.function, &self.context) {
            Ok(start) => start,
            Err(error) => {
                drop(state);
                return self.refuse(guard, Died::Refused(error));
            }
        };
        if calls.begin(self.key) == Begin::Refuse {
            drop((start, state));
            return self.refuse(guard, Died::Aborted);
        }
        start.keep();
        run.join();
        *state = SeatState::Running(guard, run.clone());
        true
    }

    fn finish(&self, reply: Result<Reply, Error>, batch: BatchRecord) {
        if let SeatState::Running(guard, _) = self.take() {
            if self.context.is_traced() {
                guard.calls().note_batch(self.key, batch);
            }
            guard.finish(reply.map_err(Died::Refused));
            self.ended.notify_one();
        }
    }
}

/// Takes a call out of its batch when its task ends.
struct BatchTicket<'a> {
    collector: &'a Collector,
    number: u64,
    seat: &'a BatchSeat,
}

impl Drop for BatchTicket<'_> {
    fn drop(&mut self) {
        self.collector.withdraw(self.number);
        self.seat.leave();
    }
}

impl NodeCalls {
    /// Runs a call together with others of its function.
    pub(super) fn start_in_batch(self: &Arc<Self>, permits: JobPermits, job: ReadyCall) {
        let guard = JobGuard::new(self, job.key, Some(permits));
        let Some(collector) = self.node().batches.get(&job.function.name).cloned() else { return };
        let number = collector.number();
        let deadline = job.inputs.context.deadline().map(Into::into);
        let rtt = if deadline.is_some() { self.session.connection.rtt() } else { Duration::ZERO };
        self.spawn_abortable(job.key, async move {
            let ReadyCall { key, function, request, inputs, span, .. } = job;
            // Before it joins: arguments that cannot be decoded concern their caller only.
            let current = span.enter();
            let decoded = collector.function().decode(request);
            drop(current);
            let member = match decoded {
                Ok(member) => member,
                Err(refusal) => return guard.finish(Ok(refusal)),
            };
            let seat = BatchSeat::new(guard, key, function, (inputs.context, span));
            let seat = Arc::new(seat);
            collector.join(number, seat.clone(), member, deadline, rtt);
            let ticket = BatchTicket { collector: &collector, number, seat: &seat };
            ticket.seat.ended.notified().await;
        });
    }

    fn note_batch(&self, key: CallKey, batch: BatchRecord) {
        self.table.lock().note_batch(key, batch);
    }
}
