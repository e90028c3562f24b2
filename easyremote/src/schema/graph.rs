//! What is known about a type while it is being traced, and what to try next.
//!
//! Every named type is one [`GraphNode`], however often it occurs, so recursion is a cycle and a
//! pass over a large syntax tree stays short. Tracing is a loop of passes. Each runs `Deserialize`
//! once and explores at least one new *branch* (the inside of an `Option`, an element, a variant);
//! wherever nothing is to be explored it *rests* on the smallest value that is known to work. A
//! pass that fails because a sample was rejected makes the next one use another sample.

use std::collections::BTreeMap;
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
}

/// What a node asked its deserializer for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum NodeKind {
    /// A value without parts.
    Leaf(TypeSchema),
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

/// A sample was not accepted. Why does not matter: the text of the user's error is dropped.
#[derive(Debug)]
pub(crate) struct Rejection;

impl de::Error for Rejection {
    fn custom<T: fmt::Display>(_: T) -> Self {
        Self
    }
}

impl std::error::Error for Rejection {}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the sample was not accepted")
    }
}

impl Graph {
    /// A graph that knows nothing.
    pub(crate) fn new() -> Self {
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
        };
        let key = GraphKey { kind: NodeKind::Tuple(1), visitor: "", value: "" };
        graph.nodes.push(GraphNode::new(key));
        graph
    }

    /// The node at `slot`, which is found or created if the slot is visited for the first time.
    pub(crate) fn visit(
        &mut self,
        slot: GraphSlot,
        depth: usize,
        key: GraphKey,
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
                    self.nodes.push(GraphNode::new(key));
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
            NodeKind::Leaf(_) => self.stub(slot, key),
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
        Err(Rejection)
    }
}

impl GraphNode {
    /// A node that was not visited yet.
    fn new(key: GraphKey) -> Self {
        let n_branches = match &key.kind {
            NodeKind::Leaf(_) | NodeKind::UnitStruct(_) => 0,
            NodeKind::Enum(_, variants) => variants.len(),
            _ => 1,
        };
        let branches = std::iter::repeat_with(Branch::default).take(n_branches).collect();
        Self { key, branches, finished: Vec::new(), choice: 0, tries: 0 }
    }
}

impl NodeKind {
    /// Whether the types of this kind have a name.
    fn is_named(&self) -> bool {
        match self {
            Self::Leaf(_) | Self::Option | Self::Seq | Self::Map | Self::Tuple(_) => false,
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
