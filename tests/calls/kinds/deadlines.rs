//! A deadline that has passed: nothing is sent, and nothing starts.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use common::ended::{Ended, drained, ended};
use common::{World, patient, soon, until};
use easyremote::node::Functions;
use easyremote::{Client, Context, ErrorKind, Executed, Node, Options, functions, remote};
use futures::future::BoxFuture;
use futures::{FutureExt, Stream, StreamExt, stream};
use serde_json::json;
use tokio::sync::mpsc;

/// How many functions have started.
type Runs = Arc<AtomicU64>;

fn count(runs: &Runs) -> u64 {
    runs.fetch_add(1, Ordering::SeqCst)
}

#[remote]
fn sync(#[state] runs: &Runs) -> u64 {
    count(runs)
}

#[remote(inline)]
fn inline(#[state] runs: &Runs) -> u64 {
    count(runs)
}

#[remote]
async fn asynchronous(#[state] runs: &Runs) -> u64 {
    count(runs)
}

#[remote]
async fn fallible(#[state] runs: &Runs, fail: bool) -> Result<u64, String> {
    if fail { Err("on purpose".into()) } else { Ok(count(runs)) }
}

#[remote(detached)]
async fn detached(#[state] runs: &Runs) -> u64 {
    count(runs)
}

#[remote(detached)]
fn detached_sync(#[state] runs: &Runs) -> u64 {
    count(runs)
}

#[remote(idempotent)]
fn idempotent(#[state] runs: &Runs) -> u64 {
    count(runs)
}

#[remote(concurrency = 1)]
async fn limited(#[state] runs: &Runs) -> u64 {
    count(runs)
}

/// Too long for the multiplexed stream.
#[remote]
fn long(#[state] runs: &Runs, bytes: Vec<u8>) -> u64 {
    count(runs) + bytes.len() as u64
}

#[remote]
async fn upload(#[state] runs: &Runs, numbers: impl Stream<Item = u64>) -> u64 {
    count(runs);
    numbers.count().await as u64
}

#[remote(stream)]
fn iterator(#[state] runs: &Runs) -> impl Iterator<Item = u64> {
    count(runs);
    0..3
}

#[remote(stream)]
fn items(#[state] runs: &Runs) -> impl Stream<Item = u64> {
    count(runs);
    stream::iter(0..3)
}

#[remote(stream)]
async fn set_up(#[state] runs: &Runs) -> Result<impl Stream<Item = u64>, String> {
    count(runs);
    Ok(stream::iter(0..3))
}

#[remote(stream)]
fn duplex(#[state] runs: &Runs, numbers: impl Stream<Item = u64>) -> impl Stream<Item = u64> {
    count(runs);
    numbers
}

fn all() -> Functions {
    functions![
        sync,
        inline,
        asynchronous,
        fallible,
        detached,
        detached_sync,
        idempotent,
        limited,
        long,
        upload,
        iterator,
        items,
        set_up,
        duplex,
        late_sync,
        late_task
    ]
}

/// How a call says that its time is over; `InTime` it does not.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Late {
    Timeout,
    Past,
    Now,
    HandleTimeout,
    HandlePast,
    InTime,
}

impl Late {
    const ALL: [Self; 5] =
        [Self::Timeout, Self::Past, Self::Now, Self::HandleTimeout, Self::HandlePast];

    fn handle(self, client: &Client) -> Client {
        match self {
            Self::HandleTimeout => client.with(Options::new().timeout(Duration::ZERO)),
            Self::HandlePast => client.with(Options::new().deadline(an_hour_ago())),
            _ => client.clone(),
        }
    }
}

fn an_hour_ago() -> Instant {
    Instant::now().checked_sub(Duration::from_secs(3_600)).unwrap()
}

/// A way to make a call of some function.
struct Way {
    name: &'static str,
    /// With the client, whether it is late, and whether it waits for a node.
    call: fn(&Client, Late, bool) -> BoxFuture<'static, Ended>,
}

