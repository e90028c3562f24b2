//! The limits of a gateway: what they let through, what not, who hears of it, and what is counted.

use std::time::Duration;

use common::hostile::attacker::{Attacker, Insider, close_of, connect, endpoint_at};
use common::hostile::impostor::Impostor;
use common::hostile::wire::{self, OVERLOADED, PROTOCOL, UNAVAILABLE};
use common::{soon, until};
use easyremote::gateway::GatewayLimits;
use easyremote::{CallError, Client, ErrorKind, Executed, Role};
use futures::{FutureExt, SinkExt};
use quinn::{ConnectionError, TransportConfig};

use super::functions::{add, never, size, sum};
use super::target::Target;

/// How long a peer may take for something in these tests. Those who are honest take less, also on a
/// slow machine.
const SHORT: Duration = Duration::from_secs(2);

/// Longer than any of these tests takes.
const LONG: Duration = Duration::from_secs(600);

/// Limits under which strangers stay until something else than the clock sends them away.
fn patient() -> GatewayLimits {
    GatewayLimits::new().authentication_timeout(LONG)
}

fn is_refusal(error: &ConnectionError) -> bool {
    // RFC 9000, section 20.1.
    const CONNECTION_REFUSED: u64 = 2;
    matches!(error, ConnectionError::ConnectionClosed(close)
        if u64::from(close.error_code) == CONNECTION_REFUSED)
}

#[tokio::test]
async fn connections_in_all() {
    // Two are those of the honest node and client.
    let target = Target::start(patient().connections(4)).await;
    let ticket = target.client_ticket();
    let first = Insider::client(target.address(), &ticket).await;
    let _second = Insider::client(target.address(), &ticket).await;
    assert_eq!(target.gateway.stats().hits.connections, 0);
    let endpoint = endpoint_at("127.0.0.1");
    let third = connect(&endpoint, target.address(), TransportConfig::default()).await;
    assert!(is_refusal(&third.unwrap_err()));
    // More than once if its first packet had to be sent again.
    assert!(target.gateway.stats().hits.connections > 0);
    // An honest peer hears what it can do something about.
    let late = Client::builder(target.gateway.ticket(Role::Client)).dial(common::patient(SHORT));
    assert_eq!(soon(late.connect()).await.unwrap_err().kind(), ErrorKind::Unavailable);
    first.connection.close(0u32.into(), b"");
    until(|| target.gateway.stats().connections == 3).await;
    Insider::client(target.address(), &ticket).await;
    target.serves().await;
}

#[tokio::test]
async fn connections_from_one_address() {
    let target = Target::start(patient().connections_per_address(3)).await;
    let (one, other) = (endpoint_at("127.0.0.1"), endpoint_at("127.0.0.2"));
    let dial = |endpoint| connect(endpoint, target.address(), TransportConfig::default());
    let _third = dial(&one).await.unwrap();
    assert_eq!(target.gateway.stats().hits.per_address, 0);
    assert!(is_refusal(&dial(&one).await.unwrap_err()));
    assert!(target.gateway.stats().hits.per_address > 0);
    dial(&other).await.unwrap();
    target.serves().await;
}

#[tokio::test]
async fn strangers_from_one_address() {
    let target = Target::start(patient().unauthenticated_per_address(2)).await;
    let ticket = target.client_ticket();
    // Those that are known do not count.
    let _known = Insider::client(target.address(), &ticket).await;
    let first = Attacker::connect(target.address()).await;
    let _second = Attacker::connect(target.address()).await;
    let endpoint = endpoint_at("127.0.0.1");
    let third = connect(&endpoint, target.address(), TransportConfig::default()).await;
    assert!(is_refusal(&third.unwrap_err()));
    assert!(target.gateway.stats().hits.per_address > 0);
    assert_eq!(target.gateway.stats().unauthenticated, 2);
    assert!(first.prove(&ticket, "").await.is_some());
    Attacker::connect(target.address()).await;
}

