//! Every kind of call has one span at each role, and its function logs inside of that of the node.

use std::time::Duration;

use common::{World, soon, until};
use easyremote::node::{Done, Next};
use easyremote::{Client, Context, Error, functions, remote};
use futures::future::BoxFuture;
use futures::{FutureExt, Stream, StreamExt, TryStreamExt, stream};
use serde_json::json;
use tokio::task::yield_now;
use tracing::{Instrument, info, info_span};

use crate::recorder::{fresh, listen, of_call, said, span, spans};

/// Says which call this is, inside of a function.
fn tell(ctx: &Context, key: u64) -> u128 {
    info!(key, "inside");
    ctx.call_id()
}

#[remote]
async fn task(#[ctx] ctx: &Context, key: u64) -> u128 {
    tell(ctx, key);
    yield_now().await;
    tokio::time::sleep(Duration::from_millis(1)).await;
    tell(ctx, key)
}

/// The id as text, since numbers of JSON are too short.
#[remote]
async fn text(#[ctx] ctx: &Context, key: u64) -> String {
    format!("{:032x}", tell(ctx, key))
}

#[remote]
async fn ready(#[ctx] ctx: &Context, key: u64) -> u128 {
    tell(ctx, key)
}

#[remote]
fn thread(#[ctx] ctx: &Context, key: u64) -> u128 {
    tell(ctx, key)
}

#[remote(inline)]
fn short(#[ctx] ctx: &Context, key: u64) -> u128 {
    tell(ctx, key)
}

#[remote(batch(max = 1, wait = "1ms"))]
fn batch(#[ctx] callers: &[Context], keys: Vec<u64>) -> Vec<u128> {
    callers.iter().zip(keys).map(|(ctx, key)| tell(ctx, key)).collect()
}

#[remote(batch(max = 1, wait = "1ms"))]
async fn async_batch(#[ctx] callers: &[Context], keys: Vec<u64>) -> Vec<u128> {
    yield_now().await;
    callers.iter().zip(keys).map(|(ctx, key)| tell(ctx, key)).collect()
}

#[remote(stream)]
fn items(#[ctx] ctx: &Context, key: u64) -> impl Stream<Item = u128> {
    let ctx = ctx.clone();
    stream::iter(0..3).then(move |_| {
        let ctx = ctx.clone();
        async move {
            yield_now().await;
            tell(&ctx, key)
        }
    })
}

#[remote(stream)]
fn iterator(#[ctx] ctx: &Context, key: u64) -> impl Iterator<Item = u128> {
    (0..3).map(move |_| tell(ctx, key))
}

#[remote(stream)]
async fn later(#[ctx] ctx: &Context, key: u64) -> Result<impl Iterator<Item = u128>, String> {
    yield_now().await;
    Ok((0..3).map(move |_| tell(ctx, key)))
}

#[remote]
async fn upload(#[ctx] ctx: &Context, key: u64, numbers: impl Stream<Item = u64>) -> u128 {
    numbers.for_each(async |_| _ = tell(ctx, key)).await;
    tell(ctx, key)
}

#[remote(stream)]
fn duplex(
    #[ctx] ctx: &Context,
    key: u64,
    numbers: impl Stream<Item = u64>,
) -> impl Stream<Item = u128> {
    let ctx = ctx.clone();
    numbers.map(move |_| tell(&ctx, key))
}

type Ask = fn(Client, u64) -> BoxFuture<'static, u128>;

async fn last<T, E: std::fmt::Debug>(stream: impl Stream<Item = Result<T, E>>) -> T {
    let mut items: Vec<T> = stream.map(Result::unwrap).collect().await;
    items.pop().unwrap()
}

/// The name of the function, and a call of it.
const KINDS: &[(&str, Ask)] = &[
    ("task", |c, key| async move { task::call(&c, key).await.unwrap() }.boxed()),
    ("ready", |c, key| async move { ready::call(&c, key).await.unwrap() }.boxed()),
    ("thread", |c, key| async move { thread::call(&c, key).await.unwrap() }.boxed()),
    ("short", |c, key| async move { short::call(&c, key).await.unwrap() }.boxed()),
    ("batch", |c, key| async move { batch::call(&c, key).await.unwrap() }.boxed()),
    ("async_batch", |c, key| async move { async_batch::call(&c, key).await.unwrap() }.boxed()),
    ("items", |c, key| last(items::call(&c, key)).boxed()),
    ("items", |c, key| last(items::call(&c, key).resumable()).boxed()),
    ("items", |c, key| last(items::call(&c, key).take(9)).boxed()),
    ("items", |c, key| last(items::call(&c, key).skip(1).every(1).buffer(0)).boxed()),
    ("iterator", |c, key| last(iterator::call(&c, key)).boxed()),
    ("later", |c, key| last(later::call(&c, key)).boxed()),
    ("upload", |c, key| {
        async move { upload::call(&c, key, stream::iter(0..3)).await.unwrap() }.boxed()
    }),
    ("duplex", |c, key| last(duplex::call(&c, key, stream::iter(0..3))).boxed()),
    ("text", |c, key| {
        async move {
            let id = c.call_json("text", json!([key])).await.unwrap();
            u128::from_str_radix(id.as_str().unwrap(), 16).unwrap()
        }
        .boxed()
    }),
    ("ready", |c, key| async move { ready::call(&c, key).traced().await.unwrap().0 }.boxed()),
    ("thread", |c, key| {
        async move { thread::call(&c, key).key(key.to_string()).await.unwrap() }.boxed()
    }),
    ("task", |c, key| {
        async move { task::call(&c, key).on_all().next().await.unwrap().1.unwrap() }.boxed()
    }),
    ("thread", |c, key| last(thread::map(&c, [key])).boxed()),
    ("task", |c, key| {
        async move { task::call(&c, key).spawn().await.unwrap().result().await.unwrap() }.boxed()
    }),
];

