//! Deserialization by name that leaves out nothing unnoticed.
//!
//! serde skips the fields that a struct does not know, and rounds a number that a float cannot hold.
//! [`Strict`] wraps a deserializer and notes the first, or makes an error of it, and refuses the
//! second. It also notes where it is, so that an error can name the field.
//!
//! What serde buffers (`flatten`, `tag`, `untagged`) is read without a deserializer of the codec, so
//! that nothing can be noted there. [`Notes::is_buffered`] says whether that was so.

#[macro_use]
mod visits;

mod access;
mod key;

use std::fmt::{self, Write};

use serde::de::value::SeqDeserializer;
use serde::de::{Deserializer, EnumAccess, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use self::access::{Entries, Items, Variants};

/// What was noted while a value was decoded.
#[derive(Debug, Default)]
pub(crate) struct Notes {
    /// Whether unknown fields are counted, and are no error.
    lossy: bool,
    left_out: u64,
    buffered: bool,
    /// Where the deserializer is, or was when it failed.
    path: Vec<PathStep>,
}

/// One step to a part of a value.
#[derive(Debug)]
enum PathStep {
    Field(String),
    Index(usize),
}

impl Notes {
    /// Creates notes of a value; `lossy` if unknown fields are to be left out.
    pub(crate) fn new(lossy: bool) -> Self {
        Self { lossy, ..Self::default() }
    }

    /// Returns the number of unknown fields that were left out.
    pub(crate) fn left_out(&self) -> u64 {
        self.left_out
    }

    /// Returns whether serde may have buffered a value, in which unknown fields are not noted.
    pub(crate) fn is_buffered(&self) -> bool {
        self.buffered
    }

    /// Adds to an error where it has occurred.
    pub(crate) fn locate(&self, error: String) -> String {
        let mut path = String::new();
        for step in &self.path {
            // Writing to a string cannot fail.
            let _ = match step {
                PathStep::Field(name) if path.is_empty() => write!(path, "{name}"),
                PathStep::Field(name) => write!(path, ".{name}"),
                PathStep::Index(index) => write!(path, "[{index}]"),
            };
        }
        if path.is_empty() { error } else { format!("at `{path}`: {error}") }
    }

    /// Notes a field that the type does not know.
    fn unknown<E: Error>(&mut self) -> Result<(), E> {
        self.left_out += 1;
        if self.lossy {
            return Ok(());
        }
        let name = self.path.iter().rev().find_map(|step| match step {
            PathStep::Field(name) => Some(name.as_str()),
            PathStep::Index(_) => None,
        });
        Err(E::custom(unknown_field(name.unwrap_or_default())))
    }
}

/// Returns the error of a field that is not known.
pub(crate) fn unknown_field(name: &str) -> String {
    format!("the field `{name}` is unknown here")
}

/// A deserializer, visitor, access or seed that notes what is left out.
#[derive(Debug)]
pub(crate) struct Strict<'n, T> {
    inner: T,
    notes: &'n mut Notes,
}

impl<'n, T> Strict<'n, T> {
    /// Wraps a deserializer.
    pub(crate) fn new(inner: T, notes: &'n mut Notes) -> Self {
        Self { inner, notes }
    }
}

/// Forwards methods, with the visitor wrapped.
macro_rules! wrapped {
    ($($method:ident($($arg:ident: $ty:ty),*))*) => {$(
        fn $method<V: Visitor<'de>>(self, $($arg: $ty,)* visitor: V) -> Result<V::Value, D::Error> {
            let Self { inner, notes } = self;
            inner.$method($($arg,)* Strict { inner: visitor, notes })
        }
    )*};
}

impl<'de, D: Deserializer<'de>> Deserializer<'de> for Strict<'_, D> {
    type Error = D::Error;

