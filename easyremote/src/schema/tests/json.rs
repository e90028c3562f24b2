use std::collections::{BTreeMap, HashMap};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::super::{JsonSchema, json_schema};

fn schema<T: Serialize + DeserializeOwned>() -> JsonSchema {
    json_schema::<T>()
}

/// The schema of a type without definitions.
fn root<T: Serialize + DeserializeOwned>() -> Value {
    let JsonSchema { root, definitions } = schema::<T>();
    assert!(definitions.is_empty(), "{definitions:?}");
    root
}

/// The definition of a type.
fn of<T: Serialize + DeserializeOwned>(name: &str) -> Value {
    let schema = schema::<T>();
    schema.definitions.get(name).unwrap_or_else(|| panic!("{schema:?}")).clone()
}

#[test]
fn values_without_names_have_the_schema_of_their_json() {
    assert_eq!(root::<()>(), json!({ "type": "null" }));
    assert_eq!(root::<[u8; 0]>(), json!({ "type": "array", "minItems": 0, "maxItems": 0 }));
    assert_eq!(root::<i8>(), json!({ "type": "integer", "minimum": -128, "maximum": 127 }));
    assert_eq!(root::<u64>(), json!({ "type": "integer", "minimum": 0, "maximum": u64::MAX }));
    assert_eq!(root::<i128>(), json!({ "type": "integer" }));
    assert_eq!(root::<f32>(), json!({ "type": "number" }));
    assert_eq!(root::<char>(), json!({ "type": "string", "minLength": 1, "maxLength": 1 }));
    let text = json!({ "type": "string" });
    assert_eq!(root::<Option<String>>(), json!({ "anyOf": [text, { "type": "null" }] }));
    assert_eq!(root::<Vec<String>>(), json!({ "type": "array", "items": text }));
    assert_eq!(
        root::<(String, bool)>(),
        json!({
            "type": "array",
            "prefixItems": [text, { "type": "boolean" }],
            "minItems": 2,
            "maxItems": 2,
        })
    );
    assert_eq!(
        root::<[bool; 5]>(),
        json!({ "type": "array", "items": { "type": "boolean" }, "minItems": 5, "maxItems": 5 })
    );
    assert_eq!(
        root::<BTreeMap<i8, bool>>(),
        json!({
            "type": "object",
            "additionalProperties": { "type": "boolean" },
            "propertyNames": { "pattern": "^-?[0-9]+$" },
        })
    );
}

