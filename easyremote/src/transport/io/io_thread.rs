//! The I/O thread of a gateway.

use std::future::Future;
use std::thread;

use tokio::runtime::{Builder, Handle};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::error::Error;
use crate::transport::io::farewell::{Farewell, GoodbyeGuard};
use crate::transport::io::thread::failed;

/// A thread with a current-thread runtime, for the endpoint of one role and everything that touches
/// its streams.
///
/// A single thread, because on a multi-thread scheduler quinn's driver is polled after every write.
/// A separate one, because user code that blocks its runtime must not stop heartbeats.
///
/// Dropping the handle cancels the [`CancellationToken`] of the role's main future. The drop blocks
/// until the peers have been notified, that is until all clones of the [`GoodbyeGuard`] are
/// dropped, and at most 100 ms. The thread completes all other work on its own, and ends.
#[derive(Debug)]
pub(crate) struct IoThread {
    handle: Handle,
    farewell: Farewell,
}

impl IoThread {
    /// Starts a thread that runs the future returned by `main`, and all tasks spawned from it.
    ///
    /// # Errors
    /// `Unavailable` if the operating system provides no thread or no event queue.
    pub(crate) fn start<F>(
        name: &str,
        main: impl FnOnce(CancellationToken, GoodbyeGuard) -> F,
    ) -> Result<Self, Error>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let runtime = Builder::new_current_thread().enable_all().build().map_err(failed)?;
        let handle = runtime.handle().clone();
        let (farewell, guard, ending) = Farewell::new();
        let main = main(farewell.stop_token(), guard);
        thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || {
                // Dropped last, also if `main` panics.
                let _ending: DropGuard = ending;
                runtime.block_on(main);
                runtime.shutdown_background();
            })
            .map_err(failed)?;
        Ok(Self { handle, farewell })
    }

    /// Returns the thread's runtime.
    pub(crate) fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Requests the role to end.
    pub(crate) fn stop(&self) {
        self.farewell.stop();
    }

    /// Waits until the thread has ended and its sockets are closed. Cancel safe.
    pub(crate) async fn ended(&self) {
        self.farewell.ended().await;
    }
}

impl Drop for IoThread {
    fn drop(&mut self) {
        self.farewell.stop();
        // A task of the role must not wait for the thread that it runs on.
        if Handle::try_current().is_ok_and(|current| current.id() == self.handle.id()) {
            return;
        }
        self.farewell.wait_until_said();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::io::farewell::GOODBYE;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::Instant;

    #[test]
    fn dropping_waits_for_the_goodbye_and_for_nothing_else() {
        let said = Arc::new(AtomicBool::new(false));
        let (end, ended) = tokio::sync::oneshot::channel::<()>();
        let io = IoThread::start("test", |stop, guard| {
            let said = said.clone();
            async move {
                stop.cancelled().await;
                tokio::task::yield_now().await;
                said.store(true, Ordering::SeqCst);
                drop(guard);
                let _ = ended.await;
            }
        })
        .unwrap();
        let over = io.farewell.over_token();
        let began = Instant::now();
        drop(io);
        // On an overloaded machine the time may be over first.
        let waited = began.elapsed() >= GOODBYE;
        assert!(said.load(Ordering::SeqCst) || waited);
        assert!(!over.is_cancelled(), "the thread is at work still");
        drop(end);
        pollster::block_on(over.cancelled());
    }

    #[tokio::test]
    async fn a_task_may_drop_the_thread_it_runs_on() {
        let io = IoThread::start("test", |stop, _| async move { stop.cancelled().await }).unwrap();
        let io = Arc::new(io);
        let inner = io.clone();
        let (sent, received) = tokio::sync::oneshot::channel();
        io.handle.spawn(async move {
            let _ = sent.send(());
            drop(inner);
        });
        received.await.unwrap();
        drop(io);
    }
}
