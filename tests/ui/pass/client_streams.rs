//! Streams from the caller to the function, with and without one back.
#![deny(warnings)]

use std::pin::pin;

use easyremote::{Call, CallError, Client, Context, Error, StreamCall, functions, remote};
use futures::stream::{self, BoxStream};
use futures::{FutureExt, Stream, StreamExt};
use serde::{Deserialize, Serialize};

#[derive(Debug, Serialize, Deserialize)]
pub struct Chunk(Vec<u8>);

pub struct Store;

#[remote]
async fn upload(name: String, chunks: impl Stream<Item = Chunk>) -> usize {
    chunks.fold(name.len(), |sum, Chunk(bytes)| async move { sum + bytes.len() }).await
}

/// The extra bounds are the function's own.
#[remote]
async fn with_bounds(
    chunks: impl futures::Stream<Item = Chunk> + Send + 'static,
) -> Result<usize, String> {
    Ok(chunks.count().await)
}

#[remote]
async fn among_others(
    a: u8,
    #[state] store: &Store,
    mut items: impl Stream<Item = Result<u8, String>> + Unpin,
    #[ctx] ctx: &Context,
    b: u8,
) -> u8 {
    let _ = (store, ctx);
    match items.next().await {
        Some(Ok(first)) => first + a + b,
        _ => 0,
    }
}

/// Names that generated code has in mind.
#[remote(stub = Stub)]
async fn argument_0(upload: u8, client: impl Stream<Item = u8>, inputs: u8) -> usize {
    client.count().await + usize::from(upload + inputs)
}

#[remote(stream)]
fn translate(audio: impl Stream<Item = Chunk>) -> impl Stream<Item = String> {
    audio.map(|Chunk(bytes)| format!("{bytes:?}"))
}

#[remote(stream)]
fn with_state(#[state] store: &Store, audio: impl Stream<Item = u8>) -> impl Stream<Item = u8> {
    audio.map(move |byte| {
        let _: &Store = store;
        byte
    })
}

#[remote(stream)]
async fn later(
    audio: impl Stream<Item = u8> + Send + 'static,
    to: u8,
) -> Result<BoxStream<'static, Result<u8, String>>, String> {
    let audio = audio.map(move |byte| if byte < to { Ok(byte) } else { Err("end".to_owned()) });
    Ok(audio.boxed())
}

macro_rules! define {
    ($name:ident, $chunks:ident: $stream:ty) => {
        #[remote]
        async fn $name($chunks: $stream) -> usize {
            $chunks.count().await
        }
    };
}

define!(from_macro, chunks: impl Stream<Item = u8>);

async fn callers(client: &Client) -> Result<(), CallError<String>> {
    let chunks = || stream::iter([Chunk(vec![1])]);
    let call: Call<upload> = upload::call(client, "name".to_owned(), chunks());
    let _: Result<usize, Error> = call.await;
    let _: usize = with_bounds::call(client, chunks().boxed()).await?;
    let _: u8 = among_others::call(client, 1, stream::iter([Ok(1)]), 2).await?;
    // Not `Unpin`, and not known before.
    let waiting = stream::once(async {
        futures::future::ready(()).await;
        1
    });
    let _: usize = Stub::call(client, 1, waiting, 2).await?;
    let call: StreamCall<translate> = translate::call(client, chunks());
    let _: Option<Result<String, Error>> = { call }.next().await;
    let _ = with_state::call(client, stream::empty());
    let _: Result<_, CallError<String>> = later::call(client, stream::empty(), 1).open().await;
    let _: usize = from_macro::call(client, stream::empty()).await?;
    Ok(())
}

fn main() {
    let _ = callers;
    let _ = functions![
        upload,
        with_bounds,
        among_others,
        Stub,
        translate,
        with_state,
        later,
        from_macro
    ];
    // Here any stream will do, one that borrows or stays on this thread included.
    let chunk = std::rc::Rc::new(vec![1]);
    let chunks = stream::once(async { Chunk(chunk.to_vec()) });
    assert_eq!(upload("name".to_owned(), chunks).now_or_never(), Some(5));
    let translated = pin!(translate(stream::iter([Chunk(vec![1])])));
    assert_eq!(translated.count().now_or_never(), Some(1));
}
