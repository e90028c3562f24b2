//! The client: calls functions through a gateway.
//!
//! | to                             | use                                                         |
//! |--------------------------------|-------------------------------------------------------------|
//! | connect                        | [`Client::connect`]; with options [`Client::builder`]       |
//! | call a function                | its stub's `call`: a [`Call`] or a [`StreamCall`]           |
//! | call it with many arguments    | its stub's `map`: a [`Map`]                                 |
//! | call it at all nodes           | [`Call::on_all`]                                            |
//! | share a stream among readers   | [`StreamCall::cached`]                                      |
//! | apply a function to its items  | [`StreamCall::through`], of an [`Applied`] operator         |
//! | call it by name, with JSON     | [`Client::call_json`], [`Client::stream_json`]              |
//! | run it once for several calls  | [`Call::key`]                                               |
//! | run it without its caller      | [`Call::spawn`], and [`Client::job`] for the [`Job`]        |
//! | set options of one call        | the methods of [`Call`]                                     |
//! | set options of all calls       | [`Options`], with [`Client::with`]                          |
//! | see functions, nodes, counters | [`Client::functions`], [`Client::nodes`], [`Client::stats`] |
//! | see the gateway's counters     | [`Client::gateway_stats`], [`Client::function_stats`]       |
//! | see jobs                       | [`Client::jobs`]                                            |

mod answer_form;
#[cfg(feature = "__bench")]
pub(crate) mod bench;
mod cached;
pub(crate) mod call;
mod call_task;
mod detour;
mod difference;
mod directory;
mod errors;
mod expired;
mod handle;
mod hedge;
pub(crate) mod instance;
mod job;
mod json;
mod json_job;
#[cfg(feature = "http")]
pub(crate) mod json_text;
mod json_traced;
mod keeper;
mod kept_upload;
mod key;
mod leg;
mod limits;
pub(crate) mod map;
#[cfg(feature = "metrics")]
mod metrics;
mod nested;
mod on_all;
mod options;
mod pending_call;
mod resumption;
mod retry;
// The HTTP server is what passes items on.
#[cfg_attr(not(feature = "http"), allow(dead_code))]
pub(crate) mod ring;
mod session;
mod skew;
mod span;
mod spawn;
mod stats;
pub(crate) mod stream;
mod trace;
mod traced_call;
mod upload;

pub use crate::call::batch_meter::{BatchReason, BatchStats};
pub use crate::call::function_meter::FunctionStats;
pub use crate::call::histogram::DurationHistogram;
pub use crate::client::cached::{Cached, Subscription};
pub use crate::client::call::Call;
pub use crate::client::handle::{Client, ClientBuilder};
pub use crate::client::job::{Job, JobInfo};
pub use crate::client::json::{JsonCall, JsonError, JsonStream};
pub use crate::client::json_job::{JsonJob, JsonSpawn};
pub use crate::client::json_traced::JsonTracedCall;
pub use crate::client::limits::ClientLimits;
pub use crate::client::map::Map;
pub use crate::client::on_all::OnAll;
pub use crate::client::options::Options;
pub use crate::client::retry::Retry;
pub use crate::client::spawn::Spawn;
pub use crate::client::stats::ClientStats;
pub use crate::client::stream::raw::progress::StreamProgress;
pub use crate::client::stream::through::{Applied, AppliesTo};
pub use crate::client::stream::{OpenStream, StreamCall};
pub use crate::client::trace::{BatchTrace, Trace};
pub use crate::client::traced_call::TracedCall;
#[cfg(feature = "metrics")]
pub use crate::exposition::MetricsFormat;
pub use crate::function::remote::{Idempotent, RemoteOperator};
pub use crate::transport::io::Io;
pub use crate::transport::stream_table::StreamStats;
pub use crate::wire::directory::{FunctionInfo, NodeInfo};
pub use crate::wire::job::{JobId, JobProgress, JobState, JobStatus};
pub use crate::wire::kind::Kind;
pub use crate::wire::load::{Memory, NodeLoad};
pub use crate::wire::routing_options::Strategy;
pub use crate::wire::schemas::FunctionSchemas;
pub use crate::wire::trace_context::TraceContext;
