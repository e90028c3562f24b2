//! Bounded deserialization: limits time, memory and stack for decoding a hostile message.
//!
//! A few bytes can request much:
//!
//! - a sequence of 2^64 units takes nine bytes, and decoding it never ends;
//! - an empty `Vec` takes one byte of the message, and 24 bytes of memory;
//! - each `Some` of a recursive type takes a stack frame.
//!
//! [`Bounded`] wraps any deserializer, and charges a [`Budget`] for what the message makes it do.
//! The budget follows from the length of the message.

mod budget;
mod deserializer;
mod elements;
mod strict;

use std::marker::PhantomData;

use serde::de::{Deserialize, DeserializeSeed, Deserializer};

pub(crate) use self::budget::{Budget, DecodeCost, UNCHARGED};
pub(crate) use self::deserializer::Bounded;
pub(crate) use self::strict::{Notes, Strict, unknown_field};

/// A seed that decodes a `T` within a budget, for functions that take a seed.
pub(crate) struct BoundedSeed<'b, T> {
    /// The budget to charge.
    pub(crate) budget: &'b mut Budget,
    /// The type to decode.
    pub(crate) value: PhantomData<T>,
}

impl<'de, T: Deserialize<'de>> DeserializeSeed<'de> for BoundedSeed<'_, T> {
    type Value = T;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<T, D::Error> {
        T::deserialize(Bounded::new(deserializer, self.budget))
    }
}
