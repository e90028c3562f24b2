//! What is known about a type while it is being traced, and what to try next.
//!
//! Every named type is one [`GraphNode`], however often it occurs, so recursion is a cycle and a
//! pass over a large syntax tree stays short. Tracing is a loop of passes. Each runs `Deserialize`
//! once and explores at least one new *branch* (the inside of an `Option`, an element, a variant);
//! wherever nothing is to be explored it *rests* on the smallest value that is known to work. A
//! pass that fails because a sample was rejected makes the next one use another sample.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::de;

use super::type_schema::TypeSchema;

/// All nodes found so far, and the state of the running pass.
pub(crate) struct Graph {
    /// The first one is no type of the user but the place of the traced type.
    pub(crate) nodes: Vec<GraphNode>,
    /// The node of each type with a name.
    known: BTreeMap<GraphKey, usize>,
    /// The nodes around the one being visited, by depth. Further in, it is out of date.
    ancestors: Vec<usize>,
    /// The way to the branch to explore next: which branch to take at which node.
    pub(crate) plan: BTreeMap<usize, usize>,
    /// The nodes of this pass whose value can be another one, in the order of their visits.
    pub(crate) trail: Vec<usize>,
    /// What is known about the error that is on its way up.
    pub(crate) fault: Fault,
    /// Whether this pass found out anything.
    pub(crate) progress: bool,
    /// Whether a limit of the whole trace was reached.
    pub(crate) exhausted: bool,
    /// Visits of nodes left, over all passes.
    visits: u32,
    /// The node that took fields by key last, inside of the part that is being made.
    pub(crate) keyed: Option<usize>,
    /// Whether a value was refused that serde can buffer in no format.
    pub(crate) unbuffered: bool,
    /// Whether the type is asked as a format for people would ask it.
    pub(crate) human: bool,
}

/// One type with a name, or what is without a name at one place.
pub(crate) struct GraphNode {
    /// Which type it is.
    pub(crate) key: GraphKey,
    /// One for each variant; one for anything else with parts; none for a leaf.
    pub(crate) branches: Vec<Branch>,
    /// The explored branches, in the order in which they ended.
    pub(crate) finished: Vec<usize>,
    /// Which of the values to rest on is in use.
    pub(crate) choice: usize,
    /// How many rejections began with this node.
    pub(crate) tries: usize,
    /// Bytes of memory that its value takes, without what it points to.
    pub(crate) size: usize,
    /// The names of its variants without aliases, if it has any and they could be found.
    pub(crate) variants: Option<Vec<&'static str>>,
}

/// A way to go on from a node.
#[derive(Default)]
pub(crate) struct Branch {
    /// What a variant carries, once known.
    pub(crate) form: Option<Form>,
    /// The nodes of its parts, once known.
    pub(crate) slots: Vec<Option<usize>>,
    /// Whether a value of this branch is being made in this pass, further out.
    pub(crate) open: bool,
    /// Whether a value of this branch was made.
    pub(crate) done: bool,
    /// How many passes found no way through.
    pub(crate) strikes: u32,
    /// Of a variant: whether it is none, but one more name of another.
    pub(crate) absent: bool,
    /// The named fields, for a struct or a variant that is one.
    pub(crate) fields: Option<Fields>,
    /// The keys that a type has missed, which asks for a map or for anything and is a struct.
    pub(crate) keys: Vec<&'static str>,
}

/// What is known of named fields.
#[derive(Default)]
pub(crate) struct Fields {
    /// Their names in the order of the wire; without aliases as soon as these are known.
    pub(crate) names: Vec<&'static str>,
    /// Why they are handed out by name, if they are.
    pub(super) mode: FieldMode,
    /// Fields that accept no sample: they come last, or nothing behind them would be seen.
    pub(super) refused: BTreeSet<usize>,
    /// Names that are no aliases, and of which an alias is among the names: they come first.
    pub(super) leading: Vec<&'static str>,
}

/// How fields are handed out.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum FieldMode {
    /// In order.
    #[default]
    Ordered,
    /// By name, to find the aliases.
    Aliases,
    /// By name, to find the types of the others beside one that accepts no sample.
    Around,
    /// In order, and for good: the type cannot be asked by name, or it has been.
    Settled,
}

/// What a node asked its deserializer for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum NodeKind {
    /// A value without parts.
    Leaf(TypeSchema),
    /// Whatever the codec says that it is.
    Any,
    /// The name or the number of a field or variant, which the type asks for by itself.
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

/// What a variant carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Form {
    /// Nothing.
    Unit,
    /// One value.
    Newtype,
    /// So many numbered fields.
    Tuple(usize),
    /// Named fields.
    Struct(&'static [&'static str]),
}

/// Tells one type from another: what it asked for, and the names of its visitor and its value.
///
/// The names only need to be equal or not within one process; they never reach a [`TypeSchema`].
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct GraphKey {
    /// What the type asked for.
    pub(crate) kind: NodeKind,
    /// The type name of its visitor; none for a leaf. It tells two adapters around the same value
    /// apart (`#[serde(with = "..")]`).
    pub(crate) visitor: &'static str,
    /// The type name of the value; none for a leaf.
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
    /// Use this one of the values to rest on: for an enum a branch, for others as in
    /// [`LENGTHS`](super::samples::LENGTHS).
    Rest(usize),
}

/// What is known about an error.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Nothing: there is none, or it comes fresh from the user's code.
    None,
    /// The next pass will try something else.
    Retry,
    /// There is no way through; the innermost branch being explored takes the blame.
    Stuck,
}

