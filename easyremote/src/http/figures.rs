//! What is known of calls and jobs, as JSON.

use serde_json::{Value, json};

use crate::error::printable::one_line;
use crate::gateway::{CallsUnderWay, FailedCall, WaitingCallInfo};
use crate::wire::job_census::CensusJob;

/// Longest text that is shown of what a caller has sent, in bytes.
const MAX_SHOWN: usize = 1_024;

pub(super) fn waiting_call(call: &WaitingCallInfo) -> Value {
    let header = &call.header;
    json!({
        "function": one_line(&header.function, MAX_SHOWN),
        "caller": header.caller.as_deref(),
        "waited_seconds": call.start.since.elapsed().as_secs_f64(),
        "for": one_line(&call.reason, MAX_SHOWN),
        "node": header.routing.on.as_deref().map(|id| one_line(id, MAX_SHOWN)),
    })
}

pub(super) fn calls_under_way(calls: &CallsUnderWay) -> Value {
    json!({
        "function": calls.function,
        "node": calls.node,
        "identity": calls.identity,
        "running": calls.running,
        "oldest_seconds": calls.oldest.as_secs_f64(),
    })
}

pub(super) fn job(node: &str, job: &CensusJob) -> Value {
    let progress = job.status.progress.as_ref();
    json!({
        "function": job.function,
        "node": node,
        "identity": job.identity,
        "state": format!("{:?}", job.status.state),
        "progress": progress.map(|progress| progress.fraction),
        "text": progress.map(|progress| &progress.text),
        "age_seconds": job.age.as_secs_f64(),
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
