//! Streams of results, as the caller sees them.
//!
//! A [`StreamCall`] is what the stub of a `#[remote(stream)]` function returns, and [`OpenStream`]
//! the same once its function is known to have started.

pub use crate::client::stream::{OpenStream, StreamCall};
pub use crate::error::StreamError;
