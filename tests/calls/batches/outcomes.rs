//! The outcome of each caller of a batch.

use std::time::Duration;

use common::gate::{Gate, pass};
use common::{Probe, SayOnDrop, say, soon, until};
use easyremote::node::NodeLimits;
use easyremote::{CallError, Context, Error, ErrorKind, Executed, functions, remote};
use futures::future::join_all;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::json;

use super::{Stage, pair};

#[remote(batch(max = 3, wait = "3600s"))]
fn short(numbers: Vec<u64>) -> Vec<u64> {
    numbers[1..].to_vec()
}

#[remote(batch(max = 3, wait = "3600s"))]
async fn long(numbers: Vec<u64>) -> Vec<u64> {
    [&numbers[..], &[0, 0]].concat()
}

#[remote(batch(max = 3, wait = "3600s"))]
fn odd(numbers: Vec<u64>) -> Vec<Result<u64, String>> {
    let odd = |n: u64| if n % 2 == 1 { Ok(n) } else { Err(format!("{n} is even")) };
    numbers.into_iter().map(odd).collect()
}

#[remote(batch(max = 3, wait = "3600s"), err = "display")]
fn small(numbers: Vec<u64>) -> Vec<Result<u8, std::num::TryFromIntError>> {
    numbers.into_iter().map(u8::try_from).collect()
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Busy(u64);

/// Fails for all if their sum is above 10.
#[remote(batch(max = 3, wait = "3600s"))]
async fn all_or_none(numbers: Vec<u64>) -> Result<Vec<u64>, Busy> {
    let sum = numbers.iter().sum();
    if sum > 10 { Err(Busy(sum)) } else { Ok(numbers) }
}

#[remote(batch(max = 3, wait = "3600s"), err = "display")]
fn all_or_text(numbers: Vec<u64>) -> std::io::Result<Vec<u64>> {
    let sum: u64 = numbers.iter().sum();
    if sum > 10 { Err(std::io::Error::other(format!("{sum} is too much"))) } else { Ok(numbers) }
}

#[remote(batch(max = 3, wait = "3600s"))]
fn panics(numbers: Vec<u64>) -> Vec<u64> {
    panic!("at {}", numbers.len());
}

#[remote(batch(max = 3, wait = "3600s"))]
async fn panics_later(numbers: Vec<u64>) -> Vec<u64> {
    tokio::task::yield_now().await;
    panic!("at {}", numbers.len());
}

#[remote(batch(max = 3, wait = "3600s", weigh = panicking))]
fn weighed(numbers: Vec<u64>) -> Vec<u64> {
    numbers
}

fn panicking(n: &u64) -> usize {
    assert!(*n < 100, "{n} is too heavy");
    1
}

#[remote(batch(max = 3, wait = "3600s"))]
fn zeros(lengths: Vec<usize>) -> Vec<Vec<u8>> {
    lengths.into_iter().map(|n| vec![0; n]).collect()
}

/// Panics in its `Serialize` if it is 13.
#[derive(Debug, Deserialize)]
struct Unlucky(u64);

impl Serialize for Unlucky {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        assert_ne!(self.0, 13, "unlucky");
        serializer.serialize_newtype_struct("Unlucky", &self.0)
    }
}

#[remote(batch(max = 3, wait = "3600s"))]
fn unlucky(numbers: Vec<u64>) -> Vec<Unlucky> {
    numbers.into_iter().map(Unlucky).collect()
}

/// Hangs until the gate of its first element opens, and says so when it is dropped.
#[remote(batch(max = 2, wait = "3600s"), concurrency = 1)]
async fn hang(#[ctx] callers: &[Context], keys: Vec<u64>, gates: Vec<u64>) -> Vec<bool> {
    let guard = SayOnDrop(keys[0], "dropped");
    guard.say("started");
    pass(gates[0]).await;
    callers.iter().map(Context::is_cancelled).collect()
}

/// Runs until all of its callers have left.
#[remote(batch(max = 2, wait = "3600s"))]
fn watch(#[ctx] callers: &[Context], keys: Vec<u64>) -> Vec<()> {
    let mut there: Vec<&Context> = callers.iter().collect();
    say(keys[0], "started");
    while !there.is_empty() {
        let before = there.len();
        there.retain(|caller| !caller.is_cancelled());
        if there.len() < before {
            say(keys[0], "one has left");
        }
        std::thread::yield_now();
    }
    vec![(); keys.len()]
}

/// Panics when it is dropped, unless a panic is under way.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        assert!(std::thread::panicking(), "dropped");
    }
}

/// Hangs if it is given 13, and panics when it is dropped then.
#[remote(batch(max = 1), concurrency = 1)]
async fn bomb(keys: Vec<u64>, numbers: Vec<u64>) -> Vec<u64> {
    if numbers[0] == 13 {
        let _bomb = Bomb;
        say(keys[0], "started");
        std::future::pending::<()>().await;
    }
    numbers
}

