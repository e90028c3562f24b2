//! The wait queues: calls that wait for a free slot, per function and caller.
//!
//! ```text
//! push --> queue --take_next--> granted a permit
//!            |--take_unless--> failed: no node can run it any more
//!            |--remove-------> cancelled, or past its deadline
//!            +--push of another call, if the queue is full--> refused
//! ```
//!
//! Everything here happens under the router's lock. A call leaves the queue by exactly one of these
//! ways, and the one that takes it out also decrements the router's count of waiting calls; a grant
//! that races with a cancellation therefore finds either the call or nothing.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;
use std::sync::Arc;

use tokio::sync::oneshot;

use crate::error::Error;
use crate::gateway::routing::waits::WaitStart;
use crate::wire::header::CallHeader;
use crate::wire::limits::MAX_WAITING;

/// A call that waits for a permit `P`.
#[derive(Debug)]
pub(crate) struct WaitingCall<P> {
    pub(crate) start: WaitStart,
    /// The number of the session that it belongs to.
    pub(crate) caller: u64,
    pub(crate) header: Arc<CallHeader>,
    pub(crate) grant: oneshot::Sender<Result<P, Error>>,
}

/// The queues of all functions. Served round-robin over functions, and over the callers of each.
#[derive(Debug)]
pub(crate) struct WaitQueues<P> {
    queues: BTreeMap<String, WaitQueue<P>>,
    /// The function that was served last.
    last: String,
}

// Not derived: that would require `P: Default`.
impl<P> Default for WaitQueues<P> {
    fn default() -> Self {
        Self { queues: BTreeMap::new(), last: String::new() }
    }
}

impl<P> WaitQueues<P> {
    /// Adds a call. If the queue is full, returns the call that must be refused.
    pub(crate) fn push(&mut self, call: WaitingCall<P>) -> Option<WaitingCall<P>> {
        self.queues.entry(call.header.function.to_string()).or_default().push(call)
    }

    /// Removes a call that has stopped waiting; returns whether it was still queued.
    pub(crate) fn remove(&mut self, function: &str, caller: u64, ticket: u64) -> bool {
        let Some(queue) = self.queues.get_mut(function) else { return false };
        let was_there = queue.remove(caller, ticket);
        if queue.is_empty() {
            self.queues.remove(function);
        }
        was_there
    }

    /// Returns the number of waiting calls.
    pub(crate) fn n_calls(&self) -> usize {
        self.queues.values().map(|queue| queue.n_calls).sum()
    }

    /// Returns the number of waiting calls of each function.
    pub(crate) fn waiting(&self) -> BTreeMap<String, u64> {
        let n_calls =
            |(name, queue): (&String, &WaitQueue<P>)| (name.clone(), queue.n_calls as u64);
        self.queues.iter().map(n_calls).collect()
    }

    /// Returns the first `n` calls, in turn over functions.
    pub(crate) fn first(&self, n: usize) -> Vec<&WaitingCall<P>> {
        let queues = self.queues.values();
        let mut queues: Vec<_> =
            queues.map(|queue| queue.lines.iter().flat_map(|line| &line.calls)).collect();
        let mut first = Vec::new();
        loop {
            let before = first.len();
            first.extend(queues.iter_mut().filter_map(Iterator::next).take(n - before));
            if first.len() == before {
                return first;
            }
        }
    }

    /// Takes the next call that is accepted, in turn. `route` is evaluated once per function, and
    /// `accept` for each of its calls if it returns a route.
    pub(crate) fn take_next<R, T>(
        &mut self,
        route: impl Fn(&str) -> Option<R>,
        accept: impl Fn(&R, &CallHeader) -> Option<T>,
    ) -> Option<(WaitingCall<P>, T)> {
        let last = self.last.as_str();
        let after = self.queues.range::<str, _>((Bound::Excluded(last), Bound::Unbounded));
        let before = self.queues.range::<str, _>((Bound::Unbounded, Bound::Included(last)));
        let mut in_turn = after.chain(before);
        let (name, position, accepted) = in_turn.find_map(|(name, queue)| {
            let route = route(name)?;
            let (position, accepted) = queue.find(|header| accept(&route, header))?;
            Some((name.clone(), position, accepted))
        })?;
        let queue = self.queues.get_mut(&name)?;
        let call = queue.take(position)?;
        if queue.is_empty() {
            self.queues.remove(&name);
        }
        self.last = name;
        Some((call, accepted))
    }

