//! What a connection costs a gateway at worst, measured. With all that one peer may have by the default
//! limits, and the figures shown:
//!
//! ```sh
//! HOSTILE_CALLS=1024 cargo test --release --test hostile memory -- --nocapture --test-threads=1
//! ```

use common::soon;
use futures::{StreamExt, stream};
use quinn::{RecvStream, SendStream};
use tokio::task::JoinSet;

use crate::attacker::{Attacker, Insider};
use crate::lanes;
use crate::siege::{KIB, MIB, Siege};
use crate::wire;

/// What an idle peer may take, by the documentation.
const STRANGER: u64 = 128 * KIB;
const IDLE: u64 = 128 * KIB;
const SLACK: u64 = 16 * MIB;
/// One direction of a call that nobody reads: a window of 256 KiB, and what the gateway has in hand.
const ONE_WAY: u64 = 352 * KIB;
/// A call on a lane, with what it came with.
const ON_LANE: u64 = 96 * KIB;

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
    /// How many calls it may have on a lane, and how many on streams of their own.
    calls: u32,
    streams: u64,
    before: u64,
    /// What is not read, what nothing is said on, and what is full.
    unread: Vec<RecvStream>,
    silent: Vec<SendStream>,
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
        let (unread, silent, filling) = (Vec::new(), Vec::new(), JoinSet::new());
        Self { siege, node, client, calls, streams, before, unread, silent, filling }
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

    /// Sends as much on `send` as the other ends take, at first as fast as it goes: a gateway ends
    /// calls of which nothing comes for a while, unless it is the one that makes them wait.
    async fn fill(&mut self, mut send: SendStream) {
        // Less than the gateway's window, and more than what it has in hand and has passed on.
        soon(send.write_all(&vec![0; 240 << 10])).await.unwrap();
        self.filling.spawn(async move { while send.write_all(&[0; 16 << 10]).await.is_ok() {} });
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
    let rise = hole.weigh("arguments that nobody reads", hole.streams).await;
    assert!(rise <= hole.streams * ONE_WAY + 2 * SLACK, "{rise} KiB");
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
    let on_streams = hole.weigh("streams both ways", hole.streams).await;

    let (mut send, mut recv) = hole.client.open(&lanes::lane()).await;
    // A lane that the node gives up, so that each call gets a stream there.
    soon(send.write_all(&lanes::call(0, "unary", "[]"))).await.unwrap();
    let (_, mut at_node) = lanes::accept(&hole.node.connection).await;
    soon(lanes::read(&mut at_node)).await.unwrap();
    drop(at_node);
    soon(lanes::read(&mut recv)).await.unwrap();
    let arguments = "x".repeat(16 << 10);
    for id in 0..u64::from(hole.calls) {
        // What is kept of a call keeps what came with it.
        for _ in 0..2 {
            soon(send.write_all(&lanes::call(1 << 40, "nothing", &arguments))).await.unwrap();
            soon(lanes::read(&mut recv)).await.unwrap();
        }
        soon(send.write_all(&lanes::call(id, "unary", &arguments))).await.unwrap();
        let mut answer = hole.at_node().await;
        soon(answer.write_all(&wire::begun(wire::BODY, 64 << 20))).await.unwrap();
        hole.fill(answer).await;
    }
    let calls = u64::from(hole.calls);
    let rise = hole.weigh("and a lane", hole.streams + calls).await;
    println!("of that on the lane: {} KiB a call", (rise - on_streams) / calls);
    let allowed = hole.streams * 2 * ONE_WAY + calls * (ONE_WAY + ON_LANE) + 2 * SLACK;
    assert!(rise <= allowed, "{rise} KiB");
}
