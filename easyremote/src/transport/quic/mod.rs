//! quinn as this library uses it: endpoints, stream halves that never end silently, flow-control
//! windows, and the I/O thread.

pub(crate) mod endpoint;
pub(crate) mod goodbye;
pub(crate) mod io_thread;
pub(crate) mod reset;
pub(crate) mod stream;
pub(crate) mod windows;
