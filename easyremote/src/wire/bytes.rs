//! Encoding and decoding of integers and strings in the hand-written layouts.
//!
//! Integers are QUIC variable-length integers (RFC 9000, section 16) unless stated otherwise.
//! Decoding checks every length against its limit, and against the bytes that are left, before it
//! uses the length.

use std::fmt;

use crate::error::printable::cut;
use crate::error::{Error, ErrorKind};

/// The error of bytes that do not have the expected layout; the text names the field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Malformed {
    pub(crate) kind: ErrorKind,
    pub(crate) text: String,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Malformed {}

impl Malformed {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self { kind: ErrorKind::Protocol, text: text.into() }
    }

    /// Creates the error of a valid layout that exceeds a limit.
    pub(crate) fn too_large(text: String) -> Self {
        Self { kind: ErrorKind::TooLarge, text }
    }

    /// Creates the error of a feature of a later version that this one lacks.
    pub(crate) fn unsupported(text: String) -> Self {
        Self { kind: ErrorKind::Unavailable, text }
    }

    /// Prefixes the text with the name of the layout that the field is a part of.
    #[cold]
    pub(crate) fn within(self, whole: &str) -> Self {
        Self { kind: self.kind, text: format!("{whole}: {}", self.text) }
    }

    pub(crate) fn into_error(self) -> Error {
        Error::new(self.kind, self.text)
    }
}

/// Appends integers and strings to a buffer.
pub(crate) trait WriteBytes {
    /// Appends a variable-length integer of 1, 2, 4 or 8 bytes. Values above 2^62 - 1 become 2^62 -
    /// 1.
    fn put_varint(&mut self, value: u64);
    /// Appends a length and that many bytes.
    fn put_bytes(&mut self, value: &[u8]);
    /// Appends a string as its bytes, cut at `limit` on a character boundary.
    fn put_str(&mut self, value: &str, limit: usize);
}

impl WriteBytes for Vec<u8> {
    fn put_varint(&mut self, value: u64) {
        let value = value.min(MAX_VARINT);
        if value < 1 << 6 {
            self.push(value as u8);
        } else if value < 1 << 14 {
            self.extend_from_slice(&(value as u16 | 0x4000).to_be_bytes());
        } else if value < 1 << 30 {
            self.extend_from_slice(&(value as u32 | 0x8000_0000).to_be_bytes());
        } else {
            self.extend_from_slice(&(value | 0xc000_0000_0000_0000).to_be_bytes());
        }
    }

    fn put_bytes(&mut self, value: &[u8]) {
        self.put_varint(value.len() as u64);
        self.extend_from_slice(value);
    }

    fn put_str(&mut self, value: &str, limit: usize) {
        self.put_bytes(cut(value, limit).as_bytes());
    }
}

/// Returns the number of bytes of `value` as a variable-length integer.
pub(crate) fn varint_length(value: u64) -> usize {
    match value {
        0..0x40 => 1,
        0x40..0x4000 => 2,
        0x4000..0x4000_0000 => 4,
        _ => 8,
    }
}

/// Returns the number of bytes of `value` with its length in front.
pub(crate) fn string_length(value: &str) -> usize {
    varint_length(value.len() as u64) + value.len()
}

/// Reads from the front of a slice.
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// Returns what has not been read.
    pub(crate) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    pub(crate) fn take(&mut self, n: usize, field: &str) -> Result<&'a [u8], Malformed> {
        match self.rest.split_at_checked(n) {
            Some((taken, rest)) => {
                self.rest = rest;
                Ok(taken)
            }
            None => Err(Malformed::new(format!("`{field}` is cut short"))),
        }
    }

    pub(crate) fn array<const N: usize>(&mut self, field: &str) -> Result<[u8; N], Malformed> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N, field)?);
        Ok(array)
    }

    pub(crate) fn u8(&mut self, field: &str) -> Result<u8, Malformed> {
        self.array::<1>(field).map(|[byte]| byte)
    }

    pub(crate) fn u64(&mut self, field: &str) -> Result<u64, Malformed> {
        self.array(field).map(u64::from_be_bytes)
    }

    pub(crate) fn varint(&mut self, field: &str) -> Result<u64, Malformed> {
        let first = self.u8(field)?;
        let more = self.take((1 << (first >> 6)) - 1, field)?;
        Ok(more.iter().fold(u64::from(first & 0x3f), |value, &byte| (value << 8) | u64::from(byte)))
    }

    /// Reads a length of at most `limit`.
    fn length(&mut self, limit: usize, field: &str) -> Result<usize, Malformed> {
        match usize::try_from(self.varint(field)?) {
            Ok(length) if length <= limit => Ok(length),
            _ => Err(Malformed::new(format!("`{field}` is longer than {limit}"))),
        }
    }

    pub(crate) fn bytes(&mut self, limit: usize, field: &str) -> Result<&'a [u8], Malformed> {
        let length = self.length(limit, field)?;
        self.take(length, field)
    }

    pub(crate) fn str(&mut self, limit: usize, field: &str) -> Result<&'a str, Malformed> {
        std::str::from_utf8(self.bytes(limit, field)?)
            .map_err(|_| Malformed::new(format!("`{field}` is not UTF-8")))
    }
}

/// Largest variable-length integer.
pub(crate) const MAX_VARINT: u64 = (1 << 62) - 1;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_survive_at_every_width() {
        for value in [0, 1, 63, 64, 16_383, 16_384, (1 << 30) - 1, 1 << 30, MAX_VARINT] {
            let mut out = Vec::new();
            out.put_varint(value);
            assert_eq!(out.len(), varint_length(value));
            let mut reader = Reader::new(&out);
            assert_eq!(reader.varint("value"), Ok(value));
            assert!(reader.is_empty());
        }
    }

    #[test]
    fn an_integer_that_does_not_fit_is_the_largest() {
        let mut out = Vec::new();
        out.put_varint(u64::MAX);
        assert_eq!(Reader::new(&out).varint("value"), Ok(MAX_VARINT));
    }

    #[test]
    fn every_cut_is_an_error() {
        let mut out = Vec::new();
        out.put_varint(70_000);
        out.put_str("name", 100);
        for end in 0..out.len() {
            let mut reader = Reader::new(&out[..end]);
            let read = reader.varint("value").and_then(|_| reader.str(100, "name"));
            assert!(read.is_err(), "{end}");
        }
    }

    #[test]
    fn a_length_above_the_limit_is_refused_before_it_is_used() {
        let mut out = Vec::new();
        out.put_varint(MAX_VARINT);
        assert!(Reader::new(&out).bytes(10, "name").is_err());
    }

    #[test]
    fn long_strings_are_cut_between_characters() {
        let mut out = Vec::new();
        out.put_str("aé", 2);
        assert_eq!(Reader::new(&out).str(10, "name"), Ok("a"));
    }
}
