//! `easyremote call`: results, errors with their exit codes, options, input, signals.

use std::process::Stdio;
use std::time::Duration;

use common::{Probe, SayOnDrop};
use easyremote::{Context, Role, functions, remote};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::io::AsyncReadExt;

use crate::tool::{Ended, Rig, ended, finish, signal, tool};

#[remote]
fn add(a: i64, b: i64) -> i64 {
    a + b
}

#[remote]
fn join(parts: Vec<String>) -> String {
    parts.join("+")
}

#[derive(Debug, Serialize, Deserialize)]
enum Mistake {
    ByZero { dividend: i64 },
}

#[remote]
fn divide(a: i64, b: i64) -> Result<i64, Mistake> {
    a.checked_div(b).ok_or(Mistake::ByZero { dividend: a })
}

#[remote(err = "display")]
fn fails(why: String) -> Result<(), String> {
    Err(why)
}

#[remote]
fn panics() {
    panic!("no luck");
}

#[remote]
async fn metadata(#[ctx] ctx: &Context, key: String) -> Option<String> {
    ctx.metadata(&key).map(str::to_owned)
}

/// Says that it runs, and that it was dropped.
#[remote]
async fn waits(key: u64) {
    let probe = SayOnDrop(key, "dropped");
    probe.say("runs");
    std::future::pending::<()>().await;
}

