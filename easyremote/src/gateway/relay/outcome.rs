//! Records what the end of a call says about its node.

use tracing::{Level, debug, enabled};

use crate::call::function_meter::CallEnd;
use crate::error::{Error, ErrorKind};
use crate::gateway::relay::node_link::NodePermit;
use crate::transport::log_limit::Brief;
use crate::wire::frame::FrameKind;
use crate::wire::header::CallHeader;
use crate::wire::scanner::FrameScanner;

/// Records the outcome of a call with a complete answer.
pub(super) fn record_answer(permit: &NodePermit, header: &CallHeader, answer: &FrameScanner) {
    match (answer.last_frame(), answer.error()) {
        (Some(FrameKind::Body | FrameKind::End), _) => {
            permit.ends(CallEnd::Returned);
            permit.succeeded();
        }
        (Some(FrameKind::Fault), _) => {
            permit.ends(CallEnd::Fault);
            permit.failed();
        }
        (_, Some(kind)) => {
            record_error(permit, kind);
            if let Some(error) = answer.failure() {
                note_failure(permit, header, &error);
            }
        }
        _ => {}
    }
}

/// Notes that the call has ended for its caller, if a job has been accepted: the job goes on, and the
/// caller leaves.
pub(super) fn note_acceptance(permit: &NodePermit, answer: &FrameScanner) {
    if answer.last_frame() == Some(FrameKind::Accepted) {
        permit.ends(CallEnd::Returned);
    }
}

/// Returns whether the answer has begun and is not a failure: only then its latency says how fast
/// the node is.
pub(super) fn has_answered(answer: &FrameScanner) -> bool {
    use FrameKind::{Accepted, Attached, Error, Fault, JobReport, Received};
    // What is said about a job, or a client stream, comes before its function has answered.
    let fails = |kind| matches!(kind, Error | Fault | Attached | Received | Accepted | JobReport);
    answer.last_frame().is_some_and(|kind| !fails(kind))
}

/// Records the outcome of a call that failed with an error of the function or of the node.
pub(super) fn record_error(permit: &NodePermit, kind: ErrorKind) {
    permit.ends(CallEnd::Error(kind));
    if is_failure_of_node(kind) {
        permit.failed();
    }
}

/// Notes a call that failed at its node, and logs it.
pub(super) fn tell_failure(permit: &NodePermit, header: &CallHeader, error: &Error) {
    let node = permit.node();
    note_failure(permit, header, error);
    if enabled!(Level::DEBUG)
        && let Some(left_out) = node.handle().may_tell_failure(node.identity())
    {
        debug!(node = node.id(), error = %Brief(error.chain()), left_out, "call failed at its node");
    }
}

/// Notes a call that failed at its node. A request about jobs fails where a job does not.
pub(super) fn note_failure(permit: &NodePermit, header: &CallHeader, error: &Error) {
    if header.job_request().is_none() {
        let node = permit.node();
        node.handle().failed.note(header, Some(node.id()), error);
    }
}

/// Returns whether an error says something about the node rather than about the call. Wrong
/// arguments, missed deadlines and cancelled calls depend on the caller, wherever they run.
fn is_failure_of_node(kind: ErrorKind) -> bool {
    use ErrorKind::{Failed, NodeLost, Overloaded, Panicked, Protocol};
    matches!(kind, Failed | NodeLost | Overloaded | Panicked | Protocol)
}
