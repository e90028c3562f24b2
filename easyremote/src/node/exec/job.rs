//! A call that is to run, and the permits that it holds while its function runs.

use std::sync::Arc;

use tokio::sync::OwnedSemaphorePermit;

use crate::function::execution_policy::Permits;
use crate::function::handler::{Inputs, Request, Run};
use crate::function::item_writer::ItemWriter;
use crate::function::registry::Function;
use crate::node::exec::table::CallKey;
use crate::node::state::NodeState;

/// A call that is to run: its function, and what that gets.
pub(super) struct Job {
    pub(super) key: CallKey,
    pub(super) function: Arc<Function>,
    pub(super) inputs: Inputs,
    pub(super) request: Request,
    /// Where its items go, if it returns a stream.
    pub(super) items: Option<ItemWriter>,
}

/// What a call holds while its function runs.
pub(super) struct JobPermits {
    _place: Permits,
    /// For a sync function: one of the blocking threads.
    _thread: Option<OwnedSemaphorePermit>,
}

impl JobPermits {
    /// What a call of `function` needs before it may run, if it is there at once.
    pub(super) fn try_acquire(node: &NodeState, function: &Function) -> Option<Self> {
        let place = function.handler.policy.try_permits(&node.running)?;
        let thread = match function.handler.run {
            Run::Blocking(_) => Some(node.blocking.clone().try_acquire_owned().ok()?),
            _ => None,
        };
        Some(Self { _place: place, _thread: thread })
    }

    /// Waits for what a call of `function` needs before it may run. (Nobody closes the semaphores.)
    pub(super) async fn acquire(node: &NodeState, function: &Function) -> Option<Self> {
        let place = function.handler.policy.permits(&node.running).await.ok()?;
        let thread = match function.handler.run {
            Run::Blocking(_) => Some(node.blocking.clone().acquire_owned().await.ok()?),
            _ => None,
        };
        Some(Self { _place: place, _thread: thread })
    }
}
