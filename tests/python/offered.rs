//! What the node offers to the tests in Python: functions of every kind, and two with which a test
//! sees and steers what happens in them.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, LazyLock, Mutex};

use easyremote::node::Functions;
use easyremote::{Context, functions, remote};
use futures::{Stream, StreamExt, stream};
use serde::{Deserialize, Serialize};
use tokio::sync::{Semaphore, mpsc};

/// What functions say, and what they wait for, under one key.
#[derive(Clone)]
struct Desk {
    say: mpsc::UnboundedSender<String>,
    heard: Arc<tokio::sync::Mutex<mpsc::UnboundedReceiver<String>>>,
    permits: Arc<Semaphore>,
}

fn desk(key: &str) -> Desk {
    static DESKS: LazyLock<Mutex<HashMap<String, Desk>>> = LazyLock::new(Mutex::default);
    let mut desks = DESKS.lock().unwrap();
    let desk = desks.entry(key.to_owned()).or_insert_with(|| {
        let (say, heard) = mpsc::unbounded_channel();
        let heard = Arc::new(tokio::sync::Mutex::new(heard));
        Desk { say, heard, permits: Arc::new(Semaphore::new(0)) }
    });
    desk.clone()
}

fn say(key: &str, what: impl Into<String>) {
    // The desk has the other end.
    let _ = desk(key).say.send(what.into());
}

/// Says "stopped" when the function with it is dropped.
struct Running(String);

impl Running {
    fn new(key: String) -> Self {
        say(&key, "started");
        Self(key)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        say(&self.0, "stopped");
    }
}

/// Waits for the next thing that is said under a key.
#[remote]
async fn said(key: String) -> String {
    let desk = desk(&key);
    let mut heard = desk.heard.lock().await;
    heard.recv().await.unwrap()
}

/// Lets `n` more items pass.
#[remote]
fn give(key: String, n: usize) {
    desk(&key).permits.add_permits(n);
}

async fn given(key: &str) {
    desk(key).permits.acquire().await.unwrap().forget();
}

/// Adds two numbers.
#[remote]
fn add(a: i64, b: i64) -> i64 {
    a + b
}

#[derive(Debug, Serialize, Deserialize, thiserror::Error)]
enum MathError {
    #[error("division by zero")]
    DivisionByZero { dividend: f64 },
}

#[remote]
fn divide(a: f64, b: f64) -> Result<f64, MathError> {
    if b == 0.0 { Err(MathError::DivisionByZero { dividend: a }) } else { Ok(a / b) }
}

#[remote]
fn panics() {
    panic!("on purpose")
}

#[remote]
fn nothing() {}

#[remote]
fn same_integer(n: u128) -> u128 {
    n
}

#[remote]
fn same_text(text: String) -> String {
    text
}

#[remote]
fn same_float(x: f64) -> f64 {
    x
}

#[remote]
fn infinite() -> f64 {
    f64::INFINITY
}

#[remote]
fn byte_sum(data: Vec<u8>) -> u64 {
    data.into_iter().map(u64::from).sum()
}

/// Its parameters have the names of options.
#[remote]
fn odd_names(timeout: u64, key: String, take: u8) -> String {
    format!("{timeout} {key} {take}")
}

#[derive(Debug, Serialize, Deserialize)]
struct Place {
    node: String,
    metadata: BTreeMap<String, String>,
    trace: Option<String>,
    has_deadline: bool,
}

#[remote]
fn place(#[ctx] ctx: &Context) -> Place {
    let metadata = ["tenant", "x-1", "a", "b"].iter().filter_map(|key| {
        let value = ctx.metadata(key)?;
        Some(((*key).to_owned(), value.to_owned()))
    });
    Place {
        node: ctx.node().to_owned(),
        metadata: metadata.collect(),
        trace: ctx.trace_context().map(|context| format!("{:032x}", context.trace_id())),
        has_deadline: ctx.deadline().is_some(),
    }
}

#[remote]
fn run_once(key: String) -> usize {
    let desk = desk(&key);
    desk.permits.add_permits(1);
    desk.permits.available_permits()
}

#[remote]
async fn hang(key: String) {
    let _running = Running::new(key);
    std::future::pending::<()>().await;
}

#[remote(stream)]
fn count(n: u64) -> impl Iterator<Item = u64> {
    0..n
}

/// Each item waits until it is given.
#[remote(stream)]
fn paced(key: String) -> impl Stream<Item = u64> {
    let running = Running::new(key);
    stream::unfold((running, 0), |(running, n)| async move {
        given(&running.0).await;
        Some((n, (running, n + 1)))
    })
}

/// Its set-up never ends.
#[remote(stream)]
async fn slow_start(key: String) -> Result<impl Stream<Item = u64>, NotFound> {
    let _running = Running::new(key);
    std::future::pending::<()>().await;
    Ok(stream::empty())
}

#[remote(stream)]
fn endless(key: String) -> impl Stream<Item = u64> {
    let running = Running::new(key);
    stream::iter(0..).then(move |n| {
        let _running = &running;
        async move {
            tokio::task::yield_now().await;
            n
        }
    })
}

#[remote(stream)]
fn odd_ones_fail(n: u64) -> impl Stream<Item = Result<u64, String>> {
    stream::iter((0..n).map(|n| if n % 2 == 1 { Err(format!("{n} is odd")) } else { Ok(n) }))
}

#[derive(Debug, Serialize, Deserialize, thiserror::Error)]
#[error("not found: {name}")]
struct NotFound {
    name: String,
}

#[remote(stream)]
async fn tail(name: String) -> Result<impl Stream<Item = u64>, NotFound> {
    if name == "known" { Ok(stream::iter([1, 2])) } else { Err(NotFound { name }) }
}

/// Ends with a panic after some items.
#[remote(stream)]
fn breaks(n: u64) -> impl Iterator<Item = u64> {
    (0..=n).inspect(move |item| assert!(*item < n, "on purpose"))
}

#[remote(operator)]
fn above(n: u64, limit: u64) -> Option<u64> {
    (n > limit).then_some(n * 10)
}

/// Says each number, and returns their sum.
#[remote]
async fn total(key: String, numbers: impl Stream<Item = u64>) -> u64 {
    let running = Running::new(key);
    let key = running.0.clone();
    let told = |n: u64| {
        say(&key, n.to_string());
        n
    };
    numbers.map(told).fold(0, async |sum, n| sum + n).await
}

/// Returns the first number, and does not read on.
#[remote]
async fn first(numbers: impl Stream<Item = u64>) -> Option<u64> {
    std::pin::pin!(numbers).next().await
}

#[remote(stream)]
fn doubled(by: u64, numbers: impl Stream<Item = u64>) -> impl Stream<Item = u64> {
    numbers.map(move |n| n * by)
}

#[remote]
async fn train(#[ctx] ctx: &Context, key: String) -> u64 {
    let running = Running::new(key);
    ctx.progress(0.5, "halfway");
    say(&running.0, "halfway");
    given(&running.0).await;
    42
}

#[remote]
async fn train_badly(why: String) -> Result<u64, NotFound> {
    Err(NotFound { name: why })
}

pub(crate) fn all() -> Functions {
    functions![
        above,
        add,
        breaks,
        byte_sum,
        count,
        divide,
        doubled,
        endless,
        first,
        give,
        hang,
        infinite,
        nothing,
        odd_names,
        odd_ones_fail,
        paced,
        panics,
        place,
        run_once,
        said,
        same_float,
        same_integer,
        same_text,
        slow_start,
        tail,
        total,
        train,
        train_badly
    ]
}
