//! What readers say that they have taken, and nodes that they have left out.

use common::hostile::attacker::Insider;
use common::hostile::wire::{self, Frame};
use common::{soon, until};
use easyremote::gateway::GatewayLimits;
use easyremote::{CallError, ErrorKind, Role};
use futures::StreamExt;
use quinn::{RecvStream, SendStream};
use serde_json::json;

use super::target::Target;

/// A call of an endless stream, of which one item is on its way at a time; without `demand` it does
/// not say that it will tell what it has taken.
fn call(demand: bool, operators: &[u8]) -> Vec<u8> {
    let mut options = [&[13][..], &wire::string(operators)].concat();
    if demand {
        options.extend([21, 0]);
    }
    let header = wire::call("numbers", wire::STREAM);
    let header = wire::frame(wire::HEADER, &[&header[5..], &options].concat());
    [header, wire::frame(wire::BODY, b"[]")].concat()
}

const LATEST: &[u8] = &[5];
const EVERY: &[u8] = &[3, 1];

fn taken(items: u64) -> Vec<u8> {
    wire::frame(wire::TAKEN, &wire::varint(items))
}

/// A stream of which one item has been read.
async fn one_item(insider: &Insider) -> (SendStream, RecvStream) {
    let (send, mut recv) = insider.open(&call(true, LATEST)).await;
    for expected in [wire::OPEN, wire::ITEM] {
        assert_eq!(item(&mut recv).await.0, expected);
    }
    (send, recv)
}

/// The next frame that does not count what was left out.
async fn item(recv: &mut RecvStream) -> Frame {
    loop {
        let frame = soon(wire::read(recv)).await.unwrap();
        if frame.0 != wire::SKIPPED {
            return frame;
        }
    }
}

async fn attacked() -> (Target, Insider) {
    let target = Target::start(GatewayLimits::new()).await;
    let insider = Insider::client(target.address(), &target.client_ticket()).await;
    (target, insider)
}

#[tokio::test]
async fn a_reader_that_takes_what_was_not_sent_ends_its_stream() {
    let (target, insider) = attacked().await;
    for wrong in [
        taken(3),
        taken(1 << 60),
        [taken(1), taken(0)].concat(),
        wire::frame(wire::TAKEN, b""),
        wire::frame(wire::TAKEN, &[0; 8]),
    ] {
        let (mut send, mut recv) = one_item(&insider).await;
        send.write_all(&wrong).await.unwrap();
        let end = loop {
            match item(&mut recv).await {
                (wire::ITEM, _) => {}
                end => break end,
            }
        };
        assert_eq!(wire::kind_of(&end), wire::PROTOCOL, "{wrong:?}");
        target.serves().await;
    }
    until(|| target.gateway.stats().in_flight == 0).await;
}

#[tokio::test]
async fn what_may_not_follow_the_arguments_stops_at_the_gateway() {
    let (target, insider) = attacked().await;
    for (demand, wrong) in [
        (false, taken(0)),
        (true, wire::frame(wire::ITEM, b"7")),
        (true, wire::frame(wire::BODY, b"[]")),
        (true, wire::frame(wire::SKIPPED, &[1])),
        (true, wire::begun(wire::TAKEN, 9)),
    ] {
        // In one piece: what nobody has announced is not read later.
        let (_send, mut recv) = insider.open(&[call(demand, EVERY), wrong.clone()].concat()).await;
        let end = soon(wire::error_of(&mut recv)).await;
        assert_eq!(end, Some(wire::PROTOCOL), "{wrong:?}");
        target.serves().await;
    }
    until(|| target.gateway.stats().in_flight == 0).await;
}

#[tokio::test]
async fn chains_that_cannot_be_are_refused() {
    let (target, insider) = attacked().await;
    for (demand, operators) in [
        (true, &[][..]),
        (true, &[5; 17]),
        (true, &[3, 0]),
        (true, &[7, 0, 1]),
        (true, &[1]),
        (false, LATEST),
        // A function that is cut off: in its fingerprint, its name, its arguments.
        (true, &[9]),
        (true, &[9, 0, 0, 0, 0, 0, 0, 0, 0, 3, b'o', b'd']),
        (true, &[9, 0, 0, 0, 0, 0, 0, 0, 0, 1, b'f', 2, 0]),
        (true, &[9, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, 0]),
        (true, &[9, 0, 0, 0, 0, 0, 0, 0, 0, 1, b'f', 0x9f, 0xff, 0xff, 0xff]),
    ] {
        let (_send, mut recv) = insider.open(&call(demand, operators)).await;
        let refused = item(&mut recv).await;
        assert_eq!(wire::kind_of(&refused), wire::PROTOCOL, "{operators:?}");
    }
    let (_send, mut recv) = insider.open(&call(true, &[5, 200])).await;
    assert_eq!(item(&mut recv).await.0, wire::ERROR, "an operator that nobody knows");
    for name in ["nothing", "numbers", ""] {
        let applied =
            [&[9, 0, 0, 0, 0, 0, 0, 0, 0][..], &wire::string(name.as_bytes()), &[0]].concat();
        let (_send, mut recv) = insider.open(&call(true, &applied)).await;
        assert_eq!(item(&mut recv).await.0, wire::ERROR, "`{name}` is no operator");
    }
    target.serves().await;
}

#[tokio::test]
async fn a_flood_of_the_same_word_moves_nothing() {
    let (target, insider) = attacked().await;
    let (mut send, mut recv) = one_item(&insider).await;
    let word = taken(0).repeat(10_000);
    for _ in 0..10 {
        soon(send.write_all(&word)).await.unwrap();
    }
    target.serves().await;
    // The stream goes on as ever.
    soon(send.write_all(&taken(1))).await.unwrap();
    assert_eq!(item(&mut recv).await.0, wire::ITEM);
    // A reader that says that it takes no more keeps what is on its way.
    send.finish().unwrap();
    drop(recv);
    until(|| target.gateway.stats().in_flight == 0).await;
}

#[tokio::test]
async fn a_node_that_lies_about_what_it_left_out_ends_its_stream() {
    let target = Target::start(GatewayLimits::new()).await;
    let ticket = target.gateway.ticket(Role::Node).to_string();
    let node = Insider::node(target.address(), &ticket, &[("items", wire::STREAM)]).await;
    let open = wire::frame(wire::OPEN, b"");
    let skipped = |items: u64| wire::frame(wire::SKIPPED, &wire::varint(items));
    for wrong in [
        [&open[..], &skipped(3), &skipped(3)].concat(),
        [&open[..], &skipped(3), &skipped(2)].concat(),
        [&open[..], &wire::frame(wire::SKIPPED, b"")].concat(),
        skipped(3),
        [&open[..], &taken(0)].concat(),
    ] {
        let mut items = target.client.stream_json("items", json!([]));
        let reading = tokio::spawn(async move { items.next().await });
        let (mut send, _recv) = common::hostile::impostor::next_call(&node.connection).await;
        send.write_all(&wrong).await.unwrap();
        let Some(Err(CallError::Remote(error))) = soon(reading).await.unwrap() else {
            panic!("{wrong:?} is fine");
        };
        assert_eq!(error.kind(), ErrorKind::Protocol, "{wrong:?}: {error}");
        target.serves().await;
    }
    until(|| target.gateway.stats().in_flight == 0).await;
}
