//! Operators that act at the client: those that were set after the first poll.

use bytes::Bytes;

use crate::function::operators::stride::Stride;
use crate::wire::operators::Operator;

/// One operator at work.
#[derive(Debug)]
pub(super) enum LocalOperator {
    Take { left: u64 },
    Stride(Stride),
    Dedup { last: Option<Bytes> },
}

impl LocalOperator {
    /// Returns `operator` at work; `None` if it can only act at the node.
    pub(super) fn new(operator: &Operator) -> Option<Self> {
        Some(match *operator {
            Operator::Take(items) => Self::Take { left: items },
            Operator::Skip(items) => Self::Stride(Stride::skip(items)),
            Operator::Every(step) => Self::Stride(Stride::every(step)),
            Operator::Dedup => Self::Dedup { last: None },
            Operator::Sample(_)
            | Operator::Latest
            | Operator::Batches { .. }
            | Operator::Buffer(_)
            | Operator::Through(_) => return None,
        })
    }

    /// Returns whether nothing passes any more.
    pub(super) fn is_over(&self) -> bool {
        matches!(self, Self::Take { left: 0 })
    }

    /// Returns whether an item passes; `None` stands for an error in place of one, which always
    /// does.
    fn passes(&mut self, item: Option<&Bytes>) -> bool {
        match (self, item) {
            (Self::Take { left }, _) => {
                *left = left.saturating_sub(1);
                true
            }
            (Self::Dedup { last }, Some(item)) => {
                let new = last.as_ref() != Some(item);
                if new {
                    *last = Some(item.clone());
                }
                new
            }
            (Self::Dedup { last }, None) => {
                *last = None;
                true
            }
            (_, None) => true,
            (Self::Stride(stride), Some(_)) => stride.passes(),
        }
    }
}

/// Returns whether an item passes all operators; `None` stands for an error in place of one.
pub(super) fn passes(operators: &mut [LocalOperator], item: Option<&Bytes>) -> bool {
    operators.iter_mut().all(|operator| operator.passes(item))
}
