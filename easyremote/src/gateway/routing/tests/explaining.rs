//! Tests of error messages, for every mixture of nodes and every combination of options.

use std::sync::atomic::Ordering;

use futures::FutureExt;

use super::{acquire, register, router, strings};
use crate::error::{Error, ErrorKind};
use crate::gateway::routing::sample::{Sample, call, offer};
use crate::wire::control::Offer;
use crate::wire::header::CallHeader;
use crate::wire::kind::Kind;
use crate::wire::limits::SUSPECT_MISSES;

/// A node's offer of the function, compared with the caller's expectation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Has {
    Nothing,
    Same,
    OtherTypes,
    OtherKind,
    /// It lacks a tag that the function requires.
    Unfit,
}

const ALL: [Has; 5] = [Has::Nothing, Has::Same, Has::OtherTypes, Has::OtherKind, Has::Unfit];

fn offers(has: Has) -> Vec<Offer> {
    let same = Offer { signature: "() -> new".into(), ..offer("f") };
    vec![match has {
        Has::Nothing => offer("g"),
        Has::Same => same,
        Has::OtherTypes => Offer { fingerprint: 8, signature: "() -> old".into(), ..same },
        Has::OtherKind => Offer { kind: Kind::Stream, ..same },
        Has::Unfit => Offer { needs: strings(&["big"]), ..same },
    }]
}

/// The routing options of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asks {
    ForAny,
    For(&'static str),
    /// A tag of the first node.
    ForTag,
    ForTagNobodyHas,
}

impl Asks {
    const EVERY: [Self; 6] = [
        Self::ForAny,
        Self::For("a"),
        Self::For("b"),
        Self::For("nobody"),
        Self::ForTag,
        Self::ForTagNobodyHas,
    ];

    fn header(self) -> CallHeader {
        let mut header = call("f");
        match self {
            Self::ForAny => {}
            Self::For(id) => header.routing.on = Some(id.to_owned()),
            Self::ForTag => header.routing.tags = strings(&["gpu"]),
            Self::ForTagNobodyHas => header.routing.tags = strings(&["none"]),
        }
        header
    }

    /// Returns which of the two nodes may run the call.
    fn of(self, fleet: [Has; 2]) -> Vec<(&'static str, Has)> {
        let nodes = [("a", fleet[0]), ("b", fleet[1])];
        let fits = |id: &str| match self {
            Self::ForAny => true,
            Self::For(only) => id == only,
            Self::ForTag => id == "a",
            Self::ForTagNobodyHas => false,
        };
        nodes.into_iter().filter(|(id, _)| fits(id)).collect()
    }
}

/// Returns the expected kind of error; `None` if the call can run.
fn expected(fleet: [Has; 2], asks: Asks) -> Option<ErrorKind> {
    use ErrorKind::{NoNode, NoSuchFunction, SignatureMismatch};
    if fleet == [Has::Nothing; 2] {
        return Some(NoSuchFunction);
    }
    let asked_for = asks.of(fleet);
    let has = |what: &[Has]| asked_for.iter().any(|(_, has)| what.contains(has));
    match () {
        () if has(&[Has::Same]) => None,
        () if has(&[Has::Unfit]) => Some(NoNode),
        () if has(&[Has::OtherTypes, Has::OtherKind]) => Some(SignatureMismatch),
        () => Some(NoNode),
    }
}

