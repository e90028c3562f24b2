//! The JSON Schemas of a function, from its types and its doc comments.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Map, Value, json};

use crate::error::printable;
use crate::function::descriptor::Descriptor;
use crate::function::outcome::Never;
use crate::function::signature::Signature;
use crate::function::text::Text;
use crate::schema::{JsonSchema, unused};
use crate::wire::fields::MAX_TEXT;
use crate::wire::kind::Kind;
use crate::wire::schemas::FunctionSchemas;
use crate::wire::value::ValueType;

/// Returns the text of a function's [`FunctionSchemas`].
///
/// # Errors
/// That they are longer than is allowed, or nest deeper.
pub(super) fn schemas(descriptor: &Descriptor, signature: &Signature) -> Result<Arc<str>, String> {
    let mut all = Map::new();
    all.insert("arguments".to_owned(), arguments(descriptor, signature));
    let is_operator = descriptor.kind == Kind::Operator;
    let gives_items = is_operator || descriptor.kind.gives_stream();
    let returned = if gives_items { "item" } else { "result" };
    // What an operator takes has come from a function.
    let upload = if is_operator { ValueDirection::Out } else { ValueDirection::In };
    let is_some = |of: &'static ValueType| {
        !std::ptr::eq(of, ValueType::of::<Never>()) && !std::ptr::eq(of, ValueType::of::<Text>())
    };
    let parts = [
        ("upload", signature.upload, upload),
        (returned, signature.value, ValueDirection::Out),
        ("error", signature.failure, ValueDirection::Out),
        ("setup_error", signature.setup_failure, ValueDirection::Out),
    ];
    for (name, of, direction) in parts {
        if is_some(of) {
            let mut document = Document::default();
            let mut root = document.add(of.json());
            if direction == ValueDirection::Out {
                with_null(&mut root);
                document.definitions.values_mut().for_each(with_null);
            }
            all.insert(name.to_owned(), document.around(root));
        }
    }
    let text = Value::from(all).to_string();
    FunctionSchemas::check(&text).map(|()| text.into())
}

/// Who sends a value.
#[derive(Clone, Copy, PartialEq, Eq)]
enum ValueDirection {
    /// The caller.
    In,
    /// The function.
    Out,
}

/// Returns the schema of the arguments by name.
fn arguments(descriptor: &Descriptor, signature: &Signature) -> Value {
    let mut document = Document::default();
    let mut properties = Map::new();
    for (index, (name, of)) in descriptor.parameters.iter().zip(&signature.arguments).enumerate() {
        let mut schema = document.add(of.json());
        let doc = descriptor.parameter_docs.get(index).copied().unwrap_or_default();
        describe(&mut schema, doc);
        properties.insert((*name).to_owned(), schema);
    }
    let mut object = json!({
        "type": "object",
        "properties": properties,
        "required": descriptor.parameters,
        "additionalProperties": false,
    });
    describe(&mut object, descriptor.doc);
    document.around(object)
}

/// Adds a doc comment to a schema, if there is one.
fn describe(schema: &mut Value, doc: &str) {
    if !doc.is_empty() {
        schema["description"] = printable::lines(doc, MAX_TEXT).into();
    }
}

/// A schema that is being put together from those of several types.
#[derive(Debug, Default)]
pub(crate) struct Document {
    definitions: Map<String, Value>,
}

impl Document {
    /// Adds the definitions of a type, and returns its schema.
    pub(crate) fn add(&mut self, schema: &JsonSchema) -> Value {
        let mut renamed = BTreeMap::new();
        for (name, definition) in &schema.definitions {
            // Two types may have one name.
            if self.definitions.get(name).is_some_and(|other| other != definition) {
                let is_taken = |name: &str| {
                    self.definitions.contains_key(name) || schema.definitions.contains_key(name)
                };
                renamed.insert(name.clone(), unused(name, is_taken));
            }
        }
        let rename = |value: &Value| {
            let mut value = value.clone();
            if !renamed.is_empty() {
                refer(&mut value, &renamed);
            }
            value
        };
        for (name, definition) in &schema.definitions {
            let name = renamed.get(name).unwrap_or(name).clone();
            self.definitions.insert(name, rename(definition));
        }
        rename(&schema.root)
    }

    /// Returns the finished schema, whose own rules are `root`.
    pub(crate) fn around(self, mut root: Value) -> Value {
        if !self.definitions.is_empty() {
            root["$defs"] = self.definitions.into();
        }
        root
    }
}

/// Changes the names of definitions in all references.
fn refer(schema: &mut Value, renamed: &BTreeMap<String, String>) {
    match schema {
        Value::Object(members) => {
            for (name, member) in members {
                match member {
                    Value::String(target) if name == "$ref" => {
                        let other = target.strip_prefix("#/$defs/").and_then(|it| renamed.get(it));
                        if let Some(other) = other {
                            *target = format!("#/$defs/{other}");
                        }
                    }
                    member => refer(member, renamed),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| refer(item, renamed)),
        _ => {}
    }
}

/// Allows null for all numbers that JSON may not have: a function can return infinity.
fn with_null(schema: &mut Value) {
    match schema {
        Value::Object(members) => {
            for (name, member) in members {
                match member {
                    Value::String(of) if name == "type" && of == "number" => {
                        *member = json!(["number", "null"]);
                    }
                    Value::Array(types) if name == "type" => {
                        let has = |name: &str| types.iter().any(|of| of == name);
                        if has("number") && !has("null") {
                            types.push("null".into());
                        }
                    }
                    member => with_null(member),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(with_null),
        _ => {}
    }
}
