//! The JSON Schema of a traced type, as a caller with JSON sends and reads its values.
//!
//! | the type                    | the schema                                                     |
//! |-----------------------------|----------------------------------------------------------------|
//! | a number                    | an integer within its range, or a number                       |
//! | `String`, `char`, bytes     | a string; one of one character; a list of bytes                |
//! | `Option`                    | null, or the value                                             |
//! | a list, a tuple, an array   | an array, if it has a length of that length                    |
//! | a map                       | an object, whose names are checked where keys are no text      |
//! | a struct                    | a definition: an object with its fields                        |
//! | an enum                     | a definition: one of its variants                              |
//! | what buffers its value      | what [`probe`](super::probe) has found out                     |
//!
//! A schema never refuses what the type accepts in this form. So what a trace does not tell accepts
//! anything, and a schema that refuses a value of the type's own is dropped.

mod check;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use super::explored::Explored;
use super::graph::{Branch, FORM, Form, Graph, NodeKind};
use super::keyed::FIRST_KEYED;
use super::probe::{Answers, FieldDemands, TagDemands};
use super::question::JsonKind;
use super::type_schema::TypeSchema;

/// The JSON Schema of a type.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct JsonSchema {
    pub(crate) root: Value,
    /// What the root and they themselves refer to as `#/$defs/..`.
    pub(crate) definitions: Map<String, Value>,
}

impl JsonSchema {
    /// Accepts any value.
    fn any() -> Self {
        Self { root: any(), definitions: Map::new() }
    }
}

/// Returns the JSON Schema of `T`, from runs of its `Deserialize` on sample values.
///
/// Never fails and always ends: see [`trace`](super::trace).
pub(crate) fn json_schema<T: Serialize + DeserializeOwned>() -> JsonSchema {
    let Explored { mut graph, samples, .. } = Explored::<T>::new(true);
    if graph.exhausted {
        return JsonSchema::any();
    }
    let answers = graph.ask_all::<T>();
    let schema = SchemaWriter::new(&graph, &answers).write();
    let refused = samples.iter().any(|sample| {
        let value = catch_unwind(AssertUnwindSafe(|| serde_json::to_value(sample)));
        // A sample that has no JSON says nothing.
        matches!(value, Ok(Ok(value)) if !schema.accepts(&value))
    });
    if refused { JsonSchema::any() } else { schema }
}

/// The schema that accepts any value.
fn any() -> Value {
    json!({})
}

/// The state of writing a schema.
struct SchemaWriter<'g> {
    graph: &'g Graph,
    answers: &'g Answers,
    /// The types that contain themselves, with nothing named in between.
    looped: BTreeSet<usize>,
    /// The names of definitions, by node.
    names: BTreeMap<usize, String>,
    /// The definitions that are yet to be written.
    queue: VecDeque<usize>,
    /// How many more schemas may be written.
    left: usize,
}

impl<'g> SchemaWriter<'g> {
    fn new(graph: &'g Graph, answers: &'g Answers) -> Self {
        let (names, queue) = (BTreeMap::new(), VecDeque::new());
        Self { graph, answers, looped: looped(graph), names, queue, left: MAX_SCHEMAS }
    }

    fn write(mut self) -> JsonSchema {
        let root = self.part((0, 0), 0);
        let mut definitions = Map::new();
        while let Some(id) = self.queue.pop_front() {
            let definition = self.content(id);
            definitions.insert(self.names[&id].clone(), definition);
        }
        if self.left == 0 {
            return JsonSchema::any();
        }
        JsonSchema { root, definitions }
    }

    /// Returns the schema of a part of a branch.
    fn part(&mut self, (node, branch): (usize, usize), index: usize) -> Value {
        let slots = &self.graph.nodes[node].branches[branch].slots;
        let id = slots.get(index).copied().flatten();
        let Some(id) = id.filter(|_| !self.graph.varying.contains(&(node, branch, index))) else {
            return any();
        };
        match (self.left.checked_sub(1), self.definition_name(id)) {
            (None, _) => any(),
            (Some(left), Some(name)) => {
                self.left = left;
                json!({ "$ref": format!("#/$defs/{}", self.refer(id, name)) })
            }
            (Some(left), None) => {
                self.left = left;
                self.content(id)
            }
        }
    }

