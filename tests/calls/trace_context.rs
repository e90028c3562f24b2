//! The trace that a call belongs in reaches its function, whatever the kind, and the calls that this
//! makes; no library of traces takes part.

use std::time::Duration;

use common::{World, multiplex, soon};
use easyremote::client::TraceContext;
use easyremote::node::{Done, Next};
use easyremote::{Client, Context, Error, ErrorKind, Options, Retry, functions, remote};
use fastrand::Rng;
use futures::future::BoxFuture;
use futures::{FutureExt, Stream, StreamExt, TryStreamExt, stream};
use serde_json::json;

/// The context as a function sees it, as text.
type Seen = Option<(String, String)>;

fn seen(ctx: &Context) -> Seen {
    ctx.trace_context().map(|it| (it.to_string(), it.tracestate().to_owned()))
}

#[remote]
async fn task(#[ctx] ctx: &Context) -> Seen {
    seen(ctx)
}

#[remote]
fn thread(#[ctx] ctx: &Context) -> Seen {
    seen(ctx)
}

#[remote(inline)]
fn short(#[ctx] ctx: &Context) -> Seen {
    seen(ctx)
}

#[remote(batch(max = 4, wait = "1ms"))]
fn batched(#[ctx] callers: &[Context], numbers: Vec<u64>) -> Vec<Seen> {
    assert_eq!(callers.len(), numbers.len());
    callers.iter().map(seen).collect()
}

#[remote(stream)]
fn items(#[ctx] ctx: &Context) -> impl Stream<Item = Seen> {
    stream::iter([seen(ctx)])
}

#[remote(stream)]
fn iterator(#[ctx] ctx: &Context) -> impl Iterator<Item = Seen> {
    [seen(ctx)].into_iter()
}

#[remote]
async fn upload(#[ctx] ctx: &Context, numbers: impl Stream<Item = u64>) -> Seen {
    numbers.collect::<Vec<_>>().await;
    seen(ctx)
}

#[remote(stream)]
fn duplex(#[ctx] ctx: &Context, numbers: impl Stream<Item = u64>) -> impl Stream<Item = Seen> {
    let seen = seen(ctx);
    numbers.map(move |_| seen.clone())
}

#[remote]
async fn nested(#[ctx] ctx: &Context, depth: u32) -> Seen {
    match depth {
        0 => seen(ctx),
        depth => nested::call(&ctx.client(), depth - 1).boxed().await.unwrap(),
    }
}

#[remote(detached)]
async fn detached(#[ctx] ctx: &Context) -> Seen {
    task::call(&ctx.client()).await.unwrap()
}

#[remote]
async fn spawns(#[ctx] ctx: &Context) -> Seen {
    task::call(&ctx.client()).spawn().await.unwrap().result().await.unwrap()
}

/// Asks with a context of its own, which has nothing to do with that of its call.
#[remote]
async fn breaks_out(#[ctx] ctx: &Context, text: String) -> Seen {
    let context: TraceContext = text.parse().unwrap();
    task::call(&ctx.client()).trace_context(context).await.unwrap()
}

type Ask = fn(Client) -> BoxFuture<'static, Seen>;

/// Every kind of call, and every way from a function to another one.
const WAYS: &[(&str, Ask)] = &[
    ("task", |c| async move { task::call(&c).await.unwrap() }.boxed()),
    ("thread", |c| async move { thread::call(&c).await.unwrap() }.boxed()),
    ("inline", |c| async move { short::call(&c).await.unwrap() }.boxed()),
    ("batch", |c| async move { batched::call(&c, 7).await.unwrap() }.boxed()),
    ("stream", |c| async move { items::call(&c).next().await.unwrap().unwrap() }.boxed()),
    ("iterator", |c| async move { iterator::call(&c).next().await.unwrap().unwrap() }.boxed()),
    ("resumable", |c| {
        async move { items::call(&c).resumable().next().await.unwrap().unwrap() }.boxed()
    }),
    ("upload", |c| async move { upload::call(&c, stream::iter([1])).await.unwrap() }.boxed()),
    ("duplex", |c| {
        async move { duplex::call(&c, stream::iter([1])).next().await.unwrap().unwrap() }.boxed()
    }),
    ("json", |c| {
        async move {
            let seen = c.call_json("task", json!([])).await.unwrap();
            serde_json::from_value(seen).unwrap()
        }
        .boxed()
    }),
    ("traced", |c| async move { task::call(&c).traced().await.unwrap().0 }.boxed()),
    ("key", |c| {
        async move { task::call(&c).key(format!("{:?}", Rng::new().u128(..))).await.unwrap() }
            .boxed()
    }),
    ("hedge", |c| {
        async move { idempotent::call(&c).hedge(Duration::from_secs(9)).await.unwrap() }.boxed()
    }),
    ("map", |c| {
        async move {
            let seen: Vec<_> = nested::map(&c, [0, 1]).try_collect().await.unwrap();
            assert_eq!(seen[0], seen[1]);
            seen[0].clone()
        }
        .boxed()
    }),
    ("on_all", |c| async move { task::call(&c).on_all().next().await.unwrap().1.unwrap() }.boxed()),
    ("job", |c| {
        async move { task::call(&c).spawn().await.unwrap().result().await.unwrap() }.boxed()
    }),
    ("nested", |c| async move { nested::call(&c, 3).await.unwrap() }.boxed()),
    ("detached", |c| async move { detached::call(&c).await.unwrap() }.boxed()),
    ("spawned inside", |c| async move { spawns::call(&c).await.unwrap() }.boxed()),
];

