//! Calls that run inside middleware.
//!
//! ```text
//!   the middleware's task                        the function
//!
//!   a layer runs ----- `Err`, panic ---> the call fails, `No`
//!      |
//!      | `next.run`: takes the job out of its slot
//!      +---------------------------------> launched as without middleware
//!      :                                       |
//!      : waits                                 | ends; the response leaves
//!      + <------------------------------------ `Done`
//!      |
//!   the rest of the layers; what they return changes nothing
//! ```
//!
//! If the call ends early, the middleware's task is aborted until the job is taken, and the
//! function from then on: a layer that has let a call start always learns how the call ended.
//!
//! The slot decides who ends the call. The job is taken out of it once: by `next.run`, and then the
//! function's guard ends the call; or by the task after the layers have returned, which then
//! refuses the call.

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Weak};

use futures::FutureExt;
use parking_lot::Mutex;
use tracing::Instrument;

use crate::call::executed::{Evidence, node_may_refuse};
use crate::error::printable::one_line;
use crate::error::{Error, ErrorKind};
use crate::function::end::End;
use crate::function::panics::panic_text;
use crate::node::exec::calls::{JobGuard, NodeCalls};
use crate::node::exec::job::{JobPermits, ReadyCall};
use crate::node::exec::observer::{Observer, left};
use crate::node::exec::table::CallKey;
use crate::node::exec::work::Died;
use crate::node::middleware::Done;
use crate::transport::log_limit::Brief;
use crate::wire::limits::MAX_ERROR;

/// The job of a call whose function has not started, until it is taken.
type Slot = Mutex<Option<(JobGuard, ReadyCall)>>;

/// Stops the function of a call if a layer drops the future of `next.run`.
struct StopOnDrop<'a> {
    calls: &'a NodeCalls,
    key: CallKey,
    armed: bool,
}

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        if self.armed {
            let text = "a middleware of the node cancelled the function";
            let error = Error::new(ErrorKind::Cancelled, text).with_evidence(Evidence::Sent);
            self.calls.fail(self.key, error);
        }
    }
}

impl NodeCalls {
    /// Runs a call inside the node's middleware.
    pub(super) fn start_wrapped(self: &Arc<Self>, permits: JobPermits, job: ReadyCall) {
        let (key, name) = (job.key, job.function.name.clone());
        let (layers, context) = (self.node().layers.clone(), job.inputs.context.clone());
        let span = job.span.to_span();
        let calls = self.clone();
        let slot = Arc::new(Mutex::new(Some((JobGuard::new(self, key, Some(permits)), job))));
        // Weak: a layer that keeps its `Next` must not keep the permits of a call that has ended.
        let unrun: Weak<Slot> = Arc::downgrade(&slot);
        self.spawn_abortable(key, async move {
            let launch = Box::new(move || launch(unrun).boxed());
            let wrapped = async { layers.run(context, launch).await }.instrument(span);
            let result = AssertUnwindSafe(wrapped).catch_unwind().await;
            // Still there: no layer has run the function, and none can any more.
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
                // The caller has the function's answer, so the panic can only be logged. Callers
                // may cause it with each call, and choose its text.
                (None, Err(panic)) => {
                    if let Some(left_out) = calls.panicked.next(()) {
                        let panic = Brief(one_line(panic_text(&*panic), MAX_ERROR));
                        tracing::error!(function = &*name, %panic, left_out, "a middleware panicked");
                    }
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
    // Before the launch: from now on an early end of the call stops the function, not this task.
    calls.observe(key, observer);
    let mut stop = StopOnDrop { calls: &calls, key, armed: true };
    if let Some(permits) = guard.release() {
        calls.launch(permits, job);
        calls.dispatch();
    }
    let done = ended.await;
    // The call has ended: there is nothing left to stop.
    stop.armed = false;
    drop(stop);
    Ok(done.unwrap_or_else(|_| Done { end: End::Error(left()), items: 0, bytes: 0 }))
}

/// Returns the error of a call that a layer has refused. Its function has not started, regardless
/// of what `error` says.
fn refusal(error: Error) -> Error {
    let error = match node_may_refuse(error.kind()) {
        true => error,
        // This kind describes another call, or a function that has run.
        false => {
            let text = format!("a middleware of the node refused the call: {}", error.chain());
            Error::new(ErrorKind::Unavailable, text)
        }
    };
    // One of a nested stream may tell of items, which this call has none of.
    error.with_delivered(0).with_evidence(Evidence::NotStarted)
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
