//! Documents for every function that a node can offer, and for what a hostile one would.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use fastrand::Rng;
use serde_json::{Map, Value, json};

use super::{DocumentReader, document};

fn reader() -> DocumentReader {
    DocumentReader { server: "http://127.0.0.1:1".to_owned(), is_overseer: true }
}

/// The document for these functions, checked.
fn checked(functions: &Value) -> Value {
    let text = functions.to_string();
    let made = document(text.as_bytes(), &reader()).unwrap();
    assert_eq!(made, document(text.as_bytes(), &reader()).unwrap());
    check_references(&made, &made);
    check_names(&made);
    made
}

/// Whether each reference leads to something.
fn check_references(document: &Value, within: &Value) {
    match within {
        Value::Object(members) => {
            for (name, member) in members {
                match member {
                    Value::String(target) if name == "$ref" => {
                        let found = document.pointer(target.strip_prefix('#').unwrap());
                        assert!(found.is_some(), "{target}");
                    }
                    member => check_references(document, member),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| check_references(document, item)),
        _ => {}
    }
}

/// Whether operations and schemas have names that are valid, and differ in every spelling.
fn check_names(document: &Value) {
    let paths = document["paths"].as_object().unwrap();
    let operations = paths.values().flat_map(|path| path.as_object().unwrap().values());
    let ids = operations.map(|it| it["operationId"].as_str().unwrap());
    let schemas = document["components"]["schemas"].as_object().unwrap().keys();
    let lists: [Vec<&str>; 2] = [ids.collect(), schemas.map(String::as_str).collect()];
    for names in lists {
        let mut spelled = HashSet::new();
        for name in names {
            assert!(name.starts_with(|c: char| c.is_ascii_alphabetic()), "{name}");
            assert!(
                name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_'),
                "{name}"
            );
            assert!(spelled.insert(name.replace('_', "").to_lowercase()), "{name}");
        }
    }
}

fn function(name: &str, kind: &str, schemas: Value) -> Value {
    let parameters = schemas["arguments"]["properties"].as_object().map(Map::len);
    let names: Vec<_> = (0..parameters.unwrap_or(0)).map(|i| format!("a{i}")).collect();
    json!({
        "name": name, "kind": kind, "parameters": names, "signature": "()", "doc": "",
        "needs": [], "nodes": [], "schemas": schemas,
    })
}

fn schema<'a>(document: &'a Value, reference: &Value) -> &'a Value {
    document.pointer(reference["$ref"].as_str().unwrap().strip_prefix('#').unwrap()).unwrap()
}

#[test]
fn each_kind_has_its_paths() {
    let kinds = ["unary", "stream", "upload", "duplex", "operator"];
    let functions: Vec<_> = kinds
        .iter()
        .map(|kind| {
            let arguments = json!({
                "type": "object", "description": "Of the function.",
                "properties": { "a0": { "type": "integer", "description": "First." } },
                "required": ["a0"], "additionalProperties": false,
            });
            function(kind, kind, json!({ "arguments": arguments, "upload": { "type": "null" } }))
        })
        .collect();
    let made = checked(&json!(functions));
    let paths: BTreeMap<_, BTreeSet<_>> = made["paths"]
        .as_object()
        .unwrap()
        .iter()
        .filter(|(path, _)| kinds.iter().any(|kind| path.ends_with(&format!("/{kind}"))))
        .map(|(path, methods)| {
            (path.as_str(), methods.as_object().unwrap().keys().map(String::as_str).collect())
        })
        .collect();
    let expected = [
        ("/call/unary", vec!["post"]),
        ("/call/upload", vec!["post"]),
        ("/jobs/unary", vec!["post"]),
        ("/stream/duplex", vec!["post"]),
        ("/stream/stream", vec!["get", "post"]),
    ];
    let expected = expected.map(|(path, methods)| (path, methods.into_iter().collect()));
    assert_eq!(paths, BTreeMap::from(expected));
    let body = &made["paths"]["/call/unary"]["post"]["requestBody"]["content"];
    let arguments = schema(&made, &body["application/json"]["schema"]);
    assert_eq!(arguments["properties"]["a0"]["description"], "First.");
    assert_eq!(arguments.get("description"), None);
    let stream = &made["paths"]["/stream/stream"];
    let body = &stream["post"]["requestBody"]["content"]["application/json"]["schema"];
    let last = stream["get"]["parameters"].as_array().unwrap().last().unwrap();
    assert_eq!(last["schema"]["contentSchema"], *body);
    for path in ["/call/upload", "/stream/duplex"] {
        let content = &made["paths"][path]["post"]["requestBody"]["content"];
        assert_eq!(content["application/x-ndjson"]["x-itemSchema"], json!({ "type": "null" }));
    }
}

#[test]
fn only_overseers_are_told_of_what_they_alone_may_see() {
    let told = |is_overseer| {
        let made = document(b"[]", &DocumentReader { is_overseer, ..reader() }).unwrap();
        made["paths"].get("/nodes").is_some()
    };
    assert!(told(true) && !told(false));
    document(b"{}", &reader()).unwrap_err();
}

