//! Who is let in, and who may call and offer what.

pub(crate) mod access;
pub(super) mod config;
mod options;
pub(crate) mod revocations;
pub(crate) mod tokens;
