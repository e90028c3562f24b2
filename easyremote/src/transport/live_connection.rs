//! A connection that is up, as those see it who open calls on it.

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

/// A connection that is up.
#[derive(Debug)]
pub(crate) struct LiveConnection {
    pub(crate) connection: quinn::Connection,
    pub(crate) windows: Arc<StreamWindows>,
    /// Longest message that both sides allow, in bytes.
    pub(crate) max_message: usize,
    /// For small calls, unless each is to have a stream of its own.
    pub(crate) mux: Option<Arc<ClientMux>>,
    /// The number of its gateway among those of this side.
    pub(crate) gateway: usize,
    /// Since when it has been up, if it follows another one.
    follows: Option<Instant>,
    /// Whether its gateway drains.
    drains: AtomicBool,
    /// The functions that are not to be called while it does.
    slow: Mutex<Vec<String>>,
    /// Calls in a row for which its gateway had no node.
    refusals: AtomicU32,
    /// Dropped with the last user.
    _used: mpsc::Sender<Infallible>,
}

/// Resolves when nobody uses a connection any more.
#[derive(Debug)]
pub(crate) struct IdleSignal(mpsc::Receiver<Infallible>);

impl LiveConnection {
    /// `mux` is for small calls that share a stream, and what their long answers have room in. To
    /// be called on the I/O thread.
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

    /// Whether its gateway drains: it is to be left for another one, and if there is none, it takes
    /// calls that are soon over.
    pub(crate) fn drains(&self) -> bool {
        self.drains.load(Ordering::Relaxed)
    }

    pub(crate) fn set_draining(&self) {
        self.drains.store(true, Ordering::Relaxed);
    }

    /// Notes which functions are not to be called while its gateway drains.
    pub(crate) fn set_slow(&self, functions: Vec<String>) {
        *self.slow.lock() = functions;
    }

    /// Whether calls of `function` are not for this connection: its gateway drains, and would have
    /// to wait for them.
    pub(crate) fn holds_back(&self, function: &str) -> bool {
        self.drains() && self.slow.lock().iter().any(|slow| slow == function)
    }

    /// Whether its gateway has refused one call after the other lately.
    pub(crate) fn refuses(&self) -> bool {
        /// One may be a mistake of its caller.
        const IN_A_ROW: u32 = 3;
        self.refusals.load(Ordering::Relaxed) >= IN_A_ROW
    }

    /// Notes that its gateway had no node for a call.
    pub(crate) fn note_refused(&self) {
        let more = |refusals: u32| refusals.checked_add(1);
        let _ = self.refusals.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
    }

    /// Notes that its gateway had a node for a call.
    pub(crate) fn note_served(&self) {
        // As a rule there is nothing to write.
        if self.refusals.load(Ordering::Relaxed) > 0 {
            self.refusals.store(0, Ordering::Relaxed);
        }
    }

    /// How much longer than this side others may take to come back, if all take at most `limit`:
    /// what has cut this connection's predecessor may have cut theirs.
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
