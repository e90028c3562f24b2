//! The parts of a value, each compared with its place.

use serde::ser::{
    Error, Serialize, SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant,
    SerializeTuple, SerializeTupleStruct, SerializeTupleVariant,
};

use super::{CheckedPlaces, Fitting, Follow};

/// What the parts of a value are given to.
pub(super) struct CheckedParts<'a, P> {
    inner: P,
    follow: &'a Follow<'a>,
    places: CheckedPlaces<'a>,
    /// How many there were.
    next: usize,
}

impl<'a, P> CheckedParts<'a, P> {
    #[inline]
    pub(super) fn new(inner: P, follow: &'a Follow<'a>, places: CheckedPlaces<'a>) -> Self {
        Self { inner, follow, places, next: 0 }
    }

    /// The next part, which is one of a fixed number.
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
        let place = place.ok_or_else(|| E::custom("its `Serialize` gives too many parts"))?;
        self.next += 1;
        Ok(Fitting { value, follow: self.follow, place, room: size_of_val(value) })
    }

    /// The next part, which has a name.
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
            // One that has another name for `Serialize` only is at its place.
            if expected != name && places.iter().any(|(other, _)| *other == name) {
                return Err(E::custom(format!(
                    "`{of}` gives its field `{name}` where its `Deserialize` takes `{expected}`"
                )));
            }
        }
        self.fixed(value)
    }

    /// A part at `place` of a value with any number of them.
    #[inline]
    fn any<'v, T: ?Sized>(&self, value: &'v T, place: usize, elements: usize) -> Fitting<'v, T>
    where
        'a: 'v,
    {
        // Not the size of what is given: that may be a reference.
        let room = self.follow.layout.places[place].size;
        self.follow.charge(elements, room);
        Fitting { value, follow: self.follow, place, room }
    }

    /// Whether all parts came that have to.
    #[inline]
    fn complete<E: Error>(&self) -> Result<(), E> {
        match self.places.len() - self.next.min(self.places.len()) {
            0 => Ok(()),
            missing => Err(E::custom(format!("its `Serialize` gives {missing} parts too few"))),
        }
    }

    /// The error of a field that is left out.
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

/// The accesses to a fixed number of parts without names.
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

/// The accesses to parts with names.
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
