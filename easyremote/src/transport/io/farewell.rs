//! The end of a role: requested by its handle, which waits until the peers know of it.

use std::sync::Mutex;
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use tokio_util::sync::{CancellationToken, DropGuard};

/// Maximum time that dropping a role's handle blocks. It usually takes well under a millisecond;
/// the limit is for an overloaded machine.
pub(super) const GOODBYE: Duration = Duration::from_millis(100);

/// Held by code that still has to notify peers of the end of the role. Dropping the
/// handle of the role waits for all clones.
#[derive(Clone, Debug)]
pub(crate) struct GoodbyeGuard {
    /// Nothing is ever sent; dropping it disconnects the channel.
    _saying: mpsc::Sender<()>,
}

/// Held by the handle of a role.
#[derive(Debug)]
pub(super) struct Farewell {
    /// Cancelled to request the end.
    stop: CancellationToken,
    /// Disconnected when the peers have been notified; the mutex only makes it `Sync`.
    said: Mutex<Receiver<()>>,
    /// Cancelled when the role has ended and its sockets are closed.
    over: CancellationToken,
}

impl Farewell {
    /// Returns also what the role holds: a guard until its peers are notified, and one until it has
    /// ended.
    pub(super) fn new() -> (Self, GoodbyeGuard, DropGuard) {
        let (saying, said) = mpsc::channel();
        let over = CancellationToken::new();
        let ending = over.clone().drop_guard();
        let farewell = Self { stop: CancellationToken::new(), said: Mutex::new(said), over };
        (farewell, GoodbyeGuard { _saying: saying }, ending)
    }

    /// Returns a token that is cancelled to request the end.
    pub(super) fn stop_token(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// Requests the role to end.
    pub(super) fn stop(&self) {
        self.stop.cancel();
    }

    /// Waits until the role has ended and its sockets are closed. Cancel safe.
    pub(super) async fn ended(&self) {
        self.over.cancelled().await;
    }

    /// Blocks until all clones of the guard are dropped, and for at most [`GOODBYE`].
    pub(super) fn wait_until_said(&self) {
        if let Ok(said) = self.said.lock() {
            // Both outcomes are fine: the peers are notified, or the time is over.
            let _ = said.recv_timeout(GOODBYE);
        }
    }

    /// Returns a token that is cancelled when the role has ended.
    #[cfg(test)]
    pub(super) fn over_token(&self) -> CancellationToken {
        self.over.clone()
    }
}
