//! What a client knows of a resumable stream, and where such a stream goes on.

use std::sync::Arc;

use tokio::time::Instant;

use crate::client::leg::LegMark;
use crate::error::Error;
use crate::wire::header::CallHeader;
use crate::wire::operators::Operator;
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
    /// Finds the point behind `taken` items of the chain's end. `None` if the chain has operators
    /// whose state depends on the items that have passed.
    pub(super) fn new(operators: &[Operator], taken: u64) -> Option<Self> {
        let (mut done, mut left) = (taken, Vec::with_capacity(operators.len()));
        for operator in operators.iter().rev() {
            match *operator {
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
        let (node, loss, complete) = (None, None, false);
        Self { secret, mark, handover, arguments, on, operators, node, loss, complete }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a chain of `Take` and `Skip` makes of the items from number `first` on.
    fn run(first: u64, operators: &[Operator]) -> Vec<u64> {
        let mut items: Vec<u64> = (first..60).collect();
        for operator in operators {
            match *operator {
                Operator::Take(n) => items.truncate(n as usize),
                Operator::Skip(n) => drop(items.drain(..(n as usize).min(items.len()))),
                _ => unreachable!("a chain of these two"),
            }
        }
        items
    }

    #[test]
    fn a_chain_goes_on_behind_what_was_taken() {
        let mut rng = fastrand::Rng::with_seed(4_711);
        for _ in 0..2_000 {
            let operator = |rng: &mut fastrand::Rng| match rng.bool() {
                true => Operator::Take(rng.u64(1..30)),
                false => Operator::Skip(rng.u64(0..8)),
            };
            let chain: Vec<_> = (0..rng.usize(0..5)).map(|_| operator(&mut rng)).collect();
            let whole = run(0, &chain);
            for taken in 0..=whole.len() {
                let ResumePoint { done, operators } =
                    ResumePoint::new(&chain, taken as u64).unwrap();
                assert_eq!(run(done, &operators), whole[taken..], "{chain:?} {taken}");
                // Of the function's items, the last that was taken is the last that is done.
                assert_eq!(done, taken.checked_sub(1).map_or(0, |last| whole[last] + 1));
            }
        }
        assert_eq!(ResumePoint::new(&[Operator::Skip(1), Operator::Latest], 0), None);
    }
}
