//! Calls with resumable client streams: nodes that acknowledge what they cannot have, and callers
//! that go on with something else.

use common::hostile::attacker::Insider;
use common::hostile::impostor::{Impostor, next_call};
use common::hostile::wire;
use common::{soon, until};
use easyremote::node::NodeLimits;
use easyremote::{Client, ErrorKind, Executed};
use futures::stream;
use quinn::{RecvStream, SendStream};

use super::functions::{kept_sum, sum_again};
use super::kept::{ATTACHED, CONTINUE, Kept, START};
use super::target::Target;

const RECEIVED: u8 = 17;
const GAP: u64 = 21;
const NO_MORE: u64 = (1 << 62) - 1;

fn attached(received: u64) -> Vec<u8> {
    let body = [&wire::varint(1)[..], &wire::long_varint(received), &wire::string("node")].concat();
    wire::frame(ATTACHED, &body)
}

fn received(items: u64) -> Vec<u8> {
    wire::frame(RECEIVED, &wire::long_varint(items))
}

/// A gateway that says all of it itself. The caller has three items.
#[tokio::test]
async fn acknowledgements_of_what_was_not_sent() {
    let impostor = Impostor::start();
    let builder = Client::builder(&*impostor.ticket("erc_")).multiplex(false);
    let (client, connection) =
        soon(async { tokio::join!(builder.connect(), impostor.welcome()) }).await;
    let client = client.unwrap();
    let answer = wire::frame(wire::BODY, &[3]);
    for (said, refused) in [
        ([attached(0), received(4)].concat(), true),
        ([attached(0), received(NO_MORE - 1)].concat(), true),
        ([attached(0), received(2), received(1)].concat(), true),
        ([attached(4), answer.clone()].concat(), true),
        ([attached(0), attached(0)].concat(), true),
        ([received(1), attached(0)].concat(), true),
        ([attached(0), wire::frame(RECEIVED, b"")].concat(), true),
        (answer.clone(), true),
        ([attached(0), received(3), received(3), answer.clone()].concat(), false),
        ([attached(0), received(NO_MORE), received(2), answer.clone()].concat(), false),
    ] {
        let calling = tokio::spawn(kept_sum::call(&client, stream::iter([1_u64, 2, 3])));
        let (mut send, mut recv) = next_call(&connection).await;
        for expected in [wire::ITEM, wire::ITEM, wire::ITEM, wire::END] {
            assert_eq!(soon(wire::read(&mut recv)).await.unwrap().0, expected);
        }
        send.write_all(&said).await.unwrap();
        match soon(calling).await.unwrap() {
            Ok(sum) => assert!(!refused && sum == 3, "{said:?}"),
            Err(error) => {
                assert!(refused, "{said:?}: {error}");
                assert_eq!(error.kind(), ErrorKind::Protocol, "{said:?}: {error}");
                assert_ne!(error.executed(), Executed::No, "nothing of it is a proof");
            }
        }
    }
}

/// Before its node has accepted it, the call of an `idempotent` function is made again, with all that
/// was sent. Another one is not.
#[tokio::test]
async fn a_gateway_that_is_lost_before_a_node_has_accepted() {
    for again in [false, true] {
        let impostor = Impostor::start();
        let builder = Client::builder(&*impostor.ticket("erc_")).multiplex(false);
        let (client, connection) =
            soon(async { tokio::join!(builder.connect(), impostor.welcome()) }).await;
        let client = client.unwrap();
        let numbers = stream::iter([1_u64, 2, 3]);
        let calling = match again {
            true => tokio::spawn(sum_again::call(&client, numbers)),
            false => tokio::spawn(kept_sum::call(&client, numbers)),
        };
        let (_send, mut recv) = next_call(&connection).await;
        for expected in [wire::ITEM, wire::ITEM, wire::ITEM, wire::END] {
            assert_eq!(soon(wire::read(&mut recv)).await.unwrap().0, expected);
        }
        connection.close(quinn::VarInt::from_u32(0), b"");
        let connection = impostor.welcome().await;
        if again {
            let (mut send, mut recv) = next_call(&connection).await;
            for expected in [1, 2, 3] {
                let (kind, body) = soon(wire::read(&mut recv)).await.unwrap();
                assert_eq!((kind, &body[..]), (wire::ITEM, &[expected][..]));
            }
            let answer = [attached(0), received(3), wire::frame(wire::BODY, &[6])].concat();
            send.write_all(&answer).await.unwrap();
            assert_eq!(soon(calling).await.unwrap().unwrap(), 6);
        } else {
            let error = soon(calling).await.unwrap().unwrap_err();
            let seen = (error.kind(), error.executed());
            assert_eq!(seen, (ErrorKind::ConnectionLost, Executed::Maybe), "{error}");
        }
    }
}

/// Opens a leg of a call of `kept_sum` with `items`.
async fn open_leg(
    kept: Kept,
    insider: &Insider,
    step: u8,
    items: &[u8],
) -> (SendStream, RecvStream) {
    let call = kept.call("kept_sum", wire::UPLOAD, step, &[]);
    insider.open(&[&call, items].concat()).await
}

fn item(number: u8) -> Vec<u8> {
    wire::frame(wire::ITEM, number.to_string().as_bytes())
}

/// The number of items that the node says it has, in the frame that begins a leg.
async fn has(recv: &mut RecvStream) -> u64 {
    let (kind, body) = soon(wire::read(recv)).await.unwrap();
    assert_eq!(kind, ATTACHED, "{body:?}");
    let (_, every) = wire::read_varint(&body);
    wire::read_varint(&body[every..]).0
}

