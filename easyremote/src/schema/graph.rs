//! The graph of a type while it is being traced, and the state of the search.
//!
//! Each named type is one [`GraphNode`], however often it occurs, so that recursion is a cycle, and
//! a pass over a large syntax tree stays short. Tracing is a loop of passes. Each pass runs
//! `Deserialize` once and explores at least one new *branch* (the inside of an `Option`, an
//! element, a variant). Everywhere else it *rests* on the smallest value that is known to be
//! accepted. After a rejected sample the next pass uses another one.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::de;

use super::question::Probe;
use super::type_schema::TypeSchema;

/// All nodes found so far, and the state of the running pass.
pub(crate) struct Graph {
    /// All nodes. The first one is not a user's type, but the place of the traced type.
    pub(crate) nodes: Vec<GraphNode>,
    /// The node of each type with a name.
    known: BTreeMap<GraphKey, usize>,
    /// The nodes around the one being visited, by depth. Deeper entries are out of date.
    ancestors: Vec<usize>,
    /// The way to the branch to explore next: which branch to take at which node.
    pub(crate) plan: BTreeMap<usize, usize>,
    /// The nodes of this pass with another possible value, in the order of their visits.
    pub(crate) trail: Vec<usize>,
    /// The state of the error that is being returned.
    pub(crate) fault: Fault,
    /// Whether this pass has discovered anything.
    pub(crate) progress: bool,
    /// Whether a limit of the whole trace was reached.
    pub(crate) exhausted: bool,
    /// Visits of nodes left, over all passes.
    visits: u32,
    /// The node that took fields by key last, inside the part that is being made.
    pub(crate) keyed: Option<usize>,
    /// Whether a value was rejected that serde cannot buffer in any format.
    pub(crate) unbuffered: bool,
    /// Whether the deserializer is human-readable (`is_human_readable`).
    pub(crate) human: bool,
    /// The parts, by node, branch and index, that were requested as different types, because the
    /// value of another part decides.
    pub(super) varying: BTreeSet<(usize, usize, usize)>,
    /// The question that the running pass asks the type, once it is traced.
    pub(super) probe: Option<Probe>,
}

/// A named type, or an unnamed type at one place.
pub(crate) struct GraphNode {
    /// The identity of the type.
    pub(crate) key: GraphKey,
    /// One branch per variant, one for any other type with parts, none for a leaf.
    pub(crate) branches: Vec<Branch>,
    /// The explored branches, in the order in which they ended.
    pub(crate) finished: Vec<usize>,
    /// The value to rest on that is in use.
    pub(crate) choice: usize,
    /// Number of rejections that began with this node.
    pub(crate) tries: usize,
    /// Size of its value in memory, in bytes, without what it points to.
    pub(crate) size: usize,
    /// The names of its variants without aliases, if they could be determined.
    pub(crate) variants: Option<Vec<&'static str>>,
}

/// A way to go on from a node.
#[derive(Default)]
pub(crate) struct Branch {
    /// The content of a variant, once known.
    pub(crate) form: Option<Form>,
    /// The nodes of its parts, once known.
    pub(crate) slots: Vec<Option<usize>>,
    /// Whether a value of this branch is being made in this pass, around the current place.
    pub(crate) open: bool,
    /// Whether a value of this branch was made.
    pub(crate) done: bool,
    /// Number of passes that found no way through.
    pub(crate) strikes: u32,
    /// Whether this is not a variant, but an alias of another one.
    pub(crate) absent: bool,
    /// The named fields, for a struct or a variant that is one.
    pub(crate) fields: Option<Fields>,
    /// The keys that a struct has missed which requests a map, or any value.
    pub(crate) keys: Vec<&'static str>,
}

/// The named fields of a branch.
#[derive(Default)]
pub(crate) struct Fields {
    /// The names in the order of the wire; without aliases once these are known.
    pub(crate) names: Vec<&'static str>,
    /// How the fields are handed out.
    pub(super) mode: FieldMode,
    /// Fields that accept no sample. They come last, because no field after them is visited.
    pub(super) refused: BTreeSet<usize>,
    /// Names that have an alias among the names. They come first.
    pub(super) leading: Vec<&'static str>,
}

