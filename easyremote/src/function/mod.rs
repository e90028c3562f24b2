//! Functions: names, signatures, argument and result types, and the handlers that a node runs.

pub(crate) mod arguments;
pub(crate) mod batch;
#[cfg(feature = "__bench")]
pub(crate) mod bench;
pub(crate) mod columns;
pub(crate) mod context;
pub(crate) mod declared;
pub(crate) mod descriptor;
pub(crate) mod end;
pub(crate) mod execution_policy;
#[cfg(any(feature = "attach", feature = "http"))]
pub(crate) mod forward;
pub(crate) mod handler;
pub(crate) mod inline_guard;
pub(crate) mod item_writer;
mod json_list;
pub(crate) mod json_schemas;
pub(crate) mod local;
pub(crate) mod named_list;
pub(crate) mod operator;
pub(crate) mod operators;
pub(crate) mod outcome;
pub(crate) mod panics;
pub(crate) mod poll_time;
#[cfg(feature = "node")]
pub(crate) mod registered;
pub(crate) mod registry;
pub(crate) mod remote;
pub(crate) mod reported_gauges;
pub(crate) mod signature;
pub(crate) mod signature_trace;
pub(crate) mod states;
pub(crate) mod stream_sink;
pub(crate) mod text;
pub(crate) mod upload;
