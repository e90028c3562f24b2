//! Deduplicates calls: the node rejects the ids of calls that it has started recently.
//!
//! This is the second line of defence. Callers and gateways send a call again only if it provably
//! did not start, or if its function is `idempotent`; but a broken or hostile gateway must not make
//! a function run twice either. Calls of `idempotent` functions may repeat and are not recorded.

use std::collections::HashSet;
use std::convert::Infallible;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::mem;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use tokio::time::{MissedTickBehavior, interval};

use crate::call::executed::Evidence;
use crate::error::{Error, ErrorKind};
use crate::function::context::Context;
use crate::function::registry::Function;
use crate::transport::log_limit::LogLimiter;

/// The recently started calls, keyed by [`mark`](Context::mark): the call's id combined with its
/// caller.
///
/// Keeps a call for at least [`MEMORY`], unless [`MAX_GENERATION`] or more have started since. Because
/// the caller is part of the key, no caller can use up the ids of another.
#[derive(Debug, Default)]
pub(in crate::node) struct DedupCache {
    generations: Mutex<Generations>,
    log: LogLimiter<()>,
}

/// Two generations of ids. When the young one is old or full, it replaces the old one, which is
/// dropped as a whole. So no timestamp is stored per id.
#[derive(Debug, Default)]
struct Generations {
    young: HashSet<u128, HashKey>,
    old: HashSet<u128, HashKey>,
}

/// Minimum time for which an id is kept: longer than a faulty gateway is likely to hold back a
/// call. A hostile gateway that waits longer can still repeat a call.
const MEMORY: Duration = Duration::from_secs(60);

/// Maximum number of ids per generation. Two generations take 2.2 MiB, allocated as calls arrive
/// and then kept.
const MAX_GENERATION: usize = 50_000;

/// A call that is about to start. Dropping it forgets the call's id again, unless it is
/// [kept](Self::keep).
#[derive(Debug)]
pub(super) struct Start<'a> {
    started: &'a DedupCache,
    /// The recorded id; `None` for an idempotent function, and once kept.
    id: Option<u128>,
}

impl DedupCache {
    /// Records that a call starts. A call that has started before is rejected, and counted in
    /// `repeats`.
    ///
    /// # Errors
    /// `Protocol`, `Maybe`: this attempt does not run, but the earlier one may have.
    pub(super) fn start(
        &self,
        function: &Function,
        context: &Context,
        repeats: &AtomicU64,
    ) -> Result<Start<'_>, Error> {
        let id = context.mark();
        if function.descriptor.idempotent {
            return Ok(Start { started: self, id: None });
        }
        if self.generations().add(id) {
            return Ok(Start { started: self, id: Some(id) });
        }
        repeats.fetch_add(1, Ordering::Relaxed);
        let (node, name, caller) = (context.node(), &*function.name, context.caller());
        let call_id = context.call_id();
        if let Some(left_out) = self.log.next(()) {
            tracing::warn!(%node, function = name, ?caller, left_out, "rejected a repeated call");
        }
        let text = format!(
            "this call of `{name}` has started at node `{node}` before and is not started again, \
             because the function is not `idempotent`; call id {call_id:032x}"
        );
        Err(Error::new(ErrorKind::Protocol, text).with_evidence(Evidence::Sent).with_node(node))
    }

    /// Drops the old generation once per [`MEMORY`], while it is polled.
    pub(in crate::node) async fn forget(&self) -> Infallible {
        let mut ticks = interval(MEMORY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.generations().pass();
        }
    }

    fn generations(&self) -> MutexGuard<'_, Generations> {
        self.generations.lock()
    }
}

impl Generations {
    /// Adds an id. Returns whether it is new.
    fn add(&mut self, id: u128) -> bool {
        if self.young.len() >= MAX_GENERATION {
            self.pass();
        }
        !self.old.contains(&id) && self.young.insert(id)
    }

    fn remove(&mut self, id: u128) {
        if !self.young.remove(&id) {
            self.old.remove(&id);
        }
    }

    /// Drops the old generation, and makes the young one the old one.
    fn pass(&mut self) {
        // Swapped and cleared, so that both keep their memory.
        mem::swap(&mut self.young, &mut self.old);
        self.young.clear();
    }
}

impl Start<'_> {
    /// Keeps the id: the call is handed to the task pool or a thread, and may run from now on.
    pub(super) fn keep(mut self) {
        self.id = None;
    }
}

impl Drop for Start<'_> {
    fn drop(&mut self) {
        if let Some(id) = self.id {
            self.started.generations().remove(id);
        }
    }
}

/// The key of a hash function: an id hashes to the upper half of the 128 bits of
/// `k0 + k1 x1 + k2 x2`.
///
/// Ids are random, but a hostile gateway could choose ids that all collide. This function is
/// strongly universal: without the key, two ids collide only by chance (Lemire and Kaser, "Strongly
/// universal string hashing is fast", 2014). It costs half as much as the standard library's hash.
#[derive(Clone, Copy, Debug)]
struct HashKey([u128; 3]);

/// Hashes one id with a [`HashKey`].
struct KeyedHash {
    key: HashKey,
    hash: u64,
}

impl Default for HashKey {
    fn default() -> Self {
        let random = RandomState::new();
        let word = |n: u128| u128::from(random.hash_one(n));
        Self([0, 2, 4].map(|n| word(n) << 64 | word(n + 1)))
    }
}

impl BuildHasher for HashKey {
    type Hasher = KeyedHash;

    fn build_hasher(&self) -> KeyedHash {
        KeyedHash { key: *self, hash: 0 }
    }
}

impl Hasher for KeyedHash {
    fn finish(&self) -> u64 {
        self.hash
    }

    fn write_u128(&mut self, id: u128) {
        let HashKey([k0, k1, k2]) = self.key;
        let (x1, x2) = (id & u128::from(u64::MAX), id >> 64);
        let sum = k0.wrapping_add(k1.wrapping_mul(x1)).wrapping_add(k2.wrapping_mul(x2));
        self.hash ^= (sum >> 64) as u64;
    }

    fn write(&mut self, bytes: &[u8]) {
        // Required by the trait; `u128` calls `write_u128`.
        bytes.iter().for_each(|byte| self.write_u128((*byte).into()));
    }
}

#[cfg(all(test, feature = "gateway"))]
mod tests;
