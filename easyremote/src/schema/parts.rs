//! The accesses of the tracing deserializer: elements, entries, fields and variants of a type.

use serde::de::value::StrDeserializer;
use serde::de::{self, DeserializeSeed, IntoDeserializer, MapAccess, Visitor};

use super::graph::{FieldMode, Form, Graph, GraphSlot, Rejection};
use super::keyed::FIRST_KEYED;
use super::tracer::Tracer;

/// The parts of one branch of a node, as each of serde's accesses.
pub(crate) struct TracedParts<'g> {
    /// The graph of the type.
    pub(super) graph: &'g mut Graph,
    /// The node.
    pub(super) node: usize,
    /// The branch.
    pub(super) branch: usize,
    /// The nesting of the node.
    depth: usize,
    /// Number of elements that were handed out.
    pub(super) next: usize,
    /// Number of elements.
    len: usize,
    /// Whether all elements are the same part.
    repeated: bool,
}

impl<'g> TracedParts<'g> {
    /// Creates the parts of a branch, without any elements.
    pub(crate) fn new(graph: &'g mut Graph, node: usize, branch: usize, depth: usize) -> Self {
        Self { graph, node, branch, depth, next: 0, len: 0, repeated: false }
    }

    /// Sets `len` elements of different types.
    pub(crate) fn fixed(self, len: usize) -> Self {
        Self { len, ..self }
    }

    /// Sets `len` elements, or entries, of one type.
    pub(crate) fn repeated(self, len: usize) -> Self {
        Self { len, repeated: true, ..self }
    }

    /// Makes one part.
    pub(super) fn make<'de, S: DeserializeSeed<'de>>(
        &mut self,
        index: usize,
        seed: S,
    ) -> Result<S::Value, Rejection> {
        let start = self.graph.mark();
        let slot = GraphSlot { node: self.node, branch: self.branch, index };
        let around = self.graph.keyed.take();
        let made = seed.deserialize(Tracer::new(self.graph, slot, self.depth + 1));
        self.graph.leave(around, made.as_ref().err());
        self.graph.freeze(start, made.is_ok());
        made
    }
}

impl<'de> de::SeqAccess<'de> for TracedParts<'_> {
    type Error = Rejection;

    fn next_element_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, Rejection> {
        if self.next == self.len {
            return Ok(None);
        }
        let index = if self.repeated { 0 } else { self.next };
        self.next += 1;
        let element = self.make(index, seed)?;
        if self.repeated {
            // All types are known now: a later error can only concern the length.
            self.graph.finish(self.node, self.branch);
        }
        Ok(Some(element))
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.len - self.next)
    }
}

impl<'de> de::MapAccess<'de> for TracedParts<'_> {
    type Error = Rejection;

    fn next_key_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, Rejection> {
        if self.next == self.len {
            return Ok(None);
        }
        self.next += 1;
        self.make(0, seed).map(Some)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Rejection> {
        let value = self.make(1, seed)?;
        self.graph.finish(self.node, self.branch);
        Ok(value)
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.len - self.next)
    }
}

impl<'de> de::EnumAccess<'de> for TracedParts<'_> {
    type Error = Rejection;
    type Variant = Self;

    fn variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<(S::Value, Self), Rejection> {
        // The codec numbers variants as `u32`, so a type has at most 2^32.
        let number = self.branch as u32;
        match seed.deserialize(number.into_deserializer()) {
            Ok(variant) => Ok((variant, self)),
            // The type has fewer variants than names, because each alias is a name too.
            Err(rejection) => {
                self.graph.lack(self.node, self.branch);
                Err(rejection)
            }
        }
    }
}

