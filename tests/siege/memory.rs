//! What a connection costs a gateway at worst, measured. With all that one peer may have by the default
//! limits, and the figures shown:
//!
//! ```sh
//! HOSTILE_CALLS=1024 cargo test --release --features long-tests --test siege memory -- --nocapture --test-threads=1
//! ```

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use common::hostile::attacker::{Attacker, Insider};
use common::hostile::{mux, wire};
use common::{soon, until};
use futures::{StreamExt, stream};
use quinn::{RecvStream, SendStream};
use tokio::task::JoinSet;

use crate::siege::{KIB, MIB, Siege};

/// What an idle peer may take, by the documentation.
const STRANGER: u64 = 128 * KIB;
const IDLE: u64 = 64 * KIB;
const SLACK: u64 = 16 * MIB;
/// One direction of a call that nobody reads: a window of 256 KiB, and what the gateway has in hand.
const ONE_WAY: u64 = 352 * KIB;
/// What the window of a connection has room for beside those of its streams, and a seventh of all.
const AHEAD: u64 = 64 * 256 * KIB + SLACK;
/// A call on the multiplexed stream, with what it came with.
const ON_MUX: u64 = 96 * KIB;

#[tokio::test]
async fn of_a_stranger() {
    const N: u64 = 200;
    let siege = Siege::start().await;
    let before = siege.settled().await;
    let fill = async || {
        let stranger = Attacker::connect(siege.address).await;
        let (mut send, recv) = soon(stranger.connection.open_bi()).await.unwrap();
        // All but the last byte of the longest message.
        let message = [wire::begun(wire::CONTROL, 4_096), vec![0; 4_095]].concat();
        soon(send.write_all(&message)).await.unwrap();
        (stranger, send, recv)
    };
    let held: Vec<_> = stream::iter(0..N).map(|_| fill()).buffer_unordered(16).collect().await;
    let rise = siege.memory("VmHWM:").saturating_sub(before);
    println!("a stranger: {} KiB ({} of them: {rise} KiB)", rise / N, held.len());
    assert!(rise <= N * STRANGER + SLACK, "{rise} KiB");
}

#[tokio::test]
async fn of_an_idle_client() {
    const N: u64 = 200;
    let siege = Siege::start().await;
    let before = siege.settled().await;
    let dial = |_| Insider::client(siege.address, &siege.client_ticket);
    let held: Vec<_> = stream::iter(0..N).map(dial).buffer_unordered(16).collect().await;
    let rise = siege.settled().await.saturating_sub(before);
    println!("an idle client: {} KiB ({} of them: {rise} KiB)", rise / N, held.len());
    assert!(rise <= N * IDLE + SLACK, "{rise} KiB");
}

/// A client that has all the calls open that it may have, and a node that reads none of them.
struct Hole {
    siege: Siege,
    node: Insider,
    client: Insider,
    /// How many calls it may have on the multiplexed stream, and how many on separate streams.
    calls: u32,
    streams: u64,
    before: u64,
    /// What is not read, what nothing is said on, and what is full.
    unread: Vec<RecvStream>,
    silent: Vec<SendStream>,
    full: Vec<SendStream>,
    filling: JoinSet<()>,
}

impl Hole {
    async fn start() -> Self {
        let calls = std::env::var("HOSTILE_CALLS").map_or(64, |text| text.parse().unwrap());
        let siege = Siege::with_calls(calls).await;
        let functions = [("unary", wire::UNARY), ("duplex", wire::DUPLEX)];
        let node = Insider::node(siege.address, &siege.node_ticket, &functions).await;
        // It does not read either.
        let client = Insider::that_reads(siege.address, &siege.client_ticket, 1_024).await;
        let before = siege.settled().await;
        let streams = u64::from(calls + calls / 7 + 2);
        let (unread, silent, full) = (Vec::new(), Vec::new(), Vec::new());
        let filling = JoinSet::new();
        Self { siege, node, client, calls, streams, before, unread, silent, full, filling }
    }

    /// Opens a call that begins with `bytes`, and waits for it at the node.
    async fn open(&mut self, bytes: &[u8]) -> (SendStream, SendStream) {
        let (send, recv) = self.client.open(bytes).await;
        self.unread.push(recv);
        (send, self.at_node().await)
    }

    /// Waits for the next stream at the node, and reads its first frame.
    async fn at_node(&mut self) -> SendStream {
        let (send, mut recv) = soon(self.node.connection.accept_bi()).await.unwrap();
        soon(wire::read(&mut recv)).await.unwrap();
        self.unread.push(recv);
        send
    }

    /// Sends as much on `send` as it may without credit, and holds it.
    async fn fill(&mut self, mut send: SendStream) {
        soon(send.write_all(&vec![0; 255 << 10])).await.unwrap();
        self.full.push(send);
    }

    /// Sends as much more as the gateway has room for: some of what it has had is with the other end.
    fn fill_up(&mut self) {
        for mut send in self.full.drain(..) {
            self.filling.spawn(async move {
                let _ = send.write_all(&[0; 128 << 10]).await;
                std::future::pending::<()>().await;
            });
        }
    }

