//! Functions without a body, and what implements them.
#![deny(warnings)]

use easyremote::{Client, Context, functions, remote};

/// As it would be a crate of its own.
pub mod api {
    use easyremote::remote;
    use futures::Stream;

    pub type Result<T> = std::result::Result<T, String>;

    /// Embeds a text; its implementation is not linked from [`embed`].
    #[remote(timeout = "30s", idempotent)]
    pub async fn embed(text: String) -> Vec<f32>;

    #[remote(stream, stub = Tail)]
    #[deprecated]
    pub fn tail(from: u64) -> Result<impl Stream<Item = Result<u64>>>;

    #[remote]
    #[must_use]
    pub async fn upload(mut chunks: impl Stream<Item = Vec<u8>>, r#type: u8) -> u64;

    #[remote(err = "display")]
    pub fn read(path: String) -> Result<String>;

    #[cfg(any())]
    #[remote]
    pub fn never(nothing: Nothing);

    #[remote]
    fn private();
}

/// A type may be written in several ways.
type Numbers = Vec<f32>;

struct Model;

#[remote(implements = api::embed, concurrency = 2, needs = "gpu, eu")]
async fn embed(#[ctx] _: &Context, words: String, #[state] _: &Model) -> Numbers {
    vec![words.len() as f32]
}

#[remote(stream, implements = crate::api::Tail)]
async fn tail(from: u64) -> Result<futures::stream::BoxStream<'static, api::Result<u64>>, String> {
    Ok(Box::pin(futures::stream::iter((from..).map(Ok))))
}

#[remote(implements = api::upload)]
async fn upload(chunks: impl futures::Stream<Item = Vec<u8>> + Unpin, a: u8) -> u64 {
    let _ = chunks;
    u64::from(a)
}

#[remote(implements = self::api::read, err = "display", detached)]
fn read(path: String) -> std::io::Result<String> {
    std::fs::read_to_string(path)
}

#[cfg(any())]
#[remote(implements = api::never)]
fn never(nothing: Nothing) {}

fn callers(client: &Client) {
    let _ = api::embed::call(client, String::new()).timeout(std::time::Duration::MAX);
    let _ = api::upload::call(client, futures::stream::empty(), 1);
    let _ = api::read::call(client, String::new());
    let _ = read::call(client, String::new());
}

fn main() {
    let _ = callers;
    let _ = functions![embed, tail, upload, read];
    let _ = functions!();
}
