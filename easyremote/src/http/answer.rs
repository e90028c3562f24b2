//! What routes answer with.

use axum::http::header;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;

use crate::error::CallError;
use crate::http::problem::Problem;
use crate::wire::json_text::JsonText;

pub(super) type Routed = Result<Response, Problem>;

/// Returns the answer whose text is already JSON.
pub(super) fn json_text(text: Bytes) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], text).into_response()
}

/// Returns the answer with the result of a function.
pub(super) fn result(result: Result<JsonText, CallError<JsonText>>) -> Routed {
    match result {
        Ok(text) => Ok(json_text(text.into_bytes())),
        Err(error) => Err(error.into()),
    }
}
