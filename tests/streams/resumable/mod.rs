//! Resumable streams: through lost gateways, connections and nodes each item arrives once, in order,
//! or one `Gap` says exactly how many have.

mod changes;
mod operators;
mod rig;
mod uploads;

use std::time::Duration;

use common::{soon, until};
use easyremote::node::NodeLimits;
use easyremote::{Context, ErrorKind, Executed, functions, remote};
use futures::{Stream, StreamExt, stream};

use self::rig::Rig;

/// Counts from 0, with a payload so that buffers fill.
#[remote(stream)]
fn counted(n: u64, bytes: u64) -> impl Stream<Item = (u64, Vec<u8>)> {
    stream::iter(0..n).map(move |i| (i, vec![i as u8; bytes as usize]))
}

/// The same from an iterator, on a thread of its own.
#[remote(stream)]
fn iterated(n: u64, bytes: u64) -> impl Iterator<Item = (u64, Vec<u8>)> {
    (0..n).map(move |i| (i, vec![i as u8; bytes as usize]))
}

/// Goes on where it is told.
#[remote(stream, idempotent, replay = "64KiB")]
fn resumed(
    #[ctx] ctx: &Context,
    #[resume] done: u64,
    to: u64,
) -> impl Stream<Item = (u64, Vec<u8>)> {
    common::say(to, if ctx.attempt() == 0 { "started" } else { "started again" });
    stream::iter(done..to).map(|i| (i, vec![i as u8; 100]))
}

const ITEMS: u64 = 10_000;
const LOSSES: u64 = 4;

/// Reads a whole stream, and calls `lose` several times in between.
async fn read_through<S, E>(mut items: S, mut lose: impl AsyncFnMut())
where
    S: Stream<Item = Result<(u64, Vec<u8>), E>> + Unpin,
    E: std::fmt::Debug,
{
    for i in 0..ITEMS {
        if i % (ITEMS / LOSSES) == ITEMS / LOSSES / 2 {
            lose().await;
        }
        let (item, bytes) = soon(items.next()).await.unwrap().unwrap();
        assert_eq!(item, i);
        assert!(bytes.iter().all(|byte| *byte == i as u8));
    }
    assert!(soon(items.next()).await.is_none());
}

async fn the_gateway_is_lost_several_times() {
    let mut rig = Rig::start(1).await;
    let node = rig.node("a", functions![counted, iterated]).await;
    let client = rig.client().await;
    read_through(counted::call(&client, ITEMS, 100).resumable(), async || {
        rig.restart(0).await;
    })
    .await;
    read_through(iterated::call(&client, ITEMS, 100).resumable(), async || {
        rig.restart(0).await;
    })
    .await;
    until(|| node.stats().in_flight == 0).await;
    until(|| rig.in_flight() == 0).await;
}

