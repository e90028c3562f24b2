//! Streams of tokens: live, cancelled, cut off.

use std::sync::atomic::Ordering;

use common::process::{self, Process};
use common::{found_in, soon, until};
use easyremote::Node;
use easyremote::attach::LocalServer;

use crate::Site;
use crate::attach::model_server::ModelServer;
use crate::attach::{CHAT, chat};

#[tokio::test]
async fn tokens_arrive_as_they_are_made() {
    let site = Site::start().await;
    let server = ModelServer::start(&["a"]).await;
    let _box = site.attach("box", &server).await;
    for line in [CHAT, "POST /attach/box/v1/chat/completions"] {
        let mut answer = site.live(line, &chat("a", r#","stream":true,"max_tokens":4"#)).await;
        answer.until("\r\n\r\n").await;
        for n in 0..4 {
            server.seen.tokens.add_permits(1);
            answer.until(&format!("t{n} ")).await;
        }
        let whole = answer.rest().await;
        assert!(whole.contains("data: [DONE]\n\n") && whole.ends_with("0\r\n\r\n"), "{whole}");
        assert!(whole.contains("content-type: text/event-stream") && !whole.contains("box=1"));
    }
}

#[tokio::test]
async fn a_caller_that_leaves_ends_the_request_at_the_server() {
    let site = Site::start().await;
    let server = ModelServer::start(&["a"]).await;
    let _box = site.attach("box", &server).await;
    let ended = || server.seen.ended_early.load(Ordering::SeqCst);
    // In the middle of the answer, and before it has begun.
    let mut answer = site.live(CHAT, &chat("a", r#","stream":true"#)).await;
    server.seen.tokens.add_permits(3);
    answer.until("t2 ").await;
    drop(answer);
    until(|| ended() == 1).await;
    let answer = site.live(CHAT, &chat("a", "")).await;
    until(|| server.seen.running.load(Ordering::SeqCst) == 1).await;
    drop(answer);
    until(|| ended() == 2).await;
    until(|| site.gateway.stats().in_flight == 0).await;
}

/// A caller that does not read stops the server.
#[tokio::test]
async fn a_slow_reader_slows_the_server_down() {
    let site = Site::start().await;
    let server = ModelServer::start(&["a"]).await;
    let _box = site.attach("box", &server).await;
    let total = 1_000_000;
    server.seen.tokens.add_permits(total);
    let mut answer = site.live(CHAT, &chat("a", r#","stream":true"#)).await;
    answer.until("t0 ").await;
    let mut last = usize::MAX;
    loop {
        let left = server.seen.tokens.available_permits();
        if left == last {
            break;
        }
        last = left;
        tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    }
    assert!(last > total / 2, "{last} of {total} tokens are left");
    drop(answer);
    until(|| server.seen.ended_early.load(Ordering::SeqCst) == 1).await;
}

/// In a process of its own: the node before a server.
#[tokio::test]
async fn node() {
    let Ok(state) = std::env::var("ATTACH_STATE") else { return };
    let variable = |name| std::env::var(name).unwrap();
    let node = Node::builder(variable("ATTACH_GATEWAY")).dial(found_in(state));
    let server = LocalServer::new(variable("ATTACH_SERVER"));
    let _attached = soon(server.attach(&variable("ATTACH_NAME"), node)).await.unwrap();
    process::tell("attached");
    while process::question().await.is_some() {}
}

/// A box before a server, in a process that can be killed.
pub(crate) fn a_box(site: &Site, server: &ModelServer, name: &str) -> Process {
    let state = site.state.path().to_str().unwrap();
    let gateway = site.gateway.local_addr().to_string();
    let variables = [
        ("ATTACH_STATE", state),
        ("ATTACH_GATEWAY", &gateway),
        ("ATTACH_SERVER", &server.url()),
        ("ATTACH_NAME", name),
    ];
    let mut process = Process::start("attach::streams::node", variables);
    tokio::task::block_in_place(|| process.line("attached"));
    process
}

#[tokio::test(flavor = "multi_thread")]
async fn a_box_that_is_killed_is_named_in_the_last_event() {
    let site = Site::start().await;
    let server = ModelServer::start(&["a"]).await;
    let mut process = a_box(&site, &server, "box-1");
    server.seen.tokens.add_permits(3);
    let mut answer = site.live(CHAT, &chat("a", r#","stream":true"#)).await;
    answer.until("t2 ").await;
    // Another box takes over, and its server is the same: what was begun is not begun again.
    let _other = site.attach("box-2", &server).await;
    process.kill();
    let whole = answer.rest().await;
    let (_, last) = whole.rsplit_once("data: ").unwrap();
    let last: serde_json::Value = serde_json::from_str(last.split('\n').next().unwrap()).unwrap();
    let error = &last["error"];
    assert_eq!((&error["kind"], &error["node"]), (&"NodeLost".into(), &"box-1".into()), "{whole}");
    assert_eq!((&error["executed"], &error["code"]), (&"Yes".into(), &"node_lost".into()));
    assert!(!whole.ends_with("0\r\n\r\n") && !whole.contains("[DONE]"), "{whole}");
    assert_eq!(server.seen.asked().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_box_that_is_killed_before_its_answer_is_named_too() {
    let site = Site::start().await;
    let server = ModelServer::start(&["a"]).await;
    let mut process = a_box(&site, &server, "box-1");
    let request = chat("a", "");
    let asking = site.ask(CHAT, &["Content-Type: application/json"], &request);
    let killing = async {
        until(|| server.seen.running.load(Ordering::SeqCst) == 1).await;
        process.kill();
    };
    let (answer, ()) = futures::join!(asking, killing);
    let error = answer.json()["error"].clone();
    assert_eq!((answer.status, &error["kind"]), (502, &"NodeLost".into()), "{answer:?}");
    assert_eq!((&error["executed"], &error["node"]), (&"Maybe".into(), &"box-1".into()));
    assert_eq!(answer.header("x-should-retry"), Some("false"));
    assert_eq!(server.seen.asked().len(), 1);
}
