//! The figures of one function at one party: how its calls have ended, how long they took, and what
//! its streams have carried.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::call::batch_meter::{BatchMeter, BatchStats};
use crate::call::histogram::{DurationHistogram, LiveHistogram, seconds};
use crate::error::ErrorKind;

/// The figures of one function since the gateway or node started, from
/// [`Gateway::functions`](crate::Gateway::functions),
/// [`Client::function_stats`](crate::Client::function_stats) and
/// [`Node::functions`](crate::Node::functions).
///
/// Operators have none, because they are not called: what they leave out and how they fail counts for the
/// function whose stream they are applied to.
///
/// Each call ends in exactly one of `returned`, `faults` and `errors`, as seen by the party that
/// counts. Fields are read one after the other while calls go on, so that they may differ by the
/// calls that end meanwhile.
///
/// ```
/// # use easyremote::{Client, Error, Gateway, Node, functions, remote};
/// # #[remote]
/// # fn add(a: i64, b: i64) -> i64 {
/// #     a + b
/// # }
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Error> {
/// # let gateway = Gateway::serve("127.0.0.1:0").await?;
/// # let _node = Node::serve(gateway.local_addr(), functions![add]).await?;
/// # let client = Client::connect(gateway.local_addr()).await?;
/// add::call(&client, 1, 2).await?;
/// let stats = &gateway.functions()[0];
/// assert_eq!((&*stats.function, stats.returned, stats.ended()), ("add", 1, 1));
/// assert_eq!(stats.ran.count(), 1);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
#[doc(alias = "metrics")]
pub struct FunctionStats {
    /// The name of the function. `easyremote.other` at a gateway stands for all calls of functions
    /// that no node has offered, and for functions beyond the first 1,024.
    #[serde(deserialize_with = "ends::line")]
    pub function: String,
    /// Gauge: calls that run, or are on their way to the node.
    pub in_flight: u64,
    /// Gauge: calls that wait for room, at a gateway also those that wait for a node, and are not
    /// included in `in_flight`.
    pub waiting: u64,
    /// Counter: calls that returned a value, and streams that ended without an error. A job counts
    /// here at a gateway once its node has accepted it.
    pub returned: u64,
    /// Counter: calls that returned the function's own error, also as the set-up of a stream.
    pub faults: u64,
    /// Counters: calls that failed otherwise, by kind, in the order of the kinds; those of 0 are
    /// left out. A caller that has left counts as [`Cancelled`](ErrorKind::Cancelled).
    #[serde(with = "ends")]
    pub errors: Vec<(ErrorKind, u64)>,
    /// How long calls waited until they were first sent to a node or, at a node, until their
    /// functions started. Calls that failed before that are not included.
    pub queued: DurationHistogram,
    /// How long calls took from there to their end, at a gateway the way to the node and back
    /// included, and the way to another node if the first was lost; for a stream until its end.
    pub ran: DurationHistogram,
    /// Counter: items that streams have passed on.
    pub items: u64,
    /// Counter: encoded bytes of these items.
    pub bytes: u64,
    /// Counter: items that the operators of streams have left out at the node, such as
    /// [`sample`](crate::StreamCall::sample). A node tells it with the item that it sends next, or with
    /// the end. At a gateway, what was left out while a stream was interrupted may be missing.
    pub skipped: u64,
    /// How long items have waited in all until they could be sent, because their readers were slow.
    #[serde(rename = "stalled_seconds", with = "seconds")]
    pub stalled: Duration,
    /// The runs of a batch function. Only a node knows them; at a gateway all figures are 0.
    #[serde(skip)]
    pub batches: BatchStats,
}

impl FunctionStats {
    /// Returns the number of calls that have ended.
    #[must_use]
    pub fn ended(&self) -> u64 {
        // Saturates: a gateway may send any counts.
        let errors = self.errors.iter().fold(0_u64, |sum, (_, n)| sum.saturating_add(*n));
        self.returned.saturating_add(self.faults).saturating_add(errors)
    }
}

/// How gateways write the figures, for clients and over HTTP: kinds of errors by their names.
mod ends {
    use std::collections::BTreeMap;

    use serde::{Deserialize, Deserializer, Serializer};

    use crate::error::{ErrorKind, printable};

    /// The longest name that is shown.
    const MAX_SHOWN: usize = 128;

    pub(super) fn serialize<S: Serializer>(
        errors: &[(ErrorKind, u64)],
        to: S,
    ) -> Result<S::Ok, S::Error> {
        to.collect_map(errors.iter().map(|(kind, n)| (format!("{kind:?}"), n)))
    }

    /// Leaves out kinds that only later versions know.
    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Vec<(ErrorKind, u64)>, D::Error> {
        let named = BTreeMap::<String, u64>::deserialize(from)?;
        let of = |kind: &ErrorKind| Some((*kind, *named.get(&format!("{kind:?}"))?));
        Ok(ErrorKind::ALL.iter().filter_map(of).collect())
    }

    /// Decodes a name as one printable line.
    pub(super) fn line<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
        Ok(printable::one_line(&String::deserialize(from)?, MAX_SHOWN).into_owned())
    }
}

