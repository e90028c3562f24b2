//! The retry budget: limits the load that retries add to a system that is failing.

use std::sync::atomic::{AtomicU64, Ordering};

/// A token budget for retries. It has 10 tokens unless set otherwise. A retry takes one, and a
/// success returns a tenth of one. While half of them or fewer are left, nothing is retried.
///
/// The numbers are those of gRPC's retry throttling (gRPC proposal A6, its example), which protects
/// from overload. A lost connection is no overload, and fails everything in flight on it at one
/// instant: one token pays for all attempts that had begun by then. Losses that follow each other
/// without a success between them still use the budget up.
#[derive(Debug)]
pub(crate) struct RetryBudget {
    /// In tenths of tokens.
    tenths: AtomicU64,
    full: u64,
    /// Number of losses that have been paid for.
    losses: AtomicU64,
}

/// The number of losses that had been paid for when an attempt began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct PaidLosses(u64);

impl Default for RetryBudget {
    fn default() -> Self {
        Self::new(Self::TOKENS)
    }
}

impl RetryBudget {
    /// Default number of tokens.
    pub(crate) const TOKENS: u32 = 10;
    /// In tenths.
    const TOKEN: u64 = 10;

    pub(crate) fn new(tokens: u32) -> Self {
        let full = u64::from(tokens) * Self::TOKEN;
        Self { tenths: AtomicU64::new(full), full, losses: AtomicU64::new(0) }
    }

    /// Returns the number of losses that have been paid for. Read it when an attempt begins.
    pub(crate) fn paid_losses(&self) -> PaidLosses {
        PaidLosses(self.losses.load(Ordering::Relaxed))
    }

    /// Takes a token for one more attempt. Returns whether there was one to take.
    pub(crate) fn take(&self) -> bool {
        let taken = |tenths: u64| {
            (tenths > self.full / 2).then(|| tenths.checked_sub(Self::TOKEN)).flatten()
        };
        self.tenths.fetch_update(Ordering::Relaxed, Ordering::Relaxed, taken).is_ok()
    }

    /// Pays for the loss of an attempt that began when `paid` losses had been paid for, unless a
    /// payment since then covers it. Returns whether there may be another attempt.
    pub(crate) fn take_for_loss(&self, paid: PaidLosses) -> bool {
        let PaidLosses(paid) = paid;
        if self.losses.load(Ordering::Relaxed) > paid {
            return true;
        }
        if !self.take() {
            return false;
        }
        let won =
            self.losses.compare_exchange(paid, paid + 1, Ordering::Relaxed, Ordering::Relaxed);
        if won.is_err() {
            // Another attempt has paid for the same loss in the meantime: return this token.
            self.add(Self::TOKEN);
        }
        true
    }

    /// Returns a tenth of a token after a success.
    pub(crate) fn refund(&self) {
        // The budget is usually full. Not writing then keeps its cache line shared between threads.
        if self.tenths.load(Ordering::Relaxed) < self.full {
            self.add(1);
        }
    }

    fn add(&self, tenths: u64) {
        let more = |now: u64| Some((now + tenths).min(self.full));
        let _ = self.tenths.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runs_out(budget: &RetryBudget) -> usize {
        (0..100).filter(|_| budget.take()).count()
    }

    #[test]
    fn a_retry_budget_runs_out_and_comes_back_with_successes() {
        let budget = RetryBudget::default();
        assert_eq!(runs_out(&budget), 5);
        (0..9).for_each(|_| budget.refund());
        assert!(budget.take(), "a bit more than half is left");
        assert!(!budget.take());
        (0..1_000).for_each(|_| budget.refund());
        assert_eq!(runs_out(&budget), 5);
    }

    #[test]
    fn a_loss_takes_one_token_however_much_was_under_way() {
        let budget = RetryBudget::default();
        for loss in 0..5 {
            let began = budget.paid_losses();
            for attempt in 0..10_000 {
                assert!(budget.take_for_loss(began), "loss {loss}, attempt {attempt}");
            }
        }
        let began = budget.paid_losses();
        assert!(!budget.take_for_loss(began), "five losses without a success");
        (0..10).for_each(|_| budget.refund());
        assert!(budget.take_for_loss(began) && budget.take_for_loss(began));
        assert!(!budget.take_for_loss(budget.paid_losses()));
    }

    #[test]
    fn the_number_of_tokens_can_be_set() {
        for (tokens, retries) in [(0, 0), (1, 1), (2, 1), (10, 5), (100, 50)] {
            assert_eq!(runs_out(&RetryBudget::new(tokens)), retries, "{tokens}");
        }
        let budget = RetryBudget::new(u32::MAX);
        assert_eq!(runs_out(&budget), 100);
        budget.refund();
    }
}
