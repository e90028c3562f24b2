//! The paths of a function.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use crate::error::printable;
use crate::http::answer::segment;
use crate::http::openapi::components::Sender;
use crate::http::openapi::document::{OpenApiDocument, answer, problem};
use crate::http::openapi::names::{identifier, type_name};
use crate::http::openapi::parameters::{KEY, OPERATORS, OPTIONS, RESUME, references};
use crate::wire::fields::MAX_TEXT;
use crate::wire::kind::Kind;

/// A function, as `GET /functions` lists it.
#[derive(Debug, Deserialize)]
pub(super) struct ListedFunction<'a> {
    #[serde(borrow)]
    pub(super) name: Cow<'a, str>,
    kind: Kind,
    #[serde(borrow)]
    parameters: Vec<Cow<'a, str>>,
    #[serde(borrow)]
    doc: Cow<'a, str>,
    #[serde(borrow)]
    schemas: Option<&'a RawValue>,
}

/// What a function takes and returns, as it is in the document.
struct Described {
    /// The name of its types.
    types: String,
    /// Its own part of an operation's id.
    id: String,
    /// Its name as a part of a path.
    segment: String,
    /// Its doc comment: the first sentence, and all of it.
    summary: String,
    description: String,
    /// `None` if it has no arguments.
    arguments: Option<Value>,
    upload: Option<Value>,
    result: Value,
    item: Value,
    error: Option<Value>,
    setup_error: Option<Value>,
}

impl ListedFunction<'_> {
    /// The length of its schemas, in bytes.
    pub(super) fn weight(&self) -> usize {
        self.schemas.map_or(0, |schemas| schemas.get().len())
    }

    /// Adds the paths of the function, without what its schemas say unless they are `wanted`.
    pub(super) fn describe(&self, document: &mut OpenApiDocument, wanted: bool) {
        let function = self.described(document, wanted);
        match self.kind {
            Kind::Unary | Kind::Upload => {
                let call = function.call(document);
                document.path(&format!("/call/{}", function.segment), "post", call);
                if self.kind == Kind::Unary {
                    let job = function.job(document);
                    document.path(&format!("/jobs/{}", function.segment), "post", job);
                }
            }
            Kind::Stream | Kind::Duplex => {
                let path = format!("/stream/{}", function.segment);
                let answers = function.stream_answers(document);
                let post = function.stream(document, answers.clone());
                document.path(&path, "post", post);
                if self.kind == Kind::Stream {
                    let get = function.open(document, answers);
                    document.path(&path, "get", get);
                }
            }
            Kind::Operator => {}
        }
    }

    fn described(&self, document: &mut OpenApiDocument, wanted: bool) -> Described {
        let schemas = self.schemas.filter(|_| wanted);
        let schemas = schemas.and_then(|it| serde_json::from_str::<Map<_, _>>(it.get()).ok());
        let schemas = schemas.unwrap_or_default();
        let types = type_name(&self.name);
        let untyped = self.untyped_arguments();
        let arguments = schemas.get("arguments").unwrap_or(&untyped);
        let mut arguments = document.components.add(arguments, Sender::Caller);
        if let Some(arguments) = arguments.as_object_mut() {
            // That of the function.
            arguments.remove("description");
        }
        let arguments = (!self.parameters.is_empty())
            .then(|| document.components.define(&format!("{types}Arguments"), arguments));
        let upload = self.kind.takes_stream().then(|| match schemas.get("upload") {
            Some(upload) => document.components.add(upload, Sender::Caller),
            None => json!({}),
        });
        let mut part = |name: &str| {
            schemas.get(name).map(|schema| document.components.add(schema, Sender::Function))
        };
        let description = printable::lines(&self.doc, MAX_TEXT).trim().to_owned();
        Described {
            id: identifier(&self.name),
            segment: segment(&self.name),
            summary: summary(&description).unwrap_or_else(|| self.name.to_string()),
            description,
            arguments,
            upload,
            result: part("result").unwrap_or_else(|| json!({})),
            item: part("item").unwrap_or_else(|| json!({})),
            error: part("error"),
            setup_error: part("setup_error"),
            types,
        }
    }

    /// What is known of the arguments without schemas.
    fn untyped_arguments(&self) -> Value {
        let any = self.parameters.iter().map(|name| (name.to_string(), json!({})));
        json!({
            "type": "object",
            "properties": any.collect::<Map<_, _>>(),
            "required": self.parameters,
            "additionalProperties": false,
        })
    }
}

impl Described {
    /// What all operations of the function have.
    fn operation(&self, document: &mut OpenApiDocument, verb: &str, tag: &str) -> Value {
        let mut operation = json!({
            "operationId": document.operation_id(&format!("{verb}_{}", self.id)),
            "tags": [tag],
            "summary": self.summary,
        });
        if !self.description.is_empty() {
            operation["description"] = self.description.clone().into();
        }
        operation
    }

    fn call(&self, document: &mut OpenApiDocument) -> Value {
        let mut call = self.operation(document, "call", "calls");
        let key = if self.upload.is_none() { KEY } else { &[] };
        call["parameters"] = references(&[OPTIONS, key]).into();
        self.add_body(&mut call);
        call["responses"] = json!({
            "200": answer("The result.", &self.result),
            "default": problem(),
        });
        if let Some(error) = &self.error {
            call["responses"]["422"] = self.own_error(document, error);
        }
        call
    }

    fn job(&self, document: &mut OpenApiDocument) -> Value {
        let mut job = self.operation(document, "submit", "jobs");
        job["parameters"] = references(&[OPTIONS, KEY]).into();
        self.add_body(&mut job);
        job["responses"] = json!({
            "202": { "$ref": "#/components/responses/Accepted" },
            "default": problem(),
        });
        job
    }

