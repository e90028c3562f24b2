//! Routing: which node runs a call, and which waiting call is next. Knows no QUIC.
//!
//! Everything here is generic over a handle `H`, the way to a node: the gateway has a connection
//! there, tests and benches have `()`.
//!
//! | file          | what it is about                                                      |
//! |---------------|-----------------------------------------------------------------------|
//! | `router`      | [`Router`], [`Registration`], [`CallPermit`]: the interface            |
//! | `registry`    | the nodes that are registered, and the changes to the table            |
//! | `names`       | the names that functions have, and whose they are                      |
//! | `table`       | the immutable snapshot that calls read                                 |
//! | `node`        | [`RoutedNode`]: what it offers, and how much of it is in use            |
//! | `balancer`    | which of the nodes that can run a call gets it                         |
//! | `outlier`     | nodes that keep failing are avoided                                    |
//! | `latency`     | how long a node takes                                                  |
//! | `rendezvous`  | which node a sticky key belongs to                                     |
//! | `queue`       | the calls that wait                                                    |
//! | `diagnostics` | why a call cannot run                                                  |
//!
//! A call goes: [`Router::try_acquire`] reads the table and asks the balancer, which counts the
//! call at a node; the [`CallPermit`] records the outcome and frees the slot. Where no node has
//! room, the call joins a queue in [`Router::acquire`], and the next permit that is freed wakes it.

mod balancer;
#[cfg(feature = "__bench")]
pub(crate) mod bench;
mod clock;
mod diagnostics;
mod latency;
mod names;
mod node;
mod outlier;
mod pace;
mod queue;
mod registry;
mod rendezvous;
mod router;
#[cfg(any(test, feature = "__bench"))]
mod sample;
mod table;
#[cfg(test)]
mod tests;

pub(crate) use crate::gateway::routing::node::{NodeHandle, RoutedNode};
pub use crate::gateway::routing::outlier::OutlierOptions;
pub(crate) use crate::gateway::routing::router::{CallPermit, Registration, Router};
pub(crate) use crate::gateway::routing::table::RoutingTable;
