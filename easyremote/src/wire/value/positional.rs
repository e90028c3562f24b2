//! Values by position: bincode, under a serializer that compares each value with its traced type.
//!
//! bincode writes what `Serialize` emits, reads what `Deserialize` requests, and cannot detect when
//! the two differ. So every call of a `Serialize` is compared with the type's [`Layout`]: a field
//! that is left out, another width, another number of parts or another variant is an error.

mod parts;

use std::cell::Cell;

use serde::ser::{Error, Serialize, Serializer};

use self::parts::CheckedParts;
use crate::decode::DecodeCost;
use crate::schema::{Layout, PlaceKind, TypeSchema, VariantContent};
use crate::wire::codec::to_bincode;

/// Appends `value`, whose type has this `layout`, and adds what decoding it takes to `cost`.
///
/// # Errors
/// The error of its `Serialize`, or where it differs from the layout.
pub(super) fn put<T: Serialize>(
    layout: &Layout,
    value: &T,
    out: &mut Vec<u8>,
    cost: &mut DecodeCost,
) -> Result<(), String> {
    let follow = Follow { layout, cost: Cell::new(*cost) };
    let written = to_bincode(&Fitting { value, follow: &follow, place: layout.root, room: 0 }, out);
    *cost = follow.cost.get();
    written
}

/// The layout that a value is compared with while it is written, and what decoding it takes so far.
struct Follow<'l> {
    layout: &'l Layout,
    /// What decoding takes, of all that has been written.
    cost: Cell<DecodeCost>,
}

impl Follow<'_> {
    #[inline]
    fn charge(&self, elements: usize, memory: usize) {
        let mut cost = self.cost.get();
        cost.add(elements, memory);
        self.cost.set(cost);
    }
}

/// A value with the place that it must match.
struct Fitting<'a, T: ?Sized> {
    value: &'a T,
    follow: &'a Follow<'a>,
    place: usize,
    /// Bytes of memory that have been charged for it.
    room: usize,
}

impl<T: Serialize + ?Sized> Serialize for Fitting<'_, T> {
    #[inline]
    fn serialize<S: Serializer>(&self, inner: S) -> Result<S::Ok, S::Error> {
        let Self { value, follow, place, room } = *self;
        value.serialize(Checked { inner, follow, place, room })
    }
}

/// A serializer for the value at one place.
struct Checked<'a, S> {
    inner: S,
    follow: &'a Follow<'a>,
    place: usize,
    room: usize,
}

impl<'a, S: Serializer> Checked<'a, S> {
    /// Returns the kind of the place, looking through newtypes.
    #[inline]
    fn kind(&self) -> &'a PlaceKind {
        let places = &self.follow.layout.places;
        let mut kind = &places[self.place].kind;
        while let PlaceKind::Newtype(inner) = kind {
            kind = &places[*inner].kind;
        }
        kind
    }

    /// Charges the memory of a value that is not stored inside the value around it.
    #[inline]
    fn enter(&mut self) {
        let size = self.follow.layout.places[self.place].size;
        if size > self.room {
            self.follow.charge(0, size);
            self.room = size;
        }
    }

    /// Checks that the place is this leaf.
    #[inline]
    fn leaf(&self, leaf: &TypeSchema) -> Result<(), S::Error> {
        match self.kind() {
            PlaceKind::Leaf(expected) if expected == leaf => Ok(()),
            _ => Err(self.differs(&format!("`{leaf}`"))),
        }
    }

    /// Returns the error of a `Serialize` that differs from the place.
    #[cold]
    #[inline(never)]
    fn differs(&self, given: &str) -> S::Error {
        let expected = match self.kind() {
            PlaceKind::Leaf(leaf) => format!("`{leaf}`"),
            PlaceKind::Option(_) => "an option".to_owned(),
            PlaceKind::Seq(_) => "a sequence".to_owned(),
            PlaceKind::Map(..) => "a map".to_owned(),
            PlaceKind::Newtype(_) => "a newtype".to_owned(),
            PlaceKind::Tuple(parts) => format!("a tuple of {}", parts.len()),
            PlaceKind::Struct(name, fields) => {
                format!("the {} fields of the struct `{name}`", fields.len())
            }
            PlaceKind::Enum(name, _) => format!("a variant of the enum `{name}`"),
        };
        S::Error::custom(format!(
            "its `Serialize` writes {given} where its `Deserialize` reads {expected}"
        ))
    }

    /// Returns the inner serializer with checks of the parts.
    fn parts<P>(
        self,
        places: CheckedPlaces<'a>,
        begin: impl FnOnce(S) -> Result<P, S::Error>,
    ) -> Result<CheckedParts<'a, P>, S::Error> {
        let follow = self.follow;
        Ok(CheckedParts::new(begin(self.inner)?, follow, places))
    }

    /// Returns the content of variant `index`, which is called `name`.
    fn variant(&mut self, index: u32, name: &str) -> Result<&'a VariantContent, S::Error> {
        self.enter();
        let given = || format!("the variant `{name}` with number {index}");
        let PlaceKind::Enum(_, variants) = self.kind() else {
            return Err(self.differs(&given()));
        };
        match variants.get(index as usize) {
            Some(variant) if variant.name == name => Ok(&variant.content),
            _ => Err(self.differs(&given())),
        }
    }
}

