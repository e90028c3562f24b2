//! `easyremote gateway`: tickets, options, the drain.

use std::process::Stdio;

use common::{found_in, soon};
use easyremote::{Client, Node, functions, remote};
use futures::StreamExt;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout};

use crate::tool::{ended, finish, signal, tool};

#[remote]
fn add(a: i64, b: i64) -> i64 {
    a + b
}

#[remote(stream)]
fn slowly(n: u64) -> impl futures::Stream<Item = u64> {
    futures::stream::iter(0..n).then(|n| async move {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        n
    })
}

/// Serves a gateway with these options. Returns what it says first.
async fn serve(
    state: &std::path::Path,
    words: &[&str],
) -> (Child, Value, Lines<BufReader<ChildStdout>>) {
    let mut command = tool();
    command.args(["--json", "gateway", "127.0.0.1:0", "--state-dir"]).arg(state).args(words);
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let first = soon(lines.next_line()).await.unwrap().expect("the gateway has ended");
    (child, serde_json::from_str(&first).unwrap(), lines)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_prints_tickets_and_drains_on_a_signal() {
    for name in ["TERM", "INT"] {
        let state = tempfile::tempdir().unwrap();
        let (child, said, _lines) = serve(state.path(), &[]).await;
        let ticket = |role: &str| said["tickets"][role].as_str().unwrap().to_owned();
        let node = Node::builder(ticket("node")).functions(functions![add, slowly]);
        let _node = soon(node.serve()).await.unwrap();
        let client = soon(Client::connect(ticket("client"))).await.unwrap();
        assert_eq!(soon(add::call(&client, 1, 2)).await.unwrap(), 3);
        let mut items = slowly::call(&client, 30);
        assert_eq!(soon(items.next()).await.unwrap().unwrap(), 0);
        signal(&child, name);
        for n in 1..30 {
            assert_eq!(soon(items.next()).await.unwrap().unwrap(), n);
        }
        assert!(soon(items.next()).await.is_none());
        assert_eq!(finish(child).await.code, Some(0));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_leaves_does_not_end_the_gateway() {
    let state = tempfile::tempdir().unwrap();
    let mut command = tool();
    command.args(["gateway", "127.0.0.1:0", "--state-dir"]).arg(state.path());
    let mut child = command.spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let first = soon(lines.next_line()).await.unwrap().unwrap();
    drop(lines);
    let client = Client::builder(first.strip_prefix("listening on ").unwrap());
    let client = client.dial(found_in(state.path())).connect();
    assert!(soon(client).await.unwrap().stats().connected);
    signal(&child, "TERM");
    assert_eq!(finish(child).await.code, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_second_signal_ends_at_once() {
    let state = tempfile::tempdir().unwrap();
    let (child, said, _lines) = serve(state.path(), &["--grace", "1h"]).await;
    let ticket = |role: &str| said["tickets"][role].as_str().unwrap().to_owned();
    let node = Node::builder(ticket("node")).functions(functions![slowly]);
    let _node = soon(node.serve()).await.unwrap();
    let client = soon(Client::connect(ticket("client"))).await.unwrap();
    let mut items = slowly::call(&client, 1_000_000);
    assert_eq!(soon(items.next()).await.unwrap().unwrap(), 0);
    signal(&child, "TERM");
    // The first one is heard once the gateway holds new streams back.
    let mut child = child;
    let ended = async {
        loop {
            signal(&child, "TERM");
            let pause = tokio::time::sleep(std::time::Duration::from_millis(50));
            tokio::select! {
                status = child.wait() => return status.unwrap().code(),
                () = pause => {}
            }
        }
    };
    assert_eq!(soon(ended).await, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_rules_and_limits_are_options() {
    let state = tempfile::tempdir().unwrap();
    let words = ["--token", "client:web", "--may-call", "web=add", "--public", "gw.example.com:1"];
    let limits = ["--max-message", "1MiB", "--connections", "50", "--calls-per-peer", "7"];
    let words: Vec<_> = words.into_iter().chain(limits).collect();
    let (child, said, _lines) = serve(state.path(), &words).await;
    let text = said["tickets"]["client"].as_str().unwrap();
    assert!(text.starts_with("easyremote://gw.example.com:1?pin="), "{text}");
    let address = said["address"].as_str().unwrap();
    let ticket: easyremote::Ticket = text.parse().unwrap();
    let client = soon(Client::connect(ticket.at(address).unwrap())).await.unwrap();
    let node = Node::builder(address).dial(found_in(state.path()));
    let _node = soon(node.functions(functions![add, slowly]).serve()).await.unwrap();
    assert_eq!(soon(add::call(&client, 1, 2).wait_for_node()).await.unwrap(), 3);
    let error = soon(slowly::call(&client, 1).next()).await.unwrap().unwrap_err();
    assert_eq!(error.kind(), easyremote::ErrorKind::PermissionDenied);
    signal(&child, "TERM");
    assert_eq!(finish(child).await.code, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn tickets_can_be_kept_back_and_a_taken_port_is_told() {
    let state = tempfile::tempdir().unwrap();
    let (child, said, _lines) = serve(state.path(), &["--no-tickets"]).await;
    assert_eq!(said["tickets"], json!({"node": null, "client": null}));
    let mut second = tool();
    second.args(["--json", "gateway", said["address"].as_str().unwrap(), "--state-dir"]);
    second.arg(state.path());
    let second = ended(second).await;
    assert_eq!((second.code, &second.error()["kind"]), (Some(3), &json!("Unavailable")));
    drop(child);
}
