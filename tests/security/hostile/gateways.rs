//! Hostile gateways, towards clients and nodes.

use bytes::Bytes;
use common::hostile::attacker::close_of;
use common::hostile::impostor::{Impostor, next_call, welcome};
use common::hostile::wire;
use common::soon;
use easyremote::client::ClientBuilder;
use easyremote::client::ClientLimits;
use easyremote::node::NodeLimits;
use easyremote::{Client, ErrorKind, Executed, Node, functions, remote};
use futures::future::join_all;
use futures::{FutureExt, Stream, StreamExt, stream};

use super::functions::add;

const MIB: usize = 1 << 20;

#[remote]
async fn blob() -> Bytes {
    Bytes::new()
}

#[remote(stream)]
fn blobs() -> impl Stream<Item = Bytes> {
    stream::empty()
}

#[remote]
async fn largest(blobs: impl Stream<Item = Bytes>) -> usize {
    blobs.fold(0, async |largest, blob| largest.max(blob.len())).await
}

async fn connect(impostor: &Impostor, builder: ClientBuilder) -> (Client, quinn::Connection) {
    let (client, connection) =
        soon(async { tokio::join!(builder.connect(), impostor.welcome()) }).await;
    (client.unwrap(), connection)
}

async fn client(impostor: &Impostor) -> (Client, quinn::Connection) {
    connect(impostor, Client::builder(&*impostor.ticket("erc_")).multiplex(false)).await
}

#[tokio::test]
async fn nonsense_before_the_welcome() {
    let impostor = Impostor::start();
    let ticket = impostor.ticket("erc_");
    let garbage: [&[u8]; 5] = [
        &[0xff; 100],
        &wire::begun(wire::CONTROL, u32::MAX),
        &wire::frame(wire::CONTROL, &[]),
        &wire::frame(wire::CONTROL, &[99]),
        &wire::frame(wire::BODY, b""),
    ];
    for bytes in garbage {
        let connecting = tokio::spawn(Client::builder(&*ticket).connect());
        let mut victim = impostor.accept().await;
        victim.send.write_all(bytes).await.unwrap();
        let error = soon(connecting).await.unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Protocol, "{error}");
    }
}

#[tokio::test]
async fn one_welcome_after_another() {
    let impostor = Impostor::start();
    let node = Node::builder(&*impostor.ticket("ern_")).functions(functions![add]);
    let serving = tokio::spawn(node.serve());
    let mut victim = impostor.accept().await;
    while victim.send.write_all(&welcome()).await.is_ok() {}
    assert_eq!(soon(serving).await.unwrap().unwrap_err().kind(), ErrorKind::Protocol);
}

#[tokio::test]
async fn nonsense_for_an_answer() {
    let impostor = Impostor::start();
    let (client, connection) = client(&impostor).await;
    let huge = wire::begun(wire::BODY, u32::MAX);
    let deep = wire::frame(wire::BODY, &[1; 50_000]);
    let too_wide = wire::frame(wire::BODY, &[0xfe; 17]);
    for (bytes, kind) in [
        (&b"\xff\xff\xff\xff\xff\xff\xff"[..], ErrorKind::Protocol),
        (&huge, ErrorKind::TooLarge),
        (&wire::frame(wire::HEADER, b""), ErrorKind::Protocol),
        (&wire::frame(wire::END, &[0; 8]), ErrorKind::Protocol),
        (&wire::frame(wire::ERROR, b""), ErrorKind::Protocol),
        (&wire::frame(wire::BODY, b""), ErrorKind::BadResponse),
        (&wire::frame(wire::BODY, &[2, 2]), ErrorKind::BadResponse),
        (&deep, ErrorKind::BadResponse),
        (&too_wide, ErrorKind::BadResponse),
        (b"", ErrorKind::Protocol),
    ] {
        let calling = tokio::spawn(add::call(&client, 1, 2));
        let (mut send, _recv) = next_call(&connection).await;
        send.write_all(bytes).await.unwrap();
        send.finish().unwrap();
        let error = soon(calling).await.unwrap().unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        assert_ne!(error.executed(), Executed::No, "nothing of it is a proof");
    }
    // The client is as good as before.
    let calling = tokio::spawn(add::call(&client, 1, 2));
    let (mut send, _recv) = next_call(&connection).await;
    send.write_all(&wire::frame(wire::BODY, &[6])).await.unwrap();
    assert_eq!(soon(calling).await.unwrap().unwrap(), 3);
}