/// How the fields of a struct are handed out.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum FieldMode {
    /// In order.
    #[default]
    Ordered,
    /// By name, to find the aliases.
    Aliases,
    /// By name, to find the types of the other fields beside one that accepts no sample.
    Around,
    /// In order, finally: the type does not accept names, or they have been tried.
    Settled,
}

/// What a type requested from its deserializer.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum NodeKind {
    /// A value without parts.
    Leaf(TypeSchema),
    /// Any value, which the codec has to describe.
    Any,
    /// The name or number of a field or variant, as a separate value.
    Identifier,
    /// An `Option`.
    Option,
    /// A sequence of any length.
    Seq,
    /// A map.
    Map,
    /// A tuple or array, and its length.
    Tuple(usize),
    /// A unit struct, and its name.
    UnitStruct(&'static str),
    /// A newtype struct, and its name.
    Newtype(&'static str),
    /// A tuple struct, its name and length.
    TupleStruct(&'static str, usize),
    /// A struct, its name and fields.
    Struct(&'static str, &'static [&'static str]),
    /// An enum, its name and variants.
    Enum(&'static str, &'static [&'static str]),
}

/// The content of a variant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Form {
    /// Nothing.
    Unit,
    /// One value.
    Newtype,
    /// This many numbered fields.
    Tuple(usize),
    /// Named fields.
    Struct(&'static [&'static str]),
}

/// Identifies a type: what it requested, and the names of its visitor and its value.
///
/// The names are only compared within one process; they never reach a [`TypeSchema`].
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct GraphKey {
    /// What the type requested.
    pub(crate) kind: NodeKind,
    /// The type name of its visitor; empty for a leaf. It distinguishes two adapters around the
    /// same value (`#[serde(with = "..")]`).
    pub(crate) visitor: &'static str,
    /// The type name of the value; empty for a leaf.
    pub(crate) value: &'static str,
}

/// A place for a node: a part of a branch of another node.
#[derive(Clone, Copy)]
pub(crate) struct GraphSlot {
    /// The node around it.
    pub(crate) node: usize,
    /// The branch.
    pub(crate) branch: usize,
    /// Which part of the branch.
    pub(crate) index: usize,
}

/// What to do at a node with a choice.
pub(crate) enum Turn {
    /// Explore this branch.
    Explore(usize),
    /// Use this value to rest on: for an enum a branch, for others as in
    /// [`LENGTHS`](super::samples::LENGTHS).
    Rest(usize),
}

/// The state of an error that is being returned.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// No error, or a new one from user code.
    None,
    /// The next pass will try something else.
    Retry,
    /// No sample can help; the innermost branch being explored has failed.
    Stuck,
}

/// The error of a sample that was not accepted. The text of the user's error is dropped.
#[derive(Debug, Default)]
pub(crate) struct Rejection {
    /// The duplicate field, if that is the reason.
    pub(crate) duplicate: Option<&'static str>,
    /// The missing field, if that is the reason.
    pub(crate) missing: Option<&'static str>,
    /// Whether serde cannot buffer the value in any format.
    pub(crate) unbuffered: bool,
    /// Whether the type accepts no value of this kind.
    pub(super) wrong_kind: bool,
    /// Whether the type accepts no field of this name.
    pub(super) unknown_field: bool,
    /// The variants, if one that was named is not among them.
    pub(super) variants: Option<&'static [&'static str]>,
}

impl de::Error for Rejection {
    fn custom<T: fmt::Display>(text: T) -> Self {
        // The buffer of serde for `flatten`, `tag` and `untagged` has no 128-bit integers.
        let text = text.to_string();
        let unbuffered = text == "u128 is not supported" || text == "i128 is not supported";
        Self { unbuffered, ..Self::default() }
    }

    fn duplicate_field(field: &'static str) -> Self {
        Self { duplicate: Some(field), ..Self::default() }
    }

    fn missing_field(field: &'static str) -> Self {
        Self { missing: Some(field), ..Self::default() }
    }

    fn invalid_type(_: de::Unexpected<'_>, _: &dyn de::Expected) -> Self {
        Self { wrong_kind: true, ..Self::default() }
    }

    fn unknown_field(_: &str, _: &'static [&'static str]) -> Self {
        Self { unknown_field: true, ..Self::default() }
    }

    fn unknown_variant(_: &str, variants: &'static [&'static str]) -> Self {
        Self { variants: Some(variants), ..Self::default() }
    }
}