    /// Takes the calls of a function for which `waits` returns false.
    pub(crate) fn take_unless(
        &mut self,
        function: &str,
        waits: impl Fn(&CallHeader) -> bool,
    ) -> Vec<WaitingCall<P>> {
        let Some(queue) = self.queues.get_mut(function) else { return Vec::new() };
        let taken = queue.take_unless(waits);
        if queue.is_empty() {
            self.queues.remove(function);
        }
        taken
    }
}

/// The waiting calls of one function: round-robin over callers, in order for each caller.
#[derive(Debug)]
struct WaitQueue<P> {
    /// The caller to serve next is first.
    lines: VecDeque<CallerLine<P>>,
    n_calls: usize,
}

/// The waiting calls of one caller; never empty.
#[derive(Debug)]
struct CallerLine<P> {
    caller: u64,
    calls: VecDeque<WaitingCall<P>>,
}

/// The position of a call: the index of its line, and its index there.
#[derive(Clone, Copy, Debug)]
struct QueuePosition(usize, usize);

impl<P> Default for WaitQueue<P> {
    fn default() -> Self {
        Self { lines: VecDeque::new(), n_calls: 0 }
    }
}

impl<P> WaitQueue<P> {
    fn is_empty(&self) -> bool {
        self.n_calls == 0
    }

    /// Adds a call at the end of its caller's line.
    ///
    /// If [`MAX_WAITING`] calls are queued, returns the call that must be refused: the last one of
    /// the longest line, or the new one if its caller has as many. A caller with many calls
    /// therefore does not lock out one with few.
    fn push(&mut self, call: WaitingCall<P>) -> Option<WaitingCall<P>> {
        let mut refused = None;
        if self.n_calls >= MAX_WAITING {
            // Compared with one more than the caller has: otherwise two callers with equally long
            // lines would take each other's slots back and forth.
            let own = self.lines.iter().find(|line| line.caller == call.caller);
            let own = own.map_or(0, |line| line.calls.len());
            let longest = (0..self.lines.len()).max_by_key(|&i| self.lines[i].calls.len());
            match longest {
                Some(i) if self.lines[i].calls.len() > own + 1 => {
                    refused = self.lines[i].calls.pop_back();
                    self.n_calls -= 1;
                }
                _ => return Some(call),
            }
        }
        self.n_calls += 1;
        match self.lines.iter_mut().find(|line| line.caller == call.caller) {
            Some(line) => line.calls.push_back(call),
            None => {
                let caller = call.caller;
                self.lines.push_back(CallerLine { caller, calls: [call].into() });
            }
        }
        refused
    }

    /// Finds the first accepted call of the first caller that has one.
    fn find<T>(&self, accept: impl Fn(&CallHeader) -> Option<T>) -> Option<(QueuePosition, T)> {
        self.lines.iter().enumerate().find_map(|(line, it)| {
            it.calls.iter().enumerate().find_map(|(call, waiting)| {
                Some((QueuePosition(line, call), accept(&waiting.header)?))
            })
        })
    }

    /// Takes the call at a position, and moves its caller to the end of the round.
    fn take(&mut self, QueuePosition(line, call): QueuePosition) -> Option<WaitingCall<P>> {
        let mut line = self.lines.remove(line)?;
        let call = line.calls.remove(call);
        self.n_calls -= usize::from(call.is_some());
        if !line.calls.is_empty() {
            self.lines.push_back(line);
        }
        call
    }

    fn remove(&mut self, caller: u64, ticket: u64) -> bool {
        let Some(line) = self.lines.iter().position(|line| line.caller == caller) else {
            return false;
        };
        let calls = &mut self.lines[line].calls;
        let Some(call) = calls.iter().position(|call| call.start.ticket == ticket) else {
            return false;
        };
        calls.remove(call);
        self.n_calls -= 1;
        if calls.is_empty() {
            self.lines.remove(line);
        }
        true
    }

