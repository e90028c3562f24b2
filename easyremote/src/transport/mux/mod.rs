//! The multiplexed stream: one QUIC stream for many small calls, whose messages are written together.

pub(crate) mod client;
pub(crate) mod deadlines;
pub(crate) mod in_flight;
pub(crate) mod writer;
