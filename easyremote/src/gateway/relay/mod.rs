//! The relay: forwards calls from their callers to nodes, and responses back.
//!
//! | file               | role                                                                   |
//! |--------------------|------------------------------------------------------------------------|
//! | `caller_session`   | a connection that makes calls, with its limits                         |
//! | `mux`, `streams`   | read calls: from a caller's multiplexed stream, or one per stream      |
//! | `dispatch`         | finds a node for a call, and another after a loss: one path for both   |
//! | `hedged`           | where calls run that may be made a second time, at another node        |
//! | `node_mux`         | the multiplexed stream to a node                                       |
//! | `node_link`        | the connection to a node, and permits of calls whose callers have left |
//! | `census`           | asks nodes for all of their jobs                                       |
//! | `copy`, `overflow` | forward the bytes of a request or a response                           |
//! | `outcome`          | records what the end of a call says about its node                     |
//! | `failed_calls`     | the calls that have failed last                                        |
//!
//! A slot at a node is free again only when the node says so: see [`node_link`].

mod call;
pub(super) mod caller_session;
mod cancels;
#[cfg(feature = "http")]
pub(super) mod census;
mod copy;
pub(super) mod dispatch;
pub(super) mod failed_calls;
mod hedged;
pub(super) mod mux;
pub(super) mod node_link;
pub(super) mod node_mux;
mod outcome;
mod overflow;
mod progress;
pub(super) mod streams;