#[tokio::test]
async fn the_oldest_stranger_leaves_for_a_new_one() {
    let target = Target::start(patient().unauthenticated(2)).await;
    let oldest = Attacker::connect(target.address()).await;
    let _newer = Attacker::connect(target.address()).await;
    assert_eq!(target.gateway.stats().hits.evicted, 0);
    // An honest peer gets in, however many wait.
    let client = soon(Client::connect(target.gateway.ticket(Role::Client))).await.unwrap();
    assert_eq!(target.gateway.stats().hits.evicted, 1);
    assert_eq!(oldest.end().await.0, OVERLOADED);
    assert_eq!(soon(add::call(&client, 1, 2)).await.unwrap(), 3);
}

#[tokio::test]
async fn under_load_peers_show_their_address_first() {
    let target = Target::start(patient().retry_above(1)).await;
    assert_eq!(target.gateway.stats().hits.retries, 0);
    let _stranger = Attacker::connect(target.address()).await;
    assert_eq!(target.gateway.stats().hits.retries, 0);
    let client = soon(Client::connect(target.gateway.ticket(Role::Client))).await.unwrap();
    assert!(target.gateway.stats().hits.retries > 0);
    assert_eq!(soon(add::call(&client, 1, 2)).await.unwrap(), 3);
}

#[tokio::test]
async fn a_handshake_has_its_time() {
    let target = Target::start(GatewayLimits::new().handshake_timeout(SHORT)).await;
    // The first packet of a handshake, and nothing more.
    let first = common::hostile::attacker::first_packet().await;
    let socket = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    socket.send_to(&first, target.address()).await.unwrap();
    until(|| target.gateway.stats().hits.handshake_timeouts == 1).await;
    until(|| target.gateway.stats().connections == 2).await;
    target.serves().await;
}

#[tokio::test]
async fn a_proof_has_its_time() {
    let target = Target::start(GatewayLimits::new().authentication_timeout(SHORT)).await;
    let silent = Attacker::connect(target.address()).await;
    let (kind, text) = silent.end().await;
    assert_eq!((kind, &*text), (UNAVAILABLE, "no credentials in time"));
    // One that says a little is not waited for any longer.
    let slow = Attacker::connect(target.address()).await;
    let (mut send, _recv) = slow.connection.open_bi().await.unwrap();
    send.write_all(&wire::begun(wire::CONTROL, 100)).await.unwrap();
    assert_eq!(slow.end().await.0, UNAVAILABLE);
    assert_eq!(target.gateway.stats().hits.authentication_timeouts, 2);
    target.serves().await;
}

/// A network that loses packets, or a program that stands still, delays the proof of an honest peer.
#[tokio::test]
async fn a_peer_whose_proof_was_late_dials_again() {
    let target = Target::start(GatewayLimits::new().authentication_timeout(SHORT)).await;
    let (code, text) = Attacker::connect(target.address()).await.end().await;
    let impostor = Impostor::start();
    let client = tokio::spawn(Client::connect(impostor.ticket("erc_")));
    // What the gateway says in that case, to a peer that cannot know that its proof was late.
    let late = impostor.accept().await;
    late.connection.close((code as u32).into(), text.as_bytes());
    let _connection = impostor.welcome().await;
    soon(client).await.unwrap().unwrap();
}

#[tokio::test]
async fn before_the_proof_there_is_one_stream_and_64_kib() {
    let target = Target::start(GatewayLimits::new()).await;
    let stranger = Attacker::connect(target.address()).await;
    let (mut send, _recv) = stranger.connection.open_bi().now_or_never().unwrap().unwrap();
    assert!(stranger.connection.open_bi().now_or_never().is_none(), "a second stream");
    assert!(stranger.connection.open_uni().now_or_never().is_none(), "a stream of one way");
    let mut sent = 0;
    while let Some(Ok(n)) = send.write(&[0; 1_000]).now_or_never() {
        sent += n;
    }
    assert_eq!(sent, 64 << 10);
}

