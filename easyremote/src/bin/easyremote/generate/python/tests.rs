use serde_json::{Value, json};

use super::*;

/// A function as a gateway lists it.
fn function(name: &str, kind: &str, parameters: &[&str], schemas: Value) -> FunctionInfo {
    let info = json!({
        "name": name, "kind": kind, "parameters": parameters, "signature": "()", "doc": "",
        "nodes": [], "schemas": schemas,
    });
    serde_json::from_value(info).unwrap()
}

/// A function with this schema for its argument and its result.
fn same(schema: &Value) -> FunctionInfo {
    let arguments = json!({ "type": "object", "properties": { "a": schema }, "required": ["a"] });
    function("f", "unary", &["a"], json!({ "arguments": arguments, "result": schema }))
}

/// Returns the types of argument and result.
fn types_of(schema: &Value) -> (String, String) {
    let text = stubs(&[same(schema)], false);
    let line = text.lines().find(|line| line.contains("def f(")).unwrap();
    let (argument, result) = line.split_once(") -> ").unwrap();
    let argument = argument.split_once("a: ").unwrap().1;
    (argument.to_owned(), result.trim_end_matches(':').to_owned())
}

#[test]
fn each_schema_is_a_type() {
    let byte = json!({ "type": "integer", "minimum": 0, "maximum": 255 });
    for (schema, argument, result) in [
        (json!({}), "Any", "Any"),
        (json!({ "not": {} }), "NoReturn", "NoReturn"),
        (json!({ "type": "null" }), "None", "None"),
        (json!({ "type": "boolean" }), "bool", "bool"),
        (json!({ "type": ["number", "null"] }), "Optional[float] = None", "Optional[float]"),
        (json!({ "type": ["integer", "string"] }), "Union[int, str]", "Union[int, str]"),
        (json!({ "enum": ["a", "b"] }), r#"Literal["a", "b"]"#, r#"Literal["a", "b"]"#),
        (json!({ "const": 1 }), "Any", "Any"),
        (json!({ "type": "array", "items": byte }), "Sequence[int]", "List[int]"),
        (json!({ "type": "array" }), "Sequence[Any]", "List[Any]"),
        (json!({ "type": "array", "minItems": 0, "maxItems": 0 }), "Tuple[()]", "Tuple[()]"),
        (
            json!({ "type": "array", "prefixItems": [byte, { "type": "string" }] }),
            "Tuple[int, str]",
            "Tuple[int, str]",
        ),
        (
            json!({ "type": "object", "additionalProperties": byte }),
            "Mapping[str, int]",
            "Dict[str, int]",
        ),
        (
            json!({ "anyOf": [{ "anyOf": [byte, { "type": "null" }] }, { "type": "null" }] }),
            "Optional[int] = None",
            "Optional[int]",
        ),
        (json!({ "anyOf": [{}, { "type": "null" }] }), "Any", "Any"),
        (json!({ "type": "object", "properties": {} }), "FA", "FA_"),
        (json!({ "$ref": "#/$defs/None" }), "Any", "Any"),
        (json!("odd"), "Any", "Any"),
    ] {
        let (of_argument, of_result) = types_of(&schema);
        assert_eq!(of_argument, argument, "{schema}");
        if result != "FA_" {
            assert_eq!(of_result, result, "{schema}");
        }
    }
}

#[test]
fn floats_in_results_may_be_said_to_be_finite() {
    let float = json!({ "type": ["number", "null"] });
    assert!(stubs(&[same(&float)], false).contains("-> Optional[float]:"));
    assert!(stubs(&[same(&float)], true).contains("-> float:"));
}

/// Definitions of one name are one type if they say the same, also through others.
#[test]
fn equal_definitions_are_one_type() {
    let point = |of: &str| {
        json!({
            "$ref": "#/$defs/Line",
            "$defs": {
                "Line": {
                    "type": "object", "properties": { "from": { "$ref": "#/$defs/Point" } },
                    "required": ["from"],
                },
                "Point": { "type": "object", "properties": { "x": { "type": of } } },
            },
        })
    };
    let returns = |name: &str, of: &str| {
        function(name, "unary", &[], json!({ "arguments": {}, "result": point(of) }))
    };
    let text = stubs(&[returns("a", "integer"), returns("b", "integer")], false);
    assert!(text.contains("def b(self, /) -> Line:") && !text.contains("LineResult"), "{text}");
    let text = stubs(&[returns("a", "integer"), returns("b", "string")], false);
    assert!(text.contains("def a(self, /) -> Line:"), "{text}");
    assert!(text.contains("def b(self, /) -> LineResult:"), "{text}");
}

const ODD: &[&str] = &[
    "",
    "a",
    "A",
    "a.a",
    "a_a",
    "self",
    "class",
    "int",
    "List",
    "Functions",
    "__init__",
    "1",
    "\"",
    "\\",
    "\n",
    "\u{202e}",
    "雪",
    "a b",
    "_client",
    "items",
    "cast",
    "Any",
];

/// Functions of each kind with a name, whose parameters, types and members have it too.
fn odd_functions(name: &str) -> [FunctionInfo; 5] {
    let definition = json!({ "type": "object", "properties": { name: { "enum": [name] } } });
    let definitions = json!({ name: definition });
    let schema = json!({ "$ref": format!("#/$defs/{name}"), "$defs": definitions });
    let arguments = json!({ "properties": { name: schema }, "$defs": schema["$defs"] });
    let all = json!({
        "arguments": arguments, "result": schema, "item": schema, "error": schema,
        "setup_error": schema, "upload": schema,
    });
    ["unary", "stream", "upload", "duplex", "operator"]
        .map(|kind| function(&format!("{name}{kind}"), kind, &[name], all.clone()))
}

/// Whatever a gateway says: one text for the same functions, and no name twice.
#[test]
fn odd_names_and_schemas_lead_to_stubs() {
    let functions: Vec<_> = ODD.iter().flat_map(|name| odd_functions(name)).collect();
    let text = stubs(&functions, false);
    assert_eq!(text, stubs(&functions, false));
    assert!(!text.contains('\u{202e}'));
    let (threads, asyncio) = text.split_once("class AsyncFunctions").unwrap();
    for half in [threads, asyncio] {
        let lines = half.lines().map(|line| line.trim().trim_start_matches("async "));
        let names = lines.filter_map(|line| {
            let name = line.strip_prefix("class ").or_else(|| line.strip_prefix("def "))?;
            name.split(['(', ':']).next()
        });
        let mut names: Vec<_> = names.collect();
        let n = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), n, "{half}");
        assert!(n > 4 * ODD.len());
    }
}

#[test]
fn schemas_that_lead_nowhere_end() {
    let mut deep = json!({ "type": "integer" });
    for _ in 0..40 {
        deep = json!({ "type": "array", "items": deep });
    }
    let mut definitions = serde_json::Map::new();
    definitions.insert("A".to_owned(), json!({ "$ref": "#/$defs/A" }));
    definitions.insert("B".to_owned(), json!({ "anyOf": [{ "$ref": "#/$defs/B" }] }));
    for (schema, expected) in [
        (deep, "List[".repeat(40)),
        (json!({ "$ref": "#/$defs/A", "$defs": definitions }), "A = ".to_owned()),
        (json!({ "$ref": "#/$defs/B", "$defs": definitions }), "B = ".to_owned()),
    ] {
        let function = function("f", "unary", &[], json!({ "arguments": {}, "result": schema }));
        let text = stubs(&[function], false);
        assert!(text.contains(&expected), "{text}");
    }
}
