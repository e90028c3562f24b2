//! Test support for programs that use easyremote: a [`World`] runs real functions in the process of
//! the test, and a [`Mock`] answers calls without them.
//!
//! Both consist of the production gateway, nodes and client, on loopback, so a test sees what its
//! program will see: the same encoding, the same errors. Each has a separate port and identity, so
//! tests run in parallel and leave nothing behind.
//!
//! | to test | use |
//! |---|---|
//! | the functions of a node, with their state | a [`World`], and call them |
//! | code that calls functions, and how it handles their results | a [`Mock`] |
//! | how code handles the loss of a node or a gateway | a [`World`] or [`Mock::world`], and [`kill_node`](World::kill_node) or [`stop_gateway`](World::stop_gateway) |
//! | how code handles any error | a [`Mock`] that answers with an [`error`] |
//! | timeouts and cancellation | a [`Mock`] that [hangs](MockBuilder::hang) |
//!
//! [`tests/api/testing_example.rs`][example] in the repository has tests to copy from.
//!
//! # Functions and their state
//!
//! ```
//! use std::sync::atomic::{AtomicU64, Ordering};
//!
//! use easyremote::testing::World;
//! use easyremote::{functions, remote};
//!
//! #[remote]
//! fn count(#[state] counter: &AtomicU64, by: u64) -> u64 {
//!     counter.fetch_add(by, Ordering::Relaxed) + by
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), easyremote::Error> {
//! let world = World::builder()
//!     .node(|node| node.functions(functions![count]).state(AtomicU64::new(40)))
//!     .serve()
//!     .await?;
//! assert_eq!(count::call(world.client(), 2).await?, 42);
//! # Ok(())
//! # }
//! ```
//!
//! # Code that calls
//!
//! The code under test takes a `&Client`; the test passes the client of a [`Mock`]:
//!
//! ```
//! use easyremote::testing::{self, Mock};
//! use easyremote::{Client, ErrorKind, Executed, remote};
//!
//! #[remote]
//! async fn weather(city: String) -> String {
//!     format!("as always in {city}")
//! }
//!
//! /// The code under test.
//! async fn forecast(client: &Client, city: &str) -> String {
//!     match weather::call(client, city.into()).await {
//!         Ok(weather) => weather,
//!         Err(error) if error.executed() == Executed::No => "ask later".into(),
//!         Err(_) => "unknown".into(),
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), easyremote::Error> {
//! let mock = Mock::builder()
//!     .expect::<weather>(("Bergen".into(),), Ok("rain".into()))
//!     .on::<weather>(|_| Err(testing::error(ErrorKind::Overloaded, Executed::No, "busy")))
//!     .serve()
//!     .await?;
//! assert_eq!(forecast(mock.client(), "Bergen").await, "rain");
//! assert_eq!(forecast(mock.client(), "Oslo").await, "ask later");
//! mock.verify(); // panics if Bergen was not asked for
//! # Ok(())
//! # }
//! ```
//!
//! # Streams
//!
//! A mock's stream yields items and the function's own errors, or ends with an error of the
//! library:
//!
//! ```
//! use easyremote::testing::{self, Mock};
//! use easyremote::{Client, ErrorKind, Executed, remote};
//! use futures::{Stream, StreamExt, stream};
//!
//! #[remote(stream)]
//! fn readings(sensor: String) -> impl Stream<Item = f64> {
//!     stream::iter(std::iter::repeat(sensor.len() as f64))
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), easyremote::Error> {
//! let mock = Mock::builder()
//!     .stream::<readings>(|(_sensor,)| {
//!         let lost = testing::error(ErrorKind::NodeLost, Executed::Maybe, "the cable is loose");
//!         vec![Ok(20.5), Ok(20.6), Err(lost)]
//!     })
//!     .serve()
//!     .await?;
//! let mut readings = readings::call(mock.client(), "attic".into());
//! assert_eq!(readings.next().await.unwrap()?, 20.5);
//! assert_eq!(readings.next().await.unwrap()?, 20.6);
//! let error = readings.next().await.unwrap().unwrap_err();
//! assert_eq!((error.kind(), error.delivered()), (ErrorKind::NodeLost, 2));
//! # Ok(())
//! # }
//! ```
//!
//! [`MockBuilder::stream_async`] yields items with delays, or without end.
//! [`MockBuilder::upload`] and [`MockBuilder::duplex`] receive the stream that the caller sends.
//!
//! # Faults
//!
//! ```
//! use easyremote::testing::Mock;
//! use easyremote::{ErrorKind, remote};
//!
//! #[remote]
//! async fn train(epochs: u32) -> f64 {
//!     f64::from(epochs)
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), easyremote::Error> {
//! let mock = Mock::builder().id("gpu-1").hang::<train>().serve().await?;
//! let training = tokio::spawn(train::call(mock.client(), 90));
//! mock.called::<train>(1).await; // it runs; no need to sleep
//! mock.world().kill_node("gpu-1").await;
//! let error = training.await.unwrap().unwrap_err();
//! assert_eq!((error.kind(), error.node()), (ErrorKind::NodeLost, Some("gpu-1")));
//! # Ok(())
//! # }
//! ```
//!
//! # Time
//!
//! The timers of the roles are those of separate threads, so `tokio::time::pause` does not affect
//! them. Use short timeouts, and wait for events: [`Mock::called`], an item of a stream,
//! [`Node::closed`](crate::Node::closed).
//!
//! [example]: https://github.com/easyremote/easyremote/blob/main/tests/api/testing_example.rs

mod answer;
mod forward;
mod mock;
mod mock_builder;
mod script;
mod world;
mod world_builder;

use std::time::Duration;

use crate::error::{Error, ErrorKind, Executed};

pub use crate::function::upload::Upload;
pub use crate::testing::answer::{Answer, AsyncAnswer, AsyncAnswerWith, Item};
pub use crate::testing::mock::Mock;
pub use crate::testing::mock_builder::MockBuilder;
pub use crate::testing::world::World;
pub use crate::testing::world_builder::WorldBuilder;

/// Creates an error of the library, for a [`Mock`] to answer with, or to test code that handles
/// errors.
///
/// A mock's caller receives it with this kind, this text (up to 8,000 bytes), and this `executed`.
/// The error of an open stream has [`Executed::Yes`] instead, because the function has run, and
/// [`delivered`](Error::delivered) is the number of items before it. The error's node is the
/// mock's, unless it is set with [`of_node`].
///
/// For a function that returns a `Result`, convert it to a [`CallError`](crate::CallError):
/// `Err(testing::error(..).into())`.
///
/// ```
/// use easyremote::{ErrorKind, Executed, testing};
///
/// let busy = testing::error(ErrorKind::Overloaded, Executed::No, "busy");
/// assert!(busy.is_retryable());
/// ```
#[must_use]
pub fn error(kind: ErrorKind, executed: Executed, text: impl Into<String>) -> Error {
    Error::new(kind, text.into()).with_executed(executed)
}

/// Sets the node that an error comes from; the id is at most 128 bytes long.
///
/// ```
/// use easyremote::{ErrorKind, Executed, testing};
///
/// let lost = testing::error(ErrorKind::NodeLost, Executed::Maybe, "the cable is loose");
/// let lost = testing::of_node(lost, "gpu-1");
/// assert_eq!(lost.node(), Some("gpu-1"));
/// ```
#[must_use]
pub fn of_node(error: Error, id: &str) -> Error {
    error.with_node(id)
}

/// Sets how long an error asks its caller to wait before the next attempt. It is sent in whole
/// milliseconds.
///
/// ```
/// use std::time::Duration;
///
/// use easyremote::{ErrorKind, Executed, testing};
///
/// let busy = testing::error(ErrorKind::Overloaded, Executed::No, "busy");
/// let busy = testing::retry_after(busy, Duration::from_millis(200));
/// assert_eq!(busy.retry_after(), Some(Duration::from_millis(200)));
/// ```
#[must_use]
pub fn retry_after(error: Error, wait: Duration) -> Error {
    error.with_retry_after(wait)
}