    /// Returns the name of a type that has a definition of its own.
    fn definition_name(&self, id: usize) -> Option<&'static str> {
        match self.graph.nodes[id].key.kind {
            NodeKind::Struct(name, _) | NodeKind::Enum(name, _) => Some(name),
            NodeKind::Newtype(name) | NodeKind::TupleStruct(name, _) => {
                self.looped.contains(&id).then_some(name)
            }
            NodeKind::Leaf(_) | NodeKind::Identifier | NodeKind::UnitStruct(_) => None,
            _ => self.looped.contains(&id).then_some(""),
        }
    }

    /// Returns the definition's name, which no other has.
    fn refer(&mut self, id: usize, name: &str) -> &str {
        if !self.names.contains_key(&id) {
            let fine = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
            let name: String = name.chars().map(|c| if fine(c) { c } else { '_' }).collect();
            let name = if name.is_empty() { "Type".to_owned() } else { name };
            let name = unused(&name, |name| self.names.values().any(|other| other == name));
            self.names.insert(id, name);
            self.queue.push_back(id);
        }
        &self.names[&id]
    }

    /// Returns the schema of a node.
    fn content(&mut self, id: usize) -> Value {
        let node = &self.graph.nodes[id];
        match &node.key.kind {
            NodeKind::Leaf(leaf) => leaf_schema(leaf),
            NodeKind::UnitStruct(_) => json!({ "type": "null" }),
            NodeKind::Identifier => any(),
            NodeKind::Any => self.buffered(id),
            NodeKind::Map if !node.branches[0].keys.is_empty() => self.keyed(id),
            NodeKind::Option => {
                let inner = self.part((id, 0), 0);
                json!({ "anyOf": [inner, { "type": "null" }] })
            }
            NodeKind::Seq => json!({ "type": "array", "items": self.part((id, 0), 0) }),
            NodeKind::Map => self.map(id),
            NodeKind::Newtype(_) => self.part((id, 0), 0),
            NodeKind::Tuple(n) | NodeKind::TupleStruct(_, n) => self.items((id, 0), *n),
            NodeKind::Struct(..) => match self.answers.tags.get(&id) {
                Some(tags) => tagged(tags),
                None => self.fields((id, 0)),
            },
            NodeKind::Enum(..) => self.variants(id),
        }
    }

    /// Returns the schema of `n` numbered parts.
    fn items(&mut self, at: (usize, usize), n: usize) -> Value {
        let branch = &self.graph.nodes[at.0].branches[at.1];
        let mut array = json!({ "type": "array", "minItems": n, "maxItems": n });
        let last = n.min(MAX_ITEMS);
        // A long array has one node for all elements behind the first ones.
        let rest = branch.slots.get(last..n).unwrap_or_default();
        if n > last && (rest.is_empty() || rest.iter().any(|id| *id != rest[0])) {
            return array;
        }
        let items: Vec<_> = (0..last).map(|index| self.part(at, index)).collect();
        match items.first() {
            None => {}
            Some(first) if n > 4 && items.iter().all(|item| item == first) => {
                array["items"] = first.clone();
            }
            Some(_) if n > last => {}
            Some(_) => array["prefixItems"] = items.into(),
        }
        array
    }

    /// Returns the schema of named parts.
    fn fields(&mut self, at: (usize, usize)) -> Value {
        let demands = match self.answers.fields.get(&at) {
            Some(FieldDemands::ByPosition) => return any(),
            Some(FieldDemands::Known { required, strict }) => (required.as_slice(), *strict),
            None => (&[][..], false),
        };
        let names = self.graph.nodes[at.0].branches[at.1].field_names().iter().enumerate();
        let fields = names.map(|(index, name)| ((*name).to_owned(), self.part(at, index)));
        let properties: Map<String, Value> = fields.collect();
        let varies = |name: &str| {
            let mut varying = self.graph.varying.iter().filter(|(node, of, _)| (*node, *of) == at);
            let names = self.graph.nodes[at.0].branches[at.1].field_names();
            varying.any(|(_, _, index)| names.get(*index).is_some_and(|other| *other == name))
        };
        let (required, strict) = demands;
        // Whether a field that depends on another one is required does so too.
        let required: Vec<_> = required.iter().filter(|name| !varies(name)).collect();
        let mut object = json!({ "type": "object", "properties": properties });
        if !required.is_empty() {
            object["required"] = json!(required);
        }
        if strict {
            object["additionalProperties"] = false.into();
        }
        object
    }

    /// Returns the schema of an externally tagged enum.
    fn variants(&mut self, id: usize) -> Value {
        let node = &self.graph.nodes[id];
        let names = node.variant_names();
        if names.len() != node.present().count() {
            return any();
        }
        let branches: Vec<_> = node.present().map(|(index, branch)| (index, branch.form)).collect();
        let (mut units, mut others) = (Vec::new(), Vec::new());
        for (name, (branch, form)) in names.into_iter().zip(branches) {
            let at = (id, branch);
            let varies = self.graph.varying.contains(&(id, branch, FORM));
            let content = match form.filter(|_| !varies) {
                Some(Form::Unit) => {
                    units.push(name);
                    continue;
                }
                Some(Form::Newtype) => self.part(at, 0),
                Some(Form::Tuple(n)) => self.items(at, n),
                Some(Form::Struct(_)) => self.fields(at),
                None => {
                    units.push(name);
                    any()
                }
            };
            others.push(json!({
                "type": "object",
                "properties": { name: content },
                "required": [name],
                "additionalProperties": false,
            }));
        }
        if units.is_empty() && others.is_empty() {
            return json!({ "not": {} });
        }
        if !units.is_empty() {
            others.insert(0, json!({ "type": "string", "enum": units }));
        }
        if others.len() == 1 { others.remove(0) } else { json!({ "oneOf": others }) }
    }

    /// Returns the schema of a map with any keys.
    fn map(&mut self, id: usize) -> Value {
        let value = self.part((id, 0), 1);
        let key = self.graph.nodes[id].branches[0].slots.first().copied().flatten();
        let mut object = json!({ "type": "object", "additionalProperties": value });
        let varies = self.graph.varying.contains(&(id, 0, 0));
        if let Some(names) = key.filter(|_| !varies).and_then(|key| self.names(key, 0)) {
            object["propertyNames"] = names;
        }
        object
    }

    /// Returns the schema of the names that a key is written as, if it is not any text.
    fn names(&self, id: usize, depth: usize) -> Option<Value> {
        let node = &self.graph.nodes[id];
        match &node.key.kind {
            NodeKind::Newtype(_) if depth < MAX_ITEMS => {
                self.names(node.branches[0].slots.first().copied().flatten()?, depth + 1)
            }
            NodeKind::Enum(..) => {
                let names = node.variant_names();
                let mut forms = node.present().map(|(_, branch)| branch.form);
                let is_known = forms.all(|form| form == Some(Form::Unit)) && !names.is_empty();
                is_known.then(|| json!({ "enum": names }))
            }
            NodeKind::Leaf(leaf) => match leaf {
                TypeSchema::Bool => Some(json!({ "enum": ["false", "true"] })),
                TypeSchema::Char => Some(json!({ "minLength": 1, "maxLength": 1 })),
                TypeSchema::U8 | TypeSchema::U16 | TypeSchema::U32 => Some(digits("^[0-9]+$")),
                TypeSchema::U64 | TypeSchema::U128 => Some(digits("^[0-9]+$")),
                TypeSchema::I8 | TypeSchema::I16 | TypeSchema::I32 => Some(digits("^-?[0-9]+$")),
                TypeSchema::I64 | TypeSchema::I128 => Some(digits("^-?[0-9]+$")),
                _ => None,
            },
            _ => None,
        }
    }

    /// Returns the schema of a struct that reads its fields by key. The trace has recorded the keys
    /// that the struct looked for.
    fn keyed(&mut self, id: usize) -> Value {
        let keys = self.graph.nodes[id].branches[0].keys.clone();
        let fields = keys.iter().enumerate();
        let properties: Map<String, Value> = fields
            .map(|(index, key)| ((*key).to_owned(), self.part((id, 0), FIRST_KEYED + index)))
            .collect();
        // What is buffered may belong to one variant of an enum inside.
        let branch = &self.graph.nodes[id].branches[0];
        let typed = keys.iter().enumerate().filter(|(index, _)| self.is_typed(branch, *index));
        let required: Vec<_> = typed.map(|(_, key)| *key).collect();
        let mut object = json!({ "type": "object", "properties": properties });
        if !required.is_empty() {
            object["required"] = json!(required);
        }
        object
    }

    /// Returns whether the value of a key is requested as a type.
    fn is_typed(&self, branch: &Branch, index: usize) -> bool {
        let slot = branch.slots.get(FIRST_KEYED + index).copied().flatten();
        slot.is_some_and(|slot| self.graph.nodes[slot].key.kind != NodeKind::Any)
    }

    /// Returns the schema of a type that requests any value.
    fn buffered(&mut self, id: usize) -> Value {
        let Some(kinds) = self.answers.kinds.get(&id) else { return any() };
        let is_keyed = !self.graph.nodes[id].branches[0].keys.is_empty();
        // A tagged struct can be read from an array too. That form is left out.
        let is_struct = kinds.iter().all(|kind| matches!(kind, JsonKind::Seq | JsonKind::Map));
        let mut schema = match self.answers.tags.get(&id) {
            Some(tags) if is_struct => return tagged(tags),
            _ if is_keyed => self.keyed(id),
            _ => any(),
        };
        if !(is_keyed && is_struct) {
            let types = type_names(kinds);
            match schema.as_object_mut() {
                Some(object) if types.len() == N_TYPES => object.remove("type"),
                Some(object) => object.insert("type".to_owned(), json!(types)),
                None => None,
            };
        }
        schema
    }
}

