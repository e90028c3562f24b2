//! A place is free at the gateway when it is free at the node: what runs keeps it, also when nobody
//! waits for it any more.

use std::time::Duration;

use common::gate::{Gate, OPEN, pass, pass_blocking, serve};
use common::{Probe, SayOnDrop, World, kinds_long, say, soon, until};
use easyremote::node::{Functions, NodeBuilder};
use easyremote::{CallError, Client, Context, Error, ErrorKind, Node, Options, functions, remote};
use futures::future::BoxFuture;
use futures::{FutureExt, Stream, StreamExt, stream};
use serde_json::{Value, json};

/// Keeps its thread until the gate is open; gives the id of its node.
fn hold(ctx: &Context, key: u64, gate: u64) -> String {
    let end = SayOnDrop(key, "ended");
    end.say("started");
    pass_blocking(gate);
    ctx.node().to_owned()
}

/// The same without a thread.
async fn stay(ctx: &Context, key: u64, gate: u64) -> String {
    let end = SayOnDrop(key, "ended");
    end.say("started");
    pass(gate).await;
    ctx.node().to_owned()
}

/// Functions that nothing stops from outside, each with its place of the node or of its own.
macro_rules! holders {
    ($module:ident $(, $limit:ident = $n:literal)?) => {
        mod $module {
            use super::*;

            #[remote($($limit = $n)?)]
            fn sync(#[ctx] ctx: &Context, key: u64, gate: u64) -> String {
                hold(ctx, key, gate)
            }

            #[remote(detached $(, $limit = $n)?)]
            fn detached_sync(#[ctx] ctx: &Context, key: u64, gate: u64) -> String {
                hold(ctx, key, gate)
            }

            #[remote(detached $(, $limit = $n)?)]
            async fn detached(#[ctx] ctx: &Context, key: u64, gate: u64) -> String {
                stay(ctx, key, gate).await
            }

            /// Blocks its thread in a poll.
            #[remote($($limit = $n)?)]
            async fn blocking(#[ctx] ctx: &Context, key: u64, gate: u64) -> String {
                hold(ctx, key, gate)
            }

            #[remote($($limit = $n)?)]
            async fn upload(
                #[ctx] ctx: &Context, key: u64, gate: u64, numbers: impl Stream<Item = u64>,
            ) -> String {
                drop(numbers);
                hold(ctx, key, gate)
            }

            #[remote(stream $(, $limit = $n)?)]
            fn iterator(#[ctx] ctx: &Context, key: u64, gate: u64) -> impl Iterator<Item = String> {
                let ctx = ctx.clone();
                std::iter::once_with(move || hold(&ctx, key, gate))
            }

            /// Gives an item before it blocks.
            #[remote(stream $(, $limit = $n)?)]
            fn second_item(
                #[ctx] ctx: &Context, key: u64, gate: u64,
            ) -> impl Iterator<Item = String> {
                let ctx = ctx.clone();
                let item = move |n| if n == 1 { hold(&ctx, key, gate) } else { String::new() };
                (0..2).map(item)
            }

            /// Blocks its thread in a poll.
            #[remote(stream $(, $limit = $n)?)]
            fn items(#[ctx] ctx: &Context, key: u64, gate: u64) -> impl Stream<Item = String> {
                let ctx = ctx.clone();
                stream::once(async move { hold(&ctx, key, gate) })
            }

            #[remote(stream $(, $limit = $n)?)]
            async fn set_up(#[ctx] ctx: &Context, key: u64, gate: u64) -> impl Stream<Item = String> {
                let node = hold(ctx, key, gate);
                stream::iter([node])
            }

            #[remote(stream $(, $limit = $n)?)]
            fn duplex(
                #[ctx] ctx: &Context, key: u64, gate: u64, numbers: impl Stream<Item = u64>,
            ) -> impl Stream<Item = String> {
                let ctx = ctx.clone();
                numbers.take(1).map(move |_| hold(&ctx, key, gate))
            }

            pub(super) fn all() -> Functions {
                functions![
                    sync, detached_sync, detached, blocking, upload, iterator, second_item,
                    items, set_up, duplex
                ]
            }

            pub(super) fn ways() -> Vec<(&'static str, Way)> {
                vec![
                    ("sync", |c, k, g| sync::call(c, k, g).boxed()),
                    ("detached sync", |c, k, g| detached_sync::call(c, k, g).boxed()),
                    ("detached", |c, k, g| detached::call(c, k, g).boxed()),
                    ("blocking", |c, k, g| blocking::call(c, k, g).boxed()),
                    ("traced", |c, k, g| {
                        let call = sync::call(c, k, g).traced();
                        async move { call.await.map(|(node, _)| node) }.boxed()
                    }),
                    ("upload", |c, k, g| upload::call(c, k, g, stream::iter(0..3)).boxed()),
                    ("iterator", |c, k, g| last(iterator::call(c, k, g)).boxed()),
                    ("second item", |c, k, g| last(second_item::call(c, k, g)).boxed()),
                    ("items", |c, k, g| last(items::call(c, k, g)).boxed()),
                    ("set-up", |c, k, g| last(set_up::call(c, k, g)).boxed()),
                    ("duplex", |c, k, g| last(duplex::call(c, k, g, stream::iter(0..3))).boxed()),
                    ("json", |c, k, g| {
                        let call = c.call_json("sync", json!([k, g]));
                        async move { call.await.map(text).map_err(remote) }.boxed()
                    }),
                    ("json stream", |c, k, g| {
                        let items = c.stream_json("iterator", json!([k, g]));
                        last(items.map(|item| item.map(text).map_err(remote))).boxed()
                    }),
                ]
            }
        }
    };
}

