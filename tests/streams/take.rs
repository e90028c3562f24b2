//! Streams of which the caller wants so many items: the node stops by itself.

use common::{Probe, SayOnDrop, World, serving, soon};
use easyremote::{CallError, functions, remote};
use futures::{Stream, StreamExt, TryStreamExt, stream};
use serde_json::json;

/// Says when an item is made, and when the iterator is dropped.
#[remote(stream)]
fn by_iterator(key: u64) -> impl Iterator<Item = u64> {
    let dropped = SayOnDrop(key, "dropped");
    (0..).inspect(move |_| dropped.say("item"))
}

#[remote(stream)]
fn by_stream(key: u64) -> impl Stream<Item = u64> {
    let dropped = SayOnDrop(key, "dropped");
    stream::iter(0..).inspect(move |_| dropped.say("item"))
}

#[remote(stream)]
fn odd_ones_fail(n: u64) -> impl Iterator<Item = Result<u64, u64>> {
    (0..n).map(|i| if i % 2 == 0 { Ok(i) } else { Err(i) })
}

#[tokio::test]
async fn the_node_makes_no_item_that_nobody_wants() {
    let (_world, client) = serving(functions![by_iterator, by_stream]).await;
    let mut probe = Probe::new();
    let iterator = by_iterator::call(&client, probe.key).take(3).try_collect::<Vec<u64>>();
    assert_eq!(soon(iterator).await.unwrap(), [0, 1, 2]);
    for expected in ["item", "item", "item", "dropped"] {
        assert_eq!(probe.next().await, expected);
    }
    let stream = by_stream::call(&client, probe.key).take(2).try_collect::<Vec<u64>>();
    assert_eq!(soon(stream).await.unwrap(), [0, 1]);
    for expected in ["item", "item", "dropped"] {
        assert_eq!(probe.next().await, expected);
    }
}

#[tokio::test]
async fn it_stops_also_if_the_consumer_never_asks_for_the_end() {
    let (_world, client) = serving(functions![by_iterator]).await;
    let mut probe = Probe::new();
    let mut numbers = by_iterator::call(&client, probe.key).take(1);
    assert_eq!(soon(numbers.next()).await.unwrap().unwrap(), 0);
    assert_eq!([probe.next().await, probe.next().await], ["item", "dropped"]);
    assert!(soon(numbers.next()).await.is_none());
    assert!(soon(numbers.next()).await.is_none());
}

#[tokio::test]
async fn of_no_items_nothing_is_asked() {
    let (world, _node, client) = World::with(functions![by_iterator]).await;
    let mut none = by_iterator::call(&client, 0).take(0);
    assert!(soon(none.next()).await.is_none());
    assert_eq!(world.gateway.stats().calls, 0);
}

#[tokio::test]
async fn items_that_fail_count_and_a_short_stream_ends_as_it_does() {
    let (_world, client) = serving(functions![odd_ones_fail]).await;
    let items: Vec<_> = soon(odd_ones_fail::call(&client, 10).take(3).collect::<Vec<_>>()).await;
    assert!(matches!(items[..], [Ok(0), Err(CallError::Function(1)), Ok(2)]), "{items:?}");
    let short = odd_ones_fail::call(&client, 2).take(3).count();
    assert_eq!(soon(short).await, 2);
    let least = odd_ones_fail::call(&client, 10).take(4).take(9).count();
    assert_eq!(soon(least).await, 4);
}

#[tokio::test]
async fn streams_by_name_and_streams_under_way_can_be_limited_too() {
    let (_world, client) = serving(functions![by_iterator]).await;
    let mut probe = Probe::new();
    let named = client.stream_json("by_iterator", json!([probe.key])).take(2);
    assert_eq!(soon(named.try_collect::<Vec<_>>()).await.unwrap(), [json!(0), json!(1)]);
    for expected in ["item", "item", "dropped"] {
        assert_eq!(probe.next().await, expected);
    }
    let mut numbers = by_iterator::call(&client, probe.key);
    assert_eq!(soon(numbers.next()).await.unwrap().unwrap(), 0);
    let rest = numbers.take(3).try_collect::<Vec<u64>>();
    assert_eq!(soon(rest).await.unwrap(), [1, 2, 3]);
    soon(async { while probe.next().await != "dropped" {} }).await;
}
