//! Jobs: calls that are ready to run, and the permits that they hold while they run.

use std::sync::Arc;

use tokio::sync::OwnedSemaphorePermit;

use crate::function::execution_policy::Permits;
use crate::function::handler::{Inputs, Request, Run};
use crate::function::item_writer::ItemWriter;
use crate::function::registry::Function;
use crate::node::exec::table::CallKey;
use crate::node::state::NodeState;

/// A call that is ready to run: its function and the inputs.
pub(super) struct Job {
    pub(super) key: CallKey,
    pub(super) function: Arc<Function>,
    pub(super) inputs: Inputs,
    pub(super) request: Request,
    /// Receives the function's items, if it returns a stream.
    pub(super) items: Option<ItemWriter>,
}

/// The permits that a call holds while its function runs. Dropping them releases them.
pub(super) struct JobPermits {
    _place: Permits,
    /// For a sync function: the permit of a blocking thread.
    _thread: Option<OwnedSemaphorePermit>,
}

impl JobPermits {
    /// Acquires the permits for a call of `function` if all of them are available at once.
    pub(super) fn try_acquire(node: &NodeState, function: &Function) -> Option<Self> {
        let place = function.handler.policy.try_permits(&node.running)?;
        let thread = match function.handler.run {
            Run::Blocking(_) => Some(node.blocking.clone().try_acquire_owned().ok()?),
            _ => None,
        };
        Some(Self { _place: place, _thread: thread })
    }

    /// Acquires the permits for a call of `function`, waiting for them. Always `Some`: the
    /// semaphores are never closed.
    pub(super) async fn acquire(node: &NodeState, function: &Function) -> Option<Self> {
        // The thread last: a call that waits for a function's or the node's limit must not hold a
        // thread back from others.
        let place = function.handler.policy.permits(&node.running).await.ok()?;
        let thread = match function.handler.run {
            Run::Blocking(_) => Some(node.blocking.clone().acquire_owned().await.ok()?),
            _ => None,
        };
        Some(Self { _place: place, _thread: thread })
    }
}