macro_rules! way {
    ($name:literal, |$client:ident| $call:expr, |$made:ident| $end:expr) => {
        Way {
            name: $name,
            call: |client, late, waits| {
                let $client = &late.handle(client);
                let call = match late {
                    Late::Timeout => $call.timeout(Duration::ZERO),
                    Late::Past => $call.deadline(an_hour_ago()),
                    Late::Now => $call.deadline(Instant::now()),
                    Late::HandleTimeout | Late::HandlePast | Late::InTime => $call,
                };
                let $made = if waits { call.wait_for_node() } else { call };
                async move { $end }.boxed()
            },
        }
    };
}

fn ways() -> Vec<Way> {
    vec![
        way!("sync", |client| sync::call(client), |call| ended(call.await)),
        way!("inline", |client| inline::call(client), |call| ended(call.await)),
        way!("async", |client| asynchronous::call(client), |call| ended(call.await)),
        way!("fallible", |client| fallible::call(client, false), |call| ended(call.await)),
        way!("detached", |client| detached::call(client), |call| ended(call.await)),
        way!("detached sync", |client| detached_sync::call(client), |call| ended(call.await)),
        way!("idempotent", |client| idempotent::call(client), |call| ended(call.await)),
        way!("limited", |client| limited::call(client), |call| ended(call.await)),
        way!("long", |client| long::call(client, vec![7; 50_000]), |call| ended(call.await)),
        way!("traced", |client| sync::call(client).traced(), |call| ended(call.await)),
        way!("json", |client| client.call_json("sync", json!([])), |call| ended(call.await)),
        way!("map", |client| fallible::map(client, [false]), |calls| drained(calls).await),
        way!("upload", |client| upload::call(client, stream::iter(0..3)), |call| ended(call.await)),
        way!("iterator", |client| iterator::call(client), |items| drained(items).await),
        way!("items", |client| items::call(client), |items| drained(items).await),
        way!("set-up", |client| set_up::call(client), |items| drained(items).await),
        way!("open", |client| set_up::call(client), |items| ended(items.open().await)),
        way!("duplex", |client| duplex::call(client, stream::iter(0..3)), |items| {
            drained(items).await
        }),
        way!("json stream", |client| client.stream_json("items", json!([])), |items| {
            drained(items).await
        }),
    ]
}

/// Makes all calls in all ways, and gives those that ended otherwise than they have to.
async fn wrong(client: &Client, waits: bool) -> Vec<String> {
    let mut wrong = Vec::new();
    for late in Late::ALL {
        for way in ways() {
            let ended = soon((way.call)(client, late, waits)).await;
            if !is_late(&ended) {
                wrong.push(format!("{} {late:?}: {ended:?}", way.name));
            }
        }
    }
    wrong
}

/// Whether it ended by its deadline, and says that it has not started.
fn is_late(ended: &Ended) -> bool {
    matches!(ended, Err((ErrorKind::DeadlineExceeded, Executed::No, _)))
}

async fn start(multiplex: bool) -> (World, Node, Client, Runs) {
    let world = World::start().await;
    let runs = Runs::default();
    let (heard, _) = mpsc::unbounded_channel::<Said>();
    let node = world.node_builder().state(runs.clone()).state(heard).functions(all());
    let node = soon(node.serve()).await.unwrap();
    let client = soon(world.client_builder().multiplex(multiplex).connect()).await.unwrap();
    (world, node, client, runs)
}

#[tokio::test]
async fn a_deadline_that_has_passed_sends_and_starts_nothing() {
    for multiplex in [true, false] {
        let (world, node, client, runs) = start(multiplex).await;
        for waits in [false, true] {
            let wrong = wrong(&client, waits).await;
            assert!(wrong.is_empty(), "multiplexed {multiplex}, waits {waits}: {wrong:#?}");
        }
        assert_eq!(
            (world.gateway.stats().calls, node.stats().calls),
            (0, 0),
            "multiplexed {multiplex}"
        );
        // Each way is one that starts its function if there is time.
        for way in ways() {
            assert_eq!(
                soon((way.call)(&client, Late::InTime, false)).await,
                Ok(()),
                "{}",
                way.name
            );
        }
        assert_eq!(runs.load(Ordering::SeqCst), ways().len() as u64, "multiplexed {multiplex}");
        until(|| node.stats().in_flight == 0 && world.gateway.stats().in_flight == 0).await;
        until(|| client.stats().in_flight == 0).await;
    }
}

