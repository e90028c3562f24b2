//! Peers that break the rules of the multiplexed stream, which small calls share.

use std::time::Duration;

use common::hostile::attacker::{Insider, close_of};
use common::hostile::impostor::Impostor;
use common::hostile::mux::{accept, call, message, opening, read};
use common::hostile::wire::{self, OVERLOADED, PROTOCOL, TOO_LARGE};
use common::{soon, until};
use easyremote::client::ClientLimits;
use easyremote::gateway::GatewayLimits;
use easyremote::node::NodeLimits;
use easyremote::{Client, ErrorKind, Executed, Node, Role, functions};
use futures::future::join_all;
use quinn::RecvStream;
use serde_json::json;

use super::functions::{add, never};
use super::target::Target;

/// The next message that is an answer: the end of a call that was given up has no frames.
async fn answer(recv: &mut RecvStream) -> Option<(u64, Vec<u8>)> {
    loop {
        let message = read(recv).await?;
        if !message.1.is_empty() {
            return Some(message);
        }
    }
}

/// The frame that the frames of a message are.
fn only(frames: &[u8]) -> wire::Frame {
    assert_eq!(frames.len(), 5 + u32::from_be_bytes(frames[1..5].try_into().unwrap()) as usize);
    (frames[0], frames[5..].to_vec())
}

#[tokio::test]
async fn who_breaks_the_mux_loses_the_connection_and_nobody_else_does() {
    let target = Target::start(GatewayLimits::new()).await;
    let twice = [call(7, "never", "[]"), call(7, "never", "[]")].concat();
    for bytes in [&[0; 12][..], &[0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 0], &[0xff; 100], &twice] {
        let insider = Insider::client(target.address(), &target.client_ticket()).await;
        let _stream = insider.open(&[&opening(), bytes].concat()).await;
        assert_eq!(close_of(&insider.connection).await.0, PROTOCOL, "{:?}", &bytes[..4]);
        target.serves().await;
    }
    let insider = Insider::client(target.address(), &target.client_ticket()).await;
    let (_one, _other) = (insider.open(&opening()).await, insider.open(&opening()).await);
    assert_eq!(close_of(&insider.connection).await.0, PROTOCOL, "a second multiplexed stream");
    until(|| target.gateway.stats().in_flight == 0 && target.node.stats().in_flight == 0).await;
}

#[tokio::test]
async fn what_is_wrong_in_a_message_concerns_that_call_only() {
    let target = Target::start(GatewayLimits::new()).await;
    let insider = Insider::client(target.address(), &target.client_ticket()).await;
    let (mut send, mut recv) = insider.open(&opening()).await;
    let header = |kind| wire::call("add", kind);
    let body = wire::frame(wire::BODY, b"[1, 2]");
    let wrong = [
        body.clone(),
        wire::frame(wire::HEADER, b"nonsense"),
        header(wire::UNARY),
        [header(wire::UNARY), body.clone(), body.clone()].concat(),
        [header(wire::UNARY), wire::begun(wire::BODY, 100)].concat(),
        [header(wire::UNARY), wire::frame(wire::ITEM, b"1")].concat(),
        [header(wire::STREAM), body.clone()].concat(),
        [header(wire::UPLOAD), body.clone()].concat(),
        vec![0xff; 30],
    ];
    for (id, frames) in wrong.iter().enumerate() {
        send.write_all(&message(id as u64, frames)).await.unwrap();
        let (answered, frames) = soon(read(&mut recv)).await.unwrap();
        assert_eq!(answered, id as u64);
        assert_eq!(wire::kind_of(&only(&frames)), PROTOCOL, "{id}");
    }
    // Giving up what is not there is nothing.
    send.write_all(&message(4_711, b"")).await.unwrap();
    send.write_all(&call(99, "add", "[1, 2]")).await.unwrap();
    assert_eq!(soon(read(&mut recv)).await, Some((99, wire::frame(wire::BODY, b"3"))));
    target.serves().await;
}

