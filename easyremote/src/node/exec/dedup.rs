//! Which calls have started here, so that none starts again.
//!
//! Callers and gateways send a call again only if it provably did not start, or its function is
//! `idempotent`. The node does not rely on that: what is broken or hostile on the way must not run
//! anything twice. Calls of `idempotent` functions may be repeated, and are not noted.

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

/// The ids of the calls that have started lately, each with its caller, whose
/// [`mark`](Context::mark) they are remembered by: of the last minute at least, but of no more than
/// the last [`MAX_OF_AGE`] to twice that.
///
/// A caller that uses up ids of others so uses up its own only.
#[derive(Debug, Default)]
pub(in crate::node) struct DedupCache {
    ages: Mutex<Generations>,
    log: LogLimiter<()>,
}

/// Ids in two lots: the older one is forgotten as a whole when the younger one, which takes its
/// place, is old or full. So there is no time to keep for each.
#[derive(Debug, Default)]
struct Generations {
    young: HashSet<u128, HashKey>,
    old: HashSet<u128, HashKey>,
}

/// How long an id is remembered at least: longer than a gateway with a mistake is likely to hold a
/// call back. A hostile one that waits for longer can repeat a call all the same.
const MEMORY: Duration = Duration::from_secs(60);

/// Ids of one lot. Two lots take 2.2 MiB, which are taken as calls come, and kept.
const MAX_OF_AGE: usize = 50_000;

/// A call that is about to start; dropping it says that it does not.
#[derive(Debug)]
pub(super) struct Start<'a> {
    started: &'a DedupCache,
    /// `None` if it need not be noted.
    id: Option<u128>,
}

impl DedupCache {
    /// Lets a call start, unless it has done so before, which is counted in `repeats`.
    ///
    /// # Errors
    /// `Protocol`. It did not start this time, so that whether it has run is up to the first time.
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
        if self.ages().add(id) {
            return Ok(Start { started: self, id: Some(id) });
        }
        repeats.fetch_add(1, Ordering::Relaxed);
        let (node, name, caller) = (context.node(), &*function.name, context.caller());
        let call_id = context.call_id();
        if let Some(left_out) = self.log.next(()) {
            tracing::warn!(%node, function = name, ?caller, left_out, "a call came twice");
        }
        let text = format!(
            "this call of `{name}` has started at node `{node}` before, and is not started again, \
             since the function is not `idempotent`; its id is {call_id:032x}"
        );
        Err(Error::new(ErrorKind::Protocol, text).with_evidence(Evidence::Sent).with_node(node))
    }

    /// Forgets what is old, for as long as it is polled.
    pub(in crate::node) async fn forget(&self) -> Infallible {
        let mut ticks = interval(MEMORY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.ages().pass();
        }
    }

    fn ages(&self) -> MutexGuard<'_, Generations> {
        // Every section leaves it whole.
        self.ages.lock()
    }
}

impl Generations {
    /// Notes an id. Says whether it is new.
    fn add(&mut self, id: u128) -> bool {
        if self.young.len() >= MAX_OF_AGE {
            self.pass();
        }
        !self.old.contains(&id) && self.young.insert(id)
    }

    fn remove(&mut self, id: u128) {
        if !self.young.remove(&id) {
            self.old.remove(&id);
        }
    }

    /// Makes the young ones old, and forgets those that are.
    fn pass(&mut self) {
        mem::swap(&mut self.young, &mut self.old);
        self.young.clear();
    }
}

impl Start<'_> {
    /// The function is given to those who run it.
    pub(super) fn keep(mut self) {
        self.id = None;
    }
}

impl Drop for Start<'_> {
    fn drop(&mut self) {
        if let Some(id) = self.id {
            self.started.ages().remove(id);
        }
    }
}

/// A key, by which an id is hashed as `k0 + k1 x1 + k2 x2`, the upper half of 128 bits.
///
/// Ids are random, but a gateway could choose them so that all fall on one place of a table. With
/// this function, which is strongly universal, any two do so by chance only, for whoever does not
/// know the key (Lemire and Kaser, "Strongly universal string hashing is fast", 2014), at half the
/// cost of the standard library's.
#[derive(Clone, Copy, Debug)]
struct HashKey([u128; 3]);

/// The hash of an id, by a key.
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
        // Ids come as whole numbers.
        bytes.iter().for_each(|byte| self.write_u128((*byte).into()));
    }
}

#[cfg(all(test, feature = "gateway"))]
mod tests;