#[tokio::test]
async fn streams_that_lie_about_their_end() {
    let impostor = Impostor::start();
    let (client, connection) = client(&impostor).await;
    let open = wire::frame(wire::OPEN, b"");
    let item = wire::frame(wire::ITEM, &[1, 7]);
    let end = |n: u64| wire::frame(wire::END, &n.to_be_bytes());
    for (answer, delivered) in [
        ([&open[..], &item, &end(2)].concat(), 1),
        ([&open[..], &item, &end(0)].concat(), 1),
        ([&open[..], &item, &item].concat(), 2),
        ([&open[..], &open].concat(), 0),
        ([&item[..], &end(1)].concat(), 0),
        ([&open[..], &wire::frame(wire::BODY, &[1, 7])].concat(), 0),
        ([&open[..], &item, &wire::begun(wire::ITEM, 5)].concat(), 1),
        (b"".to_vec(), 0),
    ] {
        let mut items = blobs::call(&client);
        let reading = tokio::spawn(async move {
            let mut n = 0;
            loop {
                match items.next().await {
                    Some(Ok(item)) => assert_eq!((&item[..], n += 1), (&[7][..], ())),
                    Some(Err(error)) => return (n, error),
                    None => panic!("a stream that lies has ended well after {n} items"),
                }
            }
        });
        let (mut send, _recv) = next_call(&connection).await;
        send.write_all(&answer).await.unwrap();
        send.finish().unwrap();
        let (n, error) = soon(reading).await.unwrap();
        assert_eq!(
            (n, error.delivered(), error.kind()),
            (delivered, delivered, ErrorKind::Protocol)
        );
    }
}

#[tokio::test]
async fn items_after_the_end_are_not_read() {
    let impostor = Impostor::start();
    let (client, connection) = client(&impostor).await;
    let mut items = blobs::call(&client);
    let reading = tokio::spawn(async move { (items.next().await, items.next().await) });
    let (mut send, _recv) = next_call(&connection).await;
    let answer = [(wire::OPEN, vec![]), (wire::END, vec![0; 8]), (wire::ITEM, vec![1, 7])];
    let answer: Vec<u8> = answer.iter().flat_map(|(kind, body)| wire::frame(*kind, body)).collect();
    send.write_all(&answer).await.unwrap();
    let (first, second) = soon(reading).await.unwrap();
    assert!(first.is_none() && second.is_none());
    // And more and more of them are not taken either.
    soon(async { while send.write_all(&[0; 1_000]).await.is_ok() {} }).await;
}

/// More than the widest window of a stream, which is what an impostor can have under way that keeps to
/// no credit.
const LONG: usize = 5 * MIB;

/// All of an answer of that length but its last byte.
fn most_of_a_long_answer() -> Vec<u8> {
    let body = [&[0xfc][..], &(LONG as u32 - 5).to_le_bytes(), &vec![0; LONG - 6]].concat();
    [wire::begun(wire::BODY, LONG as u32), body].concat()
}

#[tokio::test]
async fn answers_that_never_end_have_limited_room() {
    let impostor = Impostor::start();
    let builder = Client::builder(&*impostor.ticket("erc_")).multiplex(false);
    let (client, connection) = connect(
        &impostor,
        builder.limits(ClientLimits::new().max_message(LONG).max_unfinished(2 * LONG as u64)),
    )
    .await;
    let calls = join_all((0..3).map(|_| tokio::spawn(blob::call(&client)))).boxed();
    let calls = tokio::spawn(calls);
    let mut streams = Vec::new();
    for _ in 0..3 {
        streams.push(next_call(&connection).await);
    }
    // There is room for two of them. What the third sends stays in its window, which is smaller.
    let [(first, _), (second, _), (third, _)] = &mut streams[..] else { unreachable!() };
    let bytes = most_of_a_long_answer();
    soon(first.write_all(&bytes)).await.unwrap();
    soon(second.write_all(&bytes)).await.unwrap();
    let mut writing = third.write_all(&bytes).boxed();
    // Small answers need no room.
    for _ in 0..20 {
        let small = tokio::spawn(blob::call(&client));
        let (mut send, _recv) = next_call(&connection).await;
        send.write_all(&wire::frame(wire::BODY, &[1, 7])).await.unwrap();
        tokio::select! {
            biased;
            _ = &mut writing => panic!("the third has been read whole"),
            small = soon(small) => assert_eq!(small.unwrap().unwrap(), &[7][..]),
        }
    }
    // It is its turn when another is whole.
    soon(first.write_all(&[0])).await.unwrap();
    soon(&mut writing).await.unwrap();
    drop(writing);
    soon(second.write_all(&[0])).await.unwrap();
    soon(third.write_all(&[0])).await.unwrap();
    for answer in soon(calls).await.unwrap() {
        assert_eq!(answer.unwrap().unwrap().len(), LONG - 5);
    }
}

