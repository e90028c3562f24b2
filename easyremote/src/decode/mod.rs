//! Decoding that a hostile message cannot make expensive.
//!
//! A few bytes can ask for a lot: a sequence of 2^64 units takes nine bytes and never ends, an
//! empty `Vec` takes one byte of the message and 24 of memory, and every `Some` of a recursive
//! type is a stack frame. [`Bounded`] wraps any deserializer and charges a [`Budget`] for what the
//! message makes it do; the budget follows from the length of the message.

mod budget;
mod deserializer;
mod elements;

use std::marker::PhantomData;

use serde::de::{Deserialize, DeserializeSeed, Deserializer};

pub(crate) use self::budget::{Budget, DecodeCost, UNCHARGED};
pub(crate) use self::deserializer::Bounded;

/// Decodes a `T` within a budget, for functions that take a seed and not a deserializer.
pub(crate) struct BoundedSeed<'b, T> {
    /// What it may cost.
    pub(crate) budget: &'b mut Budget,
    /// What to decode.
    pub(crate) value: PhantomData<T>,
}

impl<'de, T: Deserialize<'de>> DeserializeSeed<'de> for BoundedSeed<'_, T> {
    type Value = T;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<T, D::Error> {
        T::deserialize(Bounded::new(deserializer, self.budget))
    }
}
