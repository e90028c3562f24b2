//! A budget for attempts at calls that may add load to a system that is failing.

use std::sync::atomic::{AtomicU32, Ordering};

/// Limits the load that retries add while calls fail. The budget has 10 tokens. A retry takes one,
/// and a success returns a tenth of one. While 5 tokens or fewer are left, nothing is retried.
///
/// The numbers are those of gRPC's retry throttling (gRPC proposal A6, its example).
#[derive(Debug)]
pub(crate) struct RetryBudget(AtomicU32);

impl Default for RetryBudget {
    fn default() -> Self {
        Self(AtomicU32::new(Self::FULL))
    }
}

impl RetryBudget {
    /// In tenths of tokens.
    const FULL: u32 = 100;
    const TOKEN: u32 = 10;

    /// Takes a token for one more attempt. Says whether there may be one.
    pub(crate) fn take(&self) -> bool {
        let taken = |tenths: u32| (tenths > Self::FULL / 2).then(|| tenths - Self::TOKEN);
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, taken).is_ok()
    }

    /// Notes that an attempt has succeeded.
    pub(crate) fn refund(&self) {
        // A full budget is the rule, and is not written to.
        if self.0.load(Ordering::Relaxed) < Self::FULL {
            let more = |tenths: u32| Some((tenths + 1).min(Self::FULL));
            let _ = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_retry_budget_runs_out_and_comes_back_with_successes() {
        let budget = RetryBudget::default();
        assert_eq!((0..100).filter(|_| budget.take()).count(), 5);
        (0..9).for_each(|_| budget.refund());
        assert!(budget.take(), "a bit more than half is left");
        assert!(!budget.take());
        (0..1_000).for_each(|_| budget.refund());
        assert_eq!((0..100).filter(|_| budget.take()).count(), 5);
    }
}