async fn rig() -> Rig {
    Rig::with(functions![add, join, divide, fails, panics, metadata, waits]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_result_is_json_on_standard_output() {
    let rig = rig().await;
    for (words, input, out) in [
        (&["call", "add", "1", "2"][..], "", "3\n"),
        (&["call", "add", "1", "-2"], "", "-1\n"),
        (&["call", "add", "[1,2]"], "", "3\n"),
        (&["call", "add", r#"{"b":2,"a":1}"#], "", "3\n"),
        (&["call", "add", "-"], r#"{"b":2,"a":1}"#, "3\n"),
        (&["call", "add", "-", "5"], " 7\n", "12\n"),
        (&["call", "join", r#"[["a","b"]]"#], "", "\"a+b\"\n"),
        (&["call", "divide", "7", "2"], "", "3\n"),
        (&["call", "metadata", "who", "--metadata", "who=me=you"], "", "\"me=you\"\n"),
        (&["call", "metadata", "who"], "", "null\n"),
        (&["--json", "call", "add", "1", "2"], "", "3\n"),
        (&["call", "add", "1", "2", "--json", "--key", "sum"], "", "3\n"),
        (&["call", "add", "1", "2", "--on", "node-1", "--tag", "blue"], "", "3\n"),
        (&["call", "add", "1", "2", "--strategy", "fastest", "--sticky", "x"], "", "3\n"),
        (&["call", "add", "1", "2", "--prefer-tag", "red", "--retry", "2"], "", "3\n"),
        (&["call", "add", "1", "2", "--timeout", "30s", "--wait-for-node"], "", "3\n"),
    ] {
        let ended = rig.fed(words, input).await;
        assert_eq!((ended.code, &*ended.out, &*ended.err), (Some(0), out, ""), "{words:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_traced_call_tells_its_node() {
    let rig = rig().await;
    let plain = rig.run(&["call", "add", "1", "2", "--traced"]).await;
    assert_eq!((plain.code, &*plain.out), (Some(0), "3\n"));
    assert!(plain.err.starts_with("node-1 ran it in "), "{plain:?}");
    let json = rig.run(&["--json", "call", "add", "1", "2", "--traced"]).await;
    let document = json.json();
    assert_eq!((&document["result"], &json.err), (&json!(3), &String::new()));
    assert_eq!(
        (&document["trace"]["node"], &document["trace"]["attempts"]),
        (&json!("node-1"), &json!(1))
    );
    assert!(document["trace"]["ran_us"].is_u64() && document["trace"]["queued_us"].is_u64());
}

#[tokio::test(flavor = "multi_thread")]
async fn every_failure_has_its_exit_code_and_is_one_object() {
    let rig = rig().await;
    let elsewhere = Rig::empty().await.world.gateway.ticket(Role::Client);
    let address = rig.world.gateway.local_addr().to_string();
    let stranger = elsewhere.clone().at(&address).unwrap().to_string();
    let nowhere = "--gateway=127.0.0.1:9";
    for (words, code, kind, executed) in [
        (&["call", "divide", "1", "0"][..], 1, "Function", "Yes"),
        (&["call", "fails", "no luck"], 1, "Failed", "Yes"),
        (&["call", "panics"], 1, "Panicked", "Yes"),
        (&["call", "add", "1"], 2, "BadArguments", "No"),
        (&["call", "add", "one", "two"], 2, "BadArguments", "No"),
        (&["call", "add", "{a:1}"], 2, "Usage", "No"),
        (&["call", "add", "1", "2", "--on", ""], 2, "InvalidInput", "No"),
        (&["call", "add", "1", "2", "--gateway", "nonsense"], 2, "InvalidInput", "No"),
        (&["call", "add", "1", "2", nowhere, "--connect-timeout", "300ms"], 3, "Unavailable", "No"),
        (&["call", "add", "1", "2", "--gateway", &stranger], 4, "Unauthenticated", "No"),
        (&["call", "nothing"], 5, "NoSuchFunction", "No"),
        (&["call", "add", "1", "2", "--on", "node-2"], 5, "NoNode", "No"),
        (&["call", "add", "1", "2", "--tag", "red"], 5, "NoNode", "No"),
        (&["call", "add", "1", "2", "--timeout", "0s"], 6, "DeadlineExceeded", "No"),
    ] {
        let plain = rig.run(words).await;
        assert_eq!((plain.code, &*plain.out), (Some(code), ""), "{words:?} {plain:?}");
        assert!(plain.err.starts_with("error: "), "{words:?} {plain:?}");
        let words: Vec<_> = ["--json"].iter().chain(words).copied().collect();
        let ended = rig.run(&words).await;
        let error = ended.error();
        assert_eq!((ended.code, &error["code"]), (Some(code), &json!(code)), "{words:?}");
        assert_eq!((&error["kind"], &error["executed"]), (&json!(kind), &json!(executed)));
        assert!(error["message"].as_str().is_some_and(|text| !text.is_empty()), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_functions_own_error_arrives_whole() {
    let rig = rig().await;
    let error = rig.run(&["--json", "call", "divide", "7", "0"]).await.error();
    assert_eq!(error["error"], json!({"ByZero": {"dividend": 7}}));
    let plain = rig.run(&["call", "panics"]).await;
    assert!(plain.err.contains("kind: Panicked, executed: Yes, node: node-1"), "{plain:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_usage_is_2_and_help_is_0() {
    for (words, code) in [
        (&["--help"][..], 0),
        (&["--version"], 0),
        (&["call", "--help"], 0),
        (&[], 2),
        (&["call"], 2),
        (&["dance"], 2),
        (&["call", "add", "--timeout", "soon"], 2),
        (&["call", "add", "--strategy", "luck"], 2),
        (&["call", "add", "--metadata", "x"], 2),
        (&["call", "add", "--job", "--traced"], 2),
    ] {
        let mut command = tool();
        command.args(words);
        let Ended { code: ended, out, err } = ended(command).await;
        assert_eq!(ended, Some(code), "{words:?} {out} {err}");
        assert_eq!(out.is_empty(), code == 2, "{words:?} {out}");
    }
    let mut command = tool();
    command.args(["call", "--json", "--timeout", "soon"]);
    let misused = ended(command).await;
    assert_eq!((misused.code, &misused.error()["kind"]), (Some(2), &json!("Usage")));
    let mut help = tool();
    help.arg("--help").env("EASYREMOTE_GATEWAY", "easyremote://h:1?token=erc_secret");
    let help = ended(help).await;
    assert!(help.out.contains("Exit codes:") && help.out.contains("(executed: Maybe)"));
    assert!(!help.out.contains("secret"), "{}", help.out);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_environment_names_the_gateway() {
    let rig = rig().await;
    let ticket = rig.world.gateway.ticket(Role::Client).to_string();
    let mut command = tool();
    command.args(["call", "add", "1", "2"]).env("EASYREMOTE_GATEWAY", ticket);
    let ended = ended(command).await;
    assert_eq!((ended.code, &*ended.out), (Some(0), "3\n"), "{ended:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signal_cancels_the_call_at_its_node() {
    let rig = rig().await;
    for (name, code) in [("INT", 130), ("TERM", 143)] {
        let mut probe = Probe::new();
        let child = rig.command(&["call", "waits", &probe.key.to_string()]).spawn().unwrap();
        assert_eq!(probe.next().await, "runs");
        signal(&child, name);
        let ended = finish(child).await;
        assert_eq!((ended.code, &*ended.out, &*ended.err), (Some(code), "", ""));
        assert_eq!(probe.next().await, "dropped");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deadline_ends_the_call_at_its_node() {
    let rig = rig().await;
    let mut probe = Probe::new();
    let words = ["--json", "call", "waits", &probe.key.to_string(), "--timeout", "300ms"];
    let ended = rig.run(&words).await;
    assert_eq!((ended.code, &ended.error()["kind"]), (Some(6), &json!("DeadlineExceeded")));
    assert_eq!((probe.next().await, probe.next().await), ("runs", "dropped"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_lost_leaves_it_open_whether_the_call_ran() {
    let mut rig = rig().await;
    let mut probe = Probe::new();
    let words = ["--json", "call", "waits", &probe.key.to_string(), "--retry", "1"];
    let child = rig.command(&words).spawn().unwrap();
    assert_eq!(probe.next().await, "runs");
    drop(rig.node.take());
    let ended = finish(child).await;
    let error = ended.error();
    let maybe = error["executed"] == json!("Maybe");
    assert_eq!(ended.code, Some(if maybe { 7 } else { 1 }), "{error}");
    assert_ne!(error["executed"], json!("No"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_pipe_is_no_failure() {
    let rig = rig().await;
    let mut command = rig.command(&["call", "add", "1", "2"]);
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let mut text = String::new();
    child.stderr.take().unwrap().read_to_string(&mut text).await.unwrap();
    let status = tokio::time::timeout(Duration::from_secs(60), child.wait()).await;
    assert_eq!((status.unwrap().unwrap().code(), &*text), (Some(0), ""));
}