#[tokio::test]
async fn before_the_proof_a_message_has_4_kib() {
    let target = Target::start(GatewayLimits::new()).await;
    for (length, complaint) in [
        (4_095, "control message of unknown tag 0"),
        (4_096, "control message of unknown tag 0"),
        (4_097, "control message of 4097 bytes; the limit is 4096 now"),
    ] {
        let stranger = Attacker::connect(target.address()).await;
        let (mut send, mut recv) = stranger.connection.open_bi().await.unwrap();
        send.write_all(&wire::frame(wire::CONTROL, &vec![0; length])).await.unwrap();
        let refused = soon(wire::message(&mut send, &mut recv)).await.unwrap();
        assert!(String::from_utf8_lossy(&refused).contains(complaint), "{length}");
        assert_eq!(stranger.end().await, (PROTOCOL, complaint.to_owned()));
    }
    // Echoes that nobody reads would pile up.
    let stranger = Attacker::connect(target.address()).await;
    let (mut send, _recv) = stranger.connection.open_bi().await.unwrap();
    send.write_all(&wire::frame(wire::CONTROL, &[6, 0])).await.unwrap();
    assert_eq!(stranger.end().await, (PROTOCOL, "a ping before hello".to_owned()));
}

#[tokio::test]
async fn a_header_has_its_time() {
    let target = Target::start(GatewayLimits::new().header_timeout(SHORT)).await;
    let insider = Insider::client(target.address(), &target.client_ticket()).await;
    let header = wire::call("add", wire::UNARY);
    let (_send, mut recv) = insider.open(&header[..header.len() - 1]).await;
    let answer = soon(wire::read(&mut recv)).await.unwrap();
    assert_eq!(wire::kind_of(&answer), PROTOCOL);
    assert_eq!(target.gateway.stats().hits.header_timeouts, 1);
    assert_eq!(insider.call("add", "[1, 2]").await.unwrap(), (wire::BODY, b"3".to_vec()));
}

#[tokio::test]
async fn arguments_have_to_get_on() {
    let target = Target::start(GatewayLimits::new().progress_timeout(SHORT)).await;
    // An honest caller's own stream may pause as long as it likes.
    let (mut send, numbers) = futures::channel::mpsc::channel(1);
    let summing = tokio::spawn(sum::call(&target.client, numbers));
    send.send(1).await.unwrap();
    let insider = Insider::client(target.address(), &target.client_ticket()).await;
    let none = wire::call("add", wire::UNARY);
    let half = [&none[..], &wire::begun(wire::BODY, 100), b"[1"].concat();
    let upload = wire::call("sum", wire::UPLOAD);
    let arguments = wire::frame(wire::BODY, b"[]");
    let item = [&upload[..], &arguments, &wire::begun(wire::ITEM, 100)].concat();
    for (n, bytes) in (1..).zip([none, half, item]) {
        let (_send, mut recv) = insider.open(&bytes).await;
        let answer = soon(wire::read(&mut recv)).await.unwrap();
        assert_eq!(wire::kind_of(&answer), PROTOCOL);
        assert!(String::from_utf8_lossy(&answer.1).contains("the caller stopped"), "{answer:?}");
        assert_eq!(target.gateway.stats().hits.progress_timeouts, n);
    }
    send.send(2).await.unwrap();
    drop(send);
    assert_eq!(soon(summing).await.unwrap().unwrap(), 3);
    until(|| target.node.stats().in_flight == 0).await;
}

#[tokio::test]
async fn a_byte_now_and_then_is_not_enough() {
    let target = Target::start(GatewayLimits::new().progress_timeout(SHORT)).await;
    let insider = Insider::client(target.address(), &target.client_ticket()).await;
    let header = wire::call("size", wire::UNARY);
    let bytes = [&header[..], &wire::begun(wire::BODY, 1 << 20)].concat();
    let (mut send, mut recv) = insider.open(&bytes).await;
    let mut drops = tokio::time::interval(SHORT / 30);
    let dripping = async {
        while send.write_all(b"x").await.is_ok() {
            drops.tick().await;
        }
    };
    let answer = tokio::select! {
        answer = soon(wire::read(&mut recv)) => answer.unwrap(),
        () = dripping => panic!("stopped without an answer"),
    };
    assert_eq!(wire::kind_of(&answer), PROTOCOL);
    // What comes in large pieces may take as long as it needs.
    assert_eq!(soon(size::call(&target.client, vec![0; 8 << 20].into())).await.unwrap(), 8 << 20);
    assert_eq!(target.gateway.stats().hits.progress_timeouts, 1);
}

