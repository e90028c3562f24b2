//! Calls with resumable client streams: through lost gateways the function sees one stream, in which
//! each item comes once and in order, and its caller gets the one result.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use common::gate::{Gate, OPEN, pass};
use common::{Probe, SayOnDrop, say, soon, until};
use easyremote::{ErrorKind, Executed, Retry, functions, remote};
use futures::channel::mpsc;
use futures::{SinkExt, Stream, StreamExt, stream};

use super::rig::Rig;

/// Returns the number of items, the sum of their bytes, and where the order was wrong.
#[remote(resumable)]
pub(super) async fn totals(items: impl Stream<Item = (u64, Vec<u8>)>) -> (u64, u64, Option<u64>) {
    let none = (0, 0, None);
    items
        .fold(none, async |(n, bytes, wrong), (i, body)| {
            let fits = i == n && body.iter().all(|byte| *byte == i as u8);
            (n + 1, bytes + body.len() as u64, wrong.or((!fits).then_some(i)))
        })
        .await
}

/// Reads what a caller sends first, and the rest once the gate is open. Returns the number of bytes.
#[remote(resumable)]
pub(super) async fn held(probe: u64, gate: u64, chunks: impl Stream<Item = Bytes>) -> u64 {
    let _guard = SayOnDrop(probe, "dropped");
    let mut chunks = Box::pin(chunks);
    let mut bytes = 0;
    for _ in 0..3 {
        bytes += chunks.next().await.map_or(0, |chunk| chunk.len() as u64);
    }
    say(probe, "started");
    pass(gate).await;
    chunks.fold(bytes, async |bytes, chunk| bytes + chunk.len() as u64).await
}

/// Reads everything, and answers once the gate is open.
#[remote(resumable)]
async fn late(probe: u64, gate: u64, chunks: impl Stream<Item = Bytes>) -> u64 {
    let bytes = chunks.fold(0, async |bytes, chunk| bytes + chunk.len() as u64).await;
    say(probe, "read");
    pass(gate).await;
    bytes
}

/// Wants no more than three items, and answers once the gate is open.
#[remote(resumable)]
async fn picky(probe: u64, gate: u64, chunks: impl Stream<Item = Bytes>) -> u64 {
    let n = chunks.take(3).count().await as u64;
    say(probe, "wants no more");
    pass(gate).await;
    n
}

#[remote(resumable)]
async fn panics(numbers: impl Stream<Item = u64>) -> u64 {
    let n = numbers.take(3).count().await;
    panic!("after {n} items");
}

const ITEMS: u64 = 5_000;
const LOSSES: u64 = 10;

/// Between two losses more is sent than a client keeps. So the node has had the call in between, and
/// the client knows it: the 30 s for which it tries to resume begin again.
const SHORT: u64 = 4 << 10;

/// More than a client keeps.
pub(super) const LONG: usize = 2 << 20;

/// What a caller sends first. A client keeps no second item of this length before the node has the
/// first one. So when the fourth one is taken from its stream, the call can be resumed.
pub(super) fn opening(probe: u64) -> impl Stream<Item = Bytes> {
    stream::iter(0..4).map(move |i| {
        if i == 3 {
            say(probe, "attached");
        }
        Bytes::from(vec![7; LONG])
    })
}

/// Waits until the function has what the caller sends first, and the call can be resumed.
async fn begun(probe: &mut Probe) {
    let mut said = [soon(probe.next()).await, soon(probe.next()).await];
    said.sort_unstable();
    assert_eq!(said, ["attached", "started"]);
}

/// Sends `n` items, and calls `lose` behind some of them. Resolves once all have been taken.
async fn send_through(
    mut items: mpsc::Sender<(u64, Vec<u8>)>,
    n: u64,
    mut lose: impl AsyncFnMut(u64),
) -> u64 {
    let mut bytes = 0;
    for i in 0..n {
        let length = if i < 4 { LONG } else { (SHORT + i % 97) as usize };
        bytes += length as u64;
        if soon(items.send((i, vec![i as u8; length]))).await.is_err() {
            // The call has failed: its error says more.
            break;
        }
        if i > 3 {
            lose(i).await;
        }
    }
    bytes
}

async fn gateways_are_lost_several_times(gateways: usize) {
    let mut rig = Rig::start(gateways).await;
    let node = rig.node("a", functions![totals]).await;
    let client = rig.client().await;
    let (sender, items) = mpsc::channel(0);
    let call = tokio::spawn(totals::call(&client, items));
    let every = ITEMS / LOSSES;
    let bytes = send_through(sender, ITEMS, async |i| {
        if i % every == every / 2 {
            until(|| rig.in_flight() > 0).await;
            let chosen = rig.chosen();
            rig.restart(chosen).await;
        }
    })
    .await;
    assert_eq!(soon(call).await.unwrap().unwrap(), (ITEMS, bytes, None));
    until(|| node.stats().in_flight == 0 && rig.in_flight() == 0).await;
}

