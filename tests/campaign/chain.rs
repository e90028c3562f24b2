//! Operators at the node, drawn by a seed, and what a reader gets behind them.

use std::time::Duration;

use fastrand::Rng;

/// Operators of a stream, in the order in which they act.
#[derive(Clone, Debug, Default)]
pub(crate) struct Chain {
    pub(crate) operators: Vec<Operator>,
    pub(crate) last: Last,
}

/// One after which it is known what passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operator {
    Skip(usize),
    Every(usize),
    Take(usize),
    Dedup,
    /// What is no multiple of this.
    Through(u64),
}

/// The end of a chain.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Last {
    #[default]
    All,
    /// Lists of up to this many items.
    Batches(usize),
    Latest,
    Sample(Duration),
}

impl Chain {
    pub(crate) fn random(rng: &mut Rng) -> Self {
        let operator = |rng: &mut Rng| match rng.u32(..5) {
            0 => Operator::Skip(rng.usize(..20)),
            1 => Operator::Every(rng.usize(1..4)),
            2 => Operator::Take(rng.usize(1..150)),
            3 => Operator::Through(rng.u64(1..6)),
            _ => Operator::Dedup,
        };
        let operators = (0..rng.usize(..4)).map(|_| operator(rng)).collect();
        let last = match rng.u32(..6) {
            0 => Last::Batches(rng.usize(1..20)),
            1 => Last::Latest,
            2 => Last::Sample(Duration::from_millis(rng.u64(..10))),
            _ => Last::All,
        };
        Self { operators, last }
    }

    /// One with which a function that has a `#[resume]` parameter goes on at any node.
    pub(crate) fn without_state(rng: &mut Rng) -> Self {
        let operator = |rng: &mut Rng| match rng.u32(..3) {
            0 => Operator::Skip(rng.usize(..20)),
            1 => Operator::Through(rng.u64(1..6)),
            _ => Operator::Take(rng.usize(1..150)),
        };
        let operators = (0..rng.usize(..3)).map(|_| operator(rng)).collect();
        Self { operators, last: Last::All }
    }

    /// Whether the function may be stopped before its end.
    pub(crate) fn has_limit(&self) -> bool {
        self.operators.iter().any(|operator| matches!(operator, Operator::Take(_)))
    }

    /// The items that come to the end of the chain.
    fn passed(&self, mut items: Vec<u64>) -> Vec<u64> {
        for operator in &self.operators {
            items = match *operator {
                Operator::Skip(n) => items.into_iter().skip(n).collect(),
                Operator::Every(n) => items.into_iter().step_by(n).collect(),
                Operator::Take(n) => items.into_iter().take(n).collect(),
                Operator::Through(of) => {
                    items.into_iter().filter(|item| !item.is_multiple_of(of)).collect()
                }
                Operator::Dedup => {
                    items.dedup();
                    items
                }
            };
        }
        items
    }

    /// What is wrong with what the reader of a stream of `items` got, up to its end if `whole`: the
    /// items, and the lengths of the lists that they came in, if they came in lists.
    pub(crate) fn judge(
        &self,
        items: Vec<u64>,
        got: &[u64],
        lists: &[usize],
        whole: bool,
    ) -> Option<&'static str> {
        let expected = self.passed(items);
        let (fits, is_whole) = match self.last {
            Last::All | Last::Batches(_) => (expected.starts_with(got), expected == got),
            Last::Latest | Last::Sample(_) => {
                (is_part(got, &expected), got.last() == expected.last())
            }
        };
        if let Last::Batches(most) = self.last
            && lists.iter().any(|length| !(1..=most).contains(length))
        {
            Some("a batch is too long or empty")
        } else if !fits {
            Some("items are missing, come twice, or are out of order")
        } else if whole && !is_whole {
            Some("the end came before the last item")
        } else {
            None
        }
    }
}

/// Whether items of `all` have been left out, and no more than that.
fn is_part(part: &[u64], all: &[u64]) -> bool {
    let mut all = all.iter();
    part.iter().all(|item| all.any(|other| other == item))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Items in the lists that they came in.
    type Lists = &'static [&'static [u64]];

    fn holds(chain: &Chain, got: Lists, whole: bool) -> bool {
        let lists: Vec<_> = got.iter().map(|list| list.len()).collect();
        let items = (0..9).map(|n| n / 3).collect();
        chain.judge(items, &got.concat(), &lists, whole).is_none()
    }

    #[test]
    fn what_comes_out_of_a_chain_is_judged() {
        use Last::{All, Batches, Latest, Sample};
        use Operator::{Dedup, Every, Skip, Take, Through};
        let sample = Sample(Duration::ZERO);
        // Of 0, 0, 0, 1, 1, 1, 2, 2, 2: what is got, and whether that is fine so far, and to the end.
        let cases: &[(&[Operator], Last, Lists, bool, bool)] = &[
            (&[Dedup], All, &[&[0], &[1], &[2]], true, true),
            (&[Dedup], All, &[&[0], &[1]], true, false),
            (&[Dedup], All, &[&[0], &[2]], false, false),
            (&[Dedup], All, &[&[0], &[1], &[1]], false, false),
            (&[Dedup], All, &[&[1], &[0]], false, false),
            (&[Dedup], All, &[&[0], &[1], &[2], &[3]], false, false),
            (&[Skip(2), Every(3)], All, &[&[0], &[1], &[2]], true, true),
            (&[Every(4), Skip(1)], All, &[&[1], &[2]], true, true),
            (&[Every(4), Skip(1)], All, &[&[0], &[1], &[2]], false, false),
            (&[Take(4), Dedup], All, &[&[0], &[1]], true, true),
            (&[Take(4), Dedup], All, &[&[0], &[1], &[2]], false, false),
            (&[Through(2)], All, &[&[1], &[1], &[1]], true, true),
            (&[Through(2)], All, &[&[1], &[1]], true, false),
            (&[Through(2)], All, &[&[1], &[2]], false, false),
            (&[Through(1)], All, &[], true, true),
            (&[Dedup], Batches(2), &[&[0, 1], &[2]], true, true),
            (&[Dedup], Batches(2), &[&[0], &[1, 2]], true, true),
            (&[Dedup], Batches(2), &[&[0, 1, 2]], false, false),
            (&[Dedup], Batches(2), &[&[0, 1], &[], &[2]], false, false),
            (&[Dedup], Batches(2), &[&[0, 1]], true, false),
            (&[Dedup], Latest, &[&[0], &[2]], true, true),
            (&[Dedup], Latest, &[&[0], &[1]], true, false),
            (&[Dedup], Latest, &[&[2], &[1]], false, false),
            (&[], Latest, &[&[0], &[0], &[0], &[2]], true, true),
            (&[], Latest, &[&[0], &[0], &[0], &[0], &[2]], false, false),
            (&[], sample, &[&[2]], true, true),
            (&[], sample, &[], true, false),
        ];
        for (operators, last, got, so_far, to_the_end) in cases {
            let chain = Chain { operators: operators.to_vec(), last: *last };
            let shown = format!("{chain:?}, {got:?}");
            assert_eq!(holds(&chain, got, false), *so_far, "{shown}");
            assert_eq!(holds(&chain, got, true), *to_the_end, "{shown}");
        }
    }
}
