//! Gauges: counts and bytes that are in use now, released when a guard is dropped.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Notify;

/// A guard that counts one in a gauge until it is dropped.
#[derive(Debug)]
pub(crate) struct Gauge<'a>(&'a AtomicU64);

impl<'a> Gauge<'a> {
    /// Increments `gauge` until the guard is dropped.
    pub(crate) fn up(gauge: &'a AtomicU64) -> Self {
        gauge.fetch_add(1, Ordering::Relaxed);
        Self(gauge)
    }
}

/// Bytes charged to a shared budget; dropping it releases them.
#[derive(Debug)]
pub(crate) struct MemoryCharge {
    budget: Arc<AtomicU64>,
    bytes: u64,
    limit: u64,
}

impl MemoryCharge {
    /// Creates an empty charge. All charges of `budget` together may have at most `limit` bytes.
    pub(crate) fn new(budget: &Arc<AtomicU64>, limit: u64) -> Self {
        Self { budget: budget.clone(), bytes: 0, limit }
    }

    /// Creates an empty charge to the same budget.
    #[cfg(feature = "http")]
    pub(crate) fn another(&self) -> Self {
        Self::new(&self.budget, self.limit)
    }

    /// Sets the charge to `bytes`, releasing what exceeds them. Returns whether the budget allows
    /// it; the bytes are charged in either case.
    pub(crate) fn set_to(&mut self, bytes: usize) -> bool {
        let less = self.bytes.saturating_sub(bytes as u64);
        if less > 0 {
            self.bytes -= less;
            self.budget.fetch_sub(less, Ordering::Relaxed);
        }
        self.bytes >= bytes as u64 || self.grow_to(bytes)
    }

    /// Charges `bytes` more if the budget allows it, and nothing otherwise. Returns whether it did.
    pub(crate) fn try_add(&mut self, bytes: u64) -> bool {
        let fits = self.budget.fetch_add(bytes, Ordering::Relaxed) + bytes <= self.limit;
        match fits {
            true => self.bytes += bytes,
            false => drop(self.budget.fetch_sub(bytes, Ordering::Relaxed)),
        }
        fits
    }

    /// Returns the number of bytes that are charged.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Raises the charge to `bytes`. Returns whether the budget allows it; the bytes are charged in
    /// either case.
    pub(crate) fn grow_to(&mut self, bytes: usize) -> bool {
        let more = (bytes as u64).saturating_sub(self.bytes);
        self.bytes += more;
        self.budget.fetch_add(more, Ordering::Relaxed) + more <= self.limit
    }
}

/// Shared memory whose users wait while it is full, instead of failing.
#[derive(Debug)]
pub(crate) struct SharedRoom {
    taken: AtomicU64,
    limit: u64,
    /// Number of users that wait.
    waiting: AtomicU64,
    /// Notified when bytes are released while a user waits.
    given_back: Notify,
}

impl SharedRoom {
    pub(crate) fn new(limit: u64) -> Arc<Self> {
        let (taken, waiting, given_back) = (AtomicU64::new(0), AtomicU64::new(0), Notify::new());
        Arc::new(Self { taken, limit, waiting, given_back })
    }

    /// Returns the bytes that are taken, and the limit.
    #[cfg(all(feature = "metrics", feature = "node"))]
    pub(crate) fn usage(&self) -> (u64, u64) {
        (self.taken.load(Ordering::Relaxed), self.limit)
    }

    /// Returns whether more bytes are taken than the limit.
    pub(crate) fn is_full(&self) -> bool {
        // `SeqCst`, as for `waiting`: in one total order either the waiting side sees the release,
        // or the releasing side sees that a user waits.
        self.taken.load(Ordering::SeqCst) > self.limit
    }

    /// Waits until the memory is not full. Cancel safe.
    pub(crate) async fn wait(&self) {
        let _waits = Gauge(&self.waiting);
        self.waiting.fetch_add(1, Ordering::SeqCst);
        loop {
            let mut given_back = pin!(self.given_back.notified());
            // Registered before the check: a release in between notifies this wait.
            given_back.as_mut().enable();
            if !self.is_full() {
                return;
            }
            given_back.await;
        }
    }
}

/// One user's share of a [`SharedRoom`]; dropping it releases the share.
#[derive(Debug)]
pub(crate) struct RoomShare {
    room: Arc<SharedRoom>,
    bytes: u64,
}

impl RoomShare {
    /// Creates an empty share.
    pub(crate) fn of(room: &Arc<SharedRoom>) -> Self {
        Self { room: room.clone(), bytes: 0 }
    }

    pub(crate) fn room(&self) -> &Arc<SharedRoom> {
        &self.room
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// Sets the share to `bytes`, also if that exceeds the limit.
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
