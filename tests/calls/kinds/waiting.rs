//! Calls that wait for a place or a thread until their deadline never start later.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use common::ended::{Ended, drained, ended};
use common::gate::{Gate, OPEN, pass, pass_blocking, serve};
use common::{Probe, World, say, soon, until};
use easyremote::node::NodeLimits;
use easyremote::node::{Functions, NodeBuilder};
use easyremote::{Client, Options, functions, remote};
use futures::future::{BoxFuture, join_all};
use futures::{FutureExt, Stream, StreamExt, stream};
use serde_json::json;

/// Takes the only place or thread.
#[remote]
fn block(key: u64, gate: u64) {
    say(key, "started");
    pass_blocking(gate);
}

macro_rules! kinds {
    ($module:ident, $block:ident $(, $limit:ident = $n:literal)?) => {
        mod $module {
            use super::*;

            type Runs = Arc<AtomicU64>;

            /// Takes the only place of a function.
            #[remote($($limit = $n)?)]
            pub(super) async fn held(#[state] runs: &Runs, key: u64, gate: u64) {
                runs.fetch_add(1, Ordering::SeqCst);
                say(key, "started");
                pass(gate).await;
            }

            #[remote($($limit = $n)?)]
            pub(super) fn sync(#[state] runs: &Runs, key: u64, gate: u64) {
                runs.fetch_add(1, Ordering::SeqCst);
                say(key, "started");
                pass_blocking(gate);
            }

            #[remote(detached $(, $limit = $n)?)]
            pub(super) async fn detached(#[state] runs: &Runs, key: u64, gate: u64) {
                held(runs, key, gate).await;
            }

            #[remote(detached $(, $limit = $n)?)]
            pub(super) fn detached_sync(#[state] runs: &Runs, key: u64, gate: u64) {
                sync(runs, key, gate);
            }

            #[remote(stream $(, $limit = $n)?)]
            pub(super) fn iterator(
                #[state] runs: &Runs, key: u64, gate: u64,
            ) -> impl Iterator<Item = u64> {
                let runs = runs.clone();
                std::iter::once_with(move || sync(&runs, key, gate)).map(|()| 7)
            }

            #[remote(stream $(, $limit = $n)?)]
            pub(super) fn items(
                #[state] runs: &Runs, key: u64, gate: u64,
            ) -> impl Stream<Item = u64> {
                let runs = runs.clone();
                stream::once(async move { held(&runs, key, gate).await }).map(|()| 7)
            }

            #[remote($($limit = $n)?)]
            pub(super) async fn upload(
                #[state] runs: &Runs, key: u64, gate: u64, numbers: impl Stream<Item = u64>,
            ) -> u64 {
                held(runs, key, gate).await;
                numbers.count().await as u64
            }

            pub(super) fn all() -> Functions {
                functions![
                    block, held, sync, detached, detached_sync, iterator, items, upload
                ]
            }

            /// A call of each kind of function.
            pub(super) fn ways() -> Vec<(&'static str, super::Way)> {
                vec![
                    ("async", |c, k, g| { let c = held::call(c, k, g); ends!(c) }),
                    ("sync", |c, k, g| { let c = sync::call(c, k, g); ends!(c) }),
                    ("traced", |c, k, g| { let c = sync::call(c, k, g).traced(); ends!(c) }),
                    ("json", |c, k, g| { let c = c.call_json("sync", json!([k, g])); ends!(c) }),
                    ("detached", |c, k, g| { let c = detached::call(c, k, g); ends!(c) }),
                    ("detached sync", |c, k, g| {
                        let c = detached_sync::call(c, k, g);
                        ends!(c)
                    }),
                    ("upload", |c, k, g| {
                        let c = upload::call(c, k, g, stream::iter(0..3));
                        ends!(c)
                    }),
                    ("iterator", |c, k, g| drained(iterator::call(c, k, g)).boxed()),
                    ("items", |c, k, g| drained(items::call(c, k, g)).boxed()),
                    ("json stream", |c, k, g| {
                        drained(c.stream_json("items", json!([k, g]))).boxed()
                    }),
                ]
            }
        }
    };
}

/// Makes a call with a client, a key of a probe, and one of a gate.
type Way = fn(&Client, u64, u64) -> BoxFuture<'static, Ended>;

