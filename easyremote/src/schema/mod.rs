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

mod digest;
mod expansion;
mod fields;
mod graph;
mod keyed;
mod layout;
mod parts;
mod samples;
mod search;
#[cfg(test)]
mod tests;
mod tracer;
mod type_schema;

use std::panic::{AssertUnwindSafe, catch_unwind};

use serde::Serialize;
use serde::de::DeserializeOwned;

use self::digest::{SeenVariant, find_variants};
use self::graph::Graph;

pub(crate) use self::digest::digest;
pub(crate) use self::layout::{Layout, NoLayout, PlaceKind, VariantContent};
pub(crate) use self::type_schema::TypeSchema;

/// What tracing has found out about a type.
pub(crate) struct Traced<T> {
    pub(crate) schema: TypeSchema,
    /// Where its bytes are, in a codec that writes no names.
    pub(crate) layout: Result<Layout, NoLayout>,
    /// Values that its `Deserialize` has made, up to [`MAX_KEPT`].
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
    let mut samples = Vec::new();
    let mut graph = Graph::new(human);
    let mut keep = |sample| {
        if samples.len() < MAX_KEPT {
            samples.push(sample);
        }
    };
    graph.explore::<T>(&mut keep);
    graph.vary::<T>(&mut keep);
    let mut variants = Vec::new();
    for sample in &samples {
        // What a value does not tell, or panics at, the type is not known by.
        let tell = AssertUnwindSafe(|| find_variants(sample, human, &mut variants));
        let _ = catch_unwind(tell);
    }
    graph.name_variants(&variants);
    let mut layout = graph.layout();
    if let Ok(layout) = &mut layout {
        layout.rename_variants(&variants);
    }
    Traced { schema: graph.shape(), layout, samples, unbuffered: graph.unbuffered }
}

impl Graph {
    /// Tells the names of variants from their aliases, by what values of them are called.
    fn name_variants(&mut self, seen: &[SeenVariant]) {
        for node in &mut self.nodes {
            let graph::NodeKind::Enum(of, names) = node.key.kind else { continue };
            let name = |number: usize| {
                let mut called = seen
                    .iter()
                    .filter(|(name, at, _)| *name == of && usize::try_from(*at) == Ok(number));
                let (_, _, name) = called.next()?;
                let one = called.all(|(_, _, other)| other == name) && names.contains(name);
                one.then_some(*name)
            };
            if node.present().count() < names.len() {
                node.variants = (0..node.present().count()).map(name).collect();
            }
        }
    }
}

/// Values of a type that are kept, for the encoder to be tried on.
const MAX_KEPT: usize = 256;