    wrapped! {
        deserialize_bool()
        deserialize_u8() deserialize_u16() deserialize_u32() deserialize_u64()
        deserialize_i8() deserialize_i16() deserialize_i32() deserialize_i64()
        deserialize_char() deserialize_str() deserialize_string()
        deserialize_bytes() deserialize_byte_buf()
        deserialize_option() deserialize_unit() deserialize_identifier() deserialize_map()
        deserialize_unit_struct(name: &'static str)
        deserialize_newtype_struct(name: &'static str)
        deserialize_struct(name: &'static str, fields: &'static [&'static str])
        deserialize_enum(name: &'static str, variants: &'static [&'static str])
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        let Self { inner, notes } = self;
        notes.buffered = true;
        inner.deserialize_any(Strict { inner: visitor, notes })
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        // A field that is `None` has nothing that could be lost.
        if !self.inner.deserialize_any(IsNothing)? {
            self.notes.unknown()?;
        }
        visitor.visit_unit()
    }

    fn deserialize_u128<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.inner.deserialize_any(LongInteger { inner: visitor, signed: false })
    }

    fn deserialize_i128<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.inner.deserialize_any(LongInteger { inner: visitor, signed: true })
    }

    fn deserialize_f32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.inner.deserialize_f32(Exact { inner: visitor, narrow: true })
    }

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.inner.deserialize_f64(Exact { inner: visitor, narrow: false })
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        let Self { inner, notes } = self;
        inner.deserialize_seq(ListOrBytes(Strict { inner: visitor, notes }))
    }

    fn deserialize_tuple<V: Visitor<'de>>(
        self,
        len: usize,
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        let Self { inner, notes } = self;
        inner.deserialize_tuple(len, ListOrBytes(Strict { inner: visitor, notes }))
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        len: usize,
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        let Self { inner, notes } = self;
        inner.deserialize_tuple_struct(name, len, ListOrBytes(Strict { inner: visitor, notes }))
    }

    fn is_human_readable(&self) -> bool {
        self.inner.is_human_readable()
    }
}

impl<'de, V: Visitor<'de>> Visitor<'de> for Strict<'_, V> {
    type Value = V::Value;

    visits_numbers!(inner);
    visits_texts!(inner);
    visits! { inner: visit_bytes(&[u8]) }

    fn visit_some<D: Deserializer<'de>>(self, inner: D) -> Result<V::Value, D::Error> {
        self.inner.visit_some(Strict { inner, notes: self.notes })
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, inner: D) -> Result<V::Value, D::Error> {
        self.inner.visit_newtype_struct(Strict { inner, notes: self.notes })
    }

    fn visit_seq<A: SeqAccess<'de>>(self, access: A) -> Result<V::Value, A::Error> {
        let inner = Items { access, next: 0 };
        self.inner.visit_seq(Strict { inner, notes: self.notes })
    }

    fn visit_map<A: MapAccess<'de>>(self, access: A) -> Result<V::Value, A::Error> {
        let inner = Entries { access, key: String::new() };
        self.inner.visit_map(Strict { inner, notes: self.notes })
    }

    fn visit_enum<A: EnumAccess<'de>>(self, access: A) -> Result<V::Value, A::Error> {
        self.inner.visit_enum(Strict { inner: Variants(access), notes: self.notes })
    }
}

/// Reads bytes as a list of numbers, which is what they were before or after a change of the type.
struct ListOrBytes<'n, V>(Strict<'n, V>);

impl<'de, V: Visitor<'de>> Visitor<'de> for ListOrBytes<'_, V> {
    type Value = V::Value;

    visits_numbers!(0);
    visits_parts!(0);
    visits! { 0: visit_str(&str) visit_borrowed_str(&'de str) visit_string(String) }

    fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<V::Value, E> {
        self.0.visit_seq(SeqDeserializer::<_, E>::new(bytes.iter().copied()))
    }

    fn visit_unit<E: Error>(self) -> Result<V::Value, E> {
        self.0.visit_unit()
    }

    fn visit_none<E: Error>(self) -> Result<V::Value, E> {
        self.0.visit_none()
    }

    fn visit_map<A: MapAccess<'de>>(self, access: A) -> Result<V::Value, A::Error> {
        self.0.visit_map(access)
    }

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.expecting(f)
    }
}

