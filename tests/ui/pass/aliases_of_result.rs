//! Whatever is called `..Result` and is one, is one: its error reaches the caller with its type.
#![deny(warnings)]

use easyremote::{Call, CallError, Client, Error, StreamCall, functions, remote};
use futures::{FutureExt, Stream, StreamExt, stream};
use serde::{Deserialize, Serialize};

#[derive(Debug, Serialize, Deserialize)]
pub struct BadRow;

#[derive(Debug, Serialize, Deserialize)]
pub struct NotFound;

mod db {
    /// Like `io::Result`: the error is not written where it is used.
    pub type Result<T> = std::result::Result<T, super::BadRow>;
}

type Swapped<E, T> = std::result::Result<T, E>;
type SwappedResult<E, T> = Swapped<E, T>;
type DoneResult = Result<(), NotFound>;

#[remote]
fn by_path(n: u8) -> db::Result<u8> {
    Ok(n)
}

#[remote]
async fn without_parameters() -> DoneResult {
    Err(NotFound)
}

#[remote]
fn with_odd_parameters(n: u8) -> SwappedResult<NotFound, u8> {
    Ok(n)
}

#[remote]
fn written_out(n: u8) -> ::core::result::Result<u8, NotFound> {
    Ok(n)
}

#[remote(stream)]
fn items(n: u8) -> impl Iterator<Item = db::Result<u8>> {
    (0..n).map(Ok)
}

#[remote(stream)]
async fn set_up(n: u8) -> db::Result<impl Stream<Item = u8>> {
    Ok(stream::iter(0..n))
}

#[remote(stream)]
fn both(n: u8) -> Result<impl Stream<Item = db::Result<u8>>, NotFound> {
    Ok(stream::iter((0..n).map(Ok)))
}

// An alias that is not called `..Result` is a plain value: the caller gets a `Result` in a `Result`.
type Answer = Result<u8, NotFound>;

#[remote]
fn hidden() -> Answer {
    Ok(1)
}

async fn callers(client: Client) {
    let _: Result<u8, CallError<BadRow>> = by_path::call(&client, 1).await;
    let _: Result<(), CallError<NotFound>> = without_parameters::call(&client).await;
    let _: Result<u8, CallError<NotFound>> = with_odd_parameters::call(&client, 1).await;
    let _: Result<u8, CallError<NotFound>> = written_out::call(&client, 1).await;
    let _: Result<Answer, Error> = hidden::call(&client).await;
    let _: Call<by_path> = by_path::call(&client, 1);

    let mut items: StreamCall<items> = items::call(&client, 3);
    let _: Option<Result<u8, CallError<BadRow>>> = items.next().await;
    let mut set_up: StreamCall<set_up> = set_up::call(&client, 3);
    let _: Option<Result<u8, CallError<BadRow>>> = set_up.next().await;
    let opened = both::call(&client, 3).open().await;
    let _: Result<_, CallError<NotFound>> = opened;
}

fn main() {
    let _ = callers;
    let _ = functions![
        by_path,
        without_parameters,
        with_odd_parameters,
        written_out,
        items,
        set_up,
        both,
        hidden
    ];
    assert_eq!(both(3).unwrap().count().now_or_never(), Some(3));
}
