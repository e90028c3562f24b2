//! Turn plain functions into functions that run on other machines.
//!
//! A program has one or more of three roles, all in this crate:
//!
//! | role | what it does |
//! |---|---|
//! | [`Gateway`] | listens on one UDP port and routes calls; it never decodes arguments or results |
//! | [`Node`] | offers functions; it dials out to the gateway, so it may be behind NAT |
//! | [`Client`] | calls functions; it dials the gateway too |
//!
//! ```
//! use easyremote::{Client, Gateway, Node, functions, remote};
//! use futures::{Stream, StreamExt, stream};
//!
//! #[remote]
//! fn add(a: i64, b: i64) -> i64 {
//!     a + b
//! }
//!
//! #[remote(stream)]
//! fn count(from: u64) -> impl Stream<Item = u64> {
//!     stream::iter(from..)
//! }
//!
//! #[tokio::main]
//! async fn main() -> Result<(), easyremote::Error> {
//!     let gateway = Gateway::serve("127.0.0.1:0").await?;
//!     let address = gateway.local_addr();
//!     let _node = Node::serve(address, functions![add, count]).await?;
//!     let client = Client::connect(address).await?;
//!
//!     assert_eq!(add::call(&client, 1, 2).await?, 3);
//!
//!     let mut numbers = count::call(&client, 7).take(2); // it is endless
//!     while let Some(number) = numbers.next().await {
//!         println!("{}", number?);
//!     }
//!     Ok(())
//! }
//! ```
//!
//! # Functions
//!
//! [`#[remote]`](macro@remote) does not change the function. It adds a *stub*, a type of the same
//! name: `add::call` calls the function on a node, and [`functions!`] lists it for a node.
//! Arguments, results and errors are owned types that implement `Serialize` and `DeserializeOwned`.
//!
//! | the function returns | `call` returns |
//! |----------------------|----------------|
//! | `T` | a [`Call`]: a future of `Result<T, `[`Error`]`>` |
//! | `Result<T, E>` | a [`Call`]: a future of `Result<T, `[`CallError`]`<E>>` |
//! | an iterator or stream of `T` | a [`StreamCall`]: a stream of `Result<T, `[`Error`]`>` |
//! | an iterator or stream of `Result<T, E>` | a [`StreamCall`] of `Result<T, `[`CallError`]`<E>>` |
//! | one of these in a `Result<_, S>` | a [`StreamCall`] whose set-up can fail; see [`open`](StreamCall::open) |
//! | any of these `Result`s, with `err = "display"` | the same, but every error is an [`Error`]; the function's own has the kind [`Failed`](ErrorKind::Failed) and its text |
//!
//! Three kinds of parameters are special:
//!
//! - `impl Stream<Item = T>`, at most one per function, reads a stream that the caller sends;
//! - `#[state] model: &Model` is a value that the [node keeps](node::NodeBuilder::state);
//! - `#[ctx] ctx: &`[`Context`] describes the call.
//!
//! A function without a body is a [declaration](macro@remote#declarations), for a crate that
//! clients share with the nodes that implement it. On an `impl` block or a trait, the attribute
//! makes the methods remote: see [methods](macro@remote#methods-of-a-type).
//!
//! # Calls
//!
//! A call is sent when it is first polled. Until then it takes options: how long it may take
//! ([`timeout`](Call::timeout), [`deadline`](Call::deadline)), which node runs it
//! ([`on`](Call::on), [`tag`](Call::tag), [`prefer_tag`](Call::prefer_tag),
//! [`sticky`](Call::sticky), [`strategy`](Call::strategy)), what happens if that fails
//! ([`retry`](Call::retry), [`wait_for_node`](Call::wait_for_node)), and more
//! ([`metadata`](Call::metadata), [`traced`](Call::traced)). [`Client::with`] sets them for all
//! calls of a handle. A stub's `map` calls the function once for each of many arguments, and
//! spreads the calls over all nodes: see [`Map`](client::Map).
//!
//! A function calls others with [`Context::client`]; such calls end at the latest when its own call
//! does. A client without the definitions calls [by name](Client::call_json), with JSON.
//!
//! While all nodes that offer a function are full, further calls wait at the gateway, which serves
//! its clients in turn. At most 1,024 calls of one function wait at one gateway. One more is
//! refused with [`Overloaded`](ErrorKind::Overloaded): the newest call of the client with the most
//! waiting calls. A call waits at the node only for a place that the gateway cannot know to be
//! taken: see [`concurrency`](node::NodeBuilder::concurrency).
//!
//! # Streams
//!
//! A function returns an iterator or a [`Stream`](futures::Stream). The macro `stream!` of the
//! crate [`async-stream`](https://docs.rs/async-stream) makes a stream from a block that yields its
//! items. Each item is sent as soon as it exists. A slow consumer applies back-pressure to the
//! producer, so that a stream of any length takes about 256 KiB at the gateway and 400 KiB at the
//! client. Where a peer is distant and fast, the data in flight comes on top: up to 4 MiB per
//! stream and 64 MiB per connection.
//!
//! A stream ends with `None` only after its function has ended it. If anything breaks, an error
//! comes first.
//!
//! # Cancellation
//!
//! Dropping a [`Call`] or a [`StreamCall`] cancels it on the node: an async function is dropped at
//! its next await, an iterator after its current item. A plain sync function runs on, and its
//! result is discarded. A [`timeout`](Call::timeout) has the same effect. A function that is
//! `detached` runs on.
//!
//! # Errors
//!
//! [`Error::kind`] returns what happened, and [`Error::executed`] whether the function may have
//! run. [`Executed::No`] is a guarantee that it did not. A function that is not `idempotent` starts
//! at most once per call, whatever fails, and no function starts before the last byte of its
//! arguments has reached the node. The library repeats a call automatically only if it certainly
//! did not start, or its function is `idempotent`: see [`Retry`]. As a second line of defence, a
//! node rejects call ids that it has started recently.
//!
//! The program's own mistakes are [`InvalidInput`](ErrorKind::InvalidInput): addresses, tickets,
//! ids, tags, names, rules, limits, options, and values that cannot be encoded. They are found
//! before anything is sent.
//!
//! # When something breaks
//!
//! A *waiting* call is still at the client or the gateway; a *running* call has been sent to a
//! node. A stream that is not set up yet fails like a call.
//!
//! | what | a waiting call | a running call | an open stream | noticed |
//! |------|----------------|----------------|----------------|---------|
//! | its node is lost | goes to another, or [`NoNode`](ErrorKind::NoNode), `No` | [`NodeLost`](ErrorKind::NodeLost), `Maybe` | its items, then `NodeLost`, `Yes` | at once if it says goodbye or comes back, otherwise after 8 to 10 s |
//! | the gateway is lost | waits for it or another one for 15 s unless [set](auth::DialOptions::connect_timeout), then [`Unavailable`](ErrorKind::Unavailable), `No` | [`ConnectionLost`](ErrorKind::ConnectionLost), `Maybe` | its items, then `ConnectionLost`, `Yes` | the same |
//! | the caller is lost | dropped by the gateway | dropped by the node | dropped by the node | the same |
//! | an outage of up to 6 s, another address | goes on | goes on | goes on | not at all; from 6 to 10 s it may count as a loss |
//! | node or gateway drains | goes elsewhere, or [`Draining`](ErrorKind::Draining), `No` | goes on within the grace | goes on within the grace | |
//! | the deadline passes | [`DeadlineExceeded`](ErrorKind::DeadlineExceeded) | the same, and dropped by the node | its items, then the same | at the deadline |
//! | the function panics | | [`Panicked`](ErrorKind::Panicked), `Yes` | its items, then the same | at once |
//! | a stream is not read for 60 s unless [set](client::ClientLimits::stall_timeout), although items wait | | | its items, then [`SlowConsumer`](ErrorKind::SlowConsumer), `Yes` | within another 15 s |
//!
//! In the first 15 s after a loss or a reconnection, calls wait for a node instead of failing at
//! once, as with [`wait_for_node`](Call::wait_for_node), since nodes may come back later than
//! clients. So restarting a drained gateway only delays calls.
//!
//! # Where things run
//!
//! A gateway does its I/O on a separate thread. Clients and nodes do theirs on the tokio runtime that
//! they were started from, and a thread of this library takes over while that runtime is blocked, so
//! that heartbeats go on; see [`client::Io`] for other choices. A node runs functions on the same
//! runtime: async ones as tasks, sync ones on its blocking threads, iterators on separate threads. Calls and
//! streams can be awaited on any runtime. [Middleware](node::NodeBuilder::wrap) runs around every
//! function.
//!
//! [`Node::drain`] and [`Gateway::drain`] let running calls end within a grace period, and abort
//! those that take longer. Meanwhile other nodes and gateways get the new calls. `shutdown` ends at
//! once, and so does dropping the handle. [`shutdown_signal`] waits for Ctrl-C or SIGTERM.
//!
//! # Trust
//!
//! All traffic is TLS 1.3, and no option turns verification off. Processes of one user on one
//! machine authenticate each other with an identity file that only this user can read. Every other
//! peer needs a [`Ticket`] from the gateway: its address, the hash of its key, and the token of one
//! [`Role`]. A `Role::Admin` is a client that may call every function and read the gateway's
//! [statistics](Client::gateway_stats).
//!
//! A token has a [name](gateway::GatewayBuilder::token), which functions see as the caller's
//! [identity](auth::Caller::identity). Tokens can be [added](Gateway::add_token) and
//! [revoked](Gateway::revoke) while the gateway runs.
//!
//! Certificates can replace the hash and the token: a gateway can present a
//! [certificate](gateway::GatewayBuilder::certificate) instead of its key, and a peer can present
//! [one](gateway::GatewayBuilder::authority) instead of a token. Rules decide
//! [who may call](gateway::GatewayBuilder::may_call) and
//! [who may offer](gateway::GatewayBuilder::may_offer) what. A gateway could read what it forwards:
//! run it on a machine that you trust.
//!
//! # Modules
//!
//! The root holds what a first program needs. Everything else is in a module:
//!
//! | module | holds |
//! |---|---|
//! | [`client`] | the client's builder and limits, calls by name, what clients learn of nodes |
//! | [`node`] | the node's builder and limits, lists of functions, middleware |
//! | [`gateway`] | the gateway's builder and limits, rules, statistics |
//! | [`auth`] | addresses, tickets, dial options, callers |
//! | [`error`] | all errors |
//! | [`stream`] | streams of results |
//! | [`testing`] | all three roles in one process, and mocks, for your tests |
//!
//! # Features
//!
//! | feature | default | what it adds |
//! |---|---|---|
//! | `client` | yes | [`Client`], and the `call` and `map` of stubs |
//! | `node` | yes | [`Node`], [`functions!`] |
//! | `gateway` | yes | [`Gateway`] |
//! | `attach` | no | a [local HTTP server as a node](attach) |
//! | `http` | no | an [HTTP server](http) beside a gateway |
//! | `mcp` | no | functions as [tools of agents](mcp), over the Model Context Protocol |
//! | `testing` | no | [`testing`]; enables the three roles |
//! | `otel` | no | joins the spans of calls, and their [trace context](Context::trace_context), to traces of OpenTelemetry by way of `tracing-opentelemetry` |
//! | `public-ca` | no | verifies gateways that are dialled by host name (tickets without a pin) against the public certificate authorities that browsers trust, unless [others](auth::DialOptions::authority) are set |
//! | `cli` | no | the command-line tool `easyremote`, and nothing in the library |
//! | `metrics` | no | what each role counts, as text for [Prometheus](https://prometheus.io): [`Gateway::metrics`], [`Node::metrics`], [`Client::metrics`] |
//!
//! A crate that only calls needs `default-features = false, features = ["client"]`. `#[remote]`
//! functions compile with any set of features; the side that is missing is left out.
#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]
// Each role uses a part of the layers below it, so a build without one of them has code that is not
// called. Builds with all three, which is the default, are checked in full.
#![cfg_attr(
    not(all(feature = "client", feature = "node", feature = "gateway")),
    allow(dead_code, unreachable_pub, unused_imports)
)]
// The documentation links to what a feature that is off would add.
#![cfg_attr(
    not(all(feature = "attach", feature = "testing", feature = "mcp", feature = "metrics")),
    allow(rustdoc::broken_intra_doc_links)
)]
#![warn(clippy::print_stdout, clippy::print_stderr)]