#[tokio::test]
async fn calls_beyond_the_limit_are_refused() {
    let target = Target::start(GatewayLimits::new().calls_per_peer(2)).await;
    let insider = Insider::client(target.address(), &target.client_ticket()).await;
    let (mut send, mut recv) = insider.open(&opening()).await;
    let calls: Vec<_> = (0..2).map(|id| call(id, "never", "[]")).collect();
    send.write_all(&calls.concat()).await.unwrap();
    send.write_all(&call(2, "add", "[1, 2]")).await.unwrap();
    let (id, frames) = soon(read(&mut recv)).await.unwrap();
    assert_eq!((id, wire::kind_of(&only(&frames))), (2, OVERLOADED));
    // One is given up, and when that is confirmed there is room for another.
    send.write_all(&message(1, b"")).await.unwrap();
    assert_eq!(soon(read(&mut recv)).await, Some((1, Vec::new())));
    send.write_all(&call(3, "add", "[1, 2]")).await.unwrap();
    assert_eq!(soon(read(&mut recv)).await, Some((3, wire::frame(wire::BODY, b"3"))));
    target.serves().await;
}

#[tokio::test]
async fn arguments_on_the_mux_have_16_kib() {
    let target = Target::start(GatewayLimits::new()).await;
    let insider = Insider::client(target.address(), &target.client_ticket()).await;
    let (mut send, mut recv) = insider.open(&opening()).await;
    for (length, expected) in [(16 << 10, None), ((16 << 10) + 1, Some(TOO_LARGE))] {
        let arguments = format!("[1, {:>1$}]", 2, length - 5);
        send.write_all(&call(7, "add", &arguments)).await.unwrap();
        let (id, frames) = soon(read(&mut recv)).await.unwrap();
        let answer = only(&frames);
        let kind = (answer.0 == wire::ERROR).then(|| wire::kind_of(&answer));
        assert_eq!((id, kind), (7, expected), "{length} bytes");
    }
    assert_eq!(target.node.stats().calls, 1, "it is the gateway that refuses");
    target.serves().await;
}

#[tokio::test]
async fn calls_that_are_given_up_on_the_mux() {
    const BURST: u64 = 50;
    let target = Target::start(GatewayLimits::new().cancels(1, BURST as u32)).await;
    let insider = Insider::client(target.address(), &target.client_ticket()).await;
    let (mut send, mut recv) = insider.open(&opening()).await;
    let given_up = |id| [call(id, "never", "[]"), message(id, b"")].concat();
    let some: Vec<_> = (1..BURST).map(given_up).collect();
    send.write_all(&some.concat()).await.unwrap();
    send.write_all(&call(0, "add", "[1, 2]")).await.unwrap();
    assert_eq!(soon(answer(&mut recv)).await, Some((0, wire::frame(wire::BODY, b"3"))));
    assert_eq!(target.gateway.stats().hits.throttled, 0);
    let more: Vec<_> = (0..20 * BURST).map(given_up).collect();
    send.write_all(&more.concat()).await.unwrap();
    until(|| target.gateway.stats().hits.throttled > 0).await;
    target.serves().await;
}

#[tokio::test]
async fn a_long_answer_has_to_get_on() {
    let short = Duration::from_millis(300);
    let target = Target::start(GatewayLimits::new().progress_timeout(short)).await;
    let ticket = target.gateway.ticket(Role::Node).to_string();
    let node = Insider::node(target.address(), &ticket, &[("lame", wire::UNARY)]).await;
    let client = soon(Client::connect(target.gateway.ticket(Role::Client))).await.unwrap();
    let ask = || tokio::spawn(client.call_json("lame", json!([])));
    let mut calling = Some(ask());
    let (_send, mut recv) = accept(&node.connection).await;
    // Before the gateway has begun to pass it on, and after that.
    for (n, length) in [(1, 100), (2, 64 << 10)] {
        let calling = calling.take().unwrap_or_else(ask);
        let (id, _) = soon(read(&mut recv)).await.unwrap();
        let mut moved = soon(node.connection.open_uni()).await.unwrap();
        let first = wire::frame(wire::OVERFLOW, &id.to_be_bytes());
        let answer = [first, wire::begun(wire::BODY, 1 << 20), vec![b' '; length]].concat();
        moved.write_all(&answer).await.unwrap();
        let error = soon(calling).await.unwrap().unwrap_err();
        let easyremote::CallError::Remote(error) = error else { panic!("{error:?}") };
        assert_eq!((error.kind(), error.executed()), (ErrorKind::Protocol, Executed::Yes));
        assert_eq!(target.gateway.stats().hits.progress_timeouts, n, "{error}");
    }
    target.serves().await;
}

