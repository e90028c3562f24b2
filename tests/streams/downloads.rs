//! Streams.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use common::{World, serving, soon};
use easyremote::error::StreamError;
use easyremote::{CallError, ErrorKind, Executed, functions, remote};
use futures::stream::{self, BoxStream};
use futures::{Stream, StreamExt, TryStreamExt};
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct NotFound(u64);

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Bad {
    item: u64,
}

#[remote(stream)]
fn count(n: u64) -> impl Iterator<Item = u64> {
    0..n
}

#[remote(stream)]
fn count_async(n: u64) -> impl Stream<Item = u64> {
    stream::iter(0..n)
}

#[remote(stream)]
async fn count_after_a_while(n: u64) -> impl Stream<Item = u64> {
    tokio::task::yield_now().await;
    stream::iter(0..n)
}

#[remote(stream)]
async fn count_by_iterator_after_a_while(n: u64) -> impl Iterator<Item = u64> {
    tokio::task::yield_now().await;
    0..n
}

#[remote(stream)]
fn count_boxed(n: u64) -> BoxStream<'static, u64> {
    stream::iter(0..n).boxed()
}

#[remote(stream)]
async fn rows(n: u64) -> Result<impl Stream<Item = u64>, NotFound> {
    if n == 404 { Err(NotFound(n)) } else { Ok(stream::iter(0..n)) }
}

#[remote(stream)]
fn lines(n: u64) -> Result<impl Iterator<Item = String>, NotFound> {
    if n == 404 { Err(NotFound(n)) } else { Ok((0..n).map(|i| format!("line {i}"))) }
}

#[remote(stream)]
fn odd_ones_fail(n: u64) -> impl Iterator<Item = Result<u64, Bad>> {
    (0..n).map(|item| if item % 2 == 1 { Err(Bad { item }) } else { Ok(item) })
}

#[remote(stream)]
async fn both_fail(n: u64) -> Result<impl Stream<Item = Result<u64, Bad>>, NotFound> {
    if n == 404 { Err(NotFound(n)) } else { Ok(stream::iter(odd_ones_fail(n))) }
}

#[remote(stream)]
fn blobs(n: u64, length: u64) -> impl Iterator<Item = Vec<u8>> {
    (0..n).map(move |i| vec![i as u8; length as usize])
}

/// Lets one more item of [`gated`] and [`gated_sync`] out.
static GATE: Semaphore = Semaphore::const_new(0);

#[remote(stream)]
fn gated(n: u64) -> impl Stream<Item = u64> {
    stream::iter(0..n).then(|i| async move {
        GATE.acquire().await.unwrap().forget();
        i
    })
}

static SYNC_GATE: Semaphore = Semaphore::const_new(0);

#[remote(stream)]
fn gated_sync(n: u64) -> impl Iterator<Item = u64> {
    (0..n).inspect(|_| {
        futures::executor::block_on(SYNC_GATE.acquire()).unwrap().forget();
    })
}

static PRODUCED: AtomicU64 = AtomicU64::new(0);

#[remote(stream)]
fn counted(length: u64) -> impl Iterator<Item = Vec<u8>> {
    (0..).map(move |_| {
        PRODUCED.fetch_add(1, Ordering::SeqCst);
        vec![0; length as usize]
    })
}

#[remote(stream)]
fn endless(length: u64) -> impl Iterator<Item = Vec<u8>> {
    (0..).map(move |_| vec![0; length as usize])
}

#[remote(stream)]
fn breaks(after: u64) -> impl Iterator<Item = u64> {
    (0..).inspect(move |i| assert!(*i < after, "enough"))
}

#[remote(stream)]
fn breaks_async(after: u64) -> impl Stream<Item = u64> {
    stream::iter(0..).inspect(move |i| assert!(*i < after, "enough"))
}

#[remote(stream)]
async fn silence() -> impl Stream<Item = u64> {
    stream::pending()
}

#[tokio::test]
async fn every_kind_of_stream_gives_its_items_in_order() {
    let all = functions![
        count,
        count_async,
        count_after_a_while,
        count_by_iterator_after_a_while,
        count_boxed,
        rows,
        lines
    ];
    let (_world, client) = serving(all).await;
    for n in [0, 1, 100, 50_000] {
        let expected: Vec<u64> = (0..n).collect();
        let got: Vec<u64> = soon(count::call(&client, n).try_collect()).await.unwrap();
        assert_eq!(got, expected);
        let got: Vec<u64> = soon(count_async::call(&client, n).try_collect()).await.unwrap();
        assert_eq!(got, expected);
        let got = soon(count_after_a_while::call(&client, n).try_collect::<Vec<_>>()).await;
        assert_eq!(got.unwrap(), expected);
        let stream = count_by_iterator_after_a_while::call(&client, n);
        assert_eq!(soon(stream.try_collect::<Vec<_>>()).await.unwrap(), expected);
        let got: Vec<u64> = soon(count_boxed::call(&client, n).try_collect()).await.unwrap();
        assert_eq!(got, expected);
        let got: Vec<u64> = soon(rows::call(&client, n).try_collect()).await.unwrap();
        assert_eq!(got, expected);
    }
    let got: Vec<String> = soon(lines::call(&client, 2).try_collect()).await.unwrap();
    assert_eq!(got, ["line 0", "line 1"]);
}

