//! quinn as this library uses it: endpoints, UDP sockets, stream halves that never end silently,
//! and flow-control windows.

pub(crate) mod endpoint;
pub(crate) mod goodbye;
pub(crate) mod reset;
pub(crate) mod stream;
pub(crate) mod udp;
pub(crate) mod windows;