#[tokio::test]
async fn a_stream_goes_on_after_its_only_gateway_was_lost() {
    the_gateway_is_lost_several_times().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_goes_on_after_its_only_gateway_was_lost_on_several_threads() {
    the_gateway_is_lost_several_times().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_changes_to_another_gateway() {
    let mut rig = Rig::start(2).await;
    let node = rig.node("a", functions![counted]).await;
    let client = rig.client().await;
    let items = counted::call(&client, ITEMS, 100).resumable();
    read_through(items, async || {
        let chosen = rig.chosen();
        rig.restart(chosen).await;
    })
    .await;
    until(|| node.stats().in_flight == 0 && rig.in_flight() == 0).await;
}

#[tokio::test]
async fn without_a_resume_parameter_a_lost_node_is_one_gap() {
    let rig = Rig::start(1).await;
    let node = rig.node("a", functions![counted]).await;
    let client = rig.client().await;
    let mut items = counted::call(&client, ITEMS, 100).resumable();
    for _ in 0..100 {
        soon(items.next()).await.unwrap().unwrap();
    }
    drop(node);
    // Another process with the same id.
    let _node = rig.node("a", functions![counted]).await;
    let error = soon(items.next()).await.unwrap().unwrap_err();
    assert_eq!((error.kind(), error.executed()), (ErrorKind::Gap, Executed::Yes), "{error}");
    assert_eq!(error.delivered(), 100);
    assert!(soon(items.next()).await.is_none());
}

#[tokio::test]
async fn a_limit_ends_a_resumed_stream_too() {
    let mut rig = Rig::start(1).await;
    let node = rig.node("a", functions![counted]).await;
    let client = rig.client().await;
    let mut items = counted::call(&client, u64::MAX, 100).take(50).resumable();
    for i in 0..50 {
        if i == 20 {
            rig.restart(0).await;
        }
        assert_eq!(soon(items.next()).await.unwrap().unwrap().0, i);
    }
    assert!(soon(items.next()).await.is_none());
    until(|| node.stats().in_flight == 0).await;
}

/// With a `#[resume]` parameter the function is called again, behind what its reader has taken.
async fn nodes_are_lost_several_times() {
    let rig = Rig::start(1).await;
    let mut nodes = vec![rig.node("0", functions![resumed]).await];
    let client = rig.client().await;
    let mut n = 0;
    read_through(resumed::call(&client, ITEMS).resumable(), async || {
        n += 1;
        nodes.push(rig.node(&n.to_string(), functions![resumed]).await);
        drop(nodes.remove(0));
    })
    .await;
    assert_eq!(n, LOSSES);
    until(|| nodes[0].stats().in_flight == 0 && rig.in_flight() == 0).await;
}

#[tokio::test]
async fn a_function_with_a_resume_parameter_survives_its_nodes() {
    nodes_are_lost_several_times().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_function_with_a_resume_parameter_survives_its_nodes_on_several_threads() {
    nodes_are_lost_several_times().await;
}

#[tokio::test]
async fn a_chain_goes_on_at_another_node() {
    let rig = Rig::start(1).await;
    let node = rig.node("a", functions![resumed]).await;
    let client = rig.client().await;
    let mut items = resumed::call(&client, ITEMS).skip(10).take(30).resumable();
    for i in 10..25 {
        assert_eq!(soon(items.next()).await.unwrap().unwrap().0, i);
    }
    let _other = rig.node("b", functions![resumed]).await;
    drop(node);
    for i in 25..40 {
        assert_eq!(soon(items.next()).await.unwrap().unwrap().0, i);
    }
    assert!(soon(items.next()).await.is_none());
}

/// The only place is held by the stream itself: to continue it, no other may be waited for.
#[tokio::test]
async fn a_stream_needs_no_second_place() {
    let mut rig = Rig::start(1).await;
    let node = rig.node_builder("a", functions![counted]).concurrency(1);
    let node = soon(node.serve()).await.unwrap();
    let client = rig.client().await;
    let mut items = counted::call(&client, ITEMS, 100).resumable();
    for i in 0..1_000 {
        if i == 500 {
            rig.restart(0).await;
        }
        assert_eq!(soon(items.next()).await.unwrap().unwrap().0, i);
    }
    // It counts at the new gateway too: another call waits for its end.
    until(|| rig.in_flight() == 1).await;
    let mut second = counted::call(&client, 1, 1);
    assert!(tokio::time::timeout(Duration::from_millis(50), second.next()).await.is_err());
    drop(items);
    assert_eq!(soon(second.next()).await.unwrap().unwrap().0, 0);
    drop(second);
    until(|| node.stats().in_flight == 0 && rig.in_flight() == 0).await;
}

#[tokio::test]
async fn a_slow_reader_gets_what_it_had_not_taken() {
    let mut rig = Rig::start(1).await;
    let node = rig.node("a", functions![counted]).await;
    let client = rig.client().await;
    // Far more than all buffers hold: the function is paused.
    let mut items = counted::call(&client, 3_000, 10_000).resumable();
    for i in 0..3_000 {
        if i % 1_000 == 10 {
            rig.restart(0).await;
            // Nobody reads while the stream is being resumed.
            until(|| rig.in_flight() == 1).await;
        }
        assert_eq!(soon(items.next()).await.unwrap().unwrap().0, i);
    }
    assert!(soon(items.next()).await.is_none());
    until(|| node.stats().in_flight == 0).await;
}

#[tokio::test]
async fn dropping_a_stream_cancels_it_at_once() {
    let rig = Rig::start(1).await;
    let node = rig.node("a", functions![counted]).await;
    let client = rig.client().await;
    let mut items = counted::call(&client, u64::MAX, 100).resumable();
    soon(items.next()).await.unwrap().unwrap();
    drop(items);
    until(|| node.stats().in_flight == 0).await;
    // A client that leaves does not come back either.
    let mut items = counted::call(&client, u64::MAX, 100).resumable();
    soon(items.next()).await.unwrap().unwrap();
    client.close().await;
    until(|| node.stats().in_flight == 0 && rig.in_flight() == 0).await;
    let error = loop {
        if let Err(error) = soon(items.next()).await.unwrap() {
            break error;
        }
    };
    assert_eq!((error.kind(), error.executed()), (ErrorKind::ConnectionLost, Executed::Yes));
}

#[tokio::test]
async fn what_is_kept_has_a_limit() {
    let rig = Rig::start(1).await;
    // The share of one identity is what a stream needs to begin, and as much again.
    let limits = NodeLimits::new().kept(4 * (32 << 10));
    let node = rig.node_builder("a", functions![counted]).limits(limits);
    let node = soon(node.serve()).await.unwrap();
    let client = rig.client().await;
    let mut items = counted::call(&client, ITEMS, 100).resumable();
    soon(items.next()).await.unwrap().unwrap();
    let begins = async || soon(counted::call(&client, 1, 1).resumable().next()).await.unwrap();
    let error = soon(async {
        loop {
            if let Err(error) = begins().await {
                break error;
            }
        }
    })
    .await;
    assert_eq!((error.kind(), error.executed()), (ErrorKind::Overloaded, Executed::No), "{error}");
    // The one that runs waits for its reader, and loses nothing.
    for i in 1..ITEMS {
        assert_eq!(soon(items.next()).await.unwrap().unwrap().0, i);
    }
    drop(items);
    until(|| node.stats().in_flight == 0).await;
    begins().await.unwrap();
}

#[remote(stream)]
fn echoed(given: impl Stream<Item = u64> + Send + 'static) -> impl Stream<Item = u64> {
    given
}

#[tokio::test]
async fn a_call_that_sends_a_stream_cannot_be_resumable() {
    let rig = Rig::start(1).await;
    let _node = rig.node("a", functions![echoed]).await;
    let client = rig.client().await;
    let mut items = echoed::call(&client, stream::iter([1_u64])).resumable();
    let error = soon(items.next()).await.unwrap().unwrap_err();
    assert_eq!((error.kind(), error.executed()), (ErrorKind::InvalidInput, Executed::No));
}
