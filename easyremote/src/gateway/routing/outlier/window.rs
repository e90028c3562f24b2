//! The outcomes of the latest calls, in one word.

use std::sync::atomic::{AtomicU64, Ordering};

/// The outcomes of the last [`CAPACITY`](Self::CAPACITY) calls, the latest in the lowest bit; 1 is
/// a failure. The highest set bit marks the end, so the word also encodes the number of calls. An
/// empty window is 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CallWindow(u64);

impl Default for CallWindow {
    fn default() -> Self {
        Self(1)
    }
}

impl CallWindow {
    /// Maximum number of calls that a window remembers.
    pub(crate) const CAPACITY: u32 = 63;

    /// Returns the window after one more call.
    pub(crate) fn with(self, failed: bool) -> Self {
        let mark = self.0 & (1 << Self::CAPACITY);
        Self(self.0 << 1 | mark | u64::from(failed))
    }

    pub(crate) fn n_calls(self) -> u32 {
        self.0.ilog2()
    }

    /// Returns how many of the last `calls` calls failed.
    pub(crate) fn n_failures(self, calls: u32) -> u32 {
        let calls = calls.min(self.n_calls());
        (self.0 & ((1 << calls) - 1)).count_ones()
    }

    /// Returns the estimated failure rate by Laplace's rule of succession, so that a node with few
    /// successes is not considered infallible.
    pub(crate) fn likely_rate(self) -> f64 {
        let (calls, failures) = (self.n_calls(), self.n_failures(Self::CAPACITY));
        f64::from(failures + 1) / f64::from(calls + 2)
    }
}

/// A window that any number of threads update.
#[derive(Debug)]
pub(crate) struct SharedWindow(AtomicU64);

impl Default for SharedWindow {
    fn default() -> Self {
        Self(AtomicU64::new(CallWindow::default().0))
    }
}

impl SharedWindow {
    /// Adds a call, and returns the updated window.
    pub(crate) fn push(&self, failed: bool) -> CallWindow {
        // The word is self-contained, so relaxed ordering is enough.
        let next = |word| Some(CallWindow(word).with(failed).0);
        let before = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next);
        before.map_or_else(CallWindow, |before| CallWindow(before).with(failed))
    }

    pub(crate) fn get(&self) -> CallWindow {
        CallWindow(self.0.load(Ordering::Relaxed))
    }

    pub(crate) fn clear(&self) {
        self.0.store(CallWindow::default().0, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_remember_the_last_calls() {
        let mut rng = fastrand::Rng::with_seed(1);
        let (shared, mut all) = (SharedWindow::default(), Vec::new());
        for _ in 0..500 {
            let failed = rng.bool();
            all.push(failed);
            let window = shared.push(failed);
            assert_eq!(window, shared.get());
            let known = all.len().min(CallWindow::CAPACITY as usize);
            assert_eq!(window.n_calls() as usize, known);
            for calls in 0..=known {
                let failures = all[all.len() - calls..].iter().filter(|failed| **failed).count();
                assert_eq!(window.n_failures(calls as u32) as usize, failures);
            }
        }
        shared.clear();
        assert_eq!((shared.get().n_calls(), shared.get().n_failures(63)), (0, 0));
    }
}
