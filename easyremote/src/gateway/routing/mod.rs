//! Routing: selects a node for a call, and the next waiting call for a free slot. Independent of
//! QUIC.
//!
//! All items are generic over a handle `H` to a node: a connection in the gateway, `()` in tests
//! and benchmarks.
//!
//! | file          | role                                                                   |
//! |---------------|------------------------------------------------------------------------|
//! | `router`      | [`Router`], [`Registration`], [`CallPermit`]: the interface            |
//! | `registry`    | registered nodes, and changes to the table                             |
//! | `names`       | names of functions, and the identities that own them                   |
//! | `meters`      | figures of all functions                                               |
//! | `table`       | immutable snapshot that calls read                                     |
//! | `node`        | [`RoutedNode`]: offers and slots of a node                             |
//! | `balancer`    | load balancing among the nodes that can run a call                     |
//! | `outlier`     | avoids nodes that keep failing                                         |
//! | `latency`     | latency estimates                                                      |
//! | `pace`        | functions that usually take long                                       |
//! | `rendezvous`  | owner of a sticky key                                                  |
//! | `queue`       | waiting calls                                                          |
//! | `waits`       | waiting calls as they are shown, and those without any node            |
//! | `diagnostics` | error messages for calls that cannot run, and reasons to wait          |
//!
//! [`Router::try_acquire`] reads the table and asks the balancer, which counts the call at a node.
//! The [`CallPermit`] records the outcome and frees the slot. If no node has a free slot, the call
//! joins a queue in [`Router::acquire`], and the next permit that is freed wakes it.

mod balancer;
#[cfg(feature = "__bench")]
pub(crate) mod bench;
mod clock;
mod diagnostics;
mod latency;
mod meters;
mod names;
mod node;
mod outlier;
mod pace;
mod queue;
mod registry;
mod rendezvous;
mod router;
#[cfg(any(test, feature = "__bench"))]
pub(super) mod sample;
mod table;
#[cfg(test)]
mod tests;
mod waits;

pub(crate) use crate::gateway::routing::node::{NodeHandle, RoutedNode};
pub use crate::gateway::routing::outlier::OutlierOptions;
pub(crate) use crate::gateway::routing::router::{CallPermit, Registration, Router};
pub(crate) use crate::gateway::routing::table::RoutingTable;
#[cfg(feature = "http")]
pub(crate) use crate::gateway::routing::waits::WaitingCallInfo;
