//! A background worker for changes that would block the I/O thread.

use std::panic::resume_unwind;
use std::sync::Arc;

use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

/// Runs jobs on another thread, one at a time, in the order in which they were submitted.
///
/// Work that scales with the number of nodes and functions runs here, because the I/O thread serves
/// all peers and one peer must not delay the others.
#[derive(Clone, Debug)]
pub(super) struct BackgroundWorker {
    turn: Arc<Semaphore>,
}

impl Default for BackgroundWorker {
    fn default() -> Self {
        Self { turn: Arc::new(Semaphore::new(1)) }
    }
}

impl BackgroundWorker {
    /// Runs `work`, and returns its result.
    ///
    /// # Cancel safety
    /// Dropped before it starts, `work` does not run. Dropped afterwards, it runs to completion and
    /// its result is discarded.
    /// it is dropped there.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> T {
        // The semaphore is never closed, so acquiring cannot fail.
        let turn = self.turn.clone().acquire_owned().await;
        let working = spawn_blocking(move || {
            let _turn = turn;
            work()
        });
        match working.await {
            Ok(done) => done,
            Err(error) => match error.try_into_panic() {
                Ok(panic) => resume_unwind(panic),
                // The runtime is shutting down.
                Err(_) => std::future::pending().await,
            },
        }
    }

    /// Runs `work` later; immediately if the runtime is gone.
    pub(super) fn later(&self, work: impl FnOnce() + Send + 'static) {
        match Handle::try_current() {
            Ok(runtime) => {
                let worker = self.clone();
                let work = OnDrop(Some(work));
                runtime.spawn(async move { worker.run(move || drop(work)).await });
            }
            Err(_) => work(),
        }
    }
}

/// Runs its closure when it is dropped: by the worker, or by a runtime that shuts down before that.
struct OnDrop<F: FnOnce()>(Option<F>);

impl<F: FnOnce()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        if let Some(work) = self.0.take() {
            work();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::thread;
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn work_is_done_in_order_and_one_at_a_time() {
        let (worker, done) = (BackgroundWorker::default(), Arc::new(Mutex::new(Vec::new())));
        for n in 0..20 {
            let done = done.clone();
            worker.later(move || {
                let before = done.lock().unwrap().len();
                thread::sleep(Duration::from_millis(1));
                let mut done = done.lock().unwrap();
                assert_eq!(done.len(), before);
                done.push(n);
            });
        }
        // These are submitted first.
        tokio::task::yield_now().await;
        let seen = done.clone();
        let last = worker.run(move || seen.lock().unwrap().clone()).await;
        assert_eq!(last, (0..20).collect::<Vec<_>>());
    }

    #[test]
    fn what_is_left_when_a_runtime_ends_is_done() {
        let (sent, received) = std::sync::mpsc::channel();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let worker = BackgroundWorker::default();
        runtime.block_on(async {
            let sent = sent.clone();
            worker.later(move || sent.send("with it").unwrap());
        });
        drop(runtime);
        worker.later(move || sent.send("without one").unwrap());
        assert_eq!(received.iter().collect::<Vec<_>>(), ["with it", "without one"]);
    }
}
