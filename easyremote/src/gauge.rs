//! Counting what is there now.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Notify;

/// Counts something for as long as it lives.
#[derive(Debug)]
pub(crate) struct Gauge<'a>(&'a AtomicU64);

impl<'a> Gauge<'a> {
    pub(crate) fn up(gauge: &'a AtomicU64) -> Self {
        gauge.fetch_add(1, Ordering::Relaxed);
        Self(gauge)
    }
}

/// Bytes charged to a budget that several share; dropping it gives them back.
#[derive(Debug)]
pub(crate) struct MemoryCharge {
    budget: Arc<AtomicU64>,
    bytes: u64,
    limit: u64,
}

impl MemoryCharge {
    /// Nothing yet, of at most `limit` bytes for all that share `budget`.
    pub(crate) fn new(budget: &Arc<AtomicU64>, limit: u64) -> Self {
        Self { budget: budget.clone(), bytes: 0, limit }
    }

    /// Charges `bytes` in all, and gives back what was charged beyond that. Says whether the budget
    /// allows it.
    pub(crate) fn set_to(&mut self, bytes: usize) -> bool {
        let less = self.bytes.saturating_sub(bytes as u64);
        if less > 0 {
            self.bytes -= less;
            self.budget.fetch_sub(less, Ordering::Relaxed);
        }
        self.bytes >= bytes as u64 || self.grow_to(bytes)
    }

    /// Charges `bytes` more, if the budget allows it, and nothing otherwise. Says which.
    pub(crate) fn try_add(&mut self, bytes: u64) -> bool {
        let fits = self.budget.fetch_add(bytes, Ordering::Relaxed) + bytes <= self.limit;
        match fits {
            true => self.bytes += bytes,
            false => drop(self.budget.fetch_sub(bytes, Ordering::Relaxed)),
        }
        fits
    }

    /// The bytes that are charged.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Charges `bytes` in all. Says whether the budget allows that.
    pub(crate) fn grow_to(&mut self, bytes: usize) -> bool {
        let more = (bytes as u64).saturating_sub(self.bytes);
        self.bytes += more;
        self.budget.fetch_add(more, Ordering::Relaxed) + more <= self.limit
    }
}

/// Memory that several share who do not fail when there is none left, but wait.
#[derive(Debug)]
pub(crate) struct SharedRoom {
    taken: AtomicU64,
    limit: u64,
    /// How many wait.
    waiting: AtomicU64,
    /// Notified when something is given back for which somebody waits.
    given_back: Notify,
}

impl SharedRoom {
    pub(crate) fn new(limit: u64) -> Arc<Self> {
        let (taken, waiting, given_back) = (AtomicU64::new(0), AtomicU64::new(0), Notify::new());
        Arc::new(Self { taken, limit, waiting, given_back })
    }

    /// Whether more is taken than there is.
    pub(crate) fn is_full(&self) -> bool {
        // In one order with `waiting`: either the one who waits sees what is given back, or the one
        // who gives it back sees that somebody waits.
        self.taken.load(Ordering::SeqCst) > self.limit
    }

    /// Waits until it is not full. Cancel safe.
    pub(crate) async fn wait(&self) {
        let _waits = Gauge(&self.waiting);
        self.waiting.fetch_add(1, Ordering::SeqCst);
        loop {
            let mut given_back = pin!(self.given_back.notified());
            given_back.as_mut().enable();
            if !self.is_full() {
                return;
            }
            given_back.await;
        }
    }
}

/// What one of them has of a [`SharedRoom`]; dropping it gives it back.
#[derive(Debug)]
pub(crate) struct RoomShare {
    room: Arc<SharedRoom>,
    bytes: u64,
}

impl RoomShare {
    /// Nothing yet.
    pub(crate) fn of(room: &Arc<SharedRoom>) -> Self {
        Self { room: room.clone(), bytes: 0 }
    }

    pub(crate) fn room(&self) -> &Arc<SharedRoom> {
        &self.room
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// Takes so much in all, whether or not there is as much.
    pub(crate) fn set_to(&mut self, bytes: u64) {
        let SharedRoom { taken, waiting, given_back, .. } = &*self.room;
        if bytes > self.bytes {
            taken.fetch_add(bytes - self.bytes, Ordering::SeqCst);
        } else if bytes < self.bytes {
            taken.fetch_sub(self.bytes - bytes, Ordering::SeqCst);
            if waiting.load(Ordering::SeqCst) > 0 {
                given_back.notify_waiters();
            }
        }
        self.bytes = bytes;
    }
}

impl Drop for RoomShare {
    fn drop(&mut self) {
        self.set_to(0);
    }
}

impl Drop for MemoryCharge {
    fn drop(&mut self) {
        self.budget.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

impl Drop for Gauge<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
