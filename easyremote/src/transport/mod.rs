//! The transport: QUIC, TLS, authentication, and streams of frames that never end silently.
//!
//! This is the only layer that names quinn and rustls. Roles use [`quinn::Connection`] only to open
//! and accept streams, and wrap both halves at once.

pub(crate) mod auth;
mod backoff;
pub(crate) mod byte_channel;
pub(crate) mod call_span;
pub(crate) mod call_stats;
pub(crate) mod connection;
pub(crate) mod control_stream;
pub(crate) mod dial;
pub(crate) mod gateway_board;
pub(crate) mod io;
pub(crate) mod live_connection;
pub(crate) mod log_limit;
pub(crate) mod mismatches;
pub(crate) mod mux;
pub(crate) mod quic;
pub(crate) mod quinn_ext;
pub(crate) mod reader_meter;
pub(crate) mod reassembly;
pub(crate) mod stream_table;
pub(crate) mod token_bucket;