    fn take_unless(&mut self, waits: impl Fn(&CallHeader) -> bool) -> Vec<WaitingCall<P>> {
        let mut taken = Vec::new();
        for line in &mut self.lines {
            for call in std::mem::take(&mut line.calls) {
                match waits(&call.header) {
                    true => line.calls.push_back(call),
                    false => taken.push(call),
                }
            }
        }
        self.lines.retain(|line| !line.calls.is_empty());
        self.n_calls -= taken.len();
        taken
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::wire::codec::Codec;
    use crate::wire::kind::Kind;

    fn call(caller: u64, ticket: u64) -> WaitingCall<()> {
        call_of("f", caller, ticket)
    }

    fn call_of(function: &str, caller: u64, ticket: u64) -> WaitingCall<()> {
        let header = CallHeader::new([0; 16], function.to_owned(), Kind::Unary, Codec::Bincode);
        let (header, since) = (Arc::new(header), Instant::now());
        let start = WaitStart { ticket, since };
        WaitingCall { start, caller, header, grant: oneshot::channel().0 }
    }

    #[test]
    fn callers_take_turns_and_keep_their_order() {
        let mut queues = WaitQueues::default();
        for (caller, ticket) in [(1, 1), (1, 2), (1, 3), (2, 4), (3, 5), (2, 6)] {
            assert!(queues.push(call(caller, ticket)).is_none());
        }
        let mut next =
            || queues.take_next(|_| Some(()), |(), _| Some(())).map(|(it, ())| it.start.ticket);
        assert_eq!(std::iter::from_fn(&mut next).collect::<Vec<_>>(), [1, 4, 5, 2, 6, 3]);
        assert!(queues.queues.is_empty());
    }

    #[test]
    fn functions_take_turns() {
        let mut queues = WaitQueues::default();
        for (function, ticket) in [("f", 1), ("f", 2), ("g", 3), ("h", 4), ("g", 5)] {
            assert!(queues.push(call_of(function, 1, ticket)).is_none());
        }
        let route = |function: &str| (function != "h").then_some(());
        let mut next =
            || queues.take_next(route, |(), _| Some(())).map(|(call, ())| call.start.ticket);
        assert_eq!(std::iter::from_fn(&mut next).collect::<Vec<_>>(), [1, 3, 2, 5]);
        assert_eq!(queues.queues.len(), 1);
    }

    #[test]
    fn the_first_calls_are_of_all_functions() {
        let mut queues = WaitQueues::default();
        for (function, ticket) in [("f", 1), ("f", 2), ("f", 3), ("g", 4), ("h", 5)] {
            assert!(queues.push(call_of(function, ticket, ticket)).is_none());
        }
        let first = |n| queues.first(n).iter().map(|call| call.start.ticket).collect::<Vec<_>>();
        assert_eq!((first(0), first(2)), (vec![], vec![1, 4]));
        assert_eq!((first(4), first(99)), (vec![1, 4, 5, 2], vec![1, 4, 5, 2, 3]));
    }

    #[test]
    fn a_full_queue_refuses_the_caller_that_has_most() {
        let mut queue = WaitQueue::default();
        for ticket in 0..MAX_WAITING as u64 {
            assert!(queue.push(call(1, ticket)).is_none());
        }
        let refused = queue.push(call(1, 9_999)).unwrap();
        assert_eq!(refused.start.ticket, 9_999, "it has most itself");
        for n in 1..=MAX_WAITING as u64 / 2 {
            let refused = queue.push(call(2, 10_000 + n)).unwrap();
            assert_eq!((refused.caller, refused.start.ticket), (1, MAX_WAITING as u64 - n));
        }
        assert_eq!(queue.push(call(2, 20_000)).unwrap().start.ticket, 20_000, "now both have half");
        assert_eq!(queue.n_calls, MAX_WAITING);
    }

    #[test]
    fn calls_that_leave_are_not_counted() {
        let mut queues = WaitQueues::default();
        for (caller, ticket) in [(1, 1), (2, 2), (1, 3)] {
            assert!(queues.push(call(caller, ticket)).is_none());
        }
        assert!(queues.remove("f", 1, 1) && !queues.remove("f", 1, 1));
        assert!(!queues.remove("f", 7, 1) && !queues.remove("g", 1, 3));
        assert!(queues.remove("f", 2, 2));
        assert_eq!(queues.take_unless("f", |_| false).len(), 1);
        assert!(queues.queues.is_empty());
    }
}
