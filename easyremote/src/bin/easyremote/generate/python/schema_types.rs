//! Types of Python, from JSON Schemas.
//!
//! | the schema | the type |
//! |---|---|
//! | an object with known members | a `TypedDict` |
//! | an object with any members | `Dict`, or `Mapping` as an argument |
//! | an array; one of fixed length | `List`, or `Sequence` as an argument; `Tuple` |
//! | one of several | `Union`, `Optional`, `Literal` |
//! | anything | `Any` |

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::names::{BUILT_IN, Names, camel, is_plain};
use super::text::literal;

/// All types that the stubs declare.
pub(super) struct SchemaTypes {
    names: Names,
    /// What each name is declared as.
    declared: BTreeMap<String, String>,
    /// The names of definitions, by all that they say.
    known: BTreeMap<String, String>,
    /// Numbers in results are never null.
    finite: bool,
}

/// Where a schema stands.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    /// The definitions that it may refer to.
    pub(super) definitions: Option<&'a Map<String, Value>>,
    /// The name of a type that has none of its own.
    pub(super) name: &'a str,
    /// Whether the caller makes the value for this place alone, and may use any kind of list.
    pub(super) is_argument: bool,
    /// What is put behind the name of a type that is taken.
    pub(super) suffix: &'a str,
}

impl SchemaTypes {
    pub(super) fn new(finite: bool) -> Self {
        let (declared, known) = (BTreeMap::new(), BTreeMap::new());
        Self { names: Names::of_types(), declared, known, finite }
    }

    /// The names that are taken.
    pub(super) fn names(&self) -> &Names {
        &self.names
    }

    /// Returns the declarations, by name.
    pub(super) fn declarations(&self) -> String {
        self.declared.values().map(|text| format!("\n\n{text}")).collect()
    }

    /// Declares another name for a type.
    pub(super) fn alias(&mut self, name: &str, of: &str) -> String {
        let name = self.names.take(name);
        self.declared.insert(name.clone(), alias(&name, &[of.to_owned()]));
        name
    }

    /// Returns the type of what a schema accepts.
    pub(super) fn expression(&mut self, schema: &Value, place: Place<'_>) -> String {
        union(self.members(schema, place))
    }

    /// Returns the types of which a value has one.
    fn members(&mut self, schema: &Value, place: Place<'_>) -> Vec<String> {
        let any = || vec!["Any".to_owned()];
        let Some(object) = schema.as_object() else { return any() };
        if let Some(target) = object.get("$ref").and_then(Value::as_str) {
            return vec![self.reference(target, place)];
        }
        if let Some(values) = object.get("enum").and_then(Value::as_array) {
            return literals(values);
        }
        if object.get("not").is_some_and(|not| not == &Value::Object(Map::new())) {
            return vec!["NoReturn".to_owned()];
        }
        // A tagged enum has members of its own beside its variants.
        let alternatives = ["anyOf", "oneOf"].into_iter().find_map(|name| object.get(name));
        if let Some(Value::Array(schemas)) = alternatives
            && !object.contains_key("properties")
        {
            return self.alternatives(schemas, place);
        }
        match object.get("type") {
            Some(Value::String(name)) => vec![self.typed(name, object, place)],
            Some(Value::Array(names)) => {
                let names: Vec<_> = names.iter().filter_map(Value::as_str).collect();
                let finite = self.finite && names == ["number", "null"];
                let names = if finite { &names[..1] } else { &names[..] };
                names.iter().map(|name| self.typed(name, object, place)).collect()
            }
            _ => any(),
        }
    }

    fn alternatives(&mut self, schemas: &[Value], place: Place<'_>) -> Vec<String> {
        let mut members = Vec::new();
        for schema in schemas {
            // A variant with a value: its name is that of the only member.
            let variant = schema.get("properties").and_then(Value::as_object);
            let variant = variant.and_then(|all| all.keys().next()).map(|name| camel(name));
            let name = format!("{}{}", place.name, variant.unwrap_or_default());
            members.extend(self.members(schema, Place { name: &name, ..place }));
        }
        members
    }

    fn typed(&mut self, name: &str, schema: &Map<String, Value>, place: Place<'_>) -> String {
        let simple = match name {
            "null" => "None",
            "boolean" => "bool",
            "integer" => "int",
            "number" => "float",
            "string" => "str",
            "array" => return self.array(schema, place),
            "object" => return self.object(schema, place),
            _ => "Any",
        };
        simple.to_owned()
    }

