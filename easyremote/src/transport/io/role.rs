//! The I/O of one client or node: its tasks, and their end.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::task::unconstrained;
use tokio_util::sync::CancellationToken;

use crate::error::Error;
use crate::transport::io::farewell::{Farewell, GoodbyeGuard};
use crate::transport::io::place::Io;
use crate::transport::io::takeover::{ProgramRunner, stand_by};
use crate::transport::io::task_set::{TaskSet, current};
use crate::transport::io::thread::SharedThread;

/// The I/O of a client or a node.
///
/// Dropping the handle cancels the [`CancellationToken`] of the role's main future. The drop blocks
/// until the peers have been notified, that is until all clones of the [`GoodbyeGuard`] are
/// dropped, and for 100 ms at most.
#[derive(Debug)]
pub(crate) struct IoRole {
    tasks: Arc<TaskSet>,
    farewell: Farewell,
}

/// Drops the tasks that are left.
struct Closing(Arc<TaskSet>);

impl Drop for Closing {
    fn drop(&mut self) {
        self.0.close();
    }
}

impl IoRole {
    /// Runs the future returned by `main`, and all tasks spawned from it, where `io` says.
    ///
    /// # Errors
    /// `Unavailable` if the operating system provides no thread or no event queue.
    pub(crate) fn start<F>(
        io: Io,
        main: impl FnOnce(CancellationToken, GoodbyeGuard) -> F,
    ) -> Result<Self, Error>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let thread = SharedThread::get()?;
        let program = program(io);
        let tasks = TaskSet::new(program.clone(), thread.handle().clone());
        let (farewell, guard, ended) = Farewell::new();
        let main = tasks.spawn(main(farewell.stop_token(), guard));
        let closing = Closing(tasks.clone());
        let standing_by = tasks.clone();
        // What is dropped last is named first: the role has ended when no task is left, and the
        // thread may end after it.
        let handle = thread.handle().clone();
        handle.spawn(unconstrained(async move {
            let _thread = thread;
            let _ended = ended;
            let closing = closing;
            tokio::select! {
                _ = main => {}
                () = stand_by(&standing_by) => {}
            }
            drop(closing);
        }));
        if let Some(program) = program {
            program.spawn(unconstrained(ProgramRunner(tasks.clone())));
        }
        Ok(Self { tasks, farewell })
    }

    /// Returns the tasks, to spawn others beside them.
    pub(crate) fn tasks(&self) -> &Arc<TaskSet> {
        &self.tasks
    }

    /// Waits for `time` by the clock of the I/O thread, which tests do not pause; returns at once if
    /// the role has ended. Cancel safe.
    pub(crate) async fn sleep(&self, time: Duration) {
        self.tasks.spawn(async move { tokio::time::sleep(time).await }).await;
    }

    /// Requests the role to end.
    pub(crate) fn stop(&self) {
        self.farewell.stop();
    }

    /// Waits until the role has ended and its sockets are closed. Cancel safe.
    pub(crate) async fn ended(&self) {
        self.farewell.ended().await;
    }
}

impl Drop for IoRole {
    fn drop(&mut self) {
        self.farewell.stop();
        // A task of the thread that has to say goodbye must not wait for it.
        if SharedThread::is_current() || current().is_some_and(|set| Arc::ptr_eq(&set, &self.tasks))
        {
            return;
        }
        // The wait below blocks the runtime that would run the tasks.
        self.tasks.surrender();
        self.farewell.wait_until_said();
    }
}

