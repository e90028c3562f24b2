//! The cases of gRPC's interoperability tests, with their sizes, but random bytes for zeros:
//! <https://github.com/grpc/grpc/blob/master/doc/interop-test-descriptions.md>.
//!
//! A test that fails prints its seed; `INTEROP_SEED=.. cargo test --test api interop` repeats its bytes.

use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use common::{Probe, SayOnDrop, World, say, soon, until};
use easyremote::{Client, Context, ErrorKind, Executed, Node, functions, remote};
use futures::{SinkExt, Stream, StreamExt, TryStreamExt, stream};
use serde::{Deserialize, Serialize};

const REQUEST: usize = 271_828;
const ANSWER: usize = 314_159;
const REQUESTS: [usize; 4] = [27_182, 8, 1_828, 45_904];
const ANSWERS: [usize; 4] = [31_415, 9, 2_653, 58_979];

/// What cannot be sent in a header as it is.
const SPECIAL: &str = "\t\ntest with whitespace\r\nand Unicode BMP ☺ and non-BMP 😈\t\n";

fn seed() -> u64 {
    let given = std::env::var("INTEROP_SEED").ok().map(|text| text.parse().unwrap());
    let seed = given.unwrap_or_else(|| fastrand::u64(..));
    println!("INTEROP_SEED={seed}");
    seed
}

/// The same bytes on both sides; not the same in both directions, because the lengths differ.
fn payload(seed: u64, length: usize) -> Bytes {
    let mut bytes = vec![0; length];
    fastrand::Rng::with_seed(seed ^ length as u64).fill(&mut bytes);
    bytes.into()
}

/// Bytes that were not those that were sent.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Corrupt {
    length: usize,
}

fn check(seed: u64, bytes: &Bytes) -> Result<usize, Corrupt> {
    let length = bytes.len();
    if *bytes == payload(seed, length) { Ok(length) } else { Err(Corrupt { length }) }
}

