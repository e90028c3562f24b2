//! The sample values for leaves and lengths.
//!
//! A new sample at the end of a list does not change the schema of a type whose trace is complete.
//! A new order may change which parts of a type that validates its input are reached.

use super::type_schema::TypeSchema;

/// Returns the number of samples for a leaf.
pub(crate) fn n_samples(leaf: &TypeSchema) -> usize {
    match leaf {
        TypeSchema::Bool => BOOLS.len(),
        TypeSchema::F32 | TypeSchema::F64 => FLOATS.len(),
        TypeSchema::Char => CHARS.len(),
        TypeSchema::Str => STRS.len(),
        TypeSchema::Bytes => BYTES.len(),
        TypeSchema::Unit => 1,
        _ => INTS.len(),
    }
}

/// Samples of `bool`.
pub(crate) const BOOLS: [bool; 2] = [false, true];
/// Samples of all integer types, so none is negative: small ones, then common sizes and limits.
pub(crate) const INTS: [i8; 20] =
    [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 16, 20, 24, 32, 60, 64, 100, 127];
/// Samples of `f32` and `f64`.
pub(crate) const FLOATS: [f32; 5] = [0.0, 1.0, 0.5, -1.0, 100.0];
/// Samples of `char`.
pub(crate) const CHARS: [char; 4] = ['a', '0', 'A', ' '];
/// Samples of strings: the formats that types commonly parse.
pub(crate) const STRS: [&str; 22] = [
    "",
    "0",
    "1",
    "a",
    "A",
    "00",
    "127.0.0.1",
    "::1",
    "127.0.0.1:1",
    "[::1]:1",
    "1970-01-01T00:00:00Z",
    "1970-01-01T00:00:00",
    "1970-01-01",
    "00:00:00",
    "00000000-0000-0000-0000-000000000000",
    "0.0.0",
    "true",
    "/",
    "http://a/",
    "a@b.cc",
    "1s",
    "en",
];
/// Samples of byte buffers: empty, then the sizes of numbers, identifiers and keys.
pub(crate) const BYTES: [&[u8]; 9] =
    [b"", b"a", &[0; 1], &[0; 4], &[0; 8], &[0; 12], &[0; 16], &[0; 20], &[0; 32]];
/// Lengths of a sequence to rest on: empty, or what a type that validates its length may require.
/// An `Option` has the first two (`None`, `Some`), and so has a map.
pub(crate) const LENGTHS: [usize; 5] = [0, 1, 2, 3, 4];
/// Largest number of samples of any leaf.
pub(crate) const MAX_SAMPLES: usize = STRS.len();
