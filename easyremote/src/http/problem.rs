//! Errors as HTTP answers: problem documents (RFC 9457).

use std::sync::Arc;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::value::RawValue;

use crate::error::{CallError, Error, ErrorKind, Executed};
use crate::wire::json_text::JsonText;

/// A refusal or a failure, as the caller sees it.
///
/// | member | meaning |
/// |---|---|
/// | `type` | `about:blank`: the status says what it is |
/// | `title`, `status`, `detail` | as in RFC 9457 |
/// | `kind`, `executed` | those of [`Error`] |
/// | `node`, `delivered` | those of [`Error`], if there is a node, or are items |
///
/// The function's own error has `kind` `Function`, and its value is the member `error`.
#[derive(Debug)]
pub(super) struct Problem {
    status: StatusCode,
    error: Error,
    /// The function's own error.
    own: Option<JsonText>,
}

/// The document of a problem.
#[derive(Debug, Serialize)]
struct ProblemDocument<'a> {
    r#type: &'static str,
    title: &'static str,
    status: u16,
    detail: String,
    kind: String,
    executed: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    node: Option<&'a str>,
    #[serde(skip_serializing_if = "is_zero")]
    delivered: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a RawValue>,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl Problem {
    pub(super) fn new(status: StatusCode, kind: ErrorKind, text: &'static str) -> Self {
        Self { status, error: Error::new(kind, text), own: None }
    }

    pub(super) fn with_executed(mut self, executed: Executed) -> Self {
        self.error = self.error.with_executed(executed);
        self
    }

    pub(super) fn with(status: StatusCode, error: Error) -> Self {
        Self { status, error, own: None }
    }

    pub(super) fn status(&self) -> StatusCode {
        self.status
    }

    pub(super) fn error(&self) -> &Error {
        &self.error
    }

    /// Returns the document of the problem, on one line.
    pub(super) fn document(&self) -> String {
        let error = &self.error;
        let own = self.own.as_ref().and_then(|own| serde_json::from_slice(own.as_bytes()).ok());
        let document = ProblemDocument {
            r#type: "about:blank",
            title: self.status.canonical_reason().unwrap_or_default(),
            status: self.status.as_u16(),
            detail: error.to_string(),
            kind: match &self.own {
                Some(_) => "Function".to_owned(),
                None => format!("{:?}", error.kind()),
            },
            executed: format!("{:?}", error.executed()),
            node: error.node(),
            delivered: error.delivered(),
            error: own,
        };
        // Of texts and numbers, which all have a form in JSON.
        serde_json::to_string(&document).unwrap_or_default()
    }
}

impl From<CallError<JsonText>> for Problem {
    fn from(error: CallError<JsonText>) -> Self {
        match error {
            CallError::Remote(error) => error.into(),
            CallError::Function(own) => {
                let text = "the function returned an error of its own, which is in `error`";
                let error = Error::new(ErrorKind::Failed, text).with_executed(Executed::Yes);
                Self { status: StatusCode::UNPROCESSABLE_ENTITY, error, own: Some(own) }
            }
        }
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        Self { status: status_of(error.kind()), error, own: None }
    }
}

/// Returns the status that tells most of an error.
fn status_of(kind: ErrorKind) -> StatusCode {
    match kind {
        ErrorKind::InvalidInput | ErrorKind::BadArguments => StatusCode::BAD_REQUEST,
        ErrorKind::Unauthenticated => StatusCode::UNAUTHORIZED,
        ErrorKind::PermissionDenied => StatusCode::FORBIDDEN,
        ErrorKind::NoSuchFunction | ErrorKind::NoSuchJob => StatusCode::NOT_FOUND,
        ErrorKind::SignatureMismatch => StatusCode::CONFLICT,
        ErrorKind::Gap => StatusCode::GONE,
        ErrorKind::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        ErrorKind::Overloaded => StatusCode::TOO_MANY_REQUESTS,
        ErrorKind::DeadlineExceeded => StatusCode::GATEWAY_TIMEOUT,
        // A function's own error, sent as text.
        ErrorKind::Failed => StatusCode::UNPROCESSABLE_ENTITY,
        ErrorKind::NoNode | ErrorKind::Unavailable | ErrorKind::Draining => {
            StatusCode::SERVICE_UNAVAILABLE
        }
        ErrorKind::NodeLost | ErrorKind::ConnectionLost | ErrorKind::BadResponse => {
            StatusCode::BAD_GATEWAY
        }
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = (self.status, self.document()).into_response();
        let headers = response.headers_mut();
        let kind = HeaderValue::from_static("application/problem+json");
        headers.insert(header::CONTENT_TYPE, kind);
        if self.status == StatusCode::UNAUTHORIZED {
            // RFC 6750, section 3.
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(after) = self.error.retry_after() {
            let seconds = after.as_secs() + u64::from(after.subsec_nanos() > 0);
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        // For routes whose clients read errors in another form.
        response.extensions_mut().insert(Arc::new(self));
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_has_a_status_of_an_error() {
        for kind in ErrorKind::ALL {
            let problem = Problem::from(Error::new(*kind, "no"));
            assert!(problem.status.is_client_error() || problem.status.is_server_error());
            let body: serde_json::Value = serde_json::from_str(&problem.document()).unwrap();
            assert_eq!(body["kind"], format!("{kind:?}"));
            assert_eq!(body["executed"], "No");
            assert_eq!(body["status"], problem.status.as_u16());
        }
    }

    #[test]
    fn an_error_of_a_function_keeps_its_form() {
        let own = r#"{"z":1,"a":340282366920938463463374607431768211455}"#;
        let own = JsonText::new(&bytes::Bytes::from_static(own.as_bytes())).unwrap();
        let problem = Problem::from(CallError::Function(own.clone()));
        assert_eq!(problem.status, StatusCode::UNPROCESSABLE_ENTITY);
        let (document, own) = (problem.document(), String::from_utf8_lossy(own.as_bytes()));
        assert!(document.ends_with(&format!(",\"error\":{own}}}")), "{document}");
        let body: serde_json::Value = serde_json::from_str(&document).unwrap();
        assert_eq!((&body["kind"], &body["executed"]), (&"Function".into(), &"Yes".into()));
    }
}
