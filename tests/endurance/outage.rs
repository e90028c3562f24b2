//! Outages that a connection outlasts, at moments when something long has begun to arrive: what is
//! late has not ended, and nothing hangs.

use std::time::Duration;

use common::gate::{Gate, OPEN, pass, serve};
use common::proxy::{Faults, Proxy, Way};
use common::{Probe, World, found_in, say, soon, until};
use easyremote::{Client, Error, ErrorKind, Executed, Node, functions, remote};
use futures::FutureExt;
use futures::future::{BoxFuture, join_all};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};

/// Small arguments and a long answer.
#[remote]
async fn zeros(key: u64, gate: u64, n: usize) -> Vec<u8> {
    say(key, "started");
    pass(gate).await;
    vec![0; n]
}

/// The same, which may be called again.
#[remote(idempotent)]
async fn zeros_again(key: u64, gate: u64, n: usize) -> Vec<u8> {
    zeros(key, gate, n).await
}

#[remote]
async fn length(bytes: Vec<u8>) -> usize {
    bytes.len()
}

#[remote(idempotent)]
async fn length_again(bytes: Vec<u8>) -> usize {
    bytes.len()
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum What {
    Answers,
    Headers,
}

/// So long that a packet and all that repeat it are later than 5 s, and no connection is given up.
const OUTAGE: Duration = Duration::from_millis(6_500);

/// One way, so that it takes a while until a lost packet is sent again.
const DELAY: Duration = Duration::from_millis(100);

const LENGTH: usize = 100 << 10;

/// Half of what a hop carries is lost for a moment, and all of it from then on: of many messages,
/// there are such whose first packet comes seconds after another one.
async fn outage(hop: usize, what: What, multiplex: bool) -> Vec<String> {
    let row = format!("{what:?}, hop {hop}, multiplexed {multiplex}");
    let world = World::start().await;
    let proxies = [1, 2].map(|seed| Proxy::start(world.gateway.local_addr(), seed));
    let node = Node::builder(proxies[1].address()).dial(found_in(world.state_dir()));
    let functions = functions![zeros, zeros_again, length, length_again];
    let node = serve(node.functions(functions)).await.unwrap();
    let client = Client::builder(proxies[0].address()).dial(found_in(world.state_dir()));
    let client = soon(client.multiplex(multiplex).connect()).await.unwrap();
    let far = Faults { delay: DELAY, ..Faults::default() };
    let proxy = &proxies[hop];
    proxy.set_both(far);
    // The connection knows how far that is, and has a window for a burst.
    for _ in 0..3 {
        assert_eq!(soon(length::call(&client, vec![7; LENGTH])).await.unwrap(), LENGTH, "{row}");
        assert_eq!(soon(zeros::call(&client, 0, OPEN, LENGTH)).await.unwrap().len(), LENGTH);
    }

    let (gate, mut probe) = (Gate::closed(), Probe::new());
    // What goes towards the node on the client's hop goes away from the gateway on the node's.
    let towards_gateway = (hop == 0) == (what == What::Headers);
    let way = if towards_gateway { Way::ToGateway } else { Way::FromGateway };
    let lost = proxy.counts(way).lost;
    let half = Faults { loss: 0.5, ..far };
    let calls: Vec<_> = match what {
        What::Answers => {
            let calls = calls(&client, what, probe.key, gate.key);
            for _ in &calls {
                assert_eq!(probe.next().await, "started", "{row}");
            }
            proxy.set(way, half);
            gate.open();
            calls
        }
        What::Headers => {
            proxy.set(way, half);
            calls(&client, what, probe.key, OPEN)
        }
    };
    until(|| proxy.counts(way).lost >= lost + 20).await;
    proxy.block_for(OUTAGE);

    let mut wrong = Vec::new();
    // Longer than it takes to notice a lost connection, and to make a call again.
    let patience = Instant::now() + Duration::from_secs(40);
    for (idempotent, call) in calls {
        let Ok(ended) = timeout_at(patience, call).await else {
            wrong.push(format!("{row}: a call hangs"));
            continue;
        };
        if let Err(error) = ended.unwrap() {
            let honest = match error.kind() {
                ErrorKind::ConnectionLost | ErrorKind::NodeLost => error.executed() != Executed::No,
                _ => false,
            };
            if idempotent || !honest {
                wrong.push(format!("{row}, idempotent {idempotent}: {error:?}"));
            }
        }
    }
    proxy.heal();
    let again = length::call(&client, vec![7]).wait_for_node();
    assert_eq!(soon(again).await.unwrap(), 1, "{row}");
    let idle = || {
        let nodes = world.gateway.nodes();
        let at_gateway = world.gateway.stats().in_flight;
        let at_nodes: u64 = nodes.iter().map(|node| node.in_flight).sum();
        (at_gateway, at_nodes, node.stats().in_flight, client.stats().in_flight)
    };
    let settled = until(|| idle() == (0, 0, 0, 0));
    if tokio::time::timeout(Duration::from_secs(15), settled).await.is_err() {
        wrong.push(format!("{row}: gateway, its nodes, node and client have left {:?}", idle()));
    }
    wrong
}

type Handle = JoinHandle<Result<usize, Error>>;

/// Begins calls, few of which may be made again, and says which.
fn calls(client: &Client, what: What, key: u64, gate: u64) -> Vec<(bool, Handle)> {
    let call = |n: usize| {
        let idempotent = n.is_multiple_of(8);
        let call: BoxFuture<'static, Result<usize, Error>> = match (what, idempotent) {
            (What::Answers, false) => {
                let call = zeros::call(client, key, gate, LENGTH);
                async move { call.await.map(|answer| answer.len()) }.boxed()
            }
            (What::Answers, true) => {
                let call = zeros_again::call(client, key, gate, LENGTH);
                async move { call.await.map(|answer| answer.len()) }.boxed()
            }
            (What::Headers, false) => length::call(client, vec![7; LENGTH]).boxed(),
            (What::Headers, true) => length_again::call(client, vec![7; LENGTH]).boxed(),
        };
        (idempotent, tokio::spawn(call))
    };
    (0..32).map(call).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn long_answers_outlast_an_outage() {
    rows(What::Answers).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn headers_outlast_an_outage() {
    rows(What::Headers).await;
}

async fn rows(what: What) {
    let rows = [0, 1].into_iter().flat_map(|hop| [true, false].map(|multiplex| (hop, multiplex)));
    let rows = rows.map(|(hop, multiplex)| outage(hop, what, multiplex));
    let wrong = join_all(rows).await.concat();
    assert!(wrong.is_empty(), "{wrong:#?}");
}