#[derive(Debug, Serialize, Deserialize)]
struct Request {
    seed: u64,
    answer: usize,
    payload: Bytes,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Status {
    code: i32,
    message: String,
}

#[remote]
async fn empty_call() {}

#[remote]
async fn unary_call(request: Request) -> Result<Bytes, Corrupt> {
    check(request.seed, &request.payload)?;
    Ok(payload(request.seed, request.answer))
}

/// The same without a struct around the bytes, which then travel as they are.
#[remote]
async fn unary_bytes(seed: u64, answer: usize, request: Vec<u8>) -> Result<Vec<u8>, Corrupt> {
    check(seed, &request.into())?;
    Ok(payload(seed, answer).into())
}

#[remote]
async fn streaming_input(seed: u64, payloads: impl Stream<Item = Bytes>) -> Result<usize, Corrupt> {
    payloads.map(|payload| check(seed, &payload)).try_fold(0, async |n, more| Ok(n + more)).await
}

#[remote(stream)]
fn streaming_output(seed: u64, sizes: Vec<usize>) -> impl Stream<Item = Bytes> {
    stream::iter(sizes).map(move |size| payload(seed, size))
}

#[remote(stream)]
fn full_duplex(
    key: u64,
    requests: impl Stream<Item = Request>,
) -> impl Stream<Item = Result<Bytes, Corrupt>> {
    let guard = SayOnDrop(key, "dropped");
    say(key, "started");
    let answers = requests.map(|request| {
        check(request.seed, &request.payload)?;
        Ok(payload(request.seed, request.answer))
    });
    answers.chain(stream::poll_fn(move |_| {
        let _keep = &guard;
        say(key, "ended");
        Poll::Ready(None)
    }))
}

#[remote]
async fn collect(key: u64, payloads: impl Stream<Item = Bytes>) -> usize {
    let _guard = SayOnDrop(key, "dropped");
    say(key, "started");
    let n = payloads.count().await;
    say(key, "ended");
    n
}

#[remote(stream)]
fn sleeping(key: u64, requests: impl Stream<Item = Bytes>) -> impl Stream<Item = Bytes> {
    let guard = SayOnDrop(key, "dropped");
    requests.filter_map(move |_| {
        let _keep = &guard;
        std::future::pending()
    })
}

#[remote]
async fn echo_metadata(
    #[ctx] ctx: &Context,
    key: String,
    payload: Bytes,
) -> (Option<String>, Bytes) {
    (ctx.metadata(&key).map(str::to_owned), payload)
}

#[remote(stream)]
fn echo_metadata_duplex(
    #[ctx] ctx: &Context,
    key: String,
    payloads: impl Stream<Item = Bytes>,
) -> impl Stream<Item = (Option<String>, Bytes)> {
    let value = ctx.metadata(&key).map(str::to_owned);
    payloads.map(move |payload| (value.clone(), payload))
}

#[remote]
async fn fail(status: Status) -> Result<(), Status> {
    Err(status)
}

#[remote(stream)]
fn fail_each(statuses: impl Stream<Item = Status>) -> impl Stream<Item = Result<(), Status>> {
    statuses.map(Err)
}

/// Not offered by the node, and of no service that it has.
#[remote(name = "UnimplementedService.call")]
async fn unimplemented_service() {}

/// Not offered by the node.
#[remote]
async fn unimplemented_call() {}

/// Not offered by the node.
#[remote(stream)]
fn unimplemented_stream() -> impl Stream<Item = u8> {
    stream::empty()
}

async fn world() -> (World, Node, Client) {
    let unary = functions![empty_call, unary_call, unary_bytes, echo_metadata, fail];
    let streams = functions![streaming_input, streaming_output, full_duplex, collect, sleeping];
    let world = World::start().await;
    let more = functions![echo_metadata_duplex, fail_each];
    let node = world.node_builder().functions(unary).functions(streams).functions(more);
    let node = soon(node.serve()).await.unwrap();
    let client = world.client().await;
    (world, node, client)
}

#[tokio::test]
async fn empty_unary() {
    let (_world, _node, client) = world().await;
    soon(empty_call::call(&client)).await.unwrap();
}

#[tokio::test]
async fn large_unary() {
    let ((_world, _node, client), seed) = (world().await, seed());
    let request = Request { seed, answer: ANSWER, payload: payload(seed, REQUEST) };
    let answer = soon(unary_call::call(&client, request)).await.unwrap();
    assert!(answer == payload(seed, ANSWER), "another answer");
    let request = payload(seed, REQUEST).into();
    let answer = soon(unary_bytes::call(&client, seed, ANSWER, request)).await.unwrap();
    assert!(answer == payload(seed, ANSWER), "another answer");
    // The functions do look.
    let request = payload(seed ^ 1, REQUEST).into();
    let error = soon(unary_bytes::call(&client, seed, ANSWER, request)).await.unwrap_err();
    assert_eq!(error.function(), Some(&Corrupt { length: REQUEST }));
}

#[tokio::test]
async fn client_streaming() {
    let ((_world, _node, client), seed) = (world().await, seed());
    let payloads = stream::iter(REQUESTS).map(move |length| payload(seed, length));
    assert_eq!(soon(streaming_input::call(&client, seed, payloads)).await.unwrap(), 74_922);
}

#[tokio::test]
async fn server_streaming() {
    let ((_world, _node, client), seed) = (world().await, seed());
    let answers = streaming_output::call(&client, seed, ANSWERS.into());
    let answers: Vec<Bytes> = soon(answers.try_collect()).await.unwrap();
    assert_eq!(answers.iter().map(Bytes::len).collect::<Vec<_>>(), ANSWERS);
    assert!(answers.into_iter().eq(ANSWERS.map(|length| payload(seed, length))), "other bytes");
}

#[tokio::test]
async fn ping_pong() {
    let ((_world, _node, client), seed) = (world().await, seed());
    let (mut send, requests) = futures::channel::mpsc::channel(1);
    let mut answers = full_duplex::call(&client, u64::MAX, requests);
    for (length, answer) in REQUESTS.into_iter().zip(ANSWERS) {
        let request = Request { seed, answer, payload: payload(seed, length) };
        soon(send.send(request)).await.unwrap();
        // The next request does not exist before this answer is here.
        let got = soon(answers.next()).await.unwrap().unwrap();
        assert!(got == payload(seed, answer), "another answer of {answer} bytes");
    }
    drop(send);
    assert!(soon(answers.next()).await.is_none());
}

#[tokio::test]
async fn empty_stream() {
    let (_world, _node, client) = world().await;
    let mut probe = Probe::new();
    let answers = full_duplex::call(&client, probe.key, stream::empty());
    assert!(soon(answers.try_collect::<Vec<_>>()).await.unwrap().is_empty());
    assert_eq!([probe.next().await, probe.next().await, probe.next().await], ENDED);
    assert_eq!(soon(collect::call(&client, probe.key, stream::empty())).await.unwrap(), 0);
    assert_eq!([probe.next().await, probe.next().await, probe.next().await], ENDED);
}

const ENDED: [&str; 3] = ["started", "ended", "dropped"];

#[tokio::test]
async fn cancel_after_begin() {
    let (_world, node, client) = world().await;
    let mut probe = Probe::new();
    let call = tokio::spawn(collect::call(&client, probe.key, stream::pending()));
    assert_eq!(probe.next().await, "started");
    call.abort();
    assert!(soon(call).await.unwrap_err().is_cancelled());
    assert_eq!(probe.next().await, "dropped");
    until(|| node.stats().in_flight == 0).await;
}

#[tokio::test]
async fn cancel_after_first_response() {
    let ((_world, node, client), seed) = (world().await, seed());
    let mut probe = Probe::new();
    let request = Request { seed, answer: ANSWERS[0], payload: payload(seed, REQUESTS[0]) };
    let requests = stream::iter([request]).chain(stream::pending());
    let mut answers = full_duplex::call(&client, probe.key, requests);
    let got = soon(answers.next()).await.unwrap().unwrap();
    assert!(got == payload(seed, ANSWERS[0]), "another answer");
    assert_eq!(probe.next().await, "started");
    drop(answers);
    assert_eq!(probe.next().await, "dropped");
    until(|| node.stats().in_flight == 0).await;
}

#[tokio::test]
async fn timeout_on_sleeping_server() {
    let ((_world, node, client), seed) = (world().await, seed());
    for timeout in [1, 300].map(Duration::from_millis) {
        let requests = stream::iter([payload(seed, REQUESTS[0])]);
        let mut answers = sleeping::call(&client, u64::MAX, requests).timeout(timeout);
        let error = soon(answers.next()).await.unwrap().unwrap_err();
        assert_eq!((error.kind(), error.delivered()), (ErrorKind::DeadlineExceeded, 0));
        assert!(soon(answers.next()).await.is_none());
        until(|| node.stats().in_flight == 0).await;
    }
}

#[tokio::test]
async fn custom_metadata() {
    let ((_world, _node, client), seed) = (world().await, seed());
    for (key, value) in [
        ("x-grpc-test-echo-initial", "test_initial_metadata_value"),
        ("x-grpc-test-echo-trailing-bin", "\u{ab}\u{ab}\u{ab}"),
        ("x-special", SPECIAL),
    ] {
        let expected = (Some(value.to_owned()), payload(seed, REQUEST));
        let call = echo_metadata::call(&client, key.into(), payload(seed, REQUEST));
        let answer = soon(call.metadata(key, value)).await.unwrap();
        assert!(answer == expected, "{key}: {:?}", answer.0);

        let payloads = stream::iter([payload(seed, REQUEST)]);
        let call = echo_metadata_duplex::call(&client, key.into(), payloads).metadata(key, value);
        let answers: Vec<_> = soon(call.try_collect()).await.unwrap();
        assert!(answers == [expected], "{key}: {:?}", answers[0].0);
    }
}

#[tokio::test]
async fn status_code_and_message() {
    let (_world, _node, client) = world().await;
    for message in ["test status message", SPECIAL, ""] {
        let status = Status { code: 2, message: message.into() };
        let error = soon(fail::call(&client, status.clone())).await.unwrap_err();
        assert_eq!((error.function(), error.executed()), (Some(&status), Executed::Yes));

        let mut answers = fail_each::call(&client, stream::iter([status.clone()]));
        let error = soon(answers.next()).await.unwrap().unwrap_err();
        assert_eq!(error.function(), Some(&status));
        assert!(soon(answers.next()).await.is_none());
    }
}

#[tokio::test]
async fn unimplemented_method_and_service() {
    let (_world, node, client) = world().await;
    let mut stream = unimplemented_stream::call(&client);
    for (name, error) in [
        ("unimplemented_call", soon(unimplemented_call::call(&client)).await.unwrap_err()),
        (
            "UnimplementedService.call",
            soon(unimplemented_service::call(&client)).await.unwrap_err(),
        ),
        ("unimplemented_stream", soon(stream.next()).await.unwrap().unwrap_err()),
    ] {
        assert_eq!((error.kind(), error.executed()), (ErrorKind::NoSuchFunction, Executed::No));
        assert!(error.to_string().contains(name), "{error}");
    }
    assert_eq!(node.stats().calls, 0);
}