fn items(numbers: std::ops::Range<u8>) -> Vec<u8> {
    numbers.flat_map(item).collect()
}

fn end(n: u64) -> Vec<u8> {
    wire::frame(wire::END, &n.to_be_bytes())
}

#[tokio::test]
async fn callers_that_go_on_with_something_else() {
    let target = Target::of(|gateway| gateway).await;
    let insider = Insider::client(target.address(), &target.client_ticket()).await;
    let cut = &item(9)[..5];
    // How many items come on the first leg, what follows them there and on another leg, and whether
    // that is refused.
    for (n, tail, second, refused) in [
        (2, &b""[..], [item(2), end(3)].concat(), false),
        (1, cut, [item(9), item(3), end(3)].concat(), false),
        (1, &end(1), end(1), false),
        (1, cut, wire::frame(wire::ITEM, &[0xff; 20]), true),
        (1, b"", [item(2), end(3)].concat(), true),
        (3, b"", end(4), true),
        (1, b"", wire::frame(wire::BODY, b""), true),
    ] {
        let kept = Kept::new();
        let (first, mut recv) =
            open_leg(kept, &insider, START, &[&items(0..n)[..], tail].concat()).await;
        assert_eq!(has(&mut recv).await, 0);
        // A leg that is dropped is a caller that cancels.
        let mut legs = vec![(first, recv)];
        loop {
            let (mut more, mut recv) = open_leg(kept, &insider, CONTINUE, b"").await;
            let there = has(&mut recv).await;
            // What the leg before has not brought any more comes again.
            let missing = if there < u64::from(n) { items(there as u8..n) } else { Vec::new() };
            let next = if missing.is_empty() { &second } else { &missing };
            // An error means that it has been refused.
            let _ = more.write_all(next).await;
            legs.push((more, recv));
            if missing.is_empty() {
                break;
            }
        }
        let (_, continued) = legs.last_mut().unwrap();
        let last = loop {
            match soon(wire::read(continued)).await {
                Some((RECEIVED, _)) => {}
                Some((kind, _)) => break kind,
                // Without an error frame the leg was reset.
                None => break wire::ERROR,
            }
        };
        assert_eq!(last, if refused { wire::ERROR } else { wire::BODY }, "{n} {tail:?} {second:?}");
        drop(legs);
        until(|| target.node.stats().in_flight == 0).await;
        target.serves().await;
    }
    let (_send, mut recv) = open_leg(Kept::new(), &insider, CONTINUE, b"").await;
    assert_eq!(wire::kind_of(&soon(wire::read(&mut recv)).await.unwrap()), GAP);
    until(|| target.gateway.stats().in_flight == 0).await;
}

/// Results are no items, so that nobody can have taken any.
#[tokio::test]
async fn callers_that_claim_to_have_taken_what_there_is_not() {
    let target = Target::of(|gateway| gateway).await;
    let insider = Insider::client(target.address(), &target.client_ticket()).await;
    let kept = Kept::new();
    let (first, mut recv) = open_leg(kept, &insider, START, &item(1)).await;
    assert_eq!(has(&mut recv).await, 0);
    for taken in [1, 1 << 20, NO_MORE] {
        let claims = Kept { taken, ..kept };
        for step in [START, CONTINUE] {
            let claims = Kept { id: if step == START { [7; 16] } else { kept.id }, ..claims };
            let (_send, mut recv) = open_leg(claims, &insider, step, b"").await;
            let answer = soon(wire::read(&mut recv)).await.unwrap();
            assert_eq!(wire::kind_of(&answer), GAP, "{step} {taken}");
        }
    }
    // The call itself goes on.
    let (_second, mut recv) = open_leg(kept, &insider, CONTINUE, b"").await;
    assert!(has(&mut recv).await <= 1);
    drop((first, _second, recv));
    insider.connection.close(quinn::VarInt::from_u32(12 * 4 + 1), b"for good");
    until(|| target.gateway.stats().in_flight == 0 && target.node.stats().in_flight == 0).await;
    target.serves().await;
}

/// The result is kept until its caller has it, which may never say so. What one identity can make the
/// node keep has a limit.
#[tokio::test]
async fn callers_that_never_say_that_they_have_the_result() {
    // A quarter is the share of an identity: two calls.
    let limits = NodeLimits::new().kept(4 * (32 << 10));
    let target = Target::with(|gateway| gateway, |node| node.limits(limits)).await;
    let insider = Insider::client(target.address(), &target.client_ticket()).await;
    let mut open = Vec::new();
    let refused = loop {
        let all = [items(1..4), end(3)].concat();
        let (send, mut recv) = open_leg(Kept::new(), &insider, START, &all).await;
        let answer = loop {
            let frame = soon(wire::read(&mut recv)).await.unwrap();
            if ![ATTACHED, RECEIVED].contains(&frame.0) {
                break frame;
            }
        };
        if answer.0 == wire::ERROR {
            break answer;
        }
        assert_eq!(answer, (wire::BODY, b"6".to_vec()));
        open.push((send, recv));
        assert!(open.len() <= 2, "one more than the share of an identity");
    };
    assert_eq!(wire::kind_of(&refused), wire::OVERLOADED);
    assert_eq!(open.len(), 2);
    // They hold nothing but that.
    until(|| target.node.stats().in_flight == 0).await;
    target.serves().await;
    // It is free once they leave.
    insider.connection.close(quinn::VarInt::from_u32(12 * 4 + 1), b"for good");
    let honest = async || kept_sum::call(&target.client, stream::iter([1_u64, 2])).await;
    soon(async { while honest().await.is_err() {} }).await;
    until(|| target.gateway.stats().in_flight == 0).await;
}
