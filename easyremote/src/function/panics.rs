//! Panics of user code, as errors.

use std::any::Any;

use crate::call::executed::Evidence;
use crate::error::{Error, ErrorKind};

/// Returns the message of a panic.
pub(crate) fn panic_text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message")
}

/// Returns the error of a function that panicked.
pub(crate) fn panicked(function: &str, panic: &(dyn Any + Send)) -> Error {
    let text = format!("`{function}` panicked: {}", panic_text(panic));
    Error::new(ErrorKind::Panicked, text).with_evidence(Evidence::Answered)
}