fn assert_true_to(error: &Error, fleet: [Has; 2], asks: Asks) {
    let (row, text) = (format!("{fleet:?}, {asks:?}: {error}"), error.to_string());
    let asked_for = asks.of(fleet);
    match error.kind() {
        ErrorKind::SignatureMismatch => {
            // No node was sent the call.
            assert_eq!(error.node(), None, "{row}");
            let told = asked_for.iter().any(|(id, has)| match has {
                Has::OtherTypes => text.contains(&format!("node `{id}` has `() -> old`")),
                Has::OtherKind => text.contains("returns a stream"),
                _ => false,
            });
            assert!(told, "{row}");
            let other = fleet.iter().any(|has| matches!(has, Has::Same | Has::Unfit));
            assert_eq!(text.contains("which the call asks for"), other, "{row}");
        }
        ErrorKind::NoNode => {
            let unfit = asked_for.iter().any(|(_, has)| *has == Has::Unfit);
            assert_eq!(text.contains("lacks the tag `big`"), unfit, "{row}");
            if let (Asks::For(id), false) = (asks, unfit) {
                let why = if id == "nobody" { "is not connected" } else { "does not offer it" };
                assert!(text.ends_with(&format!("node `{id}` {why}")), "{row}");
            }
        }
        _ => {}
    }
}

#[tokio::test]
async fn errors_are_true_and_a_call_that_waits_gets_the_node_that_it_waits_for() {
    for a in ALL {
        for b in ALL {
            for asks in Asks::EVERY {
                let (fleet, router) = ([a, b], router());
                let (functions, tags) = (offers(a), strings(&["gpu"]));
                let node_a = register(&router, Sample { functions, tags, ..Sample::new("a") });
                let _b = register(&router, Sample { functions: offers(b), ..Sample::new("b") });
                let row = format!("{fleet:?}, {asks:?}");
                let kind = match router.try_acquire(&asks.header()) {
                    Some(Ok(_)) => None,
                    Some(Err(error)) => {
                        assert_true_to(&error, fleet, asks);
                        Some(error.kind())
                    }
                    None => panic!("{row}: it waits"),
                };
                assert_eq!(kind, expected(fleet, asks), "{row}");
                if kind.is_none() || asks == Asks::ForTagNobodyHas || asks == Asks::For("b") {
                    continue;
                }
                let mut header = asks.header();
                header.routing.wait = true;
                assert!(router.try_acquire(&header).is_none(), "{row}: it does not wait");
                let acquiring = router.acquire(&header, 1);
                tokio::pin!(acquiring);
                assert!((&mut acquiring).now_or_never().is_none(), "{row}");
                drop(node_a);
                assert!((&mut acquiring).now_or_never().is_none(), "{row}: without `a`");
                let id = if asks == Asks::For("nobody") { "nobody" } else { "a" };
                let functions = offers(Has::Same);
                let tags = strings(&["gpu"]);
                let _right = register(&router, Sample { functions, tags, ..Sample::new(id) });
                let permit = acquiring.now_or_never().expect(&row).expect(&row);
                assert_eq!(permit.node().id(), id, "{row}");
            }
        }
    }
}

#[tokio::test]
async fn whoever_can_ask_another_gateway_gets_no_node_that_has_fallen_silent() {
    let router = router();
    let sample = Sample { functions: offers(Has::Same), ..Sample::new("a") };
    let misses = sample.misses.clone();
    let _a = register(&router, sample);
    let headers = [Asks::ForAny, Asks::For("a")].map(Asks::header);
    for header in headers {
        let elsewhere = || {
            let mut header = header.clone();
            header.routing.sound = true;
            header
        };
        misses.store(0, Ordering::Relaxed);
        drop(acquire(&router, &elsewhere()));
        misses.store(SUSPECT_MISSES, Ordering::Relaxed);
        let refused = router.try_acquire(&elsewhere()).unwrap().unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::NodeLost, "{refused}");
        assert!(refused.to_string().contains("`a` has fallen silent"), "{refused}");
        drop(acquire(&router, &header));
        // It returns, or another one is connected.
        let mut waits = elsewhere();
        waits.routing.wait = true;
        let acquiring = router.acquire(&waits, 1);
        tokio::pin!(acquiring);
        assert!((&mut acquiring).now_or_never().is_none());
        if header.routing.on.is_none() {
            let _b = register(&router, Sample { functions: offers(Has::Same), ..Sample::new("b") });
            assert_eq!(acquiring.now_or_never().unwrap().unwrap().node().id(), "b");
        }
    }
}
