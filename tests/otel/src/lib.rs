//! What the tests of traces share: functions of every kind, each of which calls another one.

use std::time::Duration;

use easyremote::client::TraceContext;
use easyremote::node::Functions;
use easyremote::{Context, functions, remote};
use futures::{Stream, StreamExt, stream};
use opentelemetry::trace::TracerProvider;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{SdkTracerProvider, TracerProviderBuilder};
use tokio::runtime::Handle;
use tracing::Level;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

/// Target of the spans of tests.
pub const OWN: &str = "own";

/// Sends the spans of calls in this process to `provider`, as one of `service`.
pub fn trace(service: &'static str, provider: TracerProviderBuilder) -> SdkTracerProvider {
    let provider = provider.with_resource(Resource::builder().with_service_name(service).build());
    let provider = provider.build();
    let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer(service));
    // Only calls: a connection has spans too, which live as long as it does.
    let calls =
        Targets::new().with_targets([("easyremote::trace", Level::INFO), (OWN, Level::INFO)]);
    tracing_subscriber::registry().with(layer.with_filter(calls)).init();
    provider
}

/// Waits for what has to happen soon; panics if it does not.
pub async fn soon<F: Future>(event: F) -> F::Output {
    tokio::time::timeout(Duration::from_secs(60), event).await.expect("did not happen in a minute")
}

/// The span in which the function runs, as it tells others.
fn own(ctx: &Context) -> Option<u64> {
    ctx.trace_context().map(TraceContext::parent_id)
}

#[remote]
pub async fn leaf(#[ctx] ctx: &Context) -> Option<u64> {
    own(ctx)
}

#[remote]
pub async fn task(#[ctx] ctx: &Context) -> Option<u64> {
    tokio::task::yield_now().await;
    leaf::call(&ctx.client()).await.unwrap();
    own(ctx)
}

/// Its nested call is made in a task that knows nothing of its span.
#[remote]
pub async fn spawns(#[ctx] ctx: &Context) -> Option<u64> {
    let client = ctx.client();
    tokio::spawn(async move { leaf::call(&client).await.unwrap() }).await.unwrap();
    own(ctx)
}

#[remote(detached)]
pub async fn detached(#[ctx] ctx: &Context) -> Option<u64> {
    leaf::call(&ctx.client()).await.unwrap();
    own(ctx)
}

#[remote]
pub fn thread(#[ctx] ctx: &Context) -> Option<u64> {
    Handle::current().block_on(leaf::call(&ctx.client())).unwrap();
    own(ctx)
}

#[remote(inline)]
pub fn short(#[ctx] ctx: &Context) -> Option<u64> {
    own(ctx)
}

#[remote(batch(max = 1, wait = "1ms"))]
pub async fn batch(#[ctx] callers: &[Context], numbers: Vec<u64>) -> Vec<Option<u64>> {
    leaf::call(&callers[0].client()).await.unwrap();
    numbers.iter().zip(callers).map(|(_, ctx)| own(ctx)).collect()
}

#[remote(stream)]
pub fn items(#[ctx] ctx: &Context) -> impl Stream<Item = Option<u64>> {
    let ctx = ctx.clone();
    stream::iter([()]).then(move |()| {
        let ctx = ctx.clone();
        async move {
            leaf::call(&ctx.client()).await.unwrap();
            own(&ctx)
        }
    })
}

#[remote(stream)]
pub fn iterator(#[ctx] ctx: &Context) -> impl Iterator<Item = Option<u64>> {
    std::iter::once_with(|| {
        Handle::current().block_on(leaf::call(&ctx.client())).unwrap();
        own(ctx)
    })
}

#[remote]
pub async fn upload(#[ctx] ctx: &Context, numbers: impl Stream<Item = u64>) -> Option<u64> {
    numbers.for_each(async |_| _ = leaf::call(&ctx.client()).await.unwrap()).await;
    own(ctx)
}

#[remote(stream)]
pub fn duplex(
    #[ctx] ctx: &Context,
    numbers: impl Stream<Item = u64>,
) -> impl Stream<Item = Option<u64>> {
    let ctx = ctx.clone();
    numbers.then(move |_| {
        let ctx = ctx.clone();
        async move {
            leaf::call(&ctx.client()).await.unwrap();
            own(&ctx)
        }
    })
}

#[remote]
pub async fn faults() -> Result<u64, String> {
    Err("no".into())
}

#[remote]
pub fn panics() {
    panic!("on purpose");
}

#[remote]
pub async fn hangs() {
    std::future::pending().await
}

/// The first attempt waits for ever.
#[remote(idempotent)]
pub async fn slow(#[ctx] ctx: &Context, hang: bool) {
    if hang && ctx.attempt() == 0 {
        std::future::pending().await
    }
}

/// All functions.
pub fn all() -> Functions {
    functions![
        leaf, task, spawns, detached, thread, short, batch, items, iterator, upload, duplex,
        faults, panics, hangs, slow
    ]
}

/// Compiles what the page of the guide shows.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/traces.md")]
pub struct Guide;