    /// Says what it has come to.
    async fn weigh(&self, what: &str, calls: u64) -> u64 {
        let rise = self.siege.settled().await.saturating_sub(self.before);
        println!("{what}: {} MiB, {} KiB for each of {calls} calls", rise / MIB, rise / calls);
        // However much stands still, the heartbeat gets through.
        assert!(self.client.connection.close_reason().is_none());
        assert!(self.node.connection.close_reason().is_none());
        rise
    }
}

#[tokio::test]
async fn of_a_client_whose_calls_nobody_reads() {
    let mut hole = Hole::start().await;
    let call = [wire::call("unary", wire::UNARY), wire::begun(wire::BODY, 64 << 20)].concat();
    for _ in 0..hole.streams {
        let (send, unanswered) = hole.open(&call).await;
        hole.fill(send).await;
        hole.silent.push(unanswered);
    }
    hole.fill_up();
    let rise = hole.weigh("arguments that nobody reads", hole.streams).await;
    assert!(rise <= hole.streams * ONE_WAY + 2 * AHEAD, "{rise} KiB");
}

/// With the help of a node that has more to say than anyone reads.
#[tokio::test]
async fn of_a_client_that_uses_up_all_it_has() {
    let mut hole = Hole::start().await;
    let call = [
        wire::call("duplex", wire::DUPLEX),
        wire::frame(wire::BODY, b"[]"),
        wire::begun(wire::ITEM, 64 << 20),
    ];
    for _ in 0..hole.streams {
        let (send, mut answer) = hole.open(&call.concat()).await;
        hole.fill(send).await;
        let begun = [wire::frame(wire::OPEN, b""), wire::begun(wire::ITEM, 64 << 20)].concat();
        soon(answer.write_all(&begun)).await.unwrap();
        hole.fill(answer).await;
    }
    hole.weigh("streams both ways", hole.streams).await;

    let (mut send, mut recv) = hole.client.open(&mux::opening()).await;
    // A multiplexed stream that the node gives up, so that each call gets a stream there.
    soon(send.write_all(&mux::call(0, "unary", "[]"))).await.unwrap();
    let (given_up, mut at_node) = mux::accept(&hole.node.connection).await;
    soon(mux::read(&mut at_node)).await.unwrap();
    drop(given_up);
    drop(at_node);
    soon(mux::read(&mut recv)).await.unwrap();
    let arguments = "x".repeat(16 << 10);
    for id in 0..u64::from(hole.calls) {
        // What is kept of a call keeps what came with it.
        for _ in 0..2 {
            soon(send.write_all(&mux::call(1 << 40, "nothing", &arguments))).await.unwrap();
            soon(mux::read(&mut recv)).await.unwrap();
        }
        soon(send.write_all(&mux::call(id, "unary", &arguments))).await.unwrap();
        let mut answer = hole.at_node().await;
        soon(answer.write_all(&wire::begun(wire::BODY, 64 << 20))).await.unwrap();
        hole.fill(answer).await;
    }
    let calls = u64::from(hole.calls);
    hole.fill_up();
    let rise = hole.weigh("and a multiplexed stream", hole.streams + calls).await;
    let allowed = hole.streams * 2 * ONE_WAY + calls * (ONE_WAY + ON_MUX) + 3 * AHEAD;
    assert!(rise <= allowed, "{rise} KiB");
}

/// It sends on as many streams as it likes what belongs to others.
#[tokio::test]
async fn of_a_client_that_keeps_to_no_credit() {
    const CALLS: u32 = 64;
    let streams = u64::from(CALLS + CALLS / 7 + 2);
    let siege = Siege::with_calls(CALLS).await;
    let node = Insider::node(siege.address, &siege.node_ticket, &[("hole", wire::UNARY)]).await;
    let insider = Insider::client(siege.address, &siege.client_ticket).await;
    let before = siege.settled().await;
    let begun = [wire::call("hole", wire::UNARY), wire::begun(wire::BODY, 64 << 20)].concat();
    let (mut filling, taken) = (JoinSet::new(), Arc::new(AtomicU64::new(0)));
    let mut unread = Vec::new();
    for _ in 0..streams {
        let (mut send, recv) = insider.open(&begun).await;
        let taken = taken.clone();
        unread.push(recv);
        filling.spawn(async move {
            while let Ok(n) = send.write(&[0; 16 << 10]).await {
                taken.fetch_add(n as u64 / 1_024, Ordering::Relaxed);
            }
        });
    }
    // What the gateway holds back: some of it the node has taken.
    until(|| taken.load(Ordering::Relaxed) >= streams * 256 * KIB).await;
    let rise = siege.settled().await.saturating_sub(before);
    println!("a client with {streams} calls that keeps to no credit: {} MiB", rise / MIB);
    // Half as much again for the many pieces of a long stream, which quinn puts together.
    assert!(rise <= (streams * 256 * KIB + AHEAD) * 3 / 2 + 2 * SLACK, "{rise} KiB");
    drop((filling, unread, node));
}
