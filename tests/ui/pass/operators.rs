//! What operators may look like, and how streams take them.

#![deny(warnings)]

use easyremote::client::{Applied, AppliesTo, RemoteOperator};
use easyremote::{Client, Context, StreamCall, functions, remote};
use futures::{Stream, stream};
use serde::{Deserialize, Serialize};

#[derive(Clone, Serialize, Deserialize)]
struct Reading(f64);

pub struct Model;

mod api {
    use easyremote::remote;

    /// Declared here, implemented elsewhere.
    #[remote(operator, name = "api.hot")]
    pub fn hot(celsius: f64, /** The limit. */ limit: f64) -> Option<String>;
}

#[remote(operator, implements = api::hot)]
fn hot_node(#[state] _: &Model, celsius: f64, limit: f64) -> Option<String> {
    (celsius > limit).then(|| celsius.to_string())
}

#[remote(stream)]
fn temperatures() -> impl Stream<Item = f64> {
    stream::iter([1.0])
}

#[remote(operator)]
fn r#type(item: f64, r#fn: Option<u8>) -> f64 {
    item + f64::from(r#fn.unwrap_or(0))
}

#[remote(operator, plain)]
pub fn maybe(#[ctx] _: &Context, inputs: f64) -> Option<f64> {
    Some(inputs)
}

#[remote(operator, stub = Some_)]
fn is_some(item: &Option<f64>, argument_0: Vec<Reading>, item2: (u8, u8)) -> bool {
    item.is_some() && argument_0.len() > usize::from(item2.0)
}

#[deprecated]
#[remote(operator)]
fn old(item: f64) -> f64 {
    item
}

#[allow(deprecated)]
fn chain(client: &Client) -> StreamCall<temperatures, Vec<Option<f64>>> {
    let stream = temperatures::call(client).through(old::with()).skip(1);
    let stream = stream.through(r#type::with(None)).through(maybe::with()).dedup();
    stream.through(Some_::with(vec![], (1, 2))).batches(2, std::time::Duration::ZERO)
}

fn strings(client: &Client) -> StreamCall<temperatures, String> {
    temperatures::call(client).through(api::hot::with(30.0))
}

fn generic<T, A: AppliesTo<T>>(applied: A) -> A {
    applied
}

fn is_operator<O: RemoteOperator>(_: Applied<O>) {}

fn main() {
    is_operator(generic::<f64, _>(maybe::with()));
    let _ = (chain, strings);
    let _ = functions![hot_node, r#type, maybe, Some_, old];
}
