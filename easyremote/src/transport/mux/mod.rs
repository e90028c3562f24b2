//! The multiplexed stream: one QUIC stream for many small calls, whose messages are written
//! together.

pub(crate) mod client;
pub(crate) mod driver;
pub(crate) mod in_flight;
mod loss;
pub(crate) mod overflow;
pub(crate) mod writer;
