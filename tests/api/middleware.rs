//! Middleware around every kind of function: what it sees, what it may refuse, and what it costs
//! the call when it misbehaves.

use std::collections::HashMap;
use std::future::pending;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use common::{World, soon, until};
use easyremote::client::ClientBuilder;
use easyremote::node::{Done, Next};
use easyremote::{Client, Context, Error, ErrorKind, Executed, Node, functions, remote};
use futures::{FutureExt, Stream, StreamExt, stream};

/// How often the functions of the node with this id have begun.
static BEGUN: LazyLock<Mutex<HashMap<String, u64>>> = LazyLock::new(Mutex::default);

fn begin(ctx: &Context) {
    *BEGUN.lock().unwrap().entry(ctx.node().to_owned()).or_default() += 1;
}

fn begun(node: &Node) -> u64 {
    BEGUN.lock().unwrap().get(node.id()).copied().unwrap_or_default()
}

#[remote]
fn blocking(#[ctx] ctx: &Context, n: u64) -> u64 {
    begin(ctx);
    n
}

#[remote(inline)]
fn inline(#[ctx] ctx: &Context, n: u64) -> u64 {
    begin(ctx);
    n
}

#[remote]
async fn asynchronous(#[ctx] ctx: &Context, n: u64) -> u64 {
    begin(ctx);
    n
}

#[remote]
async fn failing(#[ctx] ctx: &Context, n: u64) -> Result<u64, u64> {
    begin(ctx);
    Err(n)
}

#[remote]
async fn panicking(#[ctx] ctx: &Context, n: u64) -> u64 {
    begin(ctx);
    panic!("{n}")
}

#[remote]
async fn endless(#[ctx] ctx: &Context) -> u64 {
    begin(ctx);
    pending().await
}

#[remote(stream)]
fn iterated(#[ctx] ctx: &Context, n: u64) -> impl Iterator<Item = u64> {
    begin(ctx);
    0..n
}

#[remote(stream)]
fn streamed(#[ctx] ctx: &Context, n: u64) -> impl Stream<Item = u64> {
    begin(ctx);
    stream::iter(0..n)
}

#[remote(stream)]
async fn unset(#[ctx] ctx: &Context, n: u64) -> Result<impl Stream<Item = u64>, u64> {
    begin(ctx);
    Err::<stream::Empty<u64>, u64>(n)
}

#[remote]
async fn summed(#[ctx] ctx: &Context, numbers: impl Stream<Item = u64>) -> u64 {
    begin(ctx);
    numbers.fold(0, |sum, n| async move { sum + n }).await
}

/// One call of each kind: with its error, if it ends with one that is not the function's.
type Made = futures::future::BoxFuture<'static, Result<(), Error>>;

async fn drained<T, E>(mut items: impl Stream<Item = Result<T, E>> + Unpin) -> Result<(), E> {
    while let Some(item) = items.next().await {
        item?;
    }
    Ok(())
}

fn function_error<T, E>(result: Result<T, easyremote::CallError<E>>) -> Result<(), Error> {
    match result {
        Ok(_) | Err(easyremote::CallError::Function(_)) => Ok(()),
        Err(easyremote::CallError::Remote(error)) => Err(error),
    }
}

/// The name of each function that ends by itself, how to call it, and how it ends: whether well,
/// and with how many items.
#[allow(clippy::type_complexity)]
fn kinds() -> [(&'static str, fn(&Client) -> Made, bool, u64); 8] {
    [
        ("blocking", |c| blocking::call(c, 7).map(|r| r.map(drop)).boxed(), true, 0),
        ("inline", |c| inline::call(c, 7).map(|r| r.map(drop)).boxed(), true, 0),
        ("asynchronous", |c| asynchronous::call(c, 7).map(|r| r.map(drop)).boxed(), true, 0),
        ("failing", |c| failing::call(c, 7).map(function_error).boxed(), false, 0),
        ("iterated", |c| drained(iterated::call(c, 7)).boxed(), true, 7),
        ("streamed", |c| drained(streamed::call(c, 7)).boxed(), true, 7),
        ("unset", |c| drained(unset::call(c, 7)).map(function_error).boxed(), false, 0),
        ("summed", |c| summed::call(c, stream::iter(0..7)).map(|r| r.map(drop)).boxed(), true, 0),
    ]
}

fn all() -> easyremote::node::Functions {
    functions![
        blocking,
        inline,
        asynchronous,
        failing,
        panicking,
        endless,
        iterated,
        streamed,
        unset,
        summed
    ]
}

/// Clients whose small calls share a stream, and whose do not.
async fn clients(world: &World) -> Vec<Client> {
    let with = |multiplex| move |client: ClientBuilder| client.multiplex(multiplex);
    let mut clients = Vec::new();
    for multiplex in [true, false] {
        clients.push(soon(with(multiplex)(world.client_builder()).connect()).await.unwrap());
    }
    clients
}

/// What layers have seen, in order.
type Log = Arc<Mutex<Vec<String>>>;

/// A layer that notes what it sees.
fn noting(
    name: &'static str,
    log: &Log,
) -> impl Fn(Context, Next) -> futures::future::BoxFuture<'static, Result<Done, Error>> + use<> {
    let log = log.clone();
    move |ctx, next| {
        let log = log.clone();
        async move {
            log.lock().unwrap().push(format!("{name} before {}", ctx.function()));
            let result = next.run(ctx).await;
            let shown = match &result {
                Ok(done) => format!("{name} after {:?}, {}", done.end(), done.items()),
                Err(error) => format!("{name} refused {:?}", error.kind()),
            };
            log.lock().unwrap().push(shown);
            result
        }
        .boxed()
    }
}