async fn wrapped(ctx: Context, next: Next) -> Result<Done, Error> {
    let key = ctx.call_id() as u64;
    info!(key, "before");
    yield_now().await;
    info!(key, "about to run");
    next.run(ctx).await
}

async fn each_kind_has_its_spans(multiplex: bool, middleware: bool) {
    listen();
    let world = World::start().await;
    let mut node = world.node_builder().id("there").functions(functions![
        task,
        text,
        ready,
        thread,
        short,
        batch,
        async_batch,
        items,
        iterator,
        later,
        upload,
        duplex
    ]);
    if middleware {
        node = node.wrap(wrapped);
    }
    let _node = soon(node.serve()).await.unwrap();
    let client = soon(world.client_builder().multiplex(multiplex).connect()).await.unwrap();
    let port = world.gateway.local_addr().port().to_string();
    for (name, ask) in KINDS {
        let key = fresh();
        let own = info_span!("own");
        let own_id = own.id().unwrap().into_u64();
        let call = soon(ask(client.clone(), key).instrument(own)).await;
        until(|| of_call(call).iter().all(|span| span.closed)).await;
        let spans = of_call(call);
        let names: Vec<_> = spans.iter().map(|span| span.name).collect();
        assert_eq!(names, ["client", "gateway", "node"], "{name}");
        let [at_client, at_gateway, at_node] = [0, 1, 2].map(|at| spans[at].clone());
        // Without a library of traces they are not connected beyond their processes.
        assert_eq!(at_client.parent, Some(own_id), "{name}");
        assert_eq!((at_gateway.parent, at_node.parent), (None, None), "{name}");
        assert_eq!(at_client.field("server.port"), port);
        for span in &spans {
            assert_eq!(span.field("rpc.method"), *name);
            assert_eq!(span.field("otel.name"), *name);
            assert_eq!(span.field("rpc.system.name"), "easyremote");
            assert_eq!(span.field("easyremote.executed"), "Yes", "{name}: {span:?}");
            assert!(!span.fields.contains_key("error.type"), "{name}: {span:?}");
            assert!(span.times.values().all(|times| *times == 1), "{name}: {span:?}");
        }
        let kinds: Vec<_> = spans.iter().map(|span| span.field("otel.kind")).collect();
        assert_eq!(kinds, ["client", "server", "server"]);
        for span in [&at_gateway, &at_node] {
            assert_eq!(span.field("easyremote.node"), "there", "{name}: {span:?}");
            assert_eq!(span.field("easyremote.attempt"), "0");
            assert_eq!(span.field("easyremote.caller"), "default");
            assert!(span.field("easyremote.caller_id").starts_with("client-"));
            assert!(span.field("easyremote.queued").parse::<f64>().unwrap() >= 0.0);
        }
        let (said, around) = (said(key), said(call as u64));
        assert!(!said.is_empty(), "{name}");
        assert_eq!(around.len(), if middleware { 2 } else { 0 });
        for said in said.into_iter().chain(around) {
            assert_eq!(
                said.within,
                [at_node.id],
                "{name}: {:?}",
                said.within.iter().map(|id| span(*id))
            );
        }
    }
}

#[tokio::test]
async fn one_thread_and_one_stream() {
    each_kind_has_its_spans(true, false).await;
}

#[tokio::test]
async fn one_thread_and_separate_streams() {
    each_kind_has_its_spans(false, false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_threads_and_one_stream() {
    each_kind_has_its_spans(true, false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_threads_and_middleware() {
    each_kind_has_its_spans(true, true).await;
}

#[remote]
async fn outer(#[ctx] ctx: &Context, key: u64) -> (u128, u128) {
    let inner = task::call(&ctx.client(), key).await.unwrap();
    (ctx.call_id(), inner)
}

#[tokio::test]
async fn the_client_span_of_a_nested_call_is_a_child_of_the_function() {
    listen();
    let (_world, _node, client) = World::with(functions![outer, task]).await;
    let (outer, inner) = soon(outer::call(&client, fresh())).await.unwrap();
    let node = of_call(outer).into_iter().find(|span| span.name == "node").unwrap();
    let client = of_call(inner).into_iter().find(|span| span.name == "client").unwrap();
    assert_eq!(client.parent, Some(node.id));
}

#[remote(batch(max = 3, wait = "60s"))]
async fn of_three(#[ctx] callers: &[Context], keys: Vec<u64>) -> Vec<u128> {
    yield_now().await;
    info!(key = keys[0], "inside");
    callers.iter().map(Context::call_id).collect()
}

#[tokio::test]
async fn a_batch_has_one_span_that_is_linked_to_its_calls() {
    listen();
    let (_world, _node, client) = World::with(functions![of_three]).await;
    let key = fresh();
    let calls = of_three::map(&client, [key; 3]).try_collect::<Vec<_>>();
    let calls = soon(calls).await.unwrap();
    let node = |call| of_call(call).into_iter().find(|span| span.name == "node").unwrap().id;
    let mut nodes: Vec<_> = calls.into_iter().map(node).collect();
    let [said] = &said(key)[..] else { panic!("one run") };
    let run = span(said.within[0]);
    assert_eq!((run.name, run.field("easyremote.batch.size")), ("batch", "3"));
    assert_eq!(run.field("easyremote.batch.reason"), "Full");
    let mut linked = run.links.clone();
    linked.extend(run.parent);
    linked.sort_unstable();
    nodes.sort_unstable();
    assert_eq!(linked, nodes);
    assert!(spans(|span| span.name == "batch" && span.parent == run.parent).len() == 1);
}
