//! Traces of every kind of call, with the three roles in one process and an exporter in memory.

use std::collections::HashMap;
use std::sync::LazyLock;
use std::time::Duration;

use easyremote::auth::DialOptions;
use easyremote::client::TraceContext;
use easyremote::node::{Done, Next};
use easyremote::{Client, Context, Error, ErrorKind, Gateway, Node, Retry};
use futures::future::BoxFuture;
use futures::{FutureExt, Stream, StreamExt, stream};
use opentelemetry::trace::{SpanKind, Status, TraceContextExt};
use opentelemetry_sdk::trace::{InMemorySpanExporter, Sampler, SdkTracerProvider, SpanData};
use otel::{
    OWN, all, batch, detached, duplex, faults, hangs, items, iterator, leaf, panics, short, slow,
    soon, spawns, task, thread, upload,
};
use serde_json::json;
use tempfile::TempDir;
use tracing::{Instrument, Span, info_span};
use tracing_opentelemetry::OpenTelemetrySpanExt;

/// Begins to record.
fn exporter() -> &'static InMemorySpanExporter {
    static EXPORTER: LazyLock<(InMemorySpanExporter, SdkTracerProvider)> = LazyLock::new(|| {
        let exporter = InMemorySpanExporter::default();
        let sampler = Sampler::ParentBased(Box::new(Sampler::AlwaysOn));
        let provider = SdkTracerProvider::builder().with_sampler(sampler);
        (exporter.clone(), otel::trace("all", provider.with_simple_exporter(exporter)))
    });
    &EXPORTER.0
}

struct World {
    _gateway: Gateway,
    _nodes: Vec<Node>,
    client: Client,
    _state: TempDir,
}

async fn refusing(ctx: Context, next: Next) -> Result<Done, Error> {
    if ctx.metadata("refuse").is_some() && ctx.attempt() < 2 {
        return Err(Error::new(ErrorKind::Overloaded, "not now"));
    }
    next.run(ctx).await
}

async fn world(nodes: usize, multiplex: bool) -> World {
    exporter();
    let state = tempfile::tempdir().unwrap();
    let found = || DialOptions::new().state_dir(state.path());
    let gateway = Gateway::builder("127.0.0.1:0").state_dir(state.path()).serve();
    let gateway = soon(gateway).await.unwrap();
    let address = gateway.local_addr();
    let mut running = Vec::new();
    for _ in 0..nodes {
        let node = Node::builder(address).dial(found()).functions(all()).wrap(refusing);
        running.push(soon(node.serve()).await.unwrap());
    }
    let client = Client::builder(address).dial(found()).multiplex(multiplex).connect();
    World { _gateway: gateway, _nodes: running, client: soon(client).await.unwrap(), _state: state }
}

fn id_of(span: &Span) -> (u128, u64) {
    let context = span.context();
    let span = context.span().span_context().clone();
    let (trace, span) = (span.trace_id().to_bytes(), span.span_id().to_bytes());
    (u128::from_be_bytes(trace), u64::from_be_bytes(span))
}

fn span_id(span: &SpanData) -> u64 {
    u64::from_be_bytes(span.span_context.span_id().to_bytes())
}

fn parent_id(span: &SpanData) -> u64 {
    u64::from_be_bytes(span.parent_span_id.to_bytes())
}

fn attribute(span: &SpanData, key: &str) -> String {
    let mut all = span.attributes.iter().filter(|attribute| attribute.key.as_str() == key);
    let value = all.next().map_or_else(String::new, |attribute| attribute.value.to_string());
    assert!(all.next().is_none(), "{key} twice: {span:?}");
    value
}

/// Waits for `n` spans of the trace.
async fn trace(id: u128, n: usize) -> Vec<SpanData> {
    let of_trace = || {
        let spans = exporter().get_finished_spans().unwrap();
        let is_it = |span: &SpanData| span.span_context.trace_id().to_bytes() == id.to_be_bytes();
        spans.into_iter().filter(is_it).collect::<Vec<_>>()
    };
    let mut looks = tokio::time::interval(Duration::from_millis(2));
    let waits = tokio::time::timeout(Duration::from_secs(20), async {
        while of_trace().len() < n {
            looks.tick().await;
        }
    });
    let complete = waits.await;
    let spans = of_trace();
    let names: Vec<_> = spans.iter().map(|span| (&span.name, &span.span_kind)).collect();
    assert!(complete.is_ok() && spans.len() == n, "{names:?} instead of {n}");
    spans
}

