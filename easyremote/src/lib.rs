//! Turn plain functions into functions that run on other machines.
//!
//! Three roles, all in this crate:
//!
//! - a [`Gateway`] is the one party that listens. It routes calls and never looks into them;
//! - a [`Node`] offers functions. It dials out to the gateway, so it may be behind NAT;
//! - a [`Client`] calls them. It dials the gateway too.
//!
//! A process may be any of them, or all at once:
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
//! [`#[remote]`](macro@remote) leaves the function as it was and adds a *stub* of the same name,
//! whose `call` makes the call and which [`functions!`] lists for a node. Arguments, results and
//! errors are owned types that serde can take apart and put together.
//!
//! | the function returns | `call` gives |
//! |----------------------|--------------|
//! | `T` | a [`Call`]: a future of `Result<T, `[`Error`]`>` |
//! | `Result<T, E>` | a [`Call`]: a future of `Result<T, `[`CallError`]`<E>>` |
//! | an iterator or stream of `T` | a [`StreamCall`]: a stream of `Result<T, `[`Error`]`>` |
//! | an iterator or stream of `Result<T, E>` | a [`StreamCall`] of `Result<T, `[`CallError`]`<E>>` |
//! | one of these in a `Result<_, S>` | a [`StreamCall`] whose set-up can fail; see [`open`](StreamCall::open) |
//! | any of these `Result`s, with `err = "display"` | the same with [`Error`], of kind [`Failed`](ErrorKind::Failed), for the error |
//!
//! Parameters may be a stream that the caller sends (`impl Stream<Item = T>`, one per function),
//! what the node keeps for its functions (`#[state] model: &Model`), and what is known of the call
//! (`#[ctx] ctx: &`[`Context`]); the last two are no part of what the caller gives.
//!
//! A function without a body is a declaration, for a crate that clients share with the nodes that
//! implement it; see [`#[remote]`](macro@remote#declarations).
//!
//! # Methods and traits
//!
//! [`#[remote]`](macro@remote) on an `impl` block makes its methods remote: a node keeps the value
//! that `&self` is, and clients have a handle with the same methods. [`NodeBuilder::state`](node::NodeBuilder::state) gives
//! the node one value of the type, and [`NodeBuilder::instance`](node::NodeBuilder::instance) several with names.
//!
//! On a trait it makes remote whatever implements the trait: the crate that clients and nodes share
//! then holds the trait and no more. Implementations write `async fn` as in the trait; futures and
//! streams are `Send`, and so is what implements it, for a node runs them on any thread.
//!
//! ```
//! use easyremote::{Client, Gateway, Node, functions, remote};
//! use futures::{Stream, StreamExt, stream};
//!
//! struct Model {
//!     words: Vec<String>,
//! }
//!
//! #[remote]
//! impl Model {
//!     pub async fn embed(&self, text: String) -> Vec<f32> {
//!         vec![self.words.len() as f32; text.len()]
//!     }
//!
//!     #[remote(stream)]
//!     pub fn tokens(&self, prompt: String) -> impl Stream<Item = String> {
//!         stream::iter(&self.words).map(move |word| format!("{prompt} {word}"))
//!     }
//! }
//!
//! #[remote]
//! trait Greeter {
//!     async fn greet(&self, name: String) -> String;
//! }
//!
//! impl Greeter for Model {
//!     async fn greet(&self, name: String) -> String {
//!         format!("{} {name}", self.words[0])
//!     }
//! }
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), easyremote::Error> {
//! # let gateway = Gateway::serve("127.0.0.1:0").await?;
//! # let address = gateway.local_addr();
//! let model = |word: &str| Model { words: vec![word.to_owned()] };
//! let _node = Node::builder(address)
//!     .functions(functions![Model, GreeterServer<Model>])
//!     .state(model("hello"))
//!     .instance("german", model("hallo"))
//!     .serve()
//!     .await?;
//!
//! let client = Client::connect(address).await?;
//! assert_eq!(Model::remote(&client).embed("abc".into()).await?, [1.0; 3]);
//! let mut tokens = Model::remote(&client).instance("german").tokens("say".into());
//! assert_eq!(tokens.next().await.unwrap()?, "say hallo");
//! assert_eq!(GreeterClient::new(&client).greet("you".into()).await?, "hello you");
//! # Ok(())
//! # }
//! ```
//!
//! # Calls
//!
//! A call is sent when it is first polled, and takes options until then: how long it may take
//! ([`timeout`](Call::timeout), [`deadline`](Call::deadline)), which node it is for
//! ([`on`](Call::on), [`tag`](Call::tag), [`prefer_tag`](Call::prefer_tag),
//! [`sticky`](Call::sticky), [`strategy`](Call::strategy)), what it does if that fails
//! ([`retry`](Call::retry), [`wait_for_node`](Call::wait_for_node)), what else it says
//! ([`metadata`](Call::metadata)) and what it wants to know ([`traced`](Call::traced)).
//! [`Client::with`] sets them for all calls of a handle.
//!
//! A stub's `map` calls the function with each of many arguments, on all nodes: see [`Map`](client::Map).
//!
//! While all nodes that offer a function have as many calls as they take, further ones wait at the
//! gateway: callers take turns, at most 1,024 calls of a function wait, and one more is
//! [`Overloaded`](ErrorKind::Overloaded) at once.
//!
//! # Functions that call functions
//!
//! [`Context::client`] is a client on the connection that the node has anyway. Calls that a
//! function makes with it are part of its own call: they end when it does, and at its deadline at
//! the latest.
//!
//! # By name
//!
//! A client that does not share the definitions calls [by name](Client::call_json), with JSON.
//!
//! # Where things run
//!
//! Each role does its I/O on a thread of its own, so that neither a blocked runtime nor a busy one
//! holds up heartbeats. A node runs functions on the tokio runtime that it was started from: async
//! ones as tasks, sync ones on its blocking threads, iterators on threads of their own. Calls and
//! streams can be awaited on any runtime.
//!
//! # Streams
//!
//! A function returns an iterator or a [`Stream`](futures::Stream). The macro `stream!` of the
//! crate [`async-stream`](https://docs.rs/async-stream) writes one as an async generator.
//!
//! Each item is sent as soon as it exists. A consumer that reads slowly makes the producer wait: a
//! stream of any length takes about 256 KiB at the gateway, 400 KiB at the client, and no more.
//! Where a peer is distant and reads fast, it is what is on its way to it, up to 4 MiB a stream and
//! 64 MiB a connection.
//! It ends with `None` only if the function has ended it; if anything breaks, an error comes first.
//!
//! # Cancellation
//!
//! Dropping a [`Call`] or a [`StreamCall`] cancels it on the node: an async function stops at its
//! next await, an iterator after its current item; a plain sync function runs on, and its result is
//! dropped. A [`timeout`](Call::timeout) does the same. A function that is `detached` runs on.
//!
//! # Errors
//!
//! [`Error::kind`] says what happened and [`Error::executed`] whether the function may have run.
//! [`Executed::No`] is a proof. A function starts at most once per call, whatever fails, and not
//! before the last byte of its arguments has reached the node. Only what certainly did not start is
//! sent again by itself, and what is declared `idempotent`: see [`Retry`]. A node refuses what has
//! started there lately, in case that somebody on the way sends it again all the same.
//!
//! The program's own mistakes are [`InvalidInput`](ErrorKind::InvalidInput): addresses, tickets, ids,
//! tags, names, rules, limits, options, and values that cannot be encoded. They are found before
//! anything is sent.
//!
//! # When something breaks
//!
//! | what | a call that waits | a call that runs | a stream | noticed |
//! |------|-------------------|------------------|----------|---------|
//! | its node is lost | goes to another, or [`NoNode`](ErrorKind::NoNode), `No` | [`NodeLost`](ErrorKind::NodeLost), `Maybe` | its items, then `NodeLost`, `Yes` | at once if it says goodbye or comes back, otherwise after 8 to 10 s |
//! | the gateway is lost | waits for it, or another one: 15 s unless [set](auth::DialOptions::connect_timeout) | [`ConnectionLost`](ErrorKind::ConnectionLost), `Maybe` | its items, then `ConnectionLost`, `Yes` | the same |
//! | the caller is lost | | dropped by the node | dropped by the node | the same |
//! | an outage of up to 6 s, another address | goes on | goes on | goes on | |
//! | node or gateway drains | goes elsewhere, or [`Draining`](ErrorKind::Draining), `No` | goes on | goes on | |
//! | the deadline passes | [`DeadlineExceeded`](ErrorKind::DeadlineExceeded) | the same, and dropped by the node | its items, then the same | then |
//! | the function panics | | [`Panicked`](ErrorKind::Panicked), `Yes` | its items, then the same | at once |
//! | nobody reads it for 60 s | | | its items, then [`SlowConsumer`](ErrorKind::SlowConsumer), `Yes` | within another 15 s |
//!
//! Calls that are made again after a loss, and all calls in the first 15 s after their client's
//! connection has come back, wait so long for a node instead of failing at once, like calls with
//! [`wait_for_node`](Call::wait_for_node): nodes may come back later than clients. So a gateway
//! that drains and is started again costs calls the wait, and nothing else.
//!
//! # Leaving
//!
//! [`Node::drain`] and [`Gateway::drain`] end without a failed call; `shutdown` ends at once, and
//! so does dropping the handle.
//!
//! # Tests
//!
//! [`testing`] has all three roles for the tests of your functions, and a mock for code that calls.
//!
//! # Trust
//!
//! All traffic is TLS 1.3, and nothing turns verification off. Peers on the loopback interface of
//! one user of the operating system find each other's identity in a file that only this user can
//! read; all others need a [`Ticket`] from the gateway, with the hash of its key and a token.
//! Tokens have [names](gateway::GatewayBuilder::token), which functions see as [`Caller::identity`](auth::Caller::identity), and are
//! [added](Gateway::add_token) and [revoked](Gateway::revoke) while the gateway runs.
//!
//! A gateway may be known by a [certificate](gateway::GatewayBuilder::certificate) instead of its key, and
//! so may [peers](gateway::GatewayBuilder::authority) instead of a token. [`GatewayBuilder::may_call`](gateway::GatewayBuilder::may_call) and
//! [`GatewayBuilder::may_offer`](gateway::GatewayBuilder::may_offer) say who may call and who may offer what.
//!
//! A gateway could see what it relays: run it on a machine that you trust.
//!
//! # Features
//!
//! None is on by default. `public-ca` has gateways that are dialled by name verified by the public
//! authorities that browsers trust, unless [others](auth::DialOptions::authority) are named.
#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]
// The roles share the layers below them, of which each uses a part, and they link to each other in
// their documentation. Builds with all of them and `testing`, as CI has them, are checked in full.
#![cfg_attr(
    not(feature = "testing"),
    allow(dead_code, unreachable_pub, unused_imports, rustdoc::broken_intra_doc_links)
)]
#![warn(clippy::print_stdout, clippy::print_stderr)]

