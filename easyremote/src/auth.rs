//! Who a peer is, how it finds its gateway, and what it may do.
//!
//! A gateway hands out one [`Ticket`] per [`Role`]: an address, the hash of the gateway's key, and a
//! token. Peers of the same user on the same machine need none. [`DialOptions`] configure
//! certificates in place of pins and tokens. A function learns who called it from [`Caller`].

pub use crate::transport::auth::address::{Gateways, IntoGateways, from_env};
#[cfg(feature = "http")]
pub use crate::transport::auth::bearer::Bearer;
pub use crate::transport::auth::dial_options::DialOptions;
pub use crate::transport::auth::ticket::Ticket;
pub use crate::wire::caller::Caller;
pub use crate::wire::control::Role;
