//! One OpenAPI document with all types: each has the schema there that its node sends.
//!
//! With `OPENAPI_DOCUMENTS` the document is saved in that directory, for validators that are not in
//! Rust: see `tests/openapi`.

use easyremote::__bench::openapi_of;
use easyremote::client::FunctionSchemas;
use fastrand::Rng;
use jsonschema::Validator;
use serde_json::{Value, json};

use crate::schemas::change;
use crate::subject::{Subject, World};
use crate::{attributes, crates};

/// A function for a type, as a gateway lists it. All of these have one name at their nodes.
fn listed(name: &str, schemas: &FunctionSchemas) -> Value {
    json!({
        "name": name, "kind": "duplex", "parameters": ["first"], "signature": "", "doc": "",
        "needs": [], "nodes": [], "schemas": schemas,
    })
}

/// The schema at `at` of an operation, with all that it refers to.
fn validator(document: &Value, name: &str, at: &str) -> Validator {
    let path = format!("/stream/{}", name.replace('+', "%2B").replace('/', "%2F"));
    let operation = &document["paths"][&path]["post"];
    let schema = operation.pointer(at).unwrap_or_else(|| panic!("{name}: {at} {operation:#}"));
    let whole = json!({ "allOf": [schema], "components": document["components"] });
    jsonschema::draft202012::new(&whole).expect("a schema")
}

#[tokio::test(flavor = "multi_thread")]
async fn one_document_has_the_schemas_of_all_types() {
    let world = World::start().await;
    let (mut subjects, mut functions) = (Vec::<(Subject, FunctionSchemas)>::new(), Vec::new());
    for subject in attributes::all().into_iter().chain(crates::all()) {
        // Some are refused.
        if let Ok(schemas) = (subject.describe)(&world).await {
            functions.push(listed(&subject.name, &schemas));
            subjects.push((subject, schemas));
        }
    }
    let text = openapi_of(&json!(functions).to_string()).unwrap();
    if let Some(directory) = std::env::var_os("OPENAPI_DOCUMENTS") {
        std::fs::write(std::path::Path::new(&directory).join("zoo.json"), &text).unwrap();
    }
    let document: Value = serde_json::from_str(&text).unwrap();
    let definitions = document["components"]["schemas"].as_object().unwrap();
    for (name, schema) in definitions {
        let meta = jsonschema::draft202012::meta::validate(schema);
        assert!(meta.is_ok(), "{name}: {schema:#}");
    }
    let body = "/requestBody/content/application~1x-ndjson";
    let mut random = Rng::with_seed(31);
    for (subject, schemas) in &subjects {
        let name = &subject.name;
        let pairs = [
            (schemas.arguments(), format!("{body}/x-firstItemSchema"), true),
            (schemas.upload().unwrap(), format!("{body}/x-itemSchema"), false),
        ];
        for (sent, at, is_argument) in pairs {
            let sent = jsonschema::draft202012::new(&sent).unwrap();
            let there = validator(&document, name, &at);
            for value in (subject.values)() {
                for _ in 0..50 {
                    let mut value = value.clone();
                    change(&mut value, &mut random);
                    let value = if is_argument { json!({ "first": value }) } else { value };
                    assert_eq!(sent.is_valid(&value), there.is_valid(&value), "{name}: {value}");
                }
            }
        }
    }
}
