//! `easyremote ls`, `describe`, `ticket` and `completions`.

use common::soon;
use easyremote::{Role, functions, remote};
use serde_json::json;

use crate::tool::{Rig, ended, tool};

/// Adds two numbers.
///
/// Both of them.
#[remote]
fn add(
    /// The first one.
    a: u8,
    b: u8,
) -> u16 {
    u16::from(a) + u16::from(b)
}

#[remote(stream)]
fn count(to: u64) -> impl Iterator<Item = u64> {
    0..to
}

#[tokio::test(flavor = "multi_thread")]
async fn ls_shows_nodes_and_functions() {
    let rig = Rig::with(functions![add, count]).await;
    let other = rig.world.node_builder().id("a-longer-name").functions(functions![count]);
    let _other = soon(other.serve()).await.unwrap();
    let plain = rig.run(&["ls"]).await;
    assert_eq!((plain.code, &*plain.err), (Some(0), ""));
    assert!(!plain.out.contains('\x1b'), "{plain:?}");
    let lines: Vec<_> = plain.out.lines().collect();
    assert!(lines[0].starts_with("NODE           TAGS  RUNNING"), "{}", lines[0]);
    assert!(lines[1].starts_with("a-longer-name  -     0"), "{}", lines[1]);
    assert!(lines[2].starts_with("node-1         blue  0"), "{}", lines[2]);
    assert_eq!(lines[3], "");
    assert!(lines[4].starts_with("FUNCTION  KIND    NODES  SIGNATURE"), "{}", lines[4]);
    assert!(lines[5].starts_with("add       unary   1      (a: u8, b: u8) -> u16"), "{}", lines[5]);
    let all = rig.run(&["--json", "ls"]).await.json();
    assert_eq!(
        (&all["nodes"][1]["id"], &all["nodes"][1]["tags"]),
        (&json!("node-1"), &json!(["blue"]))
    );
    assert_eq!(all["functions"][1]["nodes"], json!(["a-longer-name", "node-1"]));
    let blue = rig.run(&["--json", "ls", "--tag", "blue"]).await.json();
    assert_eq!(blue["nodes"].as_array().unwrap().len(), 1);
    assert_eq!(blue["functions"][1]["nodes"], json!(["node-1"]));
    let none = rig.run(&["--json", "ls", "--tag", "red"]).await.json();
    assert_eq!(none, json!({"nodes": [], "functions": []}));
}

#[tokio::test(flavor = "multi_thread")]
async fn describe_shows_signature_documentation_schemas_and_nodes() {
    let rig = Rig::with(functions![add]).await;
    let plain = rig.run(&["describe", "add"]).await;
    for part in
        ["add(a: u8, b: u8) -> u16\n", "    Both of them.\n", "nodes  node-1\n", "\"maximum\": 255"]
    {
        assert!(plain.out.contains(part), "{part}: {}", plain.out);
    }
    let json = rig.run(&["--json", "describe", "add"]).await.json();
    assert_eq!((&json["function"], &json["variants"][0]["kind"]), (&json!("add"), &json!("unary")));
    let schemas = &json["variants"][0]["schemas"];
    assert_eq!(schemas["arguments"]["properties"]["a"]["description"], "The first one.");
    let none = rig.run(&["--json", "describe", "nothing"]).await;
    assert_eq!((none.code, &none.error()["kind"]), (Some(5), &json!("NoSuchFunction")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ticket_that_is_made_admits_its_holder() {
    let rig = Rig::with(functions![add]).await;
    let address = rig.world.gateway.local_addr().to_string();
    for (role, code) in [("client", 0), ("admin", 0), ("node", 2)] {
        let made = rig.run(&["ticket", "make", &address, "--role", role]).await;
        assert_eq!(made.code, Some(0), "{made:?}");
        let mut command = tool();
        command.args(["call", "add", "1", "2", "--gateway", made.out.trim()]);
        assert_eq!(ended(command).await.code, Some(code), "{role}");
    }
    let named = ["ticket", "make", &address, "--name", "web"];
    let unknown = rig.run(&named).await.out;
    let mut command = tool();
    command.args(["call", "add", "1", "2", "--gateway", unknown.trim()]);
    assert_eq!(ended(command).await.code, Some(4), "the gateway does not name this token");
    rig.world.gateway.add_token(Role::Client, "web").unwrap();
    let mut command = tool();
    command.args(["call", "add", "1", "2", "--gateway", unknown.trim()]);
    assert_eq!(ended(command).await.code, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ticket_is_shown_without_its_token() {
    let rig = Rig::empty().await;
    let ticket = rig.world.gateway.ticket(Role::Admin).at("gw.example.com:8080").unwrap();
    let text = ticket.to_string();
    let token = text.split_once("token=").unwrap().1;
    let given = rig.run(&["ticket", "show", &text]).await;
    let read = rig.fed(&["--json", "ticket", "show", "-"], &text).await;
    let shown = read.json();
    assert_eq!(
        (&shown["address"], &shown["role"]),
        (&json!("gw.example.com:8080"), &json!("admin"))
    );
    assert_eq!(shown["pin"].as_str().unwrap().len(), 43);
    for ended in [&given, &read] {
        assert!(!ended.out.contains(token) && !ended.err.contains(token), "{ended:?}");
    }
    let wrong = rig.run(&["--json", "ticket", "show", &text[..text.len() - 1]]).await;
    assert_eq!((wrong.code, &wrong.error()["kind"]), (Some(2), &json!("InvalidInput")));
    assert!(!wrong.err.contains(&token[..20]), "{wrong:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_shell_gets_its_completions() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let mut command = tool();
        command.args(["completions", shell]);
        let ended = ended(command).await;
        assert_eq!(ended.code, Some(0));
        assert!(ended.out.contains("describe") && ended.out.contains("prefer-tag"), "{shell}");
    }
}
