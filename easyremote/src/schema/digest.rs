//! A value as its `Serialize` writes it: a hash to compare values, and the enum variants in it.
//!
//! Values that serialize alike have equal digests. Sequences and maps are compared without their
//! order, because the order of a hash set of the same elements differs.

use std::fmt;

use serde::ser::{self, Serialize, Serializer};
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// Returns the digest of `value`, serialized as for a human-readable format if `human`.
///
/// It is a part of the wire contract: equal in every process and build.
///
/// # Errors
/// The error of the value's `Serialize`.
pub(crate) fn digest<T: Serialize + ?Sized>(value: &T, human: bool) -> Result<u64, Complaint> {
    value.serialize(&mut Digester { human, variants: None })
}

/// Adds each variant that occurs in `value` to `variants`: its enum, its number and its name.
///
/// # Errors
/// The error of the value's `Serialize`.
pub(crate) fn find_variants<T: Serialize + ?Sized>(
    value: &T,
    human: bool,
    variants: &mut Vec<SeenVariant>,
) -> Result<(), Complaint> {
    value.serialize(&mut Digester { human, variants: Some(variants) }).map(drop)
}

/// The name of an enum, and the number and name of one of its variants.
pub(crate) type SeenVariant = (&'static str, u32, &'static str);

/// The error of a `Serialize`.
#[derive(Debug)]
pub(crate) struct Complaint(pub(crate) String);

impl ser::Error for Complaint {
    fn custom<T: fmt::Display>(text: T) -> Self {
        Self(text.to_string())
    }
}

impl std::error::Error for Complaint {}

impl fmt::Display for Complaint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The type of a serialized part, so that a `u8` and a `u16` of one number have different digests.
#[derive(Clone, Copy)]
#[repr(u64)]
enum DigestKind {
    Bool = 1,
    I8,
    I16,
    I32,
    I64,
    I128,
    U8,
    U16,
    U32,
    U64,
    U128,
    F32,
    F64,
    Char,
    Str,
    Bytes,
    None,
    Some,
    Unit,
    UnitStruct,
    Newtype,
    Variant,
    Seq,
    Tuple,
    Map,
    Struct,
}

/// Mixes two numbers, as wyhash does: the two halves of their product.
fn mix(a: u64, b: u64) -> u64 {
    let product = u128::from(a ^ 0x9e37_79b9_7f4a_7c15) * u128::from(b ^ 0xd1b5_4a32_d192_ed03);
    (product >> 64) as u64 ^ product as u64
}

fn leaf(kind: DigestKind, bits: u64) -> u64 {
    mix(bits, kind as u64)
}

fn wide(kind: DigestKind, bits: u128) -> u64 {
    mix(leaf(kind, bits as u64), (bits >> 64) as u64)
}

fn text(kind: DigestKind, bytes: &[u8]) -> u64 {
    xxh3_64_with_seed(bytes, kind as u64)
}

fn variant(name: &str, content: u64) -> u64 {
    mix(leaf(DigestKind::Variant, text(DigestKind::Str, name.as_bytes())), content)
}

/// A serializer that computes the digest.
struct Digester<'a> {
    human: bool,
    variants: Option<&'a mut Vec<SeenVariant>>,
}

impl Digester<'_> {
    fn saw(&mut self, variant: SeenVariant) {
        if let Some(variants) = &mut self.variants {
            variants.push(variant);
        }
    }
}

/// The digest of the parts of a value.
struct DigestParts<'d, 'a> {
    digester: &'d mut Digester<'a>,
    kind: DigestKind,
    /// The variant that the parts belong to.
    variant: Option<&'static str>,
    n: u64,
    sum: u64,
    /// The digest of the key whose value comes next.
    key: u64,
}

impl<'d, 'a> DigestParts<'d, 'a> {
    fn new(
        digester: &'d mut Digester<'a>,
        kind: DigestKind,
        variant: Option<&'static str>,
    ) -> Self {
        Self { digester, kind, variant, n: 0, sum: 0, key: 0 }
    }

    fn digest<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<u64, Complaint> {
        value.serialize(&mut *self.digester)
    }

    /// Adds a part whose position counts.
    fn ordered<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Complaint> {
        self.sum = mix(self.sum, self.digest(value)?);
        self.n += 1;
        Ok(())
    }

    /// Adds a part by its key.
    fn keyed<T: Serialize + ?Sized>(&mut self, key: u64, value: &T) -> Result<(), Complaint> {
        self.sum = self.sum.wrapping_add(mix(key, self.digest(value)?));
        self.n += 1;
        Ok(())
    }

    fn finish(self) -> u64 {
        let content = mix(leaf(self.kind, self.n), self.sum);
        self.variant.map_or(content, |name| variant(name, content))
    }
}

/// Serializes numbers by their bits.
macro_rules! leaves {
    ($($method:ident($ty:ty) => $kind:ident;)*) => {$(
        fn $method(self, value: $ty) -> Result<u64, Complaint> {
            Ok(leaf(DigestKind::$kind, value as u64))
        }
    )*};
}

impl<'d, 'a> Serializer for &'d mut Digester<'a> {
    type Ok = u64;
    type Error = Complaint;
    type SerializeSeq = DigestParts<'d, 'a>;
    type SerializeTuple = DigestParts<'d, 'a>;
    type SerializeTupleStruct = DigestParts<'d, 'a>;
    type SerializeTupleVariant = DigestParts<'d, 'a>;
    type SerializeMap = DigestParts<'d, 'a>;
    type SerializeStruct = DigestParts<'d, 'a>;
    type SerializeStructVariant = DigestParts<'d, 'a>;