/// A sample was not accepted. The text of the user's error is dropped.
#[derive(Debug, Default)]
pub(crate) struct Rejection {
    /// The field that came twice, if that is why.
    pub(crate) duplicate: Option<&'static str>,
    /// The field that did not come, if that is why.
    pub(crate) missing: Option<&'static str>,
    /// Whether serde cannot do it in any format.
    pub(crate) unbuffered: bool,
}

impl de::Error for Rejection {
    fn custom<T: fmt::Display>(text: T) -> Self {
        // What serde buffers, for `flatten`, `tag` and `untagged`, has no such integers.
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
}

impl std::error::Error for Rejection {}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the sample was not accepted")
    }
}

impl Graph {
    /// A graph that knows nothing, of a type as a format for people (`human`) or for machines sees
    /// it.
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
        };
        let key = GraphKey { kind: NodeKind::Tuple(1), visitor: "", value: "" };
        graph.nodes.push(GraphNode::new(key, 0));
        graph
    }

    /// The node at `slot`, which is found or created if the slot is visited for the first time.
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
            // A type that asks for something else the second time cannot be described.
            Some(_) => return self.stuck(),
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

    /// The node that stands for a type that was seen before.
    ///
    /// What has no name is a node of its own at each place, as each may need another sample; but
    /// inside itself it has to be the same, or it would never end.
    fn find(&mut self, slot: GraphSlot, key: &GraphKey) -> Option<usize> {
        match key.kind {
            NodeKind::Leaf(_) | NodeKind::Identifier => self.stub(slot, key),
            _ if key.kind.is_named() => self.known.get(key).copied(),
            _ => self.ancestors.iter().copied().find(|id| self.nodes[*id].key == *key),
        }
    }

    /// The leaf before `slot`, if it can stand for the one at `slot` too.
    ///
    /// Tuples end at 16 elements and the arrays of serde at 32. What is longer is an array of an
    /// adapter, and a node for each of its elements would use up the limit.
    fn stub(&mut self, slot: GraphSlot, key: &GraphKey) -> Option<usize> {
        let before = slot.index.checked_sub(1).filter(|before| *before >= 32)?;
        let id = self.slots(slot)[before]?;
        let in_tuple = matches!(self.nodes[slot.node].key.kind, NodeKind::Tuple(_));
        (in_tuple && self.nodes[id].key == *key).then_some(id)
    }

    /// The parts around `slot`, with room for it.
    fn slots(&mut self, slot: GraphSlot) -> &mut Vec<Option<usize>> {
        let slots = &mut self.nodes[slot.node].branches[slot.branch].slots;
        if slots.len() <= slot.index {
            slots.resize(slot.index + 1, None);
        }
        slots
    }

    /// Notes what a variant carries.
    pub(crate) fn form(&mut self, id: usize, branch: usize, form: Form) -> Result<(), Rejection> {
        let known = &mut self.nodes[id].branches[branch].form;
        match *known {
            Some(known) if known == form => Ok(()),
            Some(_) => self.stuck(),
            None => {
                *known = Some(form);
                self.progress = true;
                Ok(())
            }
        }
    }

    /// The error for which no sample is to blame.
    pub(crate) fn stuck<R>(&mut self) -> Result<R, Rejection> {
        self.fault = Fault::Stuck;
        Err(Rejection::default())
    }
}

impl GraphNode {
    /// A node that was not visited yet.
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
    /// The branches that there are, with their numbers: all but the further names of a variant.
    pub(crate) fn present(&self) -> impl Iterator<Item = (usize, &Branch)> {
        self.branches.iter().enumerate().filter(|(_, branch)| !branch.absent)
    }

    /// The names of an enum's variants, in the order of [`present`](Self::present); none for
    /// another type, nor for an enum whose names cannot be told from its aliases.
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
    /// The names of its fields; without aliases, as far as these are known.
    pub(crate) fn field_names(&self) -> &[&'static str] {
        self.fields.as_ref().map_or(&[], |fields| &fields.names)
    }

    /// What tells it from another one, beside its parts.
    pub(crate) fn label(&self) -> (Option<Form>, &[&'static str]) {
        let form = match self.form {
            Some(Form::Struct(_)) => Some(Form::Struct(&[])),
            form => form,
        };
        (form, self.field_names())
    }
}

impl NodeKind {
    /// The kind with the type's own name, but not those of its fields or variants: these are known
    /// to the branches, where aliases are told from names.
    pub(crate) fn without_names(&self) -> Self {
        match self {
            Self::Struct(name, _) => Self::Struct(name, &[]),
            Self::Enum(name, _) => Self::Enum(name, &[]),
            kind => kind.clone(),
        }
    }

    /// Whether the types of this kind have a name.
    fn is_named(&self) -> bool {
        match self {
            Self::Leaf(_) | Self::Any | Self::Identifier => false,
            Self::Option | Self::Seq | Self::Map | Self::Tuple(_) => false,
            Self::UnitStruct(_) | Self::Newtype(_) | Self::TupleStruct(..) => true,
            Self::Struct(..) | Self::Enum(..) => true,
        }
    }

    /// Whether its values have a choice of branches.
    pub(crate) fn has_choice(&self) -> bool {
        matches!(self, Self::Option | Self::Seq | Self::Map | Self::Enum(..))
    }
}

/// Named types and the fields of all of them; a struct of 10,000 fields fits.
const MAX_NODES: usize = 16_384;
/// Nesting of one sample value, so that the stack suffices: a level is some 1 KiB in a debug build.
const MAX_DEPTH: usize = 64;
/// Visits of nodes over all passes, about 50 ms. Tuples of tuples of tuples grow exponentially.
const MAX_VISITS: u32 = 1 << 20;