/// The places of the parts of a value.
#[derive(Clone, Copy)]
pub(super) enum CheckedPlaces<'a> {
    /// All parts at one place.
    Repeated(usize),
    /// Keys at one place, values at another.
    Keyed(usize, usize),
    /// Each part at a separate place.
    Numbered(&'a [usize]),
    /// Each field at a separate place, of the struct or variant of this name.
    Named(&'static str, &'a [(&'static str, usize)]),
}

impl CheckedPlaces<'_> {
    fn len(&self) -> usize {
        match self {
            Self::Repeated(_) | Self::Keyed(..) => 0,
            Self::Numbered(places) => places.len(),
            Self::Named(_, places) => places.len(),
        }
    }
}

/// Returns the places of `n` parts, if `kind` has that many.
#[inline]
fn fixed(kind: &PlaceKind, n: usize) -> Option<CheckedPlaces<'_>> {
    let places = match kind {
        PlaceKind::Tuple(places) => CheckedPlaces::Numbered(places),
        PlaceKind::Struct(name, places) => CheckedPlaces::Named(name, places),
        _ => return None,
    };
    (places.len() == n).then_some(places)
}

/// Forwards leaves after checking their place.
macro_rules! leaves {
    ($($method:ident($ty:ty) => $leaf:ident;)*) => {$(
        #[inline]
        fn $method(self, value: $ty) -> Result<S::Ok, S::Error> {
            self.leaf(&TypeSchema::$leaf)?;
            self.inner.$method(value)
        }
    )*};
}

impl<'a, S: Serializer> Serializer for Checked<'a, S> {
    type Ok = S::Ok;
    type Error = S::Error;
    type SerializeSeq = CheckedParts<'a, S::SerializeSeq>;
    type SerializeTuple = CheckedParts<'a, S::SerializeTuple>;
    type SerializeTupleStruct = CheckedParts<'a, S::SerializeTupleStruct>;
    type SerializeTupleVariant = CheckedParts<'a, S::SerializeTupleVariant>;
    type SerializeMap = CheckedParts<'a, S::SerializeMap>;
    type SerializeStruct = CheckedParts<'a, S::SerializeStruct>;
    type SerializeStructVariant = CheckedParts<'a, S::SerializeStructVariant>;

    leaves! {
        serialize_bool(bool) => Bool;
        serialize_i8(i8) => I8;
        serialize_i16(i16) => I16;
        serialize_i32(i32) => I32;
        serialize_i64(i64) => I64;
        serialize_i128(i128) => I128;
        serialize_u8(u8) => U8;
        serialize_u16(u16) => U16;
        serialize_u32(u32) => U32;
        serialize_u64(u64) => U64;
        serialize_u128(u128) => U128;
        serialize_f32(f32) => F32;
        serialize_f64(f64) => F64;
        serialize_char(char) => Char;
    }

    #[inline]
    fn serialize_str(mut self, value: &str) -> Result<S::Ok, S::Error> {
        self.leaf(&TypeSchema::Str)?;
        self.enter();
        self.follow.charge(0, value.len());
        self.inner.serialize_str(value)
    }

    fn serialize_bytes(mut self, value: &[u8]) -> Result<S::Ok, S::Error> {
        let element = match self.kind() {
            PlaceKind::Leaf(TypeSchema::Bytes) => None,
            // A sequence of `u8` has the same encoding.
            PlaceKind::Seq(element) => Some(*element),
            _ => return Err(self.differs("bytes")),
        };
        if let Some(place) = element {
            let of = Checked { inner: self.inner, place, ..self };
            of.leaf(&TypeSchema::U8)?;
            self.inner = of.inner;
        }
        self.enter();
        self.follow.charge(if element.is_some() { value.len() } else { 0 }, value.len());
        self.inner.serialize_bytes(value)
    }

    #[inline]
    fn serialize_none(self) -> Result<S::Ok, S::Error> {
        match self.kind() {
            PlaceKind::Option(_) => self.inner.serialize_none(),
            _ => Err(self.differs("an option")),
        }
    }

    #[inline]
    fn serialize_some<T: Serialize + ?Sized>(mut self, value: &T) -> Result<S::Ok, S::Error> {
        self.enter();
        let PlaceKind::Option(place) = *self.kind() else {
            return Err(self.differs("an option"));
        };
        let Self { inner, follow, room, .. } = self;
        inner.serialize_some(&Fitting { value, follow, place, room })
    }

    fn serialize_unit(self) -> Result<S::Ok, S::Error> {
        match self.kind() {
            PlaceKind::Leaf(TypeSchema::Unit) => self.inner.serialize_unit(),
            kind if fixed(kind, 0).is_some() => self.inner.serialize_unit(),
            _ => Err(self.differs("a unit")),
        }
    }

    fn serialize_unit_struct(self, name: &'static str) -> Result<S::Ok, S::Error> {
        match self.kind() {
            PlaceKind::Leaf(TypeSchema::Unit) => self.inner.serialize_unit_struct(name),
            kind if fixed(kind, 0).is_some() => self.inner.serialize_unit_struct(name),
            _ => Err(self.differs("a unit struct")),
        }
    }

    fn serialize_unit_variant(
        mut self,
        name: &'static str,
        index: u32,
        variant: &'static str,
    ) -> Result<S::Ok, S::Error> {
        match self.variant(index, variant)? {
            VariantContent::Unit => self.inner.serialize_unit_variant(name, index, variant),
            _ => Err(self.differs(&format!("nothing in the variant `{variant}`"))),
        }
    }

    #[inline]
    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        mut self,
        name: &'static str,
        value: &T,
    ) -> Result<S::Ok, S::Error> {
        self.enter();
        let Self { inner, follow, room, place } = self;
        let place = match follow.layout.places[place].kind {
            PlaceKind::Newtype(inner) => inner,
            _ => place,
        };
        inner.serialize_newtype_struct(name, &Fitting { value, follow, place, room })
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        mut self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<S::Ok, S::Error> {
        let VariantContent::Newtype(place) = *self.variant(index, variant)? else {
            return Err(self.differs(&format!("one value in the variant `{variant}`")));
        };
        let Self { inner, follow, .. } = self;
        let value = Fitting { value, follow, place, room: size_of_val(value) };
        inner.serialize_newtype_variant(name, index, variant, &value)
    }

    fn serialize_seq(mut self, len: Option<usize>) -> Result<Self::SerializeSeq, S::Error> {
        self.enter();
        let PlaceKind::Seq(place) = *self.kind() else {
            return Err(self.differs("a sequence"));
        };
        self.parts(CheckedPlaces::Repeated(place), |inner| inner.serialize_seq(len))
    }

    #[inline]
    fn serialize_tuple(mut self, len: usize) -> Result<Self::SerializeTuple, S::Error> {
        self.enter();
        let Some(places) = fixed(self.kind(), len) else {
            return Err(self.differs(&format!("a tuple of {len}")));
        };
        self.parts(places, |inner| inner.serialize_tuple(len))
    }

    fn serialize_tuple_struct(
        mut self,
        name: &'static str,
        len: usize,
    ) -> Result<Self::SerializeTupleStruct, S::Error> {
        self.enter();
        let Some(places) = fixed(self.kind(), len) else {
            return Err(self.differs(&format!("{len} fields of the struct `{name}`")));
        };
        self.parts(places, |inner| inner.serialize_tuple_struct(name, len))
    }

    fn serialize_tuple_variant(
        mut self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        len: usize,
    ) -> Result<Self::SerializeTupleVariant, S::Error> {
        match self.variant(index, variant)? {
            VariantContent::Tuple(places) if places.len() == len => self
                .parts(CheckedPlaces::Numbered(places), |inner| {
                    inner.serialize_tuple_variant(name, index, variant, len)
                }),
            _ => Err(self.differs(&format!("{len} fields of the variant `{variant}`"))),
        }
    }

    fn serialize_map(mut self, len: Option<usize>) -> Result<Self::SerializeMap, S::Error> {
        self.enter();
        let PlaceKind::Map(key, value) = *self.kind() else {
            return Err(self.differs("a map"));
        };
        self.parts(CheckedPlaces::Keyed(key, value), |inner| inner.serialize_map(len))
    }

    #[inline]
    fn serialize_struct(
        mut self,
        name: &'static str,
        len: usize,
    ) -> Result<Self::SerializeStruct, S::Error> {
        self.enter();
        // The length is not compared: `skip_field` names the fields that are left out.
        let places = match self.kind() {
            PlaceKind::Struct(name, places) => CheckedPlaces::Named(name, places),
            PlaceKind::Tuple(places) if places.len() == len => CheckedPlaces::Numbered(places),
            _ => return Err(self.differs(&format!("{len} fields of the struct `{name}`"))),
        };
        self.parts(places, |inner| inner.serialize_struct(name, len))
    }

    fn serialize_struct_variant(
        mut self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        len: usize,
    ) -> Result<Self::SerializeStructVariant, S::Error> {
        match self.variant(index, variant)? {
            VariantContent::Struct(places) => self
                .parts(CheckedPlaces::Named(variant, places), |inner| {
                    inner.serialize_struct_variant(name, index, variant, len)
                }),
            _ => Err(self.differs(&format!("{len} fields of the variant `{variant}`"))),
        }
    }

    fn is_human_readable(&self) -> bool {
        self.inner.is_human_readable()
    }
}