#[tokio::test]
async fn an_item_arrives_as_soon_as_it_is_produced() {
    let (_world, client) = serving(functions![gated, gated_sync]).await;
    let mut items = gated::call(&client, 3);
    let mut sync_items = gated_sync::call(&client, 3);
    for i in 0..3 {
        GATE.add_permits(1);
        assert_eq!(soon(items.next()).await.unwrap().unwrap(), i);
        SYNC_GATE.add_permits(1);
        assert_eq!(soon(sync_items.next()).await.unwrap().unwrap(), i);
    }
    assert!(soon(items.next()).await.is_none());
    assert!(soon(sync_items.next()).await.is_none());
}

#[tokio::test]
async fn a_set_up_that_fails_gives_its_error_and_no_items() {
    let (_world, client) = serving(functions![rows, lines]).await;
    let error = soon(rows::call(&client, 404).open()).await.unwrap_err();
    assert_eq!(error.function(), Some(&NotFound(404)));
    let opened = soon(rows::call(&client, 3).open()).await.unwrap();
    assert_eq!(soon(opened.try_collect::<Vec<_>>()).await.unwrap(), [0, 1, 2]);
    // Without waiting for the set-up its error comes as the only item.
    let mut stream = lines::call(&client, 404);
    let error = soon(stream.next()).await.unwrap().unwrap_err();
    assert_eq!(error.function(), Some(&NotFound(404)));
    assert!(soon(stream.next()).await.is_none());
}

#[tokio::test]
async fn an_item_that_fails_does_not_end_the_stream() {
    let (_world, client) = serving(functions![odd_ones_fail, both_fail]).await;
    let items: Vec<_> = soon(odd_ones_fail::call(&client, 4).collect()).await;
    let plain: Vec<_> = items.iter().map(|item| item.as_ref().map_err(|e| e.function())).collect();
    let bad = |item| Bad { item };
    assert_eq!(plain, [Ok(&0), Err(Some(&bad(1))), Ok(&2), Err(Some(&bad(3)))]);

    let opened = soon(both_fail::call(&client, 2).open()).await.unwrap();
    let items: Vec<_> = soon(opened.collect()).await;
    assert!(matches!(&items[..], [Ok(0), Err(CallError::Function(Bad { item: 1 }))]), "{items:?}");

    let mut stream = both_fail::call(&client, 404);
    let error = soon(stream.next()).await.unwrap().unwrap_err();
    assert_eq!(error.function(), Some(&StreamError::Setup(NotFound(404))));
    let error = soon(both_fail::call(&client, 2).skip(1).next()).await.unwrap().unwrap_err();
    assert_eq!(error.function(), Some(&StreamError::Item(bad(1))));
}

#[tokio::test]
async fn a_slow_consumer_makes_the_producer_wait() {
    const ITEM: u64 = 64 << 10;
    let (_world, client) = serving(functions![counted]).await;
    let mut items = counted::call(&client, ITEM);
    soon(items.next()).await.unwrap().unwrap();
    // The producer stops by itself; when, nothing announces.
    let mut last = 0;
    let mut steady = 0;
    let mut looks = tokio::time::interval(Duration::from_millis(50));
    soon(async {
        while steady < 6 {
            looks.tick().await;
            let now = PRODUCED.load(Ordering::SeqCst);
            steady = if now == last { steady + 1 } else { 0 };
            last = now;
        }
    })
    .await;
    // Two windows of 256 KiB, and some batches and buffers in between.
    assert!(last * ITEM < 2 << 20, "{last} items were produced for a consumer that took one");
    // And it goes on when the consumer does.
    for _ in 0..200 {
        soon(items.next()).await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn a_stalled_stream_does_not_hold_up_others() {
    let (_world, client) = serving(functions![endless, count]).await;
    let mut stalled: Vec<_> = (0..20).map(|_| endless::call(&client, 100_000)).collect();
    for stream in &mut stalled {
        soon(stream.next()).await.unwrap().unwrap();
    }
    let got: Vec<u64> = soon(count::call(&client, 50_000).try_collect()).await.unwrap();
    assert_eq!(got.len(), 50_000);
}

#[tokio::test]
async fn large_items_survive() {
    let (_world, client) = serving(functions![blobs]).await;
    let mut items = blobs::call(&client, 5, 3 << 20);
    for i in 0..5 {
        assert_eq!(soon(items.next()).await.unwrap().unwrap(), vec![i as u8; 3 << 20]);
    }
    assert!(soon(items.next()).await.is_none());
}

#[tokio::test]
async fn a_panic_ends_a_stream_with_an_error_after_its_items() {
    let (_world, client) = serving(functions![breaks, breaks_async]).await;
    for mut items in [breaks::call(&client, 3).boxed(), breaks_async::call(&client, 3).boxed()] {
        for i in 0..3 {
            assert_eq!(soon(items.next()).await.unwrap().unwrap(), i);
        }
        let error = soon(items.next()).await.unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Panicked);
        assert_eq!((error.executed(), error.delivered()), (Executed::Yes, 3));
        assert!(error.to_string().contains("enough"), "{error}");
        assert!(soon(items.next()).await.is_none());
    }
}

#[tokio::test]
async fn a_deadline_ends_a_stream() {
    let (_world, client) = serving(functions![silence]).await;
    let mut stream = silence::call(&client).timeout(Duration::from_millis(50));
    let error = soon(stream.next()).await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::DeadlineExceeded);
    assert!(soon(stream.next()).await.is_none());
}

#[tokio::test]
async fn a_stream_that_is_never_polled_is_never_called() {
    let (world, _node, client) = World::with(functions![count]).await;
    drop(count::call(&client, 1));
    let polled: Vec<u64> = soon(count::call(&client, 1).try_collect()).await.unwrap();
    assert_eq!(polled, [0]);
    assert_eq!(world.gateway.stats().calls, 1);
}
