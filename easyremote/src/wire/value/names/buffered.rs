//! Finds the fields that serde has ignored in what it buffers.
//!
//! A `flatten`, `tag` or `untagged` reads from serde's own buffer, where no deserializer can see what
//! is ignored. So the value is written again, and the names in what was sent and in what is written
//! are compared. A name that is missing is an alias, or was ignored. To tell, the value behind it is
//! replaced by one that no type reads: if the result is the same, it was ignored.

use std::collections::HashMap;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::decode::{Budget, unknown_field};
use crate::schema::digest;
use crate::wire::codec::unwinding;
use crate::wire::value::msgpack::{self, MAX_DEPTH, NIL};

/// A part of a message.
type Span = (usize, usize);

/// Names that are tested one by one. Each test decodes the value once more.
const MAX_TESTED: usize = 64;

/// Bytes that are decoded once more in all, beyond the first name.
const MAX_TESTED_BYTES: usize = 16 << 20;

/// A byte string that is no text, which no type reads but those that hold bytes.
const UNREADABLE: [u8; 3] = [0xc4, 1, 0xff];

/// Returns the number of fields of `sent` that are not in `value`, which was read from it.
///
/// # Errors
/// The first of them, unless that is `lossy`; or that there is too much to test.
pub(super) fn ignored_fields<T: Serialize + DeserializeOwned>(
    sent: &[u8],
    value: &T,
    lossy: bool,
) -> Result<u64, String> {
    let mut back = Vec::new();
    msgpack::write(value, &mut back)?;
    let mut walk = Walk { sent, back: &back, found: Vec::new(), is_lost: false };
    walk.value(0, 0, 0).ok_or("it nests too deep to be compared")?;
    let Walk { found, is_lost, .. } = walk;
    if is_lost {
        return Err("a value, such as an infinite number, would be read as nothing".to_owned());
    }
    let max_tested = MAX_TESTED.min(1 + MAX_TESTED_BYTES / sent.len().max(1));
    if found.len() > max_tested && !lossy {
        let n = found.len();
        return Err(format!("{n} names are not those of the fields here, more than are looked up"));
    }
    let same = digest(value, true).map_err(|complaint| complaint.0)?;
    let mut ignored = 0;
    for (nth, (name, (from, to))) in found.iter().enumerate() {
        let mut other = sent[..*from].to_vec();
        other.extend(UNREADABLE);
        other.extend(&sent[*to..]);
        // What was sent has kept to its budget, and this differs in one value.
        let mut budget = Budget::for_message(other.len(), usize::MAX);
        let mut decoded = || unwinding(|| msgpack::parse::<T>(&other, &mut budget)).ok();
        let is_read =
            nth < max_tested && decoded().and_then(|value| digest(&value, true).ok()) != Some(same);
        if is_read {
            continue;
        }
        if !lossy {
            return Err(unknown_field(name));
        }
        ignored += 1;
    }
    Ok(ignored)
}

/// Compares the names in two messages.
struct Walk<'a> {
    sent: &'a [u8],
    back: &'a [u8],
    /// The names that only `sent` has, and the values behind them.
    found: Vec<(String, Span)>,
    /// Whether a value has become nothing.
    is_lost: bool,
}

/// A value's own head: what it is, and where its content begins.
enum Head {
    Map(usize, usize),
    Seq(usize, usize),
    /// Ends here.
    Leaf(usize),
}

impl Walk<'_> {
    /// Compares the values that begin at `sent` and `back`. Returns where the first ends; `None` if
    /// it is too deep.
    fn value(&mut self, sent: usize, back: usize, depth: usize) -> Option<usize> {
        if depth > MAX_DEPTH {
            return None;
        }
        match (head(self.sent, sent)?, head(self.back, back)?) {
            (Head::Map(n, mut at), Head::Map(m, first)) => {
                let known = entries(self.back, first, m)?;
                for _ in 0..n {
                    let value = end(self.sent, at, depth)?;
                    let key = &self.sent[at..value];
                    at = match known.get(key) {
                        Some(other) => self.value(value, *other, depth + 1)?,
                        None => {
                            let to = end(self.sent, value, depth)?;
                            if self.sent[value] != NIL {
                                self.found.push((shown(key), (value, to)));
                            }
                            to
                        }
                    };
                }
                Some(at)
            }
            (Head::Seq(n, mut at), Head::Seq(m, mut other)) => {
                for index in 0..n {
                    if index < m {
                        let next = end(self.back, other, depth)?;
                        at = self.value(at, other, depth + 1)?;
                        other = next;
                    } else {
                        at = end(self.sent, at, depth)?;
                    }
                }
                Some(at)
            }
            // A `Value` of JSON reads infinity as null.
            _ if self.back[back] == NIL && self.sent[sent] != NIL => {
                self.is_lost = true;
                end(self.sent, sent, depth)
            }
            _ => end(self.sent, sent, depth),
        }
    }
}

