//! The execution policy of a function: the options of its implementation, its limit of concurrent
//! calls, and what the node has measured of it.

use std::future::Future;
use std::sync::Arc;

use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};

use crate::function::inline_guard::InlineGuard;
use crate::function::item_writer::ItemSizeEstimate;
use crate::function::poll_time::PollTimeEstimate;

/// How a node runs a function.
#[derive(Clone, Debug, Default)]
pub(crate) struct ExecutionPolicy {
    /// Whether the function runs on after its caller has left.
    pub(crate) detached: bool,
    /// The tags that the node must have.
    pub(crate) needs: &'static [&'static str],
    /// Maximum number of calls that run at a time, or of runs of a batch function; 0 means no
    /// limit.
    pub(crate) concurrency: u32,
    /// For a batch function, the maximum number of calls in a run; 0 for every other function.
    batch: u32,
    /// Estimate of the duration of the first poll, or of a sync function.
    pub(crate) poll_time: Arc<PollTimeEstimate>,
    /// Decides whether an `inline` function runs in the task that reads.
    pub(crate) inline_guard: Arc<InlineGuard>,
    /// Estimate of the length of items and results.
    pub(crate) item_sizes: Arc<ItemSizeEstimate>,
    /// Whether the function can leave out the items that its caller has.
    pub(crate) resumes: bool,
    /// How many bytes of a resumable stream the node keeps; `None` for [`REPLAY`].
    pub(super) replay: Option<u64>,
    semaphore: Option<Arc<Semaphore>>,
}

/// How many bytes of a resumable stream a node keeps until its reader has taken them, unless the
/// function says otherwise: four times the window of a stream, so that the buffer slows no reader
/// over a common network down.
const REPLAY: u64 = 1 << 20;

/// The permits of a running call: one of its function, if that is limited, and one of the node.
#[derive(Debug)]
pub(crate) struct Permits {
    _own: Option<OwnedSemaphorePermit>,
    _shared: OwnedSemaphorePermit,
}

impl ExecutionPolicy {
    /// Detaches the limit and the estimates from those of the policy that this is a clone of.
    pub(crate) fn renew(&mut self) {
        self.limit(self.concurrency);
        self.poll_time = Arc::default();
        self.inline_guard = Arc::default();
        self.item_sizes = Arc::default();
    }

    /// Returns how many bytes of a resumable stream the node keeps until its reader has taken them.
    pub(crate) fn replay(&self) -> u64 {
        self.replay.unwrap_or(REPLAY)
    }

    /// Limits the calls that run at a time to `calls`.
    pub(super) fn limit(&mut self, calls: u32) {
        self.concurrency = calls;
        // The calls of a batch function wait for a run, which is what is limited.
        self.semaphore = if self.batch > 0 { None } else { semaphore(calls) };
    }

    /// Makes it the policy of a batch function that runs up to `calls` calls together.
    pub(super) fn set_batch(&mut self, calls: u32) {
        self.batch = calls;
    }

    /// Returns how many calls a gateway may send at a time; 0 means no limit.
    ///
    /// Calls of a batch function beyond that wait at the gateway, which can still choose another
    /// node for them.
    pub(crate) fn max_calls(&self) -> u64 {
        match self.batch {
            0 => self.concurrency.into(),
            _ if self.concurrency == 0 => 0,
            calls => (u64::from(self.concurrency) + BATCHES_AHEAD) * u64::from(calls),
        }
    }

    /// Like [`permits`](Self::permits), but returns `None` instead of waiting.
    pub(crate) fn try_permits(&self, shared: &Arc<Semaphore>) -> Option<Permits> {
        let own = match &self.semaphore {
            Some(own) => Some(own.clone().try_acquire_owned().ok()?),
            None => None,
        };
        Some(Permits { _own: own, _shared: shared.clone().try_acquire_owned().ok()? })
    }

    /// Acquires a permit of the function, and then one of the node's, `shared` by all functions.
    ///
    /// In this order, a call that waits for its own function's limit does not hold a permit that
    /// other functions could use.
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

/// Number of batches that wait at a node behind those that run: the node stays busy, with full
/// batches, as long as a round trip to the gateway takes no longer than 32 runs.
const BATCHES_AHEAD: u64 = 32;

fn semaphore(calls: u32) -> Option<Arc<Semaphore>> {
    let permits = usize::try_from(calls).unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS);
    (calls > 0).then(|| Arc::new(Semaphore::new(permits)))
}
