//! Errors that all kinds of calls share.

use crate::call::executed::Evidence;
use crate::call::operator_mismatch::is_operator_mismatch;
use crate::error::{Error, ErrorKind};

/// Returns the error of a call that begins after the client was closed.
pub(super) fn closed() -> Error {
    Error::new(ErrorKind::ConnectionLost, "the client has been closed")
}

/// Adds the caller's types of the function to a `SignatureMismatch`, whose text has the node's types.
pub(super) fn with_signature(error: Error, signature: &str) -> Error {
    let mismatch = error.kind() == ErrorKind::SignatureMismatch && !is_operator_mismatch(&error);
    if !mismatch || signature.is_empty() {
        return error;
    }
    let text = format!("{error}, this caller `{signature}`; build both from the same definition");
    let detailed = Error::new(error.kind(), text).with_executed(error.executed());
    match error.node() {
        Some(node) => detailed.with_node(node),
        None => detailed,
    }
}

/// Returns the error of a call whose task was dropped with its role: only closing the client
/// does that.
pub(super) fn thread_ended() -> Error {
    let text = "the client was closed during the call";
    Error::new(ErrorKind::ConnectionLost, text).with_evidence(Evidence::Sent)
}

/// Returns the error of a call of `function` whose connection broke. `Unauthenticated` is passed on
/// unchanged: it tells the caller why the gateway closed the connection.
pub(super) fn connection_broke(cause: Error, function: &str) -> Error {
    if cause.kind() == ErrorKind::Unauthenticated {
        return cause;
    }
    let text = format!("the connection to the gateway broke during a call of `{function}`");
    Error::new(ErrorKind::ConnectionLost, text).with_source(cause)
}
