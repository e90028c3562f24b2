//! Gateways with several threads: whatever passes between peers of different threads, and ends that
//! concern all of them. The kernel selects a peer's thread at random, so each test has so many peers
//! that practically always some of them have different ones.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use common::offered::{add, wait};
use common::process::Process;
use common::proxy::Proxy;
use common::{Probe, SayOnDrop, found_in, patient, soon, until};
use easyremote::{
    Client, Context, Error, ErrorKind, Executed, Gateway, Node, Options, Retry, functions, remote,
};
use futures::future::{join_all, try_join_all};
use futures::{Stream, StreamExt, TryStreamExt, stream};
use tempfile::TempDir;

#[remote]
async fn echo(bytes: Vec<u8>) -> Vec<u8> {
    bytes
}

#[remote]
async fn place(#[ctx] ctx: &Context) -> String {
    ctx.node().to_owned()
}

/// Runs until it is dropped.
#[remote]
async fn hold(key: u64) {
    let held = SayOnDrop(key, "dropped");
    held.say("started");
    std::future::pending::<()>().await;
}

/// Calls a function of another node.
#[remote]
async fn ask(#[ctx] ctx: &Context, other: String) -> String {
    place::call(&ctx.client()).on(other).await.unwrap()
}

/// On a thread of the node.
#[remote(stream)]
fn below(n: u64) -> impl Iterator<Item = u64> {
    0..n
}

#[remote(stream)]
fn blocks(n: u64) -> impl Stream<Item = Vec<u8>> {
    stream::iter(0..n).map(|n| vec![n as u8; 10_000])
}

#[remote]
async fn sum(numbers: impl Stream<Item = u64>) -> u64 {
    numbers.fold(0, async |sum, n| sum + n).await
}

#[remote(stream)]
fn double(numbers: impl Stream<Item = u64>) -> impl Stream<Item = u64> {
    numbers.map(|n| 2 * n)
}

/// A gateway with many peers.
struct Crowd {
    gateway: Gateway,
    nodes: Vec<Node>,
    clients: Vec<Client>,
    state: TempDir,
}

const NODES: usize = 4;
const CLIENTS: usize = 5;

async fn gateway(address: impl ToString, threads: usize, state: &Path) -> Gateway {
    let gateway = Gateway::builder(address).threads(threads).state_dir(state);
    soon(gateway.serve()).await.unwrap()
}

async fn node(address: SocketAddr, id: &str, state: &Path) -> Node {
    let functions = functions![add, wait, echo, place, hold, ask, below, blocks, sum, double];
    let node = Node::builder(address).dial(found_in(state)).id(id).functions(functions);
    soon(node.serve()).await.unwrap()
}

async fn client(address: SocketAddr, state: &Path) -> Client {
    let client = Client::builder(address).dial(found_in(state)).multiplex(common::multiplex());
    soon(client.connect()).await.unwrap()
}

fn id(i: usize) -> String {
    format!("node-{i}")
}

impl Crowd {
    async fn start(threads: usize) -> Self {
        let state = tempfile::tempdir().unwrap();
        let gateway = gateway("127.0.0.1:0", threads, state.path()).await;
        let address = gateway.local_addr();
        let nodes = (0..NODES).map(|i| {
            let state = state.path();
            async move { node(address, &id(i), state).await }
        });
        let nodes = join_all(nodes).await;
        let clients = join_all((0..CLIENTS).map(|_| client(address, state.path()))).await;
        Self { gateway, nodes, clients, state }
    }

    /// Each client, with the id of each node.
    fn pairs(&self) -> impl Iterator<Item = (&Client, String)> {
        self.clients.iter().flat_map(|client| (0..NODES).map(move |i| (client, id(i))))
    }

    /// Waits until nothing is left of any call.
    async fn is_idle(&self) {
        until(|| {
            let stats = self.gateway.stats();
            let idle = self.gateway.nodes().iter().all(|node| node.in_flight == 0);
            idle && (stats.in_flight, stats.waiting) == (0, 0)
        })
        .await;
    }
}

