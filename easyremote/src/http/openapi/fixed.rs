//! The paths of the gateway itself.

use serde_json::{Map, Value, json};

use crate::http::openapi::document::{DocumentReader, OpenApiDocument, problem};

/// Who may make a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum PathAccess {
    /// Anyone, without a bearer.
    Open,
    /// Any bearer.
    Bearer,
    /// Those who may see what concerns the gateway as a whole.
    Overseer,
}

/// An operation that does not depend on the functions.
struct Operation {
    method: &'static str,
    path: &'static str,
    id: &'static str,
    summary: &'static str,
    access: PathAccess,
    /// The text of the schema of its body; empty if it has none.
    body: &'static str,
    /// The status of the answer, its media type, and the text of its schema; both are empty if it
    /// has no body.
    answers: &'static [(&'static str, &'static str, &'static str)],
}

const JSON: &str = "application/json";
const OBJECT: &str = r#"{"type":"object"}"#;
const OBJECTS: &str = r#"{"type":"array","items":{"type":"object"}}"#;
const HEALTH: &str =
    r#"{"type":"object","properties":{"status":{"type":"string"}},"required":["status"]}"#;

const JOBS: &str = r##"{"type":"array","items":{"$ref":"#/components/schemas/JobStatus"}}"##;
const TICKET: &str = r#"{
    "type": "object",
    "properties": {
        "ticket": { "type": "string" },
        "url": { "type": "string", "description": "What opens the stream." },
        "expires_in": { "type": "integer", "description": "In seconds." }
    },
    "required": ["ticket", "url", "expires_in"]
}"#;
const JOB_STATUS: &str = r##"{"$ref":"#/components/schemas/JobStatus"}"##;

const OPERATIONS: &[Operation] = &[
    Operation {
        method: "get",
        path: "/health",
        id: "health",
        summary: "Whether the gateway takes calls.",
        access: PathAccess::Open,
        body: "",
        answers: &[("200", JSON, HEALTH), ("503", JSON, HEALTH)],
    },
    Operation {
        method: "get",
        path: "/functions",
        id: "list_functions",
        summary: "The functions that the bearer may call, with their schemas.",
        access: PathAccess::Bearer,
        body: "",
        answers: &[("200", JSON, OBJECTS)],
    },
    Operation {
        method: "get",
        path: "/openapi.json",
        id: "openapi",
        summary: "This document.",
        access: PathAccess::Bearer,
        body: "",
        answers: &[("200", JSON, OBJECT)],
    },
    Operation {
        method: "get",
        path: "/jobs",
        id: "list_jobs",
        summary: "The jobs of the bearer's identity.",
        access: PathAccess::Bearer,
        body: "",
        answers: &[("200", JSON, JOBS)],
    },
    Operation {
        method: "get",
        path: "/jobs/{id}",
        id: "job_status",
        summary: "What a job does, or how it has ended.",
        access: PathAccess::Bearer,
        body: "",
        answers: &[("200", JSON, JOB_STATUS)],
    },
    Operation {
        method: "delete",
        path: "/jobs/{id}",
        id: "cancel_job",
        summary: "Cancels a job.",
        access: PathAccess::Bearer,
        body: "",
        answers: &[("204", "", "")],
    },
    Operation {
        method: "get",
        path: "/jobs/{id}/result",
        id: "job_result",
        summary: "Waits for the end of a job. The result is that of its function.",
        access: PathAccess::Bearer,
        body: "",
        answers: &[("200", JSON, "{}")],
    },
    Operation {
        method: "post",
        path: "/ticket",
        id: "create_ticket",
        summary: "A ticket that opens one stream without a bearer, for `EventSource`.",
        access: PathAccess::Bearer,
        body: r#"{
            "type": "object",
            "properties": {
                "function": { "type": "string" },
                "arguments": { "description": "An array, or an object by name." },
                "query": {
                    "type": "string",
                    "description": "Operators of the stream, such as `skip=10`."
                }
            },
            "required": ["function"],
            "additionalProperties": false
        }"#,
        answers: &[("200", JSON, TICKET)],
    },
    Operation {
        method: "get",
        path: "/nodes",
        id: "list_nodes",
        summary: "Nodes with tags, load and functions.",
        access: PathAccess::Overseer,
        body: "",
        answers: &[("200", JSON, OBJECTS)],
    },
    Operation {
        method: "get",
        path: "/streams",
        id: "list_streams",
        summary: "Open streams: caller, node, items, bytes, and which side is slow.",
        access: PathAccess::Overseer,
        body: "",
        answers: &[("200", JSON, OBJECTS)],
    },
    Operation {
        method: "get",
        path: "/stats",
        id: "stats",
        summary: "Counters of the gateway, and of each function.",
        access: PathAccess::Overseer,
        body: "",
        answers: &[("200", JSON, OBJECT)],
    },
    Operation {
        method: "get",
        path: "/feed",
        id: "feed",
        summary: "What changes in the gateway, as server-sent events without an end.",
        access: PathAccess::Overseer,
        body: "",
        answers: &[("200", "text/event-stream", r#"{"type":"string"}"#)],
    },
    #[cfg(feature = "metrics")]
    Operation {
        method: "get",
        path: "/metrics",
        id: "metrics",
        summary: "The metrics of the gateway, as text for Prometheus.",
        access: PathAccess::Overseer,
        body: "",
        answers: &[("200", "text/plain", r#"{"type":"string"}"#)],
    },
];

/// Schemas that the paths of functions refer to.
const SCHEMAS: &[(&str, &str)] = &[
    (
        "Problem",
        r#"{
            "type": "object",
            "description": "What went wrong (RFC 9457).",
            "properties": {
                "type": { "type": "string" },
                "title": { "type": "string" },
                "status": { "type": "integer" },
                "detail": { "type": "string" },
                "kind": {
                    "type": "string",
                    "description": "What kind of error it is, such as `NoNode`."
                },
                "executed": {
                    "type": "string",
                    "enum": ["No", "Maybe", "Yes"],
                    "description": "Whether the function may have run."
                },
                "node": { "type": "string", "description": "The node that the call went to." },
                "delivered": {
                    "type": "integer",
                    "description": "How many items of a stream have been delivered."
                },
                "error": { "description": "The function's own error." }
            },
            "required": ["type", "title", "status", "detail", "kind", "executed"]
        }"#,
    ),
    (
        "StreamEnd",
        r#"{
            "type": "object",
            "description": "The stream has ended well.",
            "properties": { "items": { "type": "integer", "minimum": 0 } },
            "required": ["items"]
        }"#,
    ),
    (
        "Job",
        r#"{
            "type": "object",
            "properties": { "id": { "type": "string" } },
            "required": ["id"]
        }"#,
    ),
    (
        "JobStatus",
        r#"{
            "type": "object",
            "properties": {
                "id": { "type": "string" },
                "function": { "type": "string" },
                "node": { "type": "string" },
                "state": { "type": "string", "description": "Such as `Running` or `Succeeded`." },
                "since_seconds": { "type": "number" },
                "progress": {
                    "type": ["object", "null"],
                    "properties": {
                        "fraction": { "type": ["number", "null"] },
                        "text": { "type": "string" },
                        "since_seconds": { "type": "number" }
                    }
                }
            },
            "required": ["id", "function", "node", "state", "since_seconds"]
        }"#,
    ),
];

