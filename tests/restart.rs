//! A gateway process that is killed, and started again at its address.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use common::{Probe, say, soon, until};
use easyremote::{Client, ErrorKind, Executed, Gateway, Node, functions, remote};

const ADDRESS: &str = "RESTART_TEST_ADDRESS";
const STATE: &str = "RESTART_TEST_STATE";

#[remote]
async fn wait(key: u64) {
    say(key, "started");
    std::future::pending::<()>().await;
}

#[remote]
fn add(a: i64, b: i64) -> i64 {
    a + b
}

/// The gateway process: this file's tests, started with an address in the environment. Among the
/// tests it does nothing.
#[tokio::test]
async fn gateway_process() {
    let Ok(address) = std::env::var(ADDRESS) else { return };
    let state = std::env::var(STATE).unwrap();
    let gateway = Gateway::builder(address).state_dir(state).serve().await.unwrap();
    println!("\nlistening {}", gateway.local_addr());
    std::future::pending().await
}

struct GatewayProcess {
    child: Child,
    address: SocketAddr,
}

impl GatewayProcess {
    fn start(address: SocketAddr, state: &Path) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "gateway_process", "--nocapture"])
            .env(ADDRESS, address.to_string())
            .env(STATE, state)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let listening = lines.map(Result::unwrap).find_map(|line| {
            line.strip_prefix("listening ").map(|address| address.parse().unwrap())
        });
        Self { child, address: listening.unwrap() }
    }

    fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for GatewayProcess {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test]
async fn peers_of_a_killed_gateway_learn_of_its_successor_with_their_next_packet() {
    let state = tempfile::tempdir().unwrap();
    let mut first = GatewayProcess::start("127.0.0.1:0".parse().unwrap(), state.path());
    let address = first.address;
    let node = Node::builder(address).state_dir(state.path()).functions(functions![wait, add]);
    let node = soon(node.serve()).await.unwrap();
    let client = soon(Client::builder(address).state_dir(state.path()).connect()).await.unwrap();
    let mut probe = Probe::new();
    let call = tokio::spawn(wait::call(&client, probe.key));
    assert_eq!(probe.next().await, "started");

    first.kill();
    let _second = GatewayProcess::start(address, state.path());
    // The next packet is a heartbeat, within 2 s; silence would be noticed after 8 s only.
    let error = soon(call).await.unwrap().unwrap_err();
    assert_eq!((error.kind(), error.executed()), (ErrorKind::ConnectionLost, Executed::Maybe));
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert_eq!(cause, "the peer has been restarted", "it has only been missed");
    until(|| node.stats().gateways == 1).await;
    let again = add::call(&client, 1, 2).wait_for_node();
    assert_eq!(soon(again).await.unwrap(), 3);
}
