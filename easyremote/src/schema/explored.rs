//! The first steps of every trace: the graph of a type, and values of it.

use std::panic::{AssertUnwindSafe, catch_unwind};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::digest::{SeenVariant, find_variants};
use super::graph::{Graph, NodeKind};

/// The graph of a type, and values of it.
pub(super) struct Explored<T> {
    pub(super) graph: Graph,
    /// Up to [`MAX_KEPT`].
    pub(super) samples: Vec<T>,
    /// The variants in the samples.
    pub(super) variants: Vec<SeenVariant>,
}

impl<T: Serialize + DeserializeOwned> Explored<T> {
    /// Runs the `Deserialize` of `T` on sample values.
    pub(super) fn new(human: bool) -> Self {
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
        Self { graph, samples, variants }
    }
}

impl Graph {
    /// Tells the names of variants from their aliases, by what values of them are called.
    fn name_variants(&mut self, seen: &[SeenVariant]) {
        for node in &mut self.nodes {
            let NodeKind::Enum(of, names) = node.key.kind else { continue };
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
