//! The end of a gateway, which all its threads come to together.

use std::future::pending;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio_util::sync::CancellationToken;

/// Whether the gateway ends.
///
/// A gateway that ends closes all connections, but not in one instant: each thread closes those of
/// its own peers. What becomes of a call meanwhile may be a consequence of the end. For example, a
/// node that has been disconnected is lost, and a function that only it offers does not exist any
/// more. Callers that are still connected must not be told so: for them, the gateway has ended.
///
/// So nothing is told to callers from [`begin`](Self::begin) on. `begin` precedes the first close,
/// and a task that learns of the close reads the flag after that: no consequence is ever told.
#[derive(Debug, Default)]
pub(super) struct Ending {
    begun: AtomicBool,
    token: CancellationToken,
}

impl Ending {
    /// Begins the end. Call this before the first connection is closed.
    pub(super) fn begin(&self) {
        self.begun.store(true, Ordering::SeqCst);
        self.token.cancel();
    }

    /// Returns whether the end has begun, so that callers must not be told anything.
    pub(super) fn has_begun(&self) -> bool {
        self.begun.load(Ordering::SeqCst)
    }

    /// Waits until the end begins. Cancel safe.
    pub(super) async fn begun(&self) {
        self.token.cancelled().await;
    }

    /// Returns at once, unless the end has begun. Then it never returns: the task, which is about
    /// to tell a caller something, is dropped with the caller's session.
    pub(super) async fn hold(&self) {
        if self.has_begun() {
            pending::<()>().await;
        }
    }
}

/// Begins the end when it is dropped: a thread that ends, for whatever reason, takes the others
/// with it.
#[derive(Debug)]
pub(super) struct EndsAll<'a>(pub(super) &'a Ending);

impl Drop for EndsAll<'_> {
    fn drop(&mut self) {
        self.0.begin();
    }
}
