//! Calls with a key of their caller: those with the same key share one run.
//!
//! ```text
//!   caller 1 --+                                       joins, waits: an entry in the table of calls
//!   caller 2 --+-- KeptRun -- one run of the function, with an entry of its own
//!   caller 3 --+       |
//!              <-------+ the answer, for as long as it is kept
//! ```
//!
//! The entry of a caller has its deadline and its cancellation, and its end is that of any other
//! call. When the last caller leaves a run that has not ended, the run is cancelled.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use xxhash_rust::xxh3::xxh3_128;

use crate::error::Error;
use crate::function::handler::Reply;
use crate::node::exec::calls::jobs::RunLocation;
use crate::node::exec::calls::{JobGuard, NodeCalls};
use crate::node::exec::job::ReadyCall;
use crate::node::exec::kept_run::{KeptRun, RunKey, RunUse};
use crate::node::exec::runs::Joined;
use crate::node::exec::table::{CallKey, Responder, RunningCall};
use crate::node::exec::work::Died;
use crate::transport::mux::writer::MuxWriter;

/// A call that waits for the answer of a run that it has joined. Dropping it leaves the run, and
/// ends the call.
struct JoinedCall {
    run: Arc<KeptRun>,
    /// Whether the run counts it among its callers.
    counted: bool,
    key: CallKey,
    guard: Option<JobGuard>,
}

impl JoinedCall {
    /// Ends the call with the answer.
    fn finish(mut self, reply: Reply) {
        if let Some(guard) = self.guard.take() {
            self.leave(&guard);
            guard.finish(Ok(reply));
        }
    }

    /// Leaves the run. Before the call ends: what is known of the run decides whether it may have
    /// been executed.
    fn leave(&self, guard: &JobGuard) {
        let proven = if self.counted { self.run.leave() } else { self.run.is_forgotten() };
        if !proven {
            guard.calls().table.lock().mark_started(self.key);
        }
    }
}

impl Drop for JoinedCall {
    fn drop(&mut self) {
        if let Some(guard) = self.guard.take() {
            self.leave(&guard);
        }
    }
}

/// The run that a call has joined.
struct FoundRun {
    run: Arc<KeptRun>,
    /// Whether the run counts the call among its callers.
    counted: bool,
    /// The call of the run itself, if that is new and has to start.
    start: Option<(RunningCall, ReadyCall)>,
}

/// What is compared of two calls with one key: their arguments as they are encoded. Not
/// cryptographic: who makes two of them collide shares one run between two of its own calls.
pub(in crate::node::exec) fn digest(job: &ReadyCall) -> u128 {
    xxh3_128(&job.request.body.bytes)
}

impl NodeCalls {
    /// Joins a call to the run of its key, which it starts if there is none.
    pub(super) fn execute_keyed(self: &Arc<Self>, call: RunningCall, job: ReadyCall) {
        self.node().counters.in_flight.fetch_add(1, Ordering::Relaxed);
        let key = job.key;
        let FoundRun { run, counted, start } = match self.join(&call, job) {
            Ok(found) => found,
            Err(error) => {
                self.settle(key, call, Err(Died::Refused(error)), MuxWriter::push_frames);
                return;
            }
        };
        if self.table.lock().insert(key, call) {
            self.sooner.notify_one();
        }
        let guard = Some(JobGuard::new(self, key, None));
        let joined = JoinedCall { run, counted, key, guard };
        let max_message = self.session.limits.max_message;
        self.spawn_abortable(key, async move {
            let reply = joined.run.reply(max_message).await;
            joined.finish(reply);
        });
        // After its caller has joined, so that the run is not without any when it starts.
        if let Some((call, job)) = start {
            self.execute(call, job);
        }
    }

    /// Joins the run of the key of `call`.
    ///
    /// # Errors
    /// Those of [`Runs::join`](crate::node::exec::runs::Runs::join).
    fn join(self: &Arc<Self>, call: &RunningCall, mut job: ReadyCall) -> Result<FoundRun, Error> {
        let context = call.context.without_deadline();
        let key = RunKey::of(&context, digest(&job));
        let form = (job.request.codec, None);
        let of = (RunUse::Call, job.request.codec);
        let joined = self.node().runs.join(of, &context, key, |number, charge| {
            let control = Box::new(RunLocation::new(self, CallKey::Run(number)));
            let of = (RunUse::Call, context.clone());
            KeptRun::new(&call.function, of, form, control, charge)
        })?;
        Ok(match joined {
            Joined::Known(run, counted) => FoundRun { run, counted, start: None },
            Joined::New(handle) => {
                let run = handle.run().clone();
                job.key = CallKey::Run(handle.index());
                job.inputs.context = context.clone();
                job.request.context = context.clone();
                let function = call.function.clone();
                let mut call = RunningCall::new(function, Responder::Mux, None, context, None);
                call.run = Some(Box::new(handle));
                FoundRun { run, counted: true, start: Some((call, job)) }
            }
        })
    }
}