#[tokio::test]
async fn a_node_that_answers_nonsense_on_its_mux() {
    let target = Target::start(GatewayLimits::new()).await;
    let ticket = target.gateway.ticket(Role::Node).to_string();
    let functions = [("answer", wire::UNARY)];
    let node = Insider::node(target.address(), &ticket, &functions).await;
    let client = soon(Client::connect(target.gateway.ticket(Role::Client))).await.unwrap();
    let ask = || tokio::spawn(client.call_json("answer", json!([])));
    let calling = ask();
    let (mut send, mut recv) = accept(&node.connection).await;
    let mut calling = Some(calling);
    for answer in [
        wire::frame(wire::OPEN, b""),
        wire::frame(wire::BODY, b"1").repeat(2),
        wire::begun(wire::BODY, 100),
        vec![0xff; 20],
    ] {
        let calling = calling.take().unwrap_or_else(ask);
        let (id, _) = soon(read(&mut recv)).await.unwrap();
        // Answers to what nobody has asked, by message and by stream, are nobody's.
        send.write_all(&message(id ^ 1 << 40, &wire::frame(wire::BODY, b"7"))).await.unwrap();
        let mut moved = soon(node.connection.open_uni()).await.unwrap();
        moved.write_all(&wire::frame(wire::OVERFLOW, &[9; 8])).await.unwrap();
        send.write_all(&message(id, &answer)).await.unwrap();
        let error = soon(calling).await.unwrap().unwrap_err();
        let easyremote::CallError::Remote(error) = error else { panic!("{error:?}") };
        assert_eq!(error.kind(), ErrorKind::Protocol, "{answer:?}: {error}");
        assert_ne!(error.executed(), Executed::No, "nothing of it is a proof");
        target.serves().await;
    }
    // What is no message ends its connection, and its calls with it.
    let calling = ask();
    soon(read(&mut recv)).await.unwrap();
    send.write_all(&[0; 12]).await.unwrap();
    let error = soon(calling).await.unwrap().unwrap_err();
    let easyremote::CallError::Remote(error) = error else { panic!("{error:?}") };
    assert_eq!((error.kind(), error.executed()), (ErrorKind::NodeLost, Executed::Maybe));
    assert_eq!(close_of(&node.connection).await.0, PROTOCOL);
    until(|| target.gateway.stats().in_flight == 0).await;
    target.serves().await;
}