#[tokio::test]
async fn items_that_never_end_have_limited_room() {
    let impostor = Impostor::start();
    let builder = Client::builder(&*impostor.ticket("erc_")).multiplex(false);
    let (client, connection) = connect(
        &impostor,
        builder.limits(ClientLimits::new().max_message(MIB).max_unfinished(2 * MIB as u64)),
    )
    .await;
    let item = [
        &wire::frame(wire::OPEN, b"")[..],
        &wire::begun(wire::ITEM, MIB as u32),
        &vec![0; MIB - 1],
    ];
    let item = item.concat();
    let (mut calls, mut reading) = (Vec::new(), Vec::new());
    for _ in 0..3 {
        let mut items = blobs::call(&client);
        reading.push(tokio::spawn(async move { items.next().await }));
        let (mut send, recv) = next_call(&connection).await;
        // The third is stopped when there is no room for more of it.
        let _ = soon(send.write_all(&item)).await;
        calls.push((send, recv));
    }
    let (failed, _, _) = soon(futures::future::select_all(reading)).await;
    let error = failed.unwrap().unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Overloaded, "{error}");
}

#[tokio::test]
async fn a_gateway_opens_as_many_streams_as_its_peer_allows() {
    let impostor = Impostor::start();
    let (_client, connection) = client(&impostor).await;
    let nothing = connection.open_bi().now_or_never();
    assert!(nothing.is_none(), "nobody calls a client");
    let (mut answers, mut calls) = (Vec::new(), Vec::new());
    answers.extend(std::iter::from_fn(|| connection.open_uni().now_or_never()));
    assert_eq!(answers.len(), 256, "answers that are too long for the multiplexed stream");
    let node = Node::builder(&*impostor.ticket("ern_")).functions(functions![add]).serve();
    let (node, connection) = soon(async { tokio::join!(node, impostor.register()) }).await;
    let _node = node.unwrap();
    calls.extend(std::iter::from_fn(|| connection.open_bi().now_or_never()));
    // Calls, and requests about jobs, which a node answers beside them.
    let most = 4_096 + 1_024;
    // A seventh more and two, as for clients, and the multiplexed stream.
    assert_eq!(calls.len(), most + most / 7 + 2 + 1);
    answers.clear();
    answers.extend(std::iter::from_fn(|| connection.open_uni().now_or_never()));
    assert_eq!(answers.len(), 256);
}

#[tokio::test]
async fn a_node_has_limited_room_for_items() {
    let impostor = Impostor::start();
    let node = Node::builder(&*impostor.ticket("ern_"));
    let node = node
        .functions(functions![largest])
        .limits(NodeLimits::new().max_message(MIB).max_unfinished(2 * MIB as u64));
    let (node, connection) = soon(async { tokio::join!(node.serve(), impostor.register()) }).await;
    let _node = node.unwrap();
    let most = [wire::begun(wire::ITEM, MIB as u32), vec![0; MIB - 1]].concat();
    let (mut calls, mut answers) = (Vec::new(), Vec::new());
    for _ in 0..3 {
        let (mut send, mut recv) = soon(connection.open_bi()).await.unwrap();
        let header = wire::call_of_someone("largest", wire::UPLOAD);
        let bytes = [&header[..], &wire::frame(wire::BODY, b"[]"), &most].concat();
        let _ = soon(send.write_all(&bytes)).await;
        calls.push(send);
        answers.push(async move { wire::read(&mut recv).await }.boxed());
    }
    let (refused, _, _) = soon(futures::future::select_all(answers)).await;
    assert_eq!(wire::kind_of(&refused.unwrap()), common::hostile::wire::OVERLOADED);
}

#[tokio::test]
async fn a_flood_of_control_messages() {
    let impostor = Impostor::start();
    let connecting = tokio::spawn(Client::builder(&*impostor.ticket("erc_")).connect());
    let mut victim = impostor.accept().await;
    victim.send.write_all(&welcome()).await.unwrap();
    let client = soon(connecting).await.unwrap().unwrap();
    // Pings whose echoes nobody reads: the client does not keep more and more of them.
    let pings = wire::frame(wire::CONTROL, &[6, 0]).repeat(10_000);
    soon(async { while victim.send.write_all(&pings).await.is_ok() {} }).await;
    assert_ne!(close_of(&victim.connection).await.0, 0);
    drop((client, victim.recv));
}

#[tokio::test]
async fn no_peer_sends_early_data() {
    let impostor = Impostor::start();
    let (client, connection) = client(&impostor).await;
    assert_eq!(connection.max_datagram_size(), None);
    // Which the client has seen a session ticket of, and could come back with.
    connection.close(0u32.into(), b"");
    let victim = impostor.accept().await;
    assert!(!victim.early);
    drop(client);
    let node = Node::builder(&*impostor.ticket("ern_")).functions(functions![add]);
    let _serving = tokio::spawn(node.serve());
    let victim = impostor.accept().await;
    assert!(!victim.early && victim.connection.max_datagram_size().is_none());
}
