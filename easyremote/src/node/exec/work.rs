//! The user's code while it runs: a task of its runtime, or a thread of its own.

use std::any::Any;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::thread;

use tokio::sync::oneshot;
use tokio::task::{JoinError, JoinHandle};

use crate::error::{Error, ErrorKind};
use crate::function::execution_policy::ExecutionPolicy;

/// How the user's code ended, if not by itself.
pub(crate) enum Died {
    Panicked(Box<dyn Any + Send>),
    Aborted,
}

impl From<JoinError> for Died {
    fn from(error: JoinError) -> Self {
        error.try_into_panic().map_or(Self::Aborted, Self::Panicked)
    }
}

/// A task of the user's runtime; dropping it aborts the task, unless that is detached.
pub(crate) struct Task<T> {
    handle: JoinHandle<T>,
    detached: bool,
}

impl<T> Task<T> {
    pub(crate) fn new(handle: JoinHandle<T>, terms: &ExecutionPolicy) -> Self {
        Self { handle, detached: terms.detached }
    }
}

impl<T> Future for Task<T> {
    type Output = Result<T, Died>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.handle).poll(context).map_err(Died::from)
    }
}

impl<T> Drop for Task<T> {
    fn drop(&mut self) {
        if !self.detached {
            self.handle.abort();
        }
    }
}

/// Runs `work` on a thread of its own, and gives a future of how it ended.
pub(crate) fn own_thread(
    work: impl FnOnce() + Send + 'static,
) -> Result<impl Future<Output = Result<(), Died>>, Error> {
    let (ending, ended) = oneshot::channel();
    thread::Builder::new()
        .name("easyremote-iter".into())
        .spawn(move || {
            // Nothing that the work has touched is used after a panic.
            let result = catch_unwind(AssertUnwindSafe(work)).map_err(Died::Panicked);
            let _ = ending.send(result);
        })
        .map_err(|error| {
            let text = "the node has no thread for an iterator";
            Error::new(ErrorKind::Overloaded, text).with_source(error)
        })?;
    Ok(async { ended.await.unwrap_or(Err(Died::Aborted)) })
}