/// Reads an integer of 128 bits, which MessagePack has as 16 bytes, from a shorter one too. Left to
/// itself, the codec reads a negative number as a large one.
struct LongInteger<V> {
    inner: V,
    signed: bool,
}

impl<'de, V: Visitor<'de>> Visitor<'de> for LongInteger<V> {
    type Value = V::Value;

    fn visit_u64<E: Error>(self, value: u64) -> Result<V::Value, E> {
        match self.signed {
            true => self.inner.visit_i128(value.into()),
            false => self.inner.visit_u128(value.into()),
        }
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<V::Value, E> {
        match (self.signed, u128::try_from(value)) {
            (true, _) => self.inner.visit_i128(value.into()),
            (false, Ok(value)) => self.inner.visit_u128(value),
            (false, Err(_)) => Err(E::custom(format_args!("{value} is negative"))),
        }
    }

    fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<V::Value, E> {
        let digits =
            <[u8; 16]>::try_from(bytes).map_err(|_| E::invalid_length(bytes.len(), &self))?;
        match self.signed {
            true => self.inner.visit_i128(i128::from_be_bytes(digits)),
            false => self.inner.visit_u128(u128::from_be_bytes(digits)),
        }
    }

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.expecting(f)
    }
}

/// Refuses numbers that the float would round.
struct Exact<V> {
    inner: V,
    /// Whether the float has 32 bits.
    narrow: bool,
}

impl<V> Exact<V> {
    fn check<E: Error>(&self, exact: bool, value: impl fmt::Display) -> Result<(), E> {
        let bits = if self.narrow { 32 } else { 64 };
        let refused = || E::custom(format_args!("{value} has no exact form as a {bits}-bit float"));
        if exact { Ok(()) } else { Err(refused()) }
    }

    /// Returns `value` rounded to the float.
    fn rounded(&self, value: f64) -> f64 {
        if self.narrow { f64::from(value as f32) } else { value }
    }
}

impl<'de, V: Visitor<'de>> Visitor<'de> for Exact<V> {
    type Value = V::Value;

    visits_texts!(inner);
    visits_parts!(inner);
    visits! { inner: visit_bool(bool) visit_f32(f32) visit_bytes(&[u8]) visit_char(char) }

    fn visit_f64<E: Error>(self, value: f64) -> Result<V::Value, E> {
        let rounded = self.rounded(value);
        self.check(value.is_nan() || rounded == value, value)?;
        self.inner.visit_f64(value)
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<V::Value, E> {
        let rounded = self.rounded(value as f64);
        self.check(rounded as i128 == i128::from(value), value)?;
        self.inner.visit_u64(value)
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<V::Value, E> {
        let rounded = self.rounded(value as f64);
        self.check(rounded as i128 == i128::from(value), value)?;
        self.inner.visit_i64(value)
    }
}

/// Reads a value that is not kept, and returns whether it is nothing.
struct IsNothing;

impl<'de> Visitor<'de> for IsNothing {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_unit<E>(self) -> Result<bool, E> {
        Ok(true)
    }

    fn visit_none<E>(self) -> Result<bool, E> {
        Ok(true)
    }

    fn visit_bool<E>(self, _: bool) -> Result<bool, E> {
        Ok(false)
    }

    fn visit_i64<E>(self, _: i64) -> Result<bool, E> {
        Ok(false)
    }

    fn visit_u64<E>(self, _: u64) -> Result<bool, E> {
        Ok(false)
    }

    fn visit_f64<E>(self, _: f64) -> Result<bool, E> {
        Ok(false)
    }

    fn visit_str<E>(self, _: &str) -> Result<bool, E> {
        Ok(false)
    }

    fn visit_bytes<E>(self, _: &[u8]) -> Result<bool, E> {
        Ok(false)
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, inner: D) -> Result<bool, D::Error> {
        inner.deserialize_ignored_any(IgnoredAny).map(|_| false)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<bool, A::Error> {
        while access.next_element::<IgnoredAny>()?.is_some() {}
        Ok(false)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<bool, A::Error> {
        while access.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(false)
    }
}