impl std::error::Error for Rejection {}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the sample was not accepted")
    }
}

impl Graph {
    /// Creates an empty graph, whose deserializer is human-readable if `human`.
    pub(crate) fn new(human: bool) -> Self {
        let mut graph = Self {
            nodes: Vec::new(),
            known: BTreeMap::new(),
            ancestors: Vec::new(),
            plan: BTreeMap::new(),
            trail: Vec::new(),
            fault: Fault::None,
            progress: false,
            exhausted: false,
            visits: MAX_VISITS,
            keyed: None,
            unbuffered: false,
            human,
            varying: BTreeSet::new(),
            probe: None,
        };
        let key = GraphKey { kind: NodeKind::Tuple(1), visitor: "", value: "" };
        graph.nodes.push(GraphNode::new(key, 0));
        graph
    }

    /// Returns the node at `slot`; finds or creates it at the first visit of the slot.
    pub(crate) fn visit(
        &mut self,
        slot: GraphSlot,
        depth: usize,
        key: GraphKey,
        size: usize,
    ) -> Result<usize, Rejection> {
        if self.visits == 0 || self.nodes.len() >= MAX_NODES {
            self.exhausted = true;
            return self.stuck();
        }
        self.visits -= 1;
        if depth >= MAX_DEPTH {
            return self.stuck();
        }
        self.ancestors.truncate(depth);
        let known = self.slots(slot)[slot.index];
        let id = match known {
            Some(id) if self.nodes[id].key.kind == key.kind => id,
            // A type that requests something else at the second visit cannot be described.
            Some(_) => {
                self.varying.insert((slot.node, slot.branch, slot.index));
                return self.stuck();
            }
            None => {
                let id = self.find(slot, &key).unwrap_or(self.nodes.len());
                if id == self.nodes.len() {
                    if key.kind.is_named() {
                        self.known.insert(key.clone(), id);
                    }
                    self.nodes.push(GraphNode::new(key, size));
                }
                self.slots(slot)[slot.index] = Some(id);
                self.progress = true;
                id
            }
        };
        self.ancestors.push(id);
        Ok(id)
    }

    /// Returns the node of a type that has been visited before.
    ///
    /// An unnamed type has a separate node at each place, because each may need another sample.
    /// Inside itself it has the same node; otherwise tracing would not end.
    fn find(&mut self, slot: GraphSlot, key: &GraphKey) -> Option<usize> {
        match key.kind {
            NodeKind::Leaf(_) | NodeKind::Identifier => self.stub(slot, key),
            _ if key.kind.is_named() => self.known.get(key).copied(),
            _ => self.ancestors.iter().copied().find(|id| self.nodes[*id].key == *key),
        }
    }

    /// Returns the leaf before `slot`, if it can represent the one at `slot` too.
    ///
    /// Tuples have at most 16 elements, and the arrays of serde 32. Anything longer is an array of
    /// an adapter, and a node for each of its elements would use up the limit.
    fn stub(&mut self, slot: GraphSlot, key: &GraphKey) -> Option<usize> {
        let before = slot.index.checked_sub(1).filter(|before| *before >= 32)?;
        let id = self.slots(slot)[before]?;
        let in_tuple = matches!(self.nodes[slot.node].key.kind, NodeKind::Tuple(_));
        (in_tuple && self.nodes[id].key == *key).then_some(id)
    }

    /// Returns the parts of the branch of `slot`, extended to contain it.
    fn slots(&mut self, slot: GraphSlot) -> &mut Vec<Option<usize>> {
        let slots = &mut self.nodes[slot.node].branches[slot.branch].slots;
        if slots.len() <= slot.index {
            slots.resize(slot.index + 1, None);
        }
        slots
    }

