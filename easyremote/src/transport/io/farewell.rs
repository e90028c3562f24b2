//! Waiting until the peers of a role know that it ends.

use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

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

/// Waits for the clones of a [`GoodbyeGuard`].
#[derive(Debug)]
pub(crate) struct Farewell {
    /// Disconnected when the peers have been notified; the mutex only makes it `Sync`.
    said: std::sync::Mutex<Receiver<()>>,
}

impl GoodbyeGuard {
    pub(crate) fn new() -> (Self, Farewell) {
        let (saying, said) = mpsc::channel();
        (Self { _saying: saying }, Farewell { said: std::sync::Mutex::new(said) })
    }
}

impl Farewell {
    /// Blocks until all clones of the guard are dropped, and for at most [`GOODBYE`].
    pub(crate) fn wait(&self) {
        if let Ok(said) = self.said.lock() {
            // Both outcomes are fine: the peers are notified, or the time is over.
            let _ = said.recv_timeout(GOODBYE);
        }
    }
}
