//! A function's types as serde sees them: a fingerprint for machines, a text for people.

use std::sync::OnceLock;

/// The types of a function's arguments and results.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature {
    /// Equal for two functions whose values mean the same on the wire; never 0.
    pub(crate) fingerprint: u64,
    /// Such as `(a: i64, b: i64) -> i64`.
    pub(crate) text: String,
}

/// Where a stub keeps its signature once it is traced.
#[derive(Debug)]
pub struct SignatureCell(OnceLock<Signature>);

impl SignatureCell {
    /// An empty cell.
    #[must_use]
    #[allow(clippy::new_without_default)]
    pub const fn new() -> Self {
        Self(OnceLock::new())
    }

    /// The signature, traced on the first call.
    pub fn get(&self, trace: fn() -> Signature) -> &Signature {
        self.0.get_or_init(trace)
    }
}
