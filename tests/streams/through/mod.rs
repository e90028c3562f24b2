//! Operators that are functions of the node: `through`, among all other operators.

mod lost;
mod routing;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use common::{World, serving, soon};
use easyremote::client::JsonStream;
use easyremote::node::Functions;
use easyremote::{CallError, Client, Context, Error, ErrorKind, Executed, functions, remote};
use futures::{Stream, StreamExt, TryStreamExt, stream};
use serde_json::{Value, json};

use crate::operators::{
    Items, LONG, Op, Reading, Tagged, by_name, chained, collected, iterated, model, random_items,
    random_op, readings, tagged, values,
};

#[remote(operator)]
fn warm(reading: &Reading, least: u32) -> bool {
    reading.sensor >= least
}

/// Names a sensor, unless it is number 0.
#[remote(operator)]
fn named(
    reading: Reading,
    /// What stands before the number.
    prefix: String,
    suffix: String,
) -> Option<String> {
    (reading.sensor > 0).then(|| format!("{prefix}{}{suffix}", reading.sensor))
}

#[remote(operator)]
fn twice(text: String) -> String {
    format!("{text}{text}")
}

#[remote(operator)]
#[allow(clippy::ptr_arg)]
fn longer(list: &Vec<String>, than: usize) -> bool {
    list.len() > than
}

#[remote(operator)]
fn joined(list: Vec<String>) -> String {
    list.join("+")
}

#[remote(operator)]
fn hot(item: &Tagged) -> bool {
    matches!(item, Tagged::Hot)
}

#[remote(operator)]
fn colder(item: Tagged, than: u8) -> Option<Tagged> {
    match item {
        Tagged::Hot => Some(Tagged::Cold { by: than }),
        Tagged::Cold { by } => (by < than).then_some(Tagged::Hot),
    }
}

#[remote(operator)]
#[allow(clippy::ptr_arg)]
fn has_hot(list: &Vec<Tagged>) -> bool {
    list.iter().any(|item| matches!(item, Tagged::Hot))
}

#[remote(operator)]
fn sizes(lists: Vec<Vec<Tagged>>) -> Vec<usize> {
    lists.iter().map(Vec::len).collect()
}

fn all() -> Functions {
    functions![
        readings, iterated, tagged, warm, named, twice, longer, joined, hot, colder, has_hot, sizes
    ]
}

/// What the functions are documented to do with one item.
fn applied(function: &str, item: Value) -> Option<Value> {
    let texts = || -> Vec<String> { serde_json::from_value(item.clone()).unwrap() };
    let sensor = || item["sensor"].as_u64().unwrap();
    match function {
        "warm" => (sensor() >= 1).then_some(item),
        "named" => (sensor() > 0).then(|| json!(format!("<{}>", sensor()))),
        "twice" => Some(json!(item.as_str().unwrap().repeat(2))),
        "longer" => (texts().len() > 1).then_some(item),
        "joined" => Some(json!(texts().join("+"))),
        "hot" => (item["kind"] == "Hot").then_some(item),
        "colder" if item["kind"] == "Hot" => Some(json!({"kind": "Cold", "by": 7})),
        "colder" => (item["by"].as_u64().unwrap() < 7).then(|| json!({"kind": "Hot"})),
        "has_hot" => item.as_array().unwrap().iter().any(|it| it["kind"] == "Hot").then_some(item),
        "sizes" => {
            let lists = item.as_array().unwrap().iter();
            Some(lists.map(|list| list.as_array().unwrap().len()).collect())
        }
        other => panic!("no function `{other}`"),
    }
}

fn apply(function: &str, items: Items<Value>) -> Items<Value> {
    let apply = |item| match item {
        Ok(item) => applied(function, item).map(Ok),
        fault => Some(fault),
    };
    items.into_iter().filter_map(apply).collect()
}

fn arguments(function: &str) -> Value {
    match function {
        "warm" => json!([1]),
        "named" => json!({"suffix": ">", "prefix": "<"}),
        "longer" => json!({"than": 1}),
        "colder" => json!([7]),
        _ => json!([]),
    }
}

fn some_ops() -> Vec<Op> {
    let ops = std::iter::repeat_with(random_op).filter(|op| !matches!(op, Op::Batches(_)));
    ops.take(fastrand::usize(0..3)).collect()
}