/// Returns the runtime on which `io` puts a role that is started here.
fn program(io: Io) -> Option<Handle> {
    let runtime = Handle::try_current().ok()?;
    let there = match io {
        Io::Thread => false,
        Io::Auto | Io::Runtime => true,
    };
    (there && cfg!(unix)).then_some(runtime)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::sync::mpsc;
    use std::thread;
    use std::time::Instant;

    use tokio::runtime::{Builder, Runtime};
    use tokio::time::timeout;

    use super::*;
    use crate::transport::io::farewell::GOODBYE;

    const LONG: Duration = Duration::from_secs(60);

    /// Runtimes of each flavor; those of several threads have one, so that a task can block it.
    fn runtimes() -> [Runtime; 2] {
        let multi = Builder::new_multi_thread().worker_threads(1).enable_all().build();
        [Builder::new_current_thread().enable_all().build().unwrap(), multi.unwrap()]
    }

    fn role(io: Io) -> IoRole {
        IoRole::start(io, |stop, _| async move { stop.cancelled().await }).unwrap()
    }

    /// Runs `code` in a task of `runtime`.
    fn in_task<T: Send + 'static>(
        runtime: &Runtime,
        code: impl Future<Output = T> + Send + 'static,
    ) -> T {
        runtime.block_on(async { timeout(LONG, tokio::spawn(code)).await.unwrap().unwrap() })
    }

    /// Returns the name of the thread that runs the tasks of `role`.
    async fn place(role: &IoRole) -> Option<String> {
        let name = async { thread::current().name().map(str::to_owned) };
        role.tasks().spawn(name).await.unwrap()
    }

    #[test]
    fn tasks_run_where_the_option_says() {
        for runtime in runtimes() {
            let own = in_task(&runtime, async { thread::current().name().map(str::to_owned) });
            for (io, there) in [(Io::Auto, true), (Io::Runtime, true), (Io::Thread, false)] {
                let ran = in_task(&runtime, async move { place(&role(io)).await });
                let expected = if there { own.clone() } else { Some("easyremote-io".to_owned()) };
                assert_eq!(ran, expected, "{io:?}");
            }
        }
        for io in [Io::Auto, Io::Runtime, Io::Thread] {
            assert_eq!(pollster::block_on(place(&role(io))).as_deref(), Some("easyremote-io"));
        }
    }

    #[test]
    fn the_thread_takes_over_from_a_blocked_runtime_until_it_is_back() {
        for runtime in runtimes() {
            let own = in_task(&runtime, async { thread::current().name().map(str::to_owned) });
            let came_back = in_task(&runtime, async {
                let role = role(Io::Runtime);
                for _ in 0..3 {
                    let (send, done) = mpsc::channel();
                    // Both a timer and a wake-up from elsewhere have to arrive.
                    let (wake, woken) = tokio::sync::oneshot::channel();
                    thread::spawn(move || wake.send(()));
                    role.tasks()
                        .spawn(async move {
                            woken.await.unwrap();
                            tokio::time::sleep(Duration::from_millis(1)).await;
                            send.send(thread::current().name().map(str::to_owned)).unwrap();
                        })
                        .detach();
                    // This blocks the only thread of the runtime.
                    let ran = done.recv_timeout(LONG).unwrap();
                    assert_eq!(ran.as_deref(), Some("easyremote-io"));
                }
                while place(&role).await.as_deref() == Some("easyremote-io") {
                    tokio::task::yield_now().await;
                }
                place(&role).await
            });
            assert_eq!(came_back, own);
        }
    }

    #[test]
    fn tasks_outlive_their_runtime() {
        for runtime in runtimes() {
            let role = in_task(&runtime, async { role(Io::Runtime) });
            let (send, receive) = tokio::sync::oneshot::channel::<u8>();
            let waiting = role.tasks().spawn(receive);
            drop(runtime);
            let name = pollster::block_on(place(&role));
            assert_eq!(name.as_deref(), Some("easyremote-io"));
            send.send(7).unwrap();
            assert_eq!(pollster::block_on(waiting), Some(Ok(7)));
            role.stop();
            pollster::block_on(role.ended());
        }
    }

    #[test]
    fn dropping_the_handle_waits_for_the_goodbye_and_drops_the_tasks() {
        for runtime in runtimes() {
            for io in [Io::Thread, Io::Runtime] {
                in_task(&runtime, async move {
                    let said = Arc::new(AtomicBool::new(false));
                    let role = IoRole::start(io, |stop, guard| {
                        let said = said.clone();
                        async move {
                            stop.cancelled().await;
                            tokio::task::yield_now().await;
                            said.store(true, Ordering::SeqCst);
                            drop(guard);
                        }
                    });
                    let role = role.unwrap();
                    let left = role.tasks().spawn(std::future::pending::<()>());
                    let (tasks, over) = (role.tasks().clone(), role.farewell.over_token());
                    let began = Instant::now();
                    drop(role);
                    // On an overloaded machine the time may be over first.
                    let waited = began.elapsed() >= GOODBYE;
                    assert!(said.load(Ordering::SeqCst) || waited, "{io:?}");
                    over.cancelled().await;
                    assert_eq!(left.await, None);
                    assert_eq!(tasks.spawn(async { 1 }).await, None, "a closed set takes no task");
                });
            }
        }
    }

    #[test]
    fn a_task_that_panics_ends_nothing_else() {
        for io in [Io::Thread, Io::Runtime] {
            let [runtime, _] = runtimes();
            in_task(&runtime, async move {
                let role = role(io);
                assert_eq!(role.tasks().spawn(async { panic!("a task") }).await, None::<()>);
                assert_eq!(role.tasks().spawn(async { 1 }).await, Some(1));
            });
        }
    }

    #[test]
    fn a_task_that_is_dropped_is_cancelled_unless_it_is_detached() {
        let role = role(Io::Thread);
        let (send, receive) = mpsc::channel::<u8>();
        drop(role.tasks().spawn(async move {
            let _held = send;
            std::future::pending::<()>().await;
        }));
        assert_eq!(receive.recv_timeout(LONG), Err(mpsc::RecvTimeoutError::Disconnected));
        let (send, receive) = mpsc::channel::<u8>();
        role.tasks().spawn(async move { send.send(7) }).detach();
        assert_eq!(receive.recv_timeout(LONG), Ok(7));
    }

    #[test]
    fn a_task_of_the_role_may_drop_its_handle() {
        for io in [Io::Thread, Io::Runtime] {
            let [runtime, _] = runtimes();
            in_task(&runtime, async move {
                let role = role(io);
                let (tasks, over) = (role.tasks().clone(), role.farewell.over_token());
                tasks.spawn(async move { drop(role) }).detach();
                over.cancelled().await;
            });
        }
    }
}
