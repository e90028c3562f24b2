//! Resumable streams through connections that are cut and processes that are killed, with the times
//! that noticing takes.

use std::time::{Duration, Instant};

use bytes::Bytes;
use common::proxy::{Faults, Proxy};
use common::{World, found_in, soon, until};
use easyremote::client::StreamProgress;
use easyremote::{Client, Error, ErrorKind, Executed, Node, Role};
use futures::channel::mpsc;
use futures::{SinkExt, Stream, StreamExt};
use tokio::time::timeout;

use crate::parts::{Parts, are_idle, endless, entries, figures, functions, onward, summed};
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

/// It is not let in again, and its stream and its upload have one end each. What the node has kept for
/// it is gone after 30 s.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_is_revoked_while_it_is_away_does_not_come_back() {
    let state = tempfile::tempdir().unwrap();
    let gateway = common::gateway_at("127.0.0.1:0").state_dir(state.path());
    let gateway = soon(gateway.token(Role::Client, "a").serve()).await.unwrap();
    let node = Node::serve(gateway.ticket(Role::Node), functions());
    let node = soon(node).await.unwrap();
    let proxy = Proxy::start(gateway.local_addr(), 4);
    let [direct, proxied] = [gateway.local_addr(), proxy.address()].map(|a| a.to_string());
    let ticket = gateway.ticket_of(Role::Client, "a").unwrap().to_string();
    let client = soon(Client::connect(ticket.replace(&direct, &proxied))).await.unwrap();
    let mut items = endless::call(&client).resumable();
    assert_eq!(soon(items.next()).await.unwrap().unwrap(), 0);
    let (mut sender, numbers) = mpsc::channel(0);
    let call = tokio::spawn(summed::call(&client, numbers));
    // The client has heard of the node that has the call: see below.
    for i in 0..4 {
        soon(sender.send((i, Bytes::from(vec![7; 2 << 20])))).await.unwrap();
    }
    proxy.set_both(Faults { blocked: true, ..Faults::default() });
    until(|| gateway.stats().clients == 0).await;
    assert_eq!(node.stats().in_flight, 2);
    assert!(gateway.revoke(Role::Client, "a"));
    proxy.heal();
    let mut delivered = 1;
    let error = loop {
        match timeout(Duration::from_secs(120), items.next()).await.unwrap().unwrap() {
            Ok(item) => assert_eq!(item, delivered),
            Err(error) => break error,
        }
        delivered += 1;
    };
    assert_eq!((error.kind(), error.executed()), (ErrorKind::Gap, Executed::Yes), "{error}");
    assert_eq!(error.delivered(), delivered);
    assert!(soon(items.next()).await.is_none());
    let error = timeout(Duration::from_secs(120), call).await.unwrap().unwrap().unwrap_err();
    assert_eq!((error.kind(), error.executed()), (ErrorKind::Gap, Executed::Maybe), "{error}");
    until(|| node.stats().in_flight == 0 && gateway.stats().in_flight == 0).await;
}

/// Sends numbers to `summed`, and loses something now and then.
async fn send_through(client: &Client, mut lose: impl AsyncFnMut()) {
    let (mut sender, numbers) = mpsc::channel(0);
    let call = tokio::spawn(summed::call(client, numbers));
    let every = ITEMS / losses();
    for i in 0..ITEMS {
        if i % every == every / 2 {
            lose().await;
        }
        // More than the client keeps: once the fourth has been taken, the node has the first, and
        // the client knows which node that is. So are those between two losses, so that it has
        // gone on before the next one.
        let length = if i < 4 { 2 << 20 } else { 4 << 10 };
        let body = Bytes::from(vec![7; length]);
        soon(sender.send((i, body))).await.unwrap();
    }
    drop(sender);
    let expected = (ITEMS, (0..ITEMS).sum(), false);
    assert_eq!(timeout(Duration::from_secs(60), call).await.unwrap().unwrap().unwrap(), expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_goes_on_after_the_connection_of_its_client_was_cut() {
    let (world, node, _) = World::with(functions()).await;
    let proxy = Proxy::start(world.gateway.local_addr(), 3);
    let client = behind(&world, &proxy).await;
    send_through(&client, async || {
        cut(&world, &proxy).await;
        proxy.heal();
    })
    .await;
    until(|| node.stats().in_flight == 0 && world.gateway.stats().in_flight == 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_goes_on_after_the_process_of_its_gateway_was_killed() {
    let mut parts = Parts::start();
    let _node = parts.process("node", "a");
    let client = parts.client().await;
    send_through(&client, async || {
        parts.gateway.signal("KILL");
        until(|| parts.gateway.has_ended()).await;
        parts.start_gateway_again();
    })
    .await;
}
