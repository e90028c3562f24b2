//! Streams from the caller, alone and together with streams to it.

use std::panic::AssertUnwindSafe;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use common::{Probe, SayOnDrop, World, say, serving, soon, until};
use easyremote::client::Kind;
use easyremote::node::NodeLimits;
use easyremote::{CallError, ErrorKind, Executed, functions, remote};
use futures::{FutureExt, Stream, StreamExt, TryStreamExt, stream};
use serde_json::json;

#[remote]
async fn sum(start: u64, numbers: impl Stream<Item = u64>) -> u64 {
    numbers.fold(start, |sum, number| async move { sum + number }).await
}

#[remote]
async fn length(chunks: impl Stream<Item = Bytes> + Send) -> u64 {
    chunks.fold(0, |length, chunk| async move { length + chunk.len() as u64 }).await
}

#[remote(stream)]
fn echo(chunks: impl Stream<Item = Bytes>) -> impl Stream<Item = Bytes> {
    chunks
}

#[remote(stream)]
fn double(numbers: impl Stream<Item = u64>) -> impl Stream<Item = u64> {
    numbers.map(|number| 2 * number)
}

#[remote(stream)]
async fn checked(
    limit: u64,
    numbers: impl Stream<Item = u64>,
) -> Result<impl Stream<Item = Result<u64, String>>, String> {
    if limit == 0 {
        return Err("no limit".into());
    }
    Ok(numbers.map(move |n| if n <= limit { Ok(n) } else { Err(format!("{n} is too much")) }))
}

#[remote]
async fn first(key: u64, numbers: impl Stream<Item = u64>) -> Option<u64> {
    let _guard = SayOnDrop(key, "dropped");
    let mut numbers = Box::pin(numbers);
    numbers.next().await
}

#[remote]
async fn all(key: u64, numbers: impl Stream<Item = u64>) -> u64 {
    let _guard = SayOnDrop(key, "dropped");
    say(key, "started");
    numbers.count().await as u64
}

#[remote]
async fn idle(key: u64, chunks: impl Stream<Item = Bytes>) {
    let _chunks = chunks;
    say(key, "started");
    std::future::pending::<()>().await;
}

#[tokio::test]
async fn a_stream_reaches_the_function_whole_and_in_order() {
    let (_world, client) = serving(functions![sum, length]).await;
    for n in [0, 1, 100, 50_000] {
        let total = soon(sum::call(&client, 1, stream::iter(0..n))).await.unwrap();
        assert_eq!(total, 1 + (0..n).sum::<u64>());
    }
    // The sizes of gRPC's interoperability tests.
    let chunks = [27_182, 8, 1_828, 45_904].map(|length| Bytes::from(vec![7; length]));
    assert_eq!(soon(length::call(&client, stream::iter(chunks))).await.unwrap(), 74_922);
    let large = (0..5).map(|i| Bytes::from(vec![i; 3 << 20]));
    assert_eq!(soon(length::call(&client, stream::iter(large))).await.unwrap(), 15 << 20);
}

#[tokio::test]
async fn answers_come_while_the_caller_is_still_sending() {
    let (_world, client) = serving(functions![double]).await;
    let (ask, asked) = futures::channel::mpsc::unbounded();
    let mut doubled = double::call(&client, asked);
    for number in 0..100 {
        ask.unbounded_send(number).unwrap();
        assert_eq!(soon(doubled.next()).await.unwrap().unwrap(), 2 * number);
    }
    drop(ask);
    assert!(soon(doubled.next()).await.is_none());
    let many: Vec<u64> =
        soon(double::call(&client, stream::iter(0..100_000)).try_collect()).await.unwrap();
    assert!(many.into_iter().eq((0..100_000).map(|number| 2 * number)));
}

#[tokio::test]
async fn set_up_and_items_of_a_duplex_stream_may_fail() {
    let (_world, client) = serving(functions![checked]).await;
    let error = soon(checked::call(&client, 0, stream::iter([1])).open()).await.unwrap_err();
    assert_eq!(error.function().unwrap(), "no limit");
    let opened = soon(checked::call(&client, 2, stream::iter([1, 2, 3])).open()).await.unwrap();
    let items: Vec<_> = soon(opened.collect()).await;
    assert!(
        matches!(&items[..], [Ok(1), Ok(2), Err(CallError::Function(text))] if text == "3 is too much"),
        "{items:?}"
    );
}

#[tokio::test]
async fn a_function_need_not_read_all_of_it() {
    let (world, node, client) = World::with(functions![first]).await;
    let mut probe = Probe::new();
    let endless = stream::iter(5..);
    assert_eq!(soon(first::call(&client, probe.key, endless)).await.unwrap(), Some(5));
    assert_eq!(probe.next().await, "dropped");
    until(|| node.stats().in_flight == 0 && world.gateway.stats().in_flight == 0).await;
}

