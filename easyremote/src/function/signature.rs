//! A function's types as serde sees them: a fingerprint for machines, a text for people.

use std::sync::OnceLock;

use crate::wire::value::ValueType;

/// The types of a function's arguments and results.
#[derive(Debug)]
pub struct Signature {
    /// Equal for two functions whose values mean the same on the wire; never 0.
    pub(crate) fingerprint: u64,
    /// Such as `(a: i64, b: i64) -> i64`.
    pub(crate) text: String,
    /// Of the arguments, in order.
    pub(crate) arguments: Vec<&'static ValueType>,
    /// Of the items of the caller's stream.
    pub(crate) upload: &'static ValueType,
    /// Of what setting a stream up fails with.
    pub(crate) setup_failure: &'static ValueType,
    /// Of the result, or of the items.
    pub(crate) value: &'static ValueType,
    /// Of what the function, or an item, fails with.
    pub(crate) failure: &'static ValueType,
    /// Why the function can neither be called nor offered, if that is so: which type, and what to do
    /// about it.
    pub(crate) refused: Option<String>,
    /// The types of which not one value could be made to try, each with what it is of.
    pub(crate) untried: Vec<(String, &'static str)>,
}

impl Signature {
    /// What is to be known of the types, whose parameters have these names, beside how their values
    /// are written.
    pub(crate) fn with_remarks(mut self, parameters: &[&'static str]) -> Self {
        let argument = |(name, of): (&&str, _)| (format!("argument `{name}`"), of);
        let arguments = parameters.iter().zip(self.arguments.iter().copied()).map(argument);
        let others: [(&str, &'static ValueType); 4] = [
            ("the caller's stream", self.upload),
            ("the result", self.value),
            ("the error", self.failure),
            ("the error of the set-up", self.setup_failure),
        ];
        for (what, of) in arguments.chain(others.map(|(what, of)| (what.to_owned(), of))) {
            if self.refused.is_none() {
                self.refused = of.refused().map(|why| format!("{what}: {why}"));
            }
            self.untried.extend(of.untried().map(|name| (what, name)));
        }
        self
    }
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
