//! Operators at the node: any chain against a model, and the ones that depend on time and demand.

use std::collections::HashMap;
use std::iter;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use common::{World, serving, soon, until};
use easyremote::client::JsonStream;
use easyremote::{CallError, Error, ErrorKind, Executed, functions, remote};
use futures::{Stream, StreamExt, TryStreamExt, stream};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::sync::mpsc;

/// Travels by position.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Reading {
    pub(crate) sensor: u32,
    pub(crate) label: String,
}

/// Travels by name, because of the tag.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind")]
pub(crate) enum Tagged {
    Cold { by: u8 },
    Hot,
}

pub(crate) type Items<T> = Vec<Result<T, String>>;

#[remote(stream)]
pub(crate) fn readings(items: Items<Reading>) -> impl Stream<Item = Result<Reading, String>> {
    stream::iter(items)
}

#[remote(stream)]
pub(crate) fn iterated(items: Items<Reading>) -> impl Iterator<Item = Result<Reading, String>> {
    items.into_iter()
}

#[remote(stream)]
pub(crate) fn tagged(items: Items<Tagged>) -> impl Iterator<Item = Result<Tagged, String>> {
    items.into_iter()
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Op {
    Take(usize),
    Skip(usize),
    Every(usize),
    Dedup,
    Batches(usize),
    Buffer(usize),
}

/// No batch leaves because of its time.
pub(crate) const LONG: Duration = Duration::from_secs(3_600);

pub(crate) fn random_op() -> Op {
    match fastrand::u8(0..6) {
        0 => Op::Take(fastrand::usize(0..30)),
        1 => Op::Skip(fastrand::usize(0..4)),
        2 => Op::Every(fastrand::usize(1..3)),
        3 => Op::Dedup,
        4 => Op::Batches(fastrand::usize(1..4)),
        _ => Op::Buffer(fastrand::usize(0..200)),
    }
}

/// What the operators are documented to do.
pub(crate) fn model(ops: &[Op], mut items: Items<Value>) -> Items<Value> {
    for op in ops {
        let mut at = 0;
        let mut pass = |items: &mut Items<Value>, keep: &dyn Fn(usize) -> bool| {
            items.retain(|item| {
                at += usize::from(item.is_ok());
                item.is_err() || keep(at - 1)
            });
        };
        match *op {
            Op::Take(n) => items.truncate(n),
            Op::Skip(n) => pass(&mut items, &|at| at >= n),
            Op::Every(n) => pass(&mut items, &|at| at % n == 0),
            Op::Dedup => items.dedup_by(|one, two| one.is_ok() && one == two),
            Op::Batches(n) => items = batched(items, n),
            Op::Buffer(_) => {}
        }
    }
    items
}

fn batched(items: Items<Value>, n: usize) -> Items<Value> {
    let (mut out, mut list) = (Vec::new(), Vec::new());
    for item in items {
        let full = match item {
            Ok(item) => {
                list.push(item);
                list.len() == n
            }
            Err(fault) => {
                out.extend((!list.is_empty()).then(|| Ok(Value::from(std::mem::take(&mut list)))));
                out.push(Err(fault));
                false
            }
        };
        out.extend(full.then(|| Ok(Value::from(std::mem::take(&mut list)))));
    }
    out.extend((!list.is_empty()).then(|| Ok(Value::from(list))));
    out
}

/// Sets the operators up to the first `batches`; returns its number of items, and what is left.
macro_rules! set {
    ($stream:expr, $ops:expr) => {{
        let (mut stream, mut ops) = ($stream, $ops);
        loop {
            let Some((op, rest)) = ops.split_first() else { break (stream, None) };
            ops = rest;
            stream = match *op {
                Op::Take(n) => stream.take(n),
                Op::Skip(n) => stream.skip(n),
                Op::Every(n) => stream.every(n),
                Op::Dedup => stream.dedup(),
                Op::Buffer(n) => stream.buffer(n),
                Op::Batches(n) => break (stream, Some((n, ops))),
            };
        }
    }};
}

pub(crate) async fn collected<T: Serialize>(
    items: impl Stream<Item = Result<T, CallError<String>>>,
) -> Items<Value> {
    let values = items.map(|item| match item {
        Ok(item) => Ok(serde_json::to_value(item).unwrap()),
        Err(CallError::Function(fault)) => Err(fault),
        Err(CallError::Remote(error)) => panic!("{error}"),
    });
    values.collect().await
}

/// What a typed stream returns with these operators, with at most two `batches` among them.
macro_rules! typed {
    ($stream:expr, $ops:expr) => {{
        let (stream, batches) = set!($stream, $ops);
        match batches {
            None => soon(collected(stream)).await,
            Some((n, ops)) => {
                let (stream, batches) = set!(stream.batches(n, LONG), ops);
                match batches {
                    None => soon(collected(stream)).await,
                    Some((n, ops)) => {
                        let (stream, batches) = set!(stream.batches(n, LONG), ops);
                        assert!(batches.is_none());
                        soon(collected(stream)).await
                    }
                }
            }
        }
    }};
}

pub(crate) fn random_items<T>(random: impl Fn() -> T) -> Items<T> {
    let item = |_| if fastrand::u8(0..8) == 0 { Err("fault".to_owned()) } else { Ok(random()) };
    (0..fastrand::usize(0..40)).map(item).collect()
}

pub(crate) fn values<T: Clone + Serialize>(items: &Items<T>) -> Items<Value> {
    let value = |item: T| serde_json::to_value(item).unwrap();
    items.iter().cloned().map(|item| item.map(value)).collect()
}

/// Compares chains on all kinds of streams with the model.
async fn compare(rounds: usize) {
    let (_world, client) = serving(functions![readings, iterated, tagged]).await;
    for round in 0..rounds {
        let mut ops: Vec<_> = (0..fastrand::usize(1..=16)).map(|_| random_op()).collect();
        let items = random_items(|| Reading { sensor: fastrand::u32(0..2), label: "a".into() });
        let named = random_items(|| match fastrand::bool() {
            true => Tagged::Cold { by: 3 },
            false => Tagged::Hot,
        });
        let what = format!("{round}: {ops:?} of {items:?}");
        let expected = model(&ops, values(&items));
        let json = client.stream_json("readings", json!([items]));
        assert_eq!(soon(by_name(chained(json, &ops))).await, expected, "by name, {what}");
        // The types of a program have an end.
        let mut batches = 0;
        ops.retain(|op| {
            batches += usize::from(matches!(op, Op::Batches(_)));
            batches <= 2 || !matches!(op, Op::Batches(_))
        });
        let expected = model(&ops, values(&items));
        let stream = typed!(readings::call(&client, items.clone()), &ops[..]);
        assert_eq!(stream, expected, "stream, {what}");
        let iterator = typed!(iterated::call(&client, items.clone()), &ops[..]);
        assert_eq!(iterator, expected, "iterator, {what}");
        let expected = model(&ops, values(&named));
        let named = typed!(tagged::call(&client, named.clone()), &ops[..]);
        assert_eq!(named, expected, "tagged, {what}");
    }
}

/// Sets the operators of a stream by name.
pub(crate) fn chained(items: JsonStream, ops: &[Op]) -> JsonStream {
    ops.iter().fold(items, |items, op| match *op {
        Op::Take(n) => items.take(n),
        Op::Skip(n) => items.skip(n),
        Op::Every(n) => items.every(n),
        Op::Dedup => items.dedup(),
        Op::Buffer(n) => items.buffer(n),
        Op::Batches(n) => items.batches(n, LONG),
    })
}

/// What a stream by name returns.
pub(crate) async fn by_name(items: JsonStream) -> Items<Value> {
    let values = items.map(|item| match item {
        Ok(item) => Ok(item),
        Err(CallError::Function(fault)) => Err(fault.0.as_str().unwrap().to_owned()),
        Err(CallError::Remote(error)) => panic!("{error}"),
    });
    values.collect().await
}

#[tokio::test]
async fn any_chain_does_what_its_operators_do_one_after_the_other() {
    fastrand::seed(1);
    compare(60).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_chain_does_the_same_on_several_threads() {
    fastrand::seed(2);
    compare(60).await;
}

/// Streams that produce what the test sends them, and count what they have been asked for.
static FEEDS: LazyLock<Mutex<HashMap<u64, Fed>>> = LazyLock::new(Mutex::default);

struct Fed {
    items: mpsc::UnboundedReceiver<u64>,
    passed_on: Arc<AtomicU64>,
}

/// The test's end of a stream. Dropping it ends the stream.
struct Feed {
    key: u64,
    items: mpsc::UnboundedSender<u64>,
    passed_on: Arc<AtomicU64>,
}

impl Feed {
    fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let key = NEXT.fetch_add(1, Ordering::Relaxed);
        let (sender, items) = mpsc::unbounded_channel();
        let passed_on = Arc::<AtomicU64>::default();
        FEEDS.lock().unwrap().insert(key, Fed { items, passed_on: passed_on.clone() });
        Self { key, items: sender, passed_on }
    }

    fn send(&self, items: impl IntoIterator<Item = u64>) {
        items.into_iter().for_each(|item| self.items.send(item).unwrap());
    }

    /// Waits until the function has passed on this many items, and been asked for another one.
    async fn has_passed_on(&self, items: u64) {
        until(|| self.passed_on.load(Ordering::Acquire) == items).await;
    }
}

fn fed(key: u64) -> Fed {
    FEEDS.lock().unwrap().remove(&key).unwrap()
}

#[remote(stream)]
fn fed_stream(key: u64) -> impl Stream<Item = u64> {
    let Fed { mut items, passed_on } = fed(key);
    let mut sent = 0;
    stream::poll_fn(move |context| {
        passed_on.store(sent, Ordering::Release);
        sent += 1;
        let polled = items.poll_recv(context);
        sent -= u64::from(polled.is_pending());
        polled
    })
}

#[remote(stream)]
fn fed_iterator(key: u64) -> impl Iterator<Item = u64> {
    let Fed { mut items, passed_on } = fed(key);
    let mut sent = 0;
    iter::from_fn(move || {
        passed_on.store(sent, Ordering::Release);
        sent += 1;
        futures::executor::block_on(items.recv())
    })
}

/// The same with both kinds of functions.
macro_rules! with_both {
    ($client:expr, |$items:ident| $operated:expr, $test:expr) => {{
        let feed = Feed::new();
        let $items = fed_stream::call(&$client, feed.key);
        soon($test($operated.boxed(), feed)).await;
        let feed = Feed::new();
        let $items = fed_iterator::call(&$client, feed.key);
        soon($test($operated.boxed(), feed)).await;
    }};
}

type Numbers = stream::BoxStream<'static, Result<u64, Error>>;

#[tokio::test]
async fn a_slow_reader_gets_the_newest_item() {
    let (_world, client) = serving(functions![fed_stream, fed_iterator]).await;
    with_both!(client, |items| items.latest(), slow_reader);
    // Whatever is behind it acts on what the reader gets.
    with_both!(client, |items| items.skip(0).latest().dedup(), slow_reader);
}

async fn slow_reader(mut items: Numbers, feed: Feed) {
    feed.send([0]);
    assert_eq!(items.next().await.unwrap().unwrap(), 0);
    let mut newest = 0;
    for _ in 0..10 {
        feed.send(newest + 1..=newest + 1_000);
        newest += 1_000;
        feed.has_passed_on(newest + 1).await;
        // An iterator is one item ahead of the task that its chain runs in.
        let item = items.next().await.unwrap().unwrap();
        assert!((newest - 2..=newest).contains(&item), "{item} of {newest}");
        if item < newest {
            let last = items.next().await.unwrap().unwrap();
            assert!(last > item && last <= newest, "{last} after {item} of {newest}");
            newest = newest.max(last);
            if last < newest {
                assert_eq!(items.next().await.unwrap().unwrap(), newest);
            }
        }
    }
    feed.send([newest + 1, newest + 2]);
    drop(feed);
    // The last one comes before the end.
    let rest: Vec<u64> = items.try_collect().await.unwrap();
    assert_eq!(rest.last(), Some(&(newest + 2)), "{rest:?}");
}

#[tokio::test]
async fn within_an_interval_only_the_newest_item_passes() {
    let (_world, client) = serving(functions![fed_stream, fed_iterator]).await;
    with_both!(client, |items| items.sample(LONG), sampled);
}

async fn sampled(mut items: Numbers, feed: Feed) {
    feed.send([0]);
    assert_eq!(items.next().await.unwrap().unwrap(), 0);
    feed.send(1..1_000);
    feed.has_passed_on(1_000).await;
    drop(feed);
    assert_eq!(items.try_collect::<Vec<u64>>().await.unwrap(), [999]);
}

#[tokio::test]
async fn a_sampled_function_is_not_held_up_by_its_reader() {
    let (_world, client) = serving(functions![fed_stream, fed_iterator]).await;
    with_both!(client, |items| items.sample(Duration::ZERO), unread);
}

/// Much more than windows and channels hold.
async fn unread(mut items: Numbers, feed: Feed) {
    feed.send([0]);
    assert_eq!(items.next().await.unwrap().unwrap(), 0);
    for begin in (1..400_000).step_by(1_000) {
        feed.send(begin..begin + 1_000);
        feed.has_passed_on(begin + 1_000).await;
    }
    drop(feed);
    let mut last = 0;
    while let Some(item) = items.next().await {
        let item = item.unwrap();
        assert!(item > last);
        last = item;
    }
    assert_eq!(last, 400_000);
}

#[tokio::test]
async fn a_batch_leaves_in_time_while_its_function_blocks() {
    let (_world, client) = serving(functions![fed_stream, fed_iterator]).await;
    with_both!(
        client,
        |items| {
            let lists = items.batches(1_000, Duration::from_millis(20));
            lists.flat_map(|list| stream::iter(split(list)))
        },
        in_time
    );
}

fn split(list: Result<Vec<u64>, Error>) -> Vec<Result<u64, Error>> {
    list.map_or_else(|error| vec![Err(error)], |list| list.into_iter().map(Ok).collect())
}

async fn in_time(mut items: Numbers, feed: Feed) {
    for begin in [0, 3, 6] {
        feed.send(begin..begin + 3);
        for expected in begin..begin + 3 {
            assert_eq!(items.next().await.unwrap().unwrap(), expected);
        }
    }
}

#[tokio::test]
async fn without_a_buffer_a_function_makes_one_item_at_a_time() {
    let (_world, client) = serving(functions![fed_stream, fed_iterator]).await;
    with_both!(client, |items| items.buffer(0).every(1), one_at_a_time);
}

async fn one_at_a_time(mut items: Numbers, feed: Feed) {
    feed.send(0..200);
    for n in 0..200 {
        // Asked for no item before the reader has come back for it.
        assert!(feed.passed_on.load(Ordering::Acquire) <= n);
        assert_eq!(items.next().await.unwrap().unwrap(), n);
    }
    drop(feed);
    assert!(items.next().await.is_none());
}

#[tokio::test]
async fn dropping_the_stream_stops_its_function() {
    let (_world, client) = serving(functions![fed_stream, fed_iterator]).await;
    with_both!(client, |items| items.latest(), dropped);
    with_both!(client, |items| items.buffer(0), dropped);
    with_both!(client, |items| items.sample(LONG).dedup(), dropped);
}

async fn dropped(mut items: Numbers, feed: Feed) {
    feed.send([0]);
    assert_eq!(items.next().await.unwrap().unwrap(), 0);
    drop(items);
    // An iterator notices it with its next items.
    until(|| feed.items.send(1).is_err()).await;
}

#[remote(stream)]
fn failing_stream(n: u64) -> impl Stream<Item = u64> {
    stream::iter((0..n).chain(iter::from_fn(|| panic!("it was too much"))))
}

#[remote(stream)]
fn failing_iterator(n: u64) -> impl Iterator<Item = u64> {
    (0..n).chain(iter::from_fn(|| panic!("it was too much")))
}

#[tokio::test]
async fn a_function_that_panics_behind_operators_ends_its_stream() {
    let (_world, client) = serving(functions![failing_stream, failing_iterator]).await;
    for (wait, n) in [(LONG, 7), (Duration::ZERO, 0)] {
        let mut stream = failing_stream::call(&client, n).batches(3, wait).boxed();
        let mut iterator = failing_iterator::call(&client, n).batches(3, wait).boxed();
        for lists in [&mut stream, &mut iterator] {
            let end = soon(async {
                loop {
                    match lists.next().await.expect("it has not ended well") {
                        Ok(list) => assert_eq!(list.len(), 3),
                        Err(error) => break error,
                    }
                }
            })
            .await;
            assert_eq!((end.kind(), end.executed()), (ErrorKind::Panicked, Executed::Yes));
            assert!(soon(lists.next()).await.is_none());
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn operators_do_the_same_on_several_threads() {
    let (_world, client) = serving(functions![fed_stream, fed_iterator]).await;
    with_both!(client, |items| items.latest(), slow_reader);
    with_both!(client, |items| items.sample(LONG), sampled);
    with_both!(client, |items| items.buffer(0), one_at_a_time);
}

#[remote(stream)]
fn echo(items: impl Stream<Item = Vec<u8>>) -> impl Stream<Item = usize> {
    items.map(|item| item.len())
}

/// What the reader has taken is behind items that the function does not read while it waits.
#[tokio::test]
async fn a_client_stream_is_not_in_the_way_of_what_its_caller_takes() {
    let (_world, client) = serving(functions![echo]).await;
    let upload = || stream::iter((0..400).map(|_| vec![7; 10_000]));
    let lengths = echo::call(&client, upload()).buffer(0).try_collect::<Vec<_>>();
    assert_eq!(soon(lengths).await.unwrap(), [10_000; 400]);
    let lengths = echo::call(&client, upload()).latest().try_collect::<Vec<_>>();
    let lengths = soon(lengths).await.unwrap();
    assert!((1..=400).contains(&lengths.len()));
}

#[tokio::test]
async fn a_chain_that_cannot_be_is_refused_before_anything_is_sent() {
    let (world, _node, client) = World::with(functions![readings]).await;
    let call = || readings::call(&client, Vec::new());
    let long = (0..8).fold(call(), |call, _| call.skip(1).dedup());
    let wrong = [call().every(0).skip(1), long.latest()];
    for mut wrong in wrong {
        let CallError::Remote(error) = soon(wrong.next()).await.unwrap().unwrap_err() else {
            panic!("it is no error of the function");
        };
        assert_eq!((error.kind(), error.executed()), (ErrorKind::InvalidInput, Executed::No));
        assert!(soon(wrong.next()).await.is_none());
    }
    let mut none = call().batches(0, LONG);
    assert!(soon(none.next()).await.unwrap().is_err());
    assert_eq!(world.gateway.stats().calls, 0);
    // Any number of limits is one.
    let limits = (0..40).fold(call(), |call, n| call.take(n + 3));
    assert_eq!(soon(limits.count()).await, 0);
    assert_eq!(world.gateway.stats().calls, 1);
}

#[remote(stream)]
fn count(to: u64) -> impl Iterator<Item = u64> {
    (0..to).map(|n| n / 2)
}

#[tokio::test]
async fn after_the_first_poll_some_operators_act_at_the_client() {
    let (_world, client) = serving(functions![count]).await;
    let mut numbers = count::call(&client, 100);
    assert_eq!(soon(numbers.next()).await.unwrap().unwrap(), 0);
    // 0, 1, 1, 2, 2, ..
    let numbers = numbers.skip(1).dedup().every(3).take(4);
    assert_eq!(soon(numbers.try_collect::<Vec<_>>()).await.unwrap(), [1, 4, 7, 10]);
    let mut numbers = count::call(&client, 100);
    soon(numbers.next()).await.unwrap().unwrap();
    let mut numbers = numbers.skip(3).latest();
    let error = soon(numbers.next()).await.unwrap().unwrap_err();
    assert_eq!((error.kind(), error.executed()), (ErrorKind::InvalidInput, Executed::Yes));
    assert_eq!(error.delivered(), 1);
    assert!(soon(numbers.next()).await.is_none());
}

#[tokio::test]
async fn an_opened_stream_has_its_operators() {
    let (_world, client) = serving(functions![count]).await;
    let opened = soon(count::call(&client, 7).skip(1).batches(4, LONG).open()).await.unwrap();
    let lists: Vec<_> = soon(opened.try_collect()).await.unwrap();
    assert_eq!(lists, [vec![0, 1, 1, 2], vec![2, 3]]);
}