#[tokio::test]
async fn an_answer_has_to_get_on() {
    let target = Target::start(GatewayLimits::new().progress_timeout(SHORT)).await;
    let ticket = target.gateway.ticket(Role::Node).to_string();
    let node = Insider::node(target.address(), &ticket, &[("lame", wire::UNARY)]).await;
    let calling = tokio::spawn(target.client.call_json("lame", serde_json::json!([])));
    let (mut send, _recv) = soon(node.connection.accept_bi()).await.unwrap();
    send.write_all(&wire::begun(wire::BODY, 100)).await.unwrap();
    let error = soon(calling).await.unwrap().unwrap_err();
    let CallError::Remote(error) = error else { panic!("{error}") };
    assert_eq!((error.kind(), error.executed()), (ErrorKind::Protocol, Executed::Yes));
    assert_eq!(target.gateway.stats().hits.progress_timeouts, 1);
    target.serves().await;
}

#[tokio::test]
async fn calls_of_one_peer() {
    const CALLS: u32 = 7;
    let target = Target::start(GatewayLimits::new().calls_per_peer(CALLS)).await;
    let insider = Insider::client(target.address(), &target.client_ticket()).await;
    // A seventh of them and two more, as the documentation has it, and what is kept for the multiplexed stream.
    let call = || [wire::call("never", wire::UNARY), wire::frame(wire::BODY, b"[]")].concat();
    let mut calls = Vec::new();
    for _ in 0..CALLS + CALLS / 7 + 3 {
        calls.push(insider.open(&call()).await);
    }
    until(|| target.node.stats().in_flight == calls.len() as u64).await;
    assert!(insider.connection.open_bi().now_or_never().is_none());
    calls.truncate(1);
    soon(insider.connection.open_bi()).await.unwrap();
    target.serves().await;
}

#[tokio::test]
async fn answers_that_nobody_reads() {
    const MAX_MESSAGE: usize = 8_000;
    let limits = GatewayLimits::new().buffered_per_peer(0);
    let target = Target::of(|it| it.limits(limits.max_message(MAX_MESSAGE))).await;
    let insider = Insider::that_reads(target.address(), &target.client_ticket(), 10).await;
    let (_, list) = insider.call("easyremote.functions", "[]").await.unwrap();
    let room = (MAX_MESSAGE + 5) / (list.len() + 5);
    assert!(room > 1, "{}", list.len());
    let call = [wire::call("easyremote.functions", wire::UNARY), wire::frame(wire::BODY, b"[]")];
    let call = call.concat();
    let mut unread = Vec::new();
    for _ in 0..room {
        let (send, mut recv) = insider.open(&call).await;
        let mut first = [0];
        soon(recv.read_exact(&mut first)).await.unwrap();
        assert_eq!(first, [wire::BODY]);
        unread.push((send, recv));
    }
    assert_eq!(target.gateway.stats().hits.buffered, 0);
    let (_send, mut recv) = insider.open(&call).await;
    assert_eq!(wire::kind_of(&soon(wire::read(&mut recv)).await.unwrap()), OVERLOADED);
    assert_eq!(target.gateway.stats().hits.buffered, 1);
    assert!(
        !soon(target.client.functions()).await.unwrap().is_empty(),
        "others are not in the way"
    );
    unread.clear();
    assert!(insider.call("easyremote.functions", "[]").await.is_some());
}

#[tokio::test]
async fn answers_to_many_questions() {
    const BYTES: u64 = 64 << 10;
    let target = Target::start(GatewayLimits::new().answers(BYTES, BYTES)).await;
    // Each counts as 4 KiB and its answer, which is some hundred bytes.
    for _ in 0..10 {
        soon(target.client.functions()).await.unwrap();
    }
    assert_eq!(target.gateway.stats().hits.questions, 0);
    for _ in 0..20 {
        soon(target.client.functions()).await.unwrap();
        assert!(!soon(target.client.nodes()).await.unwrap().is_empty());
    }
    assert!(target.gateway.stats().hits.questions > 0, "slower, and all of them");
    // Others have their own, and calls are no questions.
    let other = soon(Client::connect(target.gateway.ticket(Role::Client))).await.unwrap();
    let hits = target.gateway.stats().hits.questions;
    soon(other.functions()).await.unwrap();
    assert_eq!(target.gateway.stats().hits.questions, hits);
    target.serves().await;
}

