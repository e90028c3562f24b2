//! The schemas of a document: those of all functions, each type once.

use std::collections::{BTreeMap, HashMap};

use serde_json::{Map, Value, json};

use crate::http::openapi::names::{Names, type_name};
use crate::http::openapi::rules::{Cleaned, refer};

/// Who sends a value. A type may have two schemas: a result may be null where JSON has no number for
/// it, an argument may not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sender {
    Caller,
    Function,
}

/// The schemas under `components/schemas`.
#[derive(Debug, Default)]
pub(super) struct Components {
    schemas: Map<String, Value>,
    names: Names,
    /// The names of definitions, by their text: types that contain each other have one text.
    known: HashMap<String, Vec<String>>,
}

/// Definitions that refer to each other, by name.
type Group = Vec<(String, Value)>;

impl Components {
    /// Adds a schema under a name of its own, and returns a reference to it.
    pub(super) fn define(&mut self, wanted: &str, schema: Value) -> Value {
        let name = self.names.claim(&[wanted]);
        let reference = reference(&name);
        self.schemas.insert(name, schema);
        reference
    }

    /// Adds what a schema of a function defines, and returns the schema with references to that.
    ///
    /// Definitions of several functions are one if they have the same name and the same content, also
    /// in what they refer to. Of the schema remain the rules that are valid and lead somewhere: it
    /// comes from a node.
    pub(super) fn add(&mut self, schema: &Value, sender: Sender) -> Value {
        let none = Map::new();
        let definitions = schema.get("$defs").and_then(Value::as_object).unwrap_or(&none);
        let Cleaned { mut schema, targets } = Cleaned::of(schema, definitions);
        let mut names = BTreeMap::new();
        for group in Search::new(definitions).groups(targets) {
            self.add_group(group, sender, &mut names);
        }
        rename(&mut schema, &names);
        schema
    }

    /// Adds definitions that refer to each other. Those that they refer to are in `names` already.
    fn add_group(
        &mut self,
        mut group: Group,
        sender: Sender,
        names: &mut BTreeMap<String, String>,
    ) {
        group.sort_by(|(a, _), (b, _)| a.cmp(b));
        group.iter_mut().for_each(|(_, definition)| rename(definition, names));
        let text = json!(group).to_string();
        let members = group.iter().map(|(name, _)| name.clone());
        if let Some(known) = self.known.get(&text) {
            names.extend(members.zip(known.iter().cloned()));
            return;
        }
        let mut claim = |member: &String| {
            let name = type_name(member);
            let other = match sender {
                Sender::Caller => format!("{name}Input"),
                Sender::Function => format!("{name}Output"),
            };
            self.names.claim(&[&name, &other])
        };
        let claimed: Vec<_> = group.iter().map(|(member, _)| claim(member)).collect();
        names.extend(members.zip(claimed.iter().cloned()));
        for ((_, mut definition), name) in group.into_iter().zip(&claimed) {
            rename(&mut definition, names);
            self.name_variants(name, &mut definition);
            self.schemas.insert(name.clone(), definition);
        }
        self.known.insert(text, claimed);
    }

    /// Makes the fields of an enum's variants schemas of their own. Not every generator finds a name
    /// for those inside of another schema.
    fn name_variants(&mut self, name: &str, definition: &mut Value) {
        let Some(variants) = definition.get_mut("oneOf").and_then(Value::as_array_mut) else {
            return;
        };
        let properties = variants
            .iter_mut()
            .filter_map(|variant| variant.get_mut("properties")?.as_object_mut());
        for (variant, content) in properties.flatten() {
            if content["type"] == "object" && content.get("properties").is_some() {
                let fields = std::mem::take(content);
                *content = self.define(&format!("{name}{}", type_name(variant)), fields);
            }
        }
    }

    pub(super) fn into_schemas(self) -> Map<String, Value> {
        self.schemas
    }
}

/// Returns a reference to a schema of the document.
fn reference(name: &str) -> Value {
    json!({ "$ref": format!("{SCHEMAS}{name}") })
}

/// Turns references to definitions into those to schemas of the document, as far as these are known.
fn rename(schema: &mut Value, names: &BTreeMap<String, String>) {
    refer(schema, &|definition| names.get(definition).map(|name| format!("{SCHEMAS}{name}")));
}

/// A search for the definitions that refer to each other (Tarjan's algorithm).
struct Search<'a> {
    definitions: &'a Map<String, Value>,
    seen: HashMap<String, Visit>,
    /// Those whose group is not complete.
    open: Group,
    groups: Vec<Group>,
}

/// A definition that the search has come to.
#[derive(Clone, Copy, Debug)]
struct Visit {
    /// Its place in the order of the search.
    number: usize,
    /// Whether its group is not complete.
    is_open: bool,
}

impl<'a> Search<'a> {
    fn new(definitions: &'a Map<String, Value>) -> Self {
        Self { definitions, seen: HashMap::new(), open: Vec::new(), groups: Vec::new() }
    }

    /// Returns all groups that `targets` lead to, each behind those that it refers to.
    fn groups(mut self, targets: Vec<String>) -> Vec<Group> {
        for target in targets {
            if !self.seen.contains_key(&target) {
                self.visit(target);
            }
        }
        self.groups
    }

    /// Returns the least number that `name` leads back to.
    ///
    /// The recursion is bounded: all schemas of a function have 32 KiB together, which is some 1,200
    /// definitions that refer to one another.
    fn visit(&mut self, name: String) -> usize {
        let (number, at) = (self.seen.len(), self.open.len());
        self.seen.insert(name.clone(), Visit { number, is_open: true });
        let Cleaned { schema, targets } = Cleaned::of(&self.definitions[&name], self.definitions);
        self.open.push((name, schema));
        let mut least = number;
        for target in targets {
            least = least.min(match self.seen.get(&target) {
                None => self.visit(target),
                Some(seen) if seen.is_open => seen.number,
                Some(_) => number,
            });
        }
        if least == number {
            let group = self.open.split_off(at);
            for (name, _) in &group {
                if let Some(seen) = self.seen.get_mut(name) {
                    seen.is_open = false;
                }
            }
            self.groups.push(group);
        }
        least
    }
}

/// The prefix of references to the schemas of a document.
const SCHEMAS: &str = "#/components/schemas/";
