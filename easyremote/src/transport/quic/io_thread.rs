//! The thread on which a role does all its I/O.

use std::future::Future;
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;

use tokio::runtime::{Builder, Handle};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::error::{Error, ErrorKind};

/// A thread with a current-thread runtime of its own, for one role's endpoint and everything that
/// touches its streams.
///
/// One thread because on a multi-thread scheduler quinn's driver is polled after every single
/// write; of its own because user code that blocks its runtime must not stop heartbeats.
///
/// Dropping it stops the role: its main future is told by the [`CancellationToken`], and is waited
/// for as long as it takes to say goodbye to the peers, at most [`GOODBYE`].
#[derive(Debug)]
pub(crate) struct IoThread {
    handle: Handle,
    stop: CancellationToken,
    /// Disconnected when the thread has ended; the mutex only makes it `Sync`.
    ended: std::sync::Mutex<Receiver<()>>,
    /// Cancelled when the thread has ended, and its sockets are free again.
    over: CancellationToken,
}

/// Longest time that dropping an [`IoThread`] blocks. Closing takes well under a millisecond; this
/// is for a machine that is short of processors.
const GOODBYE: Duration = Duration::from_millis(250);

impl IoThread {
    /// Starts a thread that runs what `main` makes of the role's stop signal, and all that is
    /// spawned from it.
    ///
    /// # Errors
    /// The operating system gives no thread or no event queue.
    pub(crate) fn start<F>(
        name: &str,
        main: impl FnOnce(CancellationToken) -> F,
    ) -> Result<Self, Error>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let failed = |error| {
            Error::new(ErrorKind::Unavailable, "cannot start the I/O thread").with_source(error)
        };
        let runtime = Builder::new_current_thread().enable_all().build().map_err(failed)?;
        let handle = runtime.handle().clone();
        let stop = CancellationToken::new();
        let main = main(stop.clone());
        let (ending, ended) = mpsc::channel();
        let over = CancellationToken::new();
        let overing = over.clone().drop_guard();
        thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || {
                // Dropped last, also when `main` panics.
                let _ending: (mpsc::Sender<()>, DropGuard) = (ending, overing);
                runtime.block_on(main);
                runtime.shutdown_background();
            })
            .map_err(failed)?;
        Ok(Self { handle, stop, ended: std::sync::Mutex::new(ended), over })
    }

    /// To run tasks on the thread.
    pub(crate) fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Asks the role to end.
    pub(crate) fn stop(&self) {
        self.stop.cancel();
    }

    /// Resolves when the thread has ended, and its sockets are free again. Cancel safe.
    pub(crate) async fn ended(&self) {
        self.over.cancelled().await;
    }
}

impl Drop for IoThread {
    fn drop(&mut self) {
        self.stop.cancel();
        // A role's own tasks must not wait for the thread that they run on.
        if Handle::try_current().is_ok_and(|current| current.id() == self.handle.id()) {
            return;
        }
        if let Ok(ended) = self.ended.lock() {
            // Either outcome is fine: the thread has ended, or it has had its time.
            let _ = ended.recv_timeout(GOODBYE);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    #[test]
    fn dropping_waits_for_the_goodbye() {
        let said = Arc::new(AtomicBool::new(false));
        let io = IoThread::start("test", |stop| {
            let said = said.clone();
            async move {
                stop.cancelled().await;
                tokio::task::yield_now().await;
                said.store(true, Ordering::SeqCst);
            }
        })
        .unwrap();
        drop(io);
        assert!(said.load(Ordering::SeqCst));
    }

    #[tokio::test]
    async fn a_task_may_drop_the_thread_it_runs_on() {
        let io = IoThread::start("test", |stop| async move { stop.cancelled().await }).unwrap();
        let io = Arc::new(io);
        let inner = io.clone();
        let (sent, received) = tokio::sync::oneshot::channel();
        io.handle().spawn(async move {
            let _ = sent.send(());
            drop(inner);
        });
        received.await.unwrap();
        drop(io);
    }
}
