//! Paths that lose, corrupt, repeat, reorder and delay: nobody sees an error, only a delay.

use std::time::Duration;

use common::proxy::{Counts, ETHERNET, Faults, Way};
use common::soon;
use futures::future::try_join_all;
use futures::{StreamExt, TryStreamExt, stream};

use crate::path::{Hop, Path, double, echo};

/// What a path does, and how it shows.
struct Noise {
    name: &'static str,
    faults: Faults,
    count: fn(Counts) -> u64,
}

fn noises() -> Vec<Noise> {
    let ms = Duration::from_millis;
    let none = Faults::default;
    let noise = |name, faults, count| Noise { name, faults, count };
    vec![
        noise("loss", Faults { loss: 0.2, ..none() }, |counts| counts.lost),
        noise("bursts", Faults { burst: 0.02, burst_length: 8, ..none() }, |counts| counts.lost),
        noise("corruption", Faults { corrupt: 0.05, ..none() }, |counts| counts.corrupted),
        noise("duplicates", Faults { duplicate: 0.3, ..none() }, |counts| counts.duplicated),
        noise("reordering", Faults { reorder: 0.25, ..none() }, |counts| counts.reordered),
        noise("jitter", Faults { delay: ms(30), jitter: ms(30), ..none() }, |counts| {
            counts.delayed
        }),
        noise("a slow link", Faults { rate: Some(250_000), ..none() }, |counts| counts.queued),
        noise("a short MTU", Faults { mtu: Some(1_300), ..none() }, |counts| counts.too_long),
    ]
}

#[tokio::test]
async fn noise_on_the_way_to_the_client_is_no_error() {
    endure_all(Hop::ClientToGateway).await;
}

#[tokio::test]
async fn noise_on_the_way_to_the_node_is_no_error() {
    endure_all(Hop::NodeToGateway).await;
}

#[tokio::test]
async fn a_path_that_gets_narrower_is_no_error() {
    let wide = Faults { mtu: None, ..Faults::default() };
    let path = Path::start_with(wide).await;
    let lost = Faults { loss: 0.02, ..wide };
    Hop::BOTH.iter().for_each(|hop| path.proxy(*hop).set_both(lost));
    let mut calls = traffic(&path).await;
    let each =
        || Hop::BOTH.iter().flat_map(|hop| Way::BOTH.map(|way| path.proxy(*hop).counts(way)));
    assert!(
        each().all(|counts| counts.longest > 10 * ETHERNET),
        "{:?}",
        each().collect::<Vec<_>>()
    );
    Hop::BOTH.iter().for_each(|hop| path.proxy(*hop).heal());
    calls += traffic(&path).await;
    assert!(each().all(|counts| counts.too_long > 0), "{:?}", each().collect::<Vec<_>>());
    path.is_as_it_was(calls);
}

/// One after the other would mean to wait, and all at once to keep a slow machine from its heartbeats.
async fn endure_all(hop: Hop) {
    stream::iter(noises()).for_each_concurrent(3, |noise| endure(hop, noise)).await;
}

async fn endure(hop: Hop, Noise { name, faults, count }: Noise) {
    let path = Path::start().await;
    // Without noise first: QUIC finds out how long datagrams may be, and how fast the path is.
    let calm = traffic(&path).await;
    path.proxy(hop).set_both(faults);
    let noisy = traffic(&path).await;
    let counts = Way::BOTH.map(|way| count(path.proxy(hop).counts(way)));
    assert!(counts.iter().all(|count| *count > 0), "{hop:?}: no {name}: {counts:?}");
    path.is_as_it_was(calm + noisy);
}

/// Calls and a stream both ways, all of which must go well. Gives their number.
async fn traffic(path: &Path) -> u64 {
    const CALLS: usize = 20;
    const LONG: usize = 300_000;
    const ITEMS: u64 = 1_000;
    let calls = try_join_all((0..CALLS).map(|n| echo::call(&path.client, vec![n as u8; 500 * n])));
    let long = echo::call(&path.client, vec![7; LONG]);
    let slow = stream::iter(0..ITEMS).then(async |n| {
        if n % 100 == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        n
    });
    let items = double::call(&path.client, slow.boxed()).try_collect::<Vec<_>>();
    let (calls, long, items) = soon(async { tokio::join!(calls, long, items) }).await;
    for (n, answer) in calls.unwrap().into_iter().enumerate() {
        assert_eq!(answer, vec![n as u8; 500 * n]);
    }
    assert_eq!(long.unwrap(), vec![7; LONG]);
    assert_eq!(items.unwrap(), (0..ITEMS).map(|n| 2 * n).collect::<Vec<_>>());
    CALLS as u64 + 2
}
