//! A document as it is put together.

use serde_json::{Map, Value, json};

use crate::http::openapi::components::Components;
use crate::http::openapi::names::Names;

/// Whom a document is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::http) struct DocumentReader {
    /// The address that the reader has used, such as `https://gw.example.com`.
    pub(in crate::http) server: String,
    /// Whether it may see what concerns the gateway as a whole.
    pub(in crate::http) is_overseer: bool,
}

/// The parts of a document that grow with each path.
#[derive(Debug, Default)]
pub(super) struct OpenApiDocument {
    pub(super) components: Components,
    pub(super) paths: Map<String, Value>,
    operation_ids: Names,
}

impl OpenApiDocument {
    /// Adds an operation.
    pub(super) fn path(&mut self, path: &str, method: &str, operation: Value) {
        let item = self.paths.entry(path).or_insert_with(|| json!({}));
        item[method] = operation;
    }

    /// Returns an id for an operation, which no other has.
    pub(super) fn operation_id(&mut self, wanted: &str) -> String {
        self.operation_ids.claim(&[wanted])
    }
}

/// An answer in JSON.
pub(super) fn answer(description: &str, schema: &Value) -> Value {
    json!({
        "description": description,
        "content": { "application/json": { "schema": schema } },
    })
}

/// The answer with any error.
pub(super) fn problem() -> Value {
    json!({ "$ref": "#/components/responses/Problem" })
}