#[tokio::test]
async fn a_deadline_that_has_passed_waits_for_no_node() {
    for multiplex in [true, false] {
        let world = World::start().await;
        let client = soon(world.client_builder().multiplex(multiplex).connect()).await.unwrap();
        for waits in [false, true] {
            let wrong = wrong(&client, waits).await;
            assert!(wrong.is_empty(), "multiplexed {multiplex}, waits {waits}: {wrong:#?}");
        }
        assert_eq!(world.gateway.stats().calls, 0, "multiplexed {multiplex}");
    }
}

#[tokio::test]
async fn a_deadline_that_has_passed_waits_for_no_gateway() {
    for multiplex in [true, false] {
        let world = World::start().await;
        // Longer than any test waits.
        let client =
            world.client_builder().multiplex(multiplex).dial(patient(Duration::from_secs(600)));
        let client = soon(client.connect()).await.unwrap();
        soon(world.gateway.shutdown()).await;
        until(|| !client.stats().connected).await;
        for waits in [false, true] {
            let wrong = wrong(&client, waits).await;
            assert!(wrong.is_empty(), "multiplexed {multiplex}, waits {waits}: {wrong:#?}");
        }
        assert_eq!(client.stats().queued, 0);
    }
}

/// How a call that a function has made ended.
type Said = (&'static str, Ended);

/// Makes calls when its own deadline has passed, which nothing but that stops.
#[remote]
fn late_sync(#[ctx] ctx: &Context, #[state] heard: &mpsc::UnboundedSender<Said>) {
    while ctx.remaining() != Some(Duration::ZERO) || !ctx.is_cancelled() {
        std::thread::sleep(Duration::from_millis(1));
    }
    for way in ways() {
        let ended = futures::executor::block_on((way.call)(&ctx.client(), Late::InTime, false));
        heard.send((way.name, ended)).unwrap();
    }
}

/// The same in a task that outlasts the function.
#[remote]
async fn late_task(#[ctx] ctx: &Context, #[state] heard: &mpsc::UnboundedSender<Said>) {
    let (ctx, heard) = (ctx.clone(), heard.clone());
    tokio::spawn(async move {
        tokio::time::sleep_until(ctx.deadline().unwrap().into()).await;
        for way in ways() {
            let ended = (way.call)(&ctx.client(), Late::InTime, true).await;
            heard.send((way.name, ended)).unwrap();
        }
    });
    std::future::pending().await
}

#[tokio::test]
async fn what_a_function_calls_after_its_deadline_starts_nothing() {
    let (world, _node, client, _) = start(true).await;
    let runs = Runs::default();
    let (heard, mut hears) = mpsc::unbounded_channel::<Said>();
    let other = world.node_builder().id("late").state(runs.clone()).state(heard).functions(all());
    let _other = soon(other.serve()).await.unwrap();
    let client = client.with(Options::new().on("late").timeout(Duration::from_secs(1)));
    for call in [late_sync::call(&client).boxed(), late_task::call(&client).boxed()] {
        let error = soon(call).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::DeadlineExceeded, "{error}");
        let mut wrong = Vec::new();
        for _ in ways() {
            let (name, ended) = soon(hears.recv()).await.unwrap();
            if !is_late(&ended) {
                wrong.push(format!("{name}: {ended:?}"));
            }
        }
        assert!(wrong.is_empty(), "{wrong:#?}");
    }
    assert_eq!((world.gateway.stats().calls, runs.load(Ordering::SeqCst)), (2, 0));
}