async fn seen(log: &Log, n: usize) -> Vec<String> {
    until(|| log.lock().unwrap().len() >= n).await;
    std::mem::take(&mut *log.lock().unwrap())
}

#[tokio::test]
async fn layers_run_around_every_kind_of_function_outermost_first() {
    let (world, log) = (World::start().await, Log::default());
    let node = world.node_builder().functions(all()).concurrency(1);
    let node = node.wrap(noting("outer", &log)).wrap(noting("inner", &log));
    let node = soon(node.serve()).await.unwrap();
    for client in clients(&world).await {
        for (name, call, returns, items) in kinds() {
            let before = begun(&node);
            soon(call(&client)).await.unwrap();
            let end = if returns { "Returned" } else { "Fault" };
            let expected = [
                format!("outer before {name}"),
                format!("inner before {name}"),
                format!("inner after {end}, {items}"),
                format!("outer after {end}, {items}"),
            ];
            assert_eq!(seen(&log, 4).await, expected);
            assert_eq!(begun(&node), before + 1, "{name}");
        }
        let error = soon(panicking::call(&client, 7)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Panicked);
        let shown = seen(&log, 4).await;
        assert!(shown[3].starts_with("outer after Error(") && shown[3].contains("Panicked"));
        let traced = soon(asynchronous::call(&client, 7).traced()).await;
        assert_eq!(traced.unwrap().0, 7);
        assert_eq!(seen(&log, 4).await[3], "outer after Returned, 0");
    }
}

#[tokio::test]
async fn bytes_are_those_of_the_value_or_of_all_items() {
    let (world, bytes) = (World::start().await, Arc::new(AtomicU64::new(0)));
    let counted = bytes.clone();
    let node = world.node_builder().functions(all()).wrap(move |ctx, next| {
        let counted = counted.clone();
        async move {
            let done = next.run(ctx).await?;
            counted.store(done.bytes(), Ordering::SeqCst);
            Ok(done)
        }
    });
    let _node = soon(node.serve()).await.unwrap();
    for client in clients(&world).await {
        // A small number has one byte in bincode.
        soon(asynchronous::call(&client, 7)).await.unwrap();
        until(|| bytes.swap(0, Ordering::SeqCst) == 1).await;
        soon(drained(streamed::call(&client, 100))).await.unwrap();
        until(|| bytes.swap(0, Ordering::SeqCst) == 100).await;
    }
}

/// Every kind of error that a program can have in its hands.
const ALL_KINDS: [ErrorKind; 20] = [
    ErrorKind::Unavailable,
    ErrorKind::NoSuchFunction,
    ErrorKind::NoNode,
    ErrorKind::SignatureMismatch,
    ErrorKind::Unauthenticated,
    ErrorKind::PermissionDenied,
    ErrorKind::Overloaded,
    ErrorKind::TooLarge,
    ErrorKind::BadArguments,
    ErrorKind::BadResponse,
    ErrorKind::DeadlineExceeded,
    ErrorKind::Cancelled,
    ErrorKind::Panicked,
    ErrorKind::NodeLost,
    ErrorKind::ConnectionLost,
    ErrorKind::Draining,
    ErrorKind::SlowConsumer,
    ErrorKind::Failed,
    ErrorKind::Protocol,
    ErrorKind::InvalidInput,
];

