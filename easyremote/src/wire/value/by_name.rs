//! Values by name: MessagePack with field names, and a digest of the value to verify it.
//!
//! | bytes | what                                                    |
//! |-------|---------------------------------------------------------|
//! | 4     | length of the MessagePack, little-endian                |
//! | 8     | digest of the value, little-endian                      |
//! | ..    | the value in MessagePack, structs as maps by field name |
//!
//! The format is human-readable in serde's sense (`is_human_readable`), because serde reads what it
//! buffers for `flatten`, `tag` and `untagged` that way.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::msgpack::{changed, parse, write};
use super::round_trip::{same, tried};
use crate::decode::{Budget, DecodeCost};
use crate::schema::digest;
use crate::wire::codec::{from_bincode, unwinding};
use crate::wire::limits::DEFAULT_MAX_DECODED;

/// Bytes in front of the value.
const HEAD: usize = 12;

/// Appends `value`, and adds what decoding it takes to `cost`.
///
/// # Errors
/// The error of its `Serialize` or `Deserialize`, or that it would arrive as another value.
pub(super) fn put<T>(
    value: &T,
    out: &mut Vec<u8>,
    cost: &mut DecodeCost,
    max_decoded: usize,
) -> Result<(), String>
where
    T: Serialize + DeserializeOwned,
{
    let start = out.len();
    out.extend([0; HEAD]);
    write(value, out)?;
    let bytes = &out[start + HEAD..];
    let mut budget = Budget::for_message(bytes.len(), max_decoded);
    let back: T = unwinding(|| parse(bytes, &mut budget)).map_err(|text| changed::<T>(&text))?;
    cost.add_cost(budget.charged());
    let digest = same(value, &back, true).map_err(|text| changed::<T>(&text))?;
    let length = u32::try_from(bytes.len()).map_err(|_| "longer than 4 GiB".to_owned())?;
    out[start..start + 4].copy_from_slice(&length.to_le_bytes());
    out[start + 4..start + HEAD].copy_from_slice(&digest.to_le_bytes());
    Ok(())
}

/// Decodes a value from the front of `bytes`. Returns it with the number of bytes that it took.
///
/// # Errors
/// If the bytes are invalid or exceed the budget, or if the value differs from the one that was
/// sent.
pub(super) fn read<T>(bytes: &[u8], budget: &mut Budget) -> Result<(T, usize), String>
where
    T: Serialize + DeserializeOwned,
{
    let short = || "ends before its value".to_owned();
    let (length, rest) = bytes.split_first_chunk::<4>().ok_or_else(short)?;
    let (sent, rest) = rest.split_first_chunk::<8>().ok_or_else(short)?;
    let length = usize::try_from(u32::from_le_bytes(*length)).map_err(|_| short())?;
    let value = parse(rest.get(..length).ok_or_else(short)?, budget)?;
    let arrived = digest::<T>(&value, true).map_err(|complaint| complaint.0)?;
    if arrived != u64::from_le_bytes(*sent) {
        let name = std::any::type_name::<T>();
        return Err(format!(
            "a `{name}` arrived as another value than was sent: the two sides do not have the \
             same type"
        ));
    }
    Ok((value, HEAD + length))
}

/// Decodes lists of values that were put one by one behind their number; for a `depth` above 1 lists
/// of such lists. The digests are not verified.
///
/// # Errors
/// If the bytes are invalid or exceed the budget.
pub(super) fn read_lists<T: DeserializeOwned>(
    bytes: &[u8],
    depth: u8,
    budget: &mut Budget,
) -> Result<T, String> {
    let mut array = Vec::with_capacity(bytes.len());
    match join(bytes, depth, &mut array)? {
        [] => parse(&array, budget),
        rest => Err(format!("{} bytes are left over", rest.len())),
    }
}

/// Appends lists to `out` as MessagePack; returns what is behind them.
fn join<'a>(mut bytes: &'a [u8], depth: u8, out: &mut Vec<u8>) -> Result<&'a [u8], String> {
    let short = || "ends before its value".to_owned();
    if depth == 0 {
        let (length, rest) = bytes.split_first_chunk::<4>().ok_or_else(short)?;
        let length = usize::try_from(u32::from_le_bytes(*length)).map_err(|_| short())?;
        let (value, rest) = rest
            .get(HEAD - 4..)
            .and_then(|rest| rest.split_at_checked(length))
            .ok_or_else(short)?;
        out.extend_from_slice(value);
        return Ok(rest);
    }
    let mut budget = Budget::for_message(bytes.len(), DEFAULT_MAX_DECODED);
    let (n, length) = from_bincode::<u64>(bytes, &mut budget)?;
    bytes = bytes.get(length..).ok_or_else(short)?;
    // The longest form of an array's head: a marker, and the length in 4 bytes.
    out.push(0xdd);
    out.extend_from_slice(&u32::try_from(n).map_err(|_| short())?.to_be_bytes());
    for _ in 0..n {
        bytes = join(bytes, depth - 1, out)?;
    }
    Ok(bytes)
}

/// Returns why `value` cannot be read after it was written, or `None` if it can.
///
/// A sample that is read as another value is no reason to refuse its type: an option of an empty
/// value is read as `None`, for example.
pub(super) fn unreadable<T: Serialize + DeserializeOwned>(value: &T) -> Option<String> {
    let there_and_back = || {
        let mut bytes = Vec::new();
        write(value, &mut bytes)?;
        let mut budget = Budget::for_message(bytes.len(), DEFAULT_MAX_DECODED);
        parse::<T>(&bytes, &mut budget).map(drop)
    };
    tried(there_and_back).err()
}
