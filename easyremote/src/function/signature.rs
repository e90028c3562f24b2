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
}

impl Signature {
    /// The types whose values cross the network, each with what it is of.
    fn types<'a>(
        &'a self,
        parameters: &'a [&'static str],
    ) -> impl Iterator<Item = (String, &'static ValueType)> + 'a {
        let argument = |(name, of): (&&str, _)| (format!("argument `{name}`"), of);
        let arguments = parameters.iter().zip(self.arguments.iter().copied()).map(argument);
        let others = [
            ("the caller's stream", self.upload),
            ("the result", self.value),
            ("the error", self.failure),
            ("the error of the set-up", self.setup_failure),
        ];
        arguments.chain(others.map(|(what, of)| (what.to_owned(), of)))
    }

    /// Why the function, whose parameters have these names, can neither be called nor offered, if
    /// that is so: which type, and what to do about it.
    pub(crate) fn refused(&self, parameters: &[&'static str]) -> Option<String> {
        self.types(parameters).find_map(|(what, of)| Some(format!("{what}: {}", of.refused()?)))
    }

    /// The types of which not one value could be made to try, each with what it is of.
    pub(crate) fn untried(&self, parameters: &[&'static str]) -> Vec<(String, &'static str)> {
        self.types(parameters).filter_map(|(what, of)| Some((what, of.untried()?))).collect()
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
