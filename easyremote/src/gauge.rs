//! Counting what is there now.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

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
