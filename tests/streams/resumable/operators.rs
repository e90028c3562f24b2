//! Operators on resumable streams: wherever the gateway is lost, what arrives is what it is without
//! that.

use std::cell::Cell;
use std::time::Duration;

use common::gate::{Gate, pass, pass_blocking};
use common::{Probe, SayOnDrop, soon, until};
use easyremote::client::StreamProgress;
use easyremote::{Client, functions, remote};
use futures::{FutureExt, Stream, StreamExt, stream};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::rig::Rig;
use crate::operators::{
    Items, LONG, Op, Reading, by_name, chained, collected, model, random_items, random_op, values,
};

/// In front of which item a function waits, who hears of it, and the gate at which it waits.
type Pause = (usize, u64, u64);

// They may run again: a gateway may be lost before the client knows which node has the call.
#[remote(stream, idempotent)]
fn paused(items: Items<Reading>, pause: Pause) -> impl Stream<Item = Result<Reading, String>> {
    let (at, probe, gate) = pause;
    let guard = SayOnDrop(probe, "over");
    stream::iter(items.into_iter().enumerate()).then(move |(i, item)| {
        let waits = i == at;
        if waits {
            guard.say("paused");
        }
        async move {
            if waits {
                pass(gate).await;
            }
            item
        }
    })
}

#[remote(stream, idempotent)]
fn iterated(items: Items<Reading>, pause: Pause) -> impl Iterator<Item = Result<Reading, String>> {
    let (at, probe, gate) = pause;
    let guard = SayOnDrop(probe, "over");
    items.into_iter().enumerate().map(move |(i, item)| {
        if i == at {
            guard.say("paused");
            pass_blocking(gate);
        }
        item
    })
}

/// A stream that is being read while its gateway is lost.
struct Case {
    what: String,
    probe: Probe,
    gate: Gate,
    read: JoinHandle<Items<Value>>,
    progress: StreamProgress,
    expected: Expected,
    /// How many items the function has, where all that do not arrive are left out one by one.
    counted: Option<usize>,
}

enum Expected {
    /// Exactly this.
    All(Items<Value>),
    /// The newest of these, now and then.
    Newest(Items<Value>),
}

impl Expected {
    fn check(&self, items: &Items<Value>, what: &str) {
        match self {
            Self::All(all) => assert_eq!(items, all, "{what}"),
            Self::Newest(all) => newest(items, all).unwrap_or_else(|why| {
                panic!("{why}, {what}: {items:?} of {all:?}");
            }),
        }
    }
}

/// Checks that `items` are some of `all`, in order, and that no error and no end is without the item
/// before it.
fn newest(items: &Items<Value>, all: &Items<Value>) -> Result<(), String> {
    let mut rest = all.iter();
    for (i, item) in items.iter().enumerate() {
        let left_out = rest.by_ref().position(|other| other == item);
        let left_out = left_out.ok_or_else(|| format!("item {i} is not there, or not in order"))?;
        let before = &all[all.len() - rest.len() - 1 - left_out..all.len() - rest.len() - 1];
        if before.iter().any(Result::is_err) {
            return Err(format!("an error is missing before item {i}"));
        }
        if item.is_err() && left_out > 0 {
            return Err(format!("the newest item is missing before item {i}"));
        }
    }
    if rest.len() == 0 { Ok(()) } else { Err("the newest item is missing before the end".into()) }
}

/// Reads a stream with these operators, of which one at most is `batches`, once it is open; returns
/// its progress too.
macro_rules! opened {
    ($stream:expr, $ops:expr, $last:expr) => {{
        let (stream, batches) = set!($stream.resumable(), &$ops[..]);
        match batches {
            None => opened!(behind!(stream, $last)),
            Some((n, ops)) => {
                let (stream, batches) = set!(stream.batches(n, LONG), ops);
                assert!(batches.is_none(), "one `batches`");
                opened!(behind!(stream, $last))
            }
        }
    }};
    ($stream:expr) => {{
        let mut stream = $stream;
        let progress = stream.progress();
        (progress, collected(soon(stream.open()).await.unwrap()).boxed())
    }};
}

/// What is behind all other operators.
#[derive(Clone, Copy, Debug)]
enum Last {
    Nothing,
    Latest,
    Sample(Duration),
}

