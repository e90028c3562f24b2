//! The parts of a compound value, each compared with its place.

use serde::ser::{
    Error, Serialize, SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant,
    SerializeTuple, SerializeTupleStruct, SerializeTupleVariant,
};

use super::{CheckedPlaces, Fitting, Follow};

/// A serializer of the parts of a value that compares each with its place.
pub(super) struct CheckedParts<'a, P> {
    inner: P,
    follow: &'a Follow<'a>,
    places: CheckedPlaces<'a>,
    /// Number of parts so far.
    next: usize,
}

impl<'a, P> CheckedParts<'a, P> {
    #[inline]
    pub(super) fn new(inner: P, follow: &'a Follow<'a>, places: CheckedPlaces<'a>) -> Self {
        Self { inner, follow, places, next: 0 }
    }

    /// Returns the next part of a fixed number, with its place.
    #[inline]
    fn fixed<'v, T: ?Sized, E: Error>(&mut self, value: &'v T) -> Result<Fitting<'v, T>, E>
    where
        'a: 'v,
    {
        let place = match self.places {
            CheckedPlaces::Numbered(places) => places.get(self.next).copied(),
            CheckedPlaces::Named(_, places) => places.get(self.next).map(|(_, place)| *place),
            CheckedPlaces::Repeated(_) | CheckedPlaces::Keyed(..) => None,
        };
        let place = place.ok_or_else(|| E::custom("its `Serialize` writes too many parts"))?;
        self.next += 1;
        Ok(Fitting { value, follow: self.follow, place, room: size_of_val(value) })
    }

    /// Returns the next part with a name, with its place.
    #[inline]
    fn named<'v, T: ?Sized, E: Error>(
        &mut self,
        name: &'static str,
        value: &'v T,
    ) -> Result<Fitting<'v, T>, E>
    where
        'a: 'v,
    {
        if let CheckedPlaces::Named(of, places) = self.places {
            let expected = places.get(self.next).map_or("", |(name, _)| *name);
            // A name that `Deserialize` does not know is a rename for `Serialize` only.
            if expected != name && places.iter().any(|(other, _)| *other == name) {
                return Err(E::custom(format!(
                    "`{of}` writes its field `{name}` where its `Deserialize` reads `{expected}`"
                )));
            }
        }
        self.fixed(value)
    }

    /// Returns a part at `place` of a value with any number of parts.
    #[inline]
    fn any<'v, T: ?Sized>(&self, value: &'v T, place: usize, elements: usize) -> Fitting<'v, T>
    where
        'a: 'v,
    {
        // Not `size_of_val(value)`: the value may be a reference.
        let room = self.follow.layout.places[place].size;
        self.follow.charge(elements, room);
        Fitting { value, follow: self.follow, place, room }
    }

    /// Checks that no part is missing.
    #[inline]
    fn complete<E: Error>(&self) -> Result<(), E> {
        match self.places.len() - self.next.min(self.places.len()) {
            0 => Ok(()),
            missing => Err(E::custom(format!("its `Serialize` writes {missing} parts too few"))),
        }
    }

    /// Returns the error of a field that is left out.
    #[cold]
    fn left_out<E: Error>(&self, name: &str) -> E {
        let of = match self.places {
            CheckedPlaces::Named(of, _) => of,
            _ => "the type",
        };
        E::custom(format!(
            "`{of}` leaves its field `{name}` out; take the attribute \
             `#[serde(skip_serializing_if = \"..\")]` off it"
        ))
    }
}

impl<P: SerializeSeq> SerializeSeq for CheckedParts<'_, P> {
    type Ok = P::Ok;
    type Error = P::Error;

    #[inline]
    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), P::Error> {
        let CheckedPlaces::Repeated(place) = self.places else {
            return Err(P::Error::custom("not a sequence"));
        };
        let value = self.any(value, place, 1);
        self.inner.serialize_element(&value)
    }

    fn end(self) -> Result<P::Ok, P::Error> {
        self.inner.end()
    }
}

impl<P: SerializeMap> SerializeMap for CheckedParts<'_, P> {
    type Ok = P::Ok;
    type Error = P::Error;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), P::Error> {
        let CheckedPlaces::Keyed(place, _) = self.places else {
            return Err(P::Error::custom("not a map"));
        };
        let key = self.any(key, place, 1);
        self.inner.serialize_key(&key)
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), P::Error> {
        let CheckedPlaces::Keyed(_, place) = self.places else {
            return Err(P::Error::custom("not a map"));
        };
        let value = self.any(value, place, 0);
        self.inner.serialize_value(&value)
    }

    fn end(self) -> Result<P::Ok, P::Error> {
        self.inner.end()
    }
}

/// Implements the accesses to a fixed number of parts without names.
macro_rules! numbered {
    ($($access:ident::$method:ident)*) => {$(
        impl<P: $access> $access for CheckedParts<'_, P> {
            type Ok = P::Ok;
            type Error = P::Error;

            #[inline]
            fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), P::Error> {
                let value = self.fixed(value)?;
                self.inner.$method(&value)
            }

            #[inline]
            fn end(self) -> Result<P::Ok, P::Error> {
                self.complete()?;
                self.inner.end()
            }
        }
    )*};
}

numbered! {
    SerializeTuple::serialize_element
    SerializeTupleStruct::serialize_field
    SerializeTupleVariant::serialize_field
}

/// Implements the accesses to parts with names.
macro_rules! named {
    ($($access:ident)*) => {$(
        impl<P: $access> $access for CheckedParts<'_, P> {
            type Ok = P::Ok;
            type Error = P::Error;

            #[inline]
            fn serialize_field<T: Serialize + ?Sized>(
                &mut self,
                name: &'static str,
                value: &T,
            ) -> Result<(), P::Error> {
                let value = self.named(name, value)?;
                self.inner.serialize_field(name, &value)
            }

            fn skip_field(&mut self, name: &'static str) -> Result<(), P::Error> {
                Err(self.left_out(name))
            }

            #[inline]
            fn end(self) -> Result<P::Ok, P::Error> {
                self.complete()?;
                self.inner.end()
            }
        }
    )*};
}

named! { SerializeStruct SerializeStructVariant }
