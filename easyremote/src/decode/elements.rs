//! Bounded access to the elements of sequences, maps and enums.

use serde::de::{
    DeserializeSeed, Deserializer, EnumAccess, Error, MapAccess, SeqAccess, VariantAccess, Visitor,
};

use super::budget::Budget;
use super::deserializer::{Bounded, DecodePosition};

/// The elements of a sequence, or the entries of a map, in a [`Bounded`].
pub(crate) struct Elements<A> {
    /// The wrapped access.
    access: A,
    /// Number of the next elements that have been charged.
    n_paid: usize,
    /// The size that each of these was charged with.
    paid_size: usize,
    /// The size of the last element, if it has not been charged.
    owed: Option<usize>,
}

impl<A> Elements<A> {
    /// Wraps an access. The elements of a type with a fixed number of them (`fixed`) are a part of
    /// the type, and count as charged.
    pub(crate) fn new(access: A, fixed: bool) -> Self {
        let paid = if fixed { usize::MAX } else { 0 };
        Self { access, n_paid: paid, paid_size: paid, owed: None }
    }

    /// Charges the next element if it has not been charged. `hint` is the number of elements.
    ///
    /// bincode knows the number, so that all elements can be charged at once. That is much faster
    /// for small elements, and stops a bomb before its first one. Without a hint the next element
    /// may not exist, so the previous one is charged.
    #[inline]
    fn pay<E: Error>(
        &mut self,
        budget: &mut Budget,
        size: usize,
        hint: Option<usize>,
    ) -> Result<(), E> {
        if self.n_paid > 0 {
            // The type reads values of different sizes from one sequence: charge the difference.
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
        // Returned unchanged: inspecting the result makes a million small integers take three times
        // as long.
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
        // The name of the variant is not stored in the value, and is not charged.
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

/// The seed of an element, a key, a value or a variant. It charges nothing, which its access has
/// done: less code per element is inlined better.
struct Part<S>(S);

impl<'de, S: DeserializeSeed<'de>> DeserializeSeed<'de> for Bounded<'_, Part<S>> {
    type Value = S::Value;

    #[inline]
    fn deserialize<D: Deserializer<'de>>(self, inner: D) -> Result<S::Value, D::Error> {
        let place = DecodePosition { room: size_of::<S::Value>(), ..self.place };
        self.inner.0.deserialize(Bounded { inner, budget: self.budget, place })
    }
}
