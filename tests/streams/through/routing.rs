//! Where a call with operators goes, and what it says if it cannot go anywhere.

use common::{World, soon, until};
use easyremote::client::Kind;
use easyremote::node::Functions;
use easyremote::{CallError, Client, Error, ErrorKind, Executed, Node, functions};
use futures::{FutureExt, StreamExt, TryStreamExt};
use serde_json::json;

use super::{fragile, numbers, odd};

/// What another version of the program offers under these names.
mod other {
    use easyremote::remote;

    #[remote(operator, name = "odd")]
    pub(super) fn odd(n: &u32) -> bool {
        n % 2 == 1
    }

    #[remote(name = "odd")]
    pub(super) fn odd_function(n: u64) -> bool {
        n % 2 == 1
    }
}

async fn node(world: &World, id: &str, functions: Functions) -> Node {
    soon(world.node_builder().id(id).functions(functions).serve()).await.unwrap()
}

async fn error(client: &Client) -> Error {
    let mut items = numbers::call(client, 5).through(fragile::with(9)).through(odd::with());
    let error = soon(items.next()).await.unwrap().unwrap_err();
    assert_eq!(error.executed(), Executed::No, "{error}");
    assert!(error.to_string().contains("`odd`"), "{error}");
    assert!(soon(items.next()).await.is_none());
    error
}

async fn odd_ones(client: &Client) -> Vec<u64> {
    soon(numbers::call(client, 6).through(odd::with()).try_collect()).await.unwrap()
}

/// Waits until the gateway has this many nodes.
async fn has(world: &World, nodes: u64) {
    until(|| world.gateway.stats().nodes == nodes).await;
}

#[tokio::test]
async fn a_call_goes_to_a_node_that_has_all_its_operators() {
    let world = World::start().await;
    let _without = node(&world, "without", functions![numbers, fragile]).await;
    let _different = node(&world, "different", functions![numbers, fragile, other::odd]).await;
    let _function =
        node(&world, "function", functions![numbers, fragile, other::odd_function]).await;
    let all = node(&world, "all", functions![numbers, fragile, odd]).await;
    let _only = node(&world, "only", functions![odd, fragile]).await;
    let client = world.client().await;
    let n = 40;
    for _ in 0..n {
        assert_eq!(odd_ones(&client).await, [1, 3, 5]);
    }
    let of_all = all.functions().into_iter().find(|it| it.function == "numbers").unwrap();
    assert_eq!(of_all.returned, n);
    // By name, each node that has an operator of the name will do.
    for _ in 0..n {
        let items = client.stream_json("numbers", json!([6])).through("odd", json!([]));
        assert_eq!(soon(items.count()).await, 3);
    }
    for (id, kind) in [("without", ErrorKind::NoNode), ("different", ErrorKind::SignatureMismatch)]
    {
        let mut items = numbers::call(&client, 6).through(odd::with()).on(id);
        let error = soon(items.next()).await.unwrap().unwrap_err();
        assert_eq!((error.kind(), error.executed()), (kind, Executed::No), "{error}");
    }
    let sticky = numbers::call(&client, 6).through(odd::with()).sticky("key");
    assert_eq!(soon(sticky.count()).await, 3);
}

#[tokio::test]
async fn without_such_a_node_the_error_names_the_operator() {
    let world = World::start().await;
    let client = world.client().await;
    let first = node(&world, "first", functions![numbers, fragile]).await;
    let none = error(&client).await;
    assert_eq!(none.kind(), ErrorKind::NoSuchFunction);
    assert!(none.to_string().contains("no node offers the operator `odd`"), "{none}");

    let second = node(&world, "second", functions![odd]).await;
    let apart = error(&client).await;
    assert_eq!(apart.kind(), ErrorKind::NoNode);
    let text = apart.to_string();
    assert!(text.contains("both `numbers` and the operator `odd`: `first` have"), "{text}");
    assert!(text.contains("`second`"), "{text}");

    drop((first, second));
    has(&world, 0).await;
    let _different = node(&world, "different", functions![numbers, fragile, other::odd]).await;
    let differs = error(&client).await;
    assert_eq!(differs.kind(), ErrorKind::SignatureMismatch);
    assert!(differs.to_string().contains("node `different` has `(u32) -> u32`"), "{differs}");
}

