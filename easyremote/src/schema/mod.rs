//! What serde sees of a type: its fields, their order, names and widths.
//!
//! Bytes on the wire carry no types, so two programs that disagree about one would read garbage.
//! [`trace`] finds the structure of any `Deserialize` type without a further derive, by
//! deserializing it from made-up values and noting what it asks for. [`TypeSchema::canonical`]
//! turns the result into the text that both sides hash and compare.

mod expansion;
mod graph;
mod parts;
mod samples;
mod search;
#[cfg(test)]
mod tests;
mod tracer;
mod type_schema;

use serde::de::DeserializeOwned;

use self::graph::Graph;

pub(crate) use self::type_schema::TypeSchema;

/// Finds the shape of `T` by running its `Deserialize` on sample values.
///
/// Never fails and always ends: what cannot be found out, because `T` accepts none of the samples
/// or is larger than the limits of the tracing, is [`TypeSchema::Unknown`]. The same type gives the
/// same shape in every process and every build. A panic in the user's `Deserialize` is passed on.
pub(crate) fn trace<T: DeserializeOwned>() -> TypeSchema {
    let mut graph = Graph::new();
    graph.explore::<T>();
    graph.shape()
}
