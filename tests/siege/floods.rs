//! Floods against a gateway, while an honest client keeps calling. `HOSTILE_SCALE=10` makes each ten
//! times as large, with 100,000 calls that are opened and reset.

use std::time::Duration;

use common::hostile::attacker::{Attacker, Insider, connect, endpoint_at, first_packet};
use common::hostile::wire::{PROTOCOL, TOO_LARGE};
use common::hostile::{mux, wire};
use common::{soon, until};
use futures::StreamExt;
use futures::stream::{self, FuturesUnordered};
use quinn::TransportConfig;
use tokio::net::UdpSocket;
use tokio::time::timeout;

use crate::siege::{KIB, MIB, Siege};

/// What a connection may take that has proven nothing, by the documentation.
const STRANGER: u64 = 128 * KIB;
/// What one call may take beside what its peer has sent ahead, and the memory that allocators keep.
const CALL: u64 = 64 * KIB;
const SLACK: u64 = 16 * MIB;

fn scale() -> usize {
    std::env::var("HOSTILE_SCALE").map_or(1, |text| text.parse().unwrap())
}

#[tokio::test]
async fn connections_that_prove_nothing() {
    let siege = Siege::start().await;
    let n = (200 * scale()).min(1_024);
    let endpoints = ["127.0.0.2", "127.0.0.3", "127.0.0.4", "127.0.0.5"].map(endpoint_at);
    let attack = async {
        let dial = |i: usize| connect(&endpoints[i % 4], siege.address, TransportConfig::default());
        let held: Vec<_> = stream::iter(0..n).map(dial).buffer_unordered(16).collect().await;
        held.into_iter().filter(Result::is_ok).count()
    };
    let allowed = n as u64 * STRANGER + SLACK;
    let (held, _) = siege.during("connections", attack, allowed).await;
    assert!(held > 0);
}

#[tokio::test]
async fn handshakes_that_stop_after_their_first_packet() {
    let siege = Siege::start().await;
    let n = 500 * scale();
    let attack = async {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        for _ in 0..n {
            socket.send_to(&first_packet().await, siege.address).await.unwrap();
        }
    };
    // Only so many are kept: then the gateway asks who is there, and keeps nothing.
    siege.during("first packets", attack, 64 * STRANGER + SLACK).await;
}

#[tokio::test]
async fn headers_that_never_end() {
    let siege = Siege::start().await;
    let insider = Insider::client(siege.address, &siege.client_ticket).await;
    let attack = async {
        let header = wire::call("add", wire::UNARY);
        let opened = (0..1_000).map(|_| insider.open(&header[..20]));
        let mut opened: Vec<_> = stream::iter(opened).buffer_unordered(100).collect().await;
        let answers: FuturesUnordered<_> =
            opened.iter_mut().map(|(_, recv)| wire::read(recv)).collect();
        let answers: Vec<_> = soon(answers.collect()).await;
        assert!(answers.iter().all(|it| wire::kind_of(it.as_ref().unwrap()) == PROTOCOL));
    };
    siege.during("half headers", attack, 1_000 * CALL + SLACK).await;
}

#[tokio::test]
async fn calls_that_are_opened_and_reset() {
    let siege = Siege::start().await;
    let insider = Insider::client(siege.address, &siege.client_ticket).await;
    let call = || [wire::call("never", wire::UNARY), wire::frame(wire::BODY, b"[]")].concat();
    let attack = async {
        for _ in 0..10_000 * scale() {
            let (mut send, mut recv) = insider.open(&call()).await;
            send.reset(0u32.into()).unwrap();
            let _ = recv.stop(0u32.into());
        }
    };
    siege.during("open and reset", attack, 1_024 * CALL + SLACK).await;
}

#[tokio::test]
async fn garbage_on_a_thousand_streams() {
    let siege = Siege::start().await;
    let insider = Insider::client(siege.address, &siege.client_ticket).await;
    let attack = async {
        let send = |i: u64| {
            let mut garbage = fastrand::Rng::with_seed(i);
            let bytes: Vec<u8> = (0..garbage.usize(1..4_000)).map(|_| garbage.u8(..)).collect();
            let insider = &insider;
            async move {
                let (mut send, mut recv) = insider.open(&bytes).await;
                let _ = send.finish();
                soon(wire::read(&mut recv)).await
            }
        };
        let answers: Vec<_> =
            stream::iter(0..1_000).map(send).buffer_unordered(200).collect().await;
        assert!(answers.into_iter().flatten().all(|answer| answer.0 == wire::ERROR));
    };
    siege.during("garbage", attack, 1_000 * CALL + SLACK).await;
    assert!(insider.call("add", "[1, 2]").await.is_some(), "a call is refused, and no connection");
}

