//! How a call has ended, as an agent sees it.

use rmcp::ErrorData;
use rmcp::model::CallToolResult;
use serde_json::{Map, Value, json};

use crate::error::{Error, ErrorKind, Executed};

/// Longest result of a function, in bytes of JSON: far more than a model can read.
const MAX_RESULT: usize = 4 << 20;

/// Returns what a function has returned, within the limit.
pub(super) fn returned(value: Value) -> CallToolResult {
    let result = CallToolResult::structured(json!({ "result": value }));
    let length: usize =
        result.content.iter().filter_map(|it| it.as_text()).map(|it| it.text.len()).sum();
    if length <= MAX_RESULT {
        return result;
    }
    let text = format!(
        "the result has {length} bytes of JSON; an agent gets at most {MAX_RESULT}: ask for less"
    );
    failed(&Error::new(ErrorKind::TooLarge, text).with_executed(Executed::Yes))
}

/// Returns why a call has failed.
pub(super) fn failed(error: &Error) -> CallToolResult {
    CallToolResult::structured_error(failure(error).into())
}

/// Returns the function's own error.
pub(super) fn own(error: Value) -> CallToolResult {
    let message = "the function returned an error of its own, which is in `error`";
    CallToolResult::structured_error(json!({
        "kind": "Function", "executed": "Yes", "error": error, "message": message,
    }))
}

/// Returns what is known of an error.
pub(super) fn failure(error: &Error) -> Map<String, Value> {
    let mut known = Map::from_iter([
        ("kind".to_owned(), format!("{:?}", error.kind()).into()),
        ("executed".to_owned(), format!("{:?}", error.executed()).into()),
        ("message".to_owned(), error.to_string().into()),
    ]);
    if let Some(node) = error.node() {
        known.insert("node".to_owned(), node.into());
    }
    if error.delivered() > 0 {
        known.insert("delivered".to_owned(), error.delivered().into());
    }
    known
}

/// Returns an error of the protocol, for what is no call of a tool.
pub(super) fn internal(error: &Error) -> ErrorData {
    ErrorData::internal_error(error.to_string(), Some(failure(error).into()))
}

/// Returns the error of the protocol for a tool that does not exist.
pub(super) fn unknown(name: &str) -> ErrorData {
    let text = format!(
        "there is no tool `{}`: no node offers it, or this identity may not call it",
        name.escape_debug()
    );
    let error = Error::new(ErrorKind::NoSuchFunction, text);
    ErrorData::invalid_params(error.to_string(), Some(failure(&error).into()))
}