#[tokio::test]
async fn an_upload_that_breaks_off_is_never_taken_for_a_whole_one() {
    let (_world, node, client) = World::with(functions![all]).await;
    let mut probe = Probe::new();
    let (send, numbers) = futures::channel::mpsc::unbounded();
    let call = tokio::spawn(all::call(&client, probe.key, numbers));
    send.unbounded_send(1).unwrap();
    assert_eq!(probe.next().await, "started");
    call.abort();
    // Not finished, but dropped: had it seen an end, it would have returned first.
    assert_eq!(probe.next().await, "dropped");
    until(|| node.stats().in_flight == 0).await;

    let (send, numbers) = futures::channel::mpsc::unbounded();
    let call = tokio::spawn(all::call(&client, probe.key, numbers));
    send.unbounded_send(1).unwrap();
    assert_eq!(probe.next().await, "started");
    soon(client.close()).await;
    let error = soon(call).await.unwrap().unwrap_err();
    assert_eq!((error.kind(), error.executed()), (ErrorKind::ConnectionLost, Executed::Maybe));
    assert_eq!(probe.next().await, "dropped");
}

#[tokio::test]
async fn an_item_that_the_node_does_not_take_ends_the_call_with_the_reason() {
    let world = World::start().await;
    let node = world
        .node_builder()
        .limits(NodeLimits::new().max_message(10_000))
        .functions(functions![length, echo]);
    let node = soon(node.serve()).await.unwrap();
    let client = world.client().await;
    let chunks = || stream::iter([1, 20_000, 1]).map(|n| Bytes::from(vec![7; n]));
    let error = soon(length::call(&client, chunks())).await.unwrap_err();
    assert_eq!((error.kind(), error.executed()), (ErrorKind::TooLarge, Executed::Yes));
    assert_eq!(error.node(), Some(node.id()));
    assert!(error.to_string().contains("item 1 of the caller's stream"), "{error}");

    let mut echoed = echo::call(&client, chunks());
    assert_eq!(soon(echoed.next()).await.unwrap().unwrap().len(), 1);
    let error = soon(echoed.next()).await.unwrap().unwrap_err();
    assert_eq!((error.kind(), error.delivered()), (ErrorKind::TooLarge, 1));
    assert!(soon(echoed.next()).await.is_none());
    until(|| node.stats().in_flight == 0).await;
}

#[tokio::test]
async fn a_panic_of_the_callers_stream_puts_nothing_in_its_place() {
    let (_world, client) = serving(functions![double]).await;
    let mut n = 0;
    let numbers = stream::poll_fn(move |_| {
        n += 1;
        assert_ne!(n, 2, "as planned");
        Poll::Ready((n < 4).then_some(n))
    });
    let mut doubled = double::call(&client, numbers);
    let panicked = AssertUnwindSafe(doubled.next()).catch_unwind();
    assert!(soon(panicked).await.is_err());
    assert_eq!(soon(doubled.try_collect::<Vec<_>>()).await.unwrap(), [2, 6]);
}

#[tokio::test]
async fn a_function_that_does_not_read_makes_the_caller_wait() {
    let (_world, client) = serving(functions![idle]).await;
    let mut probe = Probe::new();
    let (count, counted) = tokio::sync::watch::channel(0_u64);
    let chunks = stream::iter(0..).map(move |i| {
        count.send_replace(i);
        Bytes::from(vec![0; 64 << 10])
    });
    let call = tokio::spawn(idle::call(&client, probe.key, chunks));
    assert_eq!(probe.next().await, "started");
    let (mut last, mut steady) = (0, 0);
    let mut looks = tokio::time::interval(Duration::from_millis(50));
    soon(async {
        while steady < 6 {
            looks.tick().await;
            let now = *counted.borrow();
            steady = if now == last { steady + 1 } else { 0 };
            last = now;
        }
    })
    .await;
    assert!(last * (64 << 10) < 2 << 20, "{last} chunks were taken for a function that reads none");
    call.abort();
}

#[tokio::test]
async fn a_call_by_name_without_the_stream_is_refused() {
    let (_world, client) = serving(functions![sum, double]).await;
    let listed = soon(client.functions()).await.unwrap();
    assert_eq!([listed[0].kind, listed[1].kind], [Kind::Duplex, Kind::Upload]);
    assert_eq!(listed[1].signature, "(start: u64, impl Stream<Item = u64>) -> u64");
    let error = soon(client.call_json("sum", json!([1]))).await.unwrap_err();
    assert_eq!(error.remote().unwrap().kind(), ErrorKind::BadArguments);
    assert!(error.to_string().contains("`items` of `call_json`"), "{error}");
}