#[tokio::test]
async fn an_error_before_the_function_is_the_callers_and_nothing_has_run() {
    let world = World::start().await;
    let kind = Arc::new(Mutex::new(ErrorKind::PermissionDenied));
    let refused = kind.clone();
    let node = world.node_builder().functions(all()).concurrency(1);
    let node = node.wrap(|ctx, next| next.run(ctx)).wrap(move |_, _| {
        let kind = *refused.lock().unwrap();
        async move { Err(Error::new(kind, "not today")) }
    });
    let node = soon(node.serve()).await.unwrap();
    for client in clients(&world).await {
        let client = client.with(easyremote::Options::new().retry(easyremote::Retry::never()));
        for refused in ALL_KINDS {
            *kind.lock().unwrap() = refused;
            for (name, call, ..) in kinds() {
                let error = soon(call(&client)).await.unwrap_err();
                assert_eq!(error.executed(), Executed::No, "{refused:?} of {name}: {error}");
                assert!(error.to_string().contains("not today"), "{error}");
                assert_eq!(error.node(), Some(node.id()), "{error}");
                let of_others = [
                    ErrorKind::NoNode,
                    ErrorKind::BadResponse,
                    ErrorKind::Panicked,
                    ErrorKind::NodeLost,
                    ErrorKind::ConnectionLost,
                    ErrorKind::SlowConsumer,
                    ErrorKind::Failed,
                ];
                let expected = match of_others.contains(&refused) {
                    true => ErrorKind::Unavailable,
                    false => refused,
                };
                assert_eq!(error.kind(), expected, "{name}");
            }
        }
    }
    assert_eq!(begun(&node), 0);
}

#[tokio::test]
async fn a_layer_that_panics_fails_its_call_and_nothing_else() {
    let world = World::start().await;
    let node = world.node_builder().functions(all()).concurrency(1);
    let node = node.wrap(|ctx, next| async move {
        match ctx.metadata("panic") {
            Some("before") => panic!("oh no"),
            Some("after") => {
                next.run(ctx).await?;
                panic!("oh no")
            }
            Some("at once") => unreachable!("the closure has panicked"),
            _ => next.run(ctx).await,
        }
    });
    let node = node.wrap(|ctx, next| {
        assert_ne!(ctx.metadata("panic"), Some("inside"));
        next.run(ctx)
    });
    let node = soon(node.serve()).await.unwrap();
    for client in clients(&world).await {
        let client = client.with(easyremote::Options::new().retry(easyremote::Retry::never()));
        for panic in ["before", "inside"] {
            let before = begun(&node);
            let error = soon(asynchronous::call(&client, 7).metadata("panic", panic)).await;
            let error = error.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unavailable);
            assert_eq!(error.executed(), Executed::No);
            assert!(error.to_string().contains("middleware"), "{error}");
            assert_eq!(begun(&node), before);
        }
        let called = soon(asynchronous::call(&client, 7).metadata("panic", "after")).await;
        assert_eq!(called.unwrap(), 7);
        assert_eq!(soon(asynchronous::call(&client, 7)).await.unwrap(), 7, "the place is free");
    }
}

#[tokio::test]
async fn a_caller_that_leaves_ends_its_middleware_before_the_function_and_is_told_of_after_it() {
    /// Tells when it is dropped.
    struct Dropped(Arc<AtomicU64>);
    impl Drop for Dropped {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }
    let (world, log) = (World::start().await, Log::default());
    let (waiting, dropped) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let counters = (waiting.clone(), dropped.clone());
    let node = world.node_builder().functions(all()).concurrency(1);
    let node = node.wrap(noting("outer", &log)).wrap(move |ctx, next| {
        let (waiting, dropped) = counters.clone();
        async move {
            if ctx.metadata("wait").is_some() {
                let _dropped = Dropped(dropped);
                waiting.fetch_add(1, Ordering::SeqCst);
                pending::<()>().await;
            }
            next.run(ctx).await
        }
    });
    let node = soon(node.serve()).await.unwrap();
    for (n, client) in (1..).zip(clients(&world).await) {
        // In the middleware: dropped by its caller, and late.
        let call = tokio::spawn(endless::call(&client).metadata("wait", ""));
        until(|| waiting.load(Ordering::SeqCst) == 2 * n - 1).await;
        call.abort();
        until(|| dropped.load(Ordering::SeqCst) == 2 * n - 1).await;
        let late = endless::call(&client).metadata("wait", "").timeout(Duration::from_millis(200));
        let error = soon(late).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::DeadlineExceeded);
        until(|| dropped.load(Ordering::SeqCst) == 2 * n).await;
        assert_eq!(seen(&log, 2).await, ["outer before endless", "outer before endless"]);
        assert_eq!(begun(&node), 2 * (n - 1));

        // In the function: the layers go on, and learn why it ended.
        let call = tokio::spawn(endless::call(&client));
        until(|| begun(&node) == 2 * n - 1).await;
        call.abort();
        let shown = seen(&log, 2).await;
        assert!(shown[1].starts_with("outer after Error(") && shown[1].contains("Cancelled"));
        let late = endless::call(&client).timeout(Duration::from_millis(200));
        let error = soon(late).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::DeadlineExceeded);
        let shown = seen(&log, 2).await;
        // The caller's clock may be the faster one.
        let ends = ["DeadlineExceeded", "Cancelled"];
        assert!(ends.iter().any(|end| shown[1].contains(end)), "{shown:?}");
        assert_eq!(begun(&node), 2 * n);
        assert_eq!(soon(asynchronous::call(&client, 7)).await.unwrap(), 7, "the place is free");
        seen(&log, 2).await;
        BEGUN.lock().unwrap().insert(node.id().to_owned(), 2 * n);
    }
}

