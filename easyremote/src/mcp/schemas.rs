//! The schemas of tools, from those of functions.

use rmcp::model::JsonObject;
use serde_json::{Map, Value, json};

use crate::client::FunctionInfo;
use crate::function::json_schemas::Document;
use crate::schema::JsonSchema;

/// Returns the schema of the arguments by name.
pub(super) fn input(function: &FunctionInfo) -> JsonObject {
    let known = function.schemas.as_ref().map(|schemas| schemas.arguments());
    match known {
        Some(Value::Object(mut schema)) if schema.get("type") == Some(&"object".into()) => {
            // 2020-12 is what MCP takes for granted, and the description is that of the tool.
            schema.remove("$schema");
            schema.remove("description");
            schema
        }
        // Too long for the list of functions. The node checks the arguments.
        _ => {
            let properties = function.parameters.iter().map(|name| (name.clone(), json!({})));
            let properties: Map<String, Value> = properties.collect();
            Map::from_iter([
                ("type".to_owned(), "object".into()),
                ("properties".to_owned(), properties.into()),
                ("additionalProperties".to_owned(), false.into()),
            ])
        }
    }
}

/// Returns the schema of the structured content, which errors have too. `None` if the schemas of the
/// function are not known.
pub(super) fn output(function: &FunctionInfo) -> Option<JsonObject> {
    let schemas = function.schemas.as_ref()?;
    let mut output = OutputSchema::default();
    let error = schemas.error().map(|error| output.taken_in(error));
    let count = || json!({ "type": "integer", "minimum": 0 });
    let required = match (schemas.item(), schemas.result()) {
        (Some(item), _) => {
            let item = output.taken_in(item);
            let fault = json!({
                "type": "object",
                "properties": { "before": count(), "error": error.unwrap_or(json!({})) },
                "required": ["before", "error"],
            });
            output.add("items", json!({ "type": "array", "items": item }));
            output.add("faults", json!({ "type": "array", "items": fault }));
            output.add("count", count());
            output.add("left_out", count());
            if let Some(setup) = schemas.setup_error() {
                let setup = output.taken_in(setup);
                output.add("error", setup);
            }
            json!(["items", "count"])
        }
        (None, Some(result)) => {
            let result = output.taken_in(result);
            output.add("result", result);
            if let Some(error) = error {
                output.add("error", error);
            }
            json!(["result"])
        }
        (None, None) => return None,
    };
    output.add("kind", json!({ "type": "string" }));
    output.add("executed", json!({ "enum": ["No", "Maybe", "Yes"] }));
    output.add("node", json!({ "type": "string" }));
    output.add("delivered", count());
    output.add("message", json!({ "type": "string" }));
    let failed = json!(["kind", "executed", "message"]);
    Some(output.whole(json!([{ "required": required }, { "required": failed }])))
}

/// The schema of the structured content, which is put together from those of a function.
#[derive(Debug, Default)]
struct OutputSchema {
    document: Document,
    properties: Map<String, Value>,
}

impl OutputSchema {
    /// Takes in a schema. Returns what refers to it.
    fn taken_in(&mut self, mut schema: Value) -> Value {
        let Some(members) = schema.as_object_mut() else { return schema };
        members.remove("$schema");
        let definitions = match members.remove("$defs") {
            Some(Value::Object(definitions)) => definitions,
            _ => Map::new(),
        };
        self.document.add(&JsonSchema { root: schema, definitions })
    }

    fn add(&mut self, property: &str, schema: Value) {
        self.properties.insert(property.to_owned(), schema);
    }

    fn whole(self, any_of: Value) -> JsonObject {
        let whole = self.document.around(json!({
            "type": "object", "properties": self.properties, "anyOf": any_of,
        }));
        match whole {
            Value::Object(whole) => whole,
            _ => Map::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn function(schemas: Value) -> FunctionInfo {
        let info = json!({
            "name": "f", "kind": "unary", "parameters": ["a", "b"], "signature": "()", "doc": "",
            "nodes": [], "schemas": schemas,
        });
        serde_json::from_value(info).unwrap()
    }

    #[test]
    fn arguments_are_an_object_whatever_a_node_says() {
        let described = json!({ "type": "object", "properties": { "a": {} }, "description": "f" });
        let known = input(&function(json!({ "arguments": described })));
        assert_eq!(Value::from(known), json!({ "type": "object", "properties": { "a": {} } }));
        for schemas in [Value::Null, json!({ "arguments": {} })] {
            let unknown = Value::from(input(&function(schemas)));
            assert_eq!(unknown["properties"], json!({ "a": {}, "b": {} }));
            assert_eq!(unknown.get("required"), None);
        }
        assert_eq!(output(&function(Value::Null)), None);
    }

    #[test]
    fn types_of_one_name_have_definitions_of_their_own() {
        let of = |ty: &str| json!({ "$ref": "#/$defs/T", "$defs": { "T": { "type": ty } } });
        let found = output(&function(json!({
            "arguments": {}, "result": of("string"), "error": of("number"),
        })));
        let found = Value::from(found.unwrap());
        assert_eq!(
            found["$defs"],
            json!({ "T": { "type": "number" }, "T2": { "type": "string" } })
        );
        assert_eq!(found["properties"]["result"], json!({ "$ref": "#/$defs/T2" }));
        assert_eq!(found["properties"]["error"], json!({ "$ref": "#/$defs/T" }));
        let same = output(&function(json!({
            "arguments": {}, "result": of("string"), "error": of("string"),
        })));
        assert_eq!(Value::from(same.unwrap())["$defs"], json!({ "T": { "type": "string" } }));
    }
}