#[tokio::test]
async fn a_gateway_that_answers_nonsense_on_a_mux() {
    let impostor = Impostor::start();
    let builder =
        Client::builder(&*impostor.ticket("erc_")).limits(ClientLimits::new().max_message(1 << 20));
    let (client, connection) = tokio::join!(builder.connect(), impostor.welcome());
    let client = client.unwrap();
    let calling = tokio::spawn(add::call(&client, 1, 2));
    let (mut send, mut recv) = accept(&connection).await;
    let mut calling = Some(calling);
    for (answer, kind) in [
        (wire::frame(wire::HEADER, b""), ErrorKind::Protocol),
        (wire::frame(wire::BODY, &[6]).repeat(2), ErrorKind::Protocol),
        (wire::begun(wire::BODY, u32::MAX), ErrorKind::TooLarge),
        (wire::begun(wire::BODY, 100), ErrorKind::Protocol),
        (wire::frame(wire::ERROR, b""), ErrorKind::Protocol),
        (wire::frame(wire::BODY, &[2, 2]), ErrorKind::BadResponse),
    ] {
        let calling = calling.take().unwrap_or_else(|| tokio::spawn(add::call(&client, 1, 2)));
        let (id, _) = soon(read(&mut recv)).await.unwrap();
        send.write_all(&message(!id, &wire::frame(wire::BODY, &[8]))).await.unwrap();
        send.write_all(&message(id, &answer)).await.unwrap();
        let error = soon(calling).await.unwrap().unwrap_err();
        assert_eq!(error.kind(), kind, "{answer:?}: {error}");
        assert_ne!(error.executed(), Executed::No, "nothing of it is a proof");
    }
    // An answer on a stream of its own that is too long, breaks off, or is for nobody.
    for (bytes, kind) in [
        (wire::begun(wire::BODY, 2 << 20), ErrorKind::TooLarge),
        (wire::begun(wire::BODY, 1 << 10), ErrorKind::Protocol),
        (Vec::new(), ErrorKind::Protocol),
    ] {
        let calling = tokio::spawn(add::call(&client, 1, 2));
        let (id, _) = soon(read(&mut recv)).await.unwrap();
        for id in [!id, id] {
            let mut moved = soon(connection.open_uni()).await.unwrap();
            let first = wire::frame(wire::OVERFLOW, &id.to_be_bytes());
            let _ = moved.write_all(&[first, bytes.clone()].concat()).await;
            let _ = moved.finish();
        }
        let error = soon(calling).await.unwrap().unwrap_err();
        assert_eq!((error.kind(), error.executed()), (kind, Executed::Yes), "{error}");
    }
    // The client is as good as before, also when the multiplexed stream is gone.
    let calling = tokio::spawn(add::call(&client, 1, 2));
    let (id, _) = soon(read(&mut recv)).await.unwrap();
    send.write_all(&message(id, &wire::frame(wire::BODY, &[6]))).await.unwrap();
    assert_eq!(soon(calling).await.unwrap().unwrap(), 3);
    let calls: Vec<_> = (0..3).map(|_| tokio::spawn(add::call(&client, 1, 2))).collect();
    for _ in &calls {
        soon(read(&mut recv)).await.unwrap();
    }
    send.write_all(&[0; 12]).await.unwrap();
    for ended in soon(join_all(calls)).await {
        let error = ended.unwrap().unwrap_err();
        assert_eq!((error.kind(), error.executed()), (ErrorKind::ConnectionLost, Executed::Maybe));
    }
}

/// A call as a gateway passes it on.
fn passed_on(id: u64, function: &str, arguments: &str) -> Vec<u8> {
    let header = wire::call_of_someone(function, wire::UNARY);
    message(id, &[header, wire::frame(wire::BODY, arguments.as_bytes())].concat())
}

#[tokio::test]
async fn a_node_has_limited_room_for_arguments_on_the_mux() {
    let impostor = Impostor::start();
    // Room for one long message, such as that of a call that waits until another one has ended.
    let node = Node::builder(&*impostor.ticket("ern_"));
    let node = node
        .limits(NodeLimits::new().max_message(16 << 10).max_unfinished(20 << 10))
        .concurrency(1)
        .functions(functions![add, never]);
    let serving = tokio::spawn(node.serve());
    let connection = impostor.register().await;
    let _node = soon(serving).await.unwrap().unwrap();
    let (mut send, mut recv) = soon(connection.open_bi()).await.unwrap();
    let arguments = format!("[1, {:>1$}]", 2, (16 << 10) - 5);
    let first = [opening(), passed_on(1, "never", "[]")].concat();
    send.write_all(&first).await.unwrap();
    for id in [2, 3] {
        send.write_all(&passed_on(id, "add", &arguments)).await.unwrap();
    }
    let (id, frames) = soon(read(&mut recv)).await.unwrap();
    assert_eq!((id, wire::kind_of(&only(&frames))), (3, OVERLOADED));
    // Given up, the first makes way for the second, and that for another.
    send.write_all(&message(1, b"")).await.unwrap();
    assert_eq!(soon(read(&mut recv)).await, Some((1, Vec::new())));
    assert_eq!(soon(read(&mut recv)).await, Some((2, wire::frame(wire::BODY, b"3"))));
    send.write_all(&passed_on(4, "add", &arguments)).await.unwrap();
    assert_eq!(soon(read(&mut recv)).await, Some((4, wire::frame(wire::BODY, b"3"))));
}

