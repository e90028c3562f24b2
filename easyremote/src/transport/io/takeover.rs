//! Runs a role's tasks, and takes over from a runtime that does not.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::sync::{Arc, LazyLock};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use crate::transport::io::task_set::{RunPlace, TaskSet, TurnEnd};

/// Time after which a runtime that was woken has to run the tasks; up to twice as long in practice.
const PATIENCE: Duration = Duration::from_millis(50);

/// Period at which a runtime without I/O is woken, to see whether it is blocked.
const IDLE: Duration = Duration::from_secs(1);

/// Runs the tasks on the program's runtime.
pub(super) struct ProgramRunner(pub(super) Arc<TaskSet>);

impl Future for ProgramRunner {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let set = &self.0;
        set.turns.fetch_add(1, Ordering::Relaxed);
        if !set.move_to(RunPlace::Program, false) {
            // Surrendered.
            return Poll::Ready(());
        }
        match set.poll_run(RunPlace::Program, context) {
            Poll::Ready(TurnEnd::Closed) => Poll::Ready(()),
            // The I/O thread has taken over since the line above: the next poll takes back.
            Poll::Ready(TurnEnd::Moved) => {
                context.waker().wake_by_ref();
                Poll::Pending
            }
            Poll::Pending => Poll::Pending,
        }
    }
}

impl Drop for ProgramRunner {
    fn drop(&mut self) {
        // The runtime has ended, or the set is closed and it makes no difference.
        self.0.surrender();
    }
}

/// Returns a time at least `pause` and less than `pause + PATIENCE` from now. The times of all roles
/// coincide, so that many of them wake the I/O thread together.
fn tick_after(pause: Duration) -> Instant {
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    let period = PATIENCE.as_millis() as u64;
    let after = (START.elapsed() + pause).as_millis() as u64;
    *START + Duration::from_millis((after / period + 1) * period)
}

/// Runs the tasks on the I/O thread whenever the program's runtime does not. Ends when the set is
/// closed.
pub(super) async fn stand_by(set: &Arc<TaskSet>) {
    let run = || poll_fn(|context| set.poll_run(RunPlace::Thread, context));
    let (mut seen, mut probed, mut pause) = (None, false, PATIENCE);
    while run().await != TurnEnd::Closed {
        let surrendered = tokio::select! {
            () = sleep_until(tick_after(pause)) => false,
            () = set.surrendered.notified() => true,
        };
        let turns = Some(set.turns.load(Ordering::Relaxed));
        if surrendered {
            // The next turn of the loop runs them.
        } else if turns != seen {
            // It is at work, or has answered the probe.
            (pause, probed) = (if probed { IDLE } else { PATIENCE }, false);
        } else if probed {
            tracing::debug!("the runtime is blocked: the I/O thread takes over");
            set.move_to(RunPlace::Thread, false);
            (pause, probed) = (PATIENCE, false);
        } else {
            set.probe();
            (pause, probed) = (PATIENCE, true);
        }
        seen = turns;
    }
}
