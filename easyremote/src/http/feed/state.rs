//! What readers of the feed see at one moment, and what has changed from one to another.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::UNIX_EPOCH;

use serde::Serialize;
use serde_json::{Value, json};

use crate::gateway::GatewayView;
use crate::http::figures;
use crate::wire::job_census::CensusJob;

/// All that the feed shows, at one moment.
#[derive(Debug, Default)]
pub(super) struct FeedState {
    gateway: String,
    /// By the name of the event that tells of them.
    tables: BTreeMap<&'static str, FeedTable>,
    /// The calls that have failed last, by their numbers.
    failed: Vec<(u64, String)>,
}

/// Rows of one kind: JSON objects by the JSON texts of their keys.
#[derive(Debug, Default)]
struct FeedTable {
    rows: BTreeMap<String, String>,
    /// Bytes of the rows.
    bytes: usize,
    /// Number of rows that are left out.
    more: u64,
}

/// Maximum number of streams.
const MAX_STREAMS: usize = 500;

/// Maximum number of calls that wait, and of groups of calls under way.
const MAX_CALLS: usize = 500;

/// Maximum number of jobs.
const MAX_JOBS: usize = 1_000;

/// The jobs of each node.
pub(super) type FeedJobs = Vec<(String, Vec<CensusJob>)>;

/// Maximum size of the rows of one kind, in bytes; what a row has is chosen by nodes.
const MAX_BYTES: usize = 8 << 20;

impl FeedState {
    /// Reads the state of the gateway, beside the jobs of its nodes. Takes some milliseconds with
    /// thousands of nodes.
    pub(super) fn read(gateway: &GatewayView, jobs: &FeedJobs) -> Self {
        let stats = gateway.stats();
        let about = json!({
            "version": env!("CARGO_PKG_VERSION"),
            "draining": !gateway.is_serving(),
            "uptime_seconds": gateway.uptime().as_secs_f64(),
            "now": UNIX_EPOCH.elapsed().unwrap_or_default().as_millis() as u64,
            "stats": stats,
        });
        let (mut nodes, mut functions) = (FeedTable::default(), FeedTable::default());
        for node in gateway.nodes() {
            nodes.put(&*node.id, &node);
        }
        for function in gateway.offered_functions() {
            functions.put(&*function.stats.function, &function);
        }
        let failed = gateway.failed_calls();
        let failed = failed.iter().map(|it| (it.number, figures::failed_call(it).to_string()));
        Self {
            gateway: about.to_string(),
            failed: failed.collect(),
            tables: [
                ("nodes", nodes),
                ("functions", functions),
                ("streams", streams(gateway, stats.streams)),
                ("waiting", waiting(gateway)),
                ("calls", calls(gateway)),
                ("jobs", table_of_jobs(jobs)),
            ]
            .into(),
        }
    }

    /// Returns the events that make this state out of an earlier one: all that there is without one,
    /// otherwise what has changed.
    pub(super) fn events_since(&self, earlier: Option<&Self>) -> String {
        let mut out = String::new();
        if earlier.is_none_or(|earlier| earlier.gateway != self.gateway) {
            put_event(&mut out, "gateway", &self.gateway);
        }
        for (name, table) in &self.tables {
            let earlier = earlier.and_then(|earlier| earlier.tables.get(name));
            if let Some(data) = table.changes_since(earlier) {
                put_event(&mut out, name, &data);
            }
        }
        let known = earlier.and_then(|earlier| earlier.failed.last()).map_or(0, |(n, _)| *n);
        let added = self.failed.iter().filter(|(number, _)| *number > known);
        let added: Vec<_> = added.map(|(_, row)| row.as_str()).collect();
        if earlier.is_none() || !added.is_empty() {
            put_event(&mut out, "errors", &format!("{{\"added\":[{}]}}", added.join(",")));
        }
        out
    }
}

/// Returns the streams that have been open for longest.
fn streams(gateway: &GatewayView, open: u64) -> FeedTable {
    let mut table = FeedTable::default();
    for stats in gateway.first_streams(MAX_STREAMS) {
        table.put(stats.number, &stats);
    }
    table.more += open.saturating_sub(MAX_STREAMS as u64);
    table
}

fn waiting(gateway: &GatewayView) -> FeedTable {
    let (calls, more) = gateway.waiting_calls(MAX_CALLS);
    let mut table = FeedTable { more, ..FeedTable::default() };
    for call in calls {
        table.put_numbered(call.start.ticket, figures::waiting_call(&call));
    }
    table
}

fn calls(gateway: &GatewayView) -> FeedTable {
    let (groups, more) = gateway.calls_under_way(MAX_CALLS);
    let mut table = FeedTable { more, ..FeedTable::default() };
    for group in groups {
        // No name contains a line break.
        let key = [&*group.function, &group.node, &group.identity].join("\n");
        let mut row = figures::calls_under_way(&group);
        row["key"] = key.as_str().into();
        table.put(&*key, &row);
    }
    table
}

fn table_of_jobs(jobs: &FeedJobs) -> FeedTable {
    let mut table = FeedTable::default();
    let all = jobs.iter().flat_map(|(node, jobs)| jobs.iter().map(move |job| (node, job)));
    for (n, (node, job)) in all.enumerate() {
        if n >= MAX_JOBS {
            table.more += 1;
            continue;
        }
        let key = format!("{node}\n{}", job.key);
        let mut row = figures::job(node, job);
        row["key"] = key.as_str().into();
        table.put(&*key, &row);
    }
    table
}