#[tokio::test]
async fn calls_and_streams_of_every_kind_pass_between_threads() {
    for threads in [2, 3] {
        let crowd = Crowd::start(threads).await;
        let all = crowd.pairs().map(|(client, id)| async move {
            let at = client.with(Options::new().on(id.clone()));
            for round in 0..3 {
                assert_eq!(place::call(&at).await?, id);
                assert_eq!(add::call(&at, round, 2).await?, round + 2);
                // On the mux, as an overflow, and on a separate stream.
                for n in [10, 20_000, 300_000] {
                    let bytes = vec![round as u8; n];
                    assert_eq!(echo::call(&at, bytes.clone()).await?, bytes);
                }
                let other = next_id(&id);
                assert_eq!(ask::call(&at, other.clone()).await?, other);
                let numbers: Vec<_> = below::call(&at, 500).try_collect().await?;
                assert!(numbers.into_iter().eq(0..500));
                let n = blocks::call(&at, 40).try_fold(0, async |n, block| Ok(n + block.len()));
                assert_eq!(n.await?, 400_000);
                assert_eq!(sum::call(&at, stream::iter(0..500)).await?, 499 * 250);
                let doubled: Vec<_> = double::call(&at, stream::iter(0..500)).try_collect().await?;
                assert!(doubled.into_iter().eq((0..500).map(|n| 2 * n)));
            }
            Ok::<(), Error>(())
        });
        soon(try_join_all(all)).await.unwrap();
        crowd.is_idle().await;
    }
}

/// The node after this one.
fn next_id(this: &str) -> String {
    let i: usize = this.strip_prefix("node-").unwrap().parse().unwrap();
    id((i + 1) % NODES)
}

#[tokio::test]
async fn a_call_that_is_dropped_is_dropped_at_a_node_of_any_thread() {
    let crowd = Crowd::start(2).await;
    let dropped = crowd.pairs().map(|(client, id)| async move {
        let at = client.with(Options::new().on(id));
        let mut probe = Probe::new();
        let key = probe.key;
        let call = tokio::spawn(async move { hold::call(&at, key).await });
        assert_eq!(probe.next().await, "started");
        call.abort();
        assert_eq!(probe.next().await, "dropped");
    });
    join_all(dropped).await;
    crowd.is_idle().await;
}

#[tokio::test]
async fn a_node_of_any_thread_that_leaves_is_lost_for_its_callers_only() {
    let mut crowd = Crowd::start(3).await;
    let mut probe = Probe::new();
    let calls: Vec<_> = crowd
        .pairs()
        .map(|(client, id)| {
            let (at, key) = (client.with(Options::new().on(id.clone())), probe.key);
            (id, tokio::spawn(async move { wait::call(&at, key).await }))
        })
        .collect();
    for _ in &calls {
        assert_eq!(probe.next().await, "started");
    }
    let (left, stay): (Vec<_>, Vec<_>) = calls.into_iter().partition(|(its, _)| *its == id(0));
    drop(crowd.nodes.remove(0));
    for (_, call) in left {
        let error = soon(call).await.unwrap().unwrap_err();
        assert_eq!((error.kind(), error.executed()), (ErrorKind::NodeLost, Executed::Maybe));
        assert_eq!(error.node(), Some(&*id(0)));
    }
    assert!(stay.iter().all(|(_, call)| !call.is_finished()));
    stay.iter().for_each(|(_, call)| call.abort());
    crowd.is_idle().await;
}