#[tokio::test]
async fn an_upload_goes_on_after_its_only_gateway_was_lost() {
    gateways_are_lost_several_times(1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_changes_to_another_gateway() {
    gateways_are_lost_several_times(2).await;
}

/// A gateway is lost while an item is on its way, of which the function may have a part.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_interrupted_item_arrives_once() {
    let mut rig = Rig::start(1).await;
    let node = rig.node("a", functions![held]).await;
    let client = rig.client().await;
    let (mut sender, chunks) = mpsc::channel(0);
    let call = tokio::spawn(held::call(&client, OPEN, OPEN, chunks));
    for i in 0..10_u8 {
        soon(sender.send(Bytes::from(vec![i; LONG]))).await.unwrap();
        if i > 3 {
            until(|| rig.in_flight() == 1).await;
            rig.restart(0).await;
        }
    }
    drop(sender);
    assert_eq!(soon(call).await.unwrap().unwrap(), 10 * LONG as u64);
    until(|| node.stats().in_flight == 0 && rig.in_flight() == 0).await;
}

#[tokio::test]
async fn the_result_waits_for_a_caller_that_was_lost() {
    let mut rig = Rig::start(1).await;
    let node = rig.node("a", functions![late]).await;
    let client = rig.client().await;
    let (mut probe, gate) = (Probe::new(), Gate::closed());
    let call = tokio::spawn(late::call(&client, probe.key, gate.key, opening(OPEN)));
    assert_eq!(soon(probe.next()).await, "read");
    rig.end(0).await;
    gate.open();
    // The function ends while its caller cannot be told.
    until(|| node.stats().in_flight == 0).await;
    rig.start_again(0).await;
    assert_eq!(soon(call).await.unwrap().unwrap(), 4 * LONG as u64);
    until(|| rig.in_flight() == 0).await;
    assert!(probe.so_far().is_empty(), "it ran once");
}

#[tokio::test]
async fn a_slow_function_holds_its_caller_up_and_misses_nothing() {
    let mut rig = Rig::start(1).await;
    let node = rig.node("a", functions![held]).await;
    let client = rig.client().await;
    let (mut probe, gate) = (Probe::new(), Gate::closed());
    let polled = Arc::new(AtomicU64::new(0));
    let counted = polled.clone();
    let rest = stream::iter(0..3_000).map(move |_| {
        counted.fetch_add(1, Ordering::Relaxed);
        Bytes::from(vec![7; 10_000])
    });
    let chunks = opening(probe.key).chain(rest);
    let call = tokio::spawn(held::call(&client, probe.key, gate.key, chunks));
    begun(&mut probe).await;
    for _ in 0..3 {
        until(|| rig.in_flight() == 1).await;
        rig.restart(0).await;
    }
    until(|| rig.in_flight() == 1).await;
    assert!(polled.load(Ordering::Relaxed) < 500, "what is kept has a limit");
    gate.open();
    assert_eq!(soon(call).await.unwrap().unwrap(), 4 * LONG as u64 + 30_000_000);
    assert_eq!(polled.load(Ordering::Relaxed), 3_000);
    until(|| node.stats().in_flight == 0 && rig.in_flight() == 0).await;
}

#[tokio::test]
async fn a_function_that_wants_no_more_may_answer_later() {
    let mut rig = Rig::start(1).await;
    let node = rig.node("a", functions![picky]).await;
    let client = rig.client().await;
    let (mut probe, gate) = (Probe::new(), Gate::closed());
    let endless = opening(OPEN).chain(stream::repeat(Bytes::from_static(b"more")));
    let call = tokio::spawn(picky::call(&client, probe.key, gate.key, endless));
    assert_eq!(soon(probe.next()).await, "wants no more");
    for _ in 0..2 {
        until(|| rig.in_flight() == 1).await;
        rig.restart(0).await;
    }
    gate.open();
    assert_eq!(soon(call).await.unwrap().unwrap(), 3);
    until(|| node.stats().in_flight == 0 && rig.in_flight() == 0).await;
}

#[tokio::test]
async fn dropping_the_call_cancels_the_function_at_once() {
    let mut rig = Rig::start(1).await;
    let node = rig.node("a", functions![held]).await;
    let client = rig.client().await;
    for lost in [false, true] {
        let mut probe = Probe::new();
        let chunks = opening(probe.key).chain(stream::pending());
        let call = tokio::spawn(held::call(&client, probe.key, OPEN, chunks));
        begun(&mut probe).await;
        if lost {
            rig.restart(0).await;
            until(|| rig.in_flight() == 1).await;
        }
        call.abort();
        assert_eq!(soon(probe.next()).await, "dropped");
        until(|| node.stats().in_flight == 0 && rig.in_flight() == 0).await;
    }
}

#[tokio::test]
async fn a_lost_node_is_one_gap() {
    let rig = Rig::start(1).await;
    let node = rig.node("a", functions![held]).await;
    let client = rig.client().await;
    let mut probe = Probe::new();
    let chunks = opening(probe.key).chain(stream::pending());
    let call = tokio::spawn(held::call(&client, probe.key, OPEN, chunks));
    begun(&mut probe).await;
    drop(node);
    // Another process with the same id.
    let _node = rig.node("a", functions![held]).await;
    let error = soon(call).await.unwrap().unwrap_err();
    assert_eq!((error.kind(), error.executed()), (ErrorKind::Gap, Executed::Maybe), "{error}");
    until(|| rig.in_flight() == 0).await;
}

#[tokio::test]
async fn a_panic_of_the_function_ends_the_call() {
    let rig = Rig::start(1).await;
    let node = rig.node("a", functions![panics]).await;
    let client = rig.client().await;
    let error = soon(panics::call(&client, stream::iter(0..))).await.unwrap_err();
    assert_eq!((error.kind(), error.executed()), (ErrorKind::Panicked, Executed::Yes), "{error}");
    until(|| node.stats().in_flight == 0 && rig.in_flight() == 0).await;
}

#[tokio::test]
async fn a_deadline_passes_wherever_the_caller_is() {
    let mut rig = Rig::start(1).await;
    let node = rig.node("a", functions![held]).await;
    let client = rig.client().await;
    let mut probe = Probe::new();
    let chunks = opening(probe.key).chain(stream::pending());
    let call = held::call(&client, probe.key, OPEN, chunks).timeout(Duration::from_secs(5));
    let call = tokio::spawn(call);
    begun(&mut probe).await;
    rig.end(0).await;
    assert_eq!(soon(probe.next()).await, "dropped");
    let error = soon(call).await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::DeadlineExceeded, "{error}");
    rig.start_again(0).await;
    until(|| node.stats().in_flight == 0).await;
}

