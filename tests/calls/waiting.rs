//! Those who do not read, and those who wait for a connection: neither takes without limit.

use std::time::Duration;

use bytes::Bytes;
use common::{Probe, SayOnDrop, World, patient, soon, until};
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

#[remote]
fn length(bytes: Bytes) -> usize {
    bytes.len()
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

#[tokio::test]
async fn so_many_calls_wait_for_a_connection_and_no_more() {
    let (world, _node, _) = World::with(functions![length]).await;
    // So long they wait: all have to be there before the first gives up.
    let builder = world.client_builder().dial(patient(Duration::from_secs(6)));
    let client = soon(builder.connect()).await.unwrap();
    assert_eq!(soon(length::call(&client, Bytes::new())).await.unwrap(), 0);
    soon(world.gateway.shutdown()).await;

    let long = Bytes::from(vec![0; 20 << 20]);
    let alone = soon(length::call(&client, long.clone())).await.unwrap_err();
    assert_eq!(alone.kind(), ErrorKind::Unavailable, "it waited: {alone}");

    let calls: Vec<_> =
        (0..1_100).map(|_| tokio::spawn(length::call(&client, Bytes::new()))).collect();
    let mut overloaded = 0;
    for call in calls {
        let error = soon(call).await.unwrap().unwrap_err();
        assert_eq!(error.executed(), Executed::No);
        match error.kind() {
            ErrorKind::Unavailable => {}
            ErrorKind::Overloaded => {
                assert!(error.retry_after().is_some() && error.is_retryable(), "{error}");
                overloaded += 1;
            }
            _ => panic!("{error}"),
        }
    }
    assert_eq!(overloaded, 1_100 - 1_024);

    let long = (0..3).map(|_| tokio::spawn(length::call(&client, long.slice(..3 << 20))));
    let mut kinds = Vec::new();
    for call in long.collect::<Vec<_>>() {
        kinds.push(soon(call).await.unwrap().unwrap_err().kind());
    }
    use ErrorKind::{Overloaded, Unavailable};
    assert_eq!(kinds, [Unavailable, Unavailable, Overloaded], "8 MiB are room for two of these");
}
