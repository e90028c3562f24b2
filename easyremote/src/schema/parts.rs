//! The parts of a type: what its visitor takes out of the tracing deserializer.

use serde::de::{self, DeserializeSeed, IntoDeserializer, Visitor};

use super::graph::{Form, Graph, GraphSlot, Rejection};
use super::tracer::Tracer;

/// The parts of one branch of a node, as any of serde's accesses.
pub(crate) struct TracedParts<'g> {
    /// What is known so far.
    graph: &'g mut Graph,
    /// The node.
    node: usize,
    /// The branch.
    branch: usize,
    /// How deep the node is nested.
    depth: usize,
    /// How many elements were handed out.
    next: usize,
    /// How many elements there are.
    len: usize,
    /// Whether all elements are the same part.
    repeated: bool,
}

impl<'g> TracedParts<'g> {
    /// The parts of a branch, without any elements.
    pub(crate) fn new(graph: &'g mut Graph, node: usize, branch: usize, depth: usize) -> Self {
        Self { graph, node, branch, depth, next: 0, len: 0, repeated: false }
    }

    /// With `len` elements of different schemas.
    pub(crate) fn fixed(self, len: usize) -> Self {
        Self { len, ..self }
    }

    /// With `len` elements, or entries, of one shape.
    pub(crate) fn repeated(self, len: usize) -> Self {
        Self { len, repeated: true, ..self }
    }

    /// The deserializer of one part.
    fn part(&mut self, index: usize) -> Tracer<'_> {
        let slot = GraphSlot { node: self.node, branch: self.branch, index };
        Tracer::new(self.graph, slot, self.depth + 1)
    }

    /// Makes one part.
    fn make<'de, S: DeserializeSeed<'de>>(
        &mut self,
        index: usize,
        seed: S,
    ) -> Result<S::Value, Rejection> {
        let start = self.graph.mark();
        let made = seed.deserialize(self.part(index));
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
            // What follows only judges the length.
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
        // The codec knows variants by their number, and there are at most 2^32 of them.
        let number = self.branch as u32;
        Ok((seed.deserialize(number.into_deserializer())?, self))
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
        visitor.visit_seq(self.fixed(fields.len()))
    }
}
