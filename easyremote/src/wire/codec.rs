//! The codec of values: bincode between stubs, JSON for callers without types.
//!
//! The only module that uses bincode. Everything from a peer is decoded under a
//! [`Budget`](crate::decode::Budget).

use std::any::{Any, TypeId};
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind};

use bincode::config::standard;
use bincode::enc::write::Writer;
use bincode::error::{DecodeError, EncodeError};
use bytes::Bytes;
use serde::de::{DeserializeOwned, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::decode::{Bounded, BoundedSeed, Budget, DecodeCost};
use crate::wire::numbers::{self, Number};

/// How values are encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Codec {
    /// bincode 2 with its standard configuration: little-endian, variable-length integers.
    Bincode,
    /// JSON text.
    Json,
    /// MessagePack with the names of arguments and fields, between two versions of a type; see
    /// [`names`](crate::wire::value::names).
    ByName,
    /// The same, where fields that the other side does not know are left out.
    Lossy,
}

impl Codec {
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Bincode => 0,
            Self::Json => 1,
            Self::ByName => 2,
            Self::Lossy => 3,
        }
    }

    pub(crate) fn from_code(code: u8) -> Option<Self> {
        match code {
            0 => Some(Self::Bincode),
            1 => Some(Self::Json),
            2 => Some(Self::ByName),
            3 => Some(Self::Lossy),
            _ => None,
        }
    }

    /// Returns whether values are of one version of a type, and are read as another.
    pub(crate) fn is_by_name(self) -> bool {
        matches!(self, Self::ByName | Self::Lossy)
    }

    /// Appends `value` to `out`.
    ///
    /// # Errors
    /// The error of the value's `Serialize`.
    pub(crate) fn encode<T: Serialize + 'static>(
        self,
        value: &T,
        out: &mut Vec<u8>,
    ) -> Result<(), String> {
        match self {
            Self::Bincode => to_bincode(value, out),
            Self::Json => serde_json::to_writer(out, value).map_err(|error| error.to_string()),
            Self::ByName | Self::Lossy => Err(NEEDS_TYPE.to_owned()),
        }
    }

    /// Decodes a value that takes up all of `bytes`, with at most `max_decoded` bytes of memory.
    ///
    /// # Errors
    /// If the bytes are invalid, or exceed their budget.
    pub(crate) fn decode<T: DeserializeOwned + 'static>(
        self,
        bytes: &Bytes,
        max_decoded: usize,
    ) -> Result<T, String> {
        self.decode_within(bytes, &mut Budget::for_message(bytes.len(), max_decoded))
    }

    /// [`decode`](Self::decode), within `budget`.
    ///
    /// # Errors
    /// As for [`decode`](Self::decode).
    pub(crate) fn decode_within<T: DeserializeOwned + 'static>(
        self,
        bytes: &Bytes,
        budget: &mut Budget,
    ) -> Result<T, String> {
        unwinding(|| match self {
            Self::Bincode => {
                let (value, length) = from_bincode(bytes, budget)?;
                if length != bytes.len() {
                    return Err(format!(
                        "{} bytes are left over after the value",
                        bytes.len() - length
                    ));
                }
                Ok(value)
            }
            Self::Json => from_json(bytes, budget),
            Self::ByName | Self::Lossy => Err(NEEDS_TYPE.to_owned()),
        })
    }
}

/// The error of a value by name that is handled without its
/// [`ValueType`](crate::wire::value::ValueType).
const NEEDS_TYPE: &str = "a value by name is written and read with its type";

/// Returns what `decode` returns, or an error if it panics: a peer's bytes decide which code of a
/// user's `Deserialize` runs.
pub(crate) fn unwinding<T>(decode: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    // Unwind safe: a partially decoded value is dropped, and its budget is not used again.
    catch_unwind(AssertUnwindSafe(decode)).unwrap_or_else(|_| Err("decoding panicked".to_owned()))
}

/// Appends `value` in bincode if it is a list that can be copied in one piece, and adds what
/// decoding it takes to `cost`. Returns `None` otherwise.
pub(crate) fn put_list<T: 'static>(
    value: &T,
    out: &mut Vec<u8>,
    cost: &mut DecodeCost,
) -> Option<Result<(), String>> {
    fn put_numbers<N: Number>(
        value: &dyn Any,
        out: &mut Vec<u8>,
        cost: &mut DecodeCost,
    ) -> Option<Result<(), String>> {
        let list = value.downcast_ref::<Vec<N>>()?;
        cost.add_list(list.len(), size_of::<N>());
        Some(to_bincode(&list.len(), out).map(|()| numbers::put(list, out)))
    }
    if let Some(bytes) = (value as &dyn Any).downcast_ref::<Vec<u8>>() {
        cost.add_list(bytes.len(), 1);
        return Some(to_bincode(&Blob(bytes.as_slice()), out));
    }
    put_numbers::<f32>(value, out, cost)
        .or_else(|| put_numbers::<f64>(value, out, cost))
        .or_else(|| put_numbers::<i8>(value, out, cost))
}