impl FeedTable {
    /// Adds a row whose key it contains already.
    fn put(&mut self, key: impl Into<Value>, row: &impl Serialize) {
        // Strings, numbers and maps with names as keys: there is nothing that JSON has not.
        let row = serde_json::to_string(row).unwrap_or_default();
        self.put_text(key.into().to_string(), row);
    }

    /// Adds a row, an object, with its key.
    fn put_numbered(&mut self, key: u64, mut row: Value) {
        row["key"] = key.into();
        self.put_text(key.to_string(), row.to_string());
    }

    fn put_text(&mut self, key: String, row: String) {
        let bytes = self.bytes + row.len();
        if bytes > MAX_BYTES {
            self.more += 1;
            return;
        }
        self.bytes = bytes;
        self.rows.insert(key, row);
    }

    /// Returns the data of an event; `None` if nothing has changed.
    fn changes_since(&self, earlier: Option<&Self>) -> Option<String> {
        let none = BTreeMap::new();
        let before = earlier.map_or(&none, |earlier| &earlier.rows);
        let changed = self.rows.iter().filter(|(key, row)| before.get(*key) != Some(*row));
        let changed: Vec<_> = changed.map(|(_, row)| row.as_str()).collect();
        let removed = before.keys().filter(|key| !self.rows.contains_key(*key));
        let removed: Vec<_> = removed.map(String::as_str).collect();
        let same = changed.is_empty() && removed.is_empty();
        if same && earlier.is_some_and(|earlier| earlier.more == self.more) {
            return None;
        }
        let (changed, removed, more) = (changed.join(","), removed.join(","), self.more);
        Some(format!("{{\"changed\":[{changed}],\"removed\":[{removed}],\"more\":{more}}}"))
    }
}

/// Appends an event as server-sent events have it. JSON without line breaks fits on its line.
fn put_event(out: &mut String, name: &str, data: &str) {
    // Writing to a string cannot fail.
    let _ = write!(out, "event: {name}\ndata: {data}\n\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a reader makes of the events.
    #[derive(Debug, Default, PartialEq)]
    struct Seen {
        gateway: Value,
        tables: BTreeMap<String, (BTreeMap<String, Value>, u64)>,
        failed: Vec<Value>,
    }

    impl Seen {
        fn apply(&mut self, events: &str) {
            for event in events.split_terminator("\n\n") {
                let (name, data) = event.split_once('\n').unwrap();
                let name = name.strip_prefix("event: ").unwrap();
                let data: Value =
                    serde_json::from_str(data.strip_prefix("data: ").unwrap()).unwrap();
                let list = |name: &str| data[name].as_array().cloned().unwrap_or_default();
                match name {
                    "gateway" => self.gateway = data,
                    "errors" => {
                        self.failed.extend(list("added"));
                        self.failed.drain(..self.failed.len().saturating_sub(3));
                    }
                    _ => {
                        let (rows, more) = self.tables.entry(name.to_owned()).or_default();
                        for key in list("removed") {
                            assert!(rows.remove(&key.to_string()).is_some(), "{key}");
                        }
                        for row in list("changed") {
                            rows.insert(row["key"].to_string(), row);
                        }
                        *more = data["more"].as_u64().unwrap();
                    }
                }
            }
        }

        fn fresh(state: &FeedState) -> Self {
            let mut seen = Self::default();
            seen.apply(&state.events_since(None));
            seen
        }
    }

    fn random_state(random: &mut fastrand::Rng, n_failed: u64) -> FeedState {
        let mut table = |named: bool| {
            let mut table = FeedTable { more: random.u64(..2), ..FeedTable::default() };
            for key in 0..10 {
                if random.bool() {
                    let value = random.u8(..2);
                    match named {
                        true => {
                            let key = format!("a\n\n\"{key}\u{2028}");
                            table.put(&*key, &json!({ "key": key, "x": value }));
                        }
                        false => table.put_numbered(key, json!({ "x": value })),
                    }
                }
            }
            table
        };
        let tables = [("nodes", table(true)), ("streams", table(false))].into();
        let first = n_failed.saturating_sub(2).max(1);
        let failed = (first..=n_failed).map(|n| (n, json!({ "n": n }).to_string())).collect();
        FeedState { gateway: random.u8(..2).to_string(), tables, failed }
    }

    /// Also for a reader that skips moments.
    #[test]
    fn the_events_since_any_moment_make_the_state() {
        let mut random = fastrand::Rng::with_seed(16);
        for _ in 0..100 {
            let mut n_failed = 0;
            let states: Vec<_> = (0..20)
                .map(|_| {
                    n_failed += random.u64(..3);
                    random_state(&mut random, n_failed)
                })
                .collect();
            let (mut seen, mut before) = (Seen::default(), None);
            let mut at = 0;
            while let Some(state) = states.get(at) {
                seen.apply(&state.events_since(before));
                assert_eq!(seen, Seen::fresh(state));
                before = Some(state);
                assert_eq!(state.events_since(before), "", "nothing has changed");
                at += random.usize(1..4);
            }
        }
    }

    #[test]
    fn what_is_too_much_is_counted() {
        let mut table = FeedTable::default();
        let text = "x".repeat(MAX_BYTES / 4);
        (0..6).for_each(|n| table.put_numbered(n, json!({ "x": text })));
        assert_eq!((table.rows.len(), table.more), (3, 3));
        let small = json!({ "x": 1 });
        table.put_numbered(9, small);
        assert_eq!((table.rows.len(), table.more), (4, 3));
    }
}
