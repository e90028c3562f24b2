//! What is counted of the calls of a function, in particular of those that change their node.

use std::time::Duration;

use super::{acquire, register, router};
use crate::call::function_meter::CallEnd;
use crate::error::ErrorKind;
use crate::gateway::routing::sample::{Sample, call};

/// A call at `losses` nodes that are lost before it has arrived, one second each and one to find the
/// next, and then at one that answers, or at none.
fn counts_once(losses: u64, answered: bool) {
    let router = router();
    let node = register(&router, Sample::new("a"));
    let second = Duration::from_secs(1);
    let meter = node.node().offers()[0].meter.clone();
    let in_flight = |n| assert_eq!(meter.read("f", 0).in_flight, n);
    for lost in 0..losses {
        let mut permit = acquire(&router, &call("f"));
        match lost {
            0 => permit.enter(Duration::from_millis(7)),
            _ => permit.enter_again(2 * second * lost as u32),
        }
        in_flight(1);
        router.clock().advance(second);
        permit.goes_on();
        drop(permit);
        in_flight(0);
        router.clock().advance(second);
    }
    let took = 2 * second * losses as u32;
    let (took, end) = if answered {
        let mut permit = acquire(&router, &call("f"));
        match losses {
            0 => permit.enter(Duration::from_millis(7)),
            _ => permit.enter_again(took),
        }
        router.clock().advance(second);
        permit.ends(CallEnd::Returned);
        (took + second, CallEnd::Returned)
    } else {
        // As the dispatch does if no other node is found.
        meter.ran(took);
        meter.ended(CallEnd::Error(ErrorKind::NoNode));
        (took, CallEnd::Error(ErrorKind::NoNode))
    };
    let stats = meter.read("f", 0);
    assert_eq!((stats.in_flight, stats.ended()), (0, 1), "{losses} {end:?}");
    assert_eq!((stats.queued.count(), stats.queued.sum()), (1, Duration::from_millis(7)));
    assert_eq!((stats.ran.count(), stats.ran.sum()), (1, took), "{losses} {end:?}");
}

#[test]
fn a_call_that_goes_on_at_another_node_counts_once() {
    (0..3).for_each(|losses| counts_once(losses, true));
    (1..3).for_each(|losses| counts_once(losses, false));
}
