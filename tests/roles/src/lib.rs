//! Remote functions of every kind, private as well as public, and nothing that calls or lists them:
//! a build with one role alone uses one side of each.

use std::sync::atomic::{AtomicU64, Ordering};

use easyremote::{Context, remote};
use futures::{Stream, StreamExt, stream};
use serde::{Deserialize, Serialize};

/// An argument and a result.
#[derive(Serialize, Deserialize)]
struct Pair(u64, String);

/// An error.
#[derive(Serialize, Deserialize)]
enum Refused {
    Zero,
}

/// A state.
struct Counter(AtomicU64);

#[remote]
fn blocking(pair: Pair) -> Pair {
    Pair(helped(pair.0), pair.1)
}

/// Only remote functions call it.
fn helped(n: u64) -> u64 {
    n + 1
}

#[remote(inline, timeout = "5s", idempotent)]
pub fn inline(n: u64) -> u64 {
    n
}

#[remote(concurrency = 2, needs = "gpu", name = "other.name")]
async fn asynchronous(#[state] counter: &Counter, #[ctx] ctx: &Context, n: u64) -> u64 {
    let before = counter.0.fetch_add(n, Ordering::Relaxed);
    before + ctx.attempt()
}

#[remote]
async fn fallible(n: u64) -> Result<u64, Refused> {
    if n == 0 { Err(Refused::Zero) } else { Ok(n) }
}

#[remote(err = "display", detached)]
pub async fn displayed(n: u64) -> Result<u64, std::fmt::Error> {
    Ok(n)
}

#[remote(stream)]
fn iterated(n: u64) -> impl Iterator<Item = u64> {
    0..n
}

#[remote(stream)]
pub fn streamed(n: u64) -> impl Stream<Item = Result<u64, String>> {
    stream::iter((0..n).map(Ok))
}

#[remote(stream)]
async fn set_up(n: u64) -> Result<impl Stream<Item = u64>, String> {
    Ok(stream::iter(0..n))
}

#[remote]
async fn uploaded(numbers: impl Stream<Item = u64>) -> u64 {
    numbers.fold(0, |sum, n| async move { sum + n }).await
}

#[remote(stream)]
fn both_ways(numbers: impl Stream<Item = u64>) -> impl Stream<Item = u64> {
    numbers.map(|n| n + 1)
}

#[remote]
pub async fn declared(n: u64) -> u64;

#[remote(implements = declared, stub = DeclaredHere)]
async fn declared_here(n: u64) -> u64 {
    n
}

/// Has remote methods.
pub struct Model(u64);

#[remote]
impl Model {
    fn add(&self, n: u64) -> u64 {
        self.0 + n
    }

    #[remote(stream)]
    pub fn count(&self) -> impl Stream<Item = u64> {
        stream::iter(0..self.0)
    }

    /// Is not remote.
    pub fn new() -> Self {
        Self(1)
    }
}

impl Default for Model {
    fn default() -> Self {
        Self::new()
    }
}

#[remote]
trait Embedder {
    async fn embed(&self, text: String) -> Vec<f32>;
}

impl Embedder for Model {
    async fn embed(&self, text: String) -> Vec<f32> {
        vec![self.0 as f32; text.len()]
    }
}

/// In a function's body.
pub fn outer() {
    #[remote]
    fn inner(n: u64) -> u64 {
        n
    }
    let _ = inner(1);
}
