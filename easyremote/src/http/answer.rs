//! What routes answer with.

use std::fmt::Write;

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

/// Returns `text` as one segment of a path (RFC 3986, section 3.3).
pub(super) fn segment(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            byte if byte.is_ascii_alphanumeric() || b"-._~:@".contains(&byte) => {
                out.push(char::from(byte));
            }
            byte => drop(write!(out, "%{byte:02X}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_name_is_one_segment() {
        for (name, expected) in [
            ("0f:train@gpu-1", "0f:train@gpu-1"),
            ("a/../b", "a%2F..%2Fb"),
            ("a b?c#d%e", "a%20b%3Fc%23d%25e"),
            ("größe", "gr%C3%B6%C3%9Fe"),
        ] {
            assert_eq!(segment(name), expected);
        }
    }
}