    leaves! {
        serialize_bool(bool) => Bool;
        serialize_i8(i8) => I8;
        serialize_i16(i16) => I16;
        serialize_i32(i32) => I32;
        serialize_i64(i64) => I64;
        serialize_u8(u8) => U8;
        serialize_u16(u16) => U16;
        serialize_u32(u32) => U32;
        serialize_u64(u64) => U64;
        serialize_char(char) => Char;
    }

    fn serialize_i128(self, value: i128) -> Result<u64, Complaint> {
        Ok(wide(DigestKind::I128, value as u128))
    }

    fn serialize_u128(self, value: u128) -> Result<u64, Complaint> {
        Ok(wide(DigestKind::U128, value))
    }

    fn serialize_f32(self, value: f32) -> Result<u64, Complaint> {
        // Formats need not preserve the bits of a NaN.
        let value = if value.is_nan() { f32::NAN } else { value };
        Ok(leaf(DigestKind::F32, value.to_bits().into()))
    }

    fn serialize_f64(self, value: f64) -> Result<u64, Complaint> {
        let value = if value.is_nan() { f64::NAN } else { value };
        Ok(leaf(DigestKind::F64, value.to_bits()))
    }

    fn serialize_str(self, value: &str) -> Result<u64, Complaint> {
        Ok(text(DigestKind::Str, value.as_bytes()))
    }

    fn serialize_bytes(self, value: &[u8]) -> Result<u64, Complaint> {
        Ok(text(DigestKind::Bytes, value))
    }

    fn serialize_none(self) -> Result<u64, Complaint> {
        Ok(leaf(DigestKind::None, 0))
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<u64, Complaint> {
        Ok(leaf(DigestKind::Some, value.serialize(self)?))
    }

    fn serialize_unit(self) -> Result<u64, Complaint> {
        Ok(leaf(DigestKind::Unit, 0))
    }

    fn serialize_unit_struct(self, _: &'static str) -> Result<u64, Complaint> {
        Ok(leaf(DigestKind::UnitStruct, 0))
    }

    fn serialize_unit_variant(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
    ) -> Result<u64, Complaint> {
        self.saw((name, index, variant));
        Ok(self::variant(variant, 0))
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        value: &T,
    ) -> Result<u64, Complaint> {
        Ok(leaf(DigestKind::Newtype, value.serialize(self)?))
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<u64, Complaint> {
        self.saw((name, index, variant));
        Ok(self::variant(variant, leaf(DigestKind::Newtype, value.serialize(self)?)))
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<DigestParts<'d, 'a>, Complaint> {
        Ok(DigestParts::new(self, DigestKind::Seq, None))
    }

    fn serialize_tuple(self, _: usize) -> Result<DigestParts<'d, 'a>, Complaint> {
        Ok(DigestParts::new(self, DigestKind::Tuple, None))
    }

    fn serialize_tuple_struct(
        self,
        _: &'static str,
        _: usize,
    ) -> Result<DigestParts<'d, 'a>, Complaint> {
        Ok(DigestParts::new(self, DigestKind::Tuple, None))
    }

    fn serialize_tuple_variant(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<DigestParts<'d, 'a>, Complaint> {
        self.saw((name, index, variant));
        Ok(DigestParts::new(self, DigestKind::Tuple, Some(variant)))
    }

    fn serialize_map(self, _: Option<usize>) -> Result<DigestParts<'d, 'a>, Complaint> {
        Ok(DigestParts::new(self, DigestKind::Map, None))
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<DigestParts<'d, 'a>, Complaint> {
        Ok(DigestParts::new(self, DigestKind::Struct, None))
    }

    fn serialize_struct_variant(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<DigestParts<'d, 'a>, Complaint> {
        self.saw((name, index, variant));
        Ok(DigestParts::new(self, DigestKind::Struct, Some(variant)))
    }

    fn is_human_readable(&self) -> bool {
        self.human
    }
}

impl ser::SerializeSeq for DigestParts<'_, '_> {
    type Ok = u64;
    type Error = Complaint;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Complaint> {
        self.keyed(0, value)
    }

    fn end(self) -> Result<u64, Complaint> {
        Ok(self.finish())
    }
}

impl ser::SerializeMap for DigestParts<'_, '_> {
    type Ok = u64;
    type Error = Complaint;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), Complaint> {
        self.key = self.digest(key)?;
        Ok(())
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Complaint> {
        self.keyed(self.key, value)
    }

    fn end(self) -> Result<u64, Complaint> {
        Ok(self.finish())
    }
}

/// Implements the accesses to numbered parts.
macro_rules! ordered {
    ($($access:ident::$method:ident)*) => {$(
        impl ser::$access for DigestParts<'_, '_> {
            type Ok = u64;
            type Error = Complaint;

            fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Complaint> {
                self.ordered(value)
            }

            fn end(self) -> Result<u64, Complaint> {
                Ok(self.finish())
            }
        }
    )*};
}

ordered! {
    SerializeTuple::serialize_element
    SerializeTupleStruct::serialize_field
    SerializeTupleVariant::serialize_field
}

/// Implements the accesses to named parts. A field that is left out does not count.
macro_rules! named {
    ($($access:ident)*) => {$(
        impl ser::$access for DigestParts<'_, '_> {
            type Ok = u64;
            type Error = Complaint;

            fn serialize_field<T: Serialize + ?Sized>(
                &mut self,
                name: &'static str,
                value: &T,
            ) -> Result<(), Complaint> {
                self.keyed(text(DigestKind::Str, name.as_bytes()), value)
            }

            fn end(self) -> Result<u64, Complaint> {
                Ok(self.finish())
            }
        }
    )*};
}

named! { SerializeStruct SerializeStructVariant }
