//! For the tests of programs that use easyremote: a [`World`] to run them in.
//!
//! It is the gateway, the nodes and the client of production, in the process of the test and on
//! loopback, so that a test sees what its program will see: the same encoding, the same errors. Each
//! has a port and an identity of its own, so tests run in parallel, and leave nothing behind.
//!
//! ```
//! use std::sync::atomic::{AtomicU64, Ordering};
//!
//! use easyremote::testing::World;
//! use easyremote::{functions, remote};
//!
//! #[remote]
//! fn count(#[state] counter: &AtomicU64, by: u64) -> u64 {
//!     counter.fetch_add(by, Ordering::Relaxed) + by
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), easyremote::Error> {
//! let world = World::builder()
//!     .node(|node| node.functions(functions![count]).state(AtomicU64::new(40)))
//!     .serve()
//!     .await?;
//! assert_eq!(count::call(world.client(), 2).await?, 42);
//! # Ok(())
//! # }
//! ```

mod state_dir;
mod world;
mod world_builder;

pub use crate::testing::world::World;
pub use crate::testing::world_builder::WorldBuilder;
