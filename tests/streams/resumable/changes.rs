//! Resumable streams where something leaves as it is meant to, and streams of functions that call
//! functions.

use std::time::Duration;

use common::gate::{Gate, OPEN, pass};
use common::{Probe, say, soon, until};
use easyremote::{Context, functions, remote};
use futures::channel::mpsc;
use futures::{SinkExt, Stream, StreamExt, stream};

use super::rig::Rig;
use super::uploads::{LONG, opening, totals};
use super::{ITEMS, LOSSES, counted, read_through, resumed};

const GRACE: Duration = Duration::from_secs(50);

/// The gateway that a stream uses is drained again and again. It waits for no stream that can move.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_moves_off_a_gateway_that_drains() {
    let mut rig = Rig::start(2).await;
    let node = rig.node("a", functions![counted]).await;
    let client = rig.client().await;
    let mut items = counted::call(&client, u64::MAX, 100).resumable();
    let progress = items.progress();
    for i in 0..400 {
        if i % 100 == 50 {
            // Both have the node, so that the stream can go either way.
            for n in 0..2 {
                rig.has_nodes(n, 1).await;
            }
            let chosen = rig.chosen();
            rig.replace(chosen).await;
        }
        assert_eq!(soon(items.next()).await.unwrap().unwrap().0, i);
    }
    assert!(progress.resumptions() >= 4, "{}", progress.resumptions());
    drop(items);
    until(|| node.stats().in_flight == 0 && rig.in_flight() == 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_moves_off_a_gateway_that_drains() {
    let mut rig = Rig::start(2).await;
    let node = rig.node("a", functions![totals]).await;
    let client = rig.client().await;
    let (mut sender, items) = mpsc::channel(0);
    let call = tokio::spawn(totals::call(&client, items));
    let mut bytes = 0;
    for i in 0..400 {
        // Between two drains more than a client keeps.
        let length = if i < 4 { LONG } else { 16 << 10 };
        bytes += length as u64;
        soon(sender.send((i, vec![i as u8; length]))).await.unwrap();
        if i % 100 == 50 {
            for n in 0..2 {
                rig.has_nodes(n, 1).await;
            }
            let chosen = rig.chosen();
            rig.replace(chosen).await;
        }
    }
    drop(sender);
    assert_eq!(soon(call).await.unwrap().unwrap(), (400, bytes, None));
    until(|| node.stats().in_flight == 0 && rig.in_flight() == 0).await;
}

/// A node that drains waits for its streams, also for one whose reader is lost meanwhile.
#[tokio::test]
async fn a_node_that_drains_keeps_its_stream_until_its_end() {
    let mut rig = Rig::start(1).await;
    let node = rig.node("a", functions![counted]).await;
    let client = rig.client().await;
    let items = counted::call(&client, ITEMS, 100).resumable();
    let mut drain = Box::pin(node.drain(GRACE));
    let mut begun = false;
    let reading = read_through(items, async || {
        if !begun {
            begun = true;
            // Its first poll begins the drain.
            assert!(futures::poll!(&mut drain).is_pending());
        }
        rig.restart(0).await;
    });
    reading.await;
    soon(drain).await;
    until(|| rig.in_flight() == 0).await;
}

#[tokio::test]
async fn a_node_that_drains_takes_the_rest_of_an_upload() {
    let mut rig = Rig::start(1).await;
    let node = rig.node("a", functions![totals]).await;
    let client = rig.client().await;
    let (mut sender, items) = mpsc::channel(0);
    let call = tokio::spawn(totals::call(&client, items));
    let mut drain = Box::pin(node.drain(GRACE));
    let mut bytes = 0;
    for i in 0..100 {
        let length = if i < 4 { LONG } else { 100 };
        bytes += length as u64;
        soon(sender.send((i, vec![i as u8; length]))).await.unwrap();
        if i == 10 {
            assert!(futures::poll!(&mut drain).is_pending());
        }
        if i % 30 == 20 {
            rig.restart(0).await;
        }
    }
    drop(sender);
    assert_eq!(soon(call).await.unwrap().unwrap(), (100, bytes, None));
    soon(drain).await;
    until(|| rig.in_flight() == 0).await;
}

#[tokio::test]
async fn a_stream_goes_on_elsewhere_if_its_node_does_not_wait() {
    let rig = Rig::start(1).await;
    let mut nodes = vec![rig.node("0", functions![resumed]).await];
    let client = rig.client().await;
    let mut n = 0;
    read_through(resumed::call(&client, ITEMS).resumable(), async || {
        n += 1;
        nodes.push(rig.node(&n.to_string(), functions![resumed]).await);
        soon(nodes.remove(0).drain(Duration::ZERO)).await;
    })
    .await;
    assert_eq!(n, LOSSES);
    until(|| nodes[0].stats().in_flight == 0 && rig.in_flight() == 0).await;
}

/// Passes on what another node counts.
#[remote(stream)]
fn passed_on(#[ctx] ctx: &Context, n: u64) -> impl Stream<Item = Result<(u64, Vec<u8>), String>> {
    let items = counted::call(&ctx.client(), n, 100).resumable();
    items.map(|item| item.map_err(|error| error.to_string()))
}

/// The way between the nodes is lost as well as that to the client.
async fn both_ways_are_lost() {
    let mut rig = Rig::start(1).await;
    let outer = rig.node("outer", functions![passed_on]).await;
    let inner = rig.node("inner", functions![counted]).await;
    let client = rig.client().await;
    read_through(passed_on::call(&client, ITEMS).resumable(), async || rig.restart(0).await).await;
    let idle = || outer.stats().in_flight == 0 && inner.stats().in_flight == 0;
    until(idle).await;
    // A caller that leaves ends both.
    let mut items = passed_on::call(&client, u64::MAX).resumable();
    soon(items.next()).await.unwrap().unwrap();
    rig.restart(0).await;
    soon(items.next()).await.unwrap().unwrap();
    drop(items);
    until(idle).await;
    until(|| rig.in_flight() == 0).await;
}

#[tokio::test]
async fn a_stream_inside_a_function_goes_on_too() {
    both_ways_are_lost().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_inside_a_function_goes_on_too_on_several_threads() {
    both_ways_are_lost().await;
}

/// Sends a stream to another node, the second half once the gate is open.
#[remote(stream)]
fn sent_on(#[ctx] ctx: &Context, probe: u64, gate: u64) -> impl Stream<Item = Result<u64, String>> {
    let chunks = opening(probe).chain(stream::once(async move {
        pass(gate).await;
        vec![7; LONG].into()
    }));
    let call = super::uploads::held::call(&ctx.client(), OPEN, OPEN, chunks);
    stream::once(async { call.await.map_err(|error| error.to_string()) })
}

#[tokio::test]
async fn an_upload_inside_a_function_goes_on_too() {
    let mut rig = Rig::start(1).await;
    let outer = rig.node("outer", functions![sent_on]).await;
    let inner = rig.node("inner", functions![super::uploads::held]).await;
    let client = rig.client().await;
    let (mut probe, gate) = (Probe::new(), Gate::closed());
    let stream = sent_on::call(&client, probe.key, gate.key).resumable();
    let mut stream = soon(stream.open()).await.unwrap();
    assert_eq!(probe.next().await, "attached");
    for _ in 0..2 {
        rig.restart(0).await;
        until(|| rig.in_flight() == 2).await;
    }
    gate.open();
    assert_eq!(soon(stream.next()).await.unwrap().unwrap(), 5 * LONG as u64);
    assert!(soon(stream.next()).await.is_none());
    let idle = || outer.stats().in_flight == 0 && inner.stats().in_flight == 0;
    until(|| idle() && rig.in_flight() == 0).await;
    say(probe.key, "over");
    assert_eq!(probe.so_far(), ["over"], "it was called once");
}
