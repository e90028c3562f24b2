//! Errors that all kinds of calls share.

use crate::call::executed::Evidence;
use crate::call::operator_mismatch::is_operator_mismatch;
use crate::client::difference::difference;
use crate::error::{Error, ErrorKind};

/// Returns the error of a call that begins after the client was closed.
pub(super) fn closed() -> Error {
    Error::new(ErrorKind::ConnectionLost, "the client has been closed")
}

/// Adds the caller's types of the function to a `SignatureMismatch`, whose text has the node's types, and
/// where the two differ.
pub(super) fn with_signature(error: Error, signature: &str) -> Error {
    let mismatch = error.kind() == ErrorKind::SignatureMismatch && !is_operator_mismatch(&error);
    if !mismatch || signature.is_empty() {
        return error;
    }
    let text = error.to_string();
    let there = text.split_once(" has `").and_then(|(_, there)| there.rsplit_once('`'));
    let at = there.and_then(|(there, _)| difference(signature, there));
    let at = at.map_or_else(String::new, |at| format!("; they differ at {at}"));
    let text = format!(
        "{text}, this caller `{signature}`{at}; build both from the same definition, or declare \
         `skew = \"by-name\"`"
    );
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
