//! Streams that are called once and read by many.

use std::sync::Arc;
use std::time::Duration;

use common::gate::{Gate, OPEN, pass};
use common::{Probe, SayOnDrop, World, soon};
use easyremote::{CallError, Error, ErrorKind, Executed, functions, remote};
use futures::{Stream, StreamExt, stream};
use tokio::runtime::Builder;
use tokio::task::JoinSet;

/// Says when it begins and when it is dropped; waits at the gate before its first number.
#[remote(stream)]
fn numbers(key: u64, gate: u64, n: u64) -> impl Stream<Item = u64> {
    let dropped = SayOnDrop(key, "dropped");
    dropped.say("began");
    stream::once(async move { pass(gate).await })
        .flat_map(move |()| stream::iter(0..n))
        .inspect(move |_| _ = &dropped)
}

#[remote(stream)]
fn odd_ones_fail(n: u64) -> impl Iterator<Item = Result<u64, u64>> {
    (0..n).map(|i| if i % 2 == 0 { Ok(i) } else { Err(i) })
}

#[remote(stream)]
async fn not_found(id: u64) -> Result<impl Stream<Item = u64>, u64> {
    if id == 404 { Err(id) } else { Ok(stream::iter(0..id)) }
}

#[remote(stream)]
fn doubled(numbers: impl Stream<Item = u64>) -> impl Stream<Item = u64> {
    numbers.map(|number| 2 * number)
}

type Numbers = Vec<Result<Arc<u64>, Arc<Error>>>;

/// Checks that these are the numbers in this range.
fn are(numbers: &Numbers, range: std::ops::Range<u64>) {
    let numbers: Vec<u64> = numbers.iter().map(|number| **number.as_ref().unwrap()).collect();
    assert_eq!(numbers, range.collect::<Vec<u64>>());
}

/// A hundred subscribers: on tasks of this runtime, of another one, and on threads without one.
async fn a_hundred_read_one_stream() {
    const N: u64 = 1_000;
    let (_world, node, client) = World::with(functions![numbers]).await;
    let (mut probe, gate) = (Probe::new(), Gate::closed());
    let cached = numbers::call(&client, probe.key, gate.key, N).cached(N as usize);
    let mut here = JoinSet::new();
    let mut threads = Vec::new();
    for reader in 0..100 {
        let subscription = cached.clone().subscribe();
        match reader % 4 {
            0 | 1 => drop(here.spawn(subscription.collect::<Numbers>())),
            2 => threads.push(std::thread::spawn(move || {
                let runtime = Builder::new_current_thread().build().unwrap();
                runtime.block_on(subscription.collect::<Numbers>())
            })),
            _ => threads.push(std::thread::spawn(move || {
                futures::executor::block_on(subscription.collect::<Numbers>())
            })),
        }
    }
    assert_eq!(probe.next().await, "began");
    gate.open();
    let mut read = soon(here.join_all()).await;
    for thread in threads {
        read.push(soon(tokio::task::spawn_blocking(|| thread.join())).await.unwrap().unwrap());
    }
    assert_eq!(read.len(), 100);
    read.iter().for_each(|numbers| are(numbers, 0..N));
    assert_eq!(probe.next().await, "dropped");
    assert_eq!(node.stats().calls, 1, "one stream feeds all");
    assert!(probe.so_far().is_empty());
}

