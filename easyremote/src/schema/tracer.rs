//! The tracing deserializer: hands out sample values, and records what a type requests.

use std::any::type_name;

use serde::de::value::SeqDeserializer;
use serde::de::{Deserializer, Visitor};

use super::graph::{Graph, GraphKey, GraphSlot, NodeKind, Rejection, Turn};
use super::parts::{TracedParts, visit_fields, visit_keyed};
use super::question::UNKNOWN_NAME;
use super::samples::{BOOLS, BYTES, CHARS, FLOATS, INTS, LENGTHS, STRS};
use super::type_schema::TypeSchema;

/// A deserializer for the value at one place of the traced type.
///
/// Behaves like bincode: structs are sequences of their fields, and variants are numbers. The graph
/// decides whether it is human-readable.
pub(crate) struct Tracer<'g> {
    /// The graph of the type.
    graph: &'g mut Graph,
    /// The place.
    slot: GraphSlot,
    /// The nesting of the place.
    depth: usize,
}

impl<'g> Tracer<'g> {
    /// Creates a deserializer for the traced type itself.
    pub(crate) fn root(graph: &'g mut Graph) -> Self {
        Self::new(graph, GraphSlot { node: 0, branch: 0, index: 0 }, 0)
    }

    /// Creates a deserializer for the value at `slot`.
    pub(crate) fn new(graph: &'g mut Graph, slot: GraphSlot, depth: usize) -> Self {
        Self { graph, slot, depth }
    }

    /// Creates a deserializer for the only part of a node.
    fn part(graph: &'g mut Graph, node: usize, depth: usize) -> Self {
        Self::new(graph, GraphSlot { node, branch: 0, index: 0 }, depth + 1)
    }

    /// Returns the node of a type with parts.
    fn node<'de, V: Visitor<'de>>(&mut self, kind: NodeKind) -> Result<usize, Rejection> {
        let key = GraphKey { kind, visitor: type_name::<V>(), value: type_name::<V::Value>() };
        self.graph.visit(self.slot, self.depth, key, size_of::<V::Value>())
    }

    /// Returns the sample for a leaf.
    fn sample(&mut self, leaf: TypeSchema, size: usize) -> Result<usize, Rejection> {
        let key = GraphKey { kind: NodeKind::Leaf(leaf), visitor: "", value: "" };
        let id = self.graph.visit(self.slot, self.depth, key, size)?;
        Ok(self.graph.sample(id))
    }

    /// Visits a fixed number of parts.
    fn fixed<'de, V: Visitor<'de>>(
        mut self,
        kind: NodeKind,
        n: usize,
        visitor: V,
    ) -> Result<V::Value, Rejection> {
        let id = self.node::<V>(kind)?;
        visitor.visit_seq(TracedParts::new(self.graph, id, 0, self.depth).fixed(n))
    }

    /// Visits a value of any type, for a type that expects a self-describing codec.
    fn any<'de, V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, Rejection> {
        let id = self.node::<V>(NodeKind::Any)?;
        if self.graph.probe.is_some() {
            if let Some(kind) = self.graph.probed_kind(id) {
                let made = kind.visit(visitor);
                return self.graph.answered(id, made);
            }
            if let Some(given) = self.graph.probed_entries(id) {
                return given.visit(self.graph, id, visitor);
            }
        }
        match self.graph.sample(id) {
            0 => visit_keyed(TracedParts::new(self.graph, id, 0, self.depth), visitor),
            1 => visitor.visit_u64(0),
            2 => visitor.visit_borrowed_str(""),
            3 => visitor.visit_bool(false),
            4 => visitor.visit_f64(0.0),
            5 => visitor.visit_unit(),
            _ => visitor.visit_seq(SeqDeserializer::new(std::iter::empty::<()>())),
        }
    }
}

/// Implements methods for leaves: the method, its schema, and how to visit a sample.
macro_rules! leaves {
    ($($method:ident $shape:ident [$i:ident] $visit:ident($sample:expr);)*) => {$(
        fn $method<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, Rejection> {
            let $i = self.sample(TypeSchema::$shape, size_of::<V::Value>())?;
            visitor.$visit($sample)
        }
    )*};
}