    fn stream(&self, document: &mut OpenApiDocument, answers: Value) -> Value {
        let mut stream = self.operation(document, "stream", "streams");
        let resume = if self.upload.is_none() { RESUME } else { &[] };
        stream["parameters"] = references(&[OPTIONS, OPERATORS, resume]).into();
        self.add_body(&mut stream);
        stream["responses"] = answers;
        stream
    }

    /// The same stream, for requests that can have no body.
    fn open(&self, document: &mut OpenApiDocument, answers: Value) -> Value {
        let mut open = self.operation(document, "open_stream", "streams");
        let mut parameters = references(&[OPTIONS, OPERATORS, RESUME]);
        if let Some(arguments) = &self.arguments {
            parameters.push(json!({
                "name": "arguments",
                "in": "query",
                "required": true,
                "description": "The arguments as JSON.",
                "schema": {
                    "type": "string",
                    "contentMediaType": "application/json",
                    "contentSchema": arguments,
                },
            }));
        }
        open["parameters"] = parameters.into();
        open["responses"] = answers;
        open
    }

    /// Adds the body of a request: the arguments, and what the caller streams behind them.
    fn add_body(&self, operation: &mut Value) {
        let mut content = Map::new();
        if let Some(upload) = &self.upload {
            let first = self.arguments.clone().unwrap_or_else(|| json!({ "type": "object" }));
            let lines = json!({
                "schema": {
                    "type": "string",
                    "description": "Lines of JSON: the first is the arguments, each further one an \
                                    item.",
                },
                "x-firstItemSchema": first,
                "x-itemSchema": upload,
            });
            content.insert("application/x-ndjson".to_owned(), lines);
        } else if let Some(arguments) = &self.arguments {
            content.insert("application/json".to_owned(), json!({ "schema": arguments }));
        }
        if !content.is_empty() {
            operation["requestBody"] = json!({ "required": true, "content": content });
        }
    }

    /// What a stream answers with.
    fn stream_answers(&self, document: &mut OpenApiDocument) -> Value {
        let one = |name: &str, schema: &Value| {
            json!({
                "type": "object",
                "properties": { name: schema },
                "required": [name],
                "additionalProperties": false,
            })
        };
        let mut lines = vec![one("item", &self.item)];
        lines.extend(self.error.as_ref().map(|error| one("error", error)));
        lines.push(one("end", &json!({ "$ref": "#/components/schemas/StreamEnd" })));
        lines.push(one("problem", &json!({ "$ref": "#/components/schemas/Problem" })));
        let line = document.components.define(
            &format!("{}Line", self.types),
            json!({
                "description": "One line of the stream. The last one is `end` or `problem`.",
                "oneOf": lines,
            }),
        );
        let mut answers = json!({
            "200": {
                "description": "The items as they come, one a line or event. With the operator \
                                `batches` an item is a list.",
                "content": {
                    "application/x-ndjson": {
                        "schema": { "type": "string" },
                        "x-itemSchema": line,
                    },
                    "text/event-stream": {
                        "schema": { "type": "string" },
                        "x-itemSchema": event(&self.item),
                    },
                },
            },
            "default": problem(),
        });
        if self.upload.is_none() {
            let description = "Nothing follows the event with this `Last-Event-ID`.";
            answers["204"] = json!({ "description": description });
        }
        if let Some(error) = &self.setup_error {
            answers["422"] = self.own_error(document, error);
        }
        answers
    }

    /// The answer with the function's own error.
    fn own_error(&self, document: &mut OpenApiDocument, error: &Value) -> Value {
        let schema = json!({
            "allOf": [
                { "$ref": "#/components/schemas/Problem" },
                { "type": "object", "properties": { "error": error }, "required": ["error"] },
            ],
        });
        let schema = document.components.define(&format!("{}Problem", self.types), schema);
        json!({
            "description": "The function's own error, in `error`.",
            "content": { "application/problem+json": { "schema": schema } },
        })
    }
}

/// An event of a stream, as OpenAPI 3.2 describes it.
fn event(item: &Value) -> Value {
    json!({
        "type": "object",
        "description": "Without a name it is an item. `fault` is a function's own error, `end` and \
                        `problem` are the last event.",
        "properties": {
            "event": { "enum": ["fault", "end", "problem"] },
            "data": {
                "type": "string",
                "contentMediaType": "application/json",
                "contentSchema": item,
            },
            "id": { "type": "string" },
        },
        "required": ["data"],
    })
}

/// Returns the first sentence of a doc comment, in one line.
fn summary(doc: &str) -> Option<String> {
    let paragraph = doc.split("\n\n").next().unwrap_or_default();
    let line = printable::one_line(paragraph, MAX_SUMMARY);
    let end = line.find(". ").map_or(line.len(), |at| at + 1);
    let sentence = line[..end].trim();
    (!sentence.is_empty()).then(|| sentence.to_owned())
}

/// Longest summary, in bytes.
const MAX_SUMMARY: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_is_the_first_sentence() {
        for (doc, expected) in [
            ("Adds two numbers.", "Adds two numbers."),
            ("Adds two\nnumbers. Slowly.\n\nMore.", "Adds two numbers."),
            ("Adds 1.5\n\nMore.", "Adds 1.5"),
            ("\u{1b}[2JAdds.", "[2JAdds."),
        ] {
            assert_eq!(summary(doc).as_deref(), Some(expected));
        }
        assert_eq!((summary(""), summary(" \n")), (None, None));
        assert!(summary(&"é".repeat(1_000)).unwrap().len() <= MAX_SUMMARY);
    }
}
