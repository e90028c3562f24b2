//! `crate = path`, where the library has another name or comes through another crate.
#![deny(warnings)]

pub extern crate easyremote as rpc;

mod framework {
    pub mod deps {
        pub use ::rpc as er;
    }
}

use framework::deps::er;
use rpc::{Client, functions, remote};

#[remote(crate = rpc)]
fn add(a: i64, b: i64) -> i64 {
    a + b
}

#[remote(crate = ::rpc, inline)]
fn divide(a: i64, b: i64) -> Result<i64, String> {
    a.checked_div(b).ok_or_else(|| "by zero".to_owned())
}

#[remote(crate = er, stream)]
fn count(to: u64) -> impl Iterator<Item = u64> {
    0..to
}

mod inner {
    #[crate::er::remote(crate = crate::framework::deps::er, stream)]
    pub async fn tail(to: u64) -> Result<impl futures::Stream<Item = Result<u64, String>>, String> {
        Ok(futures::stream::iter((0..to).map(Ok)))
    }

    #[crate::er::remote(crate = super::er)]
    pub async fn wait() {}
}

#[remote(crate = rpc, idempotent)]
fn declared(a: u8) -> Result<u8, String>;

#[remote(crate = er, implements = declared, detached, concurrency = 2, needs = "gpu")]
fn implemented(a: u8) -> Result<u8, String> {
    Ok(a)
}

#[remote(crate = framework::deps::er, err = "display")]
fn fails() -> std::io::Result<()> {
    Ok(())
}

struct Model;

#[remote(crate = er)]
impl Model {
    #[rpc::remote(stream)]
    fn words(&self) -> impl Iterator<Item = String> {
        std::iter::empty()
    }
}

#[remote(crate = crate::framework::deps::er)]
trait Embedder {
    async fn embed(&self) -> u8 {
        1
    }
}

impl Embedder for Model {}

fn callers(client: &Client) {
    let _ = add::call(client, 1, 2);
    let _ = inner::tail::call(client, 1);
    let _ = (Model::remote(client).words(), EmbedderClient::new(client).embed());
}

fn main() {
    let _ = callers;
    let _ = functions![add, divide, count, inner::tail, inner::wait];
    let _ = er::functions![add, implemented, fails];
    let _ = er::functions!();
    let _ = er::functions![add, Model, EmbedderServer<Model>];
}
