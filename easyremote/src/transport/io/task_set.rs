//! The tasks of one role, and who runs them.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Waker};

use async_task::{Builder, Runnable};
use futures::FutureExt;
use futures::task::AtomicWaker;
use parking_lot::Mutex;
use slab::Slab;
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::sync::Notify;

use crate::transport::io::task::IoTask;

/// Tasks that are ready to run are run in the order in which they were woken, by one place at a
/// time.
#[derive(Debug)]
pub(crate) struct TaskSet {
    queue: Mutex<RunQueue>,
    /// Wakes each task that has not ended: when the set is closed, the remaining ones are dropped.
    active: Mutex<Slab<Waker>>,
    /// Whether the place is [`RunPlace::Thread`]; written under the lock of `queue`.
    at_thread: AtomicBool,
    /// How often the program's runtime has run tasks.
    pub(super) turns: AtomicU64,
    /// Notified when the I/O thread has to run the tasks from now on, for good.
    pub(super) surrendered: Notify,
    /// Wake the tasks that wait for a socket, which another event queue watches from now on.
    sockets: Mutex<Vec<Weak<AtomicWaker>>>,
    /// Whether `program` is a current-thread runtime.
    in_order: bool,
    /// The program's runtime, if it runs the tasks.
    #[cfg_attr(not(unix), expect(dead_code, reason = "only sockets of Unix change the place"))]
    program: Option<Handle>,
    /// The runtime of the I/O thread, whose timers all tasks use.
    thread: Handle,
}

#[derive(Debug)]
struct RunQueue {
    ready: VecDeque<Runnable>,
    place: RunPlace,
    /// Whether the place never changes again.
    settled: bool,
    /// Wakes the place.
    waker: Option<Waker>,
    /// Tasks that run after the other tasks of the place's runtime have had a turn.
    yielded: Vec<Waker>,
    /// Whether the place has been woken since it found the queue empty.
    notified: bool,
    closed: bool,
}

/// Who runs the tasks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RunPlace {
    /// A task of the program's runtime.
    Program,
    /// The I/O thread.
    Thread,
}

/// Why a place stops to run tasks.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum TurnEnd {
    /// Another place runs them.
    Moved,
    /// All tasks have been dropped.
    Closed,
}

thread_local! {
    /// The set whose task runs on this thread.
    static CURRENT: RefCell<Option<Arc<TaskSet>>> = const { RefCell::new(None) };
}

/// Returns the set that the current task belongs to.
pub(crate) fn current() -> Option<Arc<TaskSet>> {
    CURRENT.with_borrow(Clone::clone)
}

/// Restores the thread's earlier set.
struct Restore(Option<Arc<TaskSet>>);

impl Drop for Restore {
    fn drop(&mut self) {
        CURRENT.set(self.0.take());
    }
}

impl TaskSet {
    /// Tasks run before the others of the same runtime get a turn.
    const BUDGET: u32 = 128;

    /// Creates a set whose tasks are run by a task of `program`, or without one by `thread`.
    pub(super) fn new(program: Option<Handle>, thread: Handle) -> Arc<Self> {
        let place = if program.is_some() { RunPlace::Program } else { RunPlace::Thread };
        let queue = RunQueue {
            ready: VecDeque::new(),
            place,
            settled: program.is_none(),
            waker: None,
            yielded: Vec::new(),
            notified: false,
            closed: false,
        };
        Arc::new(Self {
            queue: Mutex::new(queue),
            active: Mutex::default(),
            at_thread: AtomicBool::new(place == RunPlace::Thread),
            turns: AtomicU64::new(0),
            surrendered: Notify::new(),
            sockets: Mutex::default(),
            in_order: program.as_ref().is_some_and(is_current_thread),
            program,
            thread,
        })
    }

    /// Spawns a task.
    pub(crate) fn spawn<F>(self: &Arc<Self>, future: F) -> IoTask<F::Output>
    where
        F: Future<Output: Send> + Send + 'static,
    {
        let mut active = self.active.lock();
        let entry = active.vacant_entry();
        let listed = ActiveEntry { set: self.clone(), index: entry.key() };
        // Unwind safe: a task that has panicked is not polled again.
        let future = AssertUnwindSafe(future).catch_unwind();
        let task = async move {
            let _listed = listed;
            future.await.ok()
        };
        let set = self.clone();
        let schedule = move |runnable| set.schedule(runnable);
        let (runnable, task) = Builder::new().propagate_panic(true).spawn(|()| task, schedule);
        entry.insert(runnable.waker());
        drop(active);
        runnable.schedule();
        IoTask::in_set(task.fallible())
    }

    fn schedule(&self, runnable: Runnable) {
        let mut queue = self.queue.lock();
        if queue.closed {
            drop(queue);
            // Dropping it drops the task.
            return drop(runnable);
        }
        queue.ready.push_back(runnable);
        if std::mem::replace(&mut queue.notified, true) {
            return;
        }
        let waker = queue.waker.clone();
        drop(queue);
        // None before the first turn, which finds the task.
        waker.inspect(Waker::wake_by_ref);
    }