macro_rules! ends {
    ($call:ident) => {
        async move { ended($call.await) }.boxed()
    };
}

kinds!(of_node, block);
kinds!(of_function, block, concurrency = 1);

/// What is scarce: places of a node, its threads, or places of each of its functions.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Scarce {
    Places,
    Threads,
    OfFunction,
}

async fn late_calls_never_start(scarce: Scarce, multiplex: bool) {
    let row = format!("{scarce:?}, multiplexed {multiplex}");
    let world = World::start().await;
    let runs = Arc::new(AtomicU64::new(0));
    let node = world.node_builder().state(runs.clone());
    let (functions, ways) = match scarce {
        Scarce::OfFunction => (of_function::all(), of_function::ways()),
        _ => (of_node::all(), of_node::ways()),
    };
    let limit = |node: NodeBuilder| match scarce {
        Scarce::Places => node.concurrency(1),
        Scarce::Threads => node.limits(NodeLimits::new().blocking_threads(1)),
        Scarce::OfFunction => node,
    };
    let node = serve(limit(node).functions(functions)).await.unwrap();
    let client = soon(world.client_builder().multiplex(multiplex).connect()).await.unwrap();
    // What needs no thread does not wait for one.
    let needs_thread = |name| ["sync", "traced", "json", "detached sync"].contains(&name);
    let ways = ways.into_iter().filter(|(name, _)| scarce != Scarce::Threads || needs_thread(name));
    let ways: Vec<_> = ways.collect();
    let gate = Gate::closed();
    let mut probe = Probe::new();
    // Whatever is scarce is taken, once for each function.
    let mut holding = Vec::new();
    if scarce == Scarce::OfFunction {
        for (_, call) in
            ways.iter().filter(|(name, _)| !["traced", "json", "json stream"].contains(name))
        {
            holding.push(tokio::spawn(call(&client, probe.key, gate.key)));
            assert_eq!(probe.next().await, "started", "{row}");
        }
    } else {
        holding.push(tokio::spawn(block::call(&client, probe.key, gate.key).map(ended)));
        assert_eq!(probe.next().await, "started", "{row}");
    }
    let before = runs.load(Ordering::SeqCst);
    let hurried = client.with(Options::new().timeout(Duration::from_secs(1)));
    let late = ways.iter().map(|(_, call)| call(&hurried, probe.key, OPEN));
    for (ended, (name, _)) in soon(join_all(late)).await.into_iter().zip(&ways) {
        let (kind, ..) = ended.unwrap_err();
        assert_eq!(kind, easyremote::ErrorKind::DeadlineExceeded, "{row}: {name}");
    }
    // The clocks of the others are later by the way there; then nothing waits any more.
    let waiting = || (world.gateway.stats().waiting, node.stats().waiting);
    let gone = tokio::time::timeout(Duration::from_secs(10), until(|| waiting() == (0, 0))).await;
    assert!(gone.is_ok(), "{row}: at gateway and node wait {:?}", waiting());
    gate.open();
    for call in holding {
        soon(call).await.unwrap().unwrap();
    }
    // What comes after them finds no function of theirs, started or waiting.
    for (name, call) in &ways {
        soon(call(&client, probe.key, OPEN)).await.expect(name);
    }
    until(|| node.stats().in_flight == 0 && world.gateway.stats().in_flight == 0).await;
    assert_eq!((node.stats().waiting, world.gateway.stats().waiting), (0, 0), "{row}");
    assert_eq!(runs.load(Ordering::SeqCst), before + ways.len() as u64, "{row}");
}

#[tokio::test]
async fn who_waits_for_a_place_until_the_deadline_never_starts() {
    let rows = [true, false].map(|multiplex| late_calls_never_start(Scarce::Places, multiplex));
    join_all(rows).await;
}

#[tokio::test]
async fn who_waits_for_a_thread_until_the_deadline_never_starts() {
    let rows = [true, false].map(|multiplex| late_calls_never_start(Scarce::Threads, multiplex));
    join_all(rows).await;
}

#[tokio::test]
async fn who_waits_for_a_place_of_a_function_until_the_deadline_never_starts() {
    let rows = [true, false].map(|multiplex| late_calls_never_start(Scarce::OfFunction, multiplex));
    join_all(rows).await;
}