#[doc(hidden)]
#[path = "private.rs"]
pub mod __private;
/// For the benches of this repository only.
#[cfg(feature = "__bench")]
#[doc(hidden)]
pub mod __bench {
    pub use crate::client::bench::{CallResult, Direct};
    pub use crate::function::bench::Format;
    pub use crate::function::local::Local;
    pub use crate::function::outcome::Argument;
    pub use crate::function::remote::RemoteUnary;
    pub use crate::gateway::bench::{Pool, Wanted};
    pub use crate::wire::bench::{ControlMessage, Header};
}
pub mod auth;
mod call;
#[cfg(feature = "client")]
pub mod client;
mod decode;
pub mod error;
mod function;
#[cfg(all(any(fuzzing, test), feature = "client", feature = "node", feature = "gateway"))]
#[doc(hidden)]
pub mod fuzz;
#[cfg(feature = "gateway")]
pub mod gateway;
mod gauge;
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
/// A type with a [`#[remote]`](macro@remote) block stands for its remote methods, and
/// `EmbedderServer<Model>` for those of the trait `Embedder` as `Model` implements them:
/// `functions![sync_add, Model, EmbedderServer<Model>]`.
///
/// Returns [`Functions`](node::Functions). A name that is not a [`#[remote]`](macro@remote) function with a body, nor
/// one of these, does not compile.
///
/// Without names it lists every `#[remote]` function with a body of the crate that it is written
/// in, wherever in the crate, in the order of files and lines, and none of its dependencies: a
/// dependency that offers functions gives them with a `functions!()` of its own, to be added with
/// [`Functions::extend`](node::Functions::extend). A library and a binary of one package are two crates. Nothing is run or
/// allocated for it before it is called.
///
/// It finds them by constructors that the linker gathers (the crate `inventory`), so on a platform
/// without them, such as Miri, the list is empty, and the functions have to be named. Doc tests
/// that rustdoc merges into one program are one crate, unless they are marked `standalone_crate`.
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