/// The name under which a gateway counts the calls of all functions that have no name of their own
/// among its figures. It is reserved, so that no node can offer it.
pub(crate) const OTHER: &str = "easyremote.other";

/// The ways in which a call can end, each with its own counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CallEnd {
    Returned,
    Fault,
    Error(ErrorKind),
}

/// Number of ways in which a call may end.
const N_ENDS: usize = ErrorKind::ALL.len() + 2;

impl CallEnd {
    /// Returns a number below [`N_ENDS`]: the codes of the kinds follow each other from 1 on.
    pub(crate) fn index(self) -> u8 {
        match self {
            Self::Returned => 0,
            Self::Error(kind) => kind.code() as u8,
            Self::Fault => N_ENDS as u8 - 1,
        }
    }

    /// Returns the end with this [`index`](Self::index).
    #[cfg(feature = "gateway")]
    pub(crate) fn from_index(index: u8) -> Option<Self> {
        match index {
            0 => Some(Self::Returned),
            fault if usize::from(fault) == N_ENDS - 1 => Some(Self::Fault),
            code => ErrorKind::from_code(code.into()).map(Self::Error),
        }
    }
}

/// The figures of one function, while they are recorded. Lock-free.
#[derive(Debug)]
pub(crate) struct FunctionMeter {
    in_flight: AtomicU64,
    waiting: AtomicU64,
    ends: [AtomicU64; N_ENDS],
    queued: LiveHistogram,
    ran: LiveHistogram,
    items: AtomicU64,
    bytes: AtomicU64,
    skipped: AtomicU64,
    stalled: AtomicU64,
    pub(crate) batches: BatchMeter,
}

// Not derived: the standard library has no default for arrays of more than 32 elements.
impl Default for FunctionMeter {
    fn default() -> Self {
        Self {
            in_flight: AtomicU64::new(0),
            waiting: AtomicU64::new(0),
            ends: std::array::from_fn(|_| AtomicU64::new(0)),
            queued: LiveHistogram::default(),
            ran: LiveHistogram::default(),
            items: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            skipped: AtomicU64::new(0),
            stalled: AtomicU64::new(0),
            batches: BatchMeter::default(),
        }
    }
}

impl FunctionMeter {
    /// Counts a call that has waited for `queued`, until [`left`](Self::left).
    pub(crate) fn entered(&self, queued: Duration) {
        self.queued.record(queued);
        self.entered_again();
    }

