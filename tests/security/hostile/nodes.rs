//! Hostile nodes, and what becomes of the callers that meet them.

use std::collections::BTreeMap;

use common::hostile::attacker::{Attacker, Insider, close_of, token};
use common::hostile::{mux, wire};
use common::{soon, until};
use easyremote::gateway::GatewayLimits;
use easyremote::{CallError, Client, Error, ErrorKind, Executed, Options, Retry, Role};
use futures::StreamExt;
use quinn::{RecvStream, SendStream};
use serde_json::{Value, json};

use super::functions::add;
use super::target::Target;

const FUNCTIONS: [(&str, u8); 2] = [("answer", wire::UNARY), ("items", wire::STREAM)];

async fn world() -> (Target, Insider) {
    let target = Target::start(GatewayLimits::new()).await;
    let ticket = target.gateway.ticket(Role::Node).to_string();
    let node = Insider::node(target.address(), &ticket, &FUNCTIONS).await;
    (target, node)
}

async fn next_call(node: &Insider) -> (SendStream, RecvStream) {
    common::hostile::impostor::next_call(&node.connection).await
}

fn remote<E: std::fmt::Debug>(error: CallError<E>) -> Error {
    let CallError::Remote(error) = error else { panic!("{error:?}") };
    error
}

#[tokio::test]
async fn nonsense_for_an_answer() {
    let (target, node) = world().await;
    let twice = [wire::frame(wire::BODY, b"1"), wire::frame(wire::BODY, b"2")].concat();
    for (answer, kind) in [
        (&b"\xff\xff\xff\xff\xff\xff"[..], ErrorKind::Protocol),
        (&wire::begun(wire::BODY, u32::MAX), ErrorKind::Protocol),
        (&wire::begun(wire::CONTROL, 1 << 20), ErrorKind::Protocol),
        (&wire::frame(wire::OPEN, b""), ErrorKind::Protocol),
        (&wire::frame(wire::ERROR, b""), ErrorKind::Protocol),
        (&wire::frame(wire::BODY, b"{"), ErrorKind::BadResponse),
        (&wire::begun(wire::BODY, 100), ErrorKind::Protocol),
        (&twice, ErrorKind::Protocol),
        (b"", ErrorKind::Protocol),
    ] {
        let calling = tokio::spawn(target.client.call_json("answer", json!([])));
        let (mut send, _recv) = next_call(&node).await;
        send.write_all(answer).await.unwrap();
        send.finish().unwrap();
        let error = remote(soon(calling).await.unwrap().unwrap_err());
        assert_eq!(error.kind(), kind, "{answer:?}: {error}");
        assert_ne!(error.executed(), Executed::No, "{answer:?}: nothing of it is a proof");
        target.serves().await;
    }
    until(|| target.gateway.stats().in_flight == 0).await;
}

#[tokio::test]
async fn streams_that_lie_about_their_end() {
    let (target, node) = world().await;
    let item = [wire::frame(wire::OPEN, b""), wire::frame(wire::ITEM, b"7")].concat();
    let end = |n: u64| wire::frame(wire::END, &n.to_be_bytes());
    for answer in [
        [&item[..], &end(2)].concat(),
        [&item[..], &end(0)].concat(),
        [&item[..], &wire::frame(wire::END, b"")].concat(),
        item.clone(),
    ] {
        let items = target.client.stream_json("items", json!([]));
        let reading = tokio::spawn(items.collect::<Vec<_>>());
        let (mut send, _recv) = next_call(&node).await;
        send.write_all(&answer).await.unwrap();
        send.finish().unwrap();
        let mut got = soon(reading).await.unwrap();
        let error = remote(got.pop().unwrap().unwrap_err());
        assert_eq!((error.kind(), error.delivered()), (ErrorKind::Protocol, 1), "{error}");
        assert_eq!(got.pop().unwrap().unwrap(), json!(7));
    }
}

#[tokio::test]
async fn items_after_the_end() {
    let (target, node) = world().await;
    let mut items = target.client.stream_json("items", json!([]));
    let reading = tokio::spawn(async move { items.next().await });
    let (mut send, _recv) = next_call(&node).await;
    let ended = [wire::frame(wire::OPEN, b""), wire::frame(wire::END, &[0; 8])].concat();
    send.write_all(&ended).await.unwrap();
    assert!(soon(reading).await.unwrap().is_none());
    // The gateway takes none of what follows.
    let item = wire::frame(wire::ITEM, b"7");
    soon(async { while send.write_all(&item).await.is_ok() {} }).await;
    until(|| target.gateway.stats().in_flight == 0).await;
    target.serves().await;
}

