//! QUIC and TLS: who a peer is, and streams that carry frames and never end silently.
//!
//! The only layer that names quinn and rustls. Roles see [`quinn::Connection`] to open and accept
//! streams and wrap both halves at once.

pub(crate) mod address;
pub(crate) mod authorities;
mod backoff;
pub(crate) mod certificates;
pub(crate) mod congestion;
pub(crate) mod control_stream;
pub(crate) mod credentials;
pub(crate) mod credit;
pub(crate) mod dial;
pub(crate) mod endpoint;
pub(crate) mod handover;
pub(crate) mod identity;
mod ids;
pub(crate) mod io_thread;
pub(crate) mod lane;
pub(crate) mod link;
pub(crate) mod reset;
pub(crate) mod room;
#[cfg(unix)]
mod socket;
pub(crate) mod stream;
pub(crate) mod tally;
pub(crate) mod ticket;
pub(crate) mod tls;
pub(crate) mod trust;