#[test]
fn a_type_is_there_once_and_two_types_of_one_name_are_two() {
    let point = json!({ "type": "object", "properties": { "x": { "type": "number" } } });
    let other = json!({ "type": "object", "properties": { "y": { "type": "number" } } });
    let pair = json!({ "type": "array", "prefixItems": [
        { "$ref": "#/$defs/Point" }, { "$ref": "#/$defs/Point" },
    ] });
    // A tree, which refers to itself, and to one of the points.
    let tree = json!({ "type": "object", "properties": {
        "children": { "type": "array", "items": { "$ref": "#/$defs/Tree" } },
        "at": { "$ref": "#/$defs/Point" },
    } });
    let holds = |name: &str, definitions: Value| json!({ "$ref": format!("#/$defs/{name}"), "$defs": definitions });
    let unary = |name: &str, result: Value| {
        function(name, "unary", json!({ "arguments": { "type": "object" }, "result": result }))
    };
    let made = checked(&json!([
        unary("a", holds("Point", json!({ "Point": point }))),
        unary("b", holds("Pair", json!({ "Pair": pair, "Point": point, "unused": other }))),
        unary("c", holds("Tree", json!({ "Tree": tree, "Point": point }))),
        unary("d", holds("Tree", json!({ "Tree": tree, "Point": point }))),
        unary("e", holds("Tree", json!({ "Tree": tree, "Point": other }))),
        unary("f", holds("Pair", json!({ "Pair": pair, "Point": other }))),
    ]));
    let result = |name: &str| {
        let answer = &made["paths"][format!("/call/{name}")]["post"]["responses"]["200"];
        &answer["content"]["application/json"]["schema"]
    };
    let named = |reference: &Value| {
        let name = reference["$ref"].as_str().unwrap();
        name.strip_prefix("#/components/schemas/").unwrap().to_owned()
    };
    let names: Vec<_> = ["a", "b", "c", "d", "e", "f"].map(|name| named(result(name))).into();
    assert_eq!(names, ["Point", "Pair", "Tree", "Tree", "TreeOutput", "PairOutput"]);
    let of_tree = |name: &str| {
        let properties = &schema(&made, result(name))["properties"];
        (named(&properties["children"]["items"]), named(&properties["at"]))
    };
    assert_eq!(of_tree("d"), ("Tree".to_owned(), "Point".to_owned()));
    assert_eq!(of_tree("e"), ("TreeOutput".to_owned(), "PointOutput".to_owned()));
    assert_eq!(made["components"]["schemas"]["Point"], point);
    assert_eq!(named(&schema(&made, result("f"))["prefixItems"][1]), "PointOutput");
}

#[test]
fn the_fields_of_a_variant_have_a_name() {
    let fields = json!({ "type": "object", "properties": { "x": { "$ref": "#/$defs/Shape" } } });
    let variant = json!({ "type": "object", "properties": { "Named": fields } });
    let shape = json!({ "oneOf": [{ "type": "string", "enum": ["Point"] }, variant] });
    let result = json!({ "$ref": "#/$defs/Shape", "$defs": { "Shape": shape } });
    let schemas = json!({ "arguments": { "type": "object" }, "result": result });
    let made = checked(&json!([function("f", "unary", schemas)]));
    let named = &made["components"]["schemas"]["ShapeNamed"];
    assert_eq!(named["properties"]["x"]["$ref"], "#/components/schemas/Shape");
    let variant = &made["components"]["schemas"]["Shape"]["oneOf"][1]["properties"]["Named"];
    assert_eq!(variant["$ref"], "#/components/schemas/ShapeNamed");
}

#[test]
fn names_that_are_spelled_alike_are_told_apart() {
    let names = [
        "add_one", "addOne", "AddOne", "add.one", "add:one", "add/one", "add-one", "..", ".", "-",
        "2nd", "Problem", "health", "x/result", "größe", "Größe",
    ];
    let functions: Vec<_> = names
        .iter()
        .map(|name| {
            let problem =
                json!({ "$ref": "#/$defs/Problem", "$defs": { "Problem": { "type": "null" } } });
            function(name, "unary", json!({ "arguments": { "type": "object" }, "error": problem }))
        })
        .collect();
    let made = checked(&json!(functions));
    let paths = made["paths"].as_object().unwrap();
    assert_eq!(paths.keys().filter(|path| path.starts_with("/call/")).count(), names.len());
    assert!(paths.contains_key("/call/x%2Fresult"));
    // Those of the gateway keep their names.
    assert_eq!(made["components"]["schemas"]["Problem"]["properties"]["kind"]["type"], "string");
    assert_eq!(made["paths"]["/health"]["get"]["operationId"], "health");
}

const RULES: &[&str] = &[
    "type",
    "enum",
    "const",
    "anyOf",
    "oneOf",
    "allOf",
    "prefixItems",
    "items",
    "not",
    "properties",
    "required",
    "additionalProperties",
    "propertyNames",
    "pattern",
    "minimum",
    "maxLength",
    "description",
    "$id",
    "$schema",
    "$dynamicRef",
    "title",
    "format",
    "default",
    "if",
];