/// The path of each span from the root: names of functions, and the kinds of spans.
fn paths(spans: &[SpanData]) -> Vec<String> {
    let by_id: HashMap<_, _> = spans.iter().map(|span| (span_id(span), span)).collect();
    let path = |span: &SpanData| {
        let mut at = span;
        let mut path = Vec::new();
        loop {
            let kind = match at.span_kind {
                SpanKind::Client => "client",
                SpanKind::Server if attribute(at, "easyremote.caller").is_empty() => "?",
                SpanKind::Server => "server",
                _ => "own",
            };
            path.push(format!("{} {kind}", at.name));
            match by_id.get(&parent_id(at)) {
                Some(parent) => at = parent,
                None => break,
            }
        }
        path.reverse();
        path.join(" > ")
    };
    let mut paths: Vec<_> = spans.iter().map(path).collect();
    paths.sort();
    paths
}

/// What the paths of a call of `function` have to be; with the nested call of `leaf`.
fn expected(function: &str, nests: bool) -> Vec<String> {
    let call = |of: &str| [format!("{of} client"), format!("{of} server"), format!("{of} server")];
    let mut path = vec!["own own".to_owned()];
    path.extend(call(function));
    path.extend(if nests { call("leaf").to_vec() } else { Vec::new() });
    (1..=path.len()).map(|end| path[..end].join(" > ")).collect()
}

/// Reads a stream to its end.
async fn last<T>(stream: impl Stream<Item = Result<T, Error>>) -> T {
    let mut items: Vec<_> = stream.map(Result::unwrap).collect().await;
    items.pop().unwrap()
}

type Ask = fn(Client) -> BoxFuture<'static, Option<u64>>;

/// The name of a function, a call of it, and whether it makes a nested call.
const KINDS: &[(&str, Ask, bool)] = &[
    ("task", |c| async move { task::call(&c).await.unwrap() }.boxed(), true),
    ("spawns", |c| async move { spawns::call(&c).await.unwrap() }.boxed(), true),
    ("detached", |c| async move { detached::call(&c).await.unwrap() }.boxed(), true),
    ("thread", |c| async move { thread::call(&c).await.unwrap() }.boxed(), true),
    ("short", |c| async move { short::call(&c).await.unwrap() }.boxed(), false),
    ("batch", |c| async move { batch::call(&c, 7).await.unwrap() }.boxed(), true),
    ("items", |c| async move { last(items::call(&c)).await }.boxed(), true),
    ("items", |c| async move { last(items::call(&c).resumable()).await }.boxed(), true),
    ("items", |c| async move { last(items::call(&c).dedup()).await }.boxed(), true),
    ("iterator", |c| async move { last(iterator::call(&c)).await }.boxed(), true),
    ("upload", |c| async move { upload::call(&c, stream::iter([1])).await.unwrap() }.boxed(), true),
    ("duplex", |c| async move { last(duplex::call(&c, stream::iter([1]))).await }.boxed(), true),
    (
        "task",
        |c| async move { task::call(&c).spawn().await.unwrap().result().await.unwrap() }.boxed(),
        true,
    ),
    ("task", |c| async move { task::call(&c).key("a").await.unwrap() }.boxed(), true),
    (
        "leaf",
        |c| async move { c.call_json("leaf", json!([])).await.unwrap().as_u64() }.boxed(),
        false,
    ),
];

async fn every_kind_has_a_trace(multiplex: bool) {
    for (name, ask, nests) in KINDS {
        let world = world(1, multiplex).await;
        let own = info_span!(target: OWN, "own");
        let (id, _) = id_of(&own);
        let within = soon(ask(world.client.clone()).instrument(own)).await;
        let expected = expected(name, *nests);
        let spans = trace(id, expected.len()).await;
        assert_eq!(paths(&spans), expected, "{name}");
        // The function ran in the last span of its own call.
        let node = spans.iter().find(|span| Some(span_id(span)) == within).unwrap();
        assert_eq!(node.name, *name);
        assert_eq!(attribute(node, "easyremote.executed"), "Yes");
        for span in spans.iter().filter(|span| span.name != "own") {
            assert_eq!(attribute(span, "rpc.system.name"), "easyremote");
            assert_eq!(attribute(span, "rpc.method"), span.name);
            assert_eq!(attribute(span, "error.type"), "");
            assert_eq!(span.status, Status::Unset);
        }
    }
}

