//! The terms on which a node runs a function: the options of its implementation.

use std::future::Future;
use std::sync::Arc;

use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};

use crate::function::item_writer::ItemSizeEstimate;
use crate::function::poll_time::PollTimeEstimate;

/// On which terms a node runs a function.
#[derive(Clone, Debug, Default)]
pub(crate) struct ExecutionPolicy {
    /// It runs on when its caller is gone.
    pub(crate) detached: bool,
    /// The tags that the node must have.
    pub(crate) needs: &'static [&'static str],
    /// Calls of it that may run at a time; 0 if they are not limited.
    pub(crate) concurrency: u32,
    /// How long it takes before it first waits.
    pub(crate) poll_time: Arc<PollTimeEstimate>,
    /// How long its items are.
    pub(crate) item_sizes: Arc<ItemSizeEstimate>,
    semaphore: Option<Arc<Semaphore>>,
}

/// A call's places at its node: that among the calls of its function, and that among all.
#[derive(Debug)]
pub(crate) struct Permits {
    _own: Option<OwnedSemaphorePermit>,
    _shared: OwnedSemaphorePermit,
}

impl ExecutionPolicy {
    /// Counts calls apart from those of which these are a copy.
    pub(crate) fn renew(&mut self) {
        self.semaphore = semaphore(self.concurrency);
        self.poll_time = Arc::default();
        self.item_sizes = Arc::default();
    }

    /// Lets at most `calls` run at a time.
    pub(super) fn limit(&mut self, calls: u32) {
        self.concurrency = calls;
        self.semaphore = semaphore(calls);
    }

    /// A place as [`permits`](Self::permits) gives, if there is one at once.
    pub(crate) fn try_permits(&self, shared: &Arc<Semaphore>) -> Option<Permits> {
        let own = match &self.semaphore {
            Some(own) => Some(own.clone().try_acquire_owned().ok()?),
            None => None,
        };
        Some(Permits { _own: own, _shared: shared.clone().try_acquire_owned().ok()? })
    }

    /// Waits for a place among the calls of the function, and then for one of the node's, `shared`
    /// by all functions. In this order a call that waits for its own function is in nobody's way.
    pub(crate) fn permits(
        &self,
        shared: &Arc<Semaphore>,
    ) -> impl Future<Output = Result<Permits, AcquireError>> + use<> {
        let (own, shared) = (self.semaphore.clone(), shared.clone());
        async move {
            let own = match own {
                Some(own) => Some(own.acquire_owned().await?),
                None => None,
            };
            Ok(Permits { _own: own, _shared: shared.acquire_owned().await? })
        }
    }
}

fn semaphore(calls: u32) -> Option<Arc<Semaphore>> {
    let permits = usize::try_from(calls).unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS);
    (calls > 0).then(|| Arc::new(Semaphore::new(permits)))
}