#[tokio::test]
async fn arguments_that_nobody_reads() {
    let (target, node) = world().await;
    let big: Value = "x".repeat(4 << 20).into();
    let calling = tokio::spawn(target.client.call_json("answer", json!([big])));
    let (mut send, recv) = soon(node.connection.accept_bi()).await.unwrap();
    // Others go on while this one stands still.
    for _ in 0..100 {
        target.serves().await;
    }
    send.write_all(&wire::frame(wire::BODY, b"1")).await.unwrap();
    send.finish().unwrap();
    assert_eq!(soon(calling).await.unwrap().unwrap(), json!(1));
    drop(recv);
}

#[tokio::test]
async fn a_flood_of_control_messages() {
    let target = Target::start(GatewayLimits::new()).await;
    let (attacker, mut send, recv) = talker(&target).await;
    // Pings whose echoes it does not read.
    let pings = wire::frame(wire::CONTROL, &[6, 0]).repeat(10_000);
    soon(async { while send.write_all(&pings).await.is_ok() {} }).await;
    assert_eq!(close_of(&attacker.connection).await.0, 8, "too large");
    until(|| target.gateway.stats().nodes == 1).await;
    assert_eq!(soon(add::call(&target.client, 1, 2)).await.unwrap(), 3);
    drop(recv);
}

/// A node that has registered, and sends what it likes on its control stream.
async fn talker(target: &Target) -> (Attacker, SendStream, RecvStream) {
    let ticket = target.gateway.ticket(Role::Node).to_string();
    let (role, token) = token(&ticket);
    let attacker = Attacker::connect(target.address()).await;
    let (mut send, mut recv) = soon(attacker.connection.open_bi()).await.unwrap();
    let hello = wire::hello(&attacker.connection, role, &token, "hostile");
    send.write_all(&[hello, wire::register(&FUNCTIONS)].concat()).await.unwrap();
    // Nothing may come before it is registered.
    for expected in [2, 5] {
        assert_eq!(soon(wire::message(&mut send, &mut recv)).await.unwrap()[0], expected);
    }
    (attacker, send, recv)
}

/// A report of these gauges.
fn gauges(all: &[(Vec<u8>, f64)]) -> Vec<u8> {
    let mut body = vec![130];
    body.extend(wire::packed(all.len() as u64));
    for (name, value) in all {
        body.extend(wire::packed_string(name));
        body.extend(value.to_le_bytes());
    }
    wire::frame(wire::CONTROL, &body)
}

fn gauges_of_hostile(target: &Target) -> Option<BTreeMap<String, f64>> {
    let nodes = target.gateway.nodes();
    nodes.into_iter().find(|node| node.id == "hostile").map(|node| node.gauges)
}

#[tokio::test]
async fn gauges_without_sense() {
    let target = Target::start(GatewayLimits::new()).await;
    let (_attacker, mut send, _recv) = talker(&target).await;
    let report = gauges(&[
        (b"fine".to_vec(), 1.5),
        (b"".to_vec(), 1.0),
        (b"a b".to_vec(), 1.0),
        (b"quote\"} 1".to_vec(), 1.0),
        ("\u{e4}".into(), 1.0),
        (b"x".repeat(65), 1.0),
        (b"nan".to_vec(), f64::NAN),
        (b"infinite".to_vec(), f64::INFINITY),
    ]);
    send.write_all(&report).await.unwrap();
    let fine = Some([("fine".to_owned(), 1.5)].into());
    until(|| gauges_of_hostile(&target) == fine).await;
    target.serves().await;
    // An empty report removes what there was.
    send.write_all(&gauges(&[])).await.unwrap();
    until(|| gauges_of_hostile(&target) == Some(BTreeMap::new())).await;
}

#[tokio::test]
async fn gauges_beyond_limits() {
    let target = Target::start(GatewayLimits::new()).await;
    let many = |n: usize| -> Vec<_> { (0..n).map(|i| (format!("g{i}").into(), 1.0)).collect() };
    let cut = gauges(&many(3));
    let endless = [&[130][..], &wire::packed(u64::MAX)].concat();
    for report in [
        gauges(&many(33)),
        gauges(&[(b"x".repeat(1 << 10), 1.0)]),
        gauges(&[(b"line\nfeed".to_vec(), 1.0)]),
        gauges(&[(b"\xff\xfe".to_vec(), 1.0)]),
        wire::frame(wire::CONTROL, &cut[5..cut.len() - 1]),
        wire::frame(wire::CONTROL, &endless),
    ] {
        let (attacker, mut send, _recv) = talker(&target).await;
        send.write_all(&report).await.unwrap();
        assert_eq!(attacker.end().await.0, wire::PROTOCOL, "{report:?}");
        until(|| target.gateway.stats().nodes == 1).await;
        target.serves().await;
    }
}

