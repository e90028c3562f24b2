//! A local HTTP server as a node: requests that reach the gateway are forwarded to it.
//!
//! [`LocalServer`] says which server, and which requests it gets; [`LocalServer::attach`] starts the
//! node, which dials out as any node does. The command-line tool does the same:
//! `easyremote attach gpu-1 http://127.0.0.1:11434`.
//!
//! ```text
//!   caller --HTTP--> gateway --a call--> node --HTTP, a connection per request--> local server
//!                    rules for           the same rules,
//!                    paths, headers      and its list of requests
//! ```
//!
//! A node with an OpenAI-compatible server has a tag for each of its models, `model:llama3.2` for
//! example, and the gateway sends requests for a model to the nodes that have it.

mod allowed;
mod attached;
mod exchange;
mod models;
mod origin;
mod server;
#[cfg(all(test, feature = "client", feature = "gateway"))]
mod tests;

pub use crate::attach::attached::AttachedServer;
pub use crate::attach::server::LocalServer;
