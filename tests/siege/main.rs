//! A gateway, or a node, in a process that is flooded by hostile peers while honest calls go on: their
//! latency, and the memory and processor time that the flood costs.

mod costs;
#[cfg(feature = "http")]
mod events;
mod floods;
#[path = "../security/hostile/functions.rs"]
mod functions;
mod hoards;
mod memory;
mod siege;
