//! Builds the schema of a traced type from its graph.
//!
//! The graph distinguishes types by their Rust names. The schema must not: a peer may have two
//! equal structs where this program has one. So nodes of equal structure are merged into one class
//! first (partition refinement), and the schema is built from the classes.

use std::collections::BTreeMap;

use super::graph::{Branch, Form, Graph, NodeKind};
use super::keyed::FIRST_KEYED;
use super::type_schema::{TypeSchema, VariantSchema};

impl Graph {
    /// Returns the schema of the traced type.
    pub(crate) fn shape(&self) -> TypeSchema {
        let expansion = Expansion {
            graph: self,
            classes: self.classes(),
            written: BTreeMap::new(),
            n_begun: 0,
            left: MAX_SHAPES,
            depth: 0,
        };
        expansion.root()
    }

    /// Returns the class of each node. Two nodes have one class exactly if no path of parts
    /// distinguishes them.
    fn classes(&self) -> Vec<usize> {
        let labels = self.nodes.iter().map(|node| {
            let forms: Vec<_> = node.present().map(|(_, branch)| branch.label()).collect();
            (node.key.kind.without_names(), node.variant_names(), forms)
        });
        let (mut classes, mut n_classes) = number(labels);
        // Each round compares one level deeper and splits classes, until none is split.
        loop {
            let refined = self.nodes.iter().zip(&classes).map(|(node, class)| {
                let parts = node.branches.iter().flat_map(|branch| &branch.slots);
                let parts: Vec<_> = parts.map(|slot| slot.map(|id| classes[id])).collect();
                (*class, parts)
            });
            let (next, n_next) = number(refined);
            if n_next == n_classes {
                return classes;
            }
            (classes, n_classes) = (next, n_next);
        }
    }
}

/// The state of building a schema.
struct Expansion<'g> {
    /// The graph that the schema is built from.
    graph: &'g Graph,
    /// The class of each node.
    classes: Vec<usize>,
    /// The classes that have been written out, and how many began before each of them.
    written: BTreeMap<usize, usize>,
    /// How many nodes with parts have begun.
    n_begun: usize,
    /// How many more schemas may be written.
    left: usize,
    /// The nesting of the schema that is being built.
    depth: usize,
}

