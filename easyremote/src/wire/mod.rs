//! The wire: frames, headers, control messages and the codec of values. No I/O happens here.
//!
//! A QUIC stream carries a sequence of [frames](frame). The first stream of a connection is the
//! control stream ([`control`]); every further one is a call with these frames:
//!
//! | direction | frames, then FIN |
//! |---|---|
//! | caller to node | `Header`, `Body` (the arguments); with a client stream `Item`*, `End`; with demand `Taken`* |
//! | node to caller, one result | `Error`, or: `Trace` if requested, `Body` or `Fault` |
//! | node to caller, a [job] | `Accepted` for a new one, `JobReport` about others, or as above |
//! | node to caller, a stream | `Fault` or `Error`, or: `Open`, items, `End` or `Error` |
//!
//! An item of a node's stream is an `Item`, `ItemFault` or `ItemError` frame. `Skipped` frames may
//! stand between them. A FIN before the last frame of a direction is an error, never an end.
//!
//! A caller of a stream whose header [says so](header::CallHeader::demand) sends `Taken` frames,
//! anywhere between the others behind the `Body`, and as long as it reads: how many items its reader
//! has taken. The totals never fall, and never exceed what was sent.
//!
//! A stream whose header has a [request to resume](header::CallHeader::resume) begins with an
//! `Attached` frame, and may go on, on another QUIC stream, behind the items that its reader has
//! taken. The `Body` of the caller is empty then, and no `Open` follows if items were taken.
//!
//! So may a call with a client stream. `Received` frames then stand behind the `Attached` one: how
//! many items of the client stream have arrived. On another QUIC stream the caller goes on behind
//! the number in the `Attached` frame, and finishes its direction once it has the answer.
//!
//! Small calls with one result may share one multiplexed stream, a [mux].

#[cfg(feature = "__bench")]
pub(crate) mod bench;
pub(crate) mod bytes;
pub(crate) mod caller;
pub(crate) mod codec;
pub(crate) mod control;
pub(crate) mod directory;
pub(crate) mod error;
pub(crate) mod fields;
pub(crate) mod frame;
pub(crate) mod gauges;
pub(crate) mod header;
pub(crate) mod job;
pub(crate) mod job_census;
#[cfg(feature = "http")]
pub(crate) mod json_text;
pub(crate) mod kind;
pub(crate) mod limits;
pub(crate) mod load;
pub(crate) mod mux;
mod numbers;
pub(crate) mod operators;
pub(crate) mod response;
pub(crate) mod resume;
pub(crate) mod routing_options;
pub(crate) mod scanner;
pub(crate) mod schemas;
pub(crate) mod trace;
pub(crate) mod trace_context;
pub(crate) mod unacked;
pub(crate) mod value;
