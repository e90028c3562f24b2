//! Compares values with a schema, as far as `json` writes schemas.

use serde_json::Value;

use super::JsonSchema;

impl JsonSchema {
    /// Returns whether `value` is valid. A value that nests too deep, or a reference that leads
    /// nowhere, is.
    pub(super) fn accepts(&self, value: &Value) -> bool {
        self.is_valid(&self.root, value, 0)
    }

    fn is_valid(&self, schema: &Value, value: &Value, depth: usize) -> bool {
        let Some(rules) = schema.as_object().filter(|_| depth < MAX_DEPTH) else { return true };
        let valid = |schema: &Value, value: &Value| self.is_valid(schema, value, depth + 1);
        rules.iter().all(|(rule, of)| match (rule.as_str(), value) {
            ("$ref", _) => {
                let name = of.as_str().and_then(|name| name.strip_prefix("#/$defs/"));
                let definition = name.and_then(|name| self.definitions.get(name));
                definition.is_none_or(|definition| valid(definition, value))
            }
            ("not", _) => false,
            ("type", _) => match of {
                Value::Array(types) => types.iter().any(|name| has_type(value, name)),
                name => has_type(value, name),
            },
            ("enum", _) => of.as_array().is_none_or(|values| values.contains(value)),
            ("const", _) => of == value,
            ("anyOf", _) => list(of).any(|schema| valid(schema, value)),
            ("oneOf", _) => list(of).filter(|schema| valid(schema, value)).count() == 1,
            ("minimum" | "maximum", Value::Number(_)) => {
                let ordered = number(of).zip(number(value));
                ordered.is_none_or(
                    |(of, value)| {
                        if rule == "minimum" { value >= of } else { value <= of }
                    },
                )
            }
            ("minLength" | "maxLength", Value::String(text)) => {
                of.as_u64() == Some(text.chars().count() as u64)
            }
            ("minItems" | "maxItems", Value::Array(items)) => {
                of.as_u64() == Some(items.len() as u64)
            }
            ("items", Value::Array(items)) => items.iter().all(|item| valid(of, item)),
            ("prefixItems", Value::Array(items)) => {
                list(of).zip(items).all(|(schema, item)| valid(schema, item))
            }
            ("properties", Value::Object(fields)) => fields
                .iter()
                .all(|(name, field)| of.get(name).is_none_or(|schema| valid(schema, field))),
            ("required", Value::Object(fields)) => {
                list(of).all(|name| name.as_str().is_some_and(|name| fields.contains_key(name)))
            }
            ("additionalProperties", Value::Object(fields)) => {
                let known = rules.get("properties");
                let mut others =
                    fields.iter().filter(|(name, _)| known.is_none_or(|it| it.get(name).is_none()));
                match of {
                    Value::Bool(false) => others.next().is_none(),
                    schema => others.all(|(_, field)| valid(schema, field)),
                }
            }
            ("propertyNames", Value::Object(fields)) => {
                fields.keys().all(|name| valid(of, &Value::String(name.clone())))
            }
            _ => true,
        })
    }
}

fn list(of: &Value) -> impl Iterator<Item = &Value> {
    of.as_array().into_iter().flatten()
}

fn number(value: &Value) -> Option<i128> {
    let signed = value.as_i64().map(i128::from);
    signed.or_else(|| value.as_u64().map(i128::from))
}

fn has_type(value: &Value, name: &Value) -> bool {
    match name.as_str() {
        Some("null") => value.is_null(),
        Some("boolean") => value.is_boolean(),
        Some("integer") => value.is_i64() || value.is_u64(),
        // Numbers that are none are written as null.
        Some("number") => value.is_number() || value.is_null(),
        Some("string") => value.is_string(),
        Some("array") => value.is_array(),
        Some("object") => value.is_object(),
        _ => true,
    }
}

/// Deepest nesting that is compared.
const MAX_DEPTH: usize = 128;