    /// Counts a call that has [entered](Self::entered) and left before, and goes on.
    pub(crate) fn entered_again(&self) {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a call that waits, until [`started`](Self::started) or
    /// [`withdrawn`](Self::withdrawn).
    #[cfg(feature = "node")]
    pub(crate) fn arrived(&self) {
        self.waiting.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a call that has [arrived](Self::arrived), and has waited for `queued`, as one in
    /// flight.
    #[cfg(feature = "node")]
    pub(crate) fn started(&self, queued: Duration) {
        self.waiting.fetch_sub(1, Ordering::Relaxed);
        self.entered(queued);
    }

    /// Ends the count of a call that has [arrived](Self::arrived) and does not start.
    #[cfg(feature = "node")]
    pub(crate) fn withdrawn(&self) {
        self.waiting.fetch_sub(1, Ordering::Relaxed);
    }

    /// Ends the count of a call that has taken `ran` since it [entered](Self::entered).
    pub(crate) fn left(&self, ran: Duration) {
        self.ran(ran);
        self.left_to_go_on();
    }

    /// Ends the count of a call that will [enter again](Self::entered_again), or end
    /// [meanwhile](Self::ran).
    pub(crate) fn left_to_go_on(&self) {
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
    }

    /// Counts how long a call has taken that is not in flight.
    pub(crate) fn ran(&self, took: Duration) {
        self.ran.record(took);
    }

    /// Counts the end of a call.
    pub(crate) fn ended(&self, end: CallEnd) {
        self.count_end(end.index());
    }

    /// Counts the end with this [index](CallEnd::index).
    pub(crate) fn count_end(&self, index: u8) {
        if let Some(count) = self.ends.get(usize::from(index)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Counts what a stream has passed on.
    pub(crate) fn passed(&self, items: u64, bytes: u64) {
        self.items.fetch_add(items, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Counts items that the operators of a stream have left out.
    pub(crate) fn skipped(&self, items: u64) {
        self.skipped.fetch_add(items, Ordering::Relaxed);
    }

    /// Adds to the time for which streams were stalled.
    pub(crate) fn stalled(&self, nanos: u64) {
        self.stalled.fetch_add(nanos, Ordering::Relaxed);
    }

    /// Returns whether nothing has been counted.
    pub(crate) fn is_unused(&self) -> bool {
        let all = self.ends.iter().chain([&self.in_flight]);
        all.map(|count| count.load(Ordering::Relaxed)).sum::<u64>() == 0
    }

    /// Returns the figures, with `waiting` further calls that wait elsewhere.
    pub(crate) fn read(&self, function: &str, waiting: u64) -> FunctionStats {
        let end = |end: CallEnd| self.ends[usize::from(end.index())].load(Ordering::Relaxed);
        let errors = ErrorKind::ALL.iter().map(|&kind| (kind, end(CallEnd::Error(kind))));
        FunctionStats {
            function: function.to_owned(),
            in_flight: self.in_flight.load(Ordering::Relaxed),
            waiting: self.waiting.load(Ordering::Relaxed) + waiting,
            returned: end(CallEnd::Returned),
            faults: end(CallEnd::Fault),
            errors: errors.filter(|(_, n)| *n > 0).collect(),
            queued: self.queued.read(),
            ran: self.ran.read(),
            items: self.items.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
            skipped: self.skipped.load(Ordering::Relaxed),
            stalled: Duration::from_nanos(self.stalled.load(Ordering::Relaxed)),
            batches: self.batches.read(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_end_is_counted_once_and_read_as_what_it_was() {
        let meter = FunctionMeter::default();
        assert!(meter.is_unused());
        let errors = ErrorKind::ALL.iter().map(|kind| CallEnd::Error(*kind));
        let ends: Vec<_> = [CallEnd::Returned, CallEnd::Fault].into_iter().chain(errors).collect();
        #[cfg(feature = "gateway")]
        assert!(ends.iter().all(|end| CallEnd::from_index(end.index()) == Some(*end)));
        for (n, end) in (1..).zip(&ends) {
            for _ in 0..n {
                meter.ended(*end);
            }
        }
        let stats = meter.read("f", 3);
        assert_eq!((stats.returned, stats.faults, stats.waiting), (1, 2, 3));
        let expected: Vec<_> = ErrorKind::ALL.iter().copied().zip(3..).collect();
        assert_eq!(stats.errors, expected);
        assert_eq!(stats.ended(), (1..=ends.len() as u64).sum::<u64>());
        assert!(!meter.is_unused());
    }

    #[test]
    fn figures_are_read_as_they_were_written() {
        let meter = FunctionMeter::default();
        ErrorKind::ALL.iter().for_each(|kind| meter.ended(CallEnd::Error(*kind)));
        meter.entered(Duration::from_millis(3));
        meter.stalled(1_500_000_001);
        let written = serde_json::to_value(meter.read("f", 1)).unwrap();
        assert_eq!(written["errors"]["NodeLost"], 1);
        let mut later = written.clone();
        later["errors"]["KindOfALaterVersion"] = 1.into();
        for written in [written, later] {
            let read: FunctionStats = serde_json::from_value(written).unwrap();
            assert_eq!(read, meter.read("f", 1));
        }
    }

    #[test]
    fn a_call_in_flight_is_used() {
        let meter = FunctionMeter::default();
        meter.entered(Duration::ZERO);
        assert!(!meter.is_unused());
        meter.left(Duration::from_secs(1));
        let stats = meter.read("f", 0);
        assert_eq!((stats.in_flight, stats.queued.count(), stats.ran.count()), (0, 1, 1));
        assert_eq!(stats.ran.sum(), Duration::from_secs(1));
    }
}
