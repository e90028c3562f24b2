//! The calls that wait for a run, and when the first of them leave.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use crate::call::batch_meter::BatchReason;

/// A call that waits.
#[derive(Debug)]
pub(super) struct Waiting<T> {
    pub(super) call: T,
    /// At least 1.
    pub(super) weight: u64,
    pub(super) since: Instant,
    /// When the call has to leave for its deadline.
    pub(super) latest: Option<Instant>,
}

impl<T> Waiting<T> {
    /// Returns when a batch with the call leaves at the latest, and why.
    pub(super) fn leaves(&self, wait: Duration) -> (Instant, BatchReason) {
        let waited = self.since + wait;
        match self.latest {
            Some(latest) if latest < waited => (latest, BatchReason::Deadline),
            _ => (waited, BatchReason::Waited),
        }
    }
}

/// Returns when a call has to leave, to be answered by its deadline. `run` is how long the function
/// usually takes, and `rtt` the round trip to the gateway.
///
/// A quarter of the call's time is kept in reserve. A function that has not run yet, whose `run` is
/// zero, may take any time: half of the call's is left to it.
pub(super) fn latest(since: Instant, deadline: Instant, run: Duration, rtt: Duration) -> Instant {
    let left = deadline.saturating_duration_since(since);
    let needed = if run.is_zero() { left / 2 } else { left / 4 + run + rtt };
    since + left.saturating_sub(needed)
}

/// When the first calls of a queue leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Departure {
    /// Now. `due` is when they had to leave, if they have not filled a batch.
    Now { reason: BatchReason, due: Option<Instant> },
    /// Then, unless others fill their batch before.
    At(Instant),
    /// No call waits.
    Empty,
}

/// Calls that wait, in the order of their numbers.
#[derive(Debug)]
pub(super) struct BatchQueue<T> {
    /// By the number of the call.
    calls: BTreeMap<u64, Waiting<T>>,
    /// Sum of the weights.
    weight: u64,
}

impl<T> Default for BatchQueue<T> {
    fn default() -> Self {
        Self { calls: BTreeMap::new(), weight: 0 }
    }
}

impl<T> BatchQueue<T> {
    pub(super) fn len(&self) -> usize {
        self.calls.len()
    }

    /// Returns the sum of the weights, which no batch exceeds that has more than one call.
    pub(super) fn weight(&self) -> u64 {
        self.weight
    }

    /// Adds the call of this number.
    pub(super) fn push(&mut self, number: u64, call: Waiting<T>) {
        self.weight = self.weight.saturating_add(call.weight);
        self.calls.insert(number, call);
    }

    /// Removes a call that leaves alone, unless it has been taken.
    pub(super) fn remove(&mut self, number: u64) -> Option<Waiting<T>> {
        let call = self.calls.remove(&number)?;
        self.weight = self.weight.saturating_sub(call.weight);
        Some(call)
    }

    /// Returns the numbers of the calls of the next batch, at most `max` in weight, and whether
    /// further ones do not fit. Ignores calls that are not live: they are about to be removed.
    fn batch(&self, max: u64, live: impl Fn(&T) -> bool) -> (Vec<u64>, bool) {
        let (mut numbers, mut weight) = (Vec::new(), 0_u64);
        for (number, call) in self.calls.iter().filter(|(_, waiting)| live(&waiting.call)) {
            let sum = weight.saturating_add(call.weight);
            // An element that is heavier than a batch runs alone.
            if !numbers.is_empty() && sum > max {
                return (numbers, true);
            }
            numbers.push(*number);
            weight = sum;
        }
        (numbers, weight >= max)
    }

    /// Returns when the next batch leaves. A batch waits for at most `wait`, and is full with
    /// `places` calls.
    pub(super) fn departure(
        &self,
        now: Instant,
        (max, wait, places): (u64, Duration, usize),
        live: impl Fn(&T) -> bool,
    ) -> Departure {
        let (numbers, full) = self.batch(max, live);
        if full || (!numbers.is_empty() && numbers.len() >= places) {
            return Departure::Now { reason: BatchReason::Full, due: None };
        }
        let calls = numbers.iter().filter_map(|number| self.calls.get(number));
        match calls.map(|call| call.leaves(wait)).min_by_key(|(due, _)| *due) {
            Some((due, reason)) if due <= now => Departure::Now { reason, due: Some(due) },
            Some((due, _)) => Departure::At(due),
            None => Departure::Empty,
        }
    }