#[tokio::test]
async fn who_asks_now_and_then_does_not_wait() {
    let target = Target::start(GatewayLimits::new()).await;
    for _ in 0..500 {
        soon(target.client.functions()).await.unwrap();
        soon(target.client.nodes()).await.unwrap();
    }
    assert_eq!(target.gateway.stats().hits.questions, 0);
}

#[tokio::test]
async fn calls_that_are_given_up() {
    const BURST: u32 = 50;
    let target = Target::start(GatewayLimits::new().cancels(1, BURST)).await;
    let insider = Insider::client(target.address(), &target.client_ticket()).await;
    // Each has an id of its own: a node starts none twice.
    let call = || [wire::call("never", wire::UNARY), wire::frame(wire::BODY, b"[]")].concat();
    let give_up = async || {
        let calls = target.gateway.stats().calls;
        let (mut send, mut recv) = insider.open(&call()).await;
        until(|| target.gateway.stats().calls > calls).await;
        send.reset(0u32.into()).unwrap();
        recv.stop(0u32.into()).unwrap();
        until(|| target.gateway.stats().in_flight == 0).await;
    };
    for _ in 0..BURST - 1 {
        give_up().await;
    }
    assert_eq!(target.gateway.stats().hits.throttled, 0);
    let answer = (wire::BODY, b"3".to_vec());
    assert_eq!(insider.call("add", "[1, 2]").await.unwrap(), answer);
    // One was made up for, and one more comes with every second.
    for _ in 0..2 * BURST {
        if target.gateway.stats().hits.throttled == 0 {
            give_up().await;
        }
    }
    assert!(target.gateway.stats().hits.throttled > 0);
    target.serves().await;
    assert_eq!(insider.call("add", "[1, 2]").await.unwrap(), answer, "slower, and it does work");
}

#[tokio::test]
async fn honest_clients_may_give_up_thousands_of_calls() {
    const CALLS: usize = 1_000;
    let target = Target::start(GatewayLimits::new()).await;
    for _ in 0..4 {
        let begun = target.gateway.stats().calls;
        let calls: Vec<_> = (0..CALLS).map(|_| tokio::spawn(never::call(&target.client))).collect();
        until(|| target.gateway.stats().calls == begun + CALLS as u64).await;
        calls.iter().for_each(tokio::task::JoinHandle::abort);
        until(|| target.gateway.stats().in_flight == 0).await;
        target.serves().await;
    }
    assert_eq!(target.gateway.stats().hits.throttled, 0);
}

#[tokio::test]
async fn datagrams_are_not_taken() {
    let target = Target::start(GatewayLimits::new()).await;
    let insider = Insider::client(target.address(), &target.client_ticket()).await;
    assert_eq!(insider.connection.max_datagram_size(), None);
    let unsupported = insider.connection.send_datagram(vec![0; 10].into());
    assert_eq!(unsupported, Err(quinn::SendDatagramError::UnsupportedByPeer));
}

#[tokio::test]
async fn names_with_control_characters_and_long_ones_are_refused() {
    let target = Target::start(GatewayLimits::new()).await;
    let ticket = target.gateway.ticket(Role::Node).to_string();
    let long = "x".repeat(129);
    for (id, complaint) in [
        ("gpu\x1b[2J", r#"`hello`: the name "gpu\u{1b}[2J" has control characters"#),
        ("a\nb", r#"`hello`: the name "a\nb" has control characters"#),
        (&*long, "`hello`: a name of 129 bytes; the limit is 128"),
    ] {
        let stranger = Attacker::connect(target.address()).await;
        let connection = stranger.connection.clone();
        assert!(stranger.prove(&ticket, id).await.is_none());
        assert_eq!(close_of(&connection).await, (PROTOCOL, complaint.to_owned()));
    }
    let mut fine = target.gateway.nodes().into_iter().map(|node| node.id);
    assert!(fine.all(|id| id == "honest"));
    let insider = Insider::client(target.address(), &target.client_ticket()).await;
    for name in [&*long, &"x".repeat(16 << 10)] {
        let answer = insider.call(name, "[]").await;
        assert!(answer.is_none_or(|answer| wire::kind_of(&answer) == PROTOCOL));
    }
    let (_, text) = insider.call("\x1b[2J", "[]").await.unwrap();
    assert!(!text.contains(&0x1b), "{}", String::from_utf8_lossy(&text));
    target.serves().await;
}