/// Calls, cancellations and lost nodes at once: a response that is missed, or a call that is sent
/// again although it was cancelled, shows as a call that never ends or is never let go of.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_end_whatever_becomes_of_their_nodes_meanwhile() {
    const CALLS: usize = 400;
    let crowd = Crowd::start(2).await;
    let (over, state) = (AtomicBool::new(false), crowd.state.path());
    let replacing = async {
        let mut rounds = 0;
        while !over.load(Ordering::Relaxed) || rounds < 5 {
            let leaving = node(crowd.gateway.local_addr(), "leaving", state).await;
            tokio::task::yield_now().await;
            drop(leaving);
            rounds += 1;
        }
    };
    let calling = crowd.clients.iter().zip(0..).map(|(client, seed)| async move {
        let mut rng = fastrand::Rng::with_seed(seed);
        for _ in 0..CALLS {
            let length = [0, 100, 17_000][rng.usize(..3)];
            let burst = (0..rng.usize(1..20)).map(|_| echo::call(client, vec![7; length]));
            let all = join_all(burst);
            if rng.bool() {
                // All of them are dropped after they have begun, at some point.
                let turns = rng.usize(..6);
                let passing = async {
                    for _ in 0..turns {
                        tokio::task::yield_now().await;
                    }
                };
                tokio::select! {
                    _ = all => {}
                    () = passing => {}
                }
                continue;
            }
            for answer in all.await {
                match answer {
                    Ok(bytes) => assert_eq!(bytes, vec![7; length]),
                    Err(error) => assert_eq!(error.kind(), ErrorKind::NodeLost, "{error}"),
                }
            }
        }
    });
    let calling = async {
        soon(join_all(calling)).await;
        over.store(true, Ordering::Relaxed);
    };
    futures::join!(calling, replacing);
    crowd.is_idle().await;
}

/// What a caller sees of the end: never that a node was lost, or that a function is unknown.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_that_ends_is_all_that_callers_see_of_its_end() {
    for round in 0..12 {
        let crowd = Crowd::start(2 + round % 3).await;
        let dial = patient(Duration::from_secs(2)).state_dir(crowd.state.path());
        let mut calls = Vec::new();
        for i in 0..20 {
            let client = Client::builder(crowd.gateway.local_addr()).dial(dial.clone());
            let client = soon(client.connect()).await.unwrap();
            calls.push(tokio::spawn(async move {
                let once = client.with(Options::new().on(id(i % NODES)).retry(Retry::never()));
                loop {
                    let answer = match i % 3 {
                        0 => ask::call(&once, id((i + 1) % NODES)).await.map(drop),
                        1 => place::call(&once).await.map(drop),
                        _ => below::call(&once, 50).try_fold((), async |(), _| Ok(())).await,
                    };
                    if let Err(error) = answer {
                        return error;
                    }
                }
            }));
        }
        until(|| crowd.gateway.stats().calls > 500).await;
        match round % 2 {
            0 => soon(crowd.gateway.shutdown()).await,
            _ => drop(crowd.gateway),
        }
        for call in calls {
            let error = soon(call).await.unwrap();
            let is_end = matches!(error.kind(), ErrorKind::ConnectionLost | ErrorKind::Unavailable);
            assert!(is_end, "{:?} {error}", error.kind());
        }
    }
}

#[tokio::test]
async fn a_gateway_drains_and_its_successor_may_have_other_threads() {
    for (before, after) in [(1, 2), (2, 1), (2, 2), (2, 3), (3, 2)] {
        let crowd = Crowd::start(before).await;
        let (stop, made) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let callers: Vec<_> = crowd
            .clients
            .iter()
            .map(|client| {
                let (client, stop, made) = (client.clone(), stop.clone(), made.clone());
                tokio::spawn(async move {
                    while !stop.load(Ordering::Relaxed) {
                        assert_eq!(add::call(&client, 1, 2).await.unwrap(), 3);
                        made.fetch_add(1, Ordering::Relaxed);
                    }
                })
            })
            .collect();
        until(|| made.load(Ordering::Relaxed) > 100).await;
        let address = crowd.gateway.local_addr();
        soon(crowd.gateway.drain(Duration::from_secs(60))).await;
        let _successor = gateway(address, after, crowd.state.path()).await;
        let so_far = made.load(Ordering::Relaxed);
        until(|| made.load(Ordering::Relaxed) > so_far + 100).await;
        stop.store(true, Ordering::Relaxed);
        for caller in callers {
            soon(caller).await.expect("a call has failed");
        }
    }
}