/// Adds the schemas and paths of the gateway itself. So their names are theirs in every document.
pub(super) fn add(document: &mut OpenApiDocument, reader: &DocumentReader) {
    for (name, schema) in SCHEMAS {
        document.components.define(name, parsed(schema));
    }
    for operation in OPERATIONS {
        if operation.access != PathAccess::Overseer || reader.is_overseer {
            let id = document.operation_id(operation.id);
            document.path(operation.path, operation.method, operation.described(&id));
        }
    }
}

impl Operation {
    /// What it belongs to.
    fn tag(&self) -> &'static str {
        match self.path {
            "/ticket" => "streams",
            path if path.starts_with("/jobs") => "jobs",
            _ => "gateway",
        }
    }

    fn described(&self, id: &str) -> Value {
        let mut responses: Map<_, _> = self
            .answers
            .iter()
            .map(|(status, media_type, schema)| {
                let description = if *status == "503" { "It drains." } else { self.summary };
                let mut answer = json!({ "description": description });
                if !media_type.is_empty() {
                    answer["content"] = json!({ *media_type: { "schema": parsed(schema) } });
                }
                ((*status).to_owned(), answer)
            })
            .collect();
        responses.insert("default".to_owned(), problem());
        let mut described = json!({
            "operationId": id,
            "tags": [self.tag()],
            "summary": self.summary,
            "responses": responses,
        });
        if !self.body.is_empty() {
            let content = json!({ JSON: { "schema": parsed(self.body) } });
            described["requestBody"] = json!({ "required": true, "content": content });
        }
        if self.path.contains("{id}") {
            described["parameters"] = json!([{
                "name": "id",
                "in": "path",
                "required": true,
                "schema": { "type": "string" },
            }]);
        }
        if self.access == PathAccess::Open {
            described["security"] = json!([]);
        }
        described
    }
}

/// Returns the answers that many operations have, as they are under `components/responses`.
pub(super) fn responses() -> Value {
    let problem = json!({ "schema": { "$ref": "#/components/schemas/Problem" } });
    let job = json!({ "schema": { "$ref": "#/components/schemas/Job" } });
    json!({
        "Problem": {
            "description": "What went wrong.",
            "content": { "application/problem+json": problem },
        },
        "Accepted": {
            "description": "The job has been accepted.",
            "headers": {
                "Location": { "description": "Its path.", "schema": { "type": "string" } },
            },
            "content": { JSON: job },
        },
    })
}

/// Reads a constant, each of which a test reads.
fn parsed(schema: &str) -> Value {
    serde_json::from_str(schema).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn constants_are_schemas() {
        let answers = OPERATIONS.iter().flat_map(|it| it.answers).map(|(_, _, schema)| schema);
        let answers = answers.chain(OPERATIONS.iter().map(|it| &it.body));
        let schemas = answers.chain(SCHEMAS.iter().map(|(_, schema)| schema));
        for schema in schemas.filter(|schema| !schema.is_empty()) {
            assert!(parsed(schema).is_object(), "{schema}");
        }
    }
}
