//! The page in a real Chromium. Without one, each test says so and passes.

mod cut;
mod figures;
mod forms;
mod live;

use serde_json::{Value, json};

/// The event `gateway` of a feed, at this time in seconds.
pub(crate) fn gateway(now: u64, nodes: usize) -> (&'static str, Value) {
    let stats = json!({
        "connections": 1, "unauthenticated": 0, "clients": 1, "nodes": nodes, "in_flight": 0, "waiting": 0,
        "streams": 0, "calls": now, "refused": 0, "ejections": 0, "hits": {},
    });
    let data = json!({
        "version": "0.1.0", "draining": false, "uptime_seconds": now, "now": now * 1000, "stats": stats,
    });
    ("gateway", data)
}

/// An entry of the event `nodes`.
pub(crate) fn node(id: &str) -> Value {
    json!({
        "id": id, "tags": ["gpu"], "functions": ["add"], "in_flight": 1,
        "load": { "in_flight": 1, "waiting": 0, "cpu_percent": 40, "memory": { "used": 1_u64 << 30, "total": 1_u64 << 34 } },
        "gauges": { "vram_free": 12.5 }, "avoided_for": [],
    })
}

/// An entry of the event `functions`.
pub(crate) fn function(name: &str) -> Value {
    json!({
        "function": name, "nodes": 1, "kind": "unary", "in_flight": 0, "waiting": 0, "returned": 7, "faults": 0,
        "errors": {}, "ran": { "count": 7, "sum_seconds": 0.1, "p50_seconds": 0.01, "p99_seconds": 0.02 },
        "queued": {}, "items": 0, "bytes": 0, "skipped": 0, "stalled_seconds": 0.0,
    })
}

/// An event in which these rows are new.
pub(crate) fn changed(rows: impl IntoIterator<Item = Value>) -> Value {
    json!({ "changed": rows.into_iter().collect::<Vec<_>>(), "removed": [], "more": 0 })
}