macro_rules! behind {
    ($stream:expr, $last:expr) => {{
        let stream = $stream;
        match $last {
            Last::Nothing => stream,
            Last::Latest => stream.latest(),
            Last::Sample(interval) => stream.sample(interval),
        }
    }};
}

/// Begins to read a stream of a random kind, with random operators.
async fn begin(client: &Client) -> Case {
    let last = match fastrand::u8(0..4) {
        0 => Last::Latest,
        1 => Last::Sample(LONG),
        2 => Last::Sample(Duration::ZERO),
        _ => Last::Nothing,
    };
    let mut ops: Vec<_> = (0..fastrand::usize(0..8)).map(|_| random_op()).collect();
    let (mut batches, untyped) = (0, fastrand::bool());
    // The types of a program have an end.
    ops.retain(|op| {
        !matches!(op, Op::Batches(_)) || untyped || {
            batches += 1;
            batches < 2
        }
    });
    let sensor = Cell::new(0);
    let items = random_items(|| {
        // Those of which only the newest arrives are all different.
        let step = if matches!(last, Last::Nothing) { fastrand::u32(0..2) } else { 1 };
        sensor.set(sensor.get() + step);
        Reading { sensor: sensor.get(), label: "a".repeat(fastrand::usize(0..40)) }
    });
    let (probe, gate) = (Probe::new(), Gate::closed());
    let pause: Pause = (fastrand::usize(0..=items.len()), probe.key, gate.key);
    let function = if fastrand::bool() { "paused" } else { "iterated" };
    let what = format!("{function} {untyped} {ops:?} {last:?} {pause:?} of {items:?}");
    let all = model(&ops, values(&items));
    let one_by_one = |op: &Op| !matches!(op, Op::Take(_) | Op::Batches(_));
    let n = items.iter().filter(|item| item.is_ok()).count();
    let counted = ops.iter().all(one_by_one).then_some(n);
    let (progress, read) = if untyped {
        let stream = client.stream_json(function, json!([items, pause])).resumable();
        let mut stream = behind!(chained(stream, &ops), last);
        (stream.progress(), by_name(stream).boxed())
    } else if function == "paused" {
        opened!(paused::call(client, items, pause), ops, last)
    } else {
        opened!(iterated::call(client, items, pause), ops, last)
    };
    let expected = match last {
        Last::Nothing => Expected::All(all),
        _ => Expected::Newest(all),
    };
    let read = tokio::spawn(read);
    Case { what, probe, gate, read, progress, expected, counted }
}

/// Loses the gateway while streams are in the middle of something.
async fn lose_among_operators(rounds: usize) {
    let mut rig = Rig::start(1).await;
    let node = rig.node("a", functions![paused, iterated]).await;
    let client = rig.client_builder().retry_tokens(u32::MAX).connect();
    let client = soon(client).await.unwrap();
    let mut resumed = 0;
    for _ in 0..rounds {
        let mut cases = Vec::new();
        for _ in 0..16 {
            cases.push(begin(&client).await);
        }
        for case in &mut cases {
            // It waits, or does not get that far.
            case.probe.next().await;
        }
        for _ in 0..fastrand::usize(1..3) {
            rig.restart(0).await;
        }
        for case in cases {
            case.gate.open();
            let items = soon(case.read).await.unwrap_or_else(|_| panic!("{}", case.what));
            case.expected.check(&items, &case.what);
            if let Some(n) = case.counted {
                let arrived = items.iter().filter(|item| item.is_ok()).count();
                let skipped = case.progress.skipped();
                assert_eq!(skipped as usize, n - arrived, "left out, {}", case.what);
            }
            resumed += case.progress.resumptions();
        }
        until(|| node.stats().in_flight == 0 && rig.in_flight() == 0).await;
    }
    assert!(resumed > rounds as u64, "{resumed} of {rounds} rounds");
}

#[tokio::test]
async fn any_chain_does_the_same_where_its_gateway_is_lost() {
    fastrand::seed(3);
    lose_among_operators(6).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_chain_does_the_same_where_its_gateway_is_lost_on_several_threads() {
    fastrand::seed(4);
    lose_among_operators(6).await;
}