/// Returns a key as text.
fn shown(key: &[u8]) -> String {
    rmp_serde::from_slice::<String>(key).unwrap_or_else(|_| "?".to_owned())
}

/// Returns the keys of a map, and where their values begin.
fn entries(bytes: &[u8], mut at: usize, n: usize) -> Option<HashMap<&[u8], usize>> {
    let mut entries = HashMap::new();
    for _ in 0..n {
        let value = end(bytes, at, 0)?;
        entries.insert(&bytes[at..value], value);
        at = end(bytes, value, 0)?;
    }
    Some(entries)
}

/// Returns where the value ends that begins at `at`.
fn end(bytes: &[u8], at: usize, depth: usize) -> Option<usize> {
    if depth > 2 * MAX_DEPTH {
        return None;
    }
    let (n, mut at) = match head(bytes, at)? {
        Head::Leaf(end) => return Some(end),
        Head::Map(n, at) => (2 * n, at),
        Head::Seq(n, at) => (n, at),
    };
    for _ in 0..n {
        at = end(bytes, at, depth + 1)?;
    }
    Some(at)
}

/// Reads the head of a value (MessagePack specification, "Formats").
fn head(bytes: &[u8], at: usize) -> Option<Head> {
    let number = |width: usize| {
        let digits = bytes.get(at + 1..at + 1 + width)?;
        let number = digits.iter().fold(0_u64, |sum, byte| sum << 8 | u64::from(*byte));
        Some((usize::try_from(number).ok()?, at + 1 + width))
    };
    let leaf = |length: usize| Some(Head::Leaf(at.checked_add(length)?));
    let behind = |(length, start): (usize, usize)| Some(Head::Leaf(start.checked_add(length)?));
    let head = match *bytes.get(at)? {
        marker @ 0x80..=0x8f => Head::Map(usize::from(marker & 0x0f), at + 1),
        marker @ 0x90..=0x9f => Head::Seq(usize::from(marker & 0x0f), at + 1),
        marker @ 0xa0..=0xbf => leaf(1 + usize::from(marker & 0x1f))?,
        0xc4 | 0xd9 => behind(number(1)?)?,
        0xc5 | 0xda => behind(number(2)?)?,
        0xc6 | 0xdb => behind(number(4)?)?,
        // The length of an extension does not count its type.
        0xc7 => number(1).and_then(|(length, at)| behind((length + 1, at)))?,
        0xc8 => number(2).and_then(|(length, at)| behind((length + 1, at)))?,
        0xc9 => number(4).and_then(|(length, at)| behind((length + 1, at)))?,
        0xcc | 0xd0 => leaf(2)?,
        0xcd | 0xd1 => leaf(3)?,
        0xca | 0xce | 0xd2 => leaf(5)?,
        0xcb | 0xcf | 0xd3 => leaf(9)?,
        marker @ 0xd4..=0xd8 => leaf(2 + (1 << (marker - 0xd4)))?,
        0xdc => number(2).map(|(n, at)| Head::Seq(n, at))?,
        0xdd => number(4).map(|(n, at)| Head::Seq(n, at))?,
        0xde => number(2).map(|(n, at)| Head::Map(n, at))?,
        0xdf => number(4).map(|(n, at)| Head::Map(n, at))?,
        _ => leaf(1)?,
    };
    match head {
        Head::Leaf(end) if end > bytes.len() => None,
        head => Some(head),
    }
}
