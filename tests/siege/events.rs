//! Thousands of open streams of events over HTTP, while an honest client calls over QUIC.
//!
//! The readers are in processes of their own at the lowest priority. There are 10,000 of them, or as
//! many as this process may have files; each takes one in the gateway.

use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use common::process::{Process, question, tell};
use common::{soon, until};
use easyremote::gateway::GatewayBuilder;
use easyremote::http::{HttpOptions, HttpServer};
use easyremote::{Gateway, Node, Role, functions, remote};
use futures::{Stream, StreamExt, stream};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::siege::{KIB, MIB, Siege};

/// What an open stream may take in the gateway, beside what the allocator keeps: two QUIC streams
/// with their tasks, and a connection.
const STREAM: u64 = 64 * KIB;
const SLACK: u64 = 64 * MIB;

/// Identities of the readers. Each may have 1,024 streams.
const IDENTITIES: usize = 10;
/// Processes of readers.
const PROCESSES: usize = 4;
/// Nodes, which run at most 4,096 calls each.
const NODES: usize = 3;

const READERS: &str = "HOSTILE_TEST_READERS";
const SITE: &str = "HOSTILE_TEST_SITE";
const NODE: &str = "HOSTILE_TEST_NODE";

#[remote(stream)]
fn events() -> impl Stream<Item = u64> {
    stream::iter(0..).then(async |n| {
        if n > 0 {
            tokio::time::sleep(Duration::from_secs(5)).await;
        }
        n
    })
}

/// Adds the identities of the readers.
pub(crate) fn identities(gateway: GatewayBuilder) -> GatewayBuilder {
    names().fold(gateway, |gateway, name| gateway.token(Role::Client, name))
}

fn names() -> impl Iterator<Item = String> {
    (0..IDENTITIES).map(|n| format!("reader-{n}"))
}

/// Serves HTTP in the gateway's process, and tells its parent where, and with which bearers.
pub(crate) async fn serve(gateway: &Gateway) -> HttpServer {
    let options = HttpOptions::new("127.0.0.1:0").connections(20_000);
    let http = gateway.serve_http(options).await.unwrap();
    let bearers = names().map(|name| gateway.bearer(Role::Client, &name).unwrap().to_string());
    tell(format!("http {} {}", http.local_addr(), bearers.collect::<Vec<_>>().join(" ")));
    http
}

/// How many readers there may be, by the limit of files of this process and its children.
fn readers() -> usize {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap();
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files")).unwrap();
    let files = line.split_whitespace().next().unwrap().parse().unwrap_or(usize::MAX);
    files.saturating_sub(500).min(10_000)
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_streams_of_events() {
    let mut siege = Siege::start().await;
    let site = siege.http();
    let mut nodes = Process::start("events::nodes_process", [(NODE, &*siege.node_ticket)]);
    nodes.line("registered");
    let n = readers();
    let share = (n / PROCESSES).to_string();
    let attack = async {
        let start = || {
            let environment = [(SITE, &*site), (READERS, &*share)];
            let process = Process::start("events::readers_process", environment);
            let id = process.id().to_string();
            let nice = Command::new("renice").args(["-n", "19", "-p", &id]).output().unwrap();
            assert!(nice.status.success());
            process
        };
        let opening = (0..PROCESSES).map(|_| {
            let mut process = start();
            // Each says how many streams it has, and that it has read of all of them again.
            tokio::task::spawn_blocking(move || {
                let open: usize = process.line("open ").parse().unwrap();
                process.line("read");
                (process, open)
            })
        });
        futures::future::join_all(opening).await
    };
    let allowed = n as u64 * STREAM + SLACK;
    let (opened, rise) = siege.during("streams of events", attack, allowed).await;
    let opened: Vec<_> = opened.into_iter().map(Result::unwrap).collect();
    let open: usize = opened.iter().map(|(_, open)| open).sum();
    println!("{open} of {n} streams were open; {} KiB for each", rise / open.max(1) as u64);
    assert_eq!(open, n / PROCESSES * PROCESSES);
    // All of them leave at once.
    siege.during("their end", async { drop(opened) }, allowed).await;
    until(|| siege.clients() > 0).await;
}

/// The nodes with the streams; among the tests it does nothing.
#[tokio::test]
async fn nodes_process() {
    let Ok(ticket) = std::env::var(NODE) else { return };
    let mut nodes = Vec::new();
    for _ in 0..NODES {
        let node = Node::builder(&*ticket).functions(functions![events]);
        nodes.push(soon(node.serve()).await.unwrap());
    }
    tell("registered");
    while question().await.is_some() {}
}

/// Readers of events; among the tests they do nothing.
#[tokio::test]
async fn readers_process() {
    let (Ok(site), Ok(n)) = (std::env::var(SITE), std::env::var(READERS)) else { return };
    let mut words = site.split(' ');
    let address: SocketAddr = words.next().unwrap().parse().unwrap();
    let bearers: Vec<_> = words.collect();
    let n: usize = n.parse().unwrap();
    let open = |i: usize| {
        let bearer = bearers[i % bearers.len()];
        async move {
            let mut stream = TcpStream::connect(address).await.ok()?;
            let request = format!(
                "GET /stream/events HTTP/1.1\r\nHost: {address}\r\nAccept: text/event-stream\r\n\
                 Authorization: Bearer {bearer}\r\n\r\n"
            );
            stream.write_all(request.as_bytes()).await.ok()?;
            has(&mut stream, "data: 0\n\n").await.then_some(stream)
        }
    };
    let opening = stream::iter(0..n).map(open).buffer_unordered(64);
    let mut streams: Vec<_> = opening.filter_map(std::future::ready).collect().await;
    tell(format!("open {}", streams.len()));
    for stream in &mut streams {
        assert!(has(stream, "data: ").await, "a stream has ended");
    }
    tell("read");
    while question().await.is_some() {}
}

/// Whether `text` comes within a minute or so.
async fn has(stream: &mut TcpStream, text: &str) -> bool {
    let (mut came, mut buffer) = (String::new(), [0; 1_024]);
    let read = async {
        while !came.contains(text) {
            match stream.read(&mut buffer).await {
                Ok(n) if n > 0 => came.push_str(&String::from_utf8_lossy(&buffer[..n])),
                _ => return false,
            }
        }
        true
    };
    timeout(Duration::from_secs(120), read).await.unwrap_or(false)
}