fn failure<T: std::fmt::Debug>(result: Result<T, Error>) -> (ErrorKind, Executed, String) {
    let error = result.unwrap_err();
    (error.kind(), error.executed(), error.to_string())
}

#[tokio::test]
async fn a_wrong_number_of_results_fails_all_callers() {
    let stage = Stage::new(functions![short, long]).await;
    let client = &stage.client;
    let shorter = soon(join_all((0..3).map(|n| short::call(client, n)))).await;
    let longer = soon(join_all((0..3).map(|n| long::call(client, n)))).await;
    for (results, text) in [(shorter, "2 results for 3 callers"), (longer, "5 results for 3")] {
        for result in results {
            let (kind, executed, shown) = failure(result);
            assert_eq!((kind, executed), (ErrorKind::Failed, Executed::Yes));
            assert!(shown.contains(text), "{shown}");
        }
    }
}

#[tokio::test]
async fn an_error_is_of_one_element_or_of_all() {
    let stage = Stage::new(functions![odd, small, all_or_none, all_or_text]).await;
    let client = &stage.client;
    let results = soon(join_all([1, 2, 3].map(|n| odd::call(client, n)))).await;
    assert!(
        matches!(&results[..], [Ok(1), Err(CallError::Function(two)), Ok(3)] if two == "2 is even")
    );
    let results = soon(join_all([1, 256, 3].map(|n| small::call(client, n)))).await;
    assert_eq!((results[0].as_ref().ok(), results[2].as_ref().ok()), (Some(&1), Some(&3)));
    let (kind, executed, text) = failure(results.into_iter().nth(1).unwrap());
    assert_eq!((kind, executed), (ErrorKind::Failed, Executed::Yes));
    assert!(text.contains("out of range"), "{text}");
    for (numbers, sum) in [([1, 2, 3], None), ([3, 4, 5], Some(12))] {
        let calls = numbers.map(|n| (all_or_none::call(client, n), all_or_text::call(client, n)));
        let (typed, texts): (Vec<_>, Vec<_>) = calls.into_iter().unzip();
        let typed = soon(join_all(typed)).await;
        let texts = soon(join_all(texts)).await;
        for ((n, typed), text) in numbers.into_iter().zip(typed).zip(texts) {
            match sum {
                None => assert_eq!((typed.unwrap(), text.unwrap()), (n, n)),
                Some(sum) => {
                    assert!(matches!(typed, Err(CallError::Function(Busy(n))) if n == sum));
                    assert!(failure(text).2.contains("12 is too much"));
                }
            }
        }
    }
}

#[tokio::test]
async fn a_panic_is_one_of_all_callers_of_the_run() {
    let stage = Stage::new(functions![panics, panics_later, weighed, unlucky]).await;
    let client = &stage.client;
    let now = soon(join_all((0..3).map(|n| panics::call(client, n)))).await;
    let later = soon(join_all((0..3).map(|n| panics_later::call(client, n)))).await;
    for result in now.into_iter().chain(later) {
        let (kind, executed, text) = failure(result);
        assert_eq!((kind, executed), (ErrorKind::Panicked, Executed::Yes));
        assert!(text.contains("at 3"), "{text}");
    }
    // What panics for one element is its caller's only.
    let (kind, executed, text) = failure(soon(weighed::call(client, 100)).await);
    assert_eq!((kind, executed), (ErrorKind::Unavailable, Executed::No));
    assert!(text.contains("100 is too heavy"), "{text}");
    let results = soon(join_all([1, 2, 3].map(|n| weighed::call(client, n)))).await;
    assert!(results.iter().all(Result::is_ok));
    let results = soon(join_all([12, 13, 14].map(|n| unlucky::call(client, n)))).await;
    let values: Vec<_> = results.iter().map(|it| it.as_ref().ok().map(|it| it.0)).collect();
    assert_eq!(values, [Some(12), None, Some(14)]);
    let (kind, executed, _) = failure(results.into_iter().nth(1).unwrap());
    assert_eq!((kind, executed), (ErrorKind::Panicked, Executed::Yes));
}

