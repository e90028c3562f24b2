//! When the calls on a mux are over.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::convert::Infallible;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use crate::wire::mux::MuxId;

/// When each of many calls is over; those that end before need not be taken out.
#[derive(Debug, Default)]
pub(crate) struct Deadlines {
    heap: BinaryHeap<Reverse<(Instant, MuxId)>>,
}

impl Deadlines {
    /// Adds a call. Says whether it is the first one to be over now.
    ///
    /// `n_live` calls are still there, which `is_live` tells from the others: those are swept out
    /// whenever they are more than half, so that many short calls with long deadlines cost little.
    pub(crate) fn add(
        &mut self,
        deadline: Instant,
        id: MuxId,
        n_live: usize,
        is_live: impl Fn(MuxId) -> bool,
    ) -> bool {
        if self.heap.len() > 2 * n_live + 64 {
            self.heap.retain(|Reverse((_, id))| is_live(*id));
        }
        let first = self.next().is_none_or(|next| deadline < next);
        self.heap.push(Reverse((deadline, id)));
        first
    }

    /// When the next call is over.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.heap.peek().map(|Reverse((deadline, _))| *deadline)
    }

    /// Takes a call out that is over by `now`.
    pub(crate) fn take(&mut self, now: Instant) -> Option<MuxId> {
        if self.next()? > now {
            return None;
        }
        self.heap.pop().map(|Reverse((_, id))| id)
    }
}

/// Says `over` whenever the time of the `next` call is over, and looks again when one is `sooner`.
/// Cancel safe.
pub(crate) async fn watch(
    sooner: &Notify,
    next: impl Fn() -> Option<Instant>,
    mut over: impl FnMut(Instant),
) -> Infallible {
    loop {
        let due = async {
            match next() {
                Some(next) => sleep_until(next).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = due => over(Instant::now()),
            () = sooner.notified() => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn calls_are_over_in_order_and_those_that_ended_are_swept_out() {
        let now = Instant::now();
        let at = |seconds| now + Duration::from_secs(seconds);
        let mut deadlines = Deadlines::default();
        assert!(deadlines.add(at(5), 5, 0, |_| true));
        assert!(deadlines.add(at(3), 3, 1, |_| true));
        assert!(!deadlines.add(at(4), 4, 2, |_| true));
        assert_eq!(deadlines.take(at(2)), None);
        assert_eq!((deadlines.take(at(4)), deadlines.take(at(4))), (Some(3), Some(4)));
        for id in 0..10_000 {
            deadlines.add(at(100), id, 1, |live| live == id || live == 5);
            assert!(deadlines.heap.len() <= 2 + 64 + 1);
        }
        assert_eq!(deadlines.take(at(5)), Some(5));
    }
}
