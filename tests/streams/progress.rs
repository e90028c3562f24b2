//! The progress of streams: at their readers, and in the lists of gateways and nodes.

use std::time::Duration;

use common::gate::{Gate, OPEN, pass};
use common::{World, soon, until};
use easyremote::client::StreamProgress;
use easyremote::{Client, functions, remote};
use futures::stream::BoxStream;
use futures::{FutureExt, Stream, StreamExt, stream};
use serde_json::json;

/// `n` texts of `length` bytes; the gate is before the last one.
#[remote(stream)]
fn texts(n: usize, length: usize, gate: u64) -> impl Stream<Item = String> {
    stream::iter(0..n).then(move |i| async move {
        if i + 1 == n {
            pass(gate).await;
        }
        "x".repeat(length)
    })
}

#[remote(stream)]
fn odd_ones_fail(n: u64) -> impl Iterator<Item = Result<u64, u64>> {
    (0..n).map(|i| if i % 2 == 0 { Ok(i) } else { Err(i) })
}

#[remote(stream)]
fn endless(length: usize) -> impl Iterator<Item = String> {
    (0..).map(move |_| "x".repeat(length))
}

/// A stream of `n` texts in one of three forms, with its progress, which is asked for first, or after
/// `early` items.
async fn followed(
    client: &Client,
    form: u32,
    (n, length): (usize, usize),
    early: usize,
) -> (BoxStream<'static, ()>, StreamProgress) {
    match form {
        0 => {
            let mut items = texts::call(client, n, length, OPEN);
            for _ in 0..early {
                soon(items.next()).await.unwrap().unwrap();
            }
            let progress = items.progress();
            (items.map(drop).boxed(), progress)
        }
        1 => {
            let mut items = soon(texts::call(client, n, length, OPEN).open()).await.unwrap();
            for _ in 0..early {
                soon(items.next()).await.unwrap().unwrap();
            }
            let progress = items.progress();
            (items.map(drop).boxed(), progress)
        }
        _ => {
            let mut items = client.stream_json("texts", json!([n, length, OPEN]));
            for _ in 0..early {
                soon(items.next()).await.unwrap().unwrap();
            }
            let progress = items.progress();
            (items.map(drop).boxed(), progress)
        }
    }
}

#[tokio::test]
async fn progress_counts_what_the_reader_has_taken() {
    let (_world, _node, client) = World::with(functions![texts]).await;
    let mut random = fastrand::Rng::with_seed(6);
    for round in 0..30 {
        let (n, length) = (random.usize(1..200), random.usize(0..2_000));
        let (early, form) = (random.usize(0..n), round % 3);
        let (mut items, progress) = followed(&client, form, (n, length), early).await;
        let other = progress.clone();
        let mut bytes = None;
        for taken in early..n {
            assert_eq!(progress.items(), taken as u64);
            soon(items.next()).await.unwrap();
            assert_eq!(other.items(), taken as u64 + 1);
            assert!(progress.age().is_some());
            // All items have the same length.
            let each = *bytes.get_or_insert(progress.bytes() / (taken as u64 + 1));
            assert_eq!(progress.bytes(), each * (taken as u64 + 1));
            assert!(each as usize >= length && each as usize <= length + 9, "{each}, {length}");
        }
        assert!(!progress.has_ended());
        if random.bool() {
            assert!(soon(items.next()).await.is_none());
        }
        drop(items);
        assert!(other.has_ended() && other.items() == n as u64);
        assert_eq!((other.skipped(), other.resumptions()), (0, 0));
    }
}

#[tokio::test]
async fn items_that_fail_count_and_so_does_what_came_before() {
    let (_world, _node, client) = World::with(functions![odd_ones_fail]).await;
    let mut items = odd_ones_fail::call(&client, 10);
    let _ = soon(items.next()).await;
    let progress = items.progress();
    assert_eq!((progress.items(), progress.age()), (1, None));
    assert_eq!(soon(items.by_ref().count()).await, 9);
    assert_eq!(progress.items(), 10);
    assert!(progress.has_ended());
    assert!(items.progress().has_ended());
}