#[doc(hidden)]
#[path = "private.rs"]
pub mod __private;
/// For the benches and tests of this repository only.
#[cfg(feature = "__bench")]
#[doc(hidden)]
pub mod __bench {
    pub use crate::client::bench::{CallResult, Direct};
    pub use crate::function::bench::Format;
    pub use crate::function::local::Local;
    pub use crate::function::outcome::Argument;
    pub use crate::function::remote::RemoteUnary;
    pub use crate::gateway::bench::{Pool, Wanted};
    #[cfg(feature = "http")]
    pub use crate::http::openapi_of;
    pub use crate::wire::bench::{ControlMessage, Header};
}
#[cfg(feature = "attach")]
pub mod attach;
pub mod auth;
mod call;
#[cfg(feature = "client")]
pub mod client;
mod decode;
pub mod error;
#[cfg(feature = "metrics")]
mod exposition;
mod function;
#[cfg(all(any(fuzzing, test), feature = "client", feature = "node", feature = "gateway"))]
#[doc(hidden)]
pub mod fuzz;
#[cfg(feature = "gateway")]
pub mod gateway;
mod gauge;
#[cfg(feature = "http")]
pub mod http;
#[cfg(feature = "mcp")]
pub mod mcp;
#[cfg(feature = "node")]
pub mod node;
mod schema;
mod shutdown_signal;
#[cfg(feature = "client")]
pub mod stream;
#[cfg(feature = "testing")]
pub mod testing;
mod transport;
mod wire;

