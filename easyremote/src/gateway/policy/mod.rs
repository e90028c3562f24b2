//! Authentication and authorization: which peers are admitted, and what they may call and offer.

pub(crate) mod access;
mod append_log;
#[cfg(feature = "http")]
mod bearer_options;
#[cfg(feature = "http")]
pub(crate) mod bearers;
pub(super) mod config;
mod options;
pub(crate) mod revocations;
pub(crate) mod tokens;
