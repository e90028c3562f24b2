//! Authentication and authorization: which peers are admitted, and what they may call and offer.

pub(crate) mod access;
mod append_log;
pub(super) mod config;
mod options;
pub(crate) mod revocations;
pub(crate) mod tokens;
