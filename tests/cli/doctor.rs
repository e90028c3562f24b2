//! `easyremote doctor`: each cause, made for it.

use std::net::UdpSocket;
use std::process::Stdio;

use common::soon;
use common::tool::binary;
use easyremote::{Role, functions, remote};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::tool::{Ended, Rig, ended, finish, tool};

#[remote]
fn add(a: i64, b: i64) -> i64 {
    a + b
}

/// Runs the doctor with these words. Returns its exit code and its JSON.
async fn examined(words: &[&str]) -> (Option<i32>, Value) {
    let mut command = tool();
    command.args(["--json", "doctor", "--connect-timeout", "10s"]).args(words);
    let ended = ended(command).await;
    assert_eq!(ended.err, "", "{ended:?}");
    (ended.code, ended.json())
}

fn cause(document: &Value) -> &Value {
    &document["subjects"][0]["cause"]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_healthy_gateway_has_no_cause() {
    let rig = Rig::with(functions![add]).await;
    let ended = rig.run(&["doctor"]).await;
    assert_eq!((ended.code, &*ended.err), (Some(0), ""), "{ended:?}");
    assert!(ended.out.contains("ok    nodes      nodes: 1, functions: 1"), "{}", ended.out);
    for role in [Role::Client, Role::Admin, Role::Node] {
        let ticket = rig.world.gateway.ticket(role).to_string();
        let (code, document) = examined(&["--gateway", &ticket]).await;
        assert_eq!(
            (code, &document["ok"], cause(&document)),
            (Some(0), &json!(true), &Value::Null)
        );
        let token = ticket.split_once("token=").unwrap().1;
        assert!(!document.to_string().contains(token));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_without_nodes_is_worth_a_look_and_no_failure() {
    let rig = Rig::empty().await;
    let ended = rig.run(&["doctor"]).await;
    assert_eq!(ended.code, Some(0));
    assert!(ended.out.contains("look  nodes      no node is connected"), "{}", ended.out);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_without_a_server_is_told_from_silence() {
    let free = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let (code, document) = examined(&["--gateway", &free]).await;
    assert_eq!((code, cause(&document)), (Some(3), &json!("nothing-there")), "{document}");
    // A socket that never answers is what a firewall looks like that drops packets.
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap().to_string();
    let (code, document) = examined(&["--gateway", &address]).await;
    assert_eq!((code, cause(&document)), (Some(3), &json!("udp-dropped")), "{document}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_pin_and_a_wrong_token_are_two_causes() {
    let (rig, other) = (Rig::with(functions![add]).await, Rig::empty().await);
    let address = rig.world.gateway.local_addr().to_string();
    for role in [Role::Client, Role::Node, Role::Admin] {
        let good = rig.world.gateway.ticket(role).to_string();
        let stranger = other.world.gateway.ticket(role).at(&address).unwrap().to_string();
        let (code, document) = examined(&["--gateway", &stranger]).await;
        assert_eq!((code, cause(&document)), (Some(4), &json!("wrong-pin")), "{document}");
        let (own, _) = good.split_once("token=").unwrap();
        let (_, foreign) = stranger.split_once("token=").unwrap();
        let mixed = format!("{own}token={foreign}");
        let (code, document) = examined(&["--gateway", &mixed]).await;
        assert_eq!((code, cause(&document)), (Some(4), &json!("wrong-token")), "{document}");
    }
    // The identity of another user, as it looks from here.
    let state = other.world.state_dir().to_str().unwrap();
    let (code, document) = examined(&["--gateway", &address, "--state-dir", state]).await;
    assert_eq!((code, cause(&document)), (Some(4), &json!("wrong-pin")), "{document}");
    rig.world.gateway.revoke(Role::Client, "default");
    let ticket = rig.world.gateway.ticket(Role::Client).to_string();
    let (code, document) = examined(&["--gateway", &ticket]).await;
    assert_eq!((code, cause(&document)), (Some(4), &json!("wrong-token")), "{document}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_address_or_no_name_is_told() {
    for (gateway, code, wrong) in [
        ("nonsense", 2, "address"),
        ("easyremote://gw:1?token=erc_short", 2, "address"),
        ("no-such-host.invalid:1", 3, "name"),
    ] {
        let (ended, document) = examined(&["--gateway", gateway]).await;
        assert_eq!((ended, cause(&document)), (Some(code), &json!(wrong)), "{document}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn several_gateways_are_checked_one_by_one() {
    let rig = Rig::with(functions![add]).await;
    let free = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let good = rig.world.gateway.ticket(Role::Client).to_string();
    let (code, document) = examined(&["--gateway", &format!("{good}, {free}")]).await;
    assert_eq!((code, &document["ok"]), (Some(3), &json!(false)));
    assert_eq!(cause(&document), &Value::Null);
    assert_eq!(document["subjects"][1]["cause"], json!("nothing-there"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_taken_port_names_what_has_it() {
    let rig = Rig::empty().await;
    let gateway = rig.world.gateway.local_addr().to_string();
    let (code, document) = examined(&["--serve", &gateway]).await;
    assert_eq!((code, cause(&document)), (Some(1), &json!("port-taken")));
    assert!(document.to_string().contains("a QUIC server, perhaps a gateway"), "{document}");
    let other = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = other.local_addr().unwrap().to_string();
    let (code, document) = examined(&["--serve", &address]).await;
    assert_eq!((code, cause(&document)), (Some(1), &json!("port-taken")));
    assert!(document.to_string().contains("another program"), "{document}");
    let (code, _) = examined(&["--serve", "127.0.0.1:0"]).await;
    assert_eq!(code, Some(0));
    // Of a range for documentation (RFC 5737), which no machine has.
    let (code, document) = examined(&["--serve", "192.0.2.1:8080"]).await;
    assert_eq!((code, cause(&document)), (Some(1), &json!("not-here")));
}

/// A network of its own, with its loopback. Deleted at the end.
struct Namespace(String);

impl Namespace {
    /// `None` where this user may not make one.
    fn new(purpose: &str) -> Option<Self> {
        let namespace = Self(format!("easyremote-{purpose}-{}", std::process::id()));
        let made = sh(&format!("ip netns add {}", namespace.0));
        (made && namespace.sh("ip link set lo up")).then_some(namespace)
    }

    fn sh(&self, command: &str) -> bool {
        sh(&format!("ip netns exec {} {command}", self.0))
    }

    /// The tool inside.
    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.0]).arg(binary("cli")).args(words);
        command.env_remove("EASYREMOTE_GATEWAY").kill_on_drop(true);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// A gateway inside, at this port.
    async fn gateway(&self, port: u16, state: &str) -> Child {
        let address = format!("127.0.0.1:{port}");
        let mut command = self.command(&["gateway", &address, "--state-dir", state]);
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        assert!(soon(lines.next_line()).await.unwrap().is_some());
        child
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        sh(&format!("ip netns del {}", self.0));
    }
}

fn sh(command: &str) -> bool {
    let output = std::process::Command::new("sh").args(["-c", command]).output();
    output.is_ok_and(|output| output.status.success())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_firewall_that_drops_udp_is_told_from_a_gateway_that_is_gone() {
    let Some(namespace) = Namespace::new("drop") else {
        eprintln!("skipped: this user may not make network namespaces");
        return;
    };
    let state = tempfile::tempdir().unwrap();
    let state = state.path().to_str().unwrap();
    let _gateway = namespace.gateway(4711, state).await;
    let doctor = async || -> Ended {
        let words = ["--json", "doctor", "--gateway", "127.0.0.1:4711", "--state-dir", state];
        finish(namespace.command(&words).spawn().unwrap()).await
    };
    assert_eq!(doctor().await.code, Some(0));
    let dropped = namespace.sh("iptables -A INPUT -p udp --dport 4711 -j DROP")
        || (namespace.sh("nft add table ip t")
            && namespace.sh("nft add chain ip t c '{ type filter hook input priority 0; }'")
            && namespace.sh("nft add rule ip t c udp dport 4711 drop"));
    if !dropped {
        eprintln!("skipped: neither iptables nor nft can drop packets here");
        return;
    }
    let ended = doctor().await;
    let document = ended.json();
    assert_eq!((ended.code, cause(&document)), (Some(3), &json!("udp-dropped")), "{document}");
}
