//! What an error says, and what its causes say: each thing once, in every chain.

use std::error::Error as StdError;
use std::net::UdpSocket;
use std::time::Duration;

use common::offered::wait;
use common::{Probe, World, found_in, patient, say, serving, soon, until};
use easyremote::client::ClientLimits;
use easyremote::node::NodeLimits;
use easyremote::{Client, Error, ErrorKind, Executed, Role, functions, remote};
use futures::{Stream, StreamExt, stream};
use tokio::runtime::Builder;
use tokio::sync::oneshot;

#[remote(stream)]
fn waits(key: u64) -> impl Stream<Item = u64> {
    stream::once(async move {
        say(key, "started");
        0
    })
    .chain(stream::pending())
}

#[remote(inline)]
fn add(a: i64, b: i64) -> i64 {
    a + b
}

#[remote]
fn panics() {
    panic!("ouch");
}

#[remote]
fn long(bytes: usize) -> Vec<u8> {
    vec![0; bytes]
}

mod newer {
    #[easyremote::remote]
    pub(super) fn add(a: i32, b: i64) -> i64;
}

/// What `{:#}` of `anyhow`, and other reporters, show: an error, and its sources.
fn chain(error: &Error) -> Vec<String> {
    let first: &(dyn StdError + 'static) = error;
    std::iter::successors(Some(first), |error| (*error).source()).map(ToString::to_string).collect()
}

/// No text has that of a cause in it, and none is empty or shows how it is made.
#[track_caller]
fn is_said_once(error: &Error) -> String {
    let parts = chain(error);
    assert!(parts.len() < 6, "{parts:?}");
    for (at, part) in parts.iter().enumerate() {
        assert!(!part.is_empty(), "{parts:?}");
        for cause in &parts[at + 1..] {
            assert!(!part.contains(&**cause), "`{cause}` is said twice: {parts:?}");
        }
    }
    let whole = parts.join(": ");
    assert!(!whole.contains("Error {") && !whole.contains("Some("), "{whole}");
    whole
}

#[track_caller]
fn says(error: &Error, kind: ErrorKind, parts: &[&str]) {
    let whole = is_said_once(error);
    assert_eq!(error.kind(), kind, "{whole}");
    for part in parts {
        assert_eq!(whole.matches(part).count(), 1, "`{part}` in: {whole}");
    }
}

#[tokio::test]
async fn what_keeps_a_role_from_starting_is_said_once() {
    use ErrorKind::{InvalidInput, Unauthenticated, Unavailable};
    let world = World::start().await;
    let (state, silent) = (tempfile::tempdir().unwrap(), UdpSocket::bind("127.0.0.1:0").unwrap());
    let gateway =
        |address: String| soon(common::gateway_at(address).state_dir(state.path()).serve());
    let taken = world.gateway.local_addr().to_string();
    says(&gateway(taken).await.unwrap_err(), Unavailable, &["the port is taken"]);
    // An address of nobody's, for documentation.
    let error = gateway("192.0.2.1:0".into()).await.unwrap_err();
    says(&error, Unavailable, &["cannot listen on `192.0.2.1:0`", "(os error"]);
    let error = gateway("nobody.invalid:0".into()).await.unwrap_err();
    says(&error, Unavailable, &["cannot listen on `nobody.invalid:0`"]);
    let missing = state.path().join("missing.pem");
    let files = common::gateway_at("127.0.0.1:0").state_dir(state.path());
    let error = soon(files.certificate(&missing, &missing).serve()).await.unwrap_err();
    says(&error, Unavailable, &["cannot be read as certificates"]);
    let file = state.path().join("file");
    std::fs::write(&file, "").unwrap();
    let error = soon(common::gateway_at("127.0.0.1:0").state_dir(&file).serve()).await.unwrap_err();
    is_said_once(&error);

    let limit = Duration::from_millis(300);
    let client = |address: String| Client::builder(address).dial(found_in(state.path()));
    let client = |address: String| soon(client(address).dial(patient(limit)).connect());
    let error = client(silent.local_addr().unwrap().to_string()).await.unwrap_err();
    says(&error, Unavailable, &["no answer from", "tried for 300ms"]);
    let error = client("nobody.invalid:1".into()).await.unwrap_err();
    says(&error, Unavailable, &["cannot resolve `nobody.invalid:1`", "tried for 300ms"]);
    let error = client(world.gateway.local_addr().to_string()).await.unwrap_err();
    says(&error, Unauthenticated, &["not the gateway that was expected"]);
    says(
        &client("gw".into()).await.unwrap_err(),
        InvalidInput,
        &["gateway address", "write `host:port`"],
    );
    let forged = world.gateway.ticket(Role::Client).to_string();
    let (rest, _) = forged.split_once("erc_").unwrap();
    let forged = format!("{rest}erc_{}", "A".repeat(43));
    says(&client(forged).await.unwrap_err(), Unauthenticated, &["the token is not valid"]);
}

#[tokio::test]
async fn what_ends_a_call_at_its_node_is_said_once() {
    use ErrorKind::{BadArguments, NoNode, NoSuchFunction, Panicked, SignatureMismatch, TooLarge};
    let world = World::start().await;
    let node = world.node_builder().id("n").functions(functions![add, panics, long, wait]);
    let node = soon(node.limits(NodeLimits::new().max_message(100_000)).serve()).await.unwrap();
    for multiplex in [true, false] {
        let client = soon(world.client_builder().multiplex(multiplex).connect()).await.unwrap();
        let by_name = |name: &str, arguments| soon(client.call_json(name, arguments));
        let error = soon(panics::call(&client)).await.unwrap_err();
        says(&error, Panicked, &["`panics` panicked", "ouch"]);
        assert_eq!(error.node(), Some("n"));
        let error = by_name("add", serde_json::json!([1])).await.unwrap_err();
        let error = error.remote().unwrap().clone();
        says(&error, BadArguments, &["invalid arguments for `add`"]);
        assert_eq!(error.node(), Some("n"));
        let error = soon(long::call(&client, 200_000)).await.unwrap_err();
        says(&error, TooLarge, &["a message may have 100000", "raise the limit"]);
        assert_eq!(error.node(), Some("n"));
        // No node gets these.
        for (error, kind, part) in [
            (soon(newer::add::call(&client, 1, 2)).await.unwrap_err(), SignatureMismatch, "`n`"),
            (soon(add::call(&client, 1, 2).on("m")).await.unwrap_err(), NoNode, "node `m`"),
            (soon(add::call(&client, 1, 2).tag("t")).await.unwrap_err(), NoNode, "tag `t`"),
            (
                by_name("missing", serde_json::json!([]))
                    .await
                    .unwrap_err()
                    .remote()
                    .unwrap()
                    .clone(),
                NoSuchFunction,
                "`missing`",
            ),
        ] {
            says(&error, kind, &[part]);
            assert_eq!((error.executed(), error.node()), (Executed::No, None), "{error}");
        }
        let small = soon(
            world
                .client_builder()
                .multiplex(multiplex)
                .limits(ClientLimits::new().max_message(1_000))
                .connect(),
        )
        .await;
        let error = client_side(&small.unwrap()).await;
        says(
            &error,
            TooLarge,
            &["the limit for one message is 1000", "client stream", "`max_message`"],
        );
    }
    drop(node);
}

/// Arguments that are too long.
async fn client_side(client: &Client) -> Error {
    mod texts {
        #[easyremote::remote]
        pub(super) fn length(text: String) -> usize;
    }
    soon(texts::length::call(client, "x".repeat(2_000))).await.unwrap_err()
}

#[tokio::test]
async fn a_deadline_says_how_long_there_was() {
    use ErrorKind::DeadlineExceeded;
    let (world, _node, client) = World::with(functions![wait, waits, add]).await;
    for multiplex in [true, false] {
        let client = match multiplex {
            true => client.clone(),
            false => soon(world.client_builder().multiplex(false).connect()).await.unwrap(),
        };
        for (millis, text) in
            [(30, "after 30ms"), (1_100, "after 1.1s"), (0, "before it could begin")]
        {
            let limit = Duration::from_millis(millis);
            let error = soon(wait::call(&client, u64::MAX).timeout(limit)).await.unwrap_err();
            says(&error, DeadlineExceeded, &["the deadline of `wait` passed", text]);
            let mut items = waits::call(&client, u64::MAX).timeout(limit);
            let error = soon(async {
                loop {
                    if let Err(error) = items.next().await.unwrap() {
                        break error;
                    }
                }
            });
            says(&error.await, DeadlineExceeded, &["the deadline of `waits` passed", text]);
        }
        let past = std::time::Instant::now() - Duration::from_secs(1);
        let error = soon(add::call(&client, 1, 2).deadline(past)).await.unwrap_err();
        says(&error, DeadlineExceeded, &["before it could begin"]);
        assert_eq!((error.executed(), error.node()), (Executed::No, None));
    }
}

/// A call and a stream that are under way, and the errors that they end with.
async fn under_way(client: &Client, end: impl Future<Output = ()>) -> [Error; 2] {
    let (mut one, mut two) = (Probe::new(), Probe::new());
    let call = tokio::spawn(wait::call(client, one.key));
    let mut items = waits::call(client, two.key);
    soon(items.next()).await.unwrap().unwrap();
    assert_eq!((one.next().await, two.next().await), ("started", "started"));
    end.await;
    let error = soon(items.next()).await.unwrap().unwrap_err();
    [soon(call).await.unwrap().unwrap_err(), error]
}

#[tokio::test]
async fn a_party_that_leaves_is_named_and_nobody_else_says_that_it_closed() {
    use ErrorKind::{ConnectionLost, NodeLost};
    for multiplex in [true, false] {
        let world = World::start().await;
        let client = soon(world.client_builder().multiplex(multiplex).connect()).await.unwrap();
        let functions = || functions![wait, waits];
        let node = soon(world.node_builder().id("n").functions(functions()).serve()).await.unwrap();
        for error in under_way(&client, node.shutdown()).await {
            says(&error, NodeLost, &["node `n` was lost during the call", "the node has left"]);
            assert_eq!(error.node(), Some("n"));
        }
        // The gateway closes the connection: another process has the id now.
        let old = soon(world.node_builder().id("n").functions(functions()).serve()).await.unwrap();
        let newer = async {
            let newer = world.node_builder().id("n").functions(functions()).serve();
            std::mem::forget(soon(newer).await.unwrap());
        };
        for error in under_way(&client, newer).await {
            let whole = is_said_once(&error);
            assert_eq!((error.kind(), error.node()), (NodeLost, Some("n")), "{whole}");
            assert!(!whole.contains("this side"), "the gateway closed it, not this side: {whole}");
        }
        drop(old);
        for error in under_way(&client, world.gateway.shutdown()).await {
            says(&error, ConnectionLost, &["the gateway has shut down"]);
            assert!(!is_said_once(&error).contains("this side"));
        }
    }
}

#[tokio::test]
async fn a_client_that_closes_itself_says_so() {
    let (_world, client) = serving(functions![wait, waits]).await;
    let closing = client.clone();
    for error in under_way(&client, async move { closing.close().await }).await {
        let whole = is_said_once(&error);
        assert_eq!(error.kind(), ErrorKind::ConnectionLost, "{whole}");
        assert!(whole.contains("closed"), "{whole}");
    }
}

#[tokio::test]
async fn a_node_that_ends_with_its_runtime_says_so() {
    let world = World::start().await;
    let client = world.client().await;
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let builder = world.node_builder().id("n").functions(functions![wait, waits]);
    let (sent, received) = oneshot::channel();
    runtime.spawn(async move {
        let _ = sent.send(builder.serve().await.unwrap());
    });
    let node = soon(received).await.unwrap();
    let end = async {
        runtime.shutdown_background();
        soon(node.closed()).await;
    };
    let errors = under_way(&client, end).await;
    // Functions are dropped with their runtime, and the node says goodbye: whichever is first.
    let texts = errors.each_ref().map(is_said_once);
    for error in &errors {
        assert_eq!(error.node(), Some("n"), "{texts:?}");
        assert!(matches!(error.kind(), ErrorKind::NodeLost | ErrorKind::Cancelled), "{texts:?}");
    }
    until(|| world.gateway.stats().nodes == 0).await;
}