    fn array(&mut self, schema: &Map<String, Value>, place: Place<'_>) -> String {
        if let Some(items) = schema.get("prefixItems").and_then(Value::as_array) {
            let part = |(n, item)| {
                let name = format!("{}{n}", place.name);
                self.expression(item, Place { name: &name, ..place })
            };
            let parts: Vec<_> = items.iter().enumerate().map(part).collect();
            return format!("Tuple[{}]", parts.join(", "));
        }
        if schema.get("maxItems").and_then(Value::as_u64) == Some(0) {
            return "Tuple[()]".to_owned();
        }
        let name = format!("{}Item", place.name);
        let item = schema.get("items").unwrap_or(&Value::Null);
        let item = self.expression(item, Place { name: &name, ..place });
        format!("{}[{item}]", if place.is_argument { "Sequence" } else { "List" })
    }

    fn object(&mut self, schema: &Map<String, Value>, place: Place<'_>) -> String {
        // The members of the variants of a tagged enum are not known.
        let properties = schema.get("properties").and_then(Value::as_object);
        if let Some(properties) = properties.filter(|_| !schema.contains_key("oneOf")) {
            let name = self.names.take_or(place.name, place.suffix);
            self.declare_object(&name, properties, schema, place);
            return name;
        }
        let name = format!("{}Value", place.name);
        let value = schema.get("additionalProperties").unwrap_or(&Value::Null);
        let value = self.expression(value, Place { name: &name, ..place });
        let keys = schema.get("propertyNames").and_then(|names| names.get("enum"));
        let keys = keys.and_then(Value::as_array).map(|keys| union(literals(keys)));
        let keys = keys.unwrap_or_else(|| "str".to_owned());
        format!("{}[{keys}, {value}]", if place.is_argument { "Mapping" } else { "Dict" })
    }

    /// Declares a `TypedDict`.
    fn declare_object(
        &mut self,
        name: &str,
        properties: &Map<String, Value>,
        schema: &Map<String, Value>,
        place: Place<'_>,
    ) {
        let required: BTreeSet<_> = schema
            .get("required")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        let (mut always, mut sometimes) = (Vec::new(), Vec::new());
        for (key, value) in properties {
            let inner = format!("{name}{}", camel(key));
            let place = Place { name: &inner, is_argument: false, ..place };
            let member = (key.as_str(), self.expression(value, place));
            if required.contains(key.as_str()) { &mut always } else { &mut sometimes }.push(member);
        }
        // Before Python 3.11, only a class as a whole can have members that may be missing.
        let text = if always.is_empty() || sometimes.is_empty() {
            let total = sometimes.is_empty();
            typed_dict(name, &[always, sometimes].concat(), total)
        } else {
            let base = self.names.take(&format!("_{name}Required"));
            let rest = self.names.take(&format!("_{name}Optional"));
            format!(
                "{}\n\n{}\n\nclass {name}({base}, {rest}):\n    pass\n",
                typed_dict(&base, &always, true),
                typed_dict(&rest, &sometimes, false),
            )
        };
        self.declared.insert(name.to_owned(), text);
    }

    /// Returns the name of the type for a definition.
    fn reference(&mut self, target: &str, place: Place<'_>) -> String {
        let own = target.strip_prefix("#/$defs/").unwrap_or_default();
        let Some(definitions) = place.definitions else { return "Any".to_owned() };
        let Some(schema) = definitions.get(own) else { return "Any".to_owned() };
        let all = all_of(own, definitions, self.finite);
        if let Some(name) = self.known.get(&all) {
            return name.clone();
        }
        let wanted = camel(own);
        let wanted = if wanted.starts_with(|c: char| c.is_ascii_alphabetic()) {
            wanted
        } else {
            format!("Type{wanted}")
        };
        let place = Place { name: &wanted, is_argument: false, ..place };
        // A type may contain itself, so that its name has to be known before what it is.
        let name = self.names.take_or(&wanted, place.suffix);
        self.known.insert(all, name.clone());
        let place = Place { name: &name, ..place };
        match schema.get("properties").and_then(Value::as_object) {
            Some(properties) if schema["type"] == "object" && schema.get("oneOf").is_none() => {
                // A JSON object, as it has properties.
                let empty = Map::new();
                let schema = schema.as_object().unwrap_or(&empty);
                self.declare_object(&name, properties, schema, place);
            }
            _ => {
                // The name of the enum itself is taken.
                let members = self.members(schema, place);
                self.declared.insert(name.clone(), alias(&name, &members));
            }
        }
        name
    }
}

