//! Streams that are read slowly, or by no one: they take no more than they may.

use std::time::Duration;

use bytes::Bytes;
use common::{Probe, SayOnDrop, World, soon, until};
use easyremote::client::ClientLimits;
use easyremote::{ErrorKind, Executed, functions, remote};
use futures::{Stream, StreamExt, stream};

#[remote(stream)]
fn endless(key: u64, length: usize) -> impl Stream<Item = Bytes> {
    let dropped = SayOnDrop(key, "dropped");
    let item = Bytes::from(vec![7; length]);
    stream::repeat(item).inspect(move |_| {
        let _ = &dropped;
    })
}

#[tokio::test]
async fn a_stream_that_nobody_reads_ends_after_a_while() {
    let (world, _node, _) = World::with(functions![endless]).await;
    let client = world
        .client_builder()
        .limits(ClientLimits::new().stall_timeout(Duration::from_millis(200)))
        .connect();
    let client = soon(client).await.unwrap();
    let mut probe = Probe::new();
    let mut items = endless::call(&client, probe.key, 10_000);
    assert_eq!(soon(items.next()).await.unwrap().unwrap().len(), 10_000);
    // The node stops, although the stream is still held here.
    assert_eq!(probe.next().await, "dropped");
    until(|| world.gateway.stats().in_flight == 0).await;
    let mut received = 1;
    let error = loop {
        match soon(items.next()).await.unwrap() {
            Ok(item) => {
                assert_eq!(item.len(), 10_000);
                received += 1;
            }
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), ErrorKind::SlowConsumer, "{error}");
    assert_eq!((error.delivered(), error.executed()), (received, Executed::Yes));
    assert!(soon(items.next()).await.is_none());
}

#[tokio::test]
async fn a_stream_that_is_read_slowly_goes_on() {
    let (world, _node, _) = World::with(functions![endless]).await;
    // An item of the batch that has come is enough, however long the next batch waits.
    let client = world
        .client_builder()
        .limits(ClientLimits::new().stall_timeout(Duration::from_secs(4)))
        .connect();
    let client = soon(client).await.unwrap();
    let mut probe = Probe::new();
    let mut items = endless::call(&client, probe.key, 100);
    let mut asks = tokio::time::interval(Duration::from_millis(50));
    for _ in 0..100 {
        asks.tick().await;
        soon(items.next()).await.unwrap().unwrap();
    }
    assert_eq!(probe.so_far(), [""; 0]);
}
