//! What a waiting call is said to wait for.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;

use super::{acquire, register, router, strings};
use crate::error::Error;
use crate::gateway::routing::router::{CallPermit, Router};
use crate::gateway::routing::sample::{Sample, call, offer};
use crate::wire::header::CallHeader;

type Waiting = BoxFuture<'static, Result<CallPermit<()>, Error>>;

fn waits(router: &Arc<Router<()>>, header: &CallHeader) -> Waiting {
    let (router, header) = (router.clone(), header.clone());
    let mut acquiring = async move { router.acquire(&header, 1).await }.boxed();
    assert!((&mut acquiring).now_or_never().is_none());
    acquiring
}

/// The reason of the only call that waits.
fn reason(router: &Arc<Router<()>>) -> String {
    let (waiting, more) = router.waiting_calls(10);
    assert_eq!((waiting.len(), more, router.n_waiting()), (1, 0, 1));
    waiting[0].reason.to_string()
}

fn patient(mut header: CallHeader) -> CallHeader {
    header.routing.wait = true;
    header
}

#[tokio::test]
async fn a_call_waits_for_a_node_and_then_for_room() {
    let router = router();
    let header = patient(call("f"));
    let mut waiting = waits(&router, &header);
    assert_eq!(reason(&router), "no node offers `f`");
    let key = router.waiting_calls(1).0[0].start.ticket;
    let mut limited = offer("f");
    limited.concurrency = 1;
    let functions = vec![limited, offer("g")];
    let a = register(&router, Sample { functions, capacity: 2, ..Sample::new("a") });
    let first = acquire(&router, &call("f"));
    assert!((&mut waiting).now_or_never().is_none());
    assert_eq!(reason(&router), "no node that offers `f` has room: `a` runs 1 of 1 of `f`");
    let other = acquire(&router, &call("g"));
    assert_eq!(reason(&router), "no node that offers `f` has room: `a` runs 2 of 2");
    assert_eq!(router.waiting_calls(1).0[0].start.ticket, key, "it is the same call");
    let b = register(&router, Sample { capacity: 1, ..Sample::new("b") });
    let third = waiting.await.unwrap();
    let again = waits(&router, &header);
    b.drain();
    let expected = "no node that offers `f` has room: `a` runs 2 of 2, `b` shuts down";
    assert_eq!(reason(&router), expected);
    a.drain();
    assert_eq!(router.waiting_calls(10).0.len(), 0, "it is granted the error, and looks again");
    drop((first, other, third, again));
    assert_eq!(router.n_waiting(), 0);
}

#[tokio::test]
async fn a_reason_names_what_the_call_asks_for() {
    let router = router();
    let tagged = |id: &str| Sample { tags: strings(&["gpu"]), capacity: 1, ..Sample::new(id) };
    let _plain = register(&router, Sample::new("plain"));
    let mut header = patient(call("f"));
    header.routing.tags = strings(&["gpu"]);
    let waiting = waits(&router, &header);
    let expected = "`f` is offered by `plain`, and the call asks for tag `gpu`: none of them has \
                    all the tags";
    assert_eq!(reason(&router), expected);
    drop(waiting);
    let _gpu = register(&router, tagged("gpu-1"));
    let held = acquire(&router, &header);
    let waiting = waits(&router, &header);
    let expected = "no node with the tag `gpu` that offers `f` has room: `gpu-1` runs 1 of 1";
    assert_eq!(reason(&router), expected);
    drop(waiting);
    let mut named = call("f");
    named.routing.on = Some("gpu-1".to_owned());
    let waiting = waits(&router, &named);
    assert_eq!(reason(&router), "the node that the call asks for has no room: `gpu-1` runs 1 of 1");
    drop(waiting);
    let mut keyed = header.clone();
    keyed.key = Some("order".into());
    let waiting = waits(&router, &keyed);
    let expected = "the node that has the runs of the key has no room: `gpu-1` runs 1 of 1";
    assert_eq!(reason(&router), expected);
    drop((waiting, held));
}

#[tokio::test]
async fn a_long_list_of_nodes_is_cut_and_calls_of_all_functions_are_shown() {
    let router = router();
    let node = |n: usize| {
        let functions = vec![offer("f"), offer("g")];
        register(&router, Sample { functions, capacity: 1, ..Sample::new(&format!("n{n:02}")) })
    };
    let nodes: Vec<_> = (0..20).map(node).collect();
    let held: Vec<_> = (0..20).map(|_| acquire(&router, &call("f"))).collect();
    let mut waiting: Vec<_> = (0..9).map(|_| waits(&router, &call("f"))).collect();
    waiting.push(waits(&router, &call("g")));
    waiting.push(waits(&router, &patient(call("nothing"))));
    let (rows, more) = router.waiting_calls(4);
    let functions: Vec<_> = rows.iter().map(|row| &*row.header.function).collect();
    assert_eq!((functions, more), (vec!["f", "g", "f", "f"], 7));
    assert!(rows[0].reason.ends_with("`n07` runs 1 of 1, and 12 more"), "{}", rows[0].reason);
    let (rows, more) = router.waiting_calls(100);
    assert_eq!((rows.len(), more), (11, 0));
    let stats = router.functions();
    let waiting_in_all = stats.iter().map(|stats| stats.waiting).sum::<u64>();
    assert_eq!(waiting_in_all, 11, "{stats:?}");
    drop((waiting, held, nodes));
    assert_eq!(router.waiting_calls(100).0.len(), 0);
}

/// One rule: there is an obstacle where there is no room, and only there.
#[test]
fn an_obstacle_is_the_lack_of_room() {
    let mut random = fastrand::Rng::with_seed(2);
    for _ in 0..2_000 {
        let mut functions = vec![offer("f"), offer("g")];
        functions[0].concurrency = random.u64(..3);
        let sample = Sample { functions, capacity: random.u64(1..4), ..Sample::new("a") };
        let node = sample.node();
        for _ in 0..random.usize(..8) {
            let index = random.usize(..2);
            match random.u8(..9) {
                0 => node.close(),
                1 => node.count(index),
                _ => drop(node.acquire(index)),
            };
            for index in 0..2 {
                assert_eq!(node.obstacle(index).is_none(), node.has_room(index), "{node:?}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_whose_patience_ends_is_not_shown_any_more() {
    let router = router();
    let mut header = call("f");
    header.routing.patience = Duration::from_secs(1);
    let waiting = waits(&router, &header);
    assert_eq!(reason(&router), "no node offers `f`");
    assert!(waiting.await.is_err());
    assert_eq!(router.n_waiting(), 0);
    let silent = Sample::new("a");
    let misses = silent.misses.clone();
    let _node = register(&router, Sample { capacity: 1, ..silent });
    let held = acquire(&router, &call("f"));
    misses.store(99, Ordering::Relaxed);
    let waiting = waits(&router, &call("f"));
    assert!(reason(&router).ends_with("`a` runs 1 of 1"));
    drop((waiting, held));
}