pub use crate::auth::{Role, Ticket, from_env};
#[cfg(feature = "client")]
pub use crate::client::{Call, Client, Options, Retry, Strategy, StreamCall};
pub use crate::error::{CallError, Error, ErrorKind, Executed};
pub use crate::function::context::Context;
#[cfg(feature = "gateway")]
pub use crate::gateway::Gateway;
#[cfg(feature = "node")]
pub use crate::node::Node;
pub use crate::shutdown_signal::shutdown_signal;
pub use easyremote_macros::remote;

/// Lists functions for a node to offer: `functions![sync_add, lines]`, or all with `functions!()`.
///
/// Returns [`Functions`](node::Functions). What is listed may be
///
/// - a [`#[remote]`](macro@remote) function with a body;
/// - a type with a `#[remote]` block, which stands for its remote methods;
/// - `EmbedderServer<Model>`, for the methods of the remote trait `Embedder` as `Model` implements
///   them.
///
/// Anything else does not compile.
///
/// Without names it lists every `#[remote]` function with a body of the current crate, in all its
/// modules, in the order of files and lines. A dependency that offers functions returns them from its
/// own `functions!()`, for [`Functions::extend`](node::Functions::extend). A library and a binary of
/// one package are two crates.
///
/// The list without names comes from constructors that the linker collects (the crate `inventory`).
/// On a platform without them, such as Miri, it is empty, and the functions have to be named. Doc
/// tests that rustdoc merges into one program are one crate, unless they are marked
/// `standalone_crate`.
///
/// ```
/// use easyremote::{functions, remote};
///
/// #[remote]
/// fn add(a: i64, b: i64) -> i64 {
///     a + b
/// }
///
/// assert!(functions![add].names().eq(["add"]));
/// ```
#[cfg(feature = "node")]
#[macro_export]
macro_rules! functions {
    () => {
        $crate::__private::functions_of($crate::__private::home!())
    };
    ($($function:ty),+ $(,)?) => {
        <$crate::node::Functions as ::core::convert::From<_>>::from([
            $(<$function as $crate::__private::Listed>::functions()),+
        ])
    };
}

