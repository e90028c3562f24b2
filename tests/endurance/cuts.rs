//! Paths through which nothing gets any more, in one direction or in both.

use std::time::Duration;

use common::proxy::{Faults, Way};
use common::{Probe, found_in, patient, soon, until};
use easyremote::{Client, ErrorKind, Executed};
use futures::future::join_all;
use futures::{StreamExt, TryStreamExt, stream};
use tokio::time::Instant;

use crate::path::{Bystander, Hop, Path, double, echo, echoes, three, wait, zeros};

/// Nothing gets through.
fn blocked() -> Faults {
    Faults { blocked: true, ..Faults::default() }
}

#[tokio::test]
async fn whoever_is_cut_off_is_given_up_by_everybody() {
    let mut rows = Vec::new();
    for (hop, kind) in [
        (Hop::ClientToGateway, ErrorKind::ConnectionLost),
        (Hop::NodeToGateway, ErrorKind::NodeLost),
    ] {
        for ways in [&Way::BOTH[..], &[Way::ToGateway], &[Way::FromGateway]] {
            rows.push(cut(hop, ways, kind));
        }
    }
    join_all(rows).await;
}

async fn cut(hop: Hop, ways: &[Way], kind: ErrorKind) {
    let row = format!("{hop:?}, {ways:?}");
    let path = Path::start().await;
    let (mut called, mut streamed) = (Probe::new(), Probe::new());
    let call = tokio::spawn(wait::call(&path.client, called.key));
    assert_eq!(called.next().await, "started", "{row}");
    let mut items = three::call(&path.client, streamed.key);
    for n in 0..3 {
        assert_eq!(soon(items.next()).await.unwrap().unwrap(), n, "{row}");
    }

    let bystander = Bystander::start(&path.world).await;
    ways.iter().for_each(|way| path.proxy(hop).set(*way, blocked()));
    let (call, item) = bystander.noticed(async { tokio::join!(call, items.next()) }).await;
    let error = call.unwrap().unwrap_err();
    assert_eq!((error.kind(), error.executed()), (kind, Executed::Maybe), "{row}: {error}");
    let error = item.unwrap().unwrap_err();
    assert_eq!((error.kind(), error.executed()), (kind, Executed::Yes), "{row}: {error}");
    assert_eq!(error.delivered(), 3, "{row}");
    assert!(soon(items.next()).await.is_none(), "{row}");
    // The node hears of it too, or notices by itself.
    assert_eq!(called.next().await, "dropped", "{row}");
    assert_eq!(streamed.next().await, "dropped", "{row}");
    until(|| path.node.stats().in_flight == 0).await;
    // One may be the bystander's.
    until(|| path.world.gateway.stats().in_flight <= 1).await;

    path.proxy(hop).heal();
    let again = echo::call(&path.client, vec![7; 10]).wait_for_node();
    assert_eq!(bystander.healed(again).await.unwrap(), [7; 10], "{row}");
    bystander.has_seen_nothing().await;
}

#[tokio::test]
async fn calls_wait_for_the_end_of_a_short_outage_and_streams_go_on() {
    join_all(Hop::BOTH.map(outage)).await;
}

/// So long that no party minds, and not a moment longer.
const OUTAGE: Duration = Duration::from_secs(6);

async fn outage(hop: Hop) {
    let path = Path::start().await;
    let (send, numbers) = tokio::sync::mpsc::unbounded_channel();
    let numbers = stream::unfold(numbers, async |mut numbers| {
        numbers.recv().await.map(|number: u64| (number, numbers))
    });
    let mut doubled = double::call(&path.client, numbers);
    send.send(0).unwrap();
    assert_eq!(soon(doubled.next()).await.unwrap().unwrap(), 0);

    let begun = Instant::now();
    path.proxy(hop).block_for(OUTAGE);
    let call = tokio::spawn(echo::call(&path.client, vec![7; 20_000]));
    (1..1_000).for_each(|n| send.send(n).unwrap());
    drop(send);
    let reading = tokio::spawn(doubled.map(Result::unwrap).collect::<Vec<_>>());

    let answer = soon(call).await.unwrap().unwrap();
    assert!(begun.elapsed() >= OUTAGE, "{hop:?}: no outage");
    assert_eq!(answer, vec![7; 20_000], "{hop:?}");
    let expected: Vec<_> = (1..1_000).map(|n| 2 * n).collect();
    assert_eq!(soon(reading).await.unwrap(), expected, "{hop:?}");
    path.is_as_it_was(2);
}

