//! What a node keeps for its functions, and what they can learn about their call.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::{Probe, World, say, serving, soon};
use easyremote::{Context, ErrorKind, Options, functions, remote};
use futures::{Stream, TryStreamExt, stream};

struct Model {
    words: Vec<String>,
}

#[derive(Default)]
struct Counter(Mutex<u64>);

#[remote]
async fn word(#[state] model: &Model, index: u64) -> Option<String> {
    tokio::task::yield_now().await;
    model.words.get(index as usize).cloned()
}

#[remote]
fn count(by: u64, #[state] counter: &Counter) -> u64 {
    let mut count = counter.0.lock().unwrap();
    *count += by;
    *count
}

#[remote(stream)]
fn words(#[state] model: &Model, #[state] counter: &Counter) -> impl Stream<Item = String> {
    *counter.0.lock().unwrap() += 100;
    stream::iter(model.words.iter().cloned())
}

#[remote(stream)]
fn words_by_iterator(#[state] model: &Model) -> impl Iterator<Item = String> {
    model.words.iter().cloned()
}

#[remote(stream)]
async fn words_after_a_while(#[state] model: &Model) -> Result<impl Iterator<Item = String>, ()> {
    tokio::time::sleep(Duration::from_millis(1)).await;
    Ok(model.words.iter().cloned())
}

#[remote]
async fn about(#[ctx] ctx: &Context, key: String) -> (String, String, Option<String>, bool) {
    let metadata = ctx.metadata(&key).map(str::to_owned);
    (ctx.node().into(), ctx.function().into(), metadata, ctx.remaining().is_some())
}

#[remote]
fn call_id(#[ctx] ctx: &Context) -> u128 {
    ctx.call_id()
}

#[remote]
fn until_cancelled(#[ctx] ctx: &Context, key: u64) {
    say(key, "started");
    while !ctx.is_cancelled() {
        std::thread::yield_now();
    }
    say(key, "cancelled");
}

fn model() -> Model {
    Model { words: ["a", "b", "c"].map(str::to_owned).into() }
}

#[tokio::test]
async fn functions_share_the_state_of_their_node() {
    let world = World::start().await;
    let functions = functions![word, count, words, words_by_iterator, words_after_a_while];
    let node = world.node_builder().state(model()).state(Counter::default()).functions(functions);
    let _node = soon(node.serve()).await.unwrap();
    let client = world.client().await;
    assert_eq!(soon(word::call(&client, 1)).await.unwrap().as_deref(), Some("b"));
    assert_eq!(soon(word::call(&client, 9)).await.unwrap(), None);
    assert_eq!(soon(count::call(&client, 2)).await.unwrap(), 2);
    assert_eq!(soon(words::call(&client).try_collect::<Vec<_>>()).await.unwrap(), ["a", "b", "c"]);
    assert_eq!(soon(count::call(&client, 3)).await.unwrap(), 105);
    let items = words_by_iterator::call(&client).try_collect::<Vec<_>>();
    assert_eq!(soon(items).await.unwrap(), ["a", "b", "c"]);
    let items = words_after_a_while::call(&client).try_collect::<Vec<_>>();
    assert_eq!(soon(items).await.unwrap(), ["a", "b", "c"]);
    let listed = soon(client.functions()).await.unwrap();
    assert_eq!(listed[0].signature, "(by: u64) -> u64");
}

#[remote]
fn count_shared(#[state] counter: &Arc<Counter>, by: u64) -> u64 {
    count(by, counter)
}

#[tokio::test]
async fn a_program_can_keep_a_handle_of_its_node_s_state() {
    let world = World::start().await;
    let (one, two) = (Arc::new(Counter::default()), Arc::new(Counter::default()));
    let node = world.node_builder().functions(functions![count, count_shared]);
    // An `Arc` that is given as the state is a state of another type.
    let node = node.shared_state(one.clone()).state(two.clone());
    let _node = soon(node.serve()).await.unwrap();
    let client = world.client().await;
    assert_eq!(soon(count::call(&client, 1)).await.unwrap(), 1);
    assert_eq!(soon(count_shared::call(&client, 10)).await.unwrap(), 10);
    assert_eq!((*one.0.lock().unwrap(), *two.0.lock().unwrap()), (1, 10));
}

