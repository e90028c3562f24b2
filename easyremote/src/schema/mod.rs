//! The structure of a type as serde sees it: its fields, their order, names and widths.
//!
//! Bytes on the wire carry no types, so two programs that disagree about a type would read garbage.
//! [`trace`] finds the structure of any `Deserialize` type without a further derive: it
//! deserializes the type from sample values, and records what the type requests.
//!
//! | item                      | use                                                        |
//! |---------------------------|------------------------------------------------------------|
//! | [`TypeSchema::canonical`] | the text that both sides hash and compare: the fingerprint |
//! | [`Layout`]                | what the type's `Serialize` has to write, for the encoder  |
//! | [`digest`]                | a hash of a value, to compare two values                   |
//! | [`json_schema`]           | what callers without types are told: a JSON Schema         |

mod digest;
mod expansion;
mod explored;
mod fields;
mod graph;
mod json;
mod keyed;
mod layout;
mod parts;
mod probe;
mod question;
mod samples;
mod search;
#[cfg(test)]
mod tests;
mod tracer;
mod type_schema;

use serde::Serialize;
use serde::de::DeserializeOwned;

use self::explored::Explored;

pub(crate) use self::digest::digest;
pub(crate) use self::json::{JsonSchema, json_schema, unused};
pub(crate) use self::layout::{Layout, NoLayout, PlaceKind, VariantContent};
pub(crate) use self::type_schema::TypeSchema;

/// What tracing has found out about a type.
pub(crate) struct Traced<T> {
    pub(crate) schema: TypeSchema,
    /// Where its bytes are, in a codec that writes no names.
    pub(crate) layout: Result<Layout, NoLayout>,
    /// Values that its `Deserialize` has made, up to 256.
    pub(crate) samples: Vec<T>,
    /// Whether it has a 128-bit integer where serde can have none.
    pub(crate) unbuffered: bool,
}

/// Finds the shape of `T`, as a format for people (`human`) or for machines sees it, by running its
/// `Deserialize` on sample values.
///
/// Never fails and always ends: what cannot be found out, because `T` accepts none of the samples,
/// panics at them, or is larger than the limits of the tracing, is [`TypeSchema::Unknown`]. The
/// same type has the same schema in every process and every build.
pub(crate) fn trace<T: Serialize + DeserializeOwned>(human: bool) -> Traced<T> {
    let Explored { graph, samples, variants } = Explored::new(human);
    let mut layout = graph.layout();
    if let Ok(layout) = &mut layout {
        layout.rename_variants(&variants);
    }
    Traced { schema: graph.shape(), layout, samples, unbuffered: graph.unbuffered }
}
