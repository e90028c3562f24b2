//! The thread on which a role does all its I/O.

use std::future::Future;
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;

use tokio::runtime::{Builder, Handle};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::AbortOnDropHandle;

use crate::error::{Error, ErrorKind};

/// A thread with a current-thread runtime of its own, for one role's endpoint and everything that
/// touches its streams.
///
/// One thread because on a multi-thread scheduler quinn's driver is polled after every single
/// write; of its own because user code that blocks its runtime must not stop heartbeats.
///
/// Dropping it stops the role: its main future is told by the [`CancellationToken`]. The drop waits
/// for as long as it takes to say goodbye to the peers, which is until all clones of the
/// [`GoodbyeGuard`] are dropped, at most [`GOODBYE`]. Whatever else is to be done, the thread does
/// by itself, and ends then.
#[derive(Debug)]
pub(crate) struct IoThread {
    handle: Handle,
    stop: CancellationToken,
    /// Disconnected when the goodbye has been said; the mutex only makes it `Sync`.
    said: std::sync::Mutex<Receiver<()>>,
    /// Cancelled when the thread has ended, and its sockets are free again.
    over: CancellationToken,
}

/// Held by whatever still has to tell peers that the role ends. Dropping an [`IoThread`] waits for
/// all clones of it.
#[derive(Clone, Debug)]
pub(crate) struct GoodbyeGuard {
    /// Nothing is sent: it disconnects.
    _saying: mpsc::Sender<()>,
}

/// Longest time that dropping an [`IoThread`] blocks. It takes well under a millisecond; this is for
/// a machine that is short of processors.
const GOODBYE: Duration = Duration::from_millis(100);

impl IoThread {
    /// Starts a thread that runs what `main` makes of the role's stop signal and its guard, and all
    /// that is spawned from it.
    ///
    /// # Errors
    /// The operating system gives no thread or no event queue.
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
                // Dropped last, also when `main` panics.
                let _ending: DropGuard = ending;
                runtime.block_on(main);
                runtime.shutdown_background();
            })
            .map_err(failed)?;
        Ok(Self { handle, stop, said: std::sync::Mutex::new(said), over })
    }

    /// To run tasks on the thread.
    pub(crate) fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Resolves after `time` by the clock of the thread, which no test has paused; at once if the
    /// thread has ended. Cancel safe.
    pub(crate) async fn sleep(&self, time: Duration) {
        // Begun there: a timer belongs to the runtime on which it is made.
        let sleep = self.handle.spawn(async move { tokio::time::sleep(time).await });
        // An error says that the thread has ended.
        let _ = AbortOnDropHandle::new(sleep).await;
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
        if let Ok(said) = self.said.lock() {
            // Either outcome is fine: it has been said, or there was time for it.
            let _ = said.recv_timeout(GOODBYE);
        }
    }
}

/// The error of a thread, or its event queue, that the system would not give.
fn failed(error: std::io::Error) -> Error {
    // In the text, and not the source: it says which limit to raise.
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