/// The only place is held by the call itself: to continue it, no other may be waited for.
#[tokio::test]
async fn an_upload_needs_no_second_place() {
    let mut rig = Rig::start(1).await;
    let node = rig.node_builder("a", functions![totals]).concurrency(1);
    let node = soon(node.serve()).await.unwrap();
    let client = rig.client().await;
    let (sender, items) = mpsc::channel(0);
    let call = tokio::spawn(totals::call(&client, items));
    let bytes = send_through(sender, 100, async |i| {
        if i == 50 {
            rig.restart(0).await;
            until(|| rig.in_flight() == 1).await;
        }
    })
    .await;
    assert_eq!(soon(call).await.unwrap().unwrap(), (100, bytes, None));
    let none = stream::empty();
    assert_eq!(soon(totals::call(&client, none)).await.unwrap(), (0, 0, None));
    until(|| node.stats().in_flight == 0 && rig.in_flight() == 0).await;
}

/// What has been sent is kept until a node has accepted the call.
#[tokio::test]
async fn a_call_that_no_node_has_accepted_is_made_again_with_all_items() {
    let rig = Rig::start(1).await;
    let _other = rig.node("other", functions![totals]).await;
    let client = rig.client_builder().retry_tokens(u32::MAX).connect();
    let client = soon(client).await.unwrap();
    let (mut sender, items) = mpsc::channel(0);
    let (first, longest) = (Duration::from_millis(5), Duration::from_millis(20));
    let patient = Retry::new().attempts(u32::MAX).backoff(first, longest);
    let call = tokio::spawn(totals::call(&client, items).tag("late").retry(patient));
    for i in 0..10 {
        soon(sender.send((i, vec![i as u8; 10]))).await.unwrap();
        let before = client.stats().retries;
        until(|| client.stats().retries > before).await;
    }
    let node = rig.node_builder("a", functions![totals]).tag("late");
    let node = soon(node.serve()).await.unwrap();
    for i in 10..20 {
        soon(sender.send((i, vec![i as u8; 10]))).await.unwrap();
    }
    drop(sender);
    assert_eq!(soon(call).await.unwrap().unwrap(), (20, 200, None));
    until(|| node.stats().in_flight == 0 && rig.in_flight() == 0).await;
}

/// The same function, where its caller takes it to be resumable and its node does not.
mod declared {
    use super::{Stream, remote};

    #[remote(name = "totals.plain", resumable)]
    pub(super) async fn total(items: impl Stream<Item = u64>) -> u64;
}

#[remote(name = "totals.plain")]
async fn total(items: impl Stream<Item = u64>) -> u64 {
    items.fold(0, async |sum, item| sum + item).await
}

#[tokio::test]
async fn what_a_client_stream_does_not_go_with_is_refused_before_anything_runs() {
    let rig = Rig::start(1).await;
    let node = rig.node("a", functions![totals, total]).await;
    let client = rig.client().await;
    let call = || totals::call(&client, stream::empty());
    let errors = [
        (soon(call().spawn()).await.unwrap_err(), ErrorKind::InvalidInput),
        (soon(call().key("a")).await.unwrap_err(), ErrorKind::InvalidInput),
        (
            soon(declared::total::call(&client, stream::iter(0..9))).await.unwrap_err(),
            ErrorKind::SignatureMismatch,
        ),
    ];
    for (error, kind) in errors {
        assert_eq!((error.kind(), error.executed()), (kind, Executed::No), "{error}");
    }
    assert_eq!(node.stats().in_flight, 0);
    assert_eq!(soon(total::call(&client, stream::iter(0..9))).await.unwrap(), 36);
}
