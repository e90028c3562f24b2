//! What the calls that run in the task that reads, between two reads, share.

use std::time::Duration;

use crate::node::exec::work::ReplyMemory;

/// Longest time that functions may run in the task that reads between two reads. Further calls run as
/// tasks: many short functions in a row keep the thread from its work as one long function does.
const MAX_TIME: Duration = Duration::from_millis(1);

/// The time that functions have run there since the last read, and memory for their
/// responses.
#[derive(Default)]
pub(super) struct InlineBatch {
    time: Duration,
    pub(super) memory: ReplyMemory,
}

impl InlineBatch {
    /// Begins the next batch.
    pub(super) fn begin(&mut self) {
        self.time = Duration::ZERO;
    }

    /// Notes that a function has run for `taken`.
    pub(super) fn spend(&mut self, taken: Duration) {
        self.time += taken;
    }

    /// Returns whether another function may run.
    pub(super) fn has_time(&self) -> bool {
        self.time < MAX_TIME
    }
}
