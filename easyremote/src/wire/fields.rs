//! The fields of control messages and traces: encoded by the codec, within their limits.
//!
//! A message derives its encoding; a field with a limit names one of the modules here in
//! `#[serde(with = "..")]`. Encoding cuts a name or a text that is too long. Decoding rejects it:
//! its length is checked against the limit, and against the bytes that have arrived, before memory
//! is allocated.
//!
//! | module        | field                    | limit                                     |
//! |---------------|--------------------------|-------------------------------------------|
//! | [`name`]      | an id, a tag, a function | [`MAX_NAME`] bytes, all of them printable |
//! | [`names`]     | a list of names          | [`MAX_LIST`]                              |
//! | [`line`]      | a signature              | [`MAX_TEXT`] bytes                        |
//! | [`lines`]     | documentation            | [`MAX_TEXT`] bytes                        |
//! | [`schemas`]   | the JSON Schemas of one  | [`MAX_SCHEMAS`] bytes                     |
//! | [`functions`] | the functions of a node  | [`MAX_FUNCTIONS`]                         |
//! | [`gauges`]    | the gauges of a node     | [`MAX_GAUGES`]                            |
//!
//! Characters that are not printable are removed from a text: see
//! [`error::printable`](crate::error::printable).

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use serde::de::{DeserializeOwned, Deserializer, Error, SeqAccess, Visitor};
use serde::{Deserialize, Serialize, Serializer};

use crate::decode::Budget;
use crate::error::printable::{self, cut, is_printable, one_line};
use crate::wire::bytes::Malformed;
use crate::wire::codec::{Codec, from_bincode};
use crate::wire::limits::{MAX_FUNCTIONS, MAX_GAUGES, MAX_LIST, MAX_NAME, MAX_SCHEMAS};

/// Longest signature and longest documentation of a function, in bytes. Both are cut by the sender.
pub(crate) const MAX_TEXT: usize = 4 << 10;

/// Bytes of memory that one byte of a message may need: an empty string of a list takes one byte on
/// the wire and 24 in memory.
const MEMORY_PER_BYTE: u64 = 32;

/// Bytes of memory that any message may need: the structs of one, without their lists.
const FREE_MEMORY: u64 = 1 << 10;

/// Levels of nesting: a message, its functions, a function, its parameters; and as many to spare.
const MAX_DEPTH: u32 = 8;

/// Appends `fields`.
pub(crate) fn put<T: Serialize + 'static>(fields: &T, out: &mut Vec<u8>) {
    // Encoding fails only for lists of unknown length, and for types whose `Serialize` fails. No
    // field is such a type.
    let encoded = Codec::Bincode.encode(fields, out);
    debug_assert!(encoded.is_ok(), "{encoded:?}");
}

/// Decodes fields from the front of `bytes`, and ignores what follows. `name` is for errors.
///
/// # Errors
/// The fields are malformed, or longer than their limits.
pub(crate) fn read<T: DeserializeOwned + 'static>(
    bytes: &[u8],
    name: &str,
) -> Result<T, Malformed> {
    let length = bytes.len() as u64;
    let mut budget = Budget::new(length, MEMORY_PER_BYTE * length + FREE_MEMORY, MAX_DEPTH);
    match from_bincode(bytes, &mut budget) {
        Ok((fields, _)) => Ok(fields),
        Err(text) => Err(Malformed::new(format!("`{name}`: {text}"))),
    }
}

/// A name that appears in logs and errors of other parties.
pub(crate) mod name {
    use super::*;

    pub(crate) fn serialize<S: Serializer>(name: &str, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(cut(name, MAX_NAME))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
        let name = within("name", MAX_NAME, <&str>::deserialize(from)?)?;
        if !is_printable(name) {
            let of = if name.contains(char::is_control) { "control" } else { "invisible" };
            return Err(D::Error::custom(format!("the name {name:?} has {of} characters")));
        }
        Ok(name.to_owned())
    }
}

/// Tags, or the parameters of a function.
pub(crate) mod names {
    use super::*;

    #[derive(Deserialize)]
    struct Name(#[serde(with = "name")] String);

    pub(crate) fn serialize<S: Serializer>(
        names: &[String],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(names.iter().map(|name| cut(name, MAX_NAME)))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
        let names = ListWithin { limit: MAX_LIST, of: "names", item: PhantomData::<Name> };
        Ok(from.deserialize_seq(names)?.into_iter().map(|Name(name)| name).collect())
    }
}

/// A human-readable text of one line.
pub(crate) mod line {
    use super::*;

    pub(crate) fn serialize<S: Serializer>(text: &str, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&one_line(text, MAX_TEXT))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
        within("text", MAX_TEXT, <&str>::deserialize(from)?)
            .map(|text| one_line(text, MAX_TEXT).into_owned())
    }
}

/// A human-readable text of several lines.
pub(crate) mod lines {
    use super::*;

    pub(crate) fn serialize<S: Serializer>(text: &str, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&printable::lines(text, MAX_TEXT))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
        within("text", MAX_TEXT, <&str>::deserialize(from)?)
            .map(|text| printable::lines(text, MAX_TEXT).into_owned())
    }
}

/// JSON, which is not cut: the sender leaves out what is too long.
pub(crate) mod schemas {
    use super::*;

    pub(crate) fn serialize<S: Serializer>(text: &str, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(if text.len() <= MAX_SCHEMAS { text } else { "" })
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Arc<str>, D::Error> {
        within("schema", MAX_SCHEMAS, <&str>::deserialize(from)?).map(Arc::from)
    }
}

/// Decodes the functions of a node. Encoding them needs no separate limit: the message has one.
pub(crate) fn functions<'de, D, T>(from: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    let item = PhantomData::<T>;
    from.deserialize_seq(ListWithin { limit: MAX_FUNCTIONS, of: "functions", item })
}

/// Decodes the gauges of a node.
pub(crate) fn gauges<'de, D, T>(from: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    let item = PhantomData::<T>;
    from.deserialize_seq(ListWithin { limit: MAX_GAUGES, of: "gauges", item })
}

/// Returns `value` if it is short enough. It still borrows from the message, so nothing has been
/// copied.
fn within<'a, E: Error>(of: &str, limit: usize, value: &'a str) -> Result<&'a str, E> {
    match value.len() {
        length if length <= limit => Ok(value),
        length => Err(E::custom(format_args!("a {of} of {length} bytes; the limit is {limit}"))),
    }
}

/// Decodes a list of at most `limit` items.
struct ListWithin<T> {
    limit: usize,
    of: &'static str,
    item: PhantomData<T>,
}

impl<'de, T: Deserialize<'de>> Visitor<'de> for ListWithin<T> {
    type Value = Vec<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at most {} {}", self.limit, self.of)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Vec<T>, A::Error> {
        let Self { limit, of, .. } = self;
        let too_long = || A::Error::custom(format_args!("more than {limit} {of}"));
        if access.size_hint().is_some_and(|n| n > limit) {
            return Err(too_long());
        }
        // Without a capacity: no memory is reserved for items that have not arrived.
        let mut items = Vec::new();
        while let Some(item) = access.next_element()? {
            if items.len() == limit {
                return Err(too_long());
            }
            items.push(item);
        }
        Ok(items)
    }
}