    /// Records the content of a variant.
    pub(crate) fn form(&mut self, id: usize, branch: usize, form: Form) -> Result<(), Rejection> {
        let known = &mut self.nodes[id].branches[branch].form;
        match *known {
            Some(known) if known == form => Ok(()),
            Some(_) => {
                self.varying.insert((id, branch, FORM));
                self.stuck()
            }
            None => {
                *known = Some(form);
                self.progress = true;
                Ok(())
            }
        }
    }

    /// Returns the error that no other sample can avoid.
    pub(crate) fn stuck<R>(&mut self) -> Result<R, Rejection> {
        self.fault = Fault::Stuck;
        Err(Rejection::default())
    }
}

impl GraphNode {
    /// Creates a node that has not been visited.
    fn new(key: GraphKey, size: usize) -> Self {
        let n_branches = match &key.kind {
            NodeKind::Leaf(_) | NodeKind::Identifier | NodeKind::UnitStruct(_) => 0,
            NodeKind::Enum(_, variants) => variants.len(),
            _ => 1,
        };
        let branches = std::iter::repeat_with(Branch::default).take(n_branches).collect();
        Self { key, branches, finished: Vec::new(), choice: 0, tries: 0, size, variants: None }
    }
}

impl GraphNode {
    /// Returns the branches with their numbers, without the aliases of variants.
    pub(crate) fn present(&self) -> impl Iterator<Item = (usize, &Branch)> {
        self.branches.iter().enumerate().filter(|(_, branch)| !branch.absent)
    }

    /// Returns the names of an enum's variants, in the order of [`present`](Self::present). Empty
    /// for other types, and for an enum whose names cannot be told from its aliases.
    pub(crate) fn variant_names(&self) -> Vec<&'static str> {
        match (&self.variants, &self.key.kind) {
            (Some(names), _) => names.clone(),
            (None, NodeKind::Enum(_, names)) if self.present().count() == names.len() => {
                names.to_vec()
            }
            _ => Vec::new(),
        }
    }
}

impl Branch {
    /// Returns the names of its fields, without the aliases that are known.
    pub(crate) fn field_names(&self) -> &[&'static str] {
        self.fields.as_ref().map_or(&[], |fields| &fields.names)
    }

    /// Returns what distinguishes it from another branch, beside its parts.
    pub(crate) fn label(&self) -> (Option<Form>, &[&'static str]) {
        let form = match self.form {
            Some(Form::Struct(_)) => Some(Form::Struct(&[])),
            form => form,
        };
        (form, self.field_names())
    }
}

impl NodeKind {
    /// Returns the kind with the type's own name, but without those of its fields or variants: the
    /// branches have them, and know the aliases.
    pub(crate) fn without_names(&self) -> Self {
        match self {
            Self::Struct(name, _) => Self::Struct(name, &[]),
            Self::Enum(name, _) => Self::Enum(name, &[]),
            kind => kind.clone(),
        }
    }

    /// Returns whether types of this kind have a name.
    fn is_named(&self) -> bool {
        match self {
            Self::Leaf(_) | Self::Any | Self::Identifier => false,
            Self::Option | Self::Seq | Self::Map | Self::Tuple(_) => false,
            Self::UnitStruct(_) | Self::Newtype(_) | Self::TupleStruct(..) => true,
            Self::Struct(..) | Self::Enum(..) => true,
        }
    }

    /// Returns whether its values have a choice of branches.
    pub(crate) fn has_choice(&self) -> bool {
        matches!(self, Self::Option | Self::Seq | Self::Map | Self::Enum(..))
    }
}

/// The index that stands for the form of a variant among the parts that vary.
pub(super) const FORM: usize = usize::MAX;
/// Most nodes: named types, and the fields of all of them. A struct of 10,000 fields fits.
const MAX_NODES: usize = 16_384;
/// Deepest nesting of a sample value, limited by the stack: a level takes about 1 KiB in a debug
/// build.
const MAX_DEPTH: usize = 64;
/// Most visits of nodes over all passes, which take about 50 ms. Nested tuples grow exponentially.
const MAX_VISITS: u32 = 1 << 20;