#[derive(Serialize, Deserialize)]
struct Config {
    name: String,
    rate: Option<f64>,
    #[serde(default)]
    retries: u8,
    #[serde(alias = "old")]
    new: bool,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Strict {
    a: bool,
}

#[test]
fn a_struct_says_which_fields_it_requires() {
    let config = of::<Vec<Config>>("Config");
    assert_eq!(config["required"], json!(["name", "new"]));
    assert_eq!(config["properties"]["retries"]["maximum"], 255);
    assert_eq!(config["properties"].get("old"), None);
    assert_eq!(config.get("additionalProperties"), None);
    assert_eq!(of::<Strict>("Strict")["additionalProperties"], false);

    #[derive(Serialize, Deserialize, Default)]
    #[serde(default)]
    struct Defaulted {
        a: u8,
        b: String,
    }
    assert_eq!(of::<Defaulted>("Defaulted").get("required"), None);
}

#[test]
fn a_type_that_contains_itself_refers_to_itself() {
    #[derive(Serialize, Deserialize)]
    struct Tree {
        children: Vec<Tree>,
        next: Option<Box<Tree>>,
    }
    let tree = of::<Tree>("Tree");
    assert_eq!(tree["properties"]["children"]["items"], json!({ "$ref": "#/$defs/Tree" }));
    assert_eq!(tree["required"], json!(["children"]));

    #[derive(Serialize, Deserialize)]
    struct Nested(Vec<Nested>);
    let JsonSchema { root, definitions } = schema::<Nested>();
    let name = root["$ref"].as_str().unwrap().strip_prefix("#/$defs/").unwrap();
    assert_eq!(definitions[name]["type"], "array", "{definitions:?}");
}

#[derive(Serialize, Deserialize)]
struct Point {
    x: u8,
    y: Option<String>,
}

macro_rules! shapes {
    ($($name:ident $(#[$meta:meta])*;)*) => {$(
        #[derive(Serialize, Deserialize)]
        $(#[$meta])*
        enum $name {
            Newtype(Point),
            Struct { amount: i64, name: Option<String> },
            Unit,
        }
    )*};
}

shapes! {
    External;
    Internal #[serde(tag = "type")];
    Adjacent #[serde(tag = "t", content = "c")];
    Untagged #[serde(untagged)];
}

#[test]
fn an_enum_has_the_schema_of_its_representation() {
    let point = json!({ "$ref": "#/$defs/Point" });
    let external = of::<External>("External");
    assert_eq!(external["oneOf"][0], json!({ "type": "string", "enum": ["Unit"] }));
    assert_eq!(external["oneOf"][1]["properties"]["Newtype"], point);
    assert_eq!(external["oneOf"][2]["properties"]["Struct"]["required"], json!(["amount"]));

    let variant = |name: &str, fields: Value| json!({ "properties": { "type": { "const": name } }, "required": fields });
    assert_eq!(
        root::<Internal>(),
        json!({
            "type": "object",
            "properties": { "type": { "enum": ["Newtype", "Struct", "Unit"] } },
            "required": ["type"],
            "oneOf": [
                variant("Newtype", json!(["x"])),
                variant("Struct", json!(["amount"])),
                variant("Unit", json!([])),
            ],
        })
    );

    let variant = |name: &str, fields: Value| json!({ "properties": { "t": { "const": name } }, "required": fields });
    assert_eq!(
        of::<Adjacent>("Adjacent"),
        json!({
            "type": "object",
            "properties": { "t": { "enum": ["Newtype", "Struct", "Unit"] } },
            "required": ["t"],
            "oneOf": [
                variant("Newtype", json!(["c"])),
                variant("Struct", json!(["c"])),
                variant("Unit", json!([])),
            ],
        })
    );

    assert_eq!(root::<Untagged>(), json!({}));
}

#[test]
fn what_buffers_its_value_says_which_kinds_it_takes() {
    #[derive(Serialize, Deserialize)]
    struct Flattened {
        id: u64,
        #[serde(flatten)]
        rest: HashMap<String, i64>,
    }
    let flattened = root::<Flattened>();
    assert_eq!(flattened["type"], "object");
    assert_eq!(flattened["required"], json!(["id"]));
    assert_eq!(flattened["properties"]["id"]["maximum"], u64::MAX);
    assert_eq!(root::<Value>(), json!({}));

    /// Text or a number, as many types of money take it.
    #[derive(Serialize)]
    struct Money(i64);
    struct MoneyVisitor;
    impl serde::de::Visitor<'_> for MoneyVisitor {
        type Value = Money;
        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("money")
        }
        fn visit_i64<E>(self, n: i64) -> Result<Money, E> {
            Ok(Money(n))
        }
        fn visit_u64<E>(self, n: u64) -> Result<Money, E> {
            Ok(Money(n as i64))
        }
        fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Money, E> {
            text.parse().map(Money).map_err(E::custom)
        }
    }
    impl<'de> Deserialize<'de> for Money {
        fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
            from.deserialize_any(MoneyVisitor)
        }
    }
    assert_eq!(root::<Money>(), json!({ "type": ["integer", "string"] }));
}

#[test]
fn a_schema_that_refuses_a_value_of_its_type_is_dropped() {
    /// Reads a number, and writes text.
    #[derive(Deserialize)]
    struct TwoFaced(u8);
    impl Serialize for TwoFaced {
        fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
            to.collect_str(&self.0)
        }
    }
    assert_eq!(root::<TwoFaced>(), json!({}));
    assert_eq!(root::<(TwoFaced, u8)>(), json!({}));
}
