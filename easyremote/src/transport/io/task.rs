//! Tasks of a role's I/O.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll};

use async_task::FallibleTask;
use tokio_util::task::AbortOnDropHandle;

use crate::transport::io::task_set::current;

/// A spawned task. Resolves to its output, or to `None` if it has panicked or its role has ended.
///
/// Dropping it cancels the task, unless it is [detached](Self::detach).
#[derive(Debug)]
pub(crate) struct IoTask<T>(TaskHandle<T>);

#[derive(Debug)]
enum TaskHandle<T> {
    /// In a [`TaskSet`](super::TaskSet). The inner `None` is that of a panic.
    Set(FallibleTask<Option<T>>),
    Tokio(AbortOnDropHandle<T>),
}

/// Spawns a task beside the current one: in the same [`TaskSet`](super::TaskSet), or on the same
/// tokio runtime for a task that is in none, such as those of a gateway.
///
/// # Panics
/// Outside of both.
pub(crate) fn spawn<F>(future: F) -> IoTask<F::Output>
where
    F: Future<Output: Send> + Send + 'static,
{
    match current() {
        Some(tasks) => tasks.spawn(future),
        None => IoTask(TaskHandle::Tokio(AbortOnDropHandle::new(tokio::spawn(future)))),
    }
}

/// Yields to the other tasks, of the set and of the runtime that runs it. Cancel safe.
pub(crate) async fn yield_now() {
    let Some(tasks) = current() else { return tokio::task::yield_now().await };
    let mut yielded = false;
    poll_fn(|context| {
        if std::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        tasks.wake_later(context.waker().clone());
        Poll::Pending
    })
    .await;
}

impl<T> IoTask<T> {
    pub(super) fn in_set(task: FallibleTask<Option<T>>) -> Self {
        Self(TaskHandle::Set(task))
    }

    /// Lets the task run to its end without this handle.
    pub(crate) fn detach(self) {
        match self.0 {
            TaskHandle::Set(task) => task.detach(),
            TaskHandle::Tokio(task) => drop(task.detach()),
        }
    }
}

impl<T> Future for IoTask<T> {
    type Output = Option<T>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.0 {
            TaskHandle::Set(task) => Pin::new(task).poll(context).map(Option::flatten),
            TaskHandle::Tokio(task) => Pin::new(task).poll(context).map(Result::ok),
        }
    }
}
