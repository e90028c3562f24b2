//! Counting what is there now.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// Counts something for as long as it lives.
#[derive(Debug)]
pub(crate) struct Gauge<'a>(&'a AtomicU64);

impl<'a> Gauge<'a> {
    pub(crate) fn up(gauge: &'a AtomicU64) -> Self {
        gauge.fetch_add(1, Ordering::Relaxed);
        Self(gauge)
    }
}

/// Bytes charged to a budget that several share; dropping it gives them back.
#[derive(Debug)]
pub(crate) struct MemoryCharge {
    budget: Arc<AtomicU64>,
    bytes: u64,
    limit: u64,
}

impl MemoryCharge {
    /// Nothing yet, of at most `limit` bytes for all that share `budget`.
    pub(crate) fn new(budget: &Arc<AtomicU64>, limit: u64) -> Self {
        Self { budget: budget.clone(), bytes: 0, limit }
    }

    /// Charges `bytes` in all, and gives back what was charged beyond that. Says whether the budget
    /// allows it.
    pub(crate) fn set_to(&mut self, bytes: usize) -> bool {
        let less = self.bytes.saturating_sub(bytes as u64);
        if less > 0 {
            self.bytes -= less;
            self.budget.fetch_sub(less, Ordering::Relaxed);
        }
        self.bytes >= bytes as u64 || self.grow_to(bytes)
    }

    /// Charges `bytes` in all. Says whether the budget allows that.
    pub(crate) fn grow_to(&mut self, bytes: usize) -> bool {
        let more = (bytes as u64).saturating_sub(self.bytes);
        self.bytes += more;
        self.budget.fetch_add(more, Ordering::Relaxed) + more <= self.limit
    }
}

impl Drop for MemoryCharge {
    fn drop(&mut self) {
        self.budget.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

impl Drop for Gauge<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Bounds how much load sending things again adds where much of it fails: 10 tokens, of which each
/// success gives back a tenth; while half of them or fewer are left, nothing is sent again.
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
