//! Turn plain functions into functions that run on other machines.
#![forbid(unsafe_code)]
#![warn(clippy::print_stdout, clippy::print_stderr)]

#[doc(hidden)]
#[path = "private.rs"]
pub mod __private;
mod client;
mod error;
mod function;
mod gateway;
mod gauge;
mod node;
mod transport;
mod wire;

pub use crate::client::{
    Call, Client, ClientBuilder, JsonCall, JsonStream, OpenStream, StreamCall,
};
pub use crate::error::{CallError, Error, ErrorKind, Executed, StreamError};
pub use crate::function::registry::Functions;
pub use crate::gateway::{Gateway, GatewayBuilder, GatewayStats, NodeInfo};
pub use crate::node::{Node, NodeBuilder, NodeStats};
pub use crate::transport::address::{Gateways, IntoGateways, from_env};
pub use crate::transport::ticket::Ticket;
pub use crate::wire::control::Role;
pub use crate::wire::directory::FunctionInfo;
pub use crate::wire::kind::Kind;
pub use easyremote_macros::remote;

/// Lists functions for a node to offer, by their names: `functions![sync_add, lines]`.
///
/// A name that is not a `#[remote]` function with a body does not compile.
#[macro_export]
macro_rules! functions {
    ($($function:ty),+ $(,)?) => {
        <$crate::Functions as ::core::convert::From<_>>::from([
            $(<$function as $crate::__private::Local>::function()),+
        ])
    };
}