#[tokio::test]
async fn a_layer_that_stops_waiting_stops_the_function() {
    let world = World::start().await;
    let node = world.node_builder().functions(all()).concurrency(1);
    let node = node.wrap(|ctx, next| async move {
        let slow = ctx.metadata("limit").is_some();
        let run = next.run(ctx);
        if !slow {
            return run.await;
        }
        let limited = tokio::time::timeout(Duration::from_millis(50), run);
        limited.await.unwrap_or_else(|_| Err(Error::new(ErrorKind::Overloaded, "too slow")))
    });
    let node = soon(node.serve()).await.unwrap();
    for (n, client) in (1..).zip(clients(&world).await) {
        let error = soon(endless::call(&client).metadata("limit", "")).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Cancelled);
        assert_eq!(error.executed(), Executed::Maybe);
        assert!(error.to_string().contains("middleware"), "{error}");
        assert_eq!(soon(asynchronous::call(&client, 7)).await.unwrap(), 7, "the place is free");
        assert_eq!(begun(&node), 2 * n);
    }
}

#[tokio::test]
async fn a_next_that_is_kept_starts_nothing_later() {
    let world = World::start().await;
    let kept = Arc::new(Mutex::new(Vec::new()));
    let keep = kept.clone();
    let node = world.node_builder().functions(all()).concurrency(1).wrap(move |ctx, next| {
        if ctx.metadata("keep").is_some() {
            keep.lock().unwrap().push((ctx, next));
            return async { Err(Error::new(ErrorKind::Overloaded, "later")) }.boxed();
        }
        next.run(ctx).boxed()
    });
    let node = soon(node.serve()).await.unwrap();
    let client = world.client().await;
    let client = client.with(easyremote::Options::new().retry(easyremote::Retry::never()));
    let error = soon(asynchronous::call(&client, 7).metadata("keep", "")).await.unwrap_err();
    assert_eq!((error.kind(), error.executed()), (ErrorKind::Overloaded, Executed::No));
    let (ctx, next) = kept.lock().unwrap().pop().unwrap();
    let error = soon(next.run(ctx)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Cancelled);
    assert_eq!(begun(&node), 0);
    assert_eq!(soon(asynchronous::call(&client, 7)).await.unwrap(), 7, "the place is free");
}

#[tokio::test]
async fn layers_reach_the_state_of_the_node() {
    let (world, calls) = (World::start().await, Arc::new(AtomicU64::new(0)));
    let node = world.node_builder().functions(all()).shared_state(calls.clone());
    let node = node.wrap(|ctx, next| async move {
        assert!(ctx.state::<String>().is_none());
        if let Some(calls) = ctx.state::<AtomicU64>() {
            calls.fetch_add(1, Ordering::SeqCst);
        }
        next.run(ctx).await
    });
    let _node = soon(node.serve()).await.unwrap();
    let client = world.client().await;
    for (_, call, ..) in kinds() {
        soon(call(&client)).await.unwrap();
    }
    assert_eq!(calls.load(Ordering::SeqCst), kinds().len() as u64);
}

#[tokio::test]
async fn a_drain_waits_for_what_is_inside_of_middleware() {
    let (world, gate) = (World::start().await, Arc::new(tokio::sync::Semaphore::new(0)));
    let (inside, waits) = (Arc::new(AtomicU64::new(0)), gate.clone());
    let arrived = inside.clone();
    let node = world.node_builder().functions(all()).wrap(move |ctx, next| {
        let (gate, inside) = (waits.clone(), arrived.clone());
        async move {
            inside.fetch_add(1, Ordering::SeqCst);
            gate.acquire().await.unwrap().forget();
            next.run(ctx).await
        }
    });
    let node = soon(node.serve()).await.unwrap();
    let client = world.client().await;
    let call = tokio::spawn(asynchronous::call(&client, 7));
    until(|| inside.load(Ordering::SeqCst) == 1).await;
    let drain = tokio::spawn(async move { node.drain(Duration::from_secs(30)).await });
    tokio::task::yield_now().await;
    assert!(!drain.is_finished());
    gate.add_permits(1);
    assert_eq!(soon(call).await.unwrap().unwrap(), 7);
    soon(drain).await.unwrap();
}
