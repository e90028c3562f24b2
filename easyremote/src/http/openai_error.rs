//! Errors as clients of the OpenAI API read them.

use axum::http::StatusCode;
use serde_json::{Map, Value, json};

use crate::error::ErrorKind;
use crate::http::problem::Problem;

impl Problem {
    /// Returns the document of the problem, with a member `error` in the form of the OpenAI API, on one
    /// line.
    ///
    /// | member of `error` | meaning |
    /// |---|---|
    /// | `message`, `type`, `param`, `code` | as in the API; `code` is the kind, as in `node_lost` |
    /// | `kind`, `executed`, `node`, `delivered` | those of the problem |
    pub(super) fn openai(&self) -> String {
        let mut document: Map<String, Value> =
            serde_json::from_str(&self.document()).unwrap_or_default();
        let mut error = json!({
            "message": document.get("detail"),
            "type": kind_of(self.status()),
            "param": null,
            "code": self.code(),
        });
        for member in ["kind", "executed", "node", "delivered"] {
            if let Some(value) = document.get(member) {
                error[member] = value.clone();
            }
        }
        document.insert("error".to_owned(), error);
        Value::Object(document).to_string()
    }

    fn code(&self) -> String {
        let kind = self.error().kind();
        if kind == ErrorKind::NoNode && self.status() == StatusCode::NOT_FOUND {
            return "model_not_found".to_owned();
        }
        let mut code = String::new();
        for letter in format!("{kind:?}").chars() {
            if letter.is_ascii_uppercase() && !code.is_empty() {
                code.push('_');
            }
            code.push(letter.to_ascii_lowercase());
        }
        code
    }
}

fn kind_of(status: StatusCode) -> &'static str {
    match status {
        StatusCode::UNAUTHORIZED => "authentication_error",
        StatusCode::FORBIDDEN => "permission_error",
        StatusCode::TOO_MANY_REQUESTS => "rate_limit_error",
        status if status.is_client_error() => "invalid_request_error",
        _ => "api_error",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{Error, Executed};

    #[test]
    fn an_error_has_what_clients_read_and_what_problems_have() {
        let lost = Error::new(ErrorKind::NodeLost, "gone").with_executed(Executed::Maybe);
        let problem = Problem::from(lost.with_node("gpu-1").with_delivered(7));
        let document: Value = serde_json::from_str(&problem.openai()).unwrap();
        let error = json!({
            "message": document["detail"], "type": "api_error", "param": null, "code": "node_lost",
            "kind": "NodeLost", "executed": "Maybe", "node": "gpu-1", "delivered": 7,
        });
        assert_eq!(document["error"], error);
        assert_eq!((&document["status"], &document["kind"]), (&json!(502), &json!("NodeLost")));
    }

    #[test]
    fn each_kind_has_a_code_and_a_type() {
        for kind in ErrorKind::ALL {
            let document: Value =
                serde_json::from_str(&Problem::from(Error::new(*kind, "no")).openai()).unwrap();
            let code = document["error"]["code"].as_str().unwrap();
            assert!(code.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{code}");
            assert!(document["error"]["type"].as_str().unwrap().ends_with("_error"));
        }
    }
}