/// Appends `value` in bincode.
pub(crate) fn to_bincode<T: Serialize + ?Sized>(
    value: &T,
    out: &mut Vec<u8>,
) -> Result<(), String> {
    struct Append<'a>(&'a mut Vec<u8>);
    impl Writer for Append<'_> {
        #[inline]
        fn write(&mut self, bytes: &[u8]) -> Result<(), EncodeError> {
            self.0.extend_from_slice(bytes);
            Ok(())
        }
    }
    bincode::serde::encode_into_writer(value, Append(out), standard()).map_err(
        |error| match error {
            // The `Display` of bincode's errors is their `Debug`.
            EncodeError::OtherString(text) => text,
            EncodeError::Other(text) => text.to_owned(),
            EncodeError::Serde(_) => "its `Serialize` writes a list without a length".to_owned(),
            other => other.to_string(),
        },
    )
}

/// Decodes one bincode value from the front of `bytes`. Returns it with the number of bytes that it
/// took.
pub(crate) fn from_bincode<T: DeserializeOwned + 'static>(
    bytes: &[u8],
    budget: &mut Budget,
) -> Result<(T, usize), String> {
    let of = TypeId::of::<T>();
    let (list, length) = if of == TypeId::of::<Vec<u8>>() {
        // A byte string has the same encoding in bincode, and decodes faster.
        let (Blob(list), length): (Blob<Vec<u8>>, _) = borrowed(bytes, budget)?;
        (as_is(list), length)
    } else if of == TypeId::of::<Vec<f32>>() {
        list_of_numbers::<f32, T>(bytes, budget)?
    } else if of == TypeId::of::<Vec<f64>>() {
        list_of_numbers::<f64, T>(bytes, budget)?
    } else if of == TypeId::of::<Vec<i8>>() {
        list_of_numbers::<i8, T>(bytes, budget)?
    } else {
        return borrowed(bytes, budget);
    };
    // `as_is` cannot fail: the types have been compared.
    list.map(|list| (list, length)).ok_or_else(|| "not a list".to_owned())
}

/// Decodes a `T` that is a list of `N`. Returns it with the number of bytes that it took.
fn list_of_numbers<N: Number, T: 'static>(
    bytes: &[u8],
    budget: &mut Budget,
) -> Result<(Option<T>, usize), String> {
    let (n, start): (usize, _) = borrowed(bytes, budget)?;
    let list: Vec<N> = numbers::read(n, &bytes[start..], budget)?;
    Ok((as_is(list), start + n * N::WIDTH))
}

/// Returns `value` as a `T` if that is its type.
fn as_is<T: 'static>(value: impl Any) -> Option<T> {
    (&mut Some(value) as &mut dyn Any).downcast_mut::<Option<T>>().and_then(Option::take)
}

fn borrowed<T: DeserializeOwned>(bytes: &[u8], budget: &mut Budget) -> Result<(T, usize), String> {
    let seed = BoundedSeed { budget, value: PhantomData };
    bincode::serde::seed_decode_from_slice(seed, bytes, standard()).map_err(in_words)
}

/// Writes a bincode error as a sentence: its own `Display` is its `Debug`.
fn in_words(error: DecodeError) -> String {
    match error {
        DecodeError::OtherString(text) => text,
        DecodeError::Other(text) => text.to_owned(),
        DecodeError::UnexpectedEnd { additional } => {
            format!("ends at least {additional} bytes too early")
        }
        DecodeError::UnexpectedVariant { type_name, found, .. } => {
            format!("`{type_name}` has no variant {found}")
        }
        DecodeError::Utf8 { inner } => format!("a string is not valid: {inner}"),
        DecodeError::InvalidCharEncoding(bytes) => format!("{bytes:?} is not a character"),
        DecodeError::InvalidBooleanValue(byte) => format!("a boolean cannot be {byte}"),
        DecodeError::InvalidIntegerType { expected, found } => {
            format!("an integer is {found:?} where {expected:?} is expected")
        }
        DecodeError::Serde(_) => "the type needs a self-describing codec".to_owned(),
        other => other.to_string(),
    }
}

/// Decodes one JSON value that takes up all of `bytes`.
pub(crate) fn from_json<T: DeserializeOwned>(
    bytes: &[u8],
    budget: &mut Budget,
) -> Result<T, String> {
    let mut json = serde_json::Deserializer::from_slice(bytes);
    let value = T::deserialize(Bounded::new(&mut json, budget))
        .and_then(|value| json.end().map(|()| value));
    value.map_err(|error| error.to_string())
}

/// Bytes that are copied in one piece, where serde would visit them one by one.
struct Blob<T>(T);

impl Serialize for Blob<&[u8]> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self.0)
    }
}

impl<'de> Deserialize<'de> for Blob<Vec<u8>> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Whole;
        impl Visitor<'_> for Whole {
            type Value = Vec<u8>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("bytes")
            }

            fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Vec<u8>, E> {
                Ok(bytes.to_vec())
            }

            fn visit_byte_buf<E>(self, bytes: Vec<u8>) -> Result<Vec<u8>, E> {
                Ok(bytes)
            }
        }
        deserializer.deserialize_byte_buf(Whole).map(Self)
    }
}

#[cfg(test)]
mod tests;
