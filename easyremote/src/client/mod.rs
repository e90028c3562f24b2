//! The client: calls functions through a gateway.

#[cfg(feature = "__bench")]
pub(crate) mod bench;
mod call;
mod call_task;
mod detour;
mod directory;
mod errors;
mod expired;
mod handle;
mod instance;
mod json;
mod keeper;
mod map;
mod nested;
mod options;
mod pending_call;
mod retry;
mod session;
mod stats;
mod stream;
mod trace;
mod traced_call;
mod upload;

pub use crate::client::call::{Call, call, call_with};
pub use crate::client::handle::{Client, ClientBuilder};
pub use crate::client::instance::Instance;
pub use crate::client::json::{JsonCall, JsonError, JsonStream};
pub use crate::client::map::{Map, map};
pub use crate::client::options::Options;
pub use crate::client::retry::Retry;
pub use crate::client::stats::ClientStats;
pub use crate::client::stream::{OpenStream, StreamCall, stream_call, stream_call_with};
pub use crate::client::trace::Trace;
pub use crate::client::traced_call::TracedCall;
