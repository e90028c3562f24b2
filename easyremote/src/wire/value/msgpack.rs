//! MessagePack with the names of fields.
//!
//! The format is human-readable in serde's sense (`is_human_readable`), because serde reads what it
//! buffers for `flatten`, `tag` and `untagged` that way.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::decode::{Bounded, Budget};

/// `nil`.
pub(super) const NIL: u8 = 0xc0;

/// Deepest nesting of lists and maps between two versions of a type, also where they are left out.
pub(super) const MAX_DEPTH: usize = 192;

/// Appends a value.
pub(super) fn write<T: Serialize>(value: &T, out: &mut Vec<u8>) -> Result<(), String> {
    let mut serializer = rmp_serde::Serializer::new(out).with_struct_map().with_human_readable();
    value.serialize(&mut serializer).map_err(|error| error.to_string())
}

/// Decodes a value.
pub(super) fn parse<T: DeserializeOwned>(bytes: &[u8], budget: &mut Budget) -> Result<T, String> {
    let mut deserializer = rmp_serde::Deserializer::from_read_ref(bytes).with_human_readable();
    T::deserialize(Bounded::new(&mut deserializer, budget)).map_err(|error| error.to_string())
}

/// Returns the error of a value that is not sent.
pub(super) fn changed<T>(why: &str) -> String {
    let name = std::any::type_name::<T>();
    format!(
        "this `{name}` would not arrive as it is: {why}; what `Serialize` writes must be what \
         `Deserialize` reads"
    )
}
