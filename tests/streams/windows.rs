//! How far a producer gets ahead of its consumer, near and far, and what that costs others.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use common::proxy::{Faults, Proxy, Way};
use common::{World, found_in, soon, until};
use easyremote::{functions, remote};
use futures::{Stream, StreamExt, TryStreamExt, stream};

const ITEM: u64 = 16 << 10;

/// Bytes that the endless streams have made: one counter for each test.
static MADE: [AtomicU64; 3] = [const { AtomicU64::new(0) }; 3];

fn made(counter: usize) -> u64 {
    MADE[counter].load(Ordering::Relaxed)
}

#[remote(stream)]
fn endless(counter: usize) -> impl Stream<Item = Bytes> {
    let item = Bytes::from(vec![7; ITEM as usize]);
    stream::repeat(item).inspect(move |_| {
        MADE[counter].fetch_add(ITEM, Ordering::Relaxed);
    })
}

#[remote]
async fn sum(chunks: impl Stream<Item = Bytes>) -> u64 {
    chunks.fold(0, |sum, chunk| async move { sum + chunk.len() as u64 }).await
}

#[remote]
async fn blob(length: usize) -> Bytes {
    Bytes::from(vec![7; length])
}

#[remote]
async fn one() -> u64 {
    1
}

/// A proxy that puts a quarter of a second between the gateway and whoever dials it there: far, and
/// no computer is so slow that it looks near.
fn far(world: &World) -> Proxy {
    let proxy = Proxy::start(world.gateway.local_addr(), 1);
    proxy.set_both(Faults { delay: Duration::from_millis(125), ..Faults::default() });
    proxy
}

#[tokio::test]
async fn a_distant_consumer_that_keeps_up_has_more_on_its_way() {
    let world = World::start().await;
    let _node = world.node(functions![endless]).await;
    let proxy = far(&world);
    let builder = easyremote::Client::builder(proxy.address()).dial(found_in(world.state_dir()));
    let client = soon(builder.connect()).await.unwrap();
    let mut items = endless::call(&client, 0);
    let mut read = 0;
    while read < 6 << 20 {
        read += soon(items.next()).await.unwrap().unwrap().len() as u64;
    }
    // Without a wider window it is 256 KiB on each hop, and some buffers.
    until(|| made(0) - read > 2 << 20).await;
}

/// Makes a call over a distance, multiplexed or on a separate stream, whose answer is 12 MiB long; says how
/// much of it was on its way at a time.
async fn most_of_an_answer_under_way(multiplex: bool) -> u64 {
    const LENGTH: usize = 12 << 20;
    let world = World::start().await;
    let _node = world.node(functions![blob]).await;
    let proxy = far(&world);
    let builder = easyremote::Client::builder(proxy.address()).dial(found_in(world.state_dir()));
    let client = soon(builder.multiplex(multiplex).connect()).await.unwrap();
    assert_eq!(soon(blob::call(&client, LENGTH)).await.unwrap().len(), LENGTH);
    proxy.counts(Way::FromGateway).most_held
}

// Without a wider window it is 256 KiB, and what surrounds it in packets.
const NARROW: u64 = 400 << 10;

#[tokio::test]
async fn a_long_answer_to_a_distant_caller_has_more_on_its_way() {
    let most = most_of_an_answer_under_way(false).await;
    assert!(most > 2 * NARROW, "{} KiB", most >> 10);
}

#[tokio::test]
async fn so_has_one_whose_call_came_on_the_mux() {
    let most = most_of_an_answer_under_way(true).await;
    assert!(most > 2 * NARROW, "{} KiB", most >> 10);
}

#[tokio::test]
async fn an_upload_to_a_distant_node_that_keeps_up_arrives_whole() {
    const N: u64 = 400;
    let world = World::start().await;
    let proxy = far(&world);
    let builder = easyremote::Node::builder(proxy.address()).dial(found_in(world.state_dir()));
    let _node = soon(builder.functions(functions![sum]).serve()).await.unwrap();
    let client = world.client().await;
    let chunk = Bytes::from(vec![7; ITEM as usize]);
    let chunks = stream::iter(0..N).map(move |_| chunk.clone());
    assert_eq!(soon(sum::call(&client, chunks)).await.unwrap(), N * ITEM);
}

#[tokio::test]
async fn streams_that_nobody_reads_hold_up_no_others() {
    const N: u64 = 120;
    /// More than the widest window.
    const PLENTY: u64 = 5 << 20;
    let (world, _node, client) = World::with(functions![endless, one]).await;
    let mut unread: Vec<_> = (0..N).map(|_| endless::call(&client, 1)).collect();
    for stream in &mut unread {
        soon(stream.next()).await.unwrap().unwrap();
    }
    until(|| made(1) > N * (256 << 10)).await;
    let other = world.client().await;
    for client in [&client, &other] {
        assert_eq!(soon(one::call(client)).await.unwrap(), 1);
        let items = endless::call(client, 2).take((PLENTY / ITEM) as usize);
        let items: Vec<Bytes> = soon(items.try_collect()).await.unwrap();
        assert_eq!(items.len() as u64, PLENTY / ITEM);
    }
    // Two narrow windows, and as much again in buffers. Wide ones would be eight times that.
    assert!(made(1) < N << 20, "{} KiB a stream", (made(1) / N) >> 10);
}