impl Expansion<'_> {
    /// Returns the schema of the traced type.
    fn root(mut self) -> TypeSchema {
        let graph = self.graph;
        self.part(&graph.nodes[0].branches[0], 0)
    }

    /// Returns the schema of a part of a branch.
    fn part(&mut self, branch: &Branch, index: usize) -> TypeSchema {
        let Some(id) = branch.slots.get(index).copied().flatten() else {
            return TypeSchema::Unknown;
        };
        if self.left == 0 || self.depth >= MAX_DEPTH {
            return TypeSchema::Unknown;
        }
        self.left -= 1;
        let kind = &self.graph.nodes[id].key.kind;
        match kind {
            NodeKind::Leaf(leaf) => return leaf.clone(),
            NodeKind::Identifier => return TypeSchema::Any,
            NodeKind::Any if self.graph.nodes[id].branches[0].keys.is_empty() => {
                return TypeSchema::Any;
            }
            NodeKind::UnitStruct(name) => return TypeSchema::UnitStruct(name),
            // It has neither bytes nor a name, so a peer may have any such type.
            NodeKind::Tuple(0) => return TypeSchema::Unit,
            _ => {}
        }
        let class = self.classes[id];
        let (name, named) = name(kind);
        if let Some(&nth) = self.written.get(&class) {
            return TypeSchema::Again(name, nth);
        }
        self.written.insert(class, self.n_begun);
        self.n_begun += 1;
        self.depth += 1;
        let shape = self.container(id);
        self.depth -= 1;
        // A `Vec<u8>` reads better than a reference to an earlier one. Of the types without a name,
        // only one that contains itself needs a reference.
        if !named {
            self.written.remove(&class);
        }
        shape
    }

    /// Returns the schema of a node with parts.
    fn container(&mut self, id: usize) -> TypeSchema {
        let node = &self.graph.nodes[id];
        if let NodeKind::Enum(name, _) = node.key.kind {
            let variants = node.variant_names().into_iter().zip(node.present());
            let variants = variants.map(|(name, (_, branch))| (name, self.variant(branch)));
            return TypeSchema::Enum(name, variants.collect());
        }
        let branch = &node.branches[0];
        match node.key.kind {
            NodeKind::Option => TypeSchema::Option(Box::new(self.part(branch, 0))),
            NodeKind::Seq => TypeSchema::Seq(Box::new(self.part(branch, 0))),
            NodeKind::Any | NodeKind::Map if !branch.keys.is_empty() => {
                let fields = branch.keys.iter().enumerate();
                let fields = fields.map(|(i, key)| (*key, self.part(branch, FIRST_KEYED + i)));
                TypeSchema::Keyed(short(node.key.value), fields.collect())
            }
            NodeKind::Map => {
                let key = Box::new(self.part(branch, 0));
                TypeSchema::Map(key, Box::new(self.part(branch, 1)))
            }
            NodeKind::Newtype(name) => TypeSchema::Newtype(name, Box::new(self.part(branch, 0))),
            NodeKind::Tuple(n) if self.is_array(branch, n) => {
                TypeSchema::Array(Box::new(self.part(branch, 0)), n)
            }
            NodeKind::Tuple(n) => TypeSchema::Tuple(self.items(branch, n)),
            NodeKind::TupleStruct(name, n) => TypeSchema::TupleStruct(name, self.items(branch, n)),
            NodeKind::Struct(name, _) => TypeSchema::Struct(name, self.named(branch)),
            NodeKind::Leaf(_) | NodeKind::Any | NodeKind::Identifier => TypeSchema::Unknown,
            NodeKind::UnitStruct(_) | NodeKind::Enum(..) => TypeSchema::Unknown,
        }
    }

    /// Returns the schema of a variant.
    fn variant(&mut self, branch: &Branch) -> VariantSchema {
        match branch.form {
            None => VariantSchema::Unknown,
            Some(Form::Unit) => VariantSchema::Unit,
            Some(Form::Newtype) => VariantSchema::Newtype(self.part(branch, 0)),
            Some(Form::Tuple(n)) => VariantSchema::Tuple(self.items(branch, n)),
            Some(Form::Struct(_)) => VariantSchema::Struct(self.named(branch)),
        }
    }

    /// Returns whether `n` parts are more than four of one class.
    fn is_array(&self, branch: &Branch, n: usize) -> bool {
        let mut classes = branch.slots.iter().map(|slot| slot.map(|id| self.classes[id]));
        let Some(Some(first)) = classes.next() else {
            return false;
        };
        n > 4 && branch.slots.len() == n && classes.all(|class| class == Some(first))
    }

    /// Returns the schemas of `n` numbered parts.
    fn items(&mut self, branch: &Branch, n: usize) -> Vec<TypeSchema> {
        // A hand-written `Deserialize` may request any length.
        (0..n.min(MAX_SHAPES)).map(|i| self.part(branch, i)).collect()
    }

    /// Returns the schemas of named parts.
    fn named(&mut self, branch: &Branch) -> Vec<(&'static str, TypeSchema)> {
        let names = branch.field_names().iter().enumerate();
        names.map(|(i, name)| (*name, self.part(branch, i))).collect()
    }
}

/// Returns a type's own name, without its path and its parameters.
fn short(name: &'static str) -> &'static str {
    let name = name.split('<').next().unwrap_or_default();
    let name = name.rsplit("::").next().unwrap_or_default();
    if name.starts_with(|c: char| c.is_alphabetic() || c == '_') { name } else { "" }
}

/// Returns the name to refer to a node with parts by, and whether it is the type's own name.
fn name(kind: &NodeKind) -> (&'static str, bool) {
    match kind {
        NodeKind::Newtype(name)
        | NodeKind::TupleStruct(name, _)
        | NodeKind::Struct(name, _)
        | NodeKind::Enum(name, _) => (name, true),
        NodeKind::Option => ("Option<..>", false),
        NodeKind::Seq => ("Vec<..>", false),
        NodeKind::Map => ("Map<..>", false),
        _ => ("(..)", false),
    }
}

/// Numbers labels from 0, equal labels alike. Returns the numbers, and how many different ones
/// there are.
fn number<L: Ord>(labels: impl Iterator<Item = L>) -> (Vec<usize>, usize) {
    let mut numbers = BTreeMap::new();
    let numbered = labels
        .map(|label| {
            let next = numbers.len();
            *numbers.entry(label).or_insert(next)
        })
        .collect();
    (numbered, numbers.len())
}

/// Largest size of a schema: the largest number of nodes, so that only a type that repeats itself
/// without names is cut off.
const MAX_SHAPES: usize = 16_384;
/// Deepest nesting of a schema, so that writing and dropping it does not overflow the stack. A
/// chain of types can be longer than any one sample value is deep.
const MAX_DEPTH: usize = 256;