/// Operators of a chain by name: those of the library, and functions.
enum Link {
    Ops(Vec<Op>),
    Function(&'static str),
}

/// What a chain of functions and operators between them returns, and is expected to.
fn expected(items: Items<Value>, chain: &[Link]) -> Items<Value> {
    chain.iter().fold(items, |items, link| match link {
        Link::Ops(ops) => model(ops, items),
        Link::Function(function) => apply(function, items),
    })
}

fn with_chain(items: JsonStream, chain: &[Link]) -> JsonStream {
    chain.iter().fold(items, |items, link| match link {
        Link::Ops(ops) => chained(items, ops),
        Link::Function(function) => items.through(*function, arguments(function)),
    })
}

/// Sets some operators, and notes them.
macro_rules! some {
    ($stream:expr, $chain:ident) => {{
        let ops = some_ops();
        let (stream, batches) = set!($stream, &ops[..]);
        assert!(batches.is_none());
        $chain.push(Link::Ops(ops));
        stream
    }};
}

macro_rules! through {
    ($stream:expr, $chain:ident, $function:ident($($argument:expr),*)) => {{
        let stream = $stream;
        $chain.push(Link::Function(stringify!($function)));
        some!(stream.through($function::with($($argument),*)), $chain)
    }};
}

macro_rules! batches {
    ($stream:expr, $chain:ident) => {{
        let (stream, n) = ($stream, fastrand::usize(1..4));
        $chain.push(Link::Ops(vec![Op::Batches(n)]));
        some!(stream.batches(n, LONG), $chain)
    }};
}

/// A chain of up to 16 operators on readings: what arrives, and the chain.
macro_rules! on_readings {
    ($stream:expr) => {{
        let mut chain = Vec::new();
        let stream = some!($stream, chain);
        let stream = through!(stream, chain, warm(1));
        let items = match fastrand::u8(0..4) {
            0 => soon(collected(stream)).await,
            1 => {
                let stream =
                    batches!(through!(stream, chain, named("<".into(), ">".into())), chain);
                soon(collected(through!(stream, chain, longer(1)))).await
            }
            2 => {
                let stream = through!(stream, chain, named("<".into(), ">".into()));
                soon(collected(through!(stream, chain, twice()))).await
            }
            _ => {
                let stream = through!(stream, chain, named("<".into(), ">".into()));
                let stream = through!(batches!(stream, chain), chain, joined());
                soon(collected(stream)).await
            }
        };
        (items, chain)
    }};
}

macro_rules! on_tagged {
    ($stream:expr) => {{
        let mut chain = Vec::new();
        let stream = some!($stream, chain);
        let items = match fastrand::u8(0..4) {
            0 => soon(collected(through!(stream, chain, hot()))).await,
            1 => {
                let stream = through!(stream, chain, colder(7));
                soon(collected(through!(batches!(stream, chain), chain, has_hot()))).await
            }
            2 => {
                let lists = through!(batches!(stream, chain), chain, has_hot());
                soon(collected(through!(batches!(lists, chain), chain, sizes()))).await
            }
            _ => {
                let lists = batches!(batches!(stream, chain), chain);
                soon(collected(through!(lists, chain, sizes()))).await
            }
        };
        (items, chain)
    }};
}

fn shown(chain: &[Link]) -> String {
    let show = |link: &Link| match link {
        Link::Ops(ops) => format!("{ops:?}"),
        Link::Function(function) => (*function).to_owned(),
    };
    chain.iter().map(show).collect::<Vec<_>>().join(" ")
}

async fn compare(rounds: usize) {
    let (_world, client) = serving(all()).await;
    for round in 0..rounds {
        let items = random_items(|| Reading { sensor: fastrand::u32(0..3), label: "a".into() });
        let marked = random_items(|| match fastrand::bool() {
            true => Tagged::Cold { by: fastrand::u8(5..9) },
            false => Tagged::Hot,
        });
        let (streamed, chain) = on_readings!(readings::call(&client, items.clone()));
        let what = format!("{round}: {} of {items:?}", shown(&chain));
        assert_eq!(streamed, expected(values(&items), &chain), "stream, {what}");
        let named = with_chain(client.stream_json("iterated", json!([items])), &chain);
        assert_eq!(soon(by_name(named)).await, streamed, "by name, {what}");
        let (iterator, chain) = on_readings!(iterated::call(&client, items.clone()));
        let what = format!("{round}: {} of {items:?}", shown(&chain));
        assert_eq!(iterator, expected(values(&items), &chain), "iterator, {what}");
        let (items, chain) = on_tagged!(tagged::call(&client, marked.clone()));
        let what = format!("{round}: {} of {marked:?}", shown(&chain));
        assert_eq!(items, expected(values(&marked), &chain), "tagged, {what}");
        let named = with_chain(client.stream_json("tagged", json!([marked])), &chain);
        assert_eq!(soon(by_name(named)).await, items, "tagged by name, {what}");
    }
}

#[tokio::test]
async fn any_chain_does_what_its_functions_and_operators_do_one_after_the_other() {
    fastrand::seed(3);
    compare(60).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_chain_with_functions_does_the_same_on_several_threads() {
    fastrand::seed(4);
    compare(60).await;
}

#[remote(stream)]
fn numbers(to: u64) -> impl Stream<Item = u64> {
    stream::iter(0..to)
}

#[remote(stream)]
fn halves(to: u64) -> impl Iterator<Item = f64> {
    (0..to).map(|n| n as f64 / 2.0)
}

#[remote(operator)]
fn inverse(x: f64) -> f64 {
    1.0 / x
}

#[remote(operator)]
fn finite(x: &f64) -> bool {
    x.is_finite()
}

#[remote(operator)]
fn all_finite(list: Vec<f64>) -> bool {
    list.iter().all(|x| x.is_finite())
}

/// JSON has no infinity, which must not be seen between two functions.
#[tokio::test]
async fn between_functions_items_are_what_they_are() {
    let (_world, client) = serving(functions![halves, inverse, finite, all_finite]).await;
    let call = || client.stream_json("halves", json!([4])).through("inverse", json!([]));
    let items = call().dedup().through("finite", json!([]));
    let items: Vec<_> = soon(items.try_collect()).await.unwrap();
    assert_eq!(items, [json!(2.0), json!(1.0), json!(2.0 / 3.0)]);
    let lists = call().batches(2, LONG).dedup().through("all_finite", json!([]));
    let lists: Vec<_> = soon(lists.try_collect()).await.unwrap();
    assert_eq!(lists, [json!(false), json!(true)]);
    let typed = halves::call(&client, 4).through(inverse::with()).through(finite::with());
    assert_eq!(soon(typed.try_collect::<Vec<_>>()).await.unwrap(), [2.0, 1.0, 2.0 / 3.0]);
}

/// What the node of the tests keeps.
struct Seen(AtomicU64);

#[remote(operator)]
fn counted(
    #[state] seen: &Seen,
    n: u64,
    #[ctx] ctx: &Context,
    add: u64,
    names: Vec<String>,
) -> Option<String> {
    seen.0.fetch_add(1, Ordering::Relaxed);
    let names = names.join("");
    (n > 1).then(|| format!("{} {} {names} {}", ctx.function(), ctx.caller().identity, n + add))
}

#[tokio::test]
async fn an_operator_has_the_state_of_its_node_and_the_context_of_the_call() {
    let world = World::start().await;
    let builder = world.node_builder().functions(functions![numbers, counted]);
    let refused = soon(builder.serve()).await.unwrap_err();
    assert!(refused.to_string().contains("`counted` needs a state of type"), "{refused}");
    let seen = Seen(AtomicU64::new(0));
    let builder = world.node_builder().functions(functions![numbers, counted]).state(seen);
    let _node = soon(builder.serve()).await.unwrap();
    let client = world.client().await;
    let names = || vec!["a".to_owned(), "b".to_owned()];
    for _ in 0..2 {
        let items = numbers::call(&client, 4).through(counted::with(10, names()));
        let items = soon(items.try_collect::<Vec<_>>()).await.unwrap();
        assert!(items[0].starts_with("numbers ") && items[0].ends_with(" ab 12"), "{items:?}");
        assert!(items.len() == 2 && items[1].ends_with(" ab 13"), "{items:?}");
    }
}

#[remote(operator)]
fn fragile(n: u64, at: u64) -> u64 {
    assert!(n != at, "there is no {at}");
    n
}

#[remote(stream)]
fn iterator(to: u64) -> impl Iterator<Item = u64> {
    0..to
}

#[tokio::test]
async fn a_panic_ends_its_stream_and_nothing_else() {
    let (_world, client) = serving(functions![numbers, iterator, fragile]).await;
    let other = numbers::call(&client, 1_000_000).through(fragile::with(u64::MAX));
    let mut other = other.take(1_000);
    soon(other.next()).await.unwrap().unwrap();
    let calls: [fn(&Client) -> _; 2] = [
        |client| numbers::call(client, 10).through(fragile::with(3)).skip(1).boxed(),
        |client| iterator::call(client, 10).through(fragile::with(3)).skip(1).boxed(),
    ];
    for call in calls {
        let mut items: stream::BoxStream<'_, Result<u64, Error>> = call(&client);
        for expected in [1, 2] {
            assert_eq!(soon(items.next()).await.unwrap().unwrap(), expected);
        }
        let error = soon(items.next()).await.unwrap().unwrap_err();
        assert_eq!((error.kind(), error.executed()), (ErrorKind::Panicked, Executed::Yes));
        assert_eq!((error.delivered(), error.node().is_some()), (2, true), "{error}");
        let text = error.to_string();
        assert!(text.contains("the operator `fragile` panicked: there is no 3"), "{text}");
        assert!(soon(items.next()).await.is_none());
    }
    assert_eq!(soon(other.count()).await, 999);
}

#[remote(stream)]
fn echoed(items: impl Stream<Item = u64>) -> impl Stream<Item = u64> {
    items
}

#[remote(stream)]
async fn found(id: u64) -> Result<impl Stream<Item = Result<u64, u64>>, String> {
    match id {
        404 => Err("not found".to_owned()),
        _ => Ok(stream::iter((0..id).map(|n| if n % 3 == 2 { Err(n) } else { Ok(n) }))),
    }
}

#[remote(operator)]
fn odd(n: &u64) -> bool {
    n % 2 == 1
}

#[tokio::test]
async fn all_kinds_of_streams_have_them() {
    let (_world, client) = serving(functions![echoed, found, numbers, odd, fragile]).await;
    let echo = echoed::call(&client, stream::iter(0..7)).through(odd::with());
    assert_eq!(soon(echo.try_collect::<Vec<_>>()).await.unwrap(), [1, 3, 5]);

    let failed = soon(found::call(&client, 404).through(odd::with()).open()).await;
    assert!(matches!(failed, Err(CallError::Function(text)) if text == "not found"));
    let opened = soon(found::call(&client, 6).through(odd::with()).open()).await.unwrap();
    let items = soon(opened.collect::<Vec<_>>()).await.into_iter().map(|item| match item {
        Err(CallError::Function(n)) => Err(n),
        other => Ok(other.unwrap()),
    });
    assert_eq!(items.collect::<Vec<_>>(), [Ok(1), Err(2), Ok(3), Err(5)]);

    let cached = numbers::call(&client, 6).through(odd::with()).cached(2);
    let items = soon(cached.subscribe().collect::<Vec<_>>()).await;
    assert_eq!(items.into_iter().map(|item| *item.unwrap()).collect::<Vec<_>>(), [1, 3, 5]);

    let latest = numbers::call(&client, 6).through(odd::with()).latest();
    assert_eq!(soon(latest.try_collect::<Vec<_>>()).await.unwrap().last(), Some(&5));
    let sampled = numbers::call(&client, 6).sample(Duration::ZERO).through(odd::with());
    assert_eq!(soon(sampled.try_collect::<Vec<_>>()).await.unwrap().last(), Some(&5));
    let one = numbers::call(&client, 6).through(odd::with()).buffer(0).resumable();
    assert_eq!(soon(one.try_collect::<Vec<_>>()).await.unwrap(), [1, 3, 5]);
}

#[tokio::test]
async fn what_functions_leave_out_is_counted() {
    let (_world, client) = serving(functions![numbers, odd]).await;
    let mut items = numbers::call(&client, 100).skip(2).through(odd::with()).take(3);
    let progress = items.progress();
    for n in [3, 5, 7] {
        assert_eq!(soon(items.next()).await.unwrap().unwrap(), n);
        assert_eq!(progress.skipped() + progress.items(), n + 1);
    }
    assert_eq!((progress.items(), progress.skipped()), (3, 5));
}

#[tokio::test]
async fn misuse_is_an_error_that_says_what_to_do() {
    let (world, _node, client) = World::with(functions![numbers, odd, fragile]).await;
    let call = || numbers::call(&client, 5);
    let mut begun = call();
    soon(begun.next()).await.unwrap().unwrap();
    let calls = world.gateway.stats().calls;
    let long = "x".repeat(7 << 10);
    let many = (0..17).fold(call(), |call, _| call.through(odd::with()));
    let wrong: [(stream::BoxStream<'_, _>, &str, u64); 4] = [
        (many.boxed(), "more than 16 operators", 0),
        (begun.through(odd::with()).boxed(), "after the first poll", 1),
        (
            client.stream_json("numbers", json!([5])).through(&long, json!([])).map(plain).boxed(),
            "at most 128 bytes",
            0,
        ),
        (
            client
                .stream_json("numbers", json!([5]))
                .through("odd", json!([long]))
                .map(plain)
                .boxed(),
            "6144 are allowed",
            0,
        ),
    ];
    for (mut wrong, part, delivered) in wrong {
        let error = soon(wrong.next()).await.unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
        assert_eq!(error.delivered(), delivered);
        assert!(error.to_string().contains(part), "{error}");
        assert!(soon(wrong.next()).await.is_none());
    }
    assert_eq!(world.gateway.stats().calls, calls);
}

/// What clients and nodes share.
mod api {
    use easyremote::remote;

    use crate::operators::Reading;

    /// Passes what is declared elsewhere.
    #[remote(operator, name = "api.least")]
    pub(super) fn least(reading: &Reading, least: u32) -> bool;

    #[remote(operator, name = "api.sensor")]
    pub(super) fn sensor(reading: Reading) -> u64;

    #[remote(operator, name = "api.lists")]
    pub(super) fn lists(readings: Vec<Reading>) -> Vec<u64>;
}

#[remote(operator, implements = api::least)]
fn least_here(#[state] most: &u32, reading: &Reading, least: u32) -> bool {
    (least..*most).contains(&reading.sensor)
}

/// A node of another program, whose types only look the same.
mod elsewhere {
    use std::collections::VecDeque;

    use easyremote::remote;
    use serde::{Deserialize, Serialize};

    #[derive(Clone, Serialize, Deserialize)]
    pub(super) struct Reading {
        sensor: u32,
        label: String,
    }

    #[remote(operator, name = "api.least")]
    pub(super) fn least(reading: &Reading, least: u32) -> bool {
        reading.sensor >= least && reading.label == "a"
    }

    #[remote(operator, name = "api.sensor")]
    pub(super) fn sensor(reading: Reading) -> u64 {
        u64::from(reading.sensor)
    }

    #[remote(operator, name = "api.lists")]
    pub(super) fn lists(readings: VecDeque<Reading>) -> VecDeque<u64> {
        readings.iter().rev().map(|it| u64::from(it.sensor)).collect()
    }
}

fn some_readings() -> Items<Reading> {
    (0..5).map(|sensor| Ok(Reading { sensor, label: "a".into() })).collect()
}

#[tokio::test]
async fn an_operator_is_declared_here_and_implemented_there() {
    let world = World::start().await;
    let builder = world.node_builder().functions(functions![readings, least_here]).state(4_u32);
    let _node = soon(builder.serve()).await.unwrap();
    let client = world.client().await;
    let items = readings::call(&client, some_readings()).through(api::least::with(2));
    let items = soon(collected(items)).await;
    assert_eq!(items, values(&some_readings()[2..4].to_vec()));
    let listed = soon(client.functions()).await.unwrap();
    let least = listed.iter().find(|function| function.name == "api.least").unwrap();
    assert_eq!(least.doc, "Passes what is declared elsewhere.");
}

#[tokio::test]
async fn types_that_look_the_same_are_the_same() {
    let offered = functions![readings, elsewhere::least, elsewhere::sensor, elsewhere::lists];
    let (_world, client) = serving(offered).await;
    let call = || readings::call(&client, some_readings()).through(api::least::with(2));
    assert_eq!(soon(collected(call())).await, values(&some_readings()[2..].to_vec()));
    let sensors = call().dedup().through(api::sensor::with()).skip(1);
    assert_eq!(soon(collected(sensors)).await, [Ok(json!(3)), Ok(json!(4))]);
    let lists = call().batches(2, LONG).through(api::lists::with());
    assert_eq!(soon(collected(lists)).await, [Ok(json!([3, 2])), Ok(json!([4]))]);
}

#[tokio::test]
async fn arguments_that_do_not_fit_are_bad() {
    let (_world, client) = serving(functions![numbers, iterator, odd, fragile]).await;
    for function in ["numbers", "iterator"] {
        for (operator, arguments, part) in [
            ("odd", json!([1]), "`odd`: 1 arguments were given"),
            ("fragile", json!({"at": "x"}), "argument `at`"),
            ("fragile", json!({"at": 1, "to": 1}), "no argument `to`"),
            ("fragile", json!(7), "neither a JSON array"),
        ] {
            let items = client.stream_json(function, json!([5])).skip(1);
            let mut items = items.through(operator, arguments.clone()).map(plain);
            let error = soon(items.next()).await.unwrap().unwrap_err();
            assert_eq!((error.kind(), error.executed()), (ErrorKind::BadArguments, Executed::No));
            let text = error.to_string();
            assert!(text.contains(part), "{operator} {arguments}: {text}");
        }
    }
}

fn plain(item: Result<Value, CallError<easyremote::client::JsonError>>) -> Result<u64, Error> {
    item.map(|item| item.as_u64().unwrap()).map_err(|error| match error {
        CallError::Remote(error) => error,
        CallError::Function(fault) => panic!("{fault}"),
    })
}
