//! Access to the parts of a value that keeps track of where it is.

use serde::de::{
    DeserializeSeed, Deserializer, EnumAccess, MapAccess, SeqAccess, VariantAccess, Visitor,
};

use super::key::Heard;
use super::{PathStep, Strict};

/// The elements of a list.
#[derive(Debug)]
pub(super) struct Items<A> {
    pub(super) access: A,
    /// The number of the next element.
    pub(super) next: usize,
}

/// The entries of a map, or the fields of a struct.
#[derive(Debug)]
pub(super) struct Entries<A> {
    pub(super) access: A,
    /// The key of the entry that is being read.
    pub(super) key: String,
}

/// The variant of an enum.
#[derive(Debug)]
pub(super) struct Variants<A>(pub(super) A);

impl<T> Strict<'_, T> {
    /// Reads a part one step further on. After an error the path stays where it is.
    fn within<R, E>(
        &mut self,
        step: PathStep,
        read: impl FnOnce(&mut Self) -> Result<R, E>,
    ) -> Result<R, E> {
        self.notes.path.push(step);
        let value = read(self)?;
        self.notes.path.pop();
        Ok(value)
    }
}

impl<'de, S: DeserializeSeed<'de>> DeserializeSeed<'de> for Strict<'_, S> {
    type Value = S::Value;

    fn deserialize<D: Deserializer<'de>>(self, inner: D) -> Result<S::Value, D::Error> {
        self.inner.deserialize(Strict { inner, notes: self.notes })
    }
}

impl<'de, A: SeqAccess<'de>> SeqAccess<'de> for Strict<'_, Items<A>> {
    type Error = A::Error;

    fn next_element_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, A::Error> {
        let index = self.inner.next;
        self.inner.next += 1;
        self.within(PathStep::Index(index), |this| {
            let seed = Strict { inner: seed, notes: &mut *this.notes };
            this.inner.access.next_element_seed(seed)
        })
    }

    fn size_hint(&self) -> Option<usize> {
        self.inner.access.size_hint()
    }
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Strict<'_, Entries<A>> {
    type Error = A::Error;

    fn next_key_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, A::Error> {
        let Entries { access, key } = &mut self.inner;
        key.clear();
        access.next_key_seed(Heard { inner: seed, key })
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, A::Error> {
        let key = std::mem::take(&mut self.inner.key);
        self.within(PathStep::Field(key), |this| {
            let seed = Strict { inner: seed, notes: &mut *this.notes };
            this.inner.access.next_value_seed(seed)
        })
    }

    fn size_hint(&self) -> Option<usize> {
        self.inner.access.size_hint()
    }
}

impl<'de, 'n, A: EnumAccess<'de>> EnumAccess<'de> for Strict<'n, Variants<A>> {
    type Error = A::Error;
    type Variant = Strict<'n, (A::Variant, String)>;

    fn variant_seed<S: DeserializeSeed<'de>>(
        self,
        seed: S,
    ) -> Result<(S::Value, Self::Variant), A::Error> {
        let mut key = String::new();
        let (name, access) = self.inner.0.variant_seed(Heard { inner: seed, key: &mut key })?;
        Ok((name, Strict { inner: (access, key), notes: self.notes }))
    }
}

impl<'de, A: VariantAccess<'de>> VariantAccess<'de> for Strict<'_, (A, String)> {
    type Error = A::Error;

    fn unit_variant(self) -> Result<(), A::Error> {
        self.inner.0.unit_variant()
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, A::Error> {
        let (access, name) = self.inner;
        let mut at = Strict { inner: (), notes: self.notes };
        at.within(PathStep::Field(name), |at| {
            access.newtype_variant_seed(Strict { inner: seed, notes: &mut *at.notes })
        })
    }

    fn tuple_variant<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, A::Error> {
        let (access, name) = self.inner;
        let mut at = Strict { inner: (), notes: self.notes };
        at.within(PathStep::Field(name), |at| {
            access.tuple_variant(len, Strict { inner: visitor, notes: &mut *at.notes })
        })
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, A::Error> {
        let (access, name) = self.inner;
        let mut at = Strict { inner: (), notes: self.notes };
        at.within(PathStep::Field(name), |at| {
            access.struct_variant(fields, Strict { inner: visitor, notes: &mut *at.notes })
        })
    }
}