/// With all lost that a congestion window allows, only QUIC's probes go out, at distances that
/// double: where in an outage they fall depends on the round trip.
#[tokio::test]
async fn busy_connections_outlast_a_short_outage() {
    let delays = [0, 2, 4, 8].map(Duration::from_millis);
    let paths = delays.into_iter().flat_map(|delay| Hop::BOTH.map(|hop| (hop, delay)));
    // More at once would keep a slow machine from its heartbeats.
    stream::iter(paths).for_each_concurrent(4, |(hop, delay)| busy_outage(hop, delay)).await;
}

async fn busy_outage(hop: Hop, delay: Duration) {
    /// Until a connection knows its round trip, and still has a window that is soon full.
    const CALLS: u64 = 20;
    let row = format!("{hop:?}, {delay:?}");
    let path = Path::start().await;
    path.proxy(hop).set_both(Faults { delay, ..Faults::default() });
    for _ in 0..CALLS {
        assert_eq!(soon(echo::call(&path.client, vec![7])).await.unwrap(), [7], "{row}");
    }
    let begun = Instant::now();
    path.proxy(hop).block_for(OUTAGE);
    let items = stream::repeat(vec![7; 16 << 10]).take(30);
    let echoed = tokio::spawn(echoes::call(&path.client, items).try_collect::<Vec<_>>());
    let echoed = soon(echoed).await.unwrap();
    assert!(begun.elapsed() >= OUTAGE, "{row}: no outage");
    match echoed {
        Ok(items) => {
            assert_eq!(items.iter().map(Vec::len).sum::<usize>(), 30 * (16 << 10), "{row}")
        }
        Err(error) => panic!("{row}: {error:?}"),
    }
    path.is_as_it_was(CALLS + 1);
}

#[tokio::test]
async fn a_peer_whose_address_changes_keeps_its_connection() {
    join_all(Hop::BOTH.map(rebind)).await;
}

async fn rebind(hop: Hop) {
    const ROUNDS: u64 = 20;
    let path = Path::start().await;
    let mut called = Probe::new();
    let call = tokio::spawn(wait::call(&path.client, called.key));
    assert_eq!(called.next().await, "started", "{hop:?}");
    let (send, numbers) = tokio::sync::mpsc::unbounded_channel();
    let numbers = stream::unfold(numbers, async |mut numbers| {
        numbers.recv().await.map(|number: u64| (number, numbers))
    });
    let mut doubled = double::call(&path.client, numbers);
    for n in 0..ROUNDS {
        path.proxy(hop).rebind();
        send.send(n).unwrap();
        assert_eq!(soon(doubled.next()).await.unwrap().unwrap(), 2 * n, "{hop:?}");
        assert_eq!(soon(echo::call(&path.client, vec![7])).await.unwrap(), [7], "{hop:?}");
    }
    drop(send);
    assert!(soon(doubled.next()).await.is_none(), "{hop:?}");
    assert!(!call.is_finished(), "{hop:?}");
    path.is_as_it_was(ROUNDS + 2);
}

#[tokio::test]
async fn a_path_that_takes_no_quic_is_no_path() {
    let path = Path::start().await;
    // QUIC asks for datagrams of 1,200 bytes (RFC 9000, section 14).
    let narrow = Faults { mtu: Some(1_100), ..Faults::default() };
    path.proxy(Hop::ClientToGateway).set_both(narrow);
    let address = path.proxy(Hop::ClientToGateway).address();
    let client = Client::builder(address).dial(found_in(path.world.state_dir()));
    let connecting = client.dial(patient(Duration::from_secs(2))).connect();
    let error = soon(connecting).await.unwrap_err();
    assert_eq!((error.kind(), error.executed()), (ErrorKind::Unavailable, Executed::No));
    assert!(path.proxy(Hop::ClientToGateway).counts(Way::ToGateway).too_long > 0);
}

/// What a reset overtakes is lost, also whose answer it is that has been reset.
#[tokio::test]
async fn a_long_answer_that_breaks_off_unseen_is_an_error() {
    let path = Path::start().await;
    let near = path.proxy(Hop::ClientToGateway);
    soon(echo::call(&path.client, vec![7])).await.unwrap();
    near.set(Way::FromGateway, blocked());
    let before = near.counts(Way::FromGateway).blocked;
    let call = tokio::spawn(zeros::call(&path.client, 60 << 20));
    // The gateway has begun to pass the answer on, and can send no more of it.
    until(|| near.counts(Way::FromGateway).blocked > before + 5).await;
    path.node.shutdown().await;
    until(|| path.world.gateway.stats().nodes == 0).await;
    near.heal();
    let error = soon(call).await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NodeLost, "{error}");
    assert_ne!(error.executed(), Executed::No, "{error}");
}