#[remote(idempotent)]
async fn idempotent(#[ctx] ctx: &Context) -> Seen {
    seen(ctx)
}

fn random(random: &mut Rng) -> TraceContext {
    let (trace, parent) = (random.u128(1..), random.u64(1..));
    let context = TraceContext::new(trace, parent, random.bool()).unwrap();
    match random.u8(..3) {
        0 => context,
        1 => context.with_tracestate("congo=t61rcWkgMzE,rojo=00f067aa0ba902b7"),
        _ => context.with_tracestate(&format!("a={}", "x".repeat(510))),
    }
}

async fn world() -> World {
    World::start().await
}

async fn every_way_has_the_context(multiplex: bool) {
    let world = world().await;
    let functions = functions![
        task, thread, short, batched, items, iterator, upload, duplex, nested, detached, spawns,
        idempotent
    ];
    let _node = world.node(functions).await;
    let client = soon(world.client_builder().multiplex(multiplex).connect()).await.unwrap();
    let mut rng = Rng::with_seed(2);
    for (name, ask) in WAYS {
        assert_eq!(soon(ask(client.clone())).await, None, "{name}");
        let context = random(&mut rng);
        let sent = Some((context.to_string(), context.tracestate().to_owned()));
        let client = client.with(Options::new().trace_context(context));
        assert_eq!(soon(ask(client)).await, sent, "{name}");
    }
}

#[tokio::test]
async fn a_context_reaches_functions_of_every_kind_and_their_calls() {
    every_way_has_the_context(multiplex()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_context_reaches_them_on_separate_streams() {
    every_way_has_the_context(false).await;
}

#[tokio::test]
async fn a_context_of_the_call_replaces_that_of_the_handle_and_of_the_enclosing_call() {
    let world = world().await;
    let _node = world.node(functions![task, breaks_out]).await;
    let client = world.client().await;
    let [outer, inner] = [7, 8].map(|seed| random(&mut Rng::with_seed(seed)));
    let handle = client.with(Options::new().trace_context(outer.clone()));
    let seen = soon(task::call(&handle).trace_context(inner.clone())).await.unwrap();
    assert_eq!(seen.unwrap().0, inner.to_string());
    let seen = soon(breaks_out::call(&handle, inner.to_string())).await.unwrap();
    assert_eq!(seen.unwrap().0, inner.to_string());
}

/// Refuses the first two attempts.
async fn third(ctx: Context, next: Next) -> Result<Done, Error> {
    match ctx.attempt() {
        0 | 1 => Err(Error::new(ErrorKind::Overloaded, "not now")),
        _ => next.run(ctx).await,
    }
}

#[tokio::test]
async fn every_attempt_has_the_context() {
    let world = world().await;
    let builder = world.node_builder().functions(functions![task, nested]).wrap(third);
    let _node = soon(builder.serve()).await.unwrap();
    let client = world.client().await;
    let context = random(&mut Rng::with_seed(3));
    let retry = Retry::new().backoff(Duration::from_millis(1), Duration::from_millis(1));
    let call = task::call(&client).trace_context(context.clone()).retry(retry);
    assert_eq!(soon(call).await.unwrap().unwrap().0, context.to_string());
}