    /// Runs tasks at `place` until it is another's turn; `Pending` if none is ready.
    pub(super) fn poll_run(
        self: &Arc<Self>,
        place: RunPlace,
        context: &mut Context<'_>,
    ) -> Poll<TurnEnd> {
        let _restore = Restore(CURRENT.replace(Some(self.clone())));
        let _timers = self.thread.enter();
        for _ in 0..Self::BUDGET {
            let mut queue = self.queue.lock();
            if queue.closed {
                return Poll::Ready(TurnEnd::Closed);
            }
            if queue.place != place {
                return Poll::Ready(TurnEnd::Moved);
            }
            let Some(runnable) = queue.ready.pop_front() else {
                if !queue.yielded.is_empty() {
                    let yielded = std::mem::take(&mut queue.yielded);
                    drop(queue);
                    yielded.into_iter().for_each(Waker::wake);
                    break;
                }
                queue.notified = false;
                match &mut queue.waker {
                    Some(waker) => waker.clone_from(context.waker()),
                    none => *none = Some(context.waker().clone()),
                }
                return Poll::Pending;
            };
            drop(queue);
            runnable.run();
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }

    /// Changes the place, unless it is settled; with `settle`, for good. Returns whether it is
    /// `place` now.
    pub(super) fn move_to(&self, place: RunPlace, settle: bool) -> bool {
        let mut queue = self.queue.lock();
        let changes = queue.place != place && !queue.settled;
        queue.settled |= settle && (changes || queue.place == place);
        if !changes {
            return queue.place == place;
        }
        queue.place = place;
        self.at_thread.store(place == RunPlace::Thread, Ordering::SeqCst);
        // The next place runs first, and then keeps its own waker.
        queue.notified = true;
        let before = queue.waker.take();
        drop(queue);
        // The other place has to notice that it is over.
        before.inspect(Waker::wake_by_ref);
        self.sockets.lock().retain(|socket| match socket.upgrade() {
            Some(socket) => {
                socket.wake();
                true
            }
            None => false,
        });
        true
    }

    /// Wakes `task` after the other tasks of the runtime have had a turn.
    pub(super) fn wake_later(&self, task: Waker) {
        self.queue.lock().yielded.push(task);
    }

    /// Lets the I/O thread run the tasks from now on.
    pub(crate) fn surrender(&self) {
        self.move_to(RunPlace::Thread, true);
        self.surrendered.notify_one();
    }

    /// Wakes the place although there is nothing to do.
    pub(super) fn probe(&self) {
        let waker = self.queue.lock().waker.clone();
        waker.inspect(Waker::wake_by_ref);
    }

    /// Drops all tasks, and those that are spawned later.
    pub(super) fn close(&self) {
        let mut queue = self.queue.lock();
        queue.closed = true;
        let (ready, waker) = (std::mem::take(&mut queue.ready), queue.waker.take());
        drop(queue);
        drop(ready);
        let active = std::mem::take(&mut *self.active.lock());
        // Each is scheduled, and dropped instead of queued.
        active.into_iter().for_each(|(_, task)| task.wake());
        waker.inspect(Waker::wake_by_ref);
    }

    /// Whether the tasks run on a current-thread runtime of the program, which runs tasks in the order
    /// in which they were woken.
    pub(crate) fn runs_after_others(&self) -> bool {
        self.in_order && !self.at_thread.load(Ordering::Relaxed)
    }

    /// Whether the I/O thread runs the tasks.
    #[cfg(unix)]
    pub(crate) fn is_at_thread(&self) -> bool {
        self.at_thread.load(Ordering::SeqCst)
    }

    /// The runtime whose event queue watches sockets while the program runs the tasks.
    #[cfg(unix)]
    pub(crate) fn program(&self) -> Option<&Handle> {
        self.program.as_ref()
    }

    /// The runtime of the I/O thread.
    #[cfg(unix)]
    pub(crate) fn thread(&self) -> &Handle {
        &self.thread
    }

    /// Wakes `socket` whenever the place changes.
    #[cfg(unix)]
    pub(crate) fn add_socket(&self, socket: &Arc<AtomicWaker>) {
        self.sockets.lock().push(Arc::downgrade(socket));
    }
}

/// Whether `runtime` has one thread, which runs tasks in the order in which they were woken.
fn is_current_thread(runtime: &Handle) -> bool {
    runtime.runtime_flavor() == RuntimeFlavor::CurrentThread
}

/// Takes a task from the list of active ones when it ends.
struct ActiveEntry {
    set: Arc<TaskSet>,
    index: usize,
}

impl Drop for ActiveEntry {
    fn drop(&mut self) {
        // Absent if the set is being closed.
        self.set.active.lock().try_remove(self.index);
    }
}
