use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::*;

type Calls = InFlightCalls<&'static str>;

fn put<C>(_: &C, _: &mut Vec<u8>) -> Result<(), Infallible> {
    Ok(())
}

fn give_up(calls: &Calls, id: MuxId) -> Option<&'static str> {
    calls.abandon(id, |call| (call, ()))
}

#[test]
fn an_abandoned_call_keeps_its_slot_until_the_other_end_has_ended_it() {
    let calls = Calls::new(1);
    let one = calls.submit("one", None, put).unwrap();
    assert_eq!((give_up(&calls, one), give_up(&calls, one)), (Some("one"), None));
    assert!(matches!(calls.submit("two", None, put), Err(Declined::Busy("two"))));
    calls.released(one).unwrap();
    let two = calls.submit("two", None, put).unwrap();
    assert_eq!(key(one), key(two), "the slot is used again");
    // An answer that crosses the cancellation has the same effect as "released".
    assert_eq!((calls.answered(one), give_up(&calls, two)), (None, Some("two")));
    assert_eq!(calls.answered(two), None, "no one waits for it");
    assert!(calls.submit("three", None, put).is_ok());
}

#[test]
fn only_abandoned_calls_are_released() {
    let calls = Calls::new(2);
    let one = calls.submit("one", None, put).unwrap();
    assert!(calls.released(one).is_err());
    assert_eq!(calls.answered(one), Some("one"));
    calls.released(one).unwrap();
}

#[test]
fn a_stream_that_is_closed_declines() {
    let calls = Calls::new(3);
    calls.submit("one", None, put).unwrap();
    let two = calls.submit("two", None, put).unwrap();
    give_up(&calls, two);
    let cut_off = calls.close();
    assert!(cut_off.len() == 1 && !cut_off[0].sent && cut_off[0].call == "one");
    assert!(matches!(calls.submit("three", None, put), Err(Declined::Busy("three"))));
}

#[test]
fn what_cannot_be_written_is_not_queued() {
    let calls = Calls::new(1);
    let fails = |_: &&str, out: &mut Vec<u8>| {
        out.push(7);
        Err("too long")
    };
    assert!(matches!(calls.submit("a", None, fails), Err(Declined::Unwritten("a", "too long"))));
    assert_eq!(calls.writer().backlog(), 0);
}

#[tokio::test(start_paused = true)]
async fn each_call_is_abandoned_at_its_deadline_unless_it_ended_before() {
    let calls = Calls::new(10);
    let at = |seconds| Some(Instant::now() + Duration::from_secs(seconds));
    let three = calls.submit("three", at(3), put).unwrap();
    calls.submit("two", at(2), put).unwrap();
    calls.submit("never", None, put).unwrap();
    calls.submit("four", at(4), put).unwrap();
    calls.answered(three).unwrap();
    let mut late = Vec::new();
    let expiring = calls.expire(|call| late.push(call));
    assert!(tokio::time::timeout(Duration::from_secs(10), expiring).await.is_err());
    assert_eq!(late, ["two", "four"]);
}

/// What is kept of an abandoned call is dropped when the call has ended at the other end, and may
/// use the stream when it is dropped.
#[test]
fn what_is_kept_may_submit_another_call_when_it_is_dropped() {
    struct Kept(Arc<InFlightCalls<u8, Kept>>, Arc<AtomicUsize>);
    impl Drop for Kept {
        fn drop(&mut self) {
            self.0.submit(2, None, put).unwrap();
            self.1.fetch_add(1, Ordering::SeqCst);
        }
    }
    let (calls, dropped) = (Arc::new(InFlightCalls::new(1)), Arc::new(AtomicUsize::new(0)));
    let one = calls.submit(1, None, put).unwrap();
    let kept = || Kept(calls.clone(), dropped.clone());
    assert_eq!(calls.abandon(one, |call| (call, kept())), Some(1));
    assert_eq!(dropped.load(Ordering::SeqCst), 0);
    calls.released(one).unwrap();
    assert_eq!(dropped.load(Ordering::SeqCst), 1);
    calls.close();
}

/// The receiver's count of calls never exceeds the sender's, in any order of threads.
#[test]
fn a_receiver_never_sees_more_calls_than_the_limit() {
    const LIMIT: usize = 16;
    let calls = InFlightCalls::<usize>::new(LIMIT as u32);
    let order = Mutex::new(());
    let open = Mutex::new(HashSet::new());
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let (calls, open, order) = (&calls, &open, &order);
            scope.spawn(move || {
                for n in 0..5_000 {
                    // The receiver counts a call from its message until it ends the call.
                    let arrived = |id: MuxId| {
                        let mut open = open.lock();
                        open.insert(id);
                        assert!(open.len() <= LIMIT, "{} calls", open.len());
                    };
                    let Ok(id) = calls.submit(n + thread, None, put) else { continue };
                    arrived(id);
                    let abandoned = n % 2 == 0 && calls.abandon(id, |call| (call, ())).is_some();
                    let _in_order = order.lock();
                    open.lock().remove(&id);
                    match abandoned {
                        true => calls.released(id).unwrap(),
                        false => assert!(calls.answered(id).is_some()),
                    }
                }
            });
        }
    });
}