#[tokio::test]
async fn a_function_is_no_operator_and_an_operator_no_function() {
    let world = World::start().await;
    let client = world.client().await;
    let _node = node(&world, "a", functions![numbers, fragile, other::odd_function]).await;
    let function = error(&client).await;
    assert_eq!(function.kind(), ErrorKind::NoSuchFunction);
    assert!(function.to_string().contains("`odd` at node `a` is not an operator"), "{function}");

    let call = client.call_json("fragile", json!([1]));
    let CallError::Remote(called) = soon(call).await.unwrap_err() else { panic!("it was called") };
    let mut items = client.stream_json("fragile", json!([1]));
    let Some(Err(CallError::Remote(streamed))) = soon(items.next()).await else {
        panic!("it was called")
    };
    for error in [called, streamed] {
        assert_eq!((error.kind(), error.executed()), (ErrorKind::NoSuchFunction, Executed::No));
        let text = error.to_string();
        assert!(text.contains("`fragile` is an operator") && text.contains("`through`"), "{text}");
    }
}

#[tokio::test]
async fn a_call_can_wait_for_the_node_that_has_its_operators() {
    let world = World::start().await;
    let client = world.client().await;
    let _first = node(&world, "first", functions![numbers]).await;
    let call = || numbers::call(&client, 6).through(odd::with()).wait_for_node();
    let waiting = tokio::spawn(soon(call().try_collect::<Vec<u64>>()));
    let mut dropped = call();
    assert!(dropped.next().now_or_never().is_none());
    let _different = node(&world, "different", functions![numbers, other::odd]).await;
    assert!(!waiting.is_finished());
    drop(dropped);
    let _all = node(&world, "all", functions![numbers, odd]).await;
    assert_eq!(soon(waiting).await.unwrap().unwrap(), [1, 3, 5]);
}

#[tokio::test]
async fn a_full_node_with_the_operators_is_waited_for() {
    let world = World::start().await;
    let client = world.client().await;
    let builder = world.node_builder().id("all").functions(functions![numbers, odd]);
    let _all = soon(builder.concurrency(1).serve()).await.unwrap();
    let _other = node(&world, "other", functions![numbers]).await;
    let mut first = numbers::call(&client, 1_000_000).through(odd::with());
    assert_eq!(soon(first.next()).await.unwrap().unwrap(), 1);
    let mut second = Box::pin(odd_ones(&client));
    assert!((&mut second).now_or_never().is_none());
    until(|| world.gateway.stats().waiting == 1).await;
    drop(first);
    assert_eq!(second.await, [1, 3, 5]);
}

#[tokio::test]
async fn operators_are_listed_with_their_kind_and_schemas() {
    let (_world, node, client) = World::with(functions![numbers, super::named]).await;
    let functions = soon(client.functions()).await.unwrap();
    let named = functions.iter().find(|function| function.name == "named").unwrap();
    assert_eq!(named.kind, Kind::Operator);
    assert_eq!((named.kind.to_string(), json!(named.kind)), ("operator".into(), json!("operator")));
    assert_eq!(named.parameters, ["prefix", "suffix"]);
    assert_eq!(named.doc, "Names a sensor, unless it is number 0.");
    assert!(named.signature.ends_with("prefix: String, suffix: String) -> String"), "{named:?}");
    let schemas = named.schemas.as_ref().unwrap();
    let prefix = &schemas.arguments()["properties"]["prefix"];
    assert_eq!(prefix["description"], "What stands before the number.");
    assert!(schemas.upload().unwrap().to_string().contains("sensor"), "{schemas:?}");
    assert_eq!(schemas.item().unwrap()["type"], "string");
    assert_eq!((schemas.result(), schemas.error()), (None, None));
    let names = |stats: Vec<easyremote::gateway::FunctionStats>| {
        stats.into_iter().map(|it| it.function).collect::<Vec<_>>()
    };
    assert_eq!(names(node.functions()), ["numbers"], "an operator has no calls");
    assert_eq!(names(_world.gateway.functions()), ["numbers"]);
}