#[tokio::test]
async fn a_gateway_that_breaks_a_nodes_mux() {
    let call = passed_on;
    let twice = [call(7, "never", "[]"), call(7, "never", "[]")].concat();
    let too_many: Vec<_> = (10..8_210).map(|id| call(id, "never", "[]")).collect();
    for bytes in [&[0; 12][..], &[0xff; 50], &twice, &too_many.concat()] {
        let impostor = Impostor::start();
        let node = Node::builder(&*impostor.ticket("ern_")).functions(functions![add, never]);
        let serving = tokio::spawn(node.serve());
        let connection = impostor.register().await;
        let node = soon(serving).await.unwrap().unwrap();
        let (mut send, mut recv) = soon(connection.open_bi()).await.unwrap();
        send.write_all(&opening()).await.unwrap();
        // What is wrong in a message is answered.
        let at_most = format!("[1, {:>1$}]", 2, (16 << 10) - 5);
        for (id, message, expected) in [
            (1, message(1, &[0xff; 30]), (wire::ERROR, Some(PROTOCOL))),
            (2, call(2, "add", &at_most), (wire::BODY, None)),
            (3, call(3, "add", &(at_most + " ")), (wire::ERROR, Some(TOO_LARGE))),
        ] {
            send.write_all(&message).await.unwrap();
            let (answered, frames) = soon(read(&mut recv)).await.unwrap();
            let answer = only(&frames);
            let kind = (answer.0 == wire::ERROR).then(|| wire::kind_of(&answer));
            assert_eq!((answered, (answer.0, kind)), (id, expected));
        }
        send.write_all(bytes).await.unwrap();
        assert_eq!(close_of(&connection).await.0, PROTOCOL);
        until(|| node.stats().in_flight == 0).await;
    }
}

/// Only a call that was given up ends without an answer.
#[tokio::test]
async fn a_peer_that_releases_a_call_that_waits() {
    let target = Target::start(GatewayLimits::new()).await;
    let ticket = target.gateway.ticket(Role::Node).to_string();
    let node = Insider::node(target.address(), &ticket, &[("answer", wire::UNARY)]).await;
    let client = soon(Client::connect(target.gateway.ticket(Role::Client))).await.unwrap();
    let calling = tokio::spawn(client.call_json("answer", json!([])));
    let (mut send, mut recv) = accept(&node.connection).await;
    let (id, _) = soon(read(&mut recv)).await.unwrap();
    send.write_all(&message(id, b"")).await.unwrap();
    let error = soon(calling).await.unwrap().unwrap_err();
    let easyremote::CallError::Remote(error) = error else { panic!("{error:?}") };
    assert_eq!((error.kind(), error.executed()), (ErrorKind::NodeLost, Executed::Maybe));
    assert_eq!(close_of(&node.connection).await.0, PROTOCOL);
    target.serves().await;

    let impostor = Impostor::start();
    let builder = Client::builder(&*impostor.ticket("erc_"));
    let (client, connection) = tokio::join!(builder.connect(), impostor.welcome());
    let client = client.unwrap();
    let calling = tokio::spawn(add::call(&client, 1, 2));
    let (mut send, mut recv) = accept(&connection).await;
    let (id, _) = soon(read(&mut recv)).await.unwrap();
    send.write_all(&message(id, b"")).await.unwrap();
    let error = soon(calling).await.unwrap().unwrap_err();
    assert_eq!((error.kind(), error.executed()), (ErrorKind::ConnectionLost, Executed::Maybe));
    assert_eq!(close_of(&connection).await.0, PROTOCOL);
}
