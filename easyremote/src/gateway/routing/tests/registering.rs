//! Tests of nodes that register, leave, and return.

use super::{acquire, pick, register, router, strings, try_register};
use crate::error::ErrorKind;
use crate::gateway::routing::router::Registration;
use crate::gateway::routing::sample::{Sample, call, offer};

#[test]
fn a_session_yields_to_its_own_process_and_to_a_new_one() {
    let router = router();
    let mut current = register(&router, Sample::new("a"));
    for (boot, epoch, identity) in [(1, 1, "node"), (0, 1, "other"), (1, 0, "other")] {
        let error = try_register(&router, Sample { boot, epoch, identity, ..Sample::new("a") });
        assert_eq!(error.unwrap_err().kind(), ErrorKind::PermissionDenied);
    }
    for (boot, epoch) in [(0, 1), (1, 0)] {
        let node = Sample { boot, epoch, ..Sample::new("a") }.node();
        let (second, replaced) = Registration::new(&router, node).unwrap();
        assert!(replaced.is_some_and(|old| old.is_leaving()));
        assert_eq!(router.n_nodes(), 1);
        drop(second);
        assert_eq!(router.n_nodes(), 0, "the latest session is the one that is there");
        current = register(&router, Sample::new("a"));
    }
    drop(current);
}

#[test]
fn an_old_session_that_ends_does_not_remove_the_new_one() {
    let router = router();
    let first = register(&router, Sample::new("a"));
    let running = acquire(&router, &call("f"));
    let second = register(&router, Sample { epoch: 1, ..Sample::new("a") });
    drop((first, running));
    assert_eq!((router.n_nodes(), second.node().n_calls()), (1, 0));
    assert_eq!(pick(&router, &call("f")), "a");
}

#[test]
fn a_name_belongs_to_the_identity_that_offered_it_first() {
    let router = router();
    let first = register(&router, Sample::new("a"));
    let other = Sample { identity: "other", ..Sample::new("b") };
    let error = try_register(&router, other.clone()).unwrap_err();
    assert!(error.to_string().contains("it belongs to `node`"), "{error}");
    drop(first);
    assert!(try_register(&router, other.clone()).is_err(), "also when no node offers it now");
    router.disown("node");
    let _other = register(&router, other);
    assert!(try_register(&router, Sample::new("a")).is_err());
}

#[test]
fn errors_say_what_there_is_instead() {
    let router = router();
    let error = |header| match router.try_acquire(&header) {
        Some(Err(error)) => (error.kind(), error.to_string()),
        other => panic!("{other:?}"),
    };
    let (kind, text) = error(call("f"));
    assert_eq!(
        (kind, &*text),
        (ErrorKind::NoSuchFunction, "no node offers `f`; no node is connected")
    );
    let mut needy = offer("g");
    needy.needs = strings(&["gpu", "big"]);
    let functions = vec![offer("f"), needy];
    let node = register(&router, Sample { functions, ..Sample::new("a") });
    let (kind, text) = error(call("h"));
    assert_eq!(kind, ErrorKind::NoSuchFunction);
    assert!(text.ends_with("1 node is connected, offering `f`, `g`"), "{text}");
    let mut header = call("f");
    header.fingerprint = 8;
    assert_eq!(error(header).0, ErrorKind::SignatureMismatch);
    let (kind, text) = error(call("g"));
    assert!(kind == ErrorKind::NoNode && text.contains("lacks the tags `gpu`, `big`"), "{text}");
    let mut header = call("f");
    header.routing.on = Some("b".to_owned());
    let (kind, text) = error(header);
    assert!(kind == ErrorKind::NoNode && text.ends_with("`b` is not connected"), "{text}");
    node.node().close();
    assert_eq!(error(call("f")).0, ErrorKind::NodeLost);
    assert!(node.node().drain() && !node.node().drain());
    assert_eq!(error(call("f")).0, ErrorKind::Draining);
    drop(node);
    assert_eq!(error(call("f")).0, ErrorKind::NoNode, "it is known");
    let mut header = call("f");
    header.caller = None;
    assert_eq!(error(header).0, ErrorKind::PermissionDenied);
    let mut header = call("f");
    header.routing.wait = true;
    assert!(router.try_acquire(&header).is_none(), "it waits for a node");
}

#[test]
fn lists_show_nodes_and_offers() {
    let router = router();
    let mut needy = offer("g");
    needy.needs = strings(&["gpu"]);
    let functions = vec![offer("f"), needy];
    let a = register(&router, Sample { functions: functions.clone(), ..Sample::new("a") });
    let tags = strings(&["gpu"]);
    let _b = register(&router, Sample { functions, tags, ..Sample::new("b") });
    let can_run = || {
        let table = router.table();
        table.offers()["g"].iter().map(|(id, _, can)| ((*id).to_owned(), *can)).collect::<Vec<_>>()
    };
    assert_eq!(can_run(), [("a".to_owned(), false), ("b".to_owned(), true)]);
    a.retag(strings(&["gpu"]));
    assert_eq!(can_run(), [("a".to_owned(), true), ("b".to_owned(), true)]);
    let nodes = router.nodes();
    assert_eq!((&*nodes[0].id, &nodes[0].tags), ("a", &strings(&["gpu"])));
    assert_eq!(nodes[1].functions, strings(&["f", "g"]));
    assert_eq!(nodes.iter().map(|node| node.in_flight).sum::<u64>(), 0);
}
