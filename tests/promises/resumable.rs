//! Resumable streams through connections that are cut and processes that are killed, with the times
//! that noticing takes.

use std::time::{Duration, Instant};

use bytes::Bytes;
use common::proxy::{Faults, Proxy};
use common::{World, found_in, soon, until};
use easyremote::client::StreamProgress;
use easyremote::{Client, Error, ErrorKind, Executed};
use futures::{Stream, StreamExt};
use tokio::time::timeout;

use crate::parts::{Parts, are_idle, endless, entries, figures, functions, onward};
use crate::restarts::is_long;

const ITEMS: u64 = 10_000;

/// How often something is lost: 20 times with `PROMISES_LONG=1`.
fn losses() -> u64 {
    if is_long() { 20 } else { 3 }
}

/// Reads a stream of numbered entries, and loses something now and then. The stream goes on at the
/// next item each time.
async fn read_through<S>(mut items: S, progress: StreamProgress, mut lose: impl AsyncFnMut())
where
    S: Stream<Item = Result<(u64, Bytes), Error>> + Unpin,
{
    let (begun, every) = (Instant::now(), ITEMS / losses());
    for i in 0..ITEMS {
        if i % every == every / 2 {
            lose().await;
        }
        assert_eq!(soon(items.next()).await.unwrap().unwrap().0, i);
    }
    assert!(soon(items.next()).await.is_none());
    let (n, resumptions, took) = (losses(), progress.resumptions(), begun.elapsed());
    println!("{ITEMS} items, {n} losses, {resumptions} resumptions, {took:?}");
    assert!(resumptions >= n, "{resumptions} resumptions after {n} losses");
}

/// A client behind a proxy.
async fn behind(world: &World, proxy: &Proxy) -> Client {
    let client = Client::builder(proxy.address()).dial(found_in(world.state_dir()));
    soon(client.connect()).await.unwrap()
}

/// Nothing gets through until both sides have noticed.
async fn cut(world: &World, proxy: &Proxy) {
    proxy.set_both(Faults { blocked: true, ..Faults::default() });
    until(|| world.gateway.stats().clients == 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_goes_on_after_the_connection_of_its_client_was_cut() {
    let (world, node, _) = World::with(functions()).await;
    let proxy = Proxy::start(world.gateway.local_addr(), 1);
    let client = behind(&world, &proxy).await;
    let mut items = entries::call(&client).take(ITEMS as usize).resumable();
    let progress = items.progress();
    read_through(items, progress, async || {
        cut(&world, &proxy).await;
        proxy.heal();
    })
    .await;
    until(|| node.stats().in_flight == 0 && world.gateway.stats().in_flight == 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_goes_on_after_the_process_of_its_gateway_was_killed() {
    let mut parts = Parts::start();
    let _node = parts.process("node", "a");
    let client = parts.client().await;
    let mut items = entries::call(&client).take(ITEMS as usize).resumable();
    let progress = items.progress();
    read_through(items, progress, async || {
        parts.kill_gateway();
    })
    .await;
}

/// Of two gateways the one that has the stream is killed each time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_goes_on_after_the_chosen_gateway_was_killed() {
    let first = Parts::start();
    let second = first.beside();
    let mut all = [first, second];
    let addresses = Parts::addresses(&all);
    let mut node = all[0].process_at(&addresses, "node", "a");
    until(|| figures(&mut node)[2] == 2).await;
    let client = all[0].client_at(&addresses).await;
    let mut items = entries::call(&client).take(ITEMS as usize).resumable();
    let progress = items.progress();
    read_through(items, progress, async || {
        let mut chosen = None;
        until(|| {
            chosen = all.iter_mut().position(|it| figures(&mut it.gateway)[0] == 1);
            chosen.is_some()
        })
        .await;
        all[chosen.unwrap()].kill_gateway();
    })
    .await;
}

/// The function is called again, at the other node or at the one that has taken its place.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_with_a_resume_parameter_goes_on_after_its_nodes_were_killed() {
    let mut parts = Parts::start();
    let mut nodes = ["a", "b"].map(|id| (id, parts.process("node", id)));
    let client = parts.client().await;
    let mut items = onward::call(&client).take(ITEMS as usize).resumable();
    let progress = items.progress();
    read_through(items, progress, async || {
        let mut chosen = None;
        until(|| {
            chosen = nodes.iter_mut().position(|(_, node)| figures(node)[0] == 1);
            chosen.is_some()
        })
        .await;
        let (id, node) = &mut nodes[chosen.unwrap()];
        node.kill();
        *node = parts.process("node", id);
    })
    .await;
    let (gateway, [(_, one), (_, two)]) = (&mut parts.gateway, &mut nodes);
    are_idle(&mut [gateway, one, two]).await;
}

/// Memory and place are free again after 30 s, and the reader that comes back later gets one error.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_whose_reader_does_not_come_back_is_given_up() {
    let (world, node, _) = World::with(functions()).await;
    let proxy = Proxy::start(world.gateway.local_addr(), 2);
    let client = behind(&world, &proxy).await;
    let mut items = endless::call(&client).resumable();
    for i in 0..100 {
        assert_eq!(soon(items.next()).await.unwrap().unwrap(), i);
    }
    cut(&world, &proxy).await;
    let parked = Instant::now();
    assert_eq!(node.stats().in_flight, 1);
    assert_eq!(world.gateway.stats().in_flight, 1, "its place is taken");
    until(|| node.stats().in_flight == 0 && world.gateway.stats().in_flight == 0).await;
    assert!(parked.elapsed() > Duration::from_secs(20), "{:?}", parked.elapsed());
    proxy.heal();
    let error = timeout(Duration::from_secs(120), items.next()).await.unwrap().unwrap();
    let error = error.unwrap_err();
    assert_eq!((error.kind(), error.executed()), (ErrorKind::Gap, Executed::Yes), "{error}");
    assert_eq!(error.delivered(), 100);
    assert!(soon(items.next()).await.is_none());
}
