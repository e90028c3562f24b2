//! The I/O thread of a role.

use std::future::Future;
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;

use tokio::runtime::{Builder, Handle};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::AbortOnDropHandle;

use crate::error::{Error, ErrorKind};

/// A thread with a current-thread runtime, for the endpoint of one role and everything that touches
/// its streams.
///
/// A single thread, because on a multi-thread scheduler quinn's driver is polled after every write.
/// A separate one, because user code that blocks its runtime must not stop heartbeats.
///
/// Dropping the handle cancels the [`CancellationToken`] of the role's main future. The drop blocks
/// until the peers have been notified, that is until all clones of the [`GoodbyeGuard`] are
/// dropped, and at most [`GOODBYE`]. The thread completes all other work on its own, and ends.
#[derive(Debug)]
pub(crate) struct IoThread {
    handle: Handle,
    stop: CancellationToken,
    /// Disconnected when the peers have been notified; the mutex only makes it `Sync`.
    said: std::sync::Mutex<Receiver<()>>,
    /// Cancelled when the thread has ended and its sockets are closed.
    over: CancellationToken,
}

/// Held by code that still has to notify peers of the end of the role. Dropping an [`IoThread`]
/// waits for all clones.
#[derive(Clone, Debug)]
pub(crate) struct GoodbyeGuard {
    /// Nothing is ever sent; dropping it disconnects the channel.
    _saying: mpsc::Sender<()>,
}

/// Maximum time that dropping an [`IoThread`] blocks. It usually takes well under a millisecond;
/// the limit is for an overloaded machine.
const GOODBYE: Duration = Duration::from_millis(100);

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
        let stop = CancellationToken::new();
        let (saying, said) = mpsc::channel();
        let main = main(stop.clone(), GoodbyeGuard { _saying: saying });
        let over = CancellationToken::new();
        let ending = over.clone().drop_guard();
        thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || {
                // Dropped last, also if `main` panics.
                let _ending: DropGuard = ending;
                runtime.block_on(main);
                runtime.shutdown_background();
            })
            .map_err(failed)?;
        Ok(Self { handle, stop, said: std::sync::Mutex::new(said), over })
    }

    /// Returns the handle of the runtime, to spawn tasks on the thread.
    pub(crate) fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Waits for `time` by the clock of the thread, which tests do not pause; returns at once if
    /// the thread has ended. Cancel safe.
    pub(crate) async fn sleep(&self, time: Duration) {
        // The timer must be created on the runtime that it belongs to.
        let sleep = self.handle.spawn(async move { tokio::time::sleep(time).await });
        // An error means that the thread has ended.
        let _ = AbortOnDropHandle::new(sleep).await;
    }

    /// Requests the role to end.
    pub(crate) fn stop(&self) {
        self.stop.cancel();
    }

    /// Waits until the thread has ended and its sockets are closed. Cancel safe.
    pub(crate) async fn ended(&self) {
        self.over.cancelled().await;
    }
}

impl Drop for IoThread {
    fn drop(&mut self) {
        self.stop.cancel();
        // A task of the role must not wait for the thread that it runs on.
        if Handle::try_current().is_ok_and(|current| current.id() == self.handle.id()) {
            return;
        }
        if let Ok(said) = self.said.lock() {
            // Both outcomes are fine: the peers are notified, or the time is over.
            let _ = said.recv_timeout(GOODBYE);
        }
    }
}

/// The error for a thread or an event queue that the operating system does not provide.
fn failed(error: std::io::Error) -> Error {
    // The cause is in the text rather than the source, because it says which limit to raise.
    let text = format!(
        "cannot start the I/O thread: {error}; see the limits of threads and open files: `ulimit -u`, \
         `ulimit -n`, and those of the container"
    );
    Error::new(ErrorKind::Unavailable, text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

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
        let over = io.over.clone();
        drop(io);
        assert!(said.load(Ordering::SeqCst));
        assert!(!over.is_cancelled(), "the thread is at work still");
        drop(end);
        pollster::block_on(over.cancelled());
    }

    #[test]
    fn a_thread_that_cannot_start_says_why_and_what_to_look_at() {
        let reason = std::io::Error::from(std::io::ErrorKind::WouldBlock);
        let (shown, error) = (reason.to_string(), failed(reason));
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        let text = error.chain().to_string();
        assert_eq!(text.matches(&shown).count(), 1, "{text}");
        assert!(text.contains("`ulimit -u`") && text.contains("`ulimit -n`"), "{text}");
    }

    #[tokio::test]
    async fn a_task_may_drop_the_thread_it_runs_on() {
        let io = IoThread::start("test", |stop, _| async move { stop.cancelled().await }).unwrap();
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
