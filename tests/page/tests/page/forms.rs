//! The form that the page makes from a schema: what it sends is what was meant.

use page::browser::Browser;
use page::stub::Stub;
use serde_json::{Value, json};

use crate::{changed, function, gateway};

/// Schemas as functions have them, each with values as JSON text that a form must carry unchanged.
fn family() -> Vec<(Value, Vec<&'static str>)> {
    let point = json!({ "type": "object", "properties": { "x": { "type": "number" }, "y": { "type": "number" } }, "required": ["x", "y"] });
    let tagged = json!({
        "type": "object", "properties": { "kind": { "enum": ["dot", "line"] } }, "required": ["kind"],
        "oneOf": [
            { "properties": { "kind": { "const": "dot" } }, "required": ["size"] },
            { "properties": { "kind": { "const": "line" } }, "required": ["from", "to"] },
        ],
    });
    let shape = json!({ "oneOf": [
        { "type": "string", "enum": ["Empty", "Full"] },
        { "type": "object", "properties": { "Dot": point }, "required": ["Dot"], "additionalProperties": false },
        { "type": "object", "properties": { "Size": { "type": "integer" } }, "required": ["Size"], "additionalProperties": false },
    ] });
    vec![
        (json!({ "type": "integer", "minimum": 0, "maximum": 255 }), vec!["0", "255"]),
        (
            json!({ "type": "integer", "minimum": i64::MIN, "maximum": i64::MAX }),
            vec!["-9223372036854775808", "9223372036854775807", "9007199254740993"],
        ),
        (
            json!({ "type": "integer", "minimum": 0, "maximum": u64::MAX }),
            vec!["18446744073709551615"],
        ),
        (json!({ "type": "integer" }), vec!["340282366920938463463374607431768211455"]),
        (json!({ "type": "number" }), vec!["1.5", "-0.25", "3", "1e+300"]),
        (json!({ "type": "string" }), vec![r#""""#, r#""two\nlines \" \\ ""#, r#""🦀 ü <b>""#]),
        (json!({ "type": "boolean" }), vec!["true", "false"]),
        (json!({ "type": "null" }), vec!["null"]),
        (json!({ "enum": ["a", "b", 3] }), vec![r#""b""#, "3"]),
        (json!({ "anyOf": [{ "type": "integer" }, { "type": "null" }] }), vec!["null", "4"]),
        (
            json!({ "anyOf": [point.clone(), { "type": "null" }] }),
            vec!["null", r#"{"x":1.5,"y":2}"#],
        ),
        (json!({ "type": "array", "items": { "type": "string" } }), vec!["[]", r#"["a","","c"]"#]),
        (
            json!({ "type": "array", "items": point.clone() }),
            vec![r#"[{"x":1,"y":2},{"x":3,"y":4}]"#],
        ),
        (
            json!({ "type": "array", "prefixItems": [{ "type": "integer" }, { "type": "string" }], "minItems": 2, "maxItems": 2 }),
            vec![r#"[7,"x"]"#],
        ),
        (
            json!({ "type": "object", "additionalProperties": { "type": "integer" } }),
            vec!["{}", r#"{"a":1,"b c":2}"#],
        ),
        (
            json!({ "type": "object", "properties": { "a": { "type": "integer" }, "b": { "type": "string" } }, "required": ["a"] }),
            vec![r#"{"a":1}"#, r#"{"a":1,"b":""}"#],
        ),
        (shape, vec![r#""Empty""#, r#""Full""#, r#"{"Dot":{"x":0,"y":1.5}}"#, r#"{"Size":9}"#]),
        (tagged, vec![r#"{"kind":"dot","size":3}"#, r#"{"kind":"line","from":[1,2],"to":null}"#]),
        (json!({}), vec!["null", r#"{"any":[1,{"thing":true}]}"#, "12345678901234567890"]),
        (json!({ "type": ["string", "integer"] }), vec![r#""x""#, "5"]),
        (
            json!({ "$ref": "#/$defs/Tree" }),
            vec![r#"{"children":[{"children":[],"value":2}],"value":1}"#],
        ),
    ]
}

fn definitions() -> Value {
    json!({ "Tree": {
        "type": "object", "required": ["value", "children"],
        "properties": { "value": { "type": "integer" }, "children": { "type": "array", "items": { "$ref": "#/$defs/Tree" } } },
    } })
}

/// A function for each schema, and one with all of them.
pub(crate) fn listed() -> Value {
    let of = |name: &str, parameters: Vec<(String, Value)>| {
        let names: Vec<_> = parameters.iter().map(|(name, _)| name.clone()).collect();
        let properties: serde_json::Map<_, _> = parameters.into_iter().collect();
        json!({
            "name": name, "kind": "unary", "parameters": names, "signature": "(..) -> ..", "doc": "Takes `it`.\n\nAnd more.",
            "needs": [], "nodes": ["gpu-1"],
            "schemas": { "arguments": { "type": "object", "properties": properties, "required": names, "additionalProperties": false, "$defs": definitions() } },
        })
    };
    let family = family();
    let mut all: Vec<_> = (0..family.len())
        .map(|n| of(&format!("f{n}"), vec![("it".to_owned(), family[n].0.clone())]))
        .collect();
    all.push(of(
        "everything",
        family
            .iter()
            .enumerate()
            .map(|(n, (schema, _))| (format!("p{n}"), schema.clone()))
            .collect(),
    ));
    all.push(of(
        "add",
        vec![
            ("a".to_owned(), json!({ "type": "integer", "minimum": 0, "maximum": 255 })),
            ("b".to_owned(), json!({ "type": "number" })),
        ],
    ));
    json!(all)
}

async fn site() -> Option<(Browser, Stub)> {
    let browser = Browser::start().await?;
    let listed = listed();
    let names = listed.as_array().unwrap().iter().map(|it| function(it["name"].as_str().unwrap()));
    let stub = Stub::start(listed.clone(), &[gateway(1, 1), ("functions", changed(names))]).await;
    Some((browser, stub))
}

/// Removes what JSON does not need between its parts: no value of the family has it inside.
fn dense(text: &str) -> String {
    text.split('\n').map(str::trim_start).collect::<String>().replace("\": ", "\":")
}

#[tokio::test]
async fn a_form_sends_each_value_unchanged() {
    let Some((browser, stub)) = site().await else { return };
    for (n, (schema, values)) in family().into_iter().enumerate() {
        browser.open(&stub.url(&format!("&function=f{n}"))).await;
        browser.until("#panel", "Arguments").await;
        for value in values {
            browser.press("#panel", "JSON").await;
            let fill = "const it = document.getElementById('panel-json'); it.value = arguments[0]; it.dispatchEvent(new Event('input'))";
            browser.run(fill, vec![format!("{{\"it\": {value}}}").into()]).await;
            // What the form has read is what it writes.
            browser.press("#panel", "Form").await;
            browser.press("#panel", "Call").await;
            browser.until("#panel .outcome", "Returned").await;
            let sent = dense(&browser.text("#panel .outcome pre").await);
            assert_eq!(sent, format!("{{\"it\":{value}}}"), "{schema}");
            browser.run("document.querySelector('#panel .outcome').remove()", Vec::new()).await;
        }
    }
    assert_eq!(browser.complaints().await, [""; 0]);
}

#[tokio::test]
async fn what_is_wrong_is_said_at_its_field_and_not_sent() {
    let Some((browser, stub)) = site().await else { return };
    browser.open(&stub.url("&function=add")).await;
    browser.until("#panel", "Arguments").await;
    browser.press("#panel", "Call").await;
    browser.until("#panel", "A whole number is needed").await;
    let invalid = "const it = document.activeElement; return [it.getAttribute('aria-invalid'), document.getElementById(it.getAttribute('aria-describedby').split(' ').at(-1)).textContent]";
    assert_eq!(
        browser.run(invalid, Vec::new()).await,
        json!(["true", "A whole number is needed."])
    );
    for (typed, said) in [
        ("256", "The most is 255."),
        ("-1", "The least is 0."),
        ("x", "Type a whole number."),
        ("1.5", "Type a whole number."),
    ] {
        browser.fill("a", typed).await;
        browser.press("#panel", "Call").await;
        assert_eq!(browser.run(invalid, Vec::new()).await, json!(["true", said]));
    }
    browser.fill("a", "200").await;
    browser.fill("b", "1.").await;
    browser.press("#panel", "Call").await;
    browser.until("#panel .outcome", "Returned").await;
    assert_eq!(dense(&browser.text("#panel .outcome pre").await), "{\"a\":200,\"b\":1}");
    // JSON that is none is not sent either.
    browser.press("#panel", "JSON").await;
    for wrong in ["{", "7", "nothing"] {
        browser.fill("Arguments as JSON", wrong).await;
        browser.press("#panel", "Call").await;
        browser.until("#panel-json-error", "not what is needed").await;
    }
    browser.fill("Arguments as JSON", "[1, 2]").await;
    browser.press("#panel", "Call").await;
    browser.until("#panel .outcome pre", "[").await;
    assert_eq!(browser.complaints().await, [""; 0]);
}
