//! What an attacked node offers.

use bytes::Bytes;
use easyremote::node::Functions;
use easyremote::{functions, remote};
use futures::{Stream, StreamExt, stream};

#[remote]
pub(crate) async fn add(a: i64, b: i64) -> i64 {
    a + b
}

#[remote]
pub(crate) async fn size(bytes: Bytes) -> usize {
    bytes.len()
}

#[remote]
pub(crate) async fn never() {
    std::future::pending().await
}

#[remote]
pub(crate) async fn sum(numbers: impl Stream<Item = u64>) -> u64 {
    numbers.fold(0, async |sum, number| sum + number).await
}

#[remote(resumable)]
pub(crate) async fn kept_sum(numbers: impl Stream<Item = u64>) -> u64 {
    numbers.fold(0, async |sum, number| sum + number).await
}

/// Running it twice is harmless.
#[remote(resumable, idempotent)]
pub(crate) async fn sum_again(numbers: impl Stream<Item = u64>) -> u64 {
    numbers.fold(0, async |sum, number| sum + number).await
}

#[remote(stream)]
pub(crate) fn numbers() -> impl Stream<Item = u64> {
    stream::iter(0..)
}

pub(crate) fn all() -> Functions {
    functions![add, size, never, sum, kept_sum, sum_again, numbers]
}
