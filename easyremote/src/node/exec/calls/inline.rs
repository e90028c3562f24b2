//! Calls of `inline` functions that run where they have arrived: in the task that reads.
//!
//! Such a call needs no entry in the table: cancellations, deadlines and failures are handled by the
//! same task, after the function has returned.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::function::handler::{Reply, Run};
use crate::function::inline_guard::{MAX_AVERAGE, MAX_ONCE, PENALTY};
use crate::function::registry::Function;
use crate::node::exec::calls::NodeCalls;
use crate::node::exec::job::{JobPermits, ReadyCall};
use crate::node::exec::table::{Begin, CallKey, RunningCall};
use crate::node::exec::work::Died;
use crate::transport::mux::writer::MuxWriter;

impl NodeCalls {
    /// Returns whether a call that has just arrived may run in this task, which reads.
    pub(super) fn may_run_here(&self, permits: &JobPermits, job: &ReadyCall) -> bool {
        matches!(job.function.handler.run, Run::Inline(_))
            && !permits.has_thread()
            && matches!(job.key, CallKey::Mux(_))
            && self.node().layers.is_empty()
            && self.inline.lock().has_time()
    }

    /// Notes that the task is about to read again.
    pub(in crate::node::exec) fn renew_inline_time(&self) {
        self.inline.lock().begin();
    }

    /// Runs a call in this task, which reads, within the runtime of the user.
    pub(super) fn run_here(
        self: &Arc<Self>,
        permits: JobPermits,
        mut call: RunningCall,
        job: ReadyCall,
    ) {
        let key = job.key;
        let result = match self.note_start(&job) {
            Err(refused) => Err(Died::Refused(refused)),
            Ok(()) if call.begin() == Begin::Refuse => Err(Died::Aborted),
            Ok(()) => self.run_inline(job),
        };
        drop(permits);
        let spare = self.settle(key, call, result, MuxWriter::push_frames);
        self.inline.lock().memory.keep(spare);
    }

    fn run_inline(&self, job: ReadyCall) -> Result<Reply, Died> {
        let ReadyCall { function, inputs, mut request, span, .. } = job;
        let Run::Inline(run) = &function.handler.run else { return Err(Died::Aborted) };
        request.reply = self.inline.lock().memory.take();
        let _runtime = self.runtime().enter();
        let begun = Instant::now();
        // Unwind safe: the closure owns its inputs, and they are dropped with the panic.
        let current = span.enter();
        let ran = catch_unwind(AssertUnwindSafe(|| run(inputs, request)));
        drop(current);
        let taken = begun.elapsed();
        self.inline.lock().spend(taken);
        self.note_time(&function, taken);
        ran.map_err(Died::Panicked)
    }

    /// Notes how long a sync function, or the first poll of an async one, has taken.
    pub(in crate::node::exec) fn note_time(&self, function: &Function, taken: Duration) {
        let policy = &function.handler.policy;
        policy.poll_time.note(taken);
        let is_inline = matches!(function.handler.run, Run::Inline(_));
        if is_inline && policy.inline_guard.note(taken) {
            tracing::warn!(
                node = %self.node().id,
                function = &*function.name,
                ?taken,
                "`inline` is for functions that take less than {MAX_AVERAGE:?} on average and never \
                 {MAX_ONCE:?}: runs on blocking threads until it has been short for {PENALTY:?}"
            );
        }
    }
}
