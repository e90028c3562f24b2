//! Messages that cost their peer next to nothing, and a gateway that works for all without care
//! very much: an honest client and honest nodes do not notice them, and the log does not fill.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use common::hostile::attacker::{Insider, config, endpoint_at, token};
use common::hostile::wire;
use common::process::{Process, question, tell};
use common::soon;
use easyremote::{Client, Gateway, Node, Role};
use futures::stream::{self, StreamExt};
use quinn::{Connection, RecvStream, SendStream, TransportConfig, VarInt};
use tokio::sync::Mutex;
use tracing::field::{Field, Visit};
use tracing::{Event, Metadata, Subscriber, span};

use crate::functions::{add, all};

const PART: &str = "HOSTILE_COSTS_PART";
const STATE: &str = "HOSTILE_COSTS_STATE";
const ADDRESS: &str = "HOSTILE_COSTS_ADDRESS";
const TICKET: &str = "HOSTILE_COSTS_TICKET";

/// Most bytes that an attack may add to the log, at all levels.
const MOST_LOGGED: usize = 64 << 10;

/// Longest time that 99 of 100 honest calls take, where nothing else needs the processors.
const P99: Duration = Duration::from_millis(50);

/// Names that a list has: those of so many nodes with so many functions each.
const FLEET: (usize, usize) = (100, 50);

/// A node that says what the wire allows, and echoes the heartbeat.
struct RawNode {
    endpoint: quinn::Endpoint,
    connection: Connection,
    send: Arc<Mutex<SendStream>>,
    /// The number of the last `Retagged`.
    retagged: Arc<AtomicUsize>,
}

impl RawNode {
    /// Registers with what `register` says; `None` if the gateway does not want it.
    async fn start(address: SocketAddr, ticket: &str, id: &str, register: &[u8]) -> Option<Self> {
        let endpoint = endpoint_at("127.0.0.1");
        let mut transport = TransportConfig::default();
        transport.max_concurrent_bidi_streams(VarInt::from_u32(4_096));
        let connecting = endpoint.connect_with(config(transport), address, "gateway").unwrap();
        let connection = soon(connecting).await.ok()?;
        let (mut send, mut recv) = soon(connection.open_bi()).await.ok()?;
        let (role, token) = token(ticket);
        let hello = wire::hello(&connection, role, &token, id);
        send.write_all(&[&hello, register].concat()).await.ok()?;
        for expected in [2, 5] {
            let message = soon(wire::message(&mut send, &mut recv)).await?;
            if message[0] != expected {
                return None;
            }
        }
        let (send, retagged) = (Arc::new(Mutex::new(send)), Arc::new(AtomicUsize::new(0)));
        tokio::spawn(listen(send.clone(), recv, retagged.clone()));
        Some(Self { endpoint, connection, send, retagged })
    }

    /// Says what the gateway may not want to hear to its end.
    async fn say(&self, bytes: &[u8]) -> bool {
        self.send.lock().await.write_all(bytes).await.is_ok()
    }

    /// Waits for the answer to the last of its changes, or for the end.
    async fn has_tags(&self, number: usize) {
        let mut looks = tokio::time::interval(Duration::from_millis(2));
        while self.retagged.load(Ordering::Relaxed) < number
            && self.connection.close_reason().is_none()
        {
            looks.tick().await;
        }
    }

    async fn leave(self) {
        self.connection.close(0u32.into(), b"");
        self.endpoint.wait_idle().await;
    }
}

/// Echoes the heartbeat, and notes what is answered.
async fn listen(send: Arc<Mutex<SendStream>>, mut recv: RecvStream, retagged: Arc<AtomicUsize>) {
    while let Some((kind, body)) = wire::read(&mut recv).await {
        assert_eq!(kind, wire::CONTROL);
        match body[0] {
            6 => {
                let pong = wire::frame(wire::CONTROL, &[&[7], &body[1..]].concat());
                let _ = send.lock().await.write_all(&pong).await;
            }
            11 => retagged.store(unpacked(&body[1..]), Ordering::Relaxed),
            _ => {}
        }
    }
}

/// A small integer as bincode has it.
fn unpacked(bytes: &[u8]) -> usize {
    match bytes {
        [251, low, high, ..] => usize::from(u16::from_le_bytes([*low, *high])),
        [252, a, b, c, d, ..] => u32::from_le_bytes([*a, *b, *c, *d]) as usize,
        [small, ..] => usize::from(*small),
        [] => 0,
    }
}

