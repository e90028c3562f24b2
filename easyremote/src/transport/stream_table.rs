//! The open streams of a gateway or a node, with what has passed through each of them.

use std::collections::HashMap;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use crate::call::function_meter::FunctionMeter;
use crate::call::histogram::seconds;
use crate::wire::caller::{Caller, KnownCaller};
use crate::wire::directory::line;

/// An open stream of a gateway or a node, from [`Gateway::streams`](crate::Gateway::streams) and
/// [`Node::streams`](crate::Node::streams).
///
/// A party passes items on in batches. Its figures change with each batch.
///
/// | what is seen | who is slow |
/// |---|---|
/// | `stalled_for` is `Some` | the reader, or what lies between: this party waits until it may send more |
/// | `stalled_for` is `None`, and `quiet` grows | the function, or what lies between: nothing arrives |
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct StreamStats {
    /// The number of the stream: unique among the streams of this gateway or node since it started.
    #[serde(rename = "key")]
    pub number: u64,
    /// The name of the function.
    #[serde(deserialize_with = "line")]
    pub function: String,
    /// The caller, as the gateway has authenticated it.
    pub caller: Caller,
    /// The id of the node that runs the function.
    #[serde(deserialize_with = "line")]
    pub node: String,
    /// Number of items that were passed on, items that failed included.
    pub items: u64,
    /// Encoded bytes of these items; at a gateway also those of an item that is on its way.
    pub bytes: u64,
    /// Number of items that the operators of the stream have left out at the node.
    pub skipped: u64,
    /// Time since the stream was opened.
    #[serde(rename = "age_seconds", with = "seconds")]
    pub age: Duration,
    /// Time since items came last; since the stream was opened if none has come.
    #[serde(rename = "quiet_seconds", with = "seconds")]
    pub quiet: Duration,
    /// How long items have waited in all until they could be sent, because the reader was slow.
    #[serde(rename = "stalled_seconds", with = "seconds")]
    pub stalled: Duration,
    /// How long items have been waiting now; `None` if nothing waits to be sent.
    #[serde(rename = "stalled_for_seconds", with = "seconds::optional")]
    pub stalled_for: Option<Duration>,
}

/// The open streams. Bounded by what bounds the calls of the party.
#[derive(Debug, Default)]
pub(crate) struct StreamTable {
    open: Mutex<HashMap<u64, Arc<StreamMeter>>>,
    next: AtomicU64,
}

impl StreamTable {
    /// Enters a stream, until the returned guard is dropped.
    pub(crate) fn enter(
        &self,
        function: &str,
        caller: &KnownCaller,
        node: &str,
        function_meter: &Arc<FunctionMeter>,
    ) -> MeteredStream<'_> {
        let meter = Arc::new(StreamMeter {
            function: function.to_owned(),
            caller: caller.clone(),
            node: node.to_owned(),
            of_function: function_meter.clone(),
            opened: Instant::now(),
            items: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            skipped: AtomicU64::new(0),
            last: AtomicU64::new(0),
            stalled: AtomicU64::new(0),
            stalled_since: AtomicU64::new(0),
        });
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        self.open.lock().insert(number, meter.clone());
        MeteredStream { table: self, number, meter }
    }

    /// Returns the number of open streams.
    pub(crate) fn n(&self) -> u64 {
        self.open.lock().len() as u64
    }

    /// Returns the figures of all open streams, the oldest first.
    pub(crate) fn stats(&self) -> Vec<StreamStats> {
        self.first(usize::MAX)
    }

    /// Returns the figures of the first `n` open streams, the oldest first.
    pub(crate) fn first(&self, n: usize) -> Vec<StreamStats> {
        let mut open: Vec<_> = {
            let open = self.open.lock();
            open.iter().map(|(number, meter)| (*number, meter.clone())).collect()
        };
        open.sort_unstable_by_key(|(number, _)| *number);
        open.iter().take(n).map(|(number, meter)| meter.stats(*number)).collect()
    }
}

