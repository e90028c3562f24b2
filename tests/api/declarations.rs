//! Functions that are declared in one place and implemented in another.

use std::fmt;

use common::{World, soon};
use easyremote::__private::Remote;
use easyremote::error::StreamError;
use easyremote::{CallError, ErrorKind, functions};
use futures::{StreamExt, TryStreamExt, stream};

/// What clients and nodes share.
mod api {
    use easyremote::remote;
    use futures::Stream;

    /// Adds what the node knows.
    #[remote(name = "math.add", timeout = "50s", idempotent)]
    pub(crate) async fn add(a: i64, b: i64) -> i64;

    #[remote]
    pub(crate) fn divide(a: i64, b: i64) -> Result<i64, String>;

    #[remote(stream)]
    pub(crate) fn count(to: u64) -> Result<impl Stream<Item = Result<u64, String>>, String>;

    #[remote]
    pub(crate) async fn total(from: u64, numbers: impl Stream<Item = u64>) -> u64;

    #[remote(stream)]
    pub(crate) fn doubled(numbers: impl Stream<Item = u64>) -> impl Stream<Item = u64>;

    #[remote(err = "display")]
    pub(crate) async fn parse(text: String) -> Result<u64, String>;

    #[remote]
    pub(crate) fn nowhere() -> u8;
}

/// What only nodes have.
mod node {
    use std::num::ParseIntError;

    use easyremote::{Context, remote};
    use futures::{Stream, StreamExt, stream};

    use super::api;

    pub(crate) struct Model(pub(crate) i64);

    // Sync where the declaration is async, with other names, and with what callers do not give.
    #[remote(implements = api::add)]
    pub(crate) fn add(#[state] model: &Model, left: i64, right: i64) -> i64 {
        left + right + model.0
    }

    #[remote(implements = super::api::divide, stub = Divide)]
    pub(crate) async fn divide_on_node(
        a: i64,
        #[ctx] ctx: &Context,
        b: i64,
    ) -> Result<i64, String> {
        a.checked_div(b).ok_or_else(|| format!("by zero in `{}`", ctx.function()))
    }

    // An iterator where the declaration has a stream.
    #[remote(stream, implements = api::count)]
    pub(crate) fn count(to: u64) -> Result<impl Iterator<Item = Result<u64, String>>, String> {
        if to == 0 {
            return Err("nothing to count".to_owned());
        }
        Ok((1..=to).map(|n| if n == 2 { Err("two".to_owned()) } else { Ok(n) }))
    }

    #[remote(implements = api::total)]
    pub(crate) async fn total(from: u64, numbers: impl Stream<Item = u64>) -> u64 {
        numbers.fold(from, |sum, n| async move { sum + n }).await
    }

    #[remote(stream, implements = api::doubled)]
    pub(crate) async fn doubled(numbers: impl Stream<Item = u64>) -> impl Stream<Item = u64> {
        stream::iter([0]).chain(numbers.map(|n| n * 2))
    }

    // Both send text, so the types of the errors may differ.
    #[remote(implements = api::parse, err = "display")]
    pub(crate) async fn parse(text: String) -> Result<u64, ParseIntError> {
        text.parse()
    }
}

fn all() -> easyremote::node::Functions {
    functions![node::add, node::Divide, node::count, node::total, node::doubled, node::parse]
}

async fn start() -> (World, easyremote::Node, easyremote::Client) {
    let world = World::start().await;
    let node = world.node_builder().state(node::Model(100)).functions(all());
    let node = soon(node.serve()).await.unwrap();
    let client = world.client().await;
    (world, node, client)
}

#[tokio::test]
async fn a_declaration_calls_its_implementation() {
    let (_world, _node, client) = start().await;
    assert_eq!(soon(api::add::call(&client, 1, 2)).await.unwrap(), 103);
    assert_eq!(soon(api::divide::call(&client, 7, 2)).await.unwrap(), 3);
    let error = soon(api::divide::call(&client, 7, 0)).await.unwrap_err();
    assert!(matches!(error, CallError::Function(text) if text == "by zero in `divide`"));
    // The implementation's own stub is as good.
    assert_eq!(soon(node::add::call(&client, 1, 2)).await.unwrap(), 103);
    assert_eq!(node::add(&node::Model(1), 1, 2), 4);
}

#[tokio::test]
async fn streams_of_both_directions_can_be_declared() {
    let (_world, _node, client) = start().await;
    let numbers = stream::iter([1, 2, 3]);
    assert_eq!(soon(api::total::call(&client, 10, numbers)).await.unwrap(), 16);
    let doubled = api::doubled::call(&client, stream::iter([1, 2]));
    assert_eq!(soon(doubled.try_collect::<Vec<_>>()).await.unwrap(), [0, 2, 4]);

    let items: Vec<_> = soon(api::count::call(&client, 3).collect()).await;
    assert!(matches!(items[..], [Ok(1), Err(_), Ok(3)]), "{items:?}");
    let error = soon(api::count::call(&client, 0).try_collect::<Vec<_>>()).await.unwrap_err();
    assert!(matches!(error, CallError::Function(StreamError::Setup(_))), "{error:?}");
}

#[tokio::test]
async fn errors_as_text_may_be_of_two_types() {
    let (_world, _node, client) = start().await;
    assert_eq!(soon(api::parse::call(&client, "7".into())).await.unwrap(), 7);
    let error = soon(api::parse::call(&client, "x".into())).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Failed);
    assert_eq!(error.to_string(), "invalid digit found in string");
}

#[tokio::test]
async fn the_declaration_describes_the_function() {
    let (_world, node, client) = start().await;
    let functions = soon(client.functions()).await.unwrap();
    let add = functions.iter().find(|function| function.name == "math.add").unwrap();
    assert_eq!(add.parameters, ["a", "b"]);
    assert_eq!(add.signature, "(a: i64, b: i64) -> i64");
    assert_eq!(add.doc, "Adds what the node knows.");
    assert_eq!(add.nodes, [node.id()]);
}

#[test]
fn an_implementation_has_what_its_declaration_says_and_a_place_of_its_own() {
    let (declared, here) = (api::add::DESCRIPTOR, node::add::DESCRIPTOR);
    for descriptor in [declared, here] {
        assert!(format!("{descriptor:?}").contains("idempotent: true"));
    }
    let lines = |descriptor: &dyn fmt::Debug| format!("{descriptor:?}");
    let (declared, here) = (lines(&declared), lines(&here));
    assert!(here.contains("\"math.add\"") && here.contains("50s"), "{here}");
    assert_ne!(declared, here);
    let (before, _) = declared.split_once("origin").unwrap();
    assert_eq!(here.split_once("origin").unwrap().0, before);
}

#[tokio::test]
async fn a_declaration_without_a_node_is_told_so() {
    let (_world, _node, client) = start().await;
    let error = soon(api::nowhere::call(&client)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NoSuchFunction);
}

#[tokio::test]
async fn two_implementations_of_one_declaration_are_two_functions_of_one_name() {
    mod again {
        #[easyremote::remote(implements = super::api::divide)]
        pub(super) fn divide(a: i64, b: i64) -> Result<i64, String> {
            a.checked_div(b).ok_or_else(String::new)
        }
    }
    let world = World::start().await;
    let both = world.node_builder().functions(functions![node::Divide, again::divide]);
    let error = soon(both.serve()).await.unwrap_err();
    let text = error.to_string();
    assert!(
        text.contains("two functions are called `divide`, at tests/api/declarations.rs:"),
        "{text}"
    );
}
