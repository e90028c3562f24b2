//! The relay: calls on their way from their callers to nodes, and what comes back.
//!
//! [`mux`] and [`streams`] read calls; [`Dispatch`] finds a node for each and decides whether
//! another one may have it after a loss, whichever stream carries the call. A place at a node is
//! free again when the node says so: see [`node_link`].
//!
//! [`Dispatch`]: call::Dispatch

mod call;
pub(super) mod caller_session;
mod cancels;
mod copy;
pub(super) mod dispatch;
pub(super) mod mux;
pub(super) mod node_link;
pub(super) mod node_mux;
mod outcome;
mod overflow;
mod progress;
pub(super) mod streams;