impl<'de> Deserializer<'de> for Tracer<'_> {
    type Error = Rejection;

    leaves! {
        deserialize_bool   Bool  [i] visit_bool(BOOLS[i]);
        deserialize_u8     U8    [i] visit_u8(INTS[i] as u8);
        deserialize_u16    U16   [i] visit_u16(INTS[i] as u16);
        deserialize_u32    U32   [i] visit_u32(INTS[i] as u32);
        deserialize_u64    U64   [i] visit_u64(INTS[i] as u64);
        deserialize_u128   U128  [i] visit_u128(INTS[i] as u128);
        deserialize_i8     I8    [i] visit_i8(INTS[i]);
        deserialize_i16    I16   [i] visit_i16(INTS[i].into());
        deserialize_i32    I32   [i] visit_i32(INTS[i].into());
        deserialize_i64    I64   [i] visit_i64(INTS[i].into());
        deserialize_i128   I128  [i] visit_i128(INTS[i].into());
        deserialize_f32    F32   [i] visit_f32(FLOATS[i]);
        deserialize_f64    F64   [i] visit_f64(FLOATS[i].into());
        deserialize_char   Char  [i] visit_char(CHARS[i]);
        deserialize_str    Str   [i] visit_borrowed_str(STRS[i]);
        deserialize_string Str   [i] visit_borrowed_str(STRS[i]);
        deserialize_bytes  Bytes [i] visit_borrowed_bytes(BYTES[i]);
        deserialize_byte_buf Bytes [i] visit_borrowed_bytes(BYTES[i]);
    }

    fn deserialize_unit<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, Rejection> {
        self.sample(TypeSchema::Unit, 0)?;
        visitor.visit_unit()
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Rejection> {
        self.any(visitor)
    }

    fn deserialize_identifier<V: Visitor<'de>>(
        mut self,
        visitor: V,
    ) -> Result<V::Value, Rejection> {
        let id = self.node::<V>(NodeKind::Identifier)?;
        if self.graph.is_probed_name(id) {
            let made = visitor.visit_borrowed_str(UNKNOWN_NAME);
            return self.graph.answered(id, made);
        }
        visitor.visit_u64(self.graph.nodes[id].choice as u64)
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Rejection> {
        self.any(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, Rejection> {
        let id = self.node::<V>(NodeKind::Option)?;
        if let Turn::Rest(0) = self.graph.turn(id)? {
            return visitor.visit_none();
        }
        let depth = self.depth;
        self.graph.take(id, 0, |graph| visitor.visit_some(Tracer::part(graph, id, depth)))
    }

    fn deserialize_seq<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, Rejection> {
        let id = self.node::<V>(NodeKind::Seq)?;
        let len = match self.graph.turn(id)? {
            Turn::Explore(_) => 1,
            Turn::Rest(choice) => LENGTHS[choice],
        };
        if len == 0 {
            return visitor.visit_seq(TracedParts::new(self.graph, id, 0, self.depth));
        }
        let depth = self.depth;
        self.graph.take(id, 0, |graph| {
            visitor.visit_seq(TracedParts::new(graph, id, 0, depth).repeated(len))
        })
    }

    fn deserialize_map<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, Rejection> {
        let id = self.node::<V>(NodeKind::Map)?;
        if !self.graph.nodes[id].branches[0].keys.is_empty() {
            return visit_keyed(TracedParts::new(self.graph, id, 0, self.depth), visitor);
        }
        if let Turn::Rest(0) = self.graph.turn(id)? {
            let made = visitor.visit_map(TracedParts::new(self.graph, id, 0, self.depth));
            return self.graph.missed(id, made);
        }
        let depth = self.depth;
        self.graph.take(id, 0, |graph| {
            let made = visitor.visit_map(TracedParts::new(graph, id, 0, depth).repeated(1));
            graph.missed(id, made)
        })
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        mut self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Rejection> {
        self.node::<V>(NodeKind::UnitStruct(name))?;
        visitor.visit_unit()
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        mut self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Rejection> {
        let id = self.node::<V>(NodeKind::Newtype(name))?;
        visitor.visit_newtype_struct(Tracer::part(self.graph, id, self.depth))
    }

    fn deserialize_tuple<V: Visitor<'de>>(
        self,
        len: usize,
        visitor: V,
    ) -> Result<V::Value, Rejection> {
        self.fixed(NodeKind::Tuple(len), len, visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        len: usize,
        visitor: V,
    ) -> Result<V::Value, Rejection> {
        self.fixed(NodeKind::TupleStruct(name, len), len, visitor)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        mut self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Rejection> {
        let id = self.node::<V>(NodeKind::Struct(name, fields))?;
        visit_fields(TracedParts::new(self.graph, id, 0, self.depth), fields, visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        mut self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Rejection> {
        let id = self.node::<V>(NodeKind::Enum(name, variants))?;
        let (Turn::Explore(branch) | Turn::Rest(branch)) = self.graph.turn(id)?;
        let depth = self.depth;
        self.graph.take(id, branch, |graph| {
            visitor.visit_enum(TracedParts::new(graph, id, branch, depth))
        })
    }

    fn is_human_readable(&self) -> bool {
        self.graph.human
    }
}