/// Schemas of any form, also of none: keywords with values of other kinds, references that lead
/// nowhere, outside, or in circles.
fn any_schema(random: &mut Rng, depth: usize) -> Value {
    let names = ["A", "B", "C", "a b", "é", "D/~1"];
    let of = |random: &mut Rng| match random.u8(..10) {
        0 => json!(null),
        1 => json!(random.bool()),
        2 => json!(random.i32(..)),
        3 => json!("^[0-9]+$"),
        4 => json!(["null", "string", "null"]),
        5 => json!([1, 1.5, { "$ref": "#/$defs/Nothing" }]),
        6 if depth > 0 => json!([any_schema(random, depth - 1), any_schema(random, depth - 1)]),
        _ if depth > 0 => any_schema(random, depth - 1),
        _ => json!({ "type": "string" }),
    };
    let mut rules = Map::new();
    for _ in 0..random.usize(..4) {
        let name = RULES[random.usize(..RULES.len())];
        let value = of(random);
        rules.insert(name.to_owned(), value);
    }
    if random.bool() {
        let target = match random.u8(..8) {
            0 => "#/$defs/Nothing".to_owned(),
            1 => "https://example.com/schema".to_owned(),
            2 => "#".to_owned(),
            3 => "#/paths/~1health".to_owned(),
            _ => format!("#/$defs/{}", names[random.usize(..names.len())]),
        };
        rules.insert("$ref".to_owned(), target.into());
    }
    if depth == 3 {
        let definitions = names.map(|name| (name.to_owned(), any_schema(random, 2)));
        rules.insert("$defs".to_owned(), Value::Object(definitions.into_iter().collect()));
    }
    Value::Object(rules)
}

#[test]
fn whatever_a_node_sends_leads_nowhere_outside() {
    let mut random = Rng::with_seed(17);
    for _ in 0..100 {
        let kinds = ["unary", "stream", "upload", "duplex", "operator"];
        let functions: Vec<_> = (0..20)
            .map(|i| {
                let mut schemas = Map::new();
                for part in ["arguments", "upload", "result", "item", "error", "setup_error"] {
                    schemas.insert(part.to_owned(), any_schema(&mut random, 3));
                }
                let name = format!("f{i}");
                function(&name, kinds[random.usize(..5)], Value::Object(schemas))
            })
            .collect();
        checked(&json!(functions));
    }
}

/// A chain of definitions, and as many that all refer to each other, as long as schemas can be.
#[test]
fn long_definitions_are_followed_in_time() {
    let chain = |n: usize, last: &str| {
        let definitions = (0..n).map(|i| {
            let next = if i + 1 < n { format!("#/$defs/{}", i + 1) } else { last.to_owned() };
            (i.to_string(), json!({ "$ref": next }))
        });
        json!({ "$ref": "#/$defs/0", "$defs": definitions.collect::<Map<_, _>>() })
    };
    for last in ["#/$defs/Nothing", "#/$defs/0"] {
        let schemas = json!({ "arguments": { "type": "object" }, "result": chain(1_200, last) });
        assert!(schemas.to_string().len() > 30_000);
        let functions: Vec<_> =
            (0..20).map(|i| function(&format!("f{i}"), "unary", schemas.clone())).collect();
        let made = checked(&json!(functions));
        let n = made["components"]["schemas"].as_object().unwrap().len();
        assert!((1_200..1_300).contains(&n), "{n}");
    }
}

#[test]
fn functions_without_schemas_have_the_names_of_their_arguments() {
    let mut function = function("f", "unary", Value::Null);
    function["parameters"] = json!(["a", "größe"]);
    function["doc"] = "Does it. Well.\n\nIndeed.".into();
    let made = checked(&json!([function]));
    let call = &made["paths"]["/call/f"]["post"];
    let arguments = schema(&made, &call["requestBody"]["content"]["application/json"]["schema"]);
    assert_eq!(arguments["properties"], json!({ "a": {}, "größe": {} }));
    assert_eq!(arguments["required"], json!(["a", "größe"]));
    assert_eq!(call["summary"], "Does it.");
    assert_eq!(call["description"], "Does it. Well.\n\nIndeed.");
}

#[test]
fn a_document_has_limits() {
    let long = json!({ "arguments": { "type": "object", "description": "x".repeat(30_000) },
        "result": { "type": "null" } });
    let functions: Vec<_> = (0..5_000)
        .map(|i| {
            function(&format!("f{i:04}"), "unary", if i < 200 { long.clone() } else { Value::Null })
        })
        .collect();
    let made = checked(&json!(functions));
    let result = |i: usize| {
        let answer = &made["paths"][format!("/call/f{i:04}")]["post"]["responses"]["200"];
        answer["content"]["application/json"]["schema"].clone()
    };
    assert_eq!((result(0), result(199)), (json!({ "type": "null" }), json!({})));
    assert!(made["paths"].get("/call/f4095").is_some());
    assert!(made["paths"].get("/call/f4096").is_none());
    let text = made["info"]["description"].as_str().unwrap();
    assert!(text.ends_with("904 functions are left out: a document has at most 4096."), "{text}");
}
