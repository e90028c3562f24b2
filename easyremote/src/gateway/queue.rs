//! Calls of one function that wait for a node with room.

use std::collections::VecDeque;

use tokio::sync::oneshot;

use crate::error::Error;
use crate::gateway::routes::Place;
use crate::wire::header::CallHeader;
use crate::wire::limits::MAX_WAITING;

/// A call that waits.
#[derive(Debug)]
pub(super) struct Waiter {
    /// Which of those that wait now it is.
    pub(super) ticket: u64,
    /// The number of the connection that it came over.
    pub(super) caller: u64,
    pub(super) header: CallHeader,
    pub(super) grant: oneshot::Sender<Result<Place, Error>>,
}

/// The calls of one function that wait: callers take turns, the calls of each stay in order.
#[derive(Debug, Default)]
pub(super) struct Queue {
    /// The caller whose turn it is comes first.
    lines: VecDeque<Line>,
    length: usize,
}

/// The calls of one caller; never empty.
#[derive(Debug)]
struct Line {
    caller: u64,
    waiters: VecDeque<Waiter>,
}

/// Where a call waits.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spot {
    line: usize,
    waiter: usize,
}

impl Queue {
    pub(super) fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Adds a call at the end of its caller's line.
    ///
    /// If [`MAX_WAITING`] wait already, one of them has to go, and is given back: the last one of
    /// the longest line, or the new one if its caller has no fewer than that. So a caller with many
    /// calls does not keep out one with few.
    pub(super) fn push(&mut self, waiter: Waiter) -> Option<Waiter> {
        let mut refused = None;
        if self.length >= MAX_WAITING {
            let own = self.lines.iter().find(|line| line.caller == waiter.caller);
            let own = own.map_or(0, |line| line.waiters.len());
            let longest = (0..self.lines.len()).max_by_key(|&i| self.lines[i].waiters.len());
            match longest {
                Some(i) if self.lines[i].waiters.len() > own + 1 => {
                    refused = self.lines[i].waiters.pop_back();
                    self.length -= 1;
                }
                _ => return Some(waiter),
            }
        }
        self.length += 1;
        match self.lines.iter_mut().find(|line| line.caller == waiter.caller) {
            Some(line) => line.waiters.push_back(waiter),
            None => {
                let caller = waiter.caller;
                self.lines.push_back(Line { caller, waiters: [waiter].into() });
            }
        }
        refused
    }

    /// The first call that fits, of the first caller that has one.
    pub(super) fn find(&self, fits: impl Fn(&CallHeader) -> bool) -> Option<Spot> {
        let spot = |(line, it): (usize, &Line)| {
            let waiter = it.waiters.iter().position(|waiter| fits(&waiter.header))?;
            Some(Spot { line, waiter })
        };
        self.lines.iter().enumerate().find_map(spot)
    }

    /// Takes the call at `spot` out; it is the turn of the other callers then.
    pub(super) fn take(&mut self, spot: Spot) -> Option<Waiter> {
        let mut line = self.lines.remove(spot.line)?;
        let waiter = line.waiters.remove(spot.waiter);
        self.length -= usize::from(waiter.is_some());
        if !line.waiters.is_empty() {
            self.lines.push_back(line);
        }
        waiter
    }

    /// Takes a call out that is not waited for any more. Says whether it was there.
    pub(super) fn remove(&mut self, caller: u64, ticket: u64) -> bool {
        let Some(line) = self.lines.iter().position(|line| line.caller == caller) else {
            return false;
        };
        let waiters = &mut self.lines[line].waiters;
        let Some(waiter) = waiters.iter().position(|waiter| waiter.ticket == ticket) else {
            return false;
        };
        waiters.remove(waiter);
        self.length -= 1;
        if waiters.is_empty() {
            self.lines.remove(line);
        }
        true
    }

    /// Takes out the calls for which there is an error.
    pub(super) fn drain_if(
        &mut self,
        error: impl Fn(&CallHeader) -> Option<Error>,
    ) -> Vec<(Waiter, Error)> {
        let mut out = Vec::new();
        for line in &mut self.lines {
            for waiter in std::mem::take(&mut line.waiters) {
                match error(&waiter.header) {
                    Some(error) => out.push((waiter, error)),
                    None => line.waiters.push_back(waiter),
                }
            }
        }
        self.lines.retain(|line| !line.waiters.is_empty());
        self.length -= out.len();
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;
    use crate::wire::codec::Codec;
    use crate::wire::kind::Kind;

    fn waiter(caller: u64, ticket: u64) -> Waiter {
        let header = CallHeader::new([0; 16], "f".into(), Kind::Unary, Codec::Bincode);
        Waiter { ticket, caller, header, grant: oneshot::channel().0 }
    }

    fn next(queue: &mut Queue) -> Option<(u64, u64)> {
        let waiter = queue.take(queue.find(|_| true)?)?;
        Some((waiter.caller, waiter.ticket))
    }

    #[test]
    fn callers_take_turns_and_keep_their_order() {
        let mut queue = Queue::default();
        for (caller, ticket) in [(1, 1), (1, 2), (1, 3), (2, 4), (3, 5), (2, 6)] {
            assert!(queue.push(waiter(caller, ticket)).is_none());
        }
        let order: Vec<u64> =
            std::iter::from_fn(|| next(&mut queue)).map(|(_, ticket)| ticket).collect();
        assert_eq!(order, [1, 4, 5, 2, 6, 3]);
        assert!(queue.is_empty());
    }

    #[test]
    fn a_full_queue_refuses_the_caller_that_has_most() {
        let mut queue = Queue::default();
        for ticket in 0..MAX_WAITING as u64 {
            assert!(queue.push(waiter(1, ticket)).is_none());
        }
        let refused = queue.push(waiter(1, 9_999)).unwrap();
        assert_eq!(refused.ticket, 9_999, "it has most itself");
        for n in 1..=MAX_WAITING as u64 / 2 {
            let refused = queue.push(waiter(2, 10_000 + n)).unwrap();
            assert_eq!((refused.caller, refused.ticket), (1, MAX_WAITING as u64 - n));
        }
        assert_eq!(queue.push(waiter(2, 20_000)).unwrap().ticket, 20_000, "now both have half");
        assert_eq!(queue.length, MAX_WAITING);
    }

    #[test]
    fn who_leaves_is_not_counted() {
        let mut queue = Queue::default();
        for (caller, ticket) in [(1, 1), (2, 2), (1, 3)] {
            assert!(queue.push(waiter(caller, ticket)).is_none());
        }
        assert!(queue.remove(1, 1) && !queue.remove(1, 1) && !queue.remove(7, 1));
        assert!(queue.remove(2, 2));
        let failed = queue.drain_if(|_| Some(Error::new(ErrorKind::NoNode, "gone")));
        assert_eq!(failed.len(), 1);
        assert!(queue.is_empty() && queue.lines.is_empty());
    }
}
