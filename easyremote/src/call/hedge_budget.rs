//! The hedge budget: limits how many calls are made twice.

use std::sync::atomic::{AtomicU64, Ordering};

/// A token budget for hedges. It begins empty. Each call that may be hedged adds a twentieth of a
/// token, and a hedge takes one. So at most 5 % of the calls are made twice, also while all of them
/// are slow, when more calls would only add to the load. At most 10 tokens are saved up, for as many
/// hedges at once.
#[derive(Debug, Default)]
pub(crate) struct HedgeBudget {
    /// In twentieths of tokens.
    twentieths: AtomicU64,
}

impl HedgeBudget {
    /// In twentieths.
    const TOKEN: u64 = 20;
    /// In twentieths.
    const FULL: u64 = 10 * Self::TOKEN;

    /// Records a call that may be hedged.
    pub(crate) fn note_call(&self) {
        let more = |now: u64| (now < Self::FULL).then_some(now + 1);
        let _ = self.twentieths.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
    }

    /// Takes a token for a hedge. Returns whether there was one to take.
    pub(crate) fn take(&self) -> bool {
        let less = |now: u64| now.checked_sub(Self::TOKEN);
        self.twentieths.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn at_most_one_call_in_twenty_is_hedged_whatever_happens() {
        for seed in 0..100 {
            let (budget, mut random) = (HedgeBudget::default(), fastrand::Rng::with_seed(seed));
            let (mut calls, mut hedges, mut in_a_row) = (0_u64, 0, 0);
            for _ in 0..10_000 {
                if random.bool() {
                    budget.note_call();
                    (calls, in_a_row) = (calls + 1, 0);
                } else if budget.take() {
                    (hedges, in_a_row) = (hedges + 1, in_a_row + 1);
                }
                assert!(hedges * 20 <= calls && in_a_row <= 10, "seed {seed}");
            }
            assert!(hedges * 21 >= calls - 20, "seed {seed}: it pays out what it has taken in");
        }
    }
}