/// What has passed through one stream. Times are in nanoseconds since `opened`; 0 stands for none.
///
/// One task writes, and others read. The fields are read one by one, so that they may be of
/// different moments.
#[derive(Debug)]
pub(crate) struct StreamMeter {
    function: String,
    caller: KnownCaller,
    node: String,
    /// The figures of all streams of the function.
    of_function: Arc<FunctionMeter>,
    opened: Instant,
    items: AtomicU64,
    bytes: AtomicU64,
    skipped: AtomicU64,
    last: AtomicU64,
    stalled: AtomicU64,
    stalled_since: AtomicU64,
}

impl StreamMeter {
    /// Records that a batch has come, after which there have been `items` of `bytes` in all, and
    /// operators have left out `skipped` others.
    pub(crate) fn note(&self, (items, bytes): (u64, u64), skipped: u64) {
        let before = [&self.items, &self.bytes].map(|count| count.load(Ordering::Relaxed));
        self.items.store(items, Ordering::Relaxed);
        self.bytes.store(bytes, Ordering::Relaxed);
        let [more_items, more_bytes] =
            [items.saturating_sub(before[0]), bytes.saturating_sub(before[1])];
        self.of_function.passed(more_items, more_bytes);
        let before = self.skipped.load(Ordering::Relaxed);
        if skipped > before {
            self.skipped.store(skipped, Ordering::Relaxed);
            self.of_function.skipped(skipped - before);
        }
        self.last.store(self.now(), Ordering::Relaxed);
    }

    /// Awaits `sending`, and counts the time that it waits.
    pub(crate) async fn send<F: Future>(&self, sending: F) -> F::Output {
        let mut sending = pin!(sending);
        let mut stall = None;
        std::future::poll_fn(|context| {
            let polled = sending.as_mut().poll(context);
            // Most batches are sent at once, and need no clock.
            if polled.is_pending() && stall.is_none() {
                stall = Some(Stall::begin(self));
            }
            match polled {
                Poll::Ready(sent) => {
                    stall = None;
                    Poll::Ready(sent)
                }
                Poll::Pending => Poll::Pending,
            }
        })
        .await
    }

    fn now(&self) -> u64 {
        (self.opened.elapsed().as_nanos() as u64).max(1)
    }

    fn stats(&self, number: u64) -> StreamStats {
        let now = self.now();
        let since = |then: u64| Duration::from_nanos(now.saturating_sub(then));
        let stalled_since = self.stalled_since.load(Ordering::Relaxed);
        let stalled_for = (stalled_since > 0).then(|| since(stalled_since));
        let stalled = Duration::from_nanos(self.stalled.load(Ordering::Relaxed));
        StreamStats {
            number,
            function: self.function.clone(),
            caller: Caller::clone(&self.caller),
            node: self.node.clone(),
            items: self.items.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
            skipped: self.skipped.load(Ordering::Relaxed),
            age: Duration::from_nanos(now),
            quiet: since(self.last.load(Ordering::Relaxed)),
            stalled: stalled + stalled_for.unwrap_or_default(),
            stalled_for,
        }
    }
}

/// Counts as stalled until it is dropped, also with a future that is not polled again.
struct Stall<'a>(&'a StreamMeter);

impl<'a> Stall<'a> {
    fn begin(meter: &'a StreamMeter) -> Self {
        meter.stalled_since.store(meter.now(), Ordering::Relaxed);
        Self(meter)
    }
}

impl Drop for Stall<'_> {
    fn drop(&mut self) {
        let since = self.0.stalled_since.swap(0, Ordering::Relaxed);
        let stalled = self.0.now().saturating_sub(since);
        self.0.stalled.fetch_add(stalled, Ordering::Relaxed);
        self.0.of_function.stalled(stalled);
    }
}

/// A stream in a [`StreamTable`]; dropping it takes it out.
#[derive(Debug)]
pub(crate) struct MeteredStream<'a> {
    table: &'a StreamTable,
    number: u64,
    pub(crate) meter: Arc<StreamMeter>,
}

impl Drop for MeteredStream<'_> {
    fn drop(&mut self) {
        self.table.open.lock().remove(&self.number);
    }
}