/// Makes a call with a client, a key of a probe, and one of a gate; gives the node that ran it.
type Way = fn(&Client, u64, u64) -> BoxFuture<'static, Result<String, Error>>;

holders!(of_node);
holders!(of_function, concurrency = 1);

/// The last item.
async fn last(
    mut items: impl Stream<Item = Result<String, Error>> + Unpin,
) -> Result<String, Error> {
    let mut last = String::new();
    while let Some(item) = items.next().await {
        last = item?;
    }
    Ok(last)
}

fn text(value: Value) -> String {
    value.as_str().unwrap().to_owned()
}

fn remote<E: std::fmt::Display>(error: CallError<E>) -> Error {
    match error {
        CallError::Remote(error) => error,
        error => panic!("{error}"),
    }
}

/// Whose only place it is.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Limit {
    Node,
    Function,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum GivenUp {
    Dropped,
    Late,
}

/// Two nodes, and a call that nobody waits for any more on the first.
struct Stage {
    world: World,
    nodes: [Node; 2],
    client: Client,
    gate: Gate,
    probe: Probe,
    row: String,
    call: Way,
}

impl Stage {
    async fn start(
        limit: Limit,
        given_up: GivenUp,
        multiplex: bool,
        (name, call): (&str, Way),
    ) -> Self {
        let row =
            format!("{name}, multiplexed {multiplex}, the place of a {limit:?}, {given_up:?}");
        let world = World::start().await;
        let node = |id: &str| {
            let node = world.node_builder().id(id);
            let limited = |node: NodeBuilder| match limit {
                Limit::Node => node.concurrency(1).functions(of_node::all()),
                Limit::Function => node.functions(of_function::all()),
            };
            serve(limited(node))
        };
        let nodes = [node("a").await.unwrap(), node("b").await.unwrap()];
        let client = soon(world.client_builder().multiplex(multiplex).connect()).await.unwrap();
        let (gate, mut probe) = (Gate::closed(), Probe::new());
        let on_a = Options::new().on("a");
        match given_up {
            GivenUp::Dropped => {
                let held = tokio::spawn(call(&client.with(on_a), probe.key, gate.key));
                assert_eq!(probe.next().await, "started", "{row}");
                held.abort();
            }
            GivenUp::Late => {
                let hurried = client.with(on_a.timeout(Duration::from_secs(1)));
                let held = tokio::spawn(call(&hurried, probe.key, gate.key));
                assert_eq!(probe.next().await, "started", "{row}");
                let error = soon(held).await.unwrap().unwrap_err();
                assert_eq!(error.kind(), ErrorKind::DeadlineExceeded, "{row}: {error}");
            }
        }
        until(|| client.stats().in_flight == 0).await;
        Self { world, nodes, client, gate, probe, row, call }
    }

    /// Calls under way on the first node, as the gateway sees it and as the node does.
    fn on_a(&self) -> (u64, u64) {
        let nodes = self.world.gateway.nodes();
        let a = nodes.iter().find(|node| node.id == "a").map_or(0, |node| node.in_flight);
        (a, self.nodes[0].stats().in_flight)
    }

    /// Makes a call that does not have to wait at a gate; gives the node that ran it.
    async fn free(&self, client: &Client) -> Result<String, Error> {
        let hurried = client.with(Options::new().timeout(Duration::from_secs(10)));
        soon((self.call)(&hurried, OPEN, OPEN)).await
    }

