//! The metrics of functions and streams.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use crate::call::batch_meter::{BatchStats, size_bounds};
use crate::call::function_meter::{FunctionStats, OTHER};
use crate::error::ErrorKind;
use crate::exposition::{MetricFamilies, MetricUnit};
use crate::transport::stream_table::StreamStats;

/// Adds the metrics of functions.
pub(crate) fn put(all: &mut MetricFamilies, functions: &[FunctionStats]) {
    put_calls(all, functions);
    put_items(all, functions);
    put_batches(all, functions);
}

fn put_calls(all: &mut MetricFamilies, functions: &[FunctionStats]) {
    use MetricUnit::{None, Seconds};
    let mut calls = all.counter(
        "easyremote_calls",
        None,
        "Calls that have ended, by how: returned, fault (the function's own error), or a kind of error.",
    );
    for stats in functions {
        let function = ("function", &*stats.function);
        calls.whole(&[function, ("outcome", "returned")], stats.returned);
        calls.whole(&[function, ("outcome", "fault")], stats.faults);
        for (kind, n) in &stats.errors {
            calls.whole(&[function, ("outcome", &snake(*kind))], *n);
        }
    }
    let mut running = all.gauge(
        "easyremote_calls_in_flight",
        None,
        "Calls that run or, at a gateway, are on their way to a node.",
    );
    for stats in functions {
        running.whole(&[("function", &stats.function)], stats.in_flight);
    }
    let mut waiting = all.gauge("easyremote_calls_waiting", None, "Calls that wait for room.");
    for stats in functions {
        waiting.whole(&[("function", &stats.function)], stats.waiting);
    }
    let mut queued = all.histogram(
        "easyremote_call_queue",
        Seconds,
        "How long calls waited until they were sent to a node or, at a node, started.",
    );
    for stats in functions {
        queued.durations(&[("function", &stats.function)], &stats.queued);
    }
    let mut ran = all.histogram(
        "easyremote_call_run",
        Seconds,
        "How long calls took from there to their end.",
    );
    for stats in functions {
        ran.durations(&[("function", &stats.function)], &stats.ran);
    }
}

fn put_items(all: &mut MetricFamilies, functions: &[FunctionStats]) {
    use MetricUnit::{Bytes, None, Seconds};
    let mut items =
        all.counter("easyremote_stream_items", None, "Items that streams have passed on.");
    for stats in functions {
        items.whole(&[("function", &stats.function)], stats.items);
    }
    let mut bytes = all.counter("easyremote_stream", Bytes, "Encoded bytes of these items.");
    for stats in functions {
        bytes.whole(&[("function", &stats.function)], stats.bytes);
    }
    let mut skipped = all.counter(
        "easyremote_stream_items_skipped",
        None,
        "Items that operators of streams have left out.",
    );
    for stats in functions {
        skipped.whole(&[("function", &stats.function)], stats.skipped);
    }
    let mut stalled = all.counter(
        "easyremote_stream_stalled",
        Seconds,
        "How long items waited until they could be sent, because readers were slow.",
    );
    for stats in functions {
        stalled.float(&[("function", &stats.function)], stats.stalled.as_secs_f64());
    }
}

/// Only batch functions have these, and only at their nodes.
fn put_batches(all: &mut MetricFamilies, functions: &[FunctionStats]) {
    let batched = || functions.iter().filter(|stats| stats.batches.runs > 0);
    let mut reasons = all.counter(
        "easyremote_batches",
        MetricUnit::None,
        "Runs of batch functions, by why they stopped waiting for further calls.",
    );
    for stats in batched() {
        for (reason, n) in &stats.batches.reasons {
            let reason = format!("{reason:?}").to_ascii_lowercase();
            reasons.whole(&[("function", &stats.function), ("reason", &reason)], *n);
        }
    }
    let mut sizes = all.histogram(
        "easyremote_batch_calls",
        MetricUnit::None,
        "Calls in each run of a batch function.",
    );
    for stats in batched() {
        let BatchStats { runs, calls, sizes: counted, .. } = &stats.batches;
        let count = |bound| counted.iter().find(|(it, _)| *it == bound).map_or(0, |(_, n)| *n);
        let bucket = |bound: Option<u32>| (bound.map_or(f64::INFINITY, f64::from), count(bound));
        let buckets = size_bounds().map(bucket).collect();
        sizes.buckets(&[("function", &stats.function)], (*calls as f64, *runs), buckets);
    }
}

/// Adds the metrics of open streams, summed up for each of `functions`: single streams come and go,
/// and each would be a series that a database keeps.
pub(crate) fn put_streams(
    all: &mut MetricFamilies,
    functions: &[FunctionStats],
    streams: &[StreamStats],
) {
    let known: HashSet<&str> = functions.iter().map(|stats| &*stats.function).collect();
    let mut open: BTreeMap<&str, (u64, u64, Duration)> = BTreeMap::new();
    for stream in streams {
        let function = known.get(&*stream.function).copied().unwrap_or(OTHER);
        let (n, stalled, longest) = open.entry(function).or_default();
        *n += 1;
        *stalled += u64::from(stream.stalled_for.is_some());
        *longest = (*longest).max(stream.stalled_for.unwrap_or_default());
    }
    let mut family =
        all.gauge("easyremote_streams_open", MetricUnit::None, "Streams of items that are open.");
    for (function, (n, ..)) in &open {
        family.whole(&[("function", function)], *n);
    }
    let mut family = all.gauge(
        "easyremote_streams_stalled",
        MetricUnit::None,
        "Open streams with items that cannot be sent now, because their readers are slow.",
    );
    for (function, (_, stalled, _)) in &open {
        family.whole(&[("function", function)], *stalled);
    }
    let mut family = all.gauge(
        "easyremote_streams_longest_stall",
        MetricUnit::Seconds,
        "For how long an open stream has not been able to send; the longest of each function.",
    );
    for (function, (.., longest)) in &open {
        family.float(&[("function", function)], longest.as_secs_f64());
    }
}

/// Returns the name of a kind as a label: `node_lost`.
pub(crate) fn snake(kind: ErrorKind) -> String {
    let mut name = String::new();
    for c in format!("{kind:?}").chars() {
        if c.is_ascii_uppercase() && !name.is_empty() {
            name.push('_');
        }
        name.push(c.to_ascii_lowercase());
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_of_errors_are_labels() {
        assert_eq!(snake(ErrorKind::NodeLost), "node_lost");
        let mut names: Vec<_> = ErrorKind::ALL.iter().map(|kind| snake(*kind)).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), ErrorKind::ALL.len());
        assert!(!names.iter().any(|name| ["returned", "fault"].contains(&&**name)));
    }
}