#[tokio::test]
async fn bad_arguments_and_long_results_concern_their_caller_only() {
    let limits = NodeLimits::new().max_message(1 << 20);
    let stage = Stage::with(|node| node.functions(functions![zeros, odd]).limits(limits)).await;
    let client = &stage.client;
    let bad = client.call_json("odd", json!(["one"]));
    let bad = soon(bad).await.unwrap_err();
    let error = bad.remote().unwrap();
    assert_eq!((error.kind(), error.executed()), (ErrorKind::BadArguments, Executed::No));
    // By name and typed, in one run.
    let [one, two] = [1, 2].map(|n| odd::call(client, n));
    let (one, two, three) =
        soon(async { futures::join!(one, two, client.call_json("odd", json!([3]))) }).await;
    assert_eq!((one.unwrap(), three.unwrap()), (1, json!(3)));
    assert!(matches!(two, Err(CallError::Function(text)) if text == "2 is even"));
    let results = soon(join_all([1, 2 << 20, 3].map(|n| zeros::call(client, n)))).await;
    assert_eq!((results[0].as_ref().unwrap().len(), results[2].as_ref().unwrap().len()), (1, 3));
    let (kind, executed, _) = failure(results.into_iter().nth(1).unwrap());
    assert_eq!((kind, executed), (ErrorKind::TooLarge, Executed::Yes));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deadline_ends_the_call_of_its_caller_only() {
    let stage = Stage::new(functions![pair]).await;
    let client = &stage.client;
    let gate = Gate::closed();
    let short = Duration::from_millis(100);
    // In the run, and in the queue behind it.
    let calls = [(1, None), (2, Some(short)), (3, Some(short)), (4, None), (5, None)];
    let mut waiting = Vec::new();
    for (n, timeout) in calls {
        let mut call = pair::call(client, n, gate.key);
        if let Some(timeout) = timeout {
            call = call.timeout(timeout);
        }
        waiting.push((n, timeout, tokio::spawn(call.into_future())));
        match n {
            1 => stage.waits(1).await,
            2 => stage.runs.begun(1).await,
            // Which may have left before it is looked at.
            3 => {}
            4 => stage.waits(1).await,
            _ => stage.waits(2).await,
        }
    }
    let mut ended = Vec::new();
    // First those that do not wait for the gate.
    waiting.sort_by_key(|(_, timeout, _)| timeout.is_none());
    for (n, timeout, call) in waiting {
        if timeout.is_none() {
            gate.open();
        }
        ended.push((n, soon(call).await.unwrap()));
    }
    for (n, result) in ended {
        match n {
            2 | 3 => assert_eq!(failure(result).0, ErrorKind::DeadlineExceeded),
            _ => assert_eq!(result.unwrap(), 2 * n),
        }
    }
    let mut runs = stage.runs.all();
    runs.iter_mut().for_each(|run| run.sort_unstable());
    assert_eq!(runs, [[1, 2], [4, 5]]);
}

#[tokio::test]
async fn an_async_run_is_dropped_when_its_last_caller_has_left() {
    let stage = Stage::new(functions![hang]).await;
    let (mut probe, gate) = (Probe::new(), Gate::closed());
    let call = || tokio::spawn(hang::call(&stage.client, probe.key, gate.key).into_future());
    let [first, second] = [call(), call()];
    assert_eq!(probe.next().await, "started");
    first.abort();
    // The one that has left gives its place back at once; the run goes on.
    until(|| stage.node.stats().in_flight == 1).await;
    assert!(probe.so_far().is_empty());
    second.abort();
    assert_eq!(probe.next().await, "dropped");
    // The function's place is free again, and a caller that stays has its result.
    let probe = Probe::new();
    let [first, second] = [1, 2].map(|_| hang::call(&stage.client, probe.key, gate.key));
    let (first, second) = (tokio::spawn(first.into_future()), tokio::spawn(second.into_future()));
    until(|| stage.node.stats().waiting == 0 && stage.node.stats().in_flight == 2).await;
    first.abort();
    until(|| stage.node.stats().in_flight == 1).await;
    gate.open();
    assert!(!soon(second).await.unwrap().unwrap(), "it has been cancelled with the other one");
}

#[tokio::test]
async fn a_run_that_panics_when_it_is_dropped_makes_way_for_the_next() {
    let stage = Stage::new(functions![bomb]).await;
    let mut probe = Probe::new();
    let call = |n| tokio::spawn(bomb::call(&stage.client, probe.key, n).into_future());
    let (dropped, next) = (call(13), call(1));
    assert_eq!(probe.next().await, "started");
    dropped.abort();
    assert_eq!(soon(next).await.unwrap().unwrap(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sync_run_sees_each_of_its_callers_leave() {
    let stage = Stage::new(functions![watch]).await;
    let mut probe = Probe::new();
    let call = || tokio::spawn(watch::call(&stage.client, probe.key).into_future());
    let calls = [call(), call()];
    assert_eq!(probe.next().await, "started");
    for call in calls {
        call.abort();
        assert_eq!(probe.next().await, "one has left");
    }
}

/// A call whose node ends before its run is told so once, and one that is running too.
#[tokio::test]
async fn a_node_that_ends_leaves_no_caller_without_an_outcome() {
    let stage = Stage::new(functions![hang]).await;
    let (mut probe, gate) = (Probe::new(), Gate::closed());
    let call = || tokio::spawn(hang::call(&stage.client, probe.key, gate.key).into_future());
    let calls = [call(), call(), call()];
    assert_eq!(probe.next().await, "started");
    stage.waits(1).await;
    soon(stage.node.shutdown()).await;
    for call in calls {
        let (kind, executed, _) = failure(soon(call).await.unwrap());
        assert_eq!((kind, executed), (ErrorKind::NodeLost, Executed::Maybe));
    }
    assert_eq!(probe.next().await, "dropped");
}