#[test]
fn a_function_with_state_is_still_a_function() {
    assert_eq!(count(7, &Counter::default()), 7);
}

#[tokio::test]
async fn a_node_without_the_state_does_not_start() {
    let world = World::start().await;
    let error = soon(world.node_builder().functions(functions![word]).serve()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    let text = error.to_string();
    assert!(text.contains("`word` needs a state of type `api::state::Model`"), "{text}");
}

#[tokio::test]
async fn a_function_can_learn_about_its_call() {
    let world = World::start().await;
    let node = world.node_builder().id("one").functions(functions![about, call_id]).serve();
    let _node = soon(node).await.unwrap();
    let client = world.client().await;
    let call = about::call(&client, "tenant".into())
        .metadata("other", "x")
        .metadata("tenant", "blue")
        .timeout(Duration::from_secs(60));
    let expected = ("one".into(), "about".into(), Some("blue".into()), true);
    assert_eq!(soon(call).await.unwrap(), expected);
    let plain = soon(about::call(&client, "tenant".into())).await.unwrap();
    assert_eq!((plain.2, plain.3), (None, false));
    let one = soon(call_id::call(&client)).await.unwrap();
    assert_ne!(one, soon(call_id::call(&client)).await.unwrap());
}

#[tokio::test]
async fn a_handle_has_options_for_all_its_calls() {
    let world = World::start().await;
    let node = |id: &str| world.node_builder().id(id).tag(id).functions(functions![about]).serve();
    let (_one, _two) = (soon(node("one")).await.unwrap(), soon(node("two")).await.unwrap());
    let client = world.client().await;
    let options = Options::new().on("two").metadata("user", "a").timeout(Duration::from_secs(60));
    let handle = client.with(options);
    for _ in 0..5 {
        let (node, _, user, deadline) = soon(about::call(&handle, "user".into())).await.unwrap();
        assert_eq!((node.as_str(), user.as_deref(), deadline), ("two", Some("a"), true));
    }
    // Options of a handle made of it, and those of a call, go first.
    let handle = handle.with(Options::new().metadata("user", "b"));
    let (_, _, user, _) = soon(about::call(&handle, "user".into())).await.unwrap();
    assert_eq!(user.as_deref(), Some("b"));
    let call = about::call(&handle, "user".into()).on("one").metadata("user", "c");
    let (node, _, user, _) = soon(call).await.unwrap();
    assert_eq!((node.as_str(), user.as_deref()), ("one", Some("c")));
    let error = soon(about::call(&handle, "user".into()).tag("one")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NoNode);
    // The handle that it was made of has none.
    let (_, _, user, deadline) = soon(about::call(&client, "user".into())).await.unwrap();
    assert_eq!((user, deadline), (None, false));
    let late = client.with(Options::new().wait_for_node().timeout(Duration::from_millis(50)));
    let call = call_id::call(&late);
    assert_eq!(soon(call).await.unwrap_err().kind(), ErrorKind::DeadlineExceeded);
}

#[tokio::test]
async fn metadata_above_the_limit_is_refused() {
    let (_world, node, client) = World::with(functions![call_id]).await;
    let call = call_id::call(&client).metadata("key", "x".repeat(9_000));
    assert_eq!(soon(call).await.unwrap_err().kind(), ErrorKind::InvalidInput);
    assert_eq!(node.stats().calls, 0);
}

#[tokio::test]
async fn a_sync_function_can_see_that_nobody_waits() {
    let (_world, client) = serving(functions![until_cancelled]).await;
    let mut probe = Probe::new();
    let call = tokio::spawn(until_cancelled::call(&client, probe.key));
    assert_eq!(probe.next().await, "started");
    call.abort();
    assert_eq!(probe.next().await, "cancelled");

    let late = until_cancelled::call(&client, probe.key).timeout(Duration::from_secs(2));
    assert_eq!(soon(late).await.unwrap_err().kind(), ErrorKind::DeadlineExceeded);
    assert_eq!(probe.next().await, "started");
    assert_eq!(probe.next().await, "cancelled");
}