fn retag(number: usize, tags: &[&str]) -> Vec<u8> {
    let mut body = [&[10][..], &wire::packed(number as u64), &[tags.len() as u8]].concat();
    tags.iter().for_each(|tag| body.extend(wire::packed_string(tag)));
    wire::frame(wire::CONTROL, &body)
}

fn draining() -> Vec<u8> {
    wire::frame(wire::CONTROL, &[8])
}

/// What a node says that offers so many functions, which need a tag that it does not have yet.
fn needy(prefix: &str, n: usize) -> Vec<u8> {
    let mut body = vec![4, 0];
    body.extend(wire::packed(4_096));
    body.extend(wire::packed(n as u64));
    for i in 0..n {
        body.extend(wire::packed_string(format!("{prefix}.f{i}")));
        // Kind, fingerprint, parameters.
        body.extend([wire::UNARY, 0, 0]);
        body.extend(wire::packed_string("(a: i64, b: i64) -> i64"));
        // Doc, needs, concurrency.
        body.extend([&[0, 1][..], &wire::packed_string("t"), &[0]].concat());
    }
    wire::frame(wire::CONTROL, &body)
}

/// What is attacked: a gateway with many names, an honest node that is called all the time, and the
/// log.
struct Town {
    gateway: Process,
    address: SocketAddr,
    tickets: [String; 2],
    fleet: Vec<RawNode>,
    _good: Node,
    client: Client,
    _state: tempfile::TempDir,
}

impl Town {
    async fn start() -> Self {
        let state = tempfile::tempdir().unwrap();
        let environment = [(PART, "gateway"), (STATE, state.path().to_str().unwrap())];
        let mut gateway = Process::start("costs::part", environment);
        let address: SocketAddr = gateway.line("listening ").parse().unwrap();
        let tickets = [gateway.line("client "), gateway.line("node ")];
        let (nodes, functions) = FLEET;
        let register = |n: usize| {
            let names: Vec<_> = (0..functions).map(|i| format!("fleet{n}.function{i}")).collect();
            wire::register(&names.iter().map(|name| (&**name, wire::UNARY)).collect::<Vec<_>>())
        };
        let ticket = &*tickets[1];
        let fleet = stream::iter(0..nodes).map(|n| async move {
            RawNode::start(address, ticket, &format!("fleet-{n}"), &register(n)).await.unwrap()
        });
        let fleet = fleet.buffer_unordered(8).collect().await;
        let good = soon(Node::builder(ticket).id("good").functions(all()).serve()).await.unwrap();
        let client = soon(Client::connect(&*tickets[0])).await.unwrap();
        Self { gateway, address, tickets, fleet, _good: good, client, _state: state }
    }

