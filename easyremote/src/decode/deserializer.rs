//! The wrapper around a deserializer, and around its seeds, visitors and accesses.

use std::fmt;

use serde::de::{Deserializer, EnumAccess, Error, MapAccess, SeqAccess, Visitor};

use super::budget::Budget;
use super::elements::Elements;

/// A deserializer, or a seed, visitor or access of one, that charges a [`Budget`].
///
/// Forwards every call unchanged, with two exceptions:
///
/// - Size hints of sequences and maps are capped by the budget that is left.
/// - A request for an owned string or buffer is forwarded to `deserialize_str` and
///   `deserialize_bytes`. For the owned variants bincode would allocate the length that the message
///   announces, before it checks how many bytes there are.
///
/// Charges
///
/// - one element for each element of a sequence and each entry of a map, unless the type fixes
///   their number (tuples, structs);
/// - the size of the value for each of these, and for a value that is larger than its place, which
///   must be in a `Box` or similar;
/// - the length of strings and byte buffers, even if the type borrows them, because that is known
///   only when it is too late;
/// - one level for each type with parts. A variant has the level of its enum.
pub(crate) struct Bounded<'b, T> {
    /// The wrapped deserializer, seed, visitor or access.
    pub(crate) inner: T,
    /// The budget that is charged.
    pub(crate) budget: &'b mut Budget,
    /// The position in the message.
    pub(crate) place: DecodePosition,
}

/// A position in the message.
#[derive(Clone, Copy)]
pub(crate) struct DecodePosition {
    /// Levels of nesting that are left.
    pub(crate) depth: u32,
    /// Bytes of memory that have been charged for the value.
    pub(crate) room: usize,
    /// Whether the type fixes the number of elements.
    pub(crate) fixed: bool,
}

impl<'b, D> Bounded<'b, D> {
    /// Wraps a deserializer of a whole message, or of one value in it.
    pub(crate) fn new(inner: D, budget: &'b mut Budget) -> Self {
        let place = DecodePosition { depth: budget.depth, room: 0, fixed: false };
        Self { inner, budget, place }
    }

    /// Unwraps the deserializer, and wraps the visitor; `fixed` as in [`DecodePosition`].
    #[inline]
    fn visitor<'de, V: Visitor<'de>>(
        self,
        visitor: V,
        fixed: bool,
    ) -> Result<(D, Bounded<'b, V>), D::Error>
    where
        D: Deserializer<'de>,
    {
        let size = size_of::<V::Value>();
        let mut place = DecodePosition { fixed, ..self.place };
        if size > place.room {
            self.budget.charge_memory(size)?;
            place.room = size;
        }
        Ok((self.inner, Bounded { inner: visitor, budget: self.budget, place }))
    }
}

impl<'b, T> Bounded<'b, T> {
    /// Unwraps the access to a variant, and wraps the visitor of its fields.
    #[inline]
    pub(crate) fn payload<V>(self, inner: V) -> (T, Bounded<'b, V>) {
        // The fields have the level of the enum, which the visitor is about to enter once more.
        let place = DecodePosition { depth: self.place.depth + 1, ..self.place };
        (self.inner, Bounded { inner, budget: self.budget, place })
    }

    /// Returns the position one level deeper.
    #[inline]
    fn inside<E: Error>(&self) -> Result<DecodePosition, E> {
        match self.place.depth.checked_sub(1) {
            Some(depth) => Ok(DecodePosition { depth, ..self.place }),
            None => Err(self.budget.too_deep()),
        }
    }

    /// Returns the size hint for a type, from the hint of the format.
    pub(crate) fn hint(&self, hint: Option<usize>) -> Option<usize> {
        if self.place.fixed {
            return hint;
        }
        // Collections reserve up to 1 MiB each for the hint. Nested sequences could multiply that,
        // so the hint is halved with each level.
        let level = self.budget.depth - self.place.depth;
        let cap = MAX_HINT.checked_shr(level).unwrap_or(0);
        let left = usize::try_from(self.budget.elements_left).unwrap_or(usize::MAX);
        hint.map(|hint| hint.min(cap).min(left))
    }
}

/// Forwards methods that visit a value without parts.
macro_rules! plain {
    ($($method:ident)*) => {$(
        #[inline]
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
            self.inner.$method(visitor)
        }
    )*};
}

/// Forwards methods that may visit a value with parts: `method => method of inner, fixed`.
macro_rules! bounded {
    ($($method:ident($($arg:ident: $ty:ty),*) => $inner:ident, $fixed:literal;)*) => {$(
        #[inline]
        fn $method<V: Visitor<'de>>(
            self,
            $($arg: $ty,)*
            visitor: V,
        ) -> Result<V::Value, D::Error> {
            let (inner, visitor) = self.visitor(visitor, $fixed)?;
            inner.$inner($($arg,)* visitor)
        }
    )*};
}