    async fn ends(mut self) {
        self.gate.open();
        assert_eq!(self.probe.next().await, "ended", "{}", self.row);
        let idle = || {
            let gateway = self.world.gateway.stats();
            let nodes = self.nodes.iter().map(Node::stats);
            let mut left = nodes.map(|node| node.in_flight + node.waiting);
            gateway.in_flight + gateway.waiting == 0
                && self.world.gateway.nodes().iter().all(|node| node.in_flight == 0)
                && left.all(|left| left == 0)
        };
        until(idle).await;
        let on_a = self.client.with(Options::new().on("a"));
        assert_eq!(self.free(&on_a).await.unwrap(), "a", "{}", self.row);
    }
}

async fn keeps_its_place(
    limit: Limit,
    given_up: GivenUp,
    multiplex: bool,
    way: (&'static str, Way),
) -> Result<(), String> {
    let stage = Stage::start(limit, given_up, multiplex, way).await;
    // One of them would wait on the first for as long as it has time.
    for n in 0..10 {
        match stage.free(&stage.client).await {
            Ok(node) if node == "b" => {}
            ended => return Err(format!("{}: call {n}: {ended:?}, {:?}", stage.row, stage.on_a())),
        }
    }
    if stage.on_a() != (1, 1) {
        return Err(format!("{}: under way on a: {:?}", stage.row, stage.on_a()));
    }
    stage.ends().await;
    Ok(())
}

/// Each kind of function with or without multiplexing, or with both if there is time; a few at a time, each
/// of which may block a thread.
async fn all_keep_their_places(limit: Limit, given_up: GivenUp) {
    let ways = match limit {
        Limit::Node => of_node::ways(),
        Limit::Function => of_function::ways(),
    };
    let odd = (limit == Limit::Node) == (given_up == GivenUp::Late);
    let rows = ways.into_iter().enumerate().flat_map(|(i, way)| {
        let multiplex = [true, false].into_iter();
        multiplex
            .filter(move |multiplex| kinds_long() || *multiplex == (i % 2 == 0) ^ odd)
            .map(move |multiplex| (multiplex, way))
    });
    let rows = rows.map(|(multiplex, way)| keeps_its_place(limit, given_up, multiplex, way));
    let ended: Vec<_> = stream::iter(rows).buffer_unordered(6).collect().await;
    let wrong: Vec<_> = ended.into_iter().filter_map(Result::err).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[tokio::test]
async fn a_dropped_call_keeps_the_place_of_its_node_while_its_function_runs() {
    all_keep_their_places(Limit::Node, GivenUp::Dropped).await;
}

#[tokio::test]
async fn a_late_call_keeps_the_place_of_its_node_while_its_function_runs() {
    all_keep_their_places(Limit::Node, GivenUp::Late).await;
}

#[tokio::test]
async fn a_dropped_call_keeps_the_place_of_its_function_while_that_runs() {
    all_keep_their_places(Limit::Function, GivenUp::Dropped).await;
}

#[tokio::test]
async fn a_late_call_keeps_the_place_of_its_function_while_that_runs() {
    all_keep_their_places(Limit::Function, GivenUp::Late).await;
}

#[tokio::test]
async fn a_node_that_drains_waits_for_what_nobody_waits_for() {
    /// As many calls go well meanwhile.
    const CALLS: usize = 100;
    let rows = of_node::ways().into_iter().enumerate().flat_map(|(i, way)| {
        let all = [GivenUp::Dropped, GivenUp::Late].into_iter().enumerate();
        let some = all.filter(move |(j, _)| kinds_long() || i % 2 == *j);
        some.map(move |(_, given_up)| async move {
            let stage = Stage::start(Limit::Node, given_up, true, way).await;
            let Stage { world, nodes: [a, _b], client, gate, mut probe, row, call } = stage;
            let key = probe.key;
            let draining = tokio::spawn(async move {
                a.drain(Duration::from_secs(120)).await;
                say(key, "drained");
                a
            });
            let on_b = client.with(Options::new().on("b"));
            for _ in 0..CALLS {
                assert_eq!(soon(call(&on_b, OPEN, OPEN)).await.unwrap(), "b", "{row}");
            }
            let too_early = draining.is_finished();
            gate.open();
            let said = [probe.next().await, probe.next().await];
            drop((world, soon(draining).await.unwrap()));
            let right = !too_early && said == ["ended", "drained"];
            if right { Ok(()) } else { Err(format!("{row}: {said:?}, too early: {too_early}")) }
        })
    });
    let ended: Vec<_> = stream::iter(rows).buffer_unordered(6).collect().await;
    let wrong: Vec<_> = ended.into_iter().filter_map(Result::err).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}
