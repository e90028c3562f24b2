//! Which calls have started here, so that none starts again.
//!
//! Callers and gateways send a call again only if it provably did not start, or its function is
//! `idempotent`. The node does not rely on that: what is broken or hostile on the way must not run
//! anything twice. Calls of `idempotent` functions may be repeated, and are not noted.

use std::collections::HashSet;
use std::convert::Infallible;
use std::mem;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use tokio::time::{MissedTickBehavior, interval};

use crate::call::executed::Evidence;
use crate::error::{Error, ErrorKind};
use crate::function::context::Context;
use crate::function::registry::Function;

/// The ids of the calls that have started lately: of the last minute at least, but of no more than
/// the last [`MAX_OF_AGE`] to twice that.
#[derive(Debug, Default)]
pub(in crate::node) struct DedupCache(Mutex<Generations>);

/// Ids in two lots: the older one is forgotten as a whole when the younger one, which takes its
/// place, is old or full. So there is no time to keep for each.
///
/// Ids are random, but a hostile gateway could choose them. The standard library's hash has a
/// random key, so that it cannot make them all fall on one place of a table.
#[derive(Debug, Default)]
struct Generations {
    young: HashSet<u128>,
    old: HashSet<u128>,
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
        let id = context.call_id();
        if function.descriptor.idempotent {
            return Ok(Start { started: self, id: None });
        }
        if self.ages().add(id) {
            return Ok(Start { started: self, id: Some(id) });
        }
        repeats.fetch_add(1, Ordering::Relaxed);
        let (node, name, caller) = (context.node(), &*function.name, context.caller());
        tracing::warn!(%node, function = name, ?caller, "a call came twice");
        let text = format!(
            "this call of `{name}` has started at node `{node}` before, and is not started again, \
             since the function is not `idempotent`; its id is {id:032x}"
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
        self.0.lock()
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

#[cfg(test)]
mod tests;