/// Returns the schema of an internally or adjacently tagged enum.
fn tagged(TagDemands { tag, variants }: &TagDemands) -> Value {
    let names: Vec<_> = variants.iter().map(|(name, _)| *name).collect();
    let mut schema = json!({
        "type": "object",
        "properties": { *tag: { "enum": names } },
        "required": [tag],
    });
    if variants.iter().any(|(_, fields)| !fields.is_empty()) {
        let variants = variants.iter().map(|(name, fields)| {
            json!({ "properties": { *tag: { "const": name } }, "required": fields })
        });
        schema["oneOf"] = variants.collect();
    }
    schema
}

/// Returns the names of the types that these kinds of values have.
fn type_names(kinds: &[JsonKind]) -> Vec<&'static str> {
    let has = |kind| kinds.contains(&kind);
    let integer = has(JsonKind::Positive) || has(JsonKind::Negative);
    let types = [
        ("null", has(JsonKind::Null)),
        ("boolean", has(JsonKind::Bool)),
        ("number", has(JsonKind::Fraction)),
        ("integer", integer && !has(JsonKind::Fraction)),
        ("string", has(JsonKind::Str)),
        ("array", has(JsonKind::Seq)),
        ("object", has(JsonKind::Map)),
    ];
    types.into_iter().filter(|(_, has)| *has).map(|(name, _)| name).collect()
}

