//! Streams with operators that survive their gateways and nodes.

use std::time::Duration;

use common::{World, soon, until};
use easyremote::{functions, remote};
use futures::{Stream, StreamExt, stream};

/// Goes on where it is told.
#[remote(stream, idempotent, replay = "8KiB")]
fn resumed(#[resume] done: u64, to: u64) -> impl Stream<Item = u64> {
    stream::iter(done..to)
}

/// The same on a thread of its own.
#[remote(stream, idempotent, replay = "8KiB")]
fn resumed_iterator(#[resume] done: u64, to: u64) -> impl Iterator<Item = u64> {
    done..to
}

#[remote(operator)]
fn but_for(n: &u64, multiples_of: u64) -> bool {
    !n.is_multiple_of(multiples_of)
}

/// A multiple of a number is divided by it, and others are left out.
#[remote(operator)]
fn divided(n: u64, by: u64) -> Option<u64> {
    n.is_multiple_of(by).then(|| n / by)
}

#[remote(operator)]
fn squared(n: u64) -> u64 {
    n * n
}

#[derive(Clone, Copy, Debug)]
enum Op {
    Take(u64),
    Skip(u64),
    ButFor(u64),
    Divided(u64),
    Squared,
}

fn random_op() -> Op {
    match fastrand::u8(0..8) {
        0 => Op::Take(fastrand::u64(1..3_000)),
        1 | 2 => Op::Skip(fastrand::u64(0..100)),
        3 | 4 => Op::ButFor(fastrand::u64(2..5)),
        5 | 6 => Op::Divided(fastrand::u64(2..4)),
        _ => Op::Squared,
    }
}

fn model(ops: &[Op]) -> Vec<u64> {
    ops.iter().fold((0..ITEMS).collect(), |items: Vec<u64>, op| {
        let items = items.into_iter();
        match *op {
            Op::Take(n) => items.take(n as usize).collect(),
            Op::Skip(n) => items.skip(n as usize).collect(),
            Op::ButFor(n) => items.filter(|item| item % n != 0).collect(),
            Op::Divided(n) => items.filter(|item| item % n == 0).map(|item| item / n).collect(),
            Op::Squared => items.map(|item| item.wrapping_mul(item)).collect(),
        }
    })
}

macro_rules! set {
    ($stream:expr, $ops:expr) => {
        $ops.iter().fold(through_nothing($stream), |items, op| match *op {
            Op::Take(n) => items.take(n as usize),
            Op::Skip(n) => items.skip(n as usize),
            Op::ButFor(n) => items.through(but_for::with(n)),
            Op::Divided(n) => items.through(divided::with(n)),
            Op::Squared => items.through(squared::with()),
        })
    };
}

fn through_nothing<S>(items: S) -> S {
    items
}

const ITEMS: u64 = 20_000;

macro_rules! functions_of_each {
    () => {
        functions![resumed, resumed_iterator, but_for, divided, squared]
    };
}

/// Reads a stream while its nodes are lost, one after the other, each before another item.
async fn read(
    items: impl Stream<Item = Result<u64, easyremote::Error>> + Unpin,
    expected: &[u64],
    what: &str,
    world: &World,
) {
    let mut items = items;
    let mut n = 0;
    let serve = async |n: u64| {
        let builder = world.node_builder().id(n.to_string()).functions(functions_of_each!());
        soon(builder.serve()).await.unwrap()
    };
    let mut node = serve(n).await;
    for (i, expected) in expected.iter().enumerate() {
        // More often than not where an item has just arrived, and others wait.
        if n < 4 && fastrand::usize(0..expected_losses(i)) == 0 {
            n += 1;
            let next = serve(n).await;
            drop(std::mem::replace(&mut node, next));
        }
        let item = soon(items.next()).await.unwrap();
        assert_eq!(item.as_ref().ok(), Some(expected), "item {i}, {n} losses, {item:?}, {what}");
    }
    assert!(soon(items.next()).await.is_none(), "{what}");
    drop(items);
    until(|| node.stats().in_flight == 0).await;
    drop(node);
    until(|| world.gateway.stats().nodes == 0).await;
}

/// One of how many items is preceded by a loss.
fn expected_losses(i: usize) -> usize {
    if i < 4 { 3 } else { 1 + i / 2 }
}

async fn lose_nodes(rounds: usize) {
    let world = World::start().await;
    let client = world.client().await;
    for round in 0..rounds {
        let mut ops: Vec<_> = (0..fastrand::usize(1..6)).map(|_| random_op()).collect();
        // A square of a square of a square has no room in 64 bits.
        let mut squares = 0;
        ops.retain(|op| {
            squares += u8::from(matches!(op, Op::Squared));
            squares <= 1 || !matches!(op, Op::Squared)
        });
        let expected = model(&ops);
        let what = format!("{round}: {ops:?}");
        let waits = Duration::from_secs(50);
        if round % 2 == 0 {
            let items = set!(resumed::call(&client, ITEMS).resumable(), ops);
            read(items.wait_for_node().timeout(waits), &expected, &what, &world).await;
        } else {
            let items = set!(resumed_iterator::call(&client, ITEMS).resumable(), ops);
            read(items.wait_for_node().timeout(waits), &expected, &what, &world).await;
        }
    }
}

#[tokio::test]
async fn chains_with_filters_go_on_at_other_nodes() {
    fastrand::seed(5);
    lose_nodes(12).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn chains_with_filters_go_on_at_other_nodes_on_several_threads() {
    fastrand::seed(6);
    lose_nodes(12).await;
}

#[tokio::test]
async fn what_filters_leave_out_is_counted_over_all_nodes() {
    let world = World::start().await;
    let client = world.client().await;
    let serve = async |id: &str| {
        let builder = world.node_builder().id(id).functions(functions_of_each!());
        soon(builder.serve()).await.unwrap()
    };
    let mut node = serve("0").await;
    let call = resumed::call(&client, ITEMS).resumable();
    let mut items = call.through(but_for::with(2)).skip(1).through(but_for::with(3));
    let progress = items.progress();
    let expected: Vec<u64> = (2..ITEMS).filter(|n| n % 2 != 0 && n % 3 != 0).collect();
    for (i, expected) in expected.iter().enumerate() {
        if i % 2_000 == 1_500 {
            let next = serve(&i.to_string()).await;
            drop(std::mem::replace(&mut node, next));
        }
        assert_eq!(soon(items.next()).await.unwrap().unwrap(), *expected);
    }
    assert!(soon(items.next()).await.is_none());
    assert_eq!(progress.resumptions(), 3);
    // What is behind the last item has not been told.
    let told = expected.last().unwrap() + 1;
    assert_eq!(progress.items() + progress.skipped(), told);
}