#[tokio::test]
async fn what_operators_leave_out_is_counted_at_the_node_and_at_the_client() {
    let (_world, _node, client) = World::with(functions![texts]).await;
    let mut random = fastrand::Rng::with_seed(7);
    for _ in 0..20 {
        let (n, skipped, step) = (random.usize(5..60), random.usize(0..4), random.usize(1..5));
        let expected = (0..n).skip(skipped).step_by(step).count() as u64;
        let mut at_node = texts::call(&client, n, 5, OPEN).skip(skipped).every(step);
        let progress = at_node.progress();
        assert_eq!(soon(at_node.by_ref().count()).await as u64, expected);
        let bytes = progress.bytes();
        assert_eq!((progress.items(), progress.skipped()), (expected, n as u64 - expected));
        // The same behind the first item, which stays what it was.
        let mut at_client = texts::call(&client, n + 1, 5, OPEN);
        let progress = at_client.progress();
        soon(at_client.next()).await.unwrap().unwrap();
        let at_client = at_client.skip(skipped).every(step);
        assert_eq!(soon(at_client.count()).await as u64, expected);
        assert_eq!((progress.items(), progress.skipped()), (expected + 1, n as u64 - expected));
        assert_eq!(progress.bytes() - progress.bytes() / (expected + 1), bytes);
    }
}

async fn each_side_waits() {
    let (_world, _node, client) = World::with(functions![texts]).await;
    let gate = Gate::closed();
    let mut items = texts::call(&client, 3, 1, gate.key);
    let progress = items.progress();
    assert_eq!((progress.waiting(), progress.stalled()), Default::default());
    soon(items.next()).await.unwrap().unwrap();
    soon(items.next()).await.unwrap().unwrap();
    // The reader asks, and nothing is there.
    while items.next().now_or_never().is_some() {}
    let waiting = progress.waiting();
    until(|| progress.waiting() > waiting + Duration::from_millis(5)).await;
    // An item is there, and the reader does not ask.
    let stalled = progress.stalled();
    gate.open();
    until(|| progress.stalled() > stalled + Duration::from_millis(5)).await;
    let waiting = progress.waiting();
    until(|| progress.stalled() > stalled + Duration::from_millis(10)).await;
    assert_eq!(progress.waiting(), waiting);
    soon(items.next()).await.unwrap().unwrap();
    assert!(soon(items.next()).await.is_none());
    let both = (progress.waiting(), progress.stalled());
    assert!(progress.has_ended());
    assert_eq!((progress.waiting(), progress.stalled()), both, "the end is the end");
}

#[tokio::test]
async fn who_is_slow_is_seen() {
    each_side_waits().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_slow_is_seen_on_threads() {
    each_side_waits().await;
}

#[tokio::test]
async fn gateway_and_node_list_their_open_streams() {
    let (world, node, client) = World::with(functions![texts, endless]).await;
    let gate = Gate::closed();
    let mut quiet = texts::call(&client, 3, 8, gate.key);
    soon(quiet.next()).await.unwrap().unwrap();
    soon(quiet.next()).await.unwrap().unwrap();
    let mut unread = endless::call(&client, 60_000);
    soon(unread.next()).await.unwrap().unwrap();
    // The reader stops: soon all buffers are full, and both wait for it.
    let all = || [world.gateway.streams(), node.streams()];
    until(|| all().iter().all(|streams| streams[1].stalled_for.is_some())).await;
    for streams in all() {
        let [first, second] = &streams[..] else { panic!("{streams:?}") };
        assert_eq!((&*first.function, &*second.function), ("texts", "endless"));
        assert!(first.age >= second.age && first.quiet <= first.age);
        for stream in &streams {
            assert_eq!(stream.node, node.id());
            assert!(stream.caller.id.starts_with("client-"), "{stream:?}");
        }
        assert_eq!((first.items, first.stalled_for), (2, None), "its function is slow");
        assert!((16..40).contains(&first.bytes), "{first:?}");
        assert!(second.items > 1 && second.bytes >= (second.items - 1) * 60_000);
        assert!(second.stalled >= second.stalled_for.unwrap_or_default());
    }
    assert_eq!((world.gateway.stats().streams, node.stats().streams), (2, 2));
    // The time of a stall is added up, and ends.
    let items = node.streams()[1].items;
    while node.streams()[1].items < items + 20 {
        soon(unread.next()).await.unwrap().unwrap();
    }
    assert!(node.streams()[1].stalled > Duration::ZERO);
    drop((quiet, unread));
    until(|| all().iter().all(Vec::is_empty)).await;
    assert_eq!((world.gateway.stats().streams, node.stats().streams), (0, 0));
}
