//! The relay: the bytes of a call from its caller to a node, and back.

pub(crate) mod caller_session;
mod copy;
pub(crate) mod mux;
pub(crate) mod node_mux;
mod overflow;
mod progress;
pub(crate) mod streams;
