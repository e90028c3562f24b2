//! The rules of a schema that may be in a document.
//!
//! A node sends the schemas of its functions, and a document is read by generators: one that is not
//! valid, or refers to something outside, would spoil the document for all functions. What is left
//! out makes a schema accept more.

use std::collections::HashSet;

use serde_json::{Map, Value, json};

use crate::error::printable;
use crate::wire::fields::MAX_TEXT;

/// A schema with valid rules only.
#[derive(Debug)]
pub(super) struct Cleaned {
    pub(super) schema: Value,
    /// The names of the definitions that it refers to.
    pub(super) targets: Vec<String>,
}

impl Cleaned {
    /// Returns what is valid of a schema, without its definitions. References remain that lead to one
    /// of `definitions`.
    ///
    /// The recursion is bounded by the depth of schemas that a gateway accepts.
    pub(super) fn of(schema: &Value, definitions: &Map<String, Value>) -> Self {
        let mut cleaner = Cleaner { definitions, targets: Vec::new() };
        let schema = cleaner.schema(schema);
        Self { schema, targets: cleaner.targets }
    }
}

struct Cleaner<'a> {
    definitions: &'a Map<String, Value>,
    targets: Vec<String>,
}

impl Cleaner<'_> {
    fn schema(&mut self, schema: &Value) -> Value {
        match schema {
            // Not every generator knows this form.
            Value::Bool(false) => json!({ "not": {} }),
            Value::Object(rules) => {
                let rules = rules.iter().filter_map(|(name, of)| {
                    let rule = self.rule(name, of)?;
                    Some((name.clone(), rule))
                });
                Value::Object(rules.collect())
            }
            _ => json!({}),
        }
    }

    /// Returns a rule as it may stay.
    fn rule(&mut self, name: &str, of: &Value) -> Option<Value> {
        match (name, of) {
            ("$ref", Value::String(target)) => {
                let target = target.strip_prefix(DEFINITIONS)?;
                self.definitions.contains_key(target).then(|| {
                    self.targets.push(target.to_owned());
                    of.clone()
                })
            }
            ("type", Value::String(_)) => is_type(of).then(|| of.clone()),
            ("type", Value::Array(types)) => {
                (are_unique(types) && types.iter().all(is_type)).then(|| of.clone())
            }
            ("enum", Value::Array(values)) => {
                (are_unique(values) && values.iter().all(is_scalar)).then(|| of.clone())
            }
            ("const", _) => is_scalar(of).then(|| of.clone()),
            ("minimum" | "maximum", Value::Number(_)) => Some(of.clone()),
            ("minLength" | "maxLength" | "minItems" | "maxItems", Value::Number(n)) => {
                n.is_u64().then(|| of.clone())
            }
            ("anyOf" | "oneOf" | "allOf" | "prefixItems", Value::Array(schemas)) => {
                let schemas: Vec<_> = schemas.iter().map(|schema| self.schema(schema)).collect();
                (!schemas.is_empty()).then(|| schemas.into())
            }
            ("properties", Value::Object(fields)) => {
                let fields = fields.iter().map(|(name, field)| (name.clone(), self.schema(field)));
                Some(Value::Object(fields.collect()))
            }
            ("additionalProperties", Value::Bool(_)) => Some(of.clone()),
            ("items" | "additionalProperties" | "propertyNames" | "not", of) => {
                Some(self.schema(of))
            }
            ("required", Value::Array(names)) => {
                let fine = are_unique(names) && names.iter().all(Value::is_string);
                fine.then(|| of.clone())
            }
            ("pattern", Value::String(pattern)) => {
                PATTERNS.contains(&pattern.as_str()).then(|| of.clone())
            }
            ("description", Value::String(text)) => {
                Some(printable::lines(text, MAX_TEXT).into_owned().into())
            }
            _ => None,
        }
    }
}

fn is_type(name: &Value) -> bool {
    name.as_str().is_some_and(|name| TYPES.contains(&name))
}

/// Whether nothing in a value can be taken for a reference.
fn is_scalar(value: &Value) -> bool {
    !(value.is_object() || value.is_array())
}

/// Whether there are values, and no two of them are the same.
fn are_unique(values: &[Value]) -> bool {
    let different: HashSet<_> = values.iter().collect();
    !values.is_empty() && different.len() == values.len()
}

/// Replaces the references of a cleaned schema to definitions, as far as `found` knows them.
pub(super) fn refer(schema: &mut Value, found: &dyn Fn(&str) -> Option<String>) {
    let Some(rules) = schema.as_object_mut() else { return };
    for (name, of) in rules {
        match (name.as_str(), of) {
            ("$ref", Value::String(target)) => {
                if let Some(other) = target.strip_prefix(DEFINITIONS).and_then(found) {
                    *target = other;
                }
            }
            ("anyOf" | "oneOf" | "allOf" | "prefixItems", Value::Array(schemas)) => {
                schemas.iter_mut().for_each(|schema| refer(schema, found));
            }
            ("properties", Value::Object(fields)) => {
                fields.values_mut().for_each(|field| refer(field, found));
            }
            ("items" | "additionalProperties" | "propertyNames" | "not", of) => refer(of, found),
            _ => {}
        }
    }
}

/// The prefix of references within the schema of a function.
pub(super) const DEFINITIONS: &str = "#/$defs/";

/// The types of JSON Schema.
const TYPES: &[&str] = &["null", "boolean", "integer", "number", "string", "array", "object"];

/// The patterns that nodes send, for numbers as names. Others may not be what every generator takes
/// for a pattern.
const PATTERNS: &[&str] = &["^[0-9]+$", "^-?[0-9]+$"];