/// Lists functions for a node to offer, which needs this crate's feature `node`.
#[cfg(not(feature = "node"))]
#[macro_export]
macro_rules! functions {
    ($($function:tt)*) => {
        ::core::compile_error!("`functions!` needs the feature `node` of easyremote")
    };
}

/// What callers need of a function; nothing without the feature `client`. For generated code.
#[cfg(feature = "client")]
#[doc(hidden)]
#[macro_export]
macro_rules! __client {
    ($($items:tt)*) => { $($items)* };
}

/// What callers need of a function; nothing without the feature `client`. For generated code.
#[cfg(not(feature = "client"))]
#[doc(hidden)]
#[macro_export]
macro_rules! __client {
    ($($items:tt)*) => {};
}

/// What nodes need of a function; nothing without the feature `node`. For generated code.
#[cfg(feature = "node")]
#[doc(hidden)]
#[macro_export]
macro_rules! __node {
    ($($items:tt)*) => { $($items)* };
}

/// What nodes need of a function; nothing without the feature `node`. For generated code.
#[cfg(not(feature = "node"))]
#[doc(hidden)]
#[macro_export]
macro_rules! __node {
    ($($items:tt)*) => {};
}

/// Which crate this is expanded in; for generated code.
#[cfg(feature = "node")]
#[doc(hidden)]
#[macro_export]
macro_rules! __home {
    () => {
        $crate::__private::CrateId {
            module: ::core::module_path!(),
            package: [
                ::core::option_env!("CARGO_PKG_NAME"),
                ::core::option_env!("CARGO_PKG_VERSION"),
            ],
            binary: ::core::option_env!("CARGO_BIN_NAME"),
            scratch: ::core::option_env!("CARGO_TARGET_TMPDIR"),
        }
    };
}

/// Notes functions, a `fn() -> Functions`, for `functions!()` of the crate that this is expanded
/// in; for generated code.
#[cfg(feature = "node")]
#[doc(hidden)]
#[macro_export]
macro_rules! __submit {
    ($functions:expr) => {
        $crate::__private::inventory::submit! {
            $crate::__private::Registered::new($crate::__private::home!(), $functions)
        }
    };
}
