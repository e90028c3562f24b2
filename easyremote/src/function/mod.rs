//! Functions: what they are called, what they take and give, and how a node runs them.

pub(crate) mod arguments;
#[cfg(feature = "__bench")]
pub(crate) mod bench;
pub(crate) mod context;
pub(crate) mod declared;
pub(crate) mod descriptor;
pub(crate) mod entry;
pub(crate) mod generator;
pub(crate) mod handler;
mod json_list;
pub(crate) mod outbox;
pub(crate) mod outcome;
pub(crate) mod pace;
pub(crate) mod registry;
pub(crate) mod remote;
pub(crate) mod signature;
pub(crate) mod states;
pub(crate) mod terms;
pub(crate) mod text;
pub(crate) mod upload;
