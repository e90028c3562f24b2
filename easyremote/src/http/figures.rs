//! What is known of streams and of failed calls, as JSON.

use std::time::Duration;

use serde_json::{Value, json};

use crate::gateway::FailedCall;
use crate::transport::stream_table::StreamStats;
use crate::wire::caller::Caller;

pub(super) fn stream(stats: &StreamStats) -> Value {
    json!({
        "function": stats.function,
        "node": stats.node,
        "caller": caller(&stats.caller),
        "items": stats.items,
        "bytes": stats.bytes,
        "skipped": stats.skipped,
        "age_seconds": stats.age.as_secs_f64(),
        "quiet_seconds": stats.quiet.as_secs_f64(),
        "stalled_seconds": stats.stalled.as_secs_f64(),
        "stalled_for_seconds": stats.stalled_for.as_ref().map(Duration::as_secs_f64),
    })
}

pub(super) fn caller(caller: &Caller) -> Value {
    json!({
        "role": caller.role.name(), "id": caller.id, "identity": caller.identity,
        "address": caller.address.to_string(),
    })
}

pub(super) fn failed_call(call: &FailedCall) -> Value {
    json!({
        "at": call.at_ms,
        "function": call.function,
        "kind": format!("{:?}", call.kind),
        "executed": format!("{:?}", call.executed),
        "node": call.node,
        "identity": call.identity,
        "message": call.message,
    })
}
