//! An open connection, as seen by its calls.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::transport::mux;
use crate::transport::mux::client::ClientMux;
use crate::transport::quic::windows::StreamWindows;
use crate::transport::reassembly::ReassemblyBudget;

/// An open connection to a gateway.
#[derive(Debug)]
pub(crate) struct LiveConnection {
    pub(crate) connection: quinn::Connection,
    pub(crate) windows: Arc<StreamWindows>,
    /// Maximum message size that both sides allow, in bytes.
    pub(crate) max_message: usize,
    /// The multiplexed stream for small calls; `None` if each uses a separate stream.
    pub(crate) mux: Option<Arc<ClientMux>>,
    /// The number of its gateway.
    pub(crate) gateway: usize,
    /// When it was established, if there was a connection before.
    follows: Option<Instant>,
    /// Whether its gateway drains.
    drains: AtomicBool,
    /// Functions that must not be called while the gateway drains.
    slow: Mutex<Vec<String>>,
    /// Consecutive calls for which its gateway had no node.
    refusals: AtomicU32,
    /// Dropped with the last user of the connection.
    _used: mpsc::Sender<Infallible>,
}

/// Resolves when a connection has no users any more.
#[derive(Debug)]
pub(crate) struct IdleSignal(mpsc::Receiver<Infallible>);

impl LiveConnection {
    /// Creates the handle. With `muxes`, small calls share a multiplexed stream, and their long
    /// responses use that memory budget. Call this in an I/O task.
    pub(crate) fn new(
        connection: quinn::Connection,
        windows: Arc<StreamWindows>,
        max_message: usize,
        muxes: Option<Arc<ReassemblyBudget>>,
        gateway: usize,
        again: bool,
    ) -> (Self, IdleSignal) {
        let (_used, unused) = mpsc::channel(1);
        let follows = again.then(Instant::now);
        let mux = muxes
            .map(|room| mux::client::open(connection.clone(), windows.clone(), max_message, room));
        let (drains, slow, refusals) = Default::default();
        let live = Self {
            connection,
            windows,
            max_message,
            mux,
            gateway,
            follows,
            drains,
            slow,
            refusals,
            _used,
        };
        (live, IdleSignal(unused))
    }

    /// Returns whether the gateway drains: calls should use another gateway. If there is none, this
    /// one accepts calls that end soon.
    pub(crate) fn drains(&self) -> bool {
        self.drains.load(Ordering::Relaxed)
    }

    pub(crate) fn set_draining(&self) {
        self.drains.store(true, Ordering::Relaxed);
    }

    /// Sets the functions that must not be called while the gateway drains.
    pub(crate) fn set_slow(&self, functions: Vec<String>) {
        *self.slow.lock() = functions;
    }

    /// Returns whether calls of `function` must wait: the gateway drains, and would have to wait
    /// for them.
    pub(crate) fn holds_back(&self, function: &str) -> bool {
        self.drains() && self.slow.lock().iter().any(|slow| slow == function)
    }

    /// Returns whether the gateway had no node for several consecutive calls.
    pub(crate) fn refuses(&self) -> bool {
        /// A single one may be a mistake of its caller.
        const IN_A_ROW: u32 = 3;
        self.refusals.load(Ordering::Relaxed) >= IN_A_ROW
    }

    /// Records that the gateway had no node for a call.
    pub(crate) fn note_refused(&self) {
        let more = |refusals: u32| refusals.checked_add(1);
        let _ = self.refusals.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
    }

    /// Records that the gateway had a node for a call.
    pub(crate) fn note_served(&self) {
        // Usually it is 0 already, and nothing is written.
        if self.refusals.load(Ordering::Relaxed) > 0 {
            self.refusals.store(0, Ordering::Relaxed);
        }
    }

    /// Returns how much longer other peers may take to reconnect than this one, if all take at most
    /// `limit`: the event that ended the previous connection may have ended theirs.
    pub(crate) fn others_may_take(&self, limit: Duration) -> Duration {
        self.follows.map_or(Duration::ZERO, |since| limit.saturating_sub(since.elapsed()))
    }
}

impl IdleSignal {
    /// Waits until the [`LiveConnection`] is dropped. Cancel safe.
    pub(crate) async fn wait(&mut self) {
        self.0.recv().await;
    }
}
