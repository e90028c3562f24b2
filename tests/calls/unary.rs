//! Calls with one result.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use common::offered::add;
use common::{Probe, World, say, serving, soon};
use easyremote::{CallError, ErrorKind, Executed, functions, remote};
use futures::future::join_all;
use serde::{Deserialize, Serialize};

#[remote(inline)]
fn add_inline(a: i64, b: i64) -> i64 {
    a + b
}

#[remote]
async fn add_async(a: i64, b: i64) -> i64 {
    tokio::task::yield_now().await;
    a + b
}

#[remote]
fn nothing() {}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum MathError {
    DivisionByZero,
    Overflow { of: String },
}

type MathResult<T> = Result<T, MathError>;

#[remote]
fn divide(a: f64, b: f64) -> MathResult<f64> {
    match b {
        0.0 => Err(MathError::DivisionByZero),
        _ if b.abs() < 1e-300 => Err(MathError::Overflow { of: format!("{a}") }),
        _ => Ok(a / b),
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Everything {
    text: String,
    numbers: Vec<f32>,
    map: BTreeMap<String, Option<u128>>,
    nested: Option<Box<Everything>>,
    tuple: (char, bool, i8),
    unit: (),
}

#[remote]
async fn echo(value: Everything) -> Everything {
    value
}

#[remote]
async fn echo_bytes(bytes: Vec<u8>) -> Vec<u8> {
    bytes
}

#[remote]
async fn echo_shared(bytes: Bytes) -> Bytes {
    bytes
}

#[remote(name = "text.shout")]
fn shout(text: String) -> String {
    text.to_uppercase()
}

#[remote(stub = Whisper)]
fn whisper(text: String) -> String {
    text.to_lowercase()
}

#[remote]
async fn wait(key: u64, gate: Duration) -> u64 {
    say(key, "started");
    tokio::time::sleep(gate).await;
    key
}

#[remote(timeout = "2s")]
async fn impatient() {
    std::future::pending::<()>().await;
}

#[remote]
async fn for_ever() {
    std::future::pending::<()>().await;
}

#[tokio::test]
async fn every_kind_of_function_gives_its_result() {
    let all = functions![add, add_inline, add_async, nothing, shout, Whisper];
    let (_world, client) = serving(all).await;
    assert_eq!(soon(add::call(&client, 1, 2)).await.unwrap(), 3);
    assert_eq!(soon(add_inline::call(&client, -1, 2)).await.unwrap(), 1);
    assert_eq!(soon(add_async::call(&client, i64::MAX, -1)).await.unwrap(), i64::MAX - 1);
    soon(nothing::call(&client)).await.unwrap();
    assert_eq!(soon(shout::call(&client, "hé".into())).await.unwrap(), "HÉ");
    assert_eq!(soon(Whisper::call(&client, "HÉ".into())).await.unwrap(), "hé");
}

#[test]
fn a_remote_function_is_still_a_function() {
    assert_eq!(add(1, 2), 3);
    assert_eq!(divide(1.0, 0.0), Err(MathError::DivisionByZero));
}

#[tokio::test]
async fn a_function_error_travels_with_its_type() {
    let (_world, client) = serving(functions![divide]).await;
    assert_eq!(soon(divide::call(&client, 1.0, 4.0)).await.unwrap(), 0.25);
    let error = soon(divide::call(&client, 1.0, 0.0)).await.unwrap_err();
    assert!(matches!(error, CallError::Function(MathError::DivisionByZero)), "{error:?}");
    assert_eq!(error.executed(), Executed::Yes);
    let error = soon(divide::call(&client, 2.5, 1e-301)).await.unwrap_err();
    assert_eq!(error.function(), Some(&MathError::Overflow { of: "2.5".into() }));
}

#[tokio::test]
async fn every_shape_of_data_survives() {
    let (_world, client) = serving(functions![echo]).await;
    let leaf = Everything {
        text: "ünïcödé".into(),
        numbers: vec![0.0, f32::MIN, f32::INFINITY],
        map: [("a".into(), Some(u128::MAX)), ("b".into(), None)].into(),
        nested: None,
        tuple: ('\u{10ffff}', true, -128),
        unit: (),
    };
    let value = Everything { nested: Some(Box::new(leaf.clone())), ..leaf };
    assert_eq!(soon(echo::call(&client, value.clone())).await.unwrap(), value);
}

#[tokio::test]
async fn bytes_of_any_length_survive() {
    let (_world, client) = serving(functions![echo_bytes, echo_shared]).await;
    // Lengths around which the encoding, or the way that it is written, changes.
    let around_short = (16 << 10) - 10..(16 << 10) + 10;
    for length in [0, 1, 250, 251, 65_536, 1_000_003, 9 << 20].into_iter().chain(around_short) {
        let bytes: Vec<u8> = (0..length).map(|i| (i * 31 % 251) as u8).collect();
        assert_eq!(soon(echo_bytes::call(&client, bytes.clone())).await.unwrap(), bytes);
        let shared = Bytes::from(bytes);
        assert_eq!(soon(echo_shared::call(&client, shared.clone())).await.unwrap(), shared);
    }
}

#[tokio::test]
async fn long_arguments_behind_a_long_header_are_sent_whole() {
    let (_world, client) = serving(functions![echo_bytes]).await;
    for length in (16 << 10) - 8..(16 << 10) + 8 {
        let call = echo_bytes::call(&client, vec![7; length]).metadata("key", "x".repeat(8_000));
        assert_eq!(soon(call).await.unwrap().len(), length);
    }
}

#[tokio::test]
async fn many_calls_at_once_each_get_their_own_result() {
    let (_world, client) = serving(functions![add, add_async]).await;
    // More than the gateway allows one client to have open: the rest wait their turn.
    let calls = (0..3_000).map(|i| add_async::call(&client, i, i));
    for (i, sum) in soon(join_all(calls)).await.into_iter().enumerate() {
        assert_eq!(sum.unwrap(), 2 * i as i64);
    }
    let calls = (0..300).map(|i| tokio::spawn(add::call(&client, i, i)));
    for (i, sum) in soon(join_all(calls)).await.into_iter().enumerate() {
        assert_eq!(sum.unwrap().unwrap(), 2 * i as i64);
    }
}

#[tokio::test]
async fn calls_that_wait_do_not_hold_up_others() {
    let (_world, client) = serving(functions![wait, add]).await;
    let mut probe = Probe::new();
    let waiting = tokio::spawn(wait::call(&client, probe.key, Duration::from_secs(3_600)));
    assert_eq!(probe.next().await, "started");
    assert_eq!(soon(add::call(&client, 1, 2)).await.unwrap(), 3);
    waiting.abort();
}

#[test]
fn a_client_needs_no_runtime_to_await_calls() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (_world, _node, client) = runtime.block_on(World::with(functions![add]));
    assert_eq!(futures::executor::block_on(add::call(&client, 1, 2)).unwrap(), 3);
}

#[tokio::test]
async fn a_deadline_ends_a_call() {
    let (_world, client) = serving(functions![impatient, for_ever]).await;
    let error = soon(impatient::call(&client)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::DeadlineExceeded);
    assert_ne!(error.executed(), Executed::No);

    let call = for_ever::call(&client).timeout(Duration::from_millis(50));
    assert_eq!(soon(call).await.unwrap_err().kind(), ErrorKind::DeadlineExceeded);

    let call = for_ever::call(&client).deadline(std::time::Instant::now());
    let error = soon(call).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::DeadlineExceeded);
}

#[tokio::test]
async fn a_call_can_ask_for_a_node() {
    let world = World::start().await;
    let node = |id: &str, tag: &str| {
        world.node_builder().id(id).tag(tag).functions(functions![add]).serve()
    };
    let (_one, _two) =
        (soon(node("one", "cpu")).await.unwrap(), soon(node("two", "gpu")).await.unwrap());
    let client = world.client().await;
    assert_eq!(soon(add::call(&client, 1, 2).on("two")).await.unwrap(), 3);
    assert_eq!(soon(add::call(&client, 1, 2).tag("cpu")).await.unwrap(), 3);
    let error = soon(add::call(&client, 1, 2).on("three")).await.unwrap_err();
    assert_eq!((error.kind(), error.executed()), (ErrorKind::NoNode, Executed::No));
    let error = soon(add::call(&client, 1, 2).on("one").tag("gpu")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NoNode);
    assert!(error.to_string().contains("node `one`, tag `gpu`"), "{error}");
}
