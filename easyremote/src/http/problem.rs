//! Errors as HTTP answers: problem documents (RFC 9457).

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use crate::error::{Error, ErrorKind};

/// A refusal or a failure, as the caller sees it.
///
/// | member | meaning |
/// |---|---|
/// | `type` | `about:blank`: the status says what it is |
/// | `title`, `status`, `detail` | as in RFC 9457 |
/// | `kind`, `executed` | those of [`Error`] |
/// | `node`, `delivered` | those of [`Error`], if there is a node, or are items |
#[derive(Debug)]
pub(super) struct Problem {
    status: StatusCode,
    error: Error,
}

impl Problem {
    pub(super) fn new(status: StatusCode, kind: ErrorKind, text: &'static str) -> Self {
        Self { status, error: Error::new(kind, text) }
    }

    fn body(&self) -> Value {
        let error = &self.error;
        let mut body = json!({
            "type": "about:blank",
            "title": self.status.canonical_reason().unwrap_or_default(),
            "status": self.status.as_u16(),
            "detail": error.to_string(),
            "kind": format!("{:?}", error.kind()),
            "executed": format!("{:?}", error.executed()),
        });
        if let Some(node) = error.node() {
            body["node"] = node.into();
        }
        if error.delivered() > 0 {
            body["delivered"] = error.delivered().into();
        }
        body
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        Self { status: status_of(error.kind()), error }
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
        let mut response = (self.status, Json(self.body())).into_response();
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
            let body = problem.body();
            assert_eq!(body["kind"], format!("{kind:?}"));
            assert_eq!(body["executed"], "No");
            assert_eq!(body["status"], problem.status.as_u16());
        }
    }
}
