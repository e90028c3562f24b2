//! Values between two versions of a type: MessagePack with names, read strictly.
//!
//! | bytes | what                                                    |
//! |-------|---------------------------------------------------------|
//! | 4     | length of the MessagePack, little-endian                |
//! | ..    | the value in MessagePack, structs as maps by field name |
//!
//! Not JSON: infinities, 128-bit integers, bytes and keys that are no text arrive as they were sent. A
//! value that does not survive the round trip as its own type, such as `Some(None)`, is not sent.
//!
//! The reader knows another version of the type. Fields that it has and that were not sent are what
//! serde makes of them: `None`, a default, or an error. Fields that it does not know are an error, or,
//! if the call is lossy, left out and counted; one that is `None` has nothing to lose.

mod absent;
mod buffered;

use rmp_serde::decode::Error as ReadError;
use serde::Serialize;
use serde::de::DeserializeOwned;

use self::absent::Absent;
use self::buffered::ignored_fields;
use super::msgpack::{self, MAX_DEPTH, NIL};
use super::round_trip::same;
use super::{ValueForm, ValueType};
use crate::decode::{Bounded, Budget, DecodeCost, Notes, Strict};
use crate::wire::codec::{Codec, unwinding};

/// Bytes in front of the value.
const HEAD: usize = 4;

/// Reads a value in its own form from the front of bytes, and appends it by name.
pub(super) type RewriteByName = fn(&ValueType, &[u8], &mut Vec<u8>, usize) -> Result<usize, String>;

impl ValueType {
    /// Appends `value`, which is of this type, by name.
    ///
    /// # Errors
    /// The error of its `Serialize`; or if it would arrive as another value, or decoding it takes more
    /// than `max_decoded` bytes of memory.
    pub(crate) fn put_names<T>(
        &self,
        value: &T,
        out: &mut Vec<u8>,
        cost: &mut DecodeCost,
        max_decoded: usize,
    ) -> Result<(), String>
    where
        T: Serialize + DeserializeOwned + 'static,
    {
        if let ValueForm::Refused(why) = &self.form {
            return Err(why.clone());
        }
        let start = out.len();
        out.extend([0; HEAD]);
        msgpack::write(value, out)?;
        let bytes = &out[start + HEAD..];
        let mut budget = Budget::for_message(bytes.len(), max_decoded);
        let changed = |text: String| msgpack::changed::<T>(&text);
        let back: T = unwinding(|| msgpack::parse(bytes, &mut budget)).map_err(changed)?;
        same(value, &back, true).map_err(changed)?;
        cost.add_cost(budget.charged());
        let length = u32::try_from(bytes.len()).map_err(|_| "longer than 4 GiB".to_owned())?;
        out[start..start + HEAD].copy_from_slice(&length.to_le_bytes());
        Ok(())
    }

    /// Decodes a value that was written by name from the front of `bytes`, perhaps as another version
    /// of this type. Returns it with the number of bytes that it took. Fields that are left out are
    /// noted in the budget.
    ///
    /// # Errors
    /// If the bytes are invalid or exceed the budget, or if something that was sent has no place in
    /// this type, unless that is `lossy`.
    pub(crate) fn read_names<T>(
        &self,
        bytes: &[u8],
        lossy: bool,
        budget: &mut Budget,
    ) -> Result<(T, usize), String>
    where
        T: Serialize + DeserializeOwned + 'static,
    {
        let (value, length) = split(bytes)?;
        Ok((read::<T>(value, lossy, budget)?, length))
    }

    /// Decodes a value of this type that takes up all of `bytes`, in any codec but JSON.
    ///
    /// # Errors
    /// As for [`read_names`](Self::read_names), or if bytes are left over.
    pub(crate) fn decode_as<T>(
        &self,
        codec: Codec,
        bytes: &[u8],
        budget: &mut Budget,
    ) -> Result<T, String>
    where
        T: Serialize + DeserializeOwned + 'static,
    {
        if !codec.is_by_name() {
            return self.decode_within(bytes, budget);
        }
        let lossy = codec == Codec::Lossy;
        let (value, length) = unwinding(|| self.read_names(bytes, lossy, budget))?;
        match bytes.len() - length {
            0 => Ok(value),
            left => Err(format!("{left} bytes are left over after the value")),
        }
    }

    /// Reads a value of this type in its own form from the front of `bytes`, and appends it by name.
    /// Returns the number of bytes that it took.
    ///
    /// # Errors
    /// As for [`read`](Self::read) and [`put_names`](Self::put_names).
    pub(crate) fn rewrite_by_name(
        &self,
        bytes: &[u8],
        out: &mut Vec<u8>,
        max_decoded: usize,
    ) -> Result<usize, String> {
        (self.rewrite_by_name)(self, bytes, out, max_decoded)
    }
}

pub(super) fn rewrite_by_name<T: Serialize + DeserializeOwned + 'static>(
    of: &ValueType,
    bytes: &[u8],
    out: &mut Vec<u8>,
    max_decoded: usize,
) -> Result<usize, String> {
    let mut budget = Budget::for_message(bytes.len(), max_decoded);
    let (value, length): (T, _) = unwinding(|| of.read(bytes, &mut budget))?;
    of.put_names(&value, out, &mut DecodeCost::default(), max_decoded)?;
    Ok(length)
}

/// Returns the MessagePack of the first value in `bytes`, and its length with its head.
pub(crate) fn split(bytes: &[u8]) -> Result<(&[u8], usize), String> {
    let short = || "ends before its value".to_owned();
    let (length, rest) = bytes.split_first_chunk::<HEAD>().ok_or_else(short)?;
    let length = usize::try_from(u32::from_le_bytes(*length)).map_err(|_| short())?;
    Ok((rest.get(..length).ok_or_else(short)?, HEAD + length))
}

/// Returns whether a value is `None`.
pub(crate) fn is_nothing(value: &[u8]) -> bool {
    value == [NIL]
}

/// Decodes MessagePack strictly.
fn read<T>(bytes: &[u8], lossy: bool, budget: &mut Budget) -> Result<T, String>
where
    T: Serialize + DeserializeOwned,
{
    let mut notes = Notes::new(lossy);
    let mut rest = bytes;
    let mut reader = rmp_serde::Deserializer::new(&mut rest).with_human_readable();
    reader.set_max_depth(MAX_DEPTH);
    let decoded = T::deserialize(Bounded::new(Strict::new(&mut reader, &mut notes), budget));
    let value = decoded.map_err(|error| notes.locate(in_words(&error)))?;
    drop(reader);
    if !rest.is_empty() {
        return Err(format!("{} bytes are left over after the value", rest.len()));
    }
    let mut left_out = notes.left_out();
    if notes.is_buffered() {
        left_out = ignored_fields(bytes, &value, lossy)?;
    }
    budget.note_left_out(left_out);
    Ok(value)
}

/// Writes an error without the terms of MessagePack.
fn in_words(error: &ReadError) -> String {
    match error {
        ReadError::TypeMismatch(_) => "it was sent as another kind of value".to_owned(),
        ReadError::LengthMismatch(_) => "it was sent with another number of parts".to_owned(),
        other => other.to_string(),
    }
}

/// Returns the value of an argument that was not sent.
///
/// # Errors
/// That it has to be sent, unless it is an `Option`.
pub(crate) fn missing<T: DeserializeOwned>() -> Result<T, String> {
    T::deserialize(Absent).map_err(|error| error.0)
}

#[cfg(test)]
mod tests;