fn digits(pattern: &str) -> Value {
    json!({ "pattern": pattern })
}

/// Returns the schema of a value without parts.
fn leaf_schema(leaf: &TypeSchema) -> Value {
    let integer = |min: i64, max: u64| json!({ "type": "integer", "minimum": min, "maximum": max });
    match leaf {
        TypeSchema::Unit => json!({ "type": "null" }),
        TypeSchema::Bool => json!({ "type": "boolean" }),
        TypeSchema::U8 => integer(0, u8::MAX.into()),
        TypeSchema::U16 => integer(0, u16::MAX.into()),
        TypeSchema::U32 => integer(0, u32::MAX.into()),
        TypeSchema::U64 => integer(0, u64::MAX),
        TypeSchema::U128 => json!({ "type": "integer", "minimum": 0 }),
        TypeSchema::I8 => integer(i8::MIN.into(), 0x7f),
        TypeSchema::I16 => integer(i16::MIN.into(), 0x7fff),
        TypeSchema::I32 => integer(i32::MIN.into(), 0x7fff_ffff),
        TypeSchema::I64 => integer(i64::MIN, i64::MAX as u64),
        TypeSchema::I128 => json!({ "type": "integer" }),
        TypeSchema::F32 | TypeSchema::F64 => json!({ "type": "number" }),
        TypeSchema::Char => json!({ "type": "string", "minLength": 1, "maxLength": 1 }),
        TypeSchema::Str => json!({ "type": "string" }),
        TypeSchema::Bytes => json!({ "type": "array", "items": integer(0, 0xff) }),
        _ => any(),
    }
}

/// Returns `name`, or `name` with a number, so that it is not `taken`.
pub(crate) fn unused(name: &str, taken: impl Fn(&str) -> bool) -> String {
    let mut tried = name.to_owned();
    let mut number = 2;
    while taken(&tried) {
        tried = format!("{name}{number}");
        number += 1;
    }
    tried
}

/// Returns the nodes that a path leads back to which passes no struct and no enum.
fn looped(graph: &Graph) -> BTreeSet<usize> {
    let is_inline =
        |id: usize| !matches!(graph.nodes[id].key.kind, NodeKind::Struct(..) | NodeKind::Enum(..));
    let parts = |id: usize| -> Vec<usize> {
        let slots = graph.nodes[id].branches.iter().flat_map(|branch| &branch.slots);
        slots.flatten().copied().filter(|part| is_inline(*part)).collect()
    };
    let (mut looped, mut done) = (BTreeSet::new(), vec![false; graph.nodes.len()]);
    for start in (0..graph.nodes.len()).filter(|id| is_inline(*id)) {
        if done[start] {
            continue;
        }
        // The nodes on the way, each with its parts that are yet to be followed.
        let mut way = vec![(start, parts(start))];
        while let Some((_, left)) = way.last_mut() {
            match left.pop() {
                Some(next) if way.iter().any(|(id, _)| *id == next) => {
                    looped.insert(next);
                }
                Some(next) if !done[next] => way.push((next, parts(next))),
                Some(_) => {}
                None => {
                    done[way.pop().map_or(start, |(id, _)| id)] = true;
                }
            }
        }
    }
    looped
}

/// Number of types in JSON, with integers and numbers as one.
const N_TYPES: usize = 6;
/// Most schemas in that of one type. One that needs more accepts anything.
const MAX_SCHEMAS: usize = 4_096;
/// Most elements of a tuple that have schemas of their own.
const MAX_ITEMS: usize = 32;
