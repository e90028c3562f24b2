//! What is listed: the same that clients over QUIC see, and no more.

use common::exposition::Exposition;
use common::{Probe, soon, until};
use easyremote::{Client, ErrorKind, Node, Role, functions, remote};
use futures::{Stream, StreamExt, stream};
use serde_json::Value;

use crate::Site;
use crate::exchange::get;

/// Adds two numbers.
#[remote]
fn add(a: i64, b: i64) -> i64 {
    a + b
}

#[remote]
fn hidden() {}

#[remote(stream)]
fn endless(probe: u64) -> impl Stream<Item = u64> {
    common::say(probe, "started");
    stream::iter(0..).then(async |n| {
        tokio::task::yield_now().await;
        n
    })
}

#[tokio::test]
async fn lists_are_those_of_clients() {
    let site = Site::with(
        |gateway| {
            let gateway = gateway.token(Role::Client, "web").may_call("web", ["add", "endless"]);
            gateway.may_call("default", ["*"])
        },
        |options| options,
    )
    .await;
    let ticket = site.gateway.ticket(Role::Node);
    let _node = soon(Node::serve(ticket, functions![add, hidden, endless])).await.unwrap();
    let ticket = site.gateway.ticket_of(Role::Client, "web").unwrap();
    let client = soon(Client::connect(ticket)).await.unwrap();
    let (web, admin) = (site.bearer_of(Role::Client, "web"), site.bearer(Role::Admin));
    let listed = get(site.address(), "/functions", &[&web]).await.json();
    let expected = serde_json::to_value(soon(client.functions()).await.unwrap()).unwrap();
    assert_eq!(listed, expected);
    let names = |list: &Value| -> Vec<String> {
        let list = list.as_array().unwrap().iter();
        list.map(|it| it["name"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(names(&listed), ["add", "endless"]);
    let all = get(site.address(), "/functions", &[&admin]).await.json();
    assert_eq!(names(&all), ["add", "endless", "hidden"]);
    let nodes = get(site.address(), "/nodes", &[&admin]).await.json();
    assert_eq!(nodes.as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn streams_and_figures_are_those_of_the_gateway() {
    let site = Site::start().await;
    let mut probe = Probe::new();
    let node = Node::serve(site.gateway.ticket(Role::Node), functions![add, endless]);
    let _node = soon(node).await.unwrap();
    let client = soon(Client::connect(site.gateway.ticket(Role::Client))).await.unwrap();
    let admin = site.bearer(Role::Admin);
    for n in 0..3 {
        assert_eq!(soon(add::call(&client, n, 1)).await.unwrap(), n + 1);
    }
    let mut stream = endless::call(&client, probe.key);
    assert_eq!(soon(stream.next()).await.unwrap().unwrap(), 0);
    soon(probe.next()).await;
    until(|| site.gateway.functions().iter().any(|it| it.returned == 3)).await;
    let streams = get(site.address(), "/streams", &[&admin]).await.json();
    let [open] = &streams.as_array().unwrap()[..] else { panic!("{streams}") };
    assert_eq!(
        (&open["function"], &open["caller"]["identity"]),
        (&"endless".into(), &"default".into())
    );
    assert!(open["items"].as_u64().unwrap() > 0 && open["age_seconds"].as_f64().unwrap() > 0.0);
    let overseer = soon(Client::connect(site.gateway.ticket(Role::Admin))).await.unwrap();
    let [listed] = &soon(overseer.stream_stats()).await.unwrap()[..] else { panic!("one") };
    assert_eq!(open["key"], listed.number);
    let at_gateway = &site.gateway.streams()[0];
    assert_eq!((listed.number, &listed.caller), (at_gateway.number, &at_gateway.caller));
    assert_eq!((&listed.function, &listed.node), (&at_gateway.function, &at_gateway.node));
    let error = soon(client.stream_stats()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied);
    let stats = get(site.address(), "/stats", &[&admin]).await.json();
    assert_eq!((&stats["gateway"]["nodes"], &stats["gateway"]["streams"]), (&1.into(), &1.into()));
    let add = stats["functions"].as_array().unwrap().iter().find(|it| it["function"] == "add");
    let add = add.unwrap();
    assert_eq!((&add["returned"], &add["ran"]["count"]), (&3.into(), &3.into()));
    assert!(add["ran"]["p99_seconds"].as_f64().unwrap() > 0.0);
    let text = get(site.address(), "/metrics", &[&admin]).await;
    assert!(text.header("content-type").unwrap().starts_with("text/plain; version=0.0.4"));
    let read = Exposition::read(&text.body);
    let labels = [("role", "gateway"), ("function", "add"), ("outcome", "returned")];
    assert_eq!(read.value("easyremote_calls_total", &labels), Some(3.0));
    let open = "Accept: application/openmetrics-text";
    let text = get(site.address(), "/metrics", &[&admin, open]).await;
    assert!(text.header("content-type").unwrap().starts_with("application/openmetrics-text"));
    drop(stream);
    until(|| site.gateway.streams().is_empty()).await;
    assert_eq!(get(site.address(), "/streams", &[&admin]).await.json(), Value::Array(Vec::new()));
}