#[tokio::test]
async fn a_flood_of_gauges() {
    let target = Target::start(GatewayLimits::new()).await;
    let (_attacker, mut send, _recv) = talker(&target).await;
    let most: Vec<_> = (0..32).map(|i| (format!("{i:x>64}").into(), f64::from(i))).collect();
    let flood = gauges(&most).repeat(100);
    let flooding = async { while send.write_all(&flood).await.is_ok() {} };
    let others = async {
        for n in 0..1_000 {
            assert_eq!(soon(add::call(&target.client, n, 1)).await.unwrap(), n + 1);
        }
    };
    tokio::select! {
        () = flooding => {}
        () = others => {}
    }
    target.serves().await;
    assert!(gauges_of_hostile(&target).is_none_or(|gauges| gauges.len() <= 32));
}

#[tokio::test]
async fn answers_to_nothing() {
    let (target, node) = world().await;
    // A node may make calls, and those of nobody's function are refused.
    let (mut send, mut recv) = node.open(&wire::frame(wire::BODY, b"3")).await;
    send.finish().unwrap();
    let answer = soon(wire::read(&mut recv)).await.unwrap();
    assert_eq!(wire::kind_of(&answer), common::hostile::wire::PROTOCOL);
    target.serves().await;
}

/// The kinds of errors that a node may refuse a call with before it starts; the others are what
/// becomes of a function that has run, or what only a gateway can know. A middleware of the node may
/// not know its caller.
const REFUSALS: [u64; 13] = [1, 2, 4, 5, 6, 7, 8, 9, 11, 12, 16, 19, 20];

/// An error of this kind, of which the node says that its function has not started.
fn denial(kind: u64) -> Vec<u8> {
    wire::frame(wire::ERROR, &[&wire::varint(kind)[..], &[0, 0, 0, 0, 0]].concat())
}

fn believed(kind: u64) -> Executed {
    if REFUSALS.contains(&kind) { Executed::No } else { Executed::Maybe }
}

#[tokio::test]
async fn functions_that_have_run_and_are_denied() {
    let (target, node) = world().await;
    let client = target.client.with(Options::new().retry(Retry::never()));
    for kind in 1..=20 {
        for arguments in [1, 64 << 10] {
            let calling = client.call_json("answer", json!(["x".repeat(arguments)]));
            let calling = tokio::spawn(calling);
            let (mut send, _recv) = next_call(&node).await;
            send.write_all(&denial(kind)).await.unwrap();
            send.finish().unwrap();
            let error = remote(soon(calling).await.unwrap().unwrap_err());
            assert_eq!(error.executed(), believed(kind), "{kind}: {error:?}");
        }
        // After an item nothing can be denied, in one piece or in many.
        for pieces in [1, 3] {
            let items = client.stream_json("items", json!([]));
            let reading = tokio::spawn(items.collect::<Vec<_>>());
            let (mut send, _recv) = next_call(&node).await;
            let begun = [wire::frame(wire::OPEN, b""), wire::frame(wire::ITEM, b"7")].concat();
            let answer = [begun, denial(kind)].concat();
            for piece in answer.chunks(answer.len().div_ceil(pieces)) {
                send.write_all(piece).await.unwrap();
                tokio::task::yield_now().await;
            }
            send.finish().unwrap();
            let error = remote(soon(reading).await.unwrap().pop().unwrap().unwrap_err());
            assert_eq!((error.executed(), error.delivered()), (Executed::Yes, 1), "{error:?}");
        }
    }
}

#[tokio::test]
async fn functions_that_have_run_and_are_denied_on_the_mux() {
    let (target, node) = world().await;
    let client = soon(Client::connect(target.gateway.ticket(Role::Client))).await.unwrap();
    let client = client.with(Options::new().retry(Retry::never()));
    let mut mux = None;
    for kind in 1..=20 {
        let calling = tokio::spawn(client.call_json("answer", json!([])));
        if mux.is_none() {
            mux = Some(mux::accept(&node.connection).await);
        }
        let (send, recv) = mux.as_mut().unwrap();
        let (id, _) = soon(mux::read(recv)).await.unwrap();
        send.write_all(&mux::message(id, &denial(kind))).await.unwrap();
        let error = remote(soon(calling).await.unwrap().unwrap_err());
        assert_eq!(error.executed(), believed(kind), "{kind}: {error:?}");
    }
}