    /// Calls until all attackers are done, each in a process of its own. No call fails, no honest
    /// node is lost, and the log stays short.
    async fn endures(&mut self, attacks: &[&'static str]) {
        let logged = self.logged();
        let attackers: Vec<_> = attacks.iter().map(|attack| self.attack(attack)).collect();
        let (mut times, over) = (Vec::new(), futures::future::join_all(attackers));
        let mut over = std::pin::pin!(over);
        let ends = loop {
            let begun = Instant::now();
            tokio::select! {
                biased;
                ends = &mut over => break ends,
                sum = soon(add::call(&self.client, 1, 2).into_future()) => {
                    assert_eq!(sum.unwrap(), 3);
                    times.push(begun.elapsed());
                }
            }
        };
        let sum = soon(add::call(&self.client, 1, 2)).await;
        assert_eq!(sum.unwrap(), 3);
        times.sort_unstable();
        let (n, p99, longest) =
            (times.len(), times[times.len() * 99 / 100], times[times.len() - 1]);
        let logged = self.logged() - logged;
        let nodes = self.gateway.ask("nodes");
        println!("{n} honest calls, p99 {p99:.1?}, longest {longest:.1?}; {logged} bytes logged");
        println!("{ends:#?}");
        let lost = self.fleet.iter().filter_map(|node| node.connection.close_reason());
        assert_eq!(lost.collect::<Vec<_>>(), [], "honest nodes were dropped");
        let honest: BTreeSet<_> = (0..FLEET.0).map(|n| format!("fleet-{n}")).collect();
        let there: BTreeSet<_> = nodes.split(',').map(str::to_owned).collect();
        assert!(honest.is_subset(&there) && there.contains("good"), "{nodes}");
        assert!(logged < MOST_LOGGED, "{logged} bytes logged");
        if !cfg!(debug_assertions) {
            assert!(p99 < P99, "p99 {p99:?}");
        }
    }

    /// Starts an attack; gives what the attacker says at its end.
    fn attack(&self, attack: &str) -> impl Future<Output = String> + use<> {
        let (address, role) = (self.address.to_string(), attack.split('-').next().unwrap());
        let ticket = &*self.tickets[usize::from(["retag", "drain", "churn"].contains(&role))];
        let environment = [(PART, attack), (ADDRESS, &*address), (TICKET, ticket)];
        let mut process = Process::start("costs::part", environment);
        let line = tokio::task::spawn_blocking(move || process.line("over "));
        async move { line.await.unwrap() }
    }

    fn logged(&mut self) -> usize {
        self.gateway.ask("logged").parse().unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn floods_of_cheap_messages_and_dear_questions() {
    let mut town = Town::start().await;
    let attacks = ["retag", "drain", "lists-1", "lists-2", "lists-3", "lists-4", "unknown"];
    town.endures(&attacks).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_that_come_and_go_and_never_are_the_same() {
    let mut town = Town::start().await;
    town.endures(&["churn-1", "churn-2"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn questions_whose_answers_nobody_reads() {
    let mut town = Town::start().await;
    town.endures(&["deaf-1", "deaf-2", "nodes-1", "nodes-2"]).await;
    let functions = soon(town.client.functions()).await.unwrap();
    // Those of the fleet, and those of the good node.
    assert_eq!(functions.len(), FLEET.0 * FLEET.1 + all().names().count());
}

/// One of the processes of these tests; among the tests it does nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn part() {
    let Ok(part) = std::env::var(PART) else { return };
    if part == "gateway" {
        return gateway().await;
    }
    // Attackers have computers of their own.
    let renice = format!("renice -n 19 -p {} > /dev/null", std::process::id());
    let _ = std::process::Command::new("sh").args(["-c", &renice]).status();
    let address = std::env::var(ADDRESS).unwrap().parse().unwrap();
    let ticket = std::env::var(TICKET).unwrap();
    let attack = tokio::spawn(attack(part.clone(), address, ticket));
    // Where processors are scarce, an attacker may lose its connection, as it may to the gateway.
    let said = attack.await.unwrap_or_else(|_| "broke off".to_owned());
    tell(format!("over {part}: {said}"));
}

/// What an attacker does; says how it ends.
async fn attack(part: String, address: SocketAddr, ticket: String) -> String {
    match part.split('-').next().unwrap() {
        "retag" => retags(address, &ticket).await,
        "drain" => drains(address, &ticket).await,
        "churn" => churns(address, &ticket, &part).await,
        "lists" => asks(address, &ticket, "easyremote.functions").await,
        "nodes" => asks(address, &ticket, "easyremote.nodes").await,
        "unknown" => asks_for_nothing(address, &ticket).await,
        "deaf" => does_not_listen(address, &ticket).await,
        other => panic!("{other}"),
    }
}

/// 60,000 changes of tags; every second one is none.
async fn retags(address: SocketAddr, ticket: &str) -> String {
    const N: usize = 60_000;
    let node = RawNode::start(address, ticket, "retag", &needy("retag", 50)).await.unwrap();
    let tags: [&[&str]; 4] = [&["t"], &["t"], &["u", "v"], &["u", "v"]];
    for first in (1..=N).step_by(600) {
        let some: Vec<u8> = (first..first + 600).flat_map(|n| retag(n, tags[n % 4])).collect();
        if !node.say(&some).await {
            break;
        }
    }
    node.has_tags(N).await;
    format!("has the tags {}", node.retagged.load(Ordering::Relaxed))
}

async fn drains(address: SocketAddr, ticket: &str) -> String {
    let node = RawNode::start(address, ticket, "drain", &needy("drain", 50)).await.unwrap();
    for _ in 0..100 {
        if !node.say(&draining().repeat(1_000)).await {
            break;
        }
    }
    // All before it has been heard.
    node.say(&retag(1, &["t"])).await;
    node.has_tags(1).await;
    format!("{:?}", node.connection.close_reason())
}

/// Registers 1,024 functions, and changes who can run them; and the same again and again.
async fn churns(address: SocketAddr, ticket: &str, id: &str) -> String {
    for n in 0..20 {
        let Some(node) = RawNode::start(address, ticket, id, &needy(id, 1_024)).await else {
            return format!("refused after {n}");
        };
        for i in 1..=40 {
            let tags: &[&str] = if i % 2 == 0 { &[] } else { &["t"] };
            node.say(&retag(i, tags)).await;
            if i == 30 {
                node.say(&draining().repeat(100)).await;
            }
        }
        node.has_tags(40).await;
        node.leave().await;
    }
    "has come 20 times".to_owned()
}

async fn asks(address: SocketAddr, ticket: &str, question: &str) -> String {
    let insider = Insider::client(address, ticket).await;
    let asking = (0..1_000).map(|_| async {
        let call = [wire::call(question, wire::UNARY), wire::frame(wire::BODY, b"[]")].concat();
        let (mut send, mut recv) = insider.open(&call).await;
        let _ = send.finish();
        // As long as it takes, and as much as comes without a word for more.
        let (mut frames, mut first) = (0, None);
        while let Ok(Some(chunk)) = recv.read_chunk(1 << 16, true).await {
            first.get_or_insert(chunk.bytes[0]);
            frames += chunk.bytes.len();
            if frames > 200 << 10 {
                break;
            }
        }
        first == Some(wire::BODY)
    });
    let told = stream::iter(asking).buffer_unordered(100);
    let told = told.filter(|told| std::future::ready(*told)).count().await;
    format!("{told} answers")
}

async fn asks_for_nothing(address: SocketAddr, ticket: &str) -> String {
    let insider = Insider::client(address, ticket).await;
    let insider = &insider;
    let asking =
        (0..1_000).map(|n| async move { insider.call(&format!("unknown{n}"), "[]").await });
    let told: Vec<_> = stream::iter(asking).buffer_unordered(100).collect().await;
    format!("{} errors", told.into_iter().flatten().filter(|it| it.0 == wire::ERROR).count())
}

/// Asks a thousand questions, reads none of the answers, and leaves.
async fn does_not_listen(address: SocketAddr, ticket: &str) -> String {
    let insider = Insider::that_reads(address, ticket, 10).await;
    let mut unread = Vec::new();
    for n in 0..1_000 {
        let question = ["easyremote.functions", "easyremote.nodes"][n % 2];
        let call = [wire::call(question, wire::UNARY), wire::frame(wire::BODY, b"[]")].concat();
        unread.push(insider.open(&call).await);
    }
    // Until the gateway answers no more, or refuses.
    let (_, last) = unread.last_mut().unwrap();
    let first = tokio::time::timeout(Duration::from_secs(5), last.read_exact(&mut [0])).await;
    format!("{first:?}")
}

async fn gateway() {
    tracing::subscriber::set_global_default(LogLength).unwrap();
    let state = std::env::var(STATE).unwrap();
    let gateway = Gateway::builder("127.0.0.1:0").state_dir(state).serve().await.unwrap();
    tell(format!("listening {}", gateway.local_addr()));
    tell(format!("client {}", gateway.ticket(Role::Client)));
    tell(format!("node {}", gateway.ticket(Role::Node)));
    while let Some(question) = question().await {
        let answer = match &*question {
            "logged" => LOGGED.load(Ordering::Relaxed).to_string(),
            _ => gateway.nodes().into_iter().map(|node| node.id).collect::<Vec<_>>().join(","),
        };
        tell(format!("{question} {answer}"));
    }
}

static LOGGED: AtomicUsize = AtomicUsize::new(0);

/// Counts the bytes of the log, at all levels.
struct LogLength;

/// What a line has beside its fields: the time, and the fields of the span that it is in.
const CONTEXT: usize = 200;

struct LineLength(usize);

impl Visit for LineLength {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        self.0 += field.name().len() + format!("{value:?}").len() + 2;
    }
}

impl Subscriber for LogLength {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("easyremote")
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn event(&self, event: &Event<'_>) {
        let mut length = LineLength(CONTEXT);
        event.record(&mut length);
        LOGGED.fetch_add(length.0, Ordering::Relaxed);
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}
}
