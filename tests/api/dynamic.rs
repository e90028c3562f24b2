//! Calls by name, without types.

use std::collections::BTreeMap;

use common::{World, serving, soon};
use easyremote::client::{JsonError, Kind, NodeInfo};
use easyremote::{CallError, ErrorKind, Executed, functions, remote};
use futures::StreamExt;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// Adds two numbers.
///
/// Both of them.
#[remote]
fn add(a: i64, b: i64) -> i64 {
    a + b
}

#[derive(Serialize, Deserialize)]
struct Config {
    sensors: Vec<String>,
    rate: f64,
}

#[derive(Serialize, Deserialize)]
enum Bad {
    Rate(f64),
}

#[remote(stream)]
fn sample(config: Config, n: u64) -> impl Iterator<Item = Result<BTreeMap<String, f64>, Bad>> {
    (0..n).map(move |i| {
        if config.rate < 0.0 {
            return Err(Bad::Rate(config.rate));
        }
        Ok(config.sensors.iter().map(|s| (s.clone(), i as f64 / config.rate)).collect())
    })
}

#[remote]
fn root(x: f64) -> Result<f64, Bad> {
    if x < 0.0 { Err(Bad::Rate(x)) } else { Ok(x.sqrt()) }
}

#[tokio::test]
async fn functions_are_listed_with_all_that_a_caller_needs() {
    let world = World::start().await;
    let client = world.client().await;
    assert_eq!(soon(client.functions()).await.unwrap(), []);
    let functions = || functions![add, sample];
    let one = world.node_builder().id("one").functions(functions()).serve();
    let two = world.node_builder().id("two").functions(functions![add]).serve();
    let (_one, _two) = (soon(one).await.unwrap(), soon(two).await.unwrap());
    let listed = soon(client.functions()).await.unwrap();
    let [add, sample] = &listed[..] else { panic!("{listed:?}") };
    assert_eq!((add.name.as_str(), add.kind), ("add", Kind::Unary));
    assert_eq!(add.parameters, ["a", "b"]);
    assert_eq!(add.signature, "(a: i64, b: i64) -> i64");
    assert_eq!(add.doc, "Adds two numbers.\n\nBoth of them.");
    assert_eq!(add.nodes, ["one", "two"]);
    assert_eq!((sample.kind, &sample.nodes[..]), (Kind::Stream, &["one".to_owned()][..]));
    // Not the loads, which change.
    let known = |nodes: Vec<NodeInfo>| -> Vec<_> {
        nodes.into_iter().map(|node| (node.id, node.tags, node.functions)).collect()
    };
    let nodes = known(soon(client.nodes()).await.unwrap());
    assert_eq!(nodes, known(world.gateway.nodes()));
    assert_eq!(nodes.len(), 2);
}

#[tokio::test]
async fn arguments_come_by_position_or_by_name() {
    let (_world, client) = serving(functions![add]).await;
    assert_eq!(soon(client.call_json("add", json!([1, 2]))).await.unwrap(), json!(3));
    let by_name = client.call_json("add", json!({"b": 2, "a": 40}));
    assert_eq!(soon(by_name).await.unwrap(), json!(42));
}

#[tokio::test]
async fn a_stream_and_its_errors_come_as_json() {
    let (_world, client) = serving(functions![sample, root]).await;
    let config = json!({"sensors": ["t"], "rate": 2.0});
    let items: Vec<_> = soon(client.stream_json("sample", json!([config, 3])).collect()).await;
    let items: Vec<Value> = items.into_iter().map(Result::unwrap).collect();
    assert_eq!(items, [json!({"t": 0.0}), json!({"t": 0.5}), json!({"t": 1.0})]);

    let config = json!({"sensors": [], "rate": -1.0});
    let items: Vec<_> = soon(client.stream_json("sample", json!([config, 2])).collect()).await;
    assert_eq!(items.len(), 2);
    for item in items {
        assert_eq!(item.unwrap_err().function(), Some(&JsonError(json!({"Rate": -1.0}))));
    }
    let error = soon(client.call_json("root", json!([-4.0]))).await.unwrap_err();
    assert!(
        matches!(error, CallError::Function(JsonError(fault)) if fault == json!({"Rate": -4.0}))
    );
}

#[tokio::test]
async fn wrong_arguments_are_refused_before_the_function_runs() {
    let (_world, node, client) = World::with(functions![add, sample]).await;
    for (function, arguments, part) in [
        ("add", json!([1]), "1 arguments were given; it takes (a, b)"),
        ("add", json!(["x", 2]), "argument `a`: invalid type"),
        ("add", json!({"a": 1, "c": 2}), "argument `b` is missing"),
        ("add", json!(null), "neither a JSON array nor an object"),
    ] {
        let error = soon(client.call_json(function, arguments)).await.unwrap_err();
        let error = error.remote().unwrap().clone();
        assert_eq!((error.kind(), error.executed()), (ErrorKind::BadArguments, Executed::No));
        assert!(error.to_string().contains(part), "{error}");
    }
    let mut items = client.stream_json("sample", json!([{"sensors": []}, 1]));
    let error = soon(items.next()).await.unwrap().unwrap_err();
    let error = error.remote().unwrap();
    assert!(error.to_string().contains("missing field `rate`"), "{error}");
    assert_eq!(error.executed(), Executed::No);
    assert!(soon(items.next()).await.is_none());
    assert_eq!(node.stats().calls, 5);
}

#[tokio::test]
async fn the_wrong_kind_of_call_says_which_is_right() {
    let (_world, client) = serving(functions![add, sample]).await;
    let error = soon(client.call_json("sample", json!([]))).await.unwrap_err();
    assert_eq!(error.remote().unwrap().kind(), ErrorKind::BadArguments);
    assert!(error.to_string().contains("stream_json"), "{error}");
    let error = soon(client.stream_json("add", json!([1, 2])).next()).await.unwrap().unwrap_err();
    assert!(error.to_string().contains("call_json"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_traced_call_by_name_tells_its_node() {
    let (world, _node, client) = World::with(functions![add]).await;
    let other = world.node_builder().id("node-2").functions(functions![add]);
    let _other = soon(other.serve()).await.unwrap();
    let call = client.call_json("add", json!([1, 2])).traced().on("node-2");
    let (sum, trace) = soon(call).await.unwrap();
    assert_eq!((sum, &*trace.node, trace.attempts), (json!(3), "node-2", 1));
    let error = soon(client.call_json("add", json!([1])).traced()).await.unwrap_err();
    assert_eq!(error.remote().unwrap().kind(), ErrorKind::BadArguments);
}