#[tokio::test]
async fn lengths_that_are_huge() {
    let siege = Siege::start().await;
    let insider = Insider::client(siege.address, &siege.client_ticket).await;
    let attack = async {
        let mut open = Vec::new();
        for i in 0..1_000 {
            let length = if i % 2 == 0 { 64 << 20 } else { u32::MAX };
            let size = wire::call("size", wire::UNARY);
            open.push(insider.open(&[size, wire::begun(wire::BODY, length)].concat()).await);
        }
        for (_, recv) in &mut open {
            // Half of them are refused at once, the others when nothing more comes of them.
            let kind = soon(wire::error_of(recv)).await.expect("an error");
            assert!([PROTOCOL, TOO_LARGE].contains(&kind), "{kind}");
        }
    };
    siege.during("huge lengths", attack, 1_000 * CALL + SLACK).await;
}

#[tokio::test]
async fn names_that_are_none() {
    let siege = Siege::start().await;
    let insider = Insider::client(siege.address, &siege.client_ticket).await;
    let attack = async {
        for i in 0..200_usize {
            let name = "\x1b[2J\r\n".repeat(1 + i % 30);
            let answer = insider.call(&name, "[]").await.unwrap();
            assert!(answer.0 == wire::ERROR && !answer.1.contains(&0x1b));
            let id = "\x07".repeat(i);
            let stranger = Attacker::connect(siege.address).await;
            let node = stranger.prove(&siege.node_ticket, id).await;
            assert!(node.is_none() || i == 0);
        }
    };
    siege.during("names", attack, 200 * STRANGER + SLACK).await;
}

#[tokio::test]
async fn early_data_is_not_taken() {
    let siege = Siege::start().await;
    let mut tls = common::hostile::attacker::tls();
    tls.enable_early_data = true;
    let tls = quinn::crypto::rustls::QuicClientConfig::try_from(tls).unwrap();
    let config = quinn::ClientConfig::new(std::sync::Arc::new(tls));
    let endpoint = endpoint_at("127.0.0.1");
    let dial = || endpoint.connect_with(config.clone(), siege.address, "gateway").unwrap();
    let connection = soon(dial()).await.unwrap();
    // What the gateway answers comes after the session ticket.
    let stranger = Attacker { endpoint: endpoint.clone(), connection };
    let insider = stranger.prove(&siege.client_ticket, "").await.unwrap();
    let again = dial().into_0rtt();
    assert!(again.is_err(), "the gateway would take data that can be replayed");
    assert!(insider.call("add", "[1, 2]").await.is_some());
}

#[tokio::test]
async fn a_replayed_first_flight_is_nothing() {
    let mut siege = Siege::start().await;
    // A relay that keeps what passes on the way to the gateway.
    let [front, back] =
        [UdpSocket::bind("127.0.0.1:0").await, UdpSocket::bind("127.0.0.1:0").await];
    let (front, back) = (front.unwrap(), back.unwrap());
    back.connect(siege.address).await.unwrap();
    let (through, kept) = (front.local_addr().unwrap(), std::sync::Mutex::new(Vec::new()));
    let relay = async {
        let (mut up, mut down) = (vec![0; 65_536], vec![0; 65_536]);
        let mut peer = None;
        loop {
            tokio::select! {
                received = front.recv_from(&mut up) => {
                    let (n, from) = received.unwrap();
                    peer = Some(from);
                    kept.lock().unwrap().push(up[..n].to_vec());
                    back.send(&up[..n]).await.unwrap();
                }
                received = back.recv(&mut down) => {
                    let n = received.unwrap();
                    if let Some(peer) = peer {
                        front.send_to(&down[..n], peer).await.unwrap();
                    }
                }
            }
        }
    };
    let session = async {
        let insider = Insider::client(through, &siege.client_ticket).await;
        assert!(insider.call("add", "[20, 22]").await.is_some());
        insider.connection.close(0u32.into(), b"");
    };
    tokio::select! {
        () = session => {}
        () = relay => {}
    }
    // It has been seen to leave, or missed.
    until(|| siege.clients() == 1).await;
    let kept = kept.into_inner().unwrap();
    assert!(kept.len() > 4);
    let attack = async {
        // From where it came, and from elsewhere; as it was, and again and again.
        let elsewhere = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        for _ in 0..20 {
            for packet in &kept {
                let _ = back.send(packet).await;
                let _ = elsewhere.send_to(packet, siege.address).await;
            }
        }
    };
    siege.during("replay", attack, 64 * STRANGER + SLACK).await;
    assert_eq!(siege.clients(), 1, "nobody came of it");
}

#[tokio::test]
async fn answers_that_nobody_fetches() {
    let siege = Siege::start().await;
    let insider = Insider::that_reads(siege.address, &siege.client_ticket, 1_024).await;
    let attack = async {
        let (mut send, _recv) = insider.open(&mux::opening()).await;
        // Each has its answer at once, so that they are never too many at a time.
        let calls: Vec<_> = (0..1_000).map(|id| mux::call(id, "none", "[]")).collect();
        let calls = calls.concat();
        for n in 0..1_000 {
            let taken = timeout(Duration::from_secs(1), send.write_all(&calls)).await;
            if taken.is_err() {
                return n;
            }
        }
        panic!("the gateway takes a million calls, and nobody takes its answers");
    };
    let (thousands, _) = siege.during("unfetched answers", attack, 8 * MIB).await;
    println!("{thousands},000 calls were taken");
}
