//! Who is let in, and who may call and offer what.

pub(crate) mod access;
pub(crate) mod options;
pub(crate) mod tokens;