/// Returns all that a definition says, with those that it refers to.
fn all_of(name: &str, definitions: &Map<String, Value>, finite: bool) -> String {
    let mut all = BTreeMap::new();
    let mut left = vec![name];
    while let Some(name) = left.pop() {
        if let Some(schema) = definitions.get(name)
            && !all.contains_key(name)
        {
            all.insert(name, schema);
            references(schema, &mut left);
        }
    }
    let text = format!("{name} {all:?}");
    if finite { text.replace(FLOAT_OUT, FLOAT_IN) } else { text }
}

/// A float in a result, and in an argument, as `Debug` writes them.
const FLOAT_OUT: &str = r#""type": Array [String("number"), String("null")]"#;
const FLOAT_IN: &str = r#""type": String("number")"#;

fn references<'a>(schema: &'a Value, found: &mut Vec<&'a str>) {
    match schema {
        Value::Object(members) => {
            for (name, member) in members {
                match member {
                    Value::String(target) if name == "$ref" => {
                        found.extend(target.strip_prefix("#/$defs/"));
                    }
                    member => references(member, found),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| references(item, found)),
        _ => {}
    }
}

/// Returns one type for several.
fn union(mut members: Vec<String>) -> String {
    if members.iter().any(|member| member == "Any") {
        return "Any".to_owned();
    }
    let mut seen = BTreeSet::new();
    members.retain(|member| seen.insert(member.clone()));
    let has_null = members.len() > 1 && members.iter().any(|member| member == "None");
    members.retain(|member| !has_null || member != "None");
    let joined = match &members[..] {
        [only] => only.clone(),
        several => format!("Union[{}]", several.join(", ")),
    };
    if has_null { format!("Optional[{joined}]") } else { joined }
}

/// Returns the type of values that are written out.
fn literals(values: &[Value]) -> Vec<String> {
    let written: Option<Vec<_>> = values
        .iter()
        .map(|value| match value {
            Value::String(text) => Some(literal(text)),
            Value::Bool(true) => Some("True".to_owned()),
            Value::Bool(false) => Some("False".to_owned()),
            Value::Null => Some("None".to_owned()),
            Value::Number(number) if !number.is_f64() => Some(number.to_string()),
            _ => None,
        })
        .collect();
    match written {
        Some(written) if !written.is_empty() => vec![format!("Literal[{}]", written.join(", "))],
        Some(_) => vec!["NoReturn".to_owned()],
        None => vec!["Any".to_owned()],
    }
}

/// Declares a name for a type.
fn alias(name: &str, members: &[String]) -> String {
    // In quotes, because what is named may come later, or be the type itself.
    let written = |member: &String| match &**member {
        own if own.starts_with("Literal[") || BUILT_IN.contains(&own) => own.to_owned(),
        named => literal(named),
    };
    let written: Vec<_> = members.iter().map(written).collect();
    match &written[..] {
        _ if members.iter().any(|member| member == "Any") => format!("{name} = Any\n"),
        [only] if only.starts_with("Literal[") => format!("{name} = {only}\n"),
        several => format!("{name} = Union[{}]\n", several.join(", ")),
    }
}

fn typed_dict(name: &str, members: &[(&str, String)], total: bool) -> String {
    let total = |before: &str| if total { String::new() } else { format!("{before}total=False") };
    // In a class, the name of a member would hide a type of that name.
    let hidden = Names::of_types();
    let is_class = members.iter().all(|(key, _)| {
        is_plain(key) && !key.starts_with("__") && !hidden.contains(key) && camel(key) != *key
    });
    if is_class {
        let mut text = format!("class {name}(TypedDict{}):\n", total(", "));
        for (key, of) in members {
            text.push_str(&format!("    {key}: {of}\n"));
        }
        if members.is_empty() {
            text.push_str("    pass\n");
        }
        return text;
    }
    let members = members.iter().map(|(key, of)| format!("{}: {}", literal(key), literal(of)));
    let members: Vec<_> = members.collect();
    format!("{name} = TypedDict({}, {{{}}}{})\n", literal(name), members.join(", "), total(", "))
}
