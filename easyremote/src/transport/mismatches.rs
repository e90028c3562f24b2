//! The functions whose types have differed from those of a node.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// Remembers for a while which functions a client has to call by name, so that not every call begins
/// with an attempt that is refused.
///
/// A call by name is also right where the types are equal, and goes to such a node if there is one. So
/// it is enough to forget by time: [`MEMORY`] after the last mismatch, a call is made with types again,
/// and finds out whether a node has registered that has them.
#[derive(Debug, Default)]
pub(crate) struct Mismatches(Mutex<HashMap<(String, u64), Instant>>);

/// How long a mismatch is remembered. One attempt in ten seconds costs next to nothing, and a fleet that
/// has been updated is called with types again soon after.
const MEMORY: Duration = Duration::from_secs(10);

/// Most functions that are remembered.
const MAX_REMEMBERED: usize = 256;

impl Mismatches {
    /// Remembers that no node had the caller's types, of which this is the fingerprint.
    pub(crate) fn note(&self, function: &str, fingerprint: u64) {
        let (now, mut functions) = (Instant::now(), self.0.lock());
        if functions.len() >= MAX_REMEMBERED {
            functions.retain(|_, since| now.duration_since(*since) < MEMORY);
        }
        if functions.len() < MAX_REMEMBERED {
            functions.insert((function.to_owned(), fingerprint), now);
        }
    }

    /// Returns whether that was so within [`MEMORY`].
    pub(crate) fn contains(&self, function: &str, fingerprint: u64) -> bool {
        let mut functions = self.0.lock();
        if functions.is_empty() {
            return false;
        }
        let key = (function.to_owned(), fingerprint);
        let fresh = functions.get(&key).is_some_and(|since| since.elapsed() < MEMORY);
        if !fresh {
            functions.remove(&key);
        }
        fresh
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_is_remembered_by_function_and_types_within_a_bound() {
        let mismatches = Mismatches::default();
        assert!(!mismatches.contains("f", 1));
        mismatches.note("f", 1);
        assert!(mismatches.contains("f", 1) && !mismatches.contains("f", 2));
        for n in 0..10 * MAX_REMEMBERED {
            mismatches.note("g", n as u64);
        }
        assert_eq!(mismatches.0.lock().len(), MAX_REMEMBERED);
        assert!(mismatches.contains("f", 1));
    }
}
