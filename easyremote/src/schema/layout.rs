//! The layout of a traced type: what an encoder compares its values with.

use super::digest::SeenVariant;
use super::graph::{Branch, Form, Graph, GraphNode, NodeKind};
use super::type_schema::TypeSchema;

/// The layout of a type whose values are encoded by position.
#[derive(Debug)]
pub(crate) struct Layout {
    pub(crate) places: Vec<Place>,
    /// The number of the type's own place.
    pub(crate) root: usize,
}

/// A type at one or several places.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) kind: PlaceKind,
    /// Size of its values in memory, in bytes, without what they point to.
    pub(crate) size: usize,
}

/// The type at a place; refers to other places by their number.
#[derive(Debug, PartialEq)]
pub(crate) enum PlaceKind {
    /// A value without parts.
    Leaf(TypeSchema),
    Option(usize),
    Seq(usize),
    Map(usize, usize),
    /// A newtype, which the type's `Serialize` may leave out.
    Newtype(usize),
    /// The parts of a tuple, of an array, or of a struct that has no names.
    Tuple(Vec<usize>),
    /// A struct: its name and its fields.
    Struct(&'static str, Vec<(&'static str, usize)>),
    /// An enum: its name and its variants.
    Enum(&'static str, Vec<VariantPlace>),
}

/// A variant at the place of an enum.
#[derive(Debug, PartialEq)]
pub(crate) struct VariantPlace {
    pub(crate) name: &'static str,
    pub(crate) content: VariantContent,
}

/// The content of a variant.
#[derive(Debug, PartialEq)]
pub(crate) enum VariantContent {
    Unit,
    Newtype(usize),
    Tuple(Vec<usize>),
    Struct(Vec<(&'static str, usize)>),
}

/// The error of a type without a layout: it needs a self-describing codec, or its trace is
/// incomplete.
#[derive(Debug)]
pub(crate) struct NoLayout;

impl Graph {
    /// Returns the layout of the traced type.
    ///
    /// # Errors
    /// If the type has no layout.
    pub(crate) fn layout(&self) -> Result<Layout, NoLayout> {
        let root = part(&self.nodes[0].branches[0], 0)?;
        let mut reached = vec![false; self.nodes.len()];
        let mut next = vec![root];
        while let Some(id) = next.pop() {
            if !std::mem::replace(&mut reached[id], true) {
                let slots = self.nodes[id].branches.iter().flat_map(|branch| &branch.slots);
                next.extend(slots.flatten());
            }
        }
        let places = self.nodes.iter().zip(reached).map(|(node, reached)| {
            // Unreachable places are kept, so that the numbers of the others do not change.
            let kind = if reached { place(node)? } else { PlaceKind::Leaf(TypeSchema::Unit) };
            Ok(Place { kind, size: node.size })
        });
        Ok(Layout { places: places.collect::<Result<_, _>>()?, root })
    }
}

impl Layout {
    /// Renames variants to the names that their `Serialize` writes, where `Deserialize` has others.
    pub(super) fn rename_variants(&mut self, seen: &[SeenVariant]) {
        for place in &mut self.places {
            let PlaceKind::Enum(of, variants) = &mut place.kind else { continue };
            let names: Vec<_> = variants.iter().map(|variant| variant.name).collect();
            for &(name, number, called) in seen {
                let variant = usize::try_from(number).ok().and_then(|at| variants.get_mut(at));
                if let Some(variant) = variant.filter(|_| name == *of && !names.contains(&called)) {
                    variant.name = called;
                }
            }
        }
    }
}

fn place(node: &GraphNode) -> Result<PlaceKind, NoLayout> {
    if let NodeKind::Enum(name, _) = node.key.kind {
        let names = node.variant_names();
        if names.len() != node.present().count() {
            return Err(NoLayout);
        }
        let variants = names
            .into_iter()
            .zip(node.present())
            .map(|(name, (_, branch))| Ok(VariantPlace { name, content: content(branch)? }));
        return Ok(PlaceKind::Enum(name, variants.collect::<Result<_, _>>()?));
    }
    let first = || node.branches.first().ok_or(NoLayout);
    Ok(match node.key.kind {
        NodeKind::Any | NodeKind::Identifier => return Err(NoLayout),
        NodeKind::Leaf(ref leaf) => PlaceKind::Leaf(leaf.clone()),
        NodeKind::UnitStruct(_) => PlaceKind::Leaf(TypeSchema::Unit),
        NodeKind::Option => PlaceKind::Option(part(first()?, 0)?),
        NodeKind::Seq => PlaceKind::Seq(part(first()?, 0)?),
        NodeKind::Map if !first()?.keys.is_empty() => return Err(NoLayout),
        NodeKind::Map => PlaceKind::Map(part(first()?, 0)?, part(first()?, 1)?),
        NodeKind::Newtype(_) => PlaceKind::Newtype(part(first()?, 0)?),
        NodeKind::Tuple(n) | NodeKind::TupleStruct(_, n) => PlaceKind::Tuple(parts(first()?, n)?),
        NodeKind::Struct(name, _) => PlaceKind::Struct(name, fields(first()?)?),
        NodeKind::Enum(..) => return Err(NoLayout),
    })
}

fn content(branch: &Branch) -> Result<VariantContent, NoLayout> {
    Ok(match branch.form.ok_or(NoLayout)? {
        Form::Unit => VariantContent::Unit,
        Form::Newtype => VariantContent::Newtype(part(branch, 0)?),
        Form::Tuple(n) => VariantContent::Tuple(parts(branch, n)?),
        Form::Struct(_) => VariantContent::Struct(fields(branch)?),
    })
}

fn part(branch: &Branch, index: usize) -> Result<usize, NoLayout> {
    branch.slots.get(index).copied().flatten().ok_or(NoLayout)
}

fn parts(branch: &Branch, n: usize) -> Result<Vec<usize>, NoLayout> {
    // Checked before anything is allocated: a type may claim any length.
    if branch.slots.len() < n {
        return Err(NoLayout);
    }
    (0..n).map(|index| part(branch, index)).collect()
}

fn fields(branch: &Branch) -> Result<Vec<(&'static str, usize)>, NoLayout> {
    let names = branch.field_names().iter().enumerate();
    names.map(|(index, name)| Ok((*name, part(branch, index)?))).collect()
}