const ADDRESS: &str = "THREADS_TEST_ADDRESS";
const STATE: &str = "THREADS_TEST_STATE";
const THREADS: &str = "THREADS_TEST_THREADS";

/// A gateway as a process of its own. Among the tests it does nothing.
#[tokio::test]
async fn gateway_process() {
    let Ok(address) = std::env::var(ADDRESS) else { return };
    let get = |name| std::env::var(name).unwrap();
    let gateway = Gateway::builder(address).state_dir(get(STATE));
    match gateway.threads(get(THREADS).parse().unwrap()).serve().await {
        Ok(gateway) => {
            println!("\nlistening {}", gateway.local_addr());
            std::future::pending().await
        }
        Err(error) => println!("\nlistening {:?} {error}", error.kind()),
    }
}

fn start(address: &str, threads: usize, state: &Path) -> (Process, String) {
    let (threads, state) = (threads.to_string(), state.to_str().unwrap());
    let environment = [(ADDRESS, address), (STATE, state), (THREADS, &threads)];
    let mut process = Process::start("threads::gateway_process", environment);
    let said = process.line("listening ");
    (process, said)
}

#[tokio::test]
async fn peers_of_a_killed_gateway_learn_of_a_successor_with_any_number_of_threads() {
    let restart = |before, after| async move {
        let state = tempfile::tempdir().unwrap();
        let (mut first, address) = start("127.0.0.1:0", before, state.path());
        let bound: SocketAddr = address.parse().unwrap();
        let _node = node(bound, "a", state.path()).await;
        // Few: a gateway sends one reset a millisecond, and all of these run at once.
        let clients = join_all((0..3).map(|_| client(bound, state.path()))).await;
        let mut probe = Probe::new();
        let calls: Vec<_> = clients
            .iter()
            .map(|client| {
                let (client, key) = (client.clone(), probe.key);
                tokio::spawn(async move { wait::call(&client, key).await })
            })
            .collect();
        for _ in &calls {
            assert_eq!(probe.next().await, "started");
        }
        first.kill();
        let _second = start(&address, after, state.path());
        for call in calls {
            let error = soon(call).await.unwrap().unwrap_err();
            let seen = (error.kind(), error.executed());
            assert_eq!(seen, (ErrorKind::ConnectionLost, Executed::Maybe), "{error}");
            let cause = std::error::Error::source(&error).unwrap().to_string();
            assert_eq!(cause, "the peer has been restarted", "{before} {after}");
        }
        for client in &clients {
            assert_eq!(soon(add::call(client, 1, 2).wait_for_node()).await.unwrap(), 3);
        }
    };
    let cases = [(1, 2), (2, 1), (2, 2), (2, 3), (3, 2), (2, 64)];
    join_all(cases.map(|(before, after)| restart(before, after))).await;
}

