//! What the node has: any number of states and one context, anywhere among the arguments.
#![deny(warnings)]

use std::sync::{Arc, Mutex};

use easyremote::{Client, Context, Error, StreamCall, functions, remote};
use futures::stream::{self, BoxStream};
use futures::{Stream, StreamExt};

pub struct Llm {
    words: Vec<String>,
}

pub trait Store: Send + Sync {
    fn name(&self) -> &str;
}

type Shared = Arc<dyn Store>;

#[remote]
fn sync(#[state] llm: &Llm, prompt: String) -> usize {
    llm.words.len() + prompt.len()
}

#[remote(inline)]
fn inline(prompt: String, #[state] llm: &Llm) -> Result<usize, String> {
    llm.words.iter().position(|word| *word == prompt).ok_or(prompt)
}

async fn wait() {}

#[remote]
async fn asynchronous(#[state] llm: &Llm, #[ctx] ctx: &Context, prompt: String) -> usize {
    let _: &Context = ctx;
    wait().await;
    llm.words.len() + prompt.len()
}

#[remote]
async fn several(
    #[state] llm: &Llm,
    a: u8,
    #[state] store: &Shared,
    #[ctx] _: &easyremote::Context,
    b: u8,
    #[state] count: &'_ Mutex<u64>,
    #[state] again: &Llm,
    #[state] names: &Vec<&'static str>,
    #[allow(unused_variables)] #[state] unused: &Box<dyn Store>,
) -> u8 {
    *count.lock().unwrap() += 1;
    assert!(llm.words == again.words && store.name() == names[0]);
    a + b
}

#[remote]
fn nothing_is_sent(#[ctx] _ctx: &Context) {}

/// Names that generated code has in mind.
#[remote]
async fn inputs(#[state] inputs: &Llm, sink: u8, #[ctx] argument_0: &Context) -> u8 {
    let _ = (inputs, argument_0);
    sink
}

// Each stream borrows its model for as long as it lasts.

#[remote(stream)]
fn iterator(#[state] llm: &Llm, from: usize) -> impl Iterator<Item = String> {
    llm.words.iter().skip(from).cloned()
}

#[remote(stream)]
fn fallible_iterator(#[state] llm: &Llm) -> Result<impl Iterator<Item = String> + '_, String> {
    Ok(llm.words.iter().cloned())
}

#[remote(stream)]
async fn async_iterator(#[state] llm: &Llm) -> impl Iterator<Item = Result<String, String>> {
    wait().await;
    llm.words.iter().cloned().map(Ok)
}

#[remote(stream)]
fn boxed_iterator(#[state] llm: &Llm) -> Box<dyn Iterator<Item = String> + '_> {
    Box::new(llm.words.iter().cloned())
}

#[remote(stream)]
fn stream_of(#[state] llm: &Llm, #[ctx] ctx: &Context) -> impl Stream<Item = String> {
    let _ = ctx;
    stream::iter(llm.words.iter().cloned())
}

#[remote(stream)]
async fn fallible_stream(#[state] llm: &Llm) -> Result<impl Stream<Item = String> + Send, String> {
    wait().await;
    Ok(stream::iter(&llm.words).then(|word| async {
        wait().await;
        word.clone()
    }))
}

#[remote(stream)]
fn boxed_stream(#[state] llm: &Llm) -> BoxStream<'_, String> {
    stream::iter(llm.words.iter().cloned()).boxed()
}

async fn callers(client: &Client) -> Result<(), Error> {
    let _: usize = sync::call(client, "a".to_owned()).await?;
    let _: usize = asynchronous::call(client, "a".to_owned()).await?;
    let _: u8 = several::call(client, 1, 2).await?;
    nothing_is_sent::call(client).await?;
    let _: u8 = inputs::call(client, 1).await?;
    let _: StreamCall<iterator> = iterator::call(client, 1);
    let _: Option<Result<String, Error>> = stream_of::call(client).next().await;
    Ok(())
}

fn main() {
    let _ = callers;
    let _ = functions![
        sync,
        inline,
        asynchronous,
        several,
        nothing_is_sent,
        inputs,
        iterator,
        fallible_iterator,
        async_iterator,
        boxed_iterator,
        stream_of,
        fallible_stream,
        boxed_stream,
    ];
    // Here the state is an argument like any other.
    let llm = Llm { words: vec!["a".to_owned(), "b".to_owned()] };
    assert_eq!(sync(&llm, "abc".to_owned()), 5);
    assert_eq!(iterator(&llm, 1).collect::<Vec<_>>(), ["b"]);
}
