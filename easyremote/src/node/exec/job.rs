//! Jobs: calls that are ready to run, and the permits that they hold while they run.

use std::sync::Arc;

use tokio::sync::OwnedSemaphorePermit;

use crate::function::execution_policy::Permits;
use crate::function::handler::{Inputs, Request, Run};
use crate::function::item_writer::ItemWriter;
use crate::function::registry::Function;
use crate::node::exec::table::CallKey;
use crate::node::state::NodeState;
use crate::transport::call_span::CallSpan;

/// A call that is ready to run: its function and the inputs.
pub(super) struct ReadyCall {
    pub(super) key: CallKey,
    pub(super) function: Arc<Function>,
    pub(super) inputs: Inputs,
    pub(super) request: Request,
    /// Receives the function's items, if it returns a stream.
    pub(super) items: Option<ItemWriter>,
    /// What the function runs in.
    pub(super) span: CallSpan,
}

impl ReadyCall {
    /// Returns whether the function is usually short.
    pub(super) fn is_short(&self) -> bool {
        self.function.handler.policy.poll_time.is_short()
    }
}

/// The permits that a call holds while its function runs. Dropping them releases them.
pub(super) struct JobPermits {
    _place: Permits,
    /// For a sync function: the permit of a blocking thread. A short one also holds it while it is
    /// queued, so every queued job may have a thread of its own at once.
    thread: Option<OwnedSemaphorePermit>,
}

impl JobPermits {
    /// Acquires the permits for a call of `function` if all of them are available at once.
    pub(super) fn try_acquire(node: &NodeState, function: &Function) -> Option<Self> {
        let place = function.handler.policy.try_permits(&node.running)?;
        let thread = match needs_thread(function) {
            true => Some(node.blocking.clone().try_acquire_owned().ok()?),
            false => None,
        };
        Some(Self { _place: place, thread })
    }

    /// Acquires the permits for a call of `function`, waiting for them. Always `Some`: the
    /// semaphores are never closed.
    pub(super) async fn acquire(node: &NodeState, function: &Function) -> Option<Self> {
        // The thread last: a call that waits for a function's or the node's limit must not hold a
        // thread back from others.
        let place = function.handler.policy.permits(&node.running).await.ok()?;
        let thread = match needs_thread(function) {
            true => Some(node.blocking.clone().acquire_owned().await.ok()?),
            false => None,
        };
        Some(Self { _place: place, thread })
    }

    /// Returns whether the function runs on a blocking thread.
    pub(super) fn has_thread(&self) -> bool {
        self.thread.is_some()
    }
}

/// Returns whether a function runs on a blocking thread.
fn needs_thread(function: &Function) -> bool {
    match function.handler.run {
        Run::Blocking(_) => true,
        Run::Inline(_) => !function.handler.policy.inline_guard.is_trusted(),
        // Not the call of a batch function, but each run of it.
        Run::Task(_) | Run::Thread(_) | Run::Stream(_) | Run::Batch(_) | Run::Operator(_) => false,
    }
}
