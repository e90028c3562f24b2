//! How far the reader of a stream has come.

use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tokio::sync::Notify;

/// The number of items of one stream that its reader has taken.
///
/// An item is *taken* once its reader has come back for the one after it: it has been returned
/// from a poll, and the program is done with it. That an item has been received does not count.
///
/// The client has one for its reader, and sends it to the node in `Taken` frames; the node has one
/// for what has arrived. Any number of tasks and threads may wait on it.
#[derive(Debug, Default)]
pub(crate) struct Demand {
    taken: AtomicU64,
    /// See [`set_behind`](Self::set_behind).
    behind: AtomicBool,
    changed: Notify,
}

impl Demand {
    /// Returns the number of items that have been taken.
    pub(crate) fn taken(&self) -> u64 {
        self.taken.load(Ordering::Acquire)
    }

    /// Notes that `items` have been taken in all. A number that is not larger than the one before
    /// has no effect.
    pub(crate) fn raise(&self, items: u64) {
        if self.taken.fetch_max(items, Ordering::AcqRel) < items {
            self.changed.notify_waiters();
        }
    }

    /// Waits until more than `items` have been taken, and returns how many.
    ///
    /// # Cancel safety
    /// Dropping the future ends the wait and nothing else.
    pub(crate) async fn above(&self, items: u64) -> u64 {
        self.until(|| Some(self.taken()).filter(|taken| *taken > items)).await
    }

    /// Notes whether what the reader has taken may be unknown, because it is behind items of the
    /// caller's stream that the function has not read.
    ///
    /// A function must not be held up then until its items are taken: it may have to go on before
    /// it reads what is in the way.
    pub(crate) fn set_behind(&self, behind: bool) {
        self.behind.store(behind, Ordering::Release);
        if behind {
            self.changed.notify_waiters();
        }
    }

    /// Waits until the producer may go on: at least `items` have been taken, or that
    /// [may be unknown](Self::set_behind).
    ///
    /// # Cancel safety
    /// As for [`above`](Self::above).
    pub(crate) async fn allows(&self, items: u64) {
        self.until(|| {
            let allowed = self.taken() >= items || self.behind.load(Ordering::Acquire);
            allowed.then_some(())
        })
        .await;
    }

    async fn until<T>(&self, ready: impl Fn() -> Option<T>) -> T {
        loop {
            let mut changed = pin!(self.changed.notified());
            // Registered before the look: a change in between wakes it.
            changed.as_mut().enable();
            match ready() {
                Some(found) => return found,
                None => changed.await,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::thread;

    use super::*;

    #[test]
    fn every_waiter_sees_every_step() {
        const STEPS: u64 = 1_000;
        let demand = Arc::new(Demand::default());
        let waiters: Vec<_> = (0..3)
            .map(|_| {
                let demand = demand.clone();
                thread::spawn(move || {
                    let mut seen = 0;
                    while seen < STEPS {
                        let now = pollster::block_on(demand.above(seen));
                        assert!(now > seen);
                        seen = now;
                    }
                })
            })
            .collect();
        (1..=STEPS).for_each(|step| demand.raise(step));
        waiters.into_iter().for_each(|waiter| waiter.join().unwrap());
    }

    #[test]
    fn it_never_falls() {
        let demand = Demand::default();
        demand.raise(7);
        demand.raise(3);
        assert_eq!(demand.taken(), 7);
    }

    #[test]
    fn a_reader_that_cannot_be_heard_holds_nobody_up() {
        let demand = Demand::default();
        demand.set_behind(true);
        pollster::block_on(demand.allows(5));
        demand.set_behind(false);
        demand.raise(5);
        pollster::block_on(demand.allows(5));
    }
}
