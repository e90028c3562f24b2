//! Calls that run inside of middleware.
//!
//! ```text
//!   the middleware's task                        the function
//!
//!   a layer runs ----- `Err`, panic ---> the call fails, `No`
//!      |
//!      | `next.run`: takes the job out of its slot
//!      +---------------------------------> launched as without middleware
//!      :                                       |
//!      : waits                                 | ends; the answer leaves
//!      + <------------------------------------ `Done`
//!      |
//!   the rest of the layers; what they return changes nothing
//! ```
//!
//! Until the job is taken, the task is what is aborted when the call ends early. From then on the
//! function is, so that a layer always learns how a call ended that it let start.

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Weak};

use futures::FutureExt;
use parking_lot::Mutex;

use crate::call::executed::{Evidence, node_may_refuse};
use crate::error::{Error, ErrorKind};
use crate::function::end::End;
use crate::function::handler::panic_text;
use crate::node::exec::calls::{JobGuard, NodeCalls};
use crate::node::exec::job::{Job, JobPermits};
use crate::node::exec::observer::{Observer, left};
use crate::node::exec::table::CallKey;
use crate::node::exec::work::Died;
use crate::node::middleware::Done;

/// The job of a call whose function has not started, until somebody takes it.
type Slot = Mutex<Option<(JobGuard, Job)>>;

/// Stops the function of a call if a layer drops the future that waits for it.
struct StopOnDrop<'a> {
    calls: &'a NodeCalls,
    key: CallKey,
    armed: bool,
}

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        if self.armed {
            let text = "a middleware of the node has stopped the function";
            let error = Error::new(ErrorKind::Cancelled, text).with_evidence(Evidence::Sent);
            self.calls.fail(self.key, error);
        }
    }
}

impl NodeCalls {
    /// Runs a call inside of the node's middleware.
    pub(super) fn start_wrapped(self: &Arc<Self>, permits: JobPermits, job: Job) {
        let (key, name) = (job.key, job.function.name.clone());
        let (layers, context) = (self.node().layers.clone(), job.inputs.context.clone());
        let slot = Arc::new(Mutex::new(Some((JobGuard::new(self, key, Some(permits)), job))));
        // Weak: a layer that keeps its `Next` does not keep the place of a call that has ended.
        let unrun: Weak<Slot> = Arc::downgrade(&slot);
        self.spawn_abortable(key, async move {
            let launch = Box::new(move || launch(unrun).boxed());
            let wrapped = async { layers.run(context, launch).await };
            let result = AssertUnwindSafe(wrapped).catch_unwind().await;
            let unrun = slot.lock().take();
            match (unrun, result) {
                (Some((guard, job)), result) => {
                    drop(job);
                    let refusal = match result {
                        Ok(Ok(_)) => not_run(&name),
                        Ok(Err(error)) => refusal(error),
                        Err(panic) => panicked(&name, &*panic),
                    };
                    guard.finish(Err(Died::Refused(refusal)));
                }
                // The caller has the function's answer: only the log can tell.
                (None, Err(panic)) => {
                    tracing::error!(
                        function = &*name,
                        panic = panic_text(&*panic),
                        "a middleware panicked"
                    );
                }
                (None, Ok(_)) => {}
            }
        });
    }
}

/// Starts the function of the call in `slot`, and waits until the call has ended.
async fn launch(slot: Weak<Slot>) -> Result<Done, Error> {
    let taken = slot.upgrade().and_then(|slot| slot.lock().take());
    let Some((guard, job)) = taken else {
        return Err(Error::new(ErrorKind::Cancelled, "the call has ended"));
    };
    let (calls, key) = (guard.calls().clone(), job.key);
    let (observer, ended) = Observer::new(job.inputs.context.clone());
    // Before the launch: from now on what ends the call early stops the function, not this task.
    calls.observe(key, observer);
    let mut stop = StopOnDrop { calls: &calls, key, armed: true };
    if let Some(permits) = guard.release() {
        calls.launch(permits, job);
        calls.dispatch();
    }
    let done = ended.await;
    stop.armed = false;
    drop(stop);
    Ok(done.unwrap_or_else(|_| Done { end: End::Error(left()), items: 0, bytes: 0 }))
}

/// The error of a call that a layer has refused: its function has not started, whatever the error
/// was made for.
fn refusal(error: Error) -> Error {
    let error = match node_may_refuse(error.kind()) {
        true => error,
        // One of another call, or of a function that has run: not of this one.
        false => {
            let text = format!("a middleware of the node refused the call: {}", error.chain());
            Error::new(ErrorKind::Unavailable, text)
        }
    };
    error.with_evidence(Evidence::NotStarted)
}

fn not_run(function: &str) -> Error {
    let text = format!("a middleware of the node returned without running `{function}`");
    Error::new(ErrorKind::Unavailable, text)
}

fn panicked(function: &str, panic: &(dyn std::any::Any + Send)) -> Error {
    let panic = panic_text(panic);
    let text = format!("a middleware of the node panicked before it ran `{function}`: {panic}");
    Error::new(ErrorKind::Unavailable, text)
}
