//! Tests of calls that wait for a permit.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;

use super::{acquire, pick, register, router, strings};
use crate::error::{Error, ErrorKind};
use crate::gateway::routing::router::{CallPermit, Router};
use crate::gateway::routing::sample::{Sample, call, offer};
use crate::wire::header::CallHeader;
use crate::wire::limits::MAX_WAITING;

type Acquiring = BoxFuture<'static, Result<CallPermit<()>, Error>>;

/// Starts to acquire a permit, for a call that has to wait.
fn waits(router: &Arc<Router<()>>, header: CallHeader, caller: u64) -> Acquiring {
    let router = router.clone();
    let mut acquiring = async move { router.acquire(&header, caller).await }.boxed();
    assert!((&mut acquiring).now_or_never().is_none());
    acquiring
}

fn one_slot(id: &str) -> Sample {
    Sample { capacity: 1, ..Sample::new(id) }
}

#[tokio::test]
async fn a_freed_permit_goes_to_the_call_that_waits() {
    let router = router();
    let _node = register(&router, one_slot("a"));
    let held = acquire(&router, &call("f"));
    assert!(router.try_acquire(&call("f")).is_none());
    let (first, second) = (waits(&router, call("f"), 1), waits(&router, call("f"), 2));
    assert_eq!(router.n_waiting(), 2);
    drop(held);
    let permit = first.await.unwrap();
    assert_eq!((permit.node().n_calls(), router.n_waiting()), (1, 1));
    drop(permit);
    second.await.unwrap();
    assert_eq!(router.n_waiting(), 0);
}

#[tokio::test]
async fn a_call_that_stops_waiting_passes_its_permit_on() {
    let router = router();
    let node = register(&router, one_slot("a"));
    let held = acquire(&router, &call("f"));
    let gone = waits(&router, call("f"), 1);
    let (granted, next) = (waits(&router, call("f"), 2), waits(&router, call("f"), 3));
    drop(gone);
    assert_eq!(router.n_waiting(), 2);
    // It is granted the permit, and dropped before it receives it.
    drop(held);
    assert_eq!(router.n_waiting(), 1);
    drop(granted);
    next.await.unwrap();
    assert_eq!((router.n_waiting(), node.node().n_calls()), (0, 0));
}

#[tokio::test]
async fn a_function_has_a_limit_of_its_own() {
    let router = router();
    let mut limited = offer("f");
    limited.concurrency = 2;
    let functions = vec![limited, offer("g")];
    let _node = register(&router, Sample { functions, capacity: 3, ..Sample::new("a") });
    let (one, _two) = (acquire(&router, &call("f")), acquire(&router, &call("f")));
    assert!(router.try_acquire(&call("f")).is_none());
    let waiting = waits(&router, call("f"), 1);
    let other = acquire(&router, &call("g"));
    assert!(router.try_acquire(&call("g")).is_none(), "the node is full");
    drop(one);
    drop(other);
    waiting.await.unwrap();
}

#[tokio::test]
async fn calls_that_wait_for_a_node_that_leaves_are_told() {
    for drains in [false, true] {
        let router = router();
        let node = register(&router, one_slot("a"));
        let mut on = call("f");
        on.routing.on = Some("a".to_owned());
        let _held = acquire(&router, &on);
        let waiting = waits(&router, on, 1);
        let (node, kind) = if drains {
            node.drain();
            (Some(node), ErrorKind::Draining)
        } else {
            drop(node);
            (None, ErrorKind::NoNode)
        };
        assert_eq!(waiting.await.unwrap_err().kind(), kind);
        assert_eq!(router.n_waiting(), 0);
        drop(node);
    }
}

#[tokio::test]
async fn a_node_that_joins_or_has_other_tags_takes_what_waits() {
    let router = router();
    let _first = register(&router, one_slot("a"));
    let mut wanted = call("f");
    wanted.routing.tags = strings(&["gpu"]);
    wanted.routing.wait = true;
    let (_held, tagged) = (acquire(&router, &call("f")), waits(&router, wanted.clone(), 1));
    let waiting = waits(&router, call("f"), 1);
    let second = register(&router, one_slot("b"));
    assert_eq!(waiting.await.unwrap().node().id(), "b");
    second.retag(strings(&["gpu"]));
    let permit = tagged.await.unwrap();
    assert_eq!(permit.node().id(), "b");
    // Waits in the queue now, and for a node again once the tag is gone.
    let again = waits(&router, wanted, 1);
    second.retag(Vec::new());
    drop(permit);
    second.retag(strings(&["gpu"]));
    assert_eq!(again.await.unwrap().node().id(), "b");
}

#[tokio::test(start_paused = true)]
async fn patience_ends() {
    let router = router();
    let mut header = call("f");
    header.routing.patience = Duration::from_secs(10);
    let start = tokio::time::Instant::now();
    let error = router.acquire(&header, 1).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NoSuchFunction);
    assert!(start.elapsed() >= Duration::from_secs(10));
    let waiting = waits(&router, header, 1);
    let _node = register(&router, Sample::new("a"));
    waiting.await.unwrap();
}

#[tokio::test]
async fn beyond_a_thousand_calls_the_caller_with_most_is_refused() {
    let router = router();
    let _node = register(&router, one_slot("a"));
    let _held = acquire(&router, &call("f"));
    let mut waiting: Vec<_> = (0..MAX_WAITING).map(|_| waits(&router, call("f"), 1)).collect();
    let error = router.acquire(&call("f"), 1).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Overloaded);
    let _other = waits(&router, call("f"), 2);
    let last = waiting.pop().unwrap();
    assert_eq!(last.await.unwrap_err().kind(), ErrorKind::Overloaded);
    assert_eq!(router.n_waiting(), MAX_WAITING as u64);
    drop(waiting);
    assert_eq!(router.n_waiting(), 1);
}

#[tokio::test]
async fn a_node_that_drains_gets_no_more_calls_and_hears_of_the_last_one() {
    let router = router();
    let node = register(&router, Sample::new("a"));
    let held = acquire(&router, &call("f"));
    node.drain();
    assert!(node.node().drained().now_or_never().is_none());
    let _other = register(&router, Sample::new("b"));
    assert!((0..20).all(|_| pick(&router, &call("f")) == "b"));
    drop(held);
    node.node().drained().await;
    node.node().acknowledge_drained();
    assert!(node.node().drained().now_or_never().is_none(), "told once");
}