#[tokio::test]
async fn a_peer_whose_address_changes_stays_with_its_thread() {
    for threads in [2, 3] {
        let state = tempfile::tempdir().unwrap();
        let gateway = gateway("127.0.0.1:0", threads, state.path()).await;
        let proxies: Vec<_> = (0..8).map(|seed| Proxy::start(gateway.local_addr(), seed)).collect();
        let (at_nodes, at_clients) = proxies.split_at(3);
        let nodes = join_all(at_nodes.iter().zip(0..).map(|(proxy, i)| {
            let state = state.path();
            async move { node(proxy.address(), &id(i), state).await }
        }))
        .await;
        let clients =
            join_all(at_clients.iter().map(|proxy| client(proxy.address(), state.path()))).await;
        let mut probe = Probe::new();
        let held: Vec<_> = clients
            .iter()
            .map(|client| {
                let (client, key) = (client.clone(), probe.key);
                tokio::spawn(async move { wait::call(&client, key).await })
            })
            .collect();
        for _ in &held {
            assert_eq!(probe.next().await, "started");
        }
        for round in 0..10 {
            proxies.iter().for_each(Proxy::rebind);
            let all = clients.iter().flat_map(|client| {
                (0..nodes.len()).map(move |i| add::call(client, round, 1).on(id(i)))
            });
            let sums = soon(try_join_all(all)).await.unwrap();
            assert!(sums.into_iter().all(|sum| sum == round + 1));
        }
        let stats = gateway.stats();
        assert_eq!((stats.connections, stats.nodes), (8, 3));
        assert!(held.iter().all(|call| !call.is_finished()), "a connection has been lost");
        held.iter().for_each(|call| call.abort());
    }
}

#[tokio::test]
async fn a_second_gateway_at_the_port_is_refused() {
    let state = tempfile::tempdir().unwrap();
    for bind in ["127.0.0.1:0", "[::1]:0", "0.0.0.0:0", "[::]:0"] {
        for (first, second) in [(1, 2), (2, 1), (2, 2)] {
            let gateway = gateway(bind, first, state.path()).await;
            let address = gateway.local_addr();
            let again = Gateway::builder(address).threads(second).state_dir(state.path());
            let error = soon(again.serve()).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unavailable);
            let text = format!("cannot listen on `{address}`: the port is taken");
            assert_eq!(error.to_string(), text);
            let (_process, said) = start(&address.to_string(), second, state.path());
            assert_eq!(said, format!("Unavailable {text}"));
            // Nothing of the attempts is left, and the gateway serves on.
            let loopback = if address.is_ipv4() { "127.0.0.1" } else { "[::1]" };
            let address = format!("{loopback}:{}", address.port()).parse().unwrap();
            let clients = join_all((0..4).map(|_| client(address, state.path()))).await;
            let _node = node(address, "a", state.path()).await;
            for client in &clients {
                assert_eq!(soon(add::call(client, 1, 2)).await.unwrap(), 3);
            }
        }
    }
}

#[tokio::test]
async fn peers_of_both_families_reach_a_gateway_at_the_unspecified_address() {
    let state = tempfile::tempdir().unwrap();
    let gateway = gateway("[::]:0", 3, state.path()).await;
    let port = gateway.local_addr().port();
    let at = |i: usize| {
        let host = ["127.0.0.1", "[::1]"][i % 2];
        format!("{host}:{port}").parse().unwrap()
    };
    let nodes = join_all((0..4).map(|i| {
        let state = state.path();
        async move { node(at(i), &id(i), state).await }
    }));
    let clients = join_all((0..8).map(|i| client(at(i), state.path())));
    let (_nodes, clients) = futures::join!(nodes, clients);
    for (client, i) in clients.iter().flat_map(|client| (0..4).map(move |i| (client, i))) {
        assert_eq!(soon(place::call(client).on(id(i))).await.unwrap(), id(i));
    }
}

#[tokio::test]
async fn the_number_of_threads_has_limits() {
    let state = tempfile::tempdir().unwrap();
    let none = Gateway::builder("127.0.0.1:0").threads(0).state_dir(state.path());
    let error = soon(none.serve()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(error.to_string().contains("`threads`"), "{error}");
    let many = gateway("127.0.0.1:0", usize::MAX, state.path()).await;
    let _node = node(many.local_addr(), "a", state.path()).await;
    let client = client(many.local_addr(), state.path()).await;
    assert_eq!(soon(add::call(&client, 1, 2)).await.unwrap(), 3);
    soon(many.shutdown()).await;
    // The port is free.
    drop(gateway(many.local_addr(), 2, state.path()).await);
}
