//! What a visitor takes values out of, with a budget: sequences, maps and enums.

use serde::de::{
    DeserializeSeed, Deserializer, EnumAccess, Error, MapAccess, SeqAccess, VariantAccess, Visitor,
};

use super::budget::Budget;
use super::deserializer::{Bounded, DecodePosition};

/// The elements of a sequence, or the entries of a map, in a [`Bounded`].
pub(crate) struct Elements<A> {
    /// The access to them.
    access: A,
    /// How many of the next ones are paid for.
    n_paid: usize,
    /// The size that each of these is paid for.
    paid_size: usize,
    /// The size of the last one, if it is not paid for.
    owed: Option<usize>,
}

impl<A> Elements<A> {
    /// All that a type with a fixed number of elements asks for are a part of it.
    pub(crate) fn new(access: A, fixed: bool) -> Self {
        let paid = if fixed { usize::MAX } else { 0 };
        Self { access, n_paid: paid, paid_size: paid, owed: None }
    }

    /// Pays for the next element if it is not paid for. `hint` is how many there are.
    ///
    /// bincode knows, so paying once for all of them is possible. It is much faster for small
    /// elements, and ends a bomb before its first one. Without a hint the next element may not
    /// exist, so the one before it is paid for, which does.
    #[inline]
    fn pay<E: Error>(
        &mut self,
        budget: &mut Budget,
        size: usize,
        hint: Option<usize>,
    ) -> Result<(), E> {
        if self.n_paid > 0 {
            // A type that reads values of different types from one sequence.
            return budget.charge_memory(size.saturating_sub(self.paid_size));
        }
        if let Some(n) = hint {
            budget.charge_elements(n)?;
            budget.charge_memory(n.saturating_mul(size))?;
            (self.n_paid, self.paid_size) = (n, size);
        } else if let Some(size) = self.owed.replace(size) {
            budget.charge_elements(1)?;
            budget.charge_memory(size)?;
        }
        Ok(())
    }
}

impl<'de, A: SeqAccess<'de>> SeqAccess<'de> for Bounded<'_, Elements<A>> {
    type Error = A::Error;

    #[inline]
    fn next_element_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, A::Error> {
        let Self { inner, budget, place } = self;
        let size = size_of::<S::Value>();
        if inner.n_paid == 0 || size > inner.paid_size {
            inner.pay(budget, size, inner.access.size_hint())?;
        }
        inner.n_paid = inner.n_paid.saturating_sub(1);
        let seed = Bounded { inner: Part(seed), budget, place: *place };
        // As it is: with a look at it, a million small integers take three times as long.
        inner.access.next_element_seed(seed)
    }

    #[inline]
    fn size_hint(&self) -> Option<usize> {
        self.hint(self.inner.access.size_hint())
    }
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Bounded<'_, Elements<A>> {
    type Error = A::Error;

    #[inline]
    fn next_key_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, A::Error> {
        let Self { inner, budget, place } = self;
        let seed = Bounded { inner: Part(seed), budget, place: *place };
        let key = inner.access.next_key_seed(seed)?;
        if inner.n_paid == 0 && key.is_some() {
            budget.charge_elements(1)?;
            budget.charge_memory(size_of::<S::Value>())?;
        }
        Ok(key)
    }

    #[inline]
    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, A::Error> {
        let Self { inner, budget, place } = self;
        let seed = Bounded { inner: Part(seed), budget, place: *place };
        let value = inner.access.next_value_seed(seed)?;
        if inner.n_paid == 0 {
            budget.charge_memory(size_of::<S::Value>())?;
        }
        Ok(value)
    }

    #[inline]
    fn size_hint(&self) -> Option<usize> {
        self.hint(self.inner.access.size_hint())
    }
}

impl<'de, 'b, A: EnumAccess<'de>> EnumAccess<'de> for Bounded<'b, A> {
    type Error = A::Error;
    type Variant = Bounded<'b, A::Variant>;

    #[inline]
    fn variant_seed<S: DeserializeSeed<'de>>(
        self,
        seed: S,
    ) -> Result<(S::Value, Self::Variant), A::Error> {
        let place = self.place;
        // The name is no part of the value, but it is not kept either.
        let element = Part(seed);
        let seed = Bounded { inner: element, budget: &mut *self.budget, place };
        let (name, inner) = self.inner.variant_seed(seed)?;
        Ok((name, Bounded { inner, budget: self.budget, place }))
    }
}

impl<'de, A: VariantAccess<'de>> VariantAccess<'de> for Bounded<'_, A> {
    type Error = A::Error;

    #[inline]
    fn unit_variant(self) -> Result<(), A::Error> {
        self.inner.unit_variant()
    }

    #[inline]
    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, A::Error> {
        let element = Part(seed);
        let seed = Bounded { inner: element, budget: self.budget, place: self.place };
        self.inner.newtype_variant_seed(seed)
    }

    #[inline]
    fn tuple_variant<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, A::Error> {
        let (inner, visitor) = self.payload(visitor);
        inner.tuple_variant(len, visitor)
    }

    #[inline]
    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, A::Error> {
        let (inner, visitor) = self.payload(visitor);
        inner.struct_variant(fields, visitor)
    }
}

/// The seed of an element, a key, a value or a variant. It charges nothing: the access that it
/// comes from does, as the less there is to call for an element, the better it is inlined.
struct Part<S>(S);

impl<'de, S: DeserializeSeed<'de>> DeserializeSeed<'de> for Bounded<'_, Part<S>> {
    type Value = S::Value;

    #[inline]
    fn deserialize<D: Deserializer<'de>>(self, inner: D) -> Result<S::Value, D::Error> {
        let place = DecodePosition { room: size_of::<S::Value>(), ..self.place };
        self.inner.0.deserialize(Bounded { inner, budget: self.budget, place })
    }
}
