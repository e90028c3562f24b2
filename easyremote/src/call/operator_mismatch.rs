//! The error of a call whose operator has other types at its node.

use crate::error::{Error, ErrorKind};

/// Returns the error for the operator `name`, which has the types `signature` at `node`.
pub(crate) fn operator_mismatch(name: &str, node: &str, signature: &str) -> Error {
    let text = format!(
        "{BEGINNING} `{name}` differ: node `{node}` has `{signature}`; build both from the same \
         definition"
    );
    Error::new(ErrorKind::SignatureMismatch, text)
}

/// Returns whether an error is about an operator, and not about the function that is called.
pub(crate) fn is_operator_mismatch(error: &Error) -> bool {
    error.kind() == ErrorKind::SignatureMismatch && error.to_string().starts_with(BEGINNING)
}

const BEGINNING: &str = "the types of the operator";
