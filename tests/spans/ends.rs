//! What spans say of calls that fail, are repeated, or given up.

use std::time::Duration;

use common::{Probe, SayOnDrop, World, soon, until};
use easyremote::node::{Done, Next};
use easyremote::{Client, Context, Error, ErrorKind, Retry, functions, remote};
use futures::future::BoxFuture;
use futures::{FutureExt, Stream, StreamExt, stream};
use tracing::{Instrument, info_span};

use crate::recorder::{Recorded, listen, of_call, spans};

#[remote]
async fn faults() -> Result<u64, String> {
    Err("no".into())
}

#[remote(err = "display")]
async fn fails() -> Result<u64, String> {
    Err("no".into())
}

#[remote]
fn panics() {
    panic!("on purpose");
}

#[remote]
async fn hangs(key: u64) {
    let dropped = SayOnDrop(key, "dropped");
    dropped.say("started");
    std::future::pending().await
}

#[remote(stream)]
fn breaks() -> impl Stream<Item = u64> {
    stream::iter(0..).map(|n| if n == 2 { panic!("on purpose") } else { n })
}

#[remote(stream)]
fn no_stream(fail: bool) -> Result<impl Iterator<Item = u64>, String> {
    if fail { Err("no".into()) } else { Ok(0..) }
}

/// Nobody offers it.
#[remote]
async fn nowhere() {}

#[remote]
async fn refused() {}

async fn refusing(ctx: Context, next: Next) -> Result<Done, Error> {
    if ctx.function() == "refused" && ctx.attempt() < 2 {
        return Err(Error::new(ErrorKind::Overloaded, "not now"));
    }
    next.run(ctx).await
}

type Ask = fn(Client) -> BoxFuture<'static, ()>;

/// A call, its error as each role sees it, and whether the function has run as client and node see it.
const FAILURES: &[(&str, Ask, [&str; 3], [&str; 2])] = &[
    ("faults", |c| faults::call(&c).map(drop).boxed(), ["Failed"; 3], ["Yes"; 2]),
    ("fails", |c| fails::call(&c).map(drop).boxed(), ["Failed"; 3], ["Yes"; 2]),
    ("panics", |c| panics::call(&c).map(drop).boxed(), ["Panicked"; 3], ["Yes"; 2]),
    (
        "breaks",
        |c| breaks::call(&c).collect::<Vec<_>>().map(drop).boxed(),
        ["Panicked"; 3],
        ["Yes"; 2],
    ),
    (
        "no_stream",
        |c| no_stream::call(&c, true).collect::<Vec<_>>().map(drop).boxed(),
        ["Failed"; 3],
        ["Yes"; 2],
    ),
    (
        "nowhere",
        |c| nowhere::call(&c).map(drop).boxed(),
        ["NoSuchFunction", "NoSuchFunction", ""],
        ["No", ""],
    ),
    ("refused", |c| refused::call(&c).map(drop).boxed(), ["Overloaded"; 3], ["No"; 2]),
    (
        "refused",
        |c| refused::call(&c).on("x".repeat(200)).map(drop).boxed(),
        ["InvalidInput", "", ""],
        ["No", ""],
    ),
    (
        "refused",
        |c| refused::call(&c).timeout(Duration::ZERO).map(drop).boxed(),
        ["DeadlineExceeded", "", ""],
        ["No", ""],
    ),
    (
        "hangs",
        |c| hangs::call(&c, u64::MAX).timeout(Duration::from_millis(50)).map(drop).boxed(),
        ["DeadlineExceeded"; 3],
        ["Maybe"; 2],
    ),
];

async fn stage(multiplex: bool) -> (World, easyremote::Node, Client) {
    listen();
    let world = World::start().await;
    let node = world.node_builder().wrap(refusing);
    let node = node.functions(functions![faults, fails, panics, hangs, breaks, no_stream, refused]);
    let node = soon(node.serve()).await.unwrap();
    let client = soon(world.client_builder().multiplex(multiplex).connect()).await.unwrap();
    (world, node, client)
}

/// All spans of the one call that is made inside of `own`.
async fn all_of(own: u64) -> Vec<Recorded> {
    let of_client = || spans(|span| span.parent == Some(own));
    let id = of_client()[0].field("easyremote.call_id").to_owned();
    let call = u128::from_str_radix(&id, 16).unwrap();
    until(|| of_call(call).iter().all(|span| span.closed)).await;
    of_call(call)
}

async fn errors_are_named(multiplex: bool) {
    let (_world, _node, client) = stage(multiplex).await;
    for (name, ask, errors, executed) in FAILURES {
        let own = info_span!("own");
        let id = own.id().unwrap().into_u64();
        soon(ask(client.clone()).instrument(own)).await;
        let spans = all_of(id).await;
        for ((role, error), executed) in
            ["client", "gateway", "node"].iter().zip(errors).zip([executed[0], "", executed[1]])
        {
            let Some(span) = spans.iter().find(|span| span.name == *role) else {
                assert_eq!(*error, "", "{name} at {role}");
                continue;
            };
            // The client and the node notice a deadline by themselves; the gateway sees one of both.
            let late = *error == "DeadlineExceeded" && span.field("error.type") == "Cancelled";
            assert!(late || span.field("error.type") == *error, "{name}: {span:?}");
            assert!(late || span.field("otel.status_code") == "ERROR", "{name}: {span:?}");
            assert_eq!(span.times["error.type"], 1, "{name}: {span:?}");
            if !executed.is_empty() {
                assert_eq!(span.field("easyremote.executed"), executed, "{name}: {span:?}");
            }
        }
    }
}

#[tokio::test]
async fn each_role_names_the_error_of_a_call() {
    errors_are_named(true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_role_names_the_error_of_a_call_on_a_separate_stream() {
    errors_are_named(false).await;
}

#[tokio::test]
async fn a_call_that_is_dropped_is_cancelled_and_no_failure() {
    let (_world, _node, client) = stage(true).await;
    let mut probe = Probe::new();
    let own = info_span!("own");
    let id = own.id().unwrap().into_u64();
    let mut call = Box::pin(hangs::call(&client, probe.key).instrument(own));
    soon(async {
        tokio::select! {
            _ = &mut call => panic!("it hangs"),
            started = probe.next() => assert_eq!(started, "started"),
        }
    })
    .await;
    drop(call);
    assert_eq!(probe.next().await, "dropped");
    let spans = all_of(id).await;
    assert_eq!(spans.len(), 3);
    for span in spans {
        assert_eq!(span.field("error.type"), "Cancelled", "{span:?}");
        assert_eq!(span.field("otel.status_code"), "", "{span:?}");
        if span.name != "gateway" {
            assert_eq!(span.field("easyremote.executed"), "Maybe", "{span:?}");
        }
    }
}

#[tokio::test]
async fn a_call_that_is_repeated_has_one_span_at_the_client_and_one_per_attempt_elsewhere() {
    let (_world, _node, client) = stage(true).await;
    let retry = Retry::new().backoff(Duration::from_millis(1), Duration::from_millis(1));
    let own = info_span!("own");
    let id = own.id().unwrap().into_u64();
    soon(refused::call(&client).retry(retry).instrument(own)).await.unwrap();
    let spans = all_of(id).await;
    let named = |name: &str| -> Vec<_> {
        spans
            .iter()
            .filter(|span| span.name == name)
            .map(|span| span.field("easyremote.attempt").to_owned())
            .collect()
    };
    assert_eq!(named("client"), ["2"]);
    assert_eq!(named("gateway"), ["0", "1", "2"]);
    assert_eq!(named("node"), ["0", "1", "2"]);
}