    /// Takes the next batch.
    pub(super) fn take(&mut self, max: u64, live: impl Fn(&T) -> bool) -> Vec<T> {
        let (numbers, _) = self.batch(max, live);
        let taken = numbers.into_iter().filter_map(|number| self.remove(number));
        taken.map(|waiting| waiting.call).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WAIT: Duration = Duration::from_millis(5);
    const PLACES: usize = 1_000;

    fn waiting(call: u64, weight: u64, since: Instant) -> Waiting<u64> {
        Waiting { call, weight, since, latest: None }
    }

    #[test]
    fn a_batch_leaves_when_it_is_full_has_waited_or_has_a_deadline() {
        let now = Instant::now();
        let at = |milliseconds| now + Duration::from_millis(milliseconds);
        let mut queue = BatchQueue::default();
        let limits = (3, WAIT, PLACES);
        assert_eq!(queue.departure(now, limits, |_| true), Departure::Empty);
        queue.push(1, waiting(1, 1, at(1)));
        queue.push(0, waiting(0, 1, now));
        assert_eq!(queue.departure(at(4), limits, |_| true), Departure::At(at(5)));
        let waited = Departure::Now { reason: BatchReason::Waited, due: Some(at(5)) };
        assert_eq!(queue.departure(at(5), limits, |_| true), waited);
        // The one that waits is the first that has not left.
        assert_eq!(queue.departure(at(5), limits, |call| *call > 0), Departure::At(at(6)));
        assert_eq!(queue.departure(at(9), limits, |_| false), Departure::Empty);
        queue.push(7, Waiting { latest: Some(at(2)), ..waiting(2, 1, at(1)) });
        let full = Departure::Now { reason: BatchReason::Full, due: None };
        assert_eq!(queue.departure(at(1), limits, |_| true), full);
        assert_eq!(queue.departure(at(1), (4, WAIT, 3), |_| true), full);
        assert_eq!(queue.departure(at(1), (4, WAIT, PLACES), |_| true), Departure::At(at(2)));
        let late = Departure::Now { reason: BatchReason::Deadline, due: Some(at(2)) };
        assert_eq!(queue.departure(at(3), (4, WAIT, PLACES), |_| true), late);
        assert!(queue.remove(7).is_some() && queue.remove(7).is_none());
        assert_eq!(queue.take(3, |_| true), [0, 1]);
        assert_eq!((queue.len(), queue.weight()), (0, 0));
    }

    #[test]
    fn a_call_leaves_early_enough_for_its_deadline() {
        let now = Instant::now();
        let ms = Duration::from_millis;
        for (left, run, rtt, waits) in [
            (100, 0, 10, 50),
            (100, 20, 5, 50),
            (100, 60, 5, 10),
            (100, 80, 0, 0),
            (1_000, 1, 0, 749),
            (0, 0, 0, 0),
            (0, 1, 1, 0),
        ] {
            let leaves = latest(now, now + ms(left), ms(run), ms(rtt));
            assert_eq!(leaves, now + ms(waits), "{left} ms, {run} ms, {rtt} ms");
        }
        assert_eq!(latest(now + ms(5), now, ms(1), ms(1)), now + ms(5));
    }

    /// Random pushes, removals and batches, compared with a list.
    #[test]
    fn batches_are_the_first_calls_that_fit() {
        let mut random = fastrand::Rng::with_seed(17);
        for _ in 0..500 {
            let max = random.u64(1..20);
            let (mut queue, mut model) = (BatchQueue::default(), Vec::new());
            let mut numbers = 0..;
            let now = Instant::now();
            for _ in 0..random.usize(0..60) {
                match random.u8(0..8) {
                    0..5 => {
                        let weight = random.u64(1..9);
                        let number = numbers.next().unwrap();
                        queue.push(number, waiting(number, weight, now));
                        model.push((number, weight));
                    }
                    5 if !model.is_empty() => {
                        let (number, _) = model[random.usize(0..model.len())];
                        let there = queue.remove(number).is_some();
                        assert!(there);
                        model.retain(|(other, _)| *other != number);
                        continue_numbers(&mut queue, &mut model);
                    }
                    _ => {
                        let mut sum = 0;
                        let fits = |(_, weight): &&(u64, u64)| {
                            let first = sum == 0;
                            sum += weight;
                            first || sum <= max
                        };
                        let n = model.iter().take_while(fits).count();
                        assert_eq!(queue.take(max, |_| true).len(), n);
                        model.drain(..n);
                    }
                }
                let weight: u64 = model.iter().map(|(_, weight)| weight).sum();
                assert_eq!((queue.len(), queue.weight()), (model.len(), weight));
            }
        }
    }

    /// Checks that queue and model have the same calls in the same order.
    fn continue_numbers(queue: &mut BatchQueue<u64>, model: &mut [(u64, u64)]) {
        let numbers: Vec<u64> = model.iter().map(|(number, _)| *number).collect();
        assert_eq!(queue.calls.keys().copied().collect::<Vec<_>>(), numbers);
    }
}
