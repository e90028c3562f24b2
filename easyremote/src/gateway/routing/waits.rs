//! Calls that wait, as they are seen from outside, and those that no node can run meanwhile.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;

use crate::wire::header::CallHeader;

/// The beginning of a call's wait.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WaitStart {
    /// Unique among the waiting calls.
    pub(crate) ticket: u64,
    pub(crate) since: Instant,
}

/// A call that waits, and since when.
pub(crate) type WaitingEntry = (WaitStart, Arc<CallHeader>);

/// A call that waits for a node, or for room at one, with the reason.
#[derive(Debug)]
#[cfg_attr(not(feature = "http"), allow(dead_code))] // shown by the HTTP server
pub(crate) struct WaitingCallInfo {
    /// Its ticket stays the same as long as the call waits.
    pub(crate) start: WaitStart,
    pub(crate) header: Arc<CallHeader>,
    /// What it waits for, and why it has to.
    pub(crate) reason: Arc<str>,
}

/// The calls that wait, and that no node can run now. Bounded by the calls in flight.
#[derive(Debug, Default)]
pub(crate) struct AbsentCalls(Mutex<BTreeMap<u64, WaitingEntry>>);

/// A call among the [`AbsentCalls`], until this is dropped.
pub(crate) struct AbsentCall<'a> {
    calls: &'a AbsentCalls,
    ticket: u64,
}

impl Drop for AbsentCall<'_> {
    fn drop(&mut self) {
        self.calls.0.lock().remove(&self.ticket);
    }
}

impl AbsentCalls {
    /// Adds a call.
    pub(crate) fn enter(&self, header: &CallHeader, start: WaitStart) -> AbsentCall<'_> {
        self.0.lock().insert(start.ticket, (start, Arc::new(header.clone())));
        AbsentCall { calls: self, ticket: start.ticket }
    }

    /// Returns the number of calls.
    pub(crate) fn n_calls(&self) -> usize {
        self.0.lock().len()
    }

    /// Returns the `n` calls that have waited for longest.
    pub(crate) fn first(&self, n: usize) -> Vec<WaitingEntry> {
        self.0.lock().values().take(n).cloned().collect()
    }

    /// Adds the number of calls of each function to those in `waiting`.
    pub(crate) fn add_to(&self, waiting: &mut BTreeMap<String, u64>) {
        for (_, header) in self.0.lock().values() {
            *waiting.entry(header.function.to_string()).or_default() += 1;
        }
    }
}