impl<'de> de::VariantAccess<'de> for TracedParts<'_> {
    type Error = Rejection;

    fn unit_variant(self) -> Result<(), Rejection> {
        self.graph.form(self.node, self.branch, Form::Unit)
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(
        mut self,
        seed: S,
    ) -> Result<S::Value, Rejection> {
        self.graph.form(self.node, self.branch, Form::Newtype)?;
        self.make(0, seed)
    }

    fn tuple_variant<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, Rejection> {
        self.graph.form(self.node, self.branch, Form::Tuple(len))?;
        visitor.visit_seq(self.fixed(len))
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Rejection> {
        self.graph.form(self.node, self.branch, Form::Struct(fields))?;
        visit_fields(self, fields, visitor)
    }
}

/// Lets `visitor` take the fields of the branch of `parts`.
pub(super) fn visit_fields<'de, V: Visitor<'de>>(
    mut parts: TracedParts<'_>,
    names: &'static [&'static str],
    visitor: V,
) -> Result<V::Value, Rejection> {
    let (node, branch) = (parts.node, parts.branch);
    if let Some(given) = parts.graph.probed_fields(node, branch) {
        return given.visit(parts, visitor);
    }
    if let Some(given) = parts.graph.probed_entries(node) {
        return given.visit(parts.graph, node, visitor);
    }
    let fields = parts.graph.fields(node, branch);
    if fields.names.is_empty() {
        fields.names = names.to_vec();
    }
    let n = fields.names.len();
    if matches!(fields.mode, FieldMode::Ordered | FieldMode::Settled) {
        parts = parts.fixed(n);
        let made = visitor.visit_seq(&mut parts);
        let taken = parts.next;
        parts.graph.visited_in_order(node, branch, taken, made.is_ok());
        return made;
    }
    let order = parts.graph.order(node, branch);
    let mut by_name = FieldsByName { parts: &mut parts, order, next: 0, pending: None };
    let made = visitor.visit_map(&mut by_name);
    let (asked, last, pending) = (by_name.next > 0, by_name.last(), by_name.pending);
    match &made {
        Ok(_) => parts.graph.visited_by_name(node, branch),
        Err(_) if !asked => parts.graph.cannot_by_name(node, branch),
        Err(rejection) => match (rejection.duplicate, pending) {
            (Some(field), Some(name)) => parts.graph.alias(node, branch, field, name),
            _ => parts.graph.refused_by_name(node, branch, last),
        },
    }
    made
}

/// Lets `visitor` take the fields that it has missed so far.
pub(super) fn visit_keyed<'de, V: Visitor<'de>>(
    mut parts: TracedParts<'_>,
    visitor: V,
) -> Result<V::Value, Rejection> {
    let node = parts.node;
    let keys = parts.graph.nodes[node].branches[0].keys.clone();
    let made = visitor.visit_map(Keyed { parts: &mut parts, keys: &keys, next: 0 });
    let made = parts.graph.missed(node, made);
    parts.graph.keyed = Some(node);
    made
}

/// Fields that are handed out by name.
struct FieldsByName<'a, 'g> {
    parts: &'a mut TracedParts<'g>,
    /// The fields in this order, each with its name.
    order: Vec<(usize, &'static str)>,
    /// Number of names that were handed out.
    next: usize,
    /// The name that was handed out last, if its value has not been requested.
    pending: Option<&'static str>,
}

impl FieldsByName<'_, '_> {
    /// Returns the field whose name was handed out last.
    fn last(&self) -> Option<usize> {
        Some(self.order.get(self.next.checked_sub(1)?)?.0)
    }
}

impl<'de> MapAccess<'de> for FieldsByName<'_, '_> {
    type Error = Rejection;

    fn next_key_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, Rejection> {
        let Some(&(_, name)) = self.order.get(self.next) else {
            return Ok(None);
        };
        self.next += 1;
        self.pending = Some(name);
        seed.deserialize(StrDeserializer::new(name)).map(Some)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Rejection> {
        self.pending = None;
        let index = self.last().unwrap_or_default();
        self.parts.make(index, seed)
    }
}

/// Fields that are handed out by the keys that a struct has missed.
struct Keyed<'a, 'g> {
    parts: &'a mut TracedParts<'g>,
    keys: &'a [&'static str],
    next: usize,
}

impl<'de> MapAccess<'de> for Keyed<'_, '_> {
    type Error = Rejection;

    fn next_key_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, Rejection> {
        let Some(key) = self.keys.get(self.next) else {
            return Ok(None);
        };
        self.next += 1;
        seed.deserialize(StrDeserializer::new(key)).map(Some)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Rejection> {
        self.parts.make(FIRST_KEYED + self.next.saturating_sub(1), seed)
    }
}