#[tokio::test]
async fn one_thread_and_one_stream() {
    every_kind_has_a_trace(true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_threads_and_separate_streams() {
    every_kind_has_a_trace(false).await;
}

type Fail = fn(Client) -> BoxFuture<'static, ()>;

const FAILURES: &[(&str, Fail)] = &[
    ("Failed", |c| faults::call(&c).map(drop).boxed()),
    ("Panicked", |c| panics::call(&c).map(drop).boxed()),
    ("DeadlineExceeded", |c| hangs::call(&c).timeout(Duration::from_millis(50)).map(drop).boxed()),
];

#[tokio::test]
async fn errors_are_the_status_of_spans() {
    let world = world(1, true).await;
    for (kind, fail) in FAILURES {
        let own = info_span!(target: OWN, "own");
        let (id, _) = id_of(&own);
        soon(fail(world.client.clone()).instrument(own)).await;
        for span in trace(id, 4).await.iter().filter(|span| span.name != "own") {
            let seen = attribute(span, "error.type");
            // Whoever notices a deadline first gives the call up.
            if seen != "Cancelled" || *kind != "DeadlineExceeded" {
                assert_eq!(seen, *kind, "{span:?}");
                assert!(matches!(span.status, Status::Error { .. }), "{span:?}");
            }
        }
    }
}

/// The attempts of the spans of a function at gateway and node, each with that of its parent.
fn attempts(spans: &[SpanData], function: &str) -> Vec<(String, String)> {
    let servers = spans.iter().filter(|span| span.name == function);
    let servers = servers.filter(|span| span.span_kind == SpanKind::Server);
    let of_parent = |span: &SpanData| {
        let parent = spans.iter().find(|it| span_id(it) == parent_id(span)).unwrap();
        match parent.span_kind {
            SpanKind::Client => "client".to_owned(),
            _ => attribute(parent, "easyremote.attempt"),
        }
    };
    let pair = |span: &SpanData| (attribute(span, "easyremote.attempt"), of_parent(span));
    let mut attempts: Vec<_> = servers.map(pair).collect();
    attempts.sort();
    attempts
}

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(one, two)| ((*one).to_owned(), (*two).to_owned())).collect()
}

#[tokio::test]
async fn each_attempt_is_a_child_of_the_call() {
    let world = world(1, true).await;
    let retry = Retry::new().backoff(Duration::from_millis(1), Duration::from_millis(1));
    let own = info_span!(target: OWN, "own");
    let (id, _) = id_of(&own);
    let call = leaf::call(&world.client).metadata("refuse", "").retry(retry);
    soon(call.instrument(own)).await.unwrap();
    let spans = trace(id, 8).await;
    let expected =
        [("0", "0"), ("0", "client"), ("1", "1"), ("1", "client"), ("2", "2"), ("2", "client")];
    assert_eq!(attempts(&spans, "leaf"), pairs(&expected));
}

#[tokio::test]
async fn a_hedge_is_a_child_of_the_call() {
    let world = world(2, true).await;
    // A hedge in twenty calls is allowed.
    for _ in 0..200 {
        soon(slow::call(&world.client, false).hedge(Duration::MAX)).await.unwrap();
    }
    let own = info_span!(target: OWN, "own");
    let (id, _) = id_of(&own);
    let call = slow::call(&world.client, true).hedge(Duration::from_millis(1));
    soon(call.instrument(own)).await.unwrap();
    let spans = trace(id, 6).await;
    let expected = [("0", "0"), ("0", "client"), ("1", "1"), ("1", "client")];
    assert_eq!(attempts(&spans, "slow"), pairs(&expected));
}

#[tokio::test]
async fn a_context_from_elsewhere_is_the_parent_of_the_client() {
    let world = world(1, true).await;
    for (trace_id, inside) in [(u128::MAX / 3, false), (u128::MAX / 5, true)] {
        let context = TraceContext::new(trace_id, 4_711, true).unwrap().with_tracestate("a=1");
        let call = task::call(&world.client).trace_context(context);
        // A span of another trace is not the parent.
        let span = if inside { info_span!(target: OWN, "another") } else { Span::none() };
        soon(call.instrument(span)).await.unwrap();
        let spans = trace(trace_id, 6).await;
        let client = spans.iter().find(|span| parent_id(span) == 4_711).unwrap();
        assert_eq!(client.span_kind, SpanKind::Client);
        assert!(spans.iter().all(|span| span.span_context.trace_state().header() == "a=1"));
    }
}

#[tokio::test]
async fn a_trace_that_is_not_sampled_has_no_spans_and_goes_on() {
    let world = world(1, true).await;
    let id = u128::MAX / 7;
    let context = TraceContext::new(id, 7, false).unwrap();
    let span = soon(task::call(&world.client).trace_context(context)).await.unwrap();
    // The function is in a span that is not recorded.
    assert!(span.is_some_and(|span| span != 7));
    drop(world);
    trace(id, 0).await;
}
