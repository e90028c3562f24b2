//! The budget for what the node keeps beyond its callers.
//!
//! A caller may come back for it: items of resumable streams, and results of calls that outlive
//! their caller. One identity has at most a quarter of the budget, so that it cannot leave the
//! others without any.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::pin::pin;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::error::{Error, ErrorKind};
use crate::function::arguments::RETRY_AFTER;

/// The part of the budget that one identity may use: one in so many.
const SHARES: u64 = 4;

/// The budget for what the node keeps beyond its callers, in bytes.
#[derive(Debug)]
pub(in crate::node) struct Kept {
    limit: u64,
    used: Mutex<KeptBytes>,
    /// Notified when bytes are released.
    released: Notify,
}

/// The bytes that are charged.
#[derive(Debug, Default)]
struct KeptBytes {
    all: u64,
    /// By identity; those without any have no entry.
    by_identity: HashMap<Arc<str>, u64>,
}

/// Bytes charged to a [`Kept`] for one identity. Dropping it releases them.
#[derive(Debug)]
pub(in crate::node) struct KeptCharge {
    budget: Arc<Kept>,
    identity: Arc<str>,
    bytes: u64,
}

impl Kept {
    pub(in crate::node) fn new(limit: u64) -> Arc<Self> {
        Arc::new(Self { limit, used: Mutex::default(), released: Notify::new() })
    }

    /// Returns the bytes that are charged, and the limit.
    #[cfg(feature = "metrics")]
    pub(in crate::node) fn usage(&self) -> (u64, u64) {
        (self.used.lock().all, self.limit)
    }

    /// Charges `bytes` to `identity`.
    ///
    /// # Errors
    /// `Overloaded`, `No`, if the budget or the share of the identity is used up.
    pub(in crate::node) fn charge(
        self: &Arc<Self>,
        identity: &str,
        bytes: u64,
    ) -> Result<KeptCharge, Error> {
        let mut charge = KeptCharge { budget: self.clone(), identity: identity.into(), bytes: 0 };
        if charge.try_set(bytes) { Ok(charge) } else { Err(self.no_room()) }
    }

    fn no_room(&self) -> Error {
        let text = format!(
            "the node keeps as much as it may for callers that come back: {} bytes for one \
             identity, {} for all; collect results and read streams, or try again later",
            self.limit / SHARES,
            self.limit
        );
        Error::new(ErrorKind::Overloaded, text).with_retry_after(RETRY_AFTER)
    }
}

impl KeptCharge {
    /// Returns the number of bytes that are charged.
    pub(in crate::node) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Sets the charge to `bytes`, and returns whether it did. A charge can always be lowered.
    pub(in crate::node) fn try_set(&mut self, bytes: u64) -> bool {
        let more = bytes.saturating_sub(self.bytes);
        if more > 0 && !self.budget.has_room(&self.identity, more) {
            return false;
        }
        self.set(bytes);
        true
    }

    /// Sets the charge to `bytes`, also if that exceeds the budget.
    pub(in crate::node) fn set(&mut self, bytes: u64) {
        self.budget.used.lock().change(&self.identity, self.bytes, bytes);
        let less = bytes < self.bytes;
        self.bytes = bytes;
        if less {
            self.budget.released.notify_waiters();
        }
    }

    /// Waits until the charge has been set to `bytes`. Cancel safe.
    pub(in crate::node) async fn wait(&mut self, bytes: u64) {
        let budget = self.budget.clone();
        loop {
            let mut released = pin!(budget.released.notified());
            // Registered before the check: a release in between notifies this wait.
            released.as_mut().enable();
            if self.try_set(bytes) {
                return;
            }
            released.await;
        }
    }
}

impl Kept {
    /// Returns whether `more` bytes can be charged to `identity`.
    fn has_room(&self, identity: &str, more: u64) -> bool {
        let used = self.used.lock();
        let own = used.by_identity.get(identity).copied().unwrap_or(0);
        used.all.saturating_add(more) <= self.limit
            && own.saturating_add(more) <= self.limit / SHARES
    }
}

impl KeptBytes {
    /// Changes a charge of `identity` from `before` to `after`.
    fn change(&mut self, identity: &Arc<str>, before: u64, after: u64) {
        // A charge is part of both sums, so neither can fall below it.
        let moved = |sum: u64| (sum - before).saturating_add(after);
        self.all = moved(self.all);
        match self.by_identity.entry(identity.clone()) {
            Entry::Occupied(mut own) => match moved(*own.get()) {
                0 => drop(own.remove()),
                bytes => *own.get_mut() = bytes,
            },
            Entry::Vacant(own) if after > 0 => drop(own.insert(after)),
            Entry::Vacant(_) => {}
        }
    }
}

impl Drop for KeptCharge {
    fn drop(&mut self) {
        self.set(0);
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;
    use crate::error::Executed;

    #[test]
    fn an_identity_has_a_quarter_and_all_have_the_whole() {
        let kept = Kept::new(1_000);
        let first = kept.charge("a", 250).unwrap();
        let error = kept.charge("a", 1).unwrap_err();
        assert_eq!((error.kind(), error.executed()), (ErrorKind::Overloaded, Executed::No));
        let others = ["b", "c", "d"].map(|identity| kept.charge(identity, 250).unwrap());
        assert!(kept.charge("e", 1).is_err());
        drop(first);
        assert!(kept.charge("a", 251).is_err());
        kept.charge("a", 250).unwrap();
        drop(others);
        assert_eq!(kept.used.lock().all, 0);
        assert!(kept.used.lock().by_identity.is_empty());
    }

    #[test]
    fn a_charge_waits_for_what_others_release() {
        let kept = Kept::new(1_000);
        let (mut first, mut second) =
            (kept.charge("a", 200).unwrap(), kept.charge("a", 0).unwrap());
        assert!(!second.try_set(51) && second.try_set(50));
        {
            let mut waiting = pin!(second.wait(100));
            assert!(waiting.as_mut().now_or_never().is_none());
            assert!(first.try_set(150));
            assert!(waiting.now_or_never().is_some());
        }
        first.set(900);
        assert!(!second.try_set(101) && second.try_set(100) && second.try_set(1));
        drop((first, second));
        assert!(kept.charge("a", 250).is_ok());
    }
}
