//! Deadlines of calls: waiting until one passes, and finding the next of many.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::convert::Infallible;
use std::fmt;
use std::future::{Future, pending};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use crate::error::{Error, ErrorKind};

/// The error of a future that was not ready before the deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DeadlinePassed;

/// Returns the current time by the clock of the I/O threads, which enforce all deadlines. Unlike
/// `tokio::time::Instant::now`, it goes on when a test has paused the clock of the caller's
/// runtime.
pub(crate) fn now() -> Instant {
    Instant::from_std(std::time::Instant::now())
}

/// Waits for `future` until `deadline`, or without limit if that is `None`.
///
/// `future` is polled first: its output is returned if it is ready, even after the deadline.
///
/// # Errors
/// [`DeadlinePassed`] if it is not ready by then; `future` has been dropped.
///
/// # Cancel safety
/// As for `future`.
pub(crate) async fn within<F: Future>(
    deadline: Option<Instant>,
    future: F,
) -> Result<F::Output, DeadlinePassed> {
    tokio::select! {
        biased;
        output = future => Ok(output),
        () = passes(deadline) => Err(DeadlinePassed),
    }
}

/// Resolves at `deadline`, or never if that is `None`.
pub(crate) async fn passes(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => pending().await,
    }
}

/// Returns the error of a call whose deadline has passed. `text` names the call and the party, and
/// `limit` is the time that the call had.
pub(crate) fn late(text: fmt::Arguments<'_>, limit: Option<Duration>) -> Error {
    let text = match limit {
        None => text.to_string(),
        Some(Duration::ZERO) => format!("{text} before it could begin"),
        Some(limit) => format!("{text} after {:?}", rounded(limit)),
    };
    Error::new(ErrorKind::DeadlineExceeded, text)
}

/// Rounds `limit` to milliseconds, or to microseconds below 10 ms, so that a timeout of 50 ms is
/// displayed as that and not as 49.997 ms.
fn rounded(limit: Duration) -> Duration {
    let unit = if limit < Duration::from_millis(10) { 1_000 } else { 1_000_000 };
    let units = (limit.as_nanos() + unit / 2) / unit;
    Duration::from_nanos(u64::try_from(units * unit).unwrap_or(u64::MAX))
}

/// Returns whether `deadline` has passed.
pub(crate) fn has_passed(deadline: Option<Instant>) -> bool {
    // Most calls have no deadline, and need not read the clock.
    deadline.is_some_and(|deadline| deadline <= now())
}

/// The deadlines of many calls, by key. A call that ends before its deadline need not be removed.
#[derive(Debug)]
pub(crate) struct Deadlines<K> {
    heap: BinaryHeap<Reverse<(Instant, K)>>,
}

impl<K: Ord> Default for Deadlines<K> {
    fn default() -> Self {
        Self { heap: BinaryHeap::new() }
    }
}

impl<K: Ord + Copy> Deadlines<K> {
    /// Adds a call, and returns whether its deadline is the next one.
    ///
    /// `n_live` is the number of live calls, and `is_live` returns whether a key is one of them.
    /// The keys of ended calls are removed once they are more than half of all, so that many short
    /// calls with distant deadlines cost little memory.
    pub(crate) fn add(
        &mut self,
        deadline: Instant,
        key: K,
        n_live: usize,
        is_live: impl Fn(K) -> bool,
    ) -> bool {
        if self.heap.len() > 2 * n_live + 64 {
            self.heap.retain(|Reverse((_, key))| is_live(*key));
        }
        let first = self.next().is_none_or(|next| deadline < next);
        self.heap.push(Reverse((deadline, key)));
        first
    }

    /// Returns the next deadline.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.heap.peek().map(|Reverse((deadline, _))| *deadline)
    }

    /// Removes and returns a call whose deadline has passed by `now`.
    pub(crate) fn take(&mut self, now: Instant) -> Option<K> {
        if self.next()? > now {
            return None;
        }
        self.heap.pop().map(|Reverse((_, key))| key)
    }
}

/// Runs `passed` whenever the deadline that `next` returns has passed. Calls `next` again when
/// `sooner` is notified. Cancel safe.
pub(crate) async fn watch(
    sooner: &Notify,
    next: impl Fn() -> Option<Instant>,
    mut passed: impl FnMut(Instant),
) -> Infallible {
    loop {
        // `Notify` stores a permit: a deadline that is added between `next` and the wait is not
        // missed.
        tokio::select! {
            () = passes(next()) => passed(Instant::now()),
            () = sooner.notified() => {}
        }
    }
}

#[cfg(test)]
mod tests {
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
        for key in 0..10_000 {
            deadlines.add(at(100), key, 1, |live| live == key || live == 5);
            assert!(deadlines.heap.len() <= 2 + 64 + 1);
        }
        assert_eq!(deadlines.take(at(5)), Some(5));
    }

    #[test]
    fn an_error_says_how_long_there_was() {
        let shown = |limit| late(format_args!("the deadline of `f` passed"), limit).to_string();
        let (ms, us) = (Duration::from_millis, Duration::from_micros);
        for (limit, text) in [
            (ms(50), "50ms"),
            (ms(50) - us(3), "50ms"),
            (ms(1_500) - us(40), "1.5s"),
            (us(300), "300µs"),
            (ms(2) - Duration::from_nanos(90), "2ms"),
            (Duration::from_secs(60), "60s"),
        ] {
            assert_eq!(shown(Some(limit)), format!("the deadline of `f` passed after {text}"));
        }
        assert_eq!(shown(None), "the deadline of `f` passed");
        assert_eq!(shown(Some(ms(0))), "the deadline of `f` passed before it could begin");
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_ready_counts_and_what_is_not_ends_at_the_deadline() {
        let now = Instant::now();
        assert_eq!(within(Some(now), async { 1 }).await, Ok(1));
        let never = within(Some(now + Duration::from_secs(1)), pending::<()>());
        assert_eq!(never.await, Err(DeadlinePassed));
        assert_eq!(now.elapsed(), Duration::from_secs(1));
        assert!(has_passed(Some(now)) && !has_passed(None));
    }
}
