//! A gateway process that is killed, and started again at its address.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use common::offered::{add, wait};
use common::{Probe, found_in, soon, until};
use easyremote::{Client, Context, Error, ErrorKind, Executed, Node, Retry, functions, remote};
use futures::TryStreamExt;
use futures::{Stream, stream};
use tempfile::TempDir;
use tokio::task::JoinHandle;

const ADDRESS: &str = "RESTART_TEST_ADDRESS";
const STATE: &str = "RESTART_TEST_STATE";

/// The gateway process: this file's tests, started with an address in the environment. Among the
/// tests it does nothing.
#[tokio::test]
async fn gateway_process() {
    let Ok(address) = std::env::var(ADDRESS) else { return };
    let state = std::env::var(STATE).unwrap();
    let gateway = common::gateway_at(address).state_dir(state).serve().await.unwrap();
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
            .args(["--exact", "restart::gateway_process", "--nocapture"])
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
    let node = Node::builder(address).dial(found_in(state.path())).functions(functions![wait, add]);
    let node = soon(node.serve()).await.unwrap();
    let client =
        soon(Client::builder(address).dial(found_in(state.path())).connect()).await.unwrap();
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

/// Hangs at the first attempt.
#[remote(idempotent)]
async fn again(#[ctx] ctx: &Context, n: u64) -> u64 {
    if ctx.attempt() == 0 {
        std::future::pending::<()>().await;
    }
    n
}

#[remote(stream, idempotent)]
async fn below_again(#[ctx] ctx: &Context, n: u64) -> Result<impl Stream<Item = u64>, String> {
    if ctx.attempt() == 0 {
        std::future::pending::<()>().await;
    }
    Ok(stream::iter(0..n))
}

/// What is lost, and comes back or has a companion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    TheGateway,
    OneOfTwoNodes,
}

type Handle = JoinHandle<Result<u64, Error>>;

/// Calls and streams, of which all hang.
///
/// There are no streams where the second attempt may be lost too: one that has delivered items is not
/// made again.
fn begin(client: &Client, n: u64, retry: Retry, what: What) -> Vec<Handle> {
    let call = |i: u64| {
        if what == What::OneOfTwoNodes || !i.is_multiple_of(16) {
            return tokio::spawn(again::call(client, i).retry(retry));
        }
        let items = below_again::call(client, i).retry(retry).try_collect::<Vec<_>>();
        tokio::spawn(async move {
            let items = items.await.map_err(|error| error.remote().unwrap().clone())?;
            Ok(items.len() as u64)
        })
    };
    (0..n).map(call).collect()
}

/// Loses what many calls wait for, again and again; each time all of them are made again.
async fn all_are_made_again(what: What, n: u64, multiplex: bool) {
    let row = format!("{what:?}, {n} calls, multiplexed {multiplex}");
    let state: TempDir = tempfile::tempdir().unwrap();
    let mut gateway = GatewayProcess::start("127.0.0.1:0".parse().unwrap(), state.path());
    let address = gateway.address;
    let node = |id: &str| {
        let node = Node::builder(address).dial(found_in(state.path())).id(id);
        node.functions(functions![again, below_again, add]).serve()
    };
    let mut nodes = vec![soon(node("a")).await.unwrap()];
    if what == What::OneOfTwoNodes {
        nodes.push(soon(node("b")).await.unwrap());
    }
    let client = Client::builder(address).dial(found_in(state.path())).multiplex(multiplex);
    let client = soon(client.connect()).await.unwrap();
    for loss in 0..3 {
        // Whatever the policy is: it has more than one attempt.
        let retry = if loss == 1 { Retry::new().attempts(10) } else { Retry::new() };
        let calls = begin(&client, n, retry, what);
        let in_flight = || nodes.iter().map(|node| node.stats().in_flight).sum::<u64>();
        until(|| in_flight() == n).await;
        match what {
            What::TheGateway => {
                gateway.kill();
                let back = GatewayProcess::start(address, state.path());
                drop(std::mem::replace(&mut gateway, back));
            }
            What::OneOfTwoNodes => {
                soon(nodes.remove(0).shutdown()).await;
                nodes.push(soon(node(["c", "d", "e"][loss])).await.unwrap());
            }
        }
        let mut failed = Vec::new();
        if what == What::OneOfTwoNodes {
            // Those at the other node are lost with it.
            soon(nodes.remove(0).shutdown()).await;
            nodes.push(soon(node(["f", "g", "h"][loss])).await.unwrap());
        }
        for (i, call) in calls.into_iter().enumerate() {
            match soon(call).await.unwrap() {
                Ok(answer) => assert_eq!(answer, i as u64, "{row}"),
                Err(error) => failed.push(error),
            }
        }
        let n_failed = failed.len();
        assert!(failed.is_empty(), "{row}, loss {loss}: {n_failed} failed: {:?}", failed[0]);
    }
    assert_eq!(soon(add::call(&client, 1, 2)).await.unwrap(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_was_under_way_at_a_killed_gateway_is_made_again() {
    for (n, multiplex) in [(100, true), (1_500, true), (700, false)] {
        all_are_made_again(What::TheGateway, n, multiplex).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_was_under_way_at_a_lost_node_is_made_again() {
    for (n, multiplex) in [(64, true), (600, true), (64, false)] {
        all_are_made_again(What::OneOfTwoNodes, n, multiplex).await;
    }
}

#[tokio::test]
async fn a_budget_without_tokens_makes_nothing_again() {
    let state = tempfile::tempdir().unwrap();
    let mut gateway = GatewayProcess::start("127.0.0.1:0".parse().unwrap(), state.path());
    let address = gateway.address;
    let node = Node::builder(address).dial(found_in(state.path())).functions(functions![again]);
    let node = soon(node.serve()).await.unwrap();
    let builder = Client::builder(address).dial(found_in(state.path()));
    let client = soon(builder.retry_tokens(0).connect()).await.unwrap();
    let call = tokio::spawn(again::call(&client, 1));
    until(|| node.stats().in_flight == 1).await;
    gateway.kill();
    let _gateway = GatewayProcess::start(address, state.path());
    let error = soon(call).await.unwrap().unwrap_err();
    assert_eq!((error.kind(), error.executed()), (ErrorKind::ConnectionLost, Executed::Maybe));
    assert_eq!(client.stats().retries, 0);
}
