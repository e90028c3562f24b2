//! The checker finds each violation in histories that are made up.

use super::*;
use crate::calls::{Part, Plan, Seen};
use crate::chain::{Chain, Last, Operator};
use crate::history::History;
use crate::readers::Reader;

use ErrorKind::{
    Cancelled, ConnectionLost, DeadlineExceeded, Gap, InvalidInput, NoNode, NoSuchJob, NodeLost,
};
use Executed::{Maybe, No, Yes};
use Outcome::{Answered, Dropped, Hung, Wrong};

/// The call of a made-up history: number 7, which has 3 items.
fn call(kind: Kind) -> Record {
    Record {
        plan: Plan::new(7, kind, 3),
        seen: Seen::default(),
        outcome: Answered,
        took: Duration::from_secs(1),
    }
}

fn failed(kind: ErrorKind, executed: Executed) -> Outcome {
    Outcome::Failed { kind, executed, delivered: 0, text: String::new() }
}

/// The same with the number of items that the error counts.
fn failed_after(delivered: u64, kind: ErrorKind, executed: Executed) -> Outcome {
    Outcome::Failed { kind, executed, delivered, text: String::new() }
}

/// A line of a log: of which node, and what it says.
type Line = (usize, &'static str);

const LIFE: Line = (0, "life");
const START: Line = (0, "start 7 0");
const END: Line = (0, "end 7 0");
const RETRY: Line = (1, "start 7 1");
const RETRY_END: Line = (1, "end 7 1");

/// Judges the history of one call.
#[track_caller]
fn judged(expected: bool, record: Record, log: &[Line]) {
    let shown = format!("{record:?}, {log:?}");
    let mut history = History::new(vec![record]);
    log.iter().for_each(|(node, line)| history.add(*node, line));
    let violations = history.violations();
    assert_eq!(violations.is_empty(), expected, "{shown}: {violations:?}");
}

#[test]
fn the_history_of_a_call_is_judged() {
    use Kind::{Items, ItemsAgain};
    const ONCE: &[Line] = &[START, END];
    const CUT: &[Line] = &[START];
    const TWICE: &[Line] = &[START, RETRY, RETRY_END];
    const SAME: &[Line] = &[START, (1, "start 7 0"), END];
    const FOUR: &[Line] = &[START, RETRY, (2, "start 7 2"), (0, "start 7 3")];
    let lost = |executed| failed_after(2, NodeLost, executed);
    for (expected, kind, received, outcome, log) in [
        (true, Items, 3, Answered, ONCE),
        (false, Items, 2, Answered, ONCE),
        (false, Items, 3, Answered, CUT),
        (false, Items, 3, Answered, &[]),
        (false, Items, 3, Answered, &[END]),
        (false, Items, 3, Answered, TWICE),
        (true, ItemsAgain, 3, Answered, TWICE),
        (false, ItemsAgain, 3, Answered, SAME),
        (false, ItemsAgain, 2, lost(Maybe), FOUR),
        (true, Items, 2, lost(No), &[]),
        (false, Items, 2, lost(No), CUT),
        (true, Items, 2, lost(Maybe), &[]),
        (true, Items, 2, lost(Maybe), CUT),
        (true, Items, 2, lost(Yes), CUT),
        (false, Items, 2, lost(Yes), &[]),
        (false, Items, 1, lost(Yes), CUT),
        (true, Items, 1, Dropped, CUT),
        (false, Items, 1, Dropped, SAME),
        (false, Items, 1, Hung, CUT),
        (false, Items, 1, Wrong("item".into()), CUT),
    ] {
        let mut record = Record { outcome, ..call(kind) };
        record.seen.items = (0..received).collect();
        judged(expected, record, log);
    }
}

#[test]
fn what_operators_let_pass_is_judged() {
    let chain = Chain { operators: vec![Operator::Skip(1)], last: Last::Batches(2) };
    for (expected, items, lists, outcome) in [
        (true, &[0, 0][..], &[2][..], Answered),
        (true, &[0, 0], &[1, 1], Answered),
        (false, &[0], &[1], Answered),
        (false, &[0, 0, 0], &[2, 1], Answered),
        (false, &[0, 1], &[2], Answered),
        (true, &[0], &[1], failed_after(1, NodeLost, Yes)),
        // Lists are counted, not what is in them.
        (true, &[0, 0], &[2], failed_after(1, NodeLost, Yes)),
        (false, &[0, 0], &[2], failed_after(2, NodeLost, Yes)),
    ] {
        let mut record = Record { outcome, ..call(Kind::Steps) };
        record.plan.chain = chain.clone();
        (record.seen.items, record.seen.lists) = (items.to_vec(), lists.to_vec());
        judged(expected, record, &[START, END]);
    }
    // A limit stops the function before its end, and does not make it run less than once.
    for (expected, log) in [(true, &[START][..]), (false, &[])] {
        let mut record = call(Kind::Ticks);
        record.plan.chain.operators = vec![Operator::Take(1)];
        record.seen.items = vec![0];
        judged(expected, record, log);
    }
}

#[test]
fn an_upload_that_goes_on_is_judged() {
    const LOST: &[Line] = &[LIFE, START, LIFE];
    const THERE: &[Line] = &[LIFE, START];
    const TWICE: &[Line] = &[LIFE, START, RETRY, RETRY_END];
    for (expected, outcome, log) in [
        (true, Answered, &[LIFE, START, END][..]),
        (false, Answered, THERE),
        (false, Answered, TWICE),
        (true, failed(Gap, Maybe), LOST),
        (false, failed(Gap, Maybe), THERE),
        (false, failed(Gap, No), LOST),
        (true, failed(ConnectionLost, Maybe), THERE),
        (false, failed(ConnectionLost, No), THERE),
        (false, failed(DeadlineExceeded, Maybe), THERE),
        (true, failed(Cancelled, Maybe), LOST),
        (false, failed(Cancelled, Maybe), THERE),
    ] {
        judged(expected, Record { outcome, ..call(Kind::KeptUpload) }, log);
    }
    let mut late = Record { outcome: failed(Gap, Maybe), ..call(Kind::KeptUpload) };
    late.took = GIVEN_UP;
    judged(true, late.clone(), THERE);
    (late.took, late.plan.timed) = (Duration::ZERO, true);
    judged(true, late, THERE);
}

#[test]
fn a_resumable_stream_is_judged() {
    use Kind::{Kept, Resumed};
    /// The process of the node is another one.
    const LOST: &[Line] = &[LIFE, START, LIFE];
    const THERE: &[Line] = &[LIFE, START];
    const WHOLE: &[Line] = &[LIFE, START, END];
    const AGAIN: &[Line] = &[LIFE, START, RETRY, (2, "start 7 5"), (2, "end 7 5")];
    for (expected, kind, items, outcome, log) in [
        (true, Kept, &[0, 1, 2][..], Answered, WHOLE),
        (false, Kept, &[0, 2], Answered, WHOLE),
        (false, Kept, &[0, 1, 1, 2], Answered, WHOLE),
        (false, Kept, &[0, 1], Answered, WHOLE),
        (false, Kept, &[0, 1, 2], Answered, AGAIN),
        (true, Kept, &[0, 1], failed_after(2, Gap, Yes), LOST),
        (false, Kept, &[0, 1], failed_after(2, Gap, Yes), THERE),
        (false, Kept, &[0, 1], failed_after(3, Gap, Yes), LOST),
        (false, Kept, &[0, 1], failed_after(1, Gap, Yes), LOST),
        (false, Kept, &[0, 2], failed_after(2, Gap, Yes), LOST),
        (false, Kept, &[0, 1], failed_after(2, Gap, No), LOST),
        (false, Kept, &[0, 1], failed_after(2, NodeLost, Yes), LOST),
        (false, Kept, &[0, 1], failed_after(2, ConnectionLost, Yes), THERE),
        (true, Kept, &[], failed(ConnectionLost, Maybe), THERE),
        (false, Kept, &[0], failed_after(1, DeadlineExceeded, Yes), THERE),
        (false, Kept, &[0], failed_after(1, Cancelled, Yes), THERE),
        (true, Kept, &[0], failed_after(1, Cancelled, Yes), LOST),
        (true, Resumed, &[0, 1, 2], Answered, AGAIN),
        (false, Resumed, &[0, 1, 2], Answered, &[START, (1, "start 7 0"), (1, "end 7 0")]),
        (false, Resumed, &[0, 1], failed_after(2, Gap, Yes), LOST),
        (false, Resumed, &[0, 1], failed_after(2, NodeLost, Yes), LOST),
    ] {
        let mut record = Record { outcome, ..call(kind) };
        record.seen.items = items.to_vec();
        judged(expected, record, log);
    }
    let gap = || Record { outcome: failed(Gap, Yes), ..call(Resumed) };
    judged(true, Record { took: Duration::from_secs(31), ..gap() }, THERE);
    let mut once = gap();
    once.plan.never_again = true;
    judged(true, once.clone(), LOST);
    judged(false, once, THERE);
    let mut timed = Record { outcome: failed(DeadlineExceeded, Yes), ..call(Kept) };
    timed.plan.timed = true;
    judged(true, timed, THERE);
}

#[test]
fn a_job_is_judged() {
    const RAN: &[Line] = &[LIFE, START, END];
    const LOST: &[Line] = &[LIFE, START, LIFE];
    const TWICE: &[Line] = &[LIFE, START, END, RETRY, RETRY_END];
    let there = failed(NoSuchJob, Maybe);
    for (expected, cancels, outcome, again, log) in [
        (true, false, Answered, Answered, RAN),
        (false, false, Answered, Answered, TWICE),
        (false, false, Answered, Answered, &[LIFE]),
        (true, false, there.clone(), there.clone(), LOST),
        (false, false, there.clone(), there.clone(), RAN),
        (true, false, Answered, there.clone(), &[LIFE, START, END, LIFE]),
        (false, false, Answered, there.clone(), RAN),
        (false, false, there.clone(), Answered, &[LIFE, START, END, LIFE]),
        (true, false, there.clone(), there.clone(), &[LIFE, LIFE]),
        (false, false, there.clone(), there.clone(), &[LIFE]),
        (false, false, failed(NoNode, Maybe), failed(NoNode, Maybe), RAN),
        (false, false, failed(Cancelled, Yes), failed(Cancelled, Yes), RAN),
        (true, true, failed(Cancelled, Yes), failed(Cancelled, Yes), RAN),
        // It was cancelled before it began, or was not.
        (true, true, failed(Cancelled, No), failed(Cancelled, No), &[LIFE]),
        (false, true, failed(Cancelled, No), failed(Cancelled, No), RAN),
        (false, false, failed(NoSuchJob, No), failed(NoSuchJob, No), &[LIFE, LIFE]),
        (false, false, failed(NoSuchJob, Yes), failed(NoSuchJob, Yes), LOST),
        (false, true, Answered, failed(Cancelled, Yes), RAN),
        (false, false, failed(DeadlineExceeded, Yes), failed(DeadlineExceeded, Yes), RAN),
        (false, false, Answered, Wrong("value".into()), RAN),
        (false, false, Answered, Answered, &[(1, "start 7 0"), (1, "end 7 0")]),
    ] {
        let mut record = Record { outcome, ..call(Kind::Job) };
        record.plan.cancels = cancels;
        (record.seen.accepted, record.seen.result_again) = (Some(0), Some(again));
        judged(expected, record, log);
    }
    // One that is spawned again under its key: with this id, or at this node another one.
    let twice = [RAN, &[(0, "start 7 1"), (0, "end 7 1")]].concat();
    for (expected, again, log) in [
        (true, None, RAN),
        (false, None, &twice),
        (true, Some(1), TWICE),
        (false, Some(0), RAN),
        (false, Some(0), &twice),
        (true, Some(0), &[LIFE, START, END, LIFE]),
    ] {
        let mut record = call(Kind::Job);
        record.plan.spawns_again = true;
        record.seen.accepted = Some(0);
        record.seen.accepted_again = again;
        judged(expected, record, log);
    }
    // One that no node has accepted, as far as its caller knows.
    judged(true, Record { outcome: failed(ConnectionLost, Maybe), ..call(Kind::Job) }, RAN);
    judged(false, Record { outcome: failed(ConnectionLost, No), ..call(Kind::Job) }, RAN);
    judged(false, call(Kind::Job), RAN);
}

#[test]
fn the_calls_with_a_key_are_judged() {
    const RAN: &[Line] = &[LIFE, (0, "start 7 41"), (0, "end 7 41")];
    let answer = |run| Part { outcome: Answered, node: None, run: Some(run) };
    let error = |kind, executed| Part { outcome: failed(kind, executed), node: None, run: None };
    let twice = [RAN, &[(0, "start 7 42"), (0, "end 7 42")]].concat();
    let elsewhere = [RAN, &[(1, "life"), (1, "start 7 42"), (1, "end 7 42")]].concat();
    let later = [RAN, &[LIFE, (0, "start 7 42"), (0, "end 7 42")]].concat();
    for (expected, parts, log) in [
        (true, vec![answer(41), answer(41)], RAN),
        (false, vec![answer(41), answer(42)], RAN),
        (false, vec![answer(41), answer(42)], &twice),
        (false, vec![answer(41)], &twice),
        (true, vec![answer(41), answer(42)], &elsewhere),
        (true, vec![answer(41), answer(42)], &later),
        (false, vec![answer(41)], &[LIFE, (0, "start 7 41")]),
        (true, vec![answer(41), error(DeadlineExceeded, No)], RAN),
        (false, vec![error(NoNode, No), error(DeadlineExceeded, No)], RAN),
        (true, vec![error(NoNode, No), error(NodeLost, Maybe)], RAN),
        (false, vec![error(NodeLost, Yes)], &[LIFE]),
        (false, vec![answer(41), error(InvalidInput, No)], RAN),
        (false, vec![Part { outcome: Wrong("value".into()), node: None, run: None }], RAN),
    ] {
        let mut record = call(Kind::Keyed);
        record.seen.parts = parts;
        judged(expected, record, log);
    }
}

#[test]
fn a_call_with_a_second_one_beside_it_is_judged() {
    const BOTH: &[Line] = &[START, RETRY, RETRY_END];
    const RETRIED: &[Line] = &[START, RETRY, (2, "start 7 1"), (2, "end 7 1")];
    const TOO_OFTEN: &[Line] = &[START, RETRY, (2, "start 7 1"), (0, "start 7 1"), RETRY_END];
    for (expected, outcome, log) in [
        (true, Answered, &[START, END][..]),
        (true, Answered, BOTH),
        (true, Answered, RETRIED),
        (false, Answered, TOO_OFTEN),
        (false, Answered, &[START, (1, "start 7 0"), END]),
        (false, Answered, &[START, RETRY]),
        (true, failed(NodeLost, Maybe), &[START, RETRY]),
        (false, failed(NodeLost, No), &[RETRY]),
    ] {
        judged(expected, Record { outcome, ..call(Kind::Hedged) }, log);
    }
}

#[test]
fn a_batch_is_judged_by_its_callers() {
    const SECOND: Line = (1, "start 7 100");
    const SECOND_END: Line = (1, "end 7 100");
    const BOTH: &[Line] = &[START, SECOND, END, SECOND_END];
    for (expected, outcome, log) in [
        (true, Answered, BOTH),
        (false, Answered, &[START, SECOND, END]),
        (false, Answered, &[START, END]),
        (false, Answered, &[START, SECOND, END, SECOND_END, (0, "start 7 101")]),
        (false, Answered, &[START, RETRY, SECOND, END, SECOND_END]),
        (false, Wrong("8 instead of 7".into()), BOTH),
        (true, failed(NodeLost, Maybe), &[START, SECOND, END]),
        // It had left before the run began.
        (false, failed(DeadlineExceeded, No), BOTH),
        (true, failed(DeadlineExceeded, No), &[START, END]),
        (false, failed(NodeLost, Yes), &[START, END]),
    ] {
        let mut record = call(Kind::Batched);
        let first = Part { outcome: Answered, node: None, run: Some(0) };
        record.seen.parts = vec![first.clone(), Part { outcome, run: Some(1), ..first }];
        judged(expected, record, log);
    }
    // One that nobody waits for any more starts once, too.
    for (expected, log) in [(true, &[START, SECOND][..]), (false, &[SECOND, SECOND])] {
        judged(expected, Record { outcome: Dropped, ..call(Kind::Batched) }, log);
    }
}

#[test]
fn a_call_at_all_nodes_is_judged() {
    const ALL: &[Line] = &[START, END, (1, "start 7 0"), (1, "end 7 0")];
    let part = |node, outcome| Part { outcome, node, run: None };
    let (zero, one) = (Some(0), Some(1));
    for (expected, parts, outcome, log) in [
        (true, vec![part(zero, Answered), part(one, Answered)], Answered, ALL),
        (false, vec![part(zero, Answered), part(zero, Answered)], Answered, ALL),
        (false, vec![part(zero, Answered)], Answered, ALL),
        (true, vec![part(zero, Answered)], Dropped, ALL),
        (false, vec![], Answered, &[]),
        (false, vec![part(zero, Answered), part(one, Answered)], Answered, &[START, END]),
        (true, vec![part(zero, failed(NodeLost, Maybe))], Answered, &[START]),
        (false, vec![part(zero, failed(NodeLost, No))], Answered, &[START]),
        (false, vec![part(zero, failed(NodeLost, Yes))], Answered, &[]),
        (false, vec![part(zero, Wrong("node-1".into()))], Answered, &[START, END]),
        (true, vec![part(None, failed(NoNode, No))], Answered, &[]),
        (false, vec![part(None, failed(NoNode, No))], Answered, &[START]),
        (
            false,
            vec![part(None, failed(NoNode, No)), part(zero, Answered)],
            Answered,
            &[START, END],
        ),
        (false, vec![part(zero, Answered)], Answered, &[START, END, LIFE, (0, "start 7 0")]),
        (false, vec![part(zero, Answered)], Hung, &[START, END]),
    ] {
        let mut record = Record { outcome, ..call(Kind::OnAll) };
        record.seen.parts = parts;
        judged(expected, record, log);
    }
}

#[test]
fn the_readers_of_a_cached_stream_are_judged() {
    const RAN: &[Line] = &[START, END];
    const CUT: &[Line] = &[START];
    let reader = |items: &[u64], missed, outcome| Reader {
        is_early: true,
        items: items.to_vec(),
        missed,
        outcome,
    };
    let late =
        |items, missed, outcome| Reader { is_early: false, ..reader(items, missed, outcome) };
    let whole = || reader(&[0, 1, 2], 0, Answered);
    let cut = |delivered, executed| failed_after(delivered, NodeLost, executed);
    for (expected, second, log) in [
        (true, whole(), RAN),
        (false, whole(), CUT),
        (false, whole(), &[START, END, (1, "start 7 0"), (1, "end 7 0")]),
        (true, reader(&[0, 2], 1, Answered), RAN),
        (false, reader(&[0, 2], 0, Answered), RAN),
        (false, reader(&[0, 1, 2], 1, Answered), RAN),
        (false, reader(&[1, 2], 0, Answered), RAN),
        (true, late(&[1, 2], 0, Answered), RAN),
        (true, late(&[2], 1, Answered), RAN),
        (false, late(&[2], 3, Answered), RAN),
        (false, reader(&[0, 1], 0, Answered), RAN),
        (false, reader(&[0, 2, 1], 0, Answered), RAN),
        (false, reader(&[0, 1, 1, 2], 0, Answered), RAN),
        (false, reader(&[0, 1, 2], 0, cut(3, Yes)), RAN),
        (false, reader(&[0, 1, 2], 0, Dropped), RAN),
        (false, reader(&[0, 1, 2], 0, Wrong("item".into())), RAN),
    ] {
        let mut record = call(Kind::Cached);
        record.seen.readers = vec![whole(), second];
        judged(expected, record, log);
    }
    // All have the error, which counts the items of the stream.
    for (expected, first, second, log) in [
        (true, cut(2, Yes), cut(2, Yes), CUT),
        (false, cut(2, Yes), cut(2, Maybe), CUT),
        (false, cut(1, Yes), cut(1, Yes), CUT),
        (false, cut(2, Yes), cut(2, Yes), &[]),
        (false, cut(2, No), cut(2, No), CUT),
    ] {
        let mut record = call(Kind::Cached);
        record.seen.readers = vec![reader(&[0, 1], 0, first), late(&[1], 0, second)];
        judged(expected, record, log);
    }
    // Some have the end, others leave before it.
    let mut record = Record { outcome: Dropped, ..call(Kind::Cached) };
    record.seen.readers = vec![whole(), reader(&[0, 1], 0, Dropped)];
    judged(true, record, RAN);
}
