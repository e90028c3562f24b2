//! A function's types as serde sees them: a fingerprint to compare, and a text to display.

use std::sync::OnceLock;

use crate::wire::value::ValueType;

/// The types of a function's arguments and results.
#[derive(Debug)]
pub struct Signature {
    /// Equal for two functions whose values are the same on the wire; never 0.
    pub(crate) fingerprint: u64,
    /// The displayed form, such as `(a: i64, b: i64) -> i64`.
    pub(crate) text: String,
    /// The types of the arguments, in order.
    pub(crate) arguments: Vec<&'static ValueType>,
    /// The item type of the caller's stream, of an operator that of the items that it takes.
    pub(crate) upload: &'static ValueType,
    /// The error type of a stream's set-up.
    pub(crate) setup_failure: &'static ValueType,
    /// The type of the result, or of the items.
    pub(crate) value: &'static ValueType,
    /// The error type of the function, or of the items.
    pub(crate) failure: &'static ValueType,
    /// Why the function can be neither called nor offered: the type, and the remedy. `None` if it
    /// can.
    pub(crate) refused: Option<String>,
    /// The types that could not be tested, because no sample value could be built: the part of the
    /// signature, and the type.
    pub(crate) untried: Vec<(String, &'static str)>,
}

impl Signature {
    /// Fills in `refused` and `untried` from the remarks of the types; `parameters` are the names
    /// of the arguments, and `incoming` is what `upload` is the type of.
    pub(crate) fn with_remarks(mut self, parameters: &[&'static str], incoming: &str) -> Self {
        let argument = |(name, of): (&&str, _)| (format!("argument `{name}`"), of);
        let arguments = parameters.iter().zip(self.arguments.iter().copied()).map(argument);
        let others: [(&str, &'static ValueType); 4] = [
            (incoming, self.upload),
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

/// Caches the signature of a stub once it is traced.
#[derive(Debug)]
pub struct SignatureCell(OnceLock<Signature>);

impl SignatureCell {
    /// An empty cell.
    #[must_use]
    #[allow(clippy::new_without_default)]
    pub const fn new() -> Self {
        Self(OnceLock::new())
    }

    /// Returns the signature, traced on the first call.
    pub fn get(&self, trace: fn() -> Signature) -> &Signature {
        self.0.get_or_init(trace)
    }
}