#[tokio::test]
async fn one_stream_feeds_a_hundred() {
    a_hundred_read_one_stream().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_stream_feeds_a_hundred_on_threads() {
    a_hundred_read_one_stream().await;
}

/// Readers leave in the middle in any order, also the one that has polled the stream last.
async fn the_others_go_on() {
    const N: u64 = 3_000;
    let (_world, _node, client) = World::with(functions![numbers]).await;
    for seed in 0..20 {
        let mut random = fastrand::Rng::with_seed(seed);
        let cached = numbers::call(&client, u64::MAX, OPEN, N).cached(N as usize);
        let mut readers = JoinSet::new();
        for _ in 0..random.usize(1..8) {
            let subscription = cached.subscribe();
            let until = if random.bool() { N } else { random.u64(0..N) };
            readers.spawn(async move {
                let numbers: Numbers = subscription.take(until as usize).collect().await;
                (numbers, until)
            });
        }
        let last = cached.subscribe();
        readers.spawn(async move { (last.collect().await, N) });
        for (numbers, until) in soon(readers.join_all()).await {
            are(&numbers, 0..until);
        }
    }
}

#[tokio::test]
async fn a_reader_that_leaves_takes_nothing_from_the_others() {
    the_others_go_on().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_that_leaves_takes_nothing_from_the_others_on_threads() {
    the_others_go_on().await;
}

#[tokio::test]
async fn a_slow_one_loses_the_oldest_and_knows_how_many() {
    let (_world, _node, client) = World::with(functions![numbers]).await;
    for n in [0, 5, 500] {
        let cached = numbers::call(&client, u64::MAX, OPEN, u64::MAX).cached(n);
        let (mut slow, mut quick) = (cached.subscribe(), cached.subscribe());
        assert_eq!(*soon(slow.next()).await.unwrap().unwrap(), 0);
        for number in 0..10_000 {
            assert_eq!(*soon(quick.next()).await.unwrap().unwrap(), number);
        }
        assert_eq!((slow.missed(), quick.missed()), (9_999 - n as u64 - 64, 0));
        let mut late = cached.subscribe();
        if n > 0 {
            assert_eq!(*soon(late.next()).await.unwrap().unwrap(), 10_000 - n as u64);
        }
        let first = slow.missed() + 1;
        for number in first..first + 20 {
            assert_eq!(*soon(slow.next()).await.unwrap().unwrap(), number);
        }
    }
}

#[tokio::test]
async fn the_last_one_that_leaves_cancels_the_call_and_the_next_one_calls_again() {
    let (_world, _node, client) = World::with(functions![numbers]).await;
    let mut probe = Probe::new();
    let cached = numbers::call(&client, probe.key, OPEN, u64::MAX).take(100).cached(10);
    for _ in 0..3 {
        assert!(probe.so_far().is_empty(), "nobody reads, and nothing is called");
        let (mut one, mut two) = (cached.subscribe(), cached.subscribe());
        assert_eq!(*soon(one.next()).await.unwrap().unwrap(), 0, "nothing of the call before");
        assert_eq!(probe.next().await, "began");
        drop(one);
        assert_eq!(*soon(two.next()).await.unwrap().unwrap(), 0);
        drop(two);
        assert_eq!(probe.next().await, "dropped");
    }
    // It ends: the end is kept, and nothing is called any more.
    assert_eq!(soon(cached.subscribe().count()).await, 100);
    assert_eq!([probe.next().await, probe.next().await], ["began", "dropped"]);
    are(&soon(cached.subscribe().collect()).await, 90..100);
    assert!(probe.so_far().is_empty());
}

#[tokio::test]
async fn the_error_comes_to_all_also_to_late_ones() {
    let world = World::start().await;
    let client = world.client().await;
    for n in [0, 1, 7] {
        let node = world.node(functions![numbers]).await;
        let cached = numbers::call(&client, u64::MAX, OPEN, u64::MAX).cached(n);
        let (mut first, second) = (cached.subscribe(), cached.subscribe());
        for number in 0..20 {
            assert_eq!(*soon(first.next()).await.unwrap().unwrap(), number);
        }
        soon(node.shutdown()).await;
        let mut ends = Vec::new();
        for (name, reader) in [("first", first), ("second", second)] {
            let mut items: Numbers = soon(reader.collect()).await;
            ends.push((name, items.pop().unwrap().unwrap_err()));
            assert!(items.iter().all(Result::is_ok));
        }
        let mut late: Numbers = soon(cached.subscribe().collect()).await;
        ends.push(("late", late.pop().unwrap().unwrap_err()));
        assert_eq!(late.len(), n);
        for (name, error) in &ends {
            assert!(Arc::ptr_eq(error, &ends[0].1), "{name}");
            assert_eq!((error.kind(), error.executed()), (ErrorKind::NodeLost, Executed::Yes));
        }
    }
}

#[tokio::test]
async fn items_that_fail_are_cached_and_a_set_up_that_fails_is_told_to_all() {
    let (_world, _node, client) = World::with(functions![odd_ones_fail, not_found, doubled]).await;
    let cached = odd_ones_fail::call(&client, 6).cached(4);
    assert_eq!(soon(cached.subscribe().count()).await, 6);
    let late: Vec<_> = soon(cached.subscribe().collect()).await;
    for (item, number) in late.iter().zip(2..6) {
        match item {
            Ok(even) => assert!(**even == number && number % 2 == 0),
            Err(odd) => assert!(matches!(**odd, CallError::Function(odd) if odd == number)),
        }
    }
    assert_eq!(late.len(), 4);
    let cached = not_found::call(&client, 404).cached(3);
    for _ in 0..2 {
        let items: Vec<_> = soon(cached.subscribe().collect()).await;
        let [Err(error)] = &items[..] else { panic!("{items:?}") };
        assert!(matches!(**error, CallError::Function(404)));
    }
    // A client stream can be sent only once.
    let cached = doubled::call(&client, stream::iter(0..)).cached(3);
    let mut numbers = cached.subscribe();
    assert_eq!(*soon(numbers.next()).await.unwrap().unwrap(), 0);
    drop(numbers);
    assert!(soon(cached.subscribe().next()).await.is_none());
}

#[tokio::test]
async fn operators_come_before_the_cache_and_hold_for_each_call() {
    let (_world, _node, client) = World::with(functions![numbers]).await;
    let wait = Duration::from_secs(60);
    let chain = numbers::call(&client, u64::MAX, OPEN, 13).skip(3).every(2).batches(2, wait);
    let cached = chain.cached(1);
    let mut gone = cached.subscribe();
    assert_eq!(*soon(gone.next()).await.unwrap().unwrap(), [3, 5]);
    drop(gone);
    let items: Vec<_> = soon(cached.subscribe().map(Result::unwrap).collect()).await;
    let lists: Vec<&[u64]> = items.iter().map(|list| &***list).collect();
    assert_eq!(lists, [&[3, 5][..], &[7, 9], &[11]]);
}
