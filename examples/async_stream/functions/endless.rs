//! Endless streams, and the number of those that are running: a caller can check that a stream that
//! it has dropped is gone.

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use easyremote::remote;
use futures::{Stream, stream};

use super::seconds;

static ALIVE: AtomicU64 = AtomicU64::new(0);

/// Counts a stream while it exists.
struct Alive;

impl Alive {
    fn new() -> Self {
        ALIVE.fetch_add(1, Ordering::SeqCst);
        Self
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        ALIVE.fetch_sub(1, Ordering::SeqCst);
    }
}

/// 0, 1, 2 and so on, one every `interval` seconds, as an async stream.
#[remote(stream)]
pub(crate) fn endless_stream(interval: f64) -> impl Stream<Item = u64> {
    stream::unfold((0, Alive::new()), move |(n, alive)| async move {
        tokio::time::sleep(seconds(interval)).await;
        Some((n, (n + 1, alive)))
    })
}

/// 0, 1, 2 and so on, one every `interval` seconds, as a sync iterator.
#[remote(stream)]
pub(crate) fn endless_iterator(interval: f64) -> impl Iterator<Item = u64> {
    let alive = Alive::new();
    (0..).inspect(move |_| {
        let _alive = &alive;
        thread::sleep(seconds(interval));
    })
}

/// The number of endless streams and iterators that are running at this node.
#[remote]
pub(crate) fn endless_alive() -> u64 {
    ALIVE.load(Ordering::SeqCst)
}
