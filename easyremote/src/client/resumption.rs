//! What a client knows of a resumable stream, and where such a stream goes on.

use std::sync::Arc;

use tokio::time::Instant;

use crate::client::leg::{LegMark, SkippedItems};
use crate::client::ring::{RingReader, StreamPosition};
use crate::error::{Error, ErrorKind};
use crate::wire::header::CallHeader;
use crate::wire::operators::{Operator, applied_in};
use crate::wire::resume::ResumeSecret;

/// What the I/O task of a resumable stream knows of it.
#[derive(Debug)]
pub(super) struct Resumption {
    pub(super) secret: ResumeSecret,
    pub(super) mark: Arc<LegMark>,
    /// Bytes that may wait between the task and the reader.
    pub(super) handover: usize,
    /// The arguments, if the function has a `#[resume]` parameter, so that it can start again.
    pub(super) arguments: Vec<u8>,
    /// What its caller has chosen.
    pub(super) on: Option<String>,
    pub(super) operators: Vec<Operator>,
    /// The node that has the stream; `None` until it has said so.
    pub(super) node: Option<String>,
    /// Set while the stream is to be resumed.
    pub(super) loss: Option<StreamLoss>,
    /// Whether all of the stream has arrived.
    pub(super) complete: bool,
    /// What operators had left out when the node that has the stream began to count.
    pub(super) base: SkippedItems,
    /// What they had left out before the last item that was taken, as of the last loss.
    pub(super) skipped: SkippedItems,
    /// Of a stream with a replay ring.
    pub(super) ring: Option<Arc<RingReader>>,
}

/// Where a function that has a `#[resume]` parameter starts again.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ResumePoint {
    /// The number of its items that need not come again.
    pub(super) done: u64,
    /// What is left of the chain behind them.
    pub(super) operators: Vec<Operator>,
}

impl ResumePoint {
    /// Finds the point behind `taken` items of the chain's end, up to which the functions of the chain
    /// have left out `skipped` each. `None` if the chain has operators whose state depends on the items
    /// that have passed.
    pub(super) fn new(operators: &[Operator], taken: u64, skipped: &[u64]) -> Option<Self> {
        let (mut done, mut left) = (taken, Vec::with_capacity(operators.len()));
        let mut functions = applied_in(operators).count();
        for operator in operators.iter().rev() {
            match *operator {
                Operator::Through(_) => {
                    functions -= 1;
                    if done > 0 {
                        done = done.saturating_add(skipped.get(functions).copied().unwrap_or(0));
                    }
                    left.push(operator.clone());
                }
                Operator::Take(items) => left.push(Operator::Take(items.saturating_sub(done))),
                // Nothing has been taken, so that nothing need have passed.
                Operator::Skip(items) if done == 0 => left.push(Operator::Skip(items)),
                Operator::Skip(items) => done = done.saturating_add(items),
                _ => return None,
            }
        }
        left.reverse();
        Some(Self { done, operators: left })
    }
}

/// A loss that the stream is being resumed after.
#[derive(Debug)]
pub(super) struct StreamLoss {
    pub(super) since: Instant,
    pub(super) error: Error,
    /// The items that the reader has taken; `None` before the leg is closed.
    pub(super) taken: Option<u64>,
    pub(super) attempts: u32,
}

impl Resumption {
    /// Creates the state of a stream that has not started. `arguments` are kept if it may start
    /// again at another node.
    pub(super) fn new(
        secret: ResumeSecret,
        mark: Arc<LegMark>,
        handover: usize,
        arguments: Vec<u8>,
        header: &CallHeader,
    ) -> Self {
        let (on, operators) = (header.routing.on.clone(), header.operators.clone());
        let (base, skipped) = (SkippedItems::default(), SkippedItems::default());
        let (node, loss, complete) = (None, None, false);
        Self {
            secret,
            mark,
            handover,
            arguments,
            on,
            operators,
            node,
            loss,
            complete,
            base,
            skipped,
            ring: None,
        }
    }

    /// Makes it the state of a stream that its node has kept for a reader who comes back.
    pub(super) fn continue_at(&mut self, position: &StreamPosition) {
        let error = Error::new(ErrorKind::ConnectionLost, "its reader was away");
        let (since, taken) = (Instant::now(), Some(position.taken));
        self.node = Some(position.node.clone());
        self.loss = Some(StreamLoss { since, error, taken, attempts: 0 });
    }

    /// Returns whether the reader may come back after it has dropped the stream.
    pub(super) fn may_return(&self) -> bool {
        self.ring.as_ref().is_some_and(|ring| ring.may_return())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::operators::AppliedFunction;

    /// An item, and how many each function has left out before it.
    type Passed = (u64, Vec<u64>);

    /// A filter, which leaves out the multiples of a number.
    fn filter(divisor: u64) -> Operator {
        let (name, fingerprint, arguments) = ("f".to_owned(), 0, vec![divisor as u8]);
        Operator::Through(Arc::new(AppliedFunction { name, fingerprint, arguments }))
    }

    /// What a chain of `Take`, `Skip` and filters makes of the items from number `first` on.
    fn run(first: u64, operators: &[Operator]) -> Vec<Passed> {
        let mut items: Vec<Passed> = (first..90).map(|n| (n, Vec::new())).collect();
        for operator in operators {
            match operator {
                Operator::Take(n) => items.truncate(*n as usize),
                Operator::Skip(n) => drop(items.drain(..(*n as usize).min(items.len()))),
                Operator::Through(applied) => {
                    let (divisor, mut skipped) = (u64::from(applied.arguments[0]), 0);
                    items.retain_mut(|(n, each)| {
                        let passes = *n % divisor != 0;
                        skipped += u64::from(!passes);
                        each.push(skipped);
                        passes
                    });
                }
                _ => unreachable!("a chain of these three"),
            }
        }
        items
    }

    fn numbers(items: &[Passed]) -> Vec<u64> {
        items.iter().map(|(n, _)| *n).collect()
    }

    #[test]
    fn a_chain_goes_on_behind_what_was_taken() {
        let mut rng = fastrand::Rng::with_seed(4_711);
        for _ in 0..2_000 {
            let operator = |rng: &mut fastrand::Rng| match rng.u8(0..3) {
                0 => Operator::Take(rng.u64(1..40)),
                1 => Operator::Skip(rng.u64(0..8)),
                _ => filter(rng.u64(2..5)),
            };
            let chain: Vec<_> = (0..rng.usize(0..6)).map(|_| operator(&mut rng)).collect();
            let whole = run(0, &chain);
            for taken in 0..=whole.len() {
                let last = taken.checked_sub(1).map(|last| &whole[last]);
                let skipped = last.map_or(&[][..], |(_, each)| each);
                let ResumePoint { done, operators } =
                    ResumePoint::new(&chain, taken as u64, skipped).unwrap();
                let rest = numbers(&run(done, &operators));
                assert_eq!(rest, numbers(&whole[taken..]), "{chain:?} {taken}");
                // Of the function's items, the last that was taken is the last that is done.
                assert_eq!(done, last.map_or(0, |(n, _)| n + 1));
            }
        }
        assert_eq!(ResumePoint::new(&[Operator::Skip(1), Operator::Latest], 0, &[]), None);
    }
}