impl<'de, D: Deserializer<'de>> Deserializer<'de> for Bounded<'_, D> {
    type Error = D::Error;

    plain! {
        deserialize_bool
        deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64 deserialize_u128
        deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 deserialize_i128
        deserialize_f32 deserialize_f64 deserialize_char
        deserialize_unit deserialize_identifier
    }

    bounded! {
        deserialize_any() => deserialize_any, false;
        deserialize_ignored_any() => deserialize_ignored_any, false;
        deserialize_str() => deserialize_str, false;
        deserialize_string() => deserialize_str, false;
        deserialize_bytes() => deserialize_bytes, false;
        deserialize_byte_buf() => deserialize_bytes, false;
        deserialize_option() => deserialize_option, false;
        deserialize_seq() => deserialize_seq, false;
        deserialize_map() => deserialize_map, false;
        deserialize_unit_struct(name: &'static str) => deserialize_unit_struct, true;
        deserialize_newtype_struct(name: &'static str) => deserialize_newtype_struct, false;
        deserialize_tuple(len: usize) => deserialize_tuple, true;
        deserialize_tuple_struct(name: &'static str, len: usize)
            => deserialize_tuple_struct, true;
        deserialize_struct(name: &'static str, fields: &'static [&'static str])
            => deserialize_struct, true;
        deserialize_enum(name: &'static str, variants: &'static [&'static str])
            => deserialize_enum, true;
    }

    #[inline]
    fn is_human_readable(&self) -> bool {
        self.inner.is_human_readable()
    }
}

/// Forwards visits of values without parts.
macro_rules! visits {
    ($($method:ident($ty:ty))*) => {$(
        #[inline]
        fn $method<E: Error>(self, value: $ty) -> Result<V::Value, E> {
            self.inner.$method(value)
        }
    )*};
}

/// Forwards visits of strings and byte buffers.
macro_rules! sized_visits {
    ($($method:ident($ty:ty))*) => {$(
        #[inline]
        fn $method<E: Error>(self, value: $ty) -> Result<V::Value, E> {
            self.budget.charge_memory(value.len())?;
            self.inner.$method(value)
        }
    )*};
}

impl<'de, V: Visitor<'de>> Visitor<'de> for Bounded<'_, V> {
    type Value = V::Value;

    visits! {
        visit_bool(bool)
        visit_u8(u8) visit_u16(u16) visit_u32(u32) visit_u64(u64) visit_u128(u128)
        visit_i8(i8) visit_i16(i16) visit_i32(i32) visit_i64(i64) visit_i128(i128)
        visit_f32(f32) visit_f64(f64) visit_char(char)
    }

    sized_visits! {
        visit_str(&str) visit_borrowed_str(&'de str) visit_string(String)
        visit_bytes(&[u8]) visit_borrowed_bytes(&'de [u8]) visit_byte_buf(Vec<u8>)
    }

    #[inline]
    fn visit_unit<E: Error>(self) -> Result<V::Value, E> {
        self.inner.visit_unit()
    }

    #[inline]
    fn visit_none<E: Error>(self) -> Result<V::Value, E> {
        self.inner.visit_none()
    }

    #[inline]
    fn visit_some<D: Deserializer<'de>>(self, inner: D) -> Result<V::Value, D::Error> {
        let place = self.inside()?;
        self.inner.visit_some(Bounded { inner, budget: self.budget, place })
    }

    #[inline]
    fn visit_newtype_struct<D: Deserializer<'de>>(self, inner: D) -> Result<V::Value, D::Error> {
        let place = self.inside()?;
        self.inner.visit_newtype_struct(Bounded { inner, budget: self.budget, place })
    }

    #[inline]
    fn visit_seq<A: SeqAccess<'de>>(self, access: A) -> Result<V::Value, A::Error> {
        let place = self.inside()?;
        let inner = Elements::new(access, place.fixed);
        self.inner.visit_seq(Bounded { inner, budget: self.budget, place })
    }

    #[inline]
    fn visit_map<A: MapAccess<'de>>(self, access: A) -> Result<V::Value, A::Error> {
        let place = self.inside()?;
        let inner = Elements::new(access, place.fixed);
        self.inner.visit_map(Bounded { inner, budget: self.budget, place })
    }

    #[inline]
    fn visit_enum<A: EnumAccess<'de>>(self, inner: A) -> Result<V::Value, A::Error> {
        let place = self.inside()?;
        self.inner.visit_enum(Bounded { inner, budget: self.budget, place })
    }

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.expecting(f)
    }
}

/// Largest size hint, for the outermost collection. A collection reserves at most 1 MiB for it, and
/// from the 20th level on the hint is 0.
const MAX_HINT: usize = 1 << 20;
