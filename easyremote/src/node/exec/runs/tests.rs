use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::error::Executed;
use crate::node::exec::kept_run::RunControl;
use crate::node::exec::table::tests::{context_of, function};
use crate::wire::header::CallHeader;
use crate::wire::kind::Kind;

/// Counts how often a run is cancelled or has to look at its deadline.
#[derive(Clone, Default)]
struct Counted(Arc<AtomicUsize>);

impl RunControl for Counted {
    fn cancel(&self, _: Error) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn expire(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// A call of identity `a`.
fn context(number: u8, key: Option<&str>) -> Context {
    let id = [number; 16];
    let header = CallHeader::new(id, "f".to_owned(), Kind::Unary, Codec::Bincode);
    context_of(CallHeader { key: key.map(Into::into), ..header }, "a", false)
}

struct Tried {
    runs: Arc<Runs>,
    kept: Arc<Kept>,
    control: Counted,
}

impl Tried {
    fn new() -> Self {
        let kept = Kept::new(64 << 20);
        Self { runs: Runs::new(&kept), kept, control: Counted::default() }
    }

    fn join(
        &self,
        purpose: RunUse,
        context: &Context,
        (digest, deadline): (u128, Option<Instant>),
    ) -> Result<Joined, Error> {
        let key = RunKey::of(context, digest);
        self.runs.join((purpose, Codec::Bincode), context, key, |_, charge| {
            let (of, form) = ((purpose, context.clone()), (Codec::Bincode, deadline));
            KeptRun::new(&function(false), of, form, Box::new(self.control.clone()), charge)
        })
    }

    fn new_run(&self, purpose: RunUse, context: &Context) -> RunHandle {
        match self.join(purpose, context, (1, None)).unwrap() {
            Joined::New(handle) => handle,
            Joined::Known(..) => panic!("it is there"),
        }
    }

    fn has(&self, number: u8) -> bool {
        self.runs.job("a", &[number; 16]).is_ok()
    }

    /// Whether all bytes have been released.
    fn is_empty(&self) -> bool {
        self.kept.charge("a", 16 << 20).is_ok()
    }
}

fn value() -> Result<Reply, Error> {
    Ok(vec![2, 0, 0, 0, 1, 7])
}

#[test]
fn answers_are_kept_for_their_time() {
    let tried = Tried::new();
    let second = Duration::from_secs(1);
    for number in [1, 2] {
        let mut run = tried.new_run(RunUse::Job, &context(number, None));
        assert!(run.note_start());
        run.end(value());
    }
    tried.runs.collect(&tried.runs.job("a", &[2; 16]).unwrap());
    let mut keyed = tried.new_run(RunUse::Call, &context(3, Some("k")));
    assert!(keyed.note_start());
    keyed.end(value());
    assert!(!tried.has(3), "it is no job");
    assert!(tried.runs.job("b", &[1; 16]).is_err());
    let end = crate::call::deadline::now();

    tried.runs.pass(end + COLLECTED - second);
    assert!(tried.has(1) && tried.has(2));
    let again = tried.join(RunUse::Call, &context(4, Some("k")), (1, None)).unwrap();
    assert!(matches!(again, Joined::Known(_, false)));
    tried.runs.pass(end + COLLECTED + second);
    assert!(tried.has(1) && !tried.has(2));
    assert!(!tried.is_empty());
    drop(again);
    drop(keyed);
    let mut keyed = tried.new_run(RunUse::Call, &context(5, Some("k")));
    keyed.end(Err(Error::new(ErrorKind::Overloaded, "no room")));
    drop(keyed);

    assert_eq!(tried.runs.lost().len(), 1);
    tried.runs.pass(end + UNCOLLECTED - second);
    assert!(tried.has(1));
    tried.runs.pass(end + UNCOLLECTED + second);
    assert!(!tried.has(1) && tried.is_empty());
    let table = tried.runs.table.lock();
    assert!(table.runs.is_empty() && table.jobs.is_empty() && table.keys.is_empty());
}

#[test]
fn only_what_has_not_started_frees_its_key() {
    for purpose in [RunUse::Call, RunUse::Job] {
        for (executed, frees) in
            [(Executed::No, true), (Executed::Maybe, false), (Executed::Yes, false)]
        {
            let tried = Tried::new();
            let mut run = tried.new_run(purpose, &context(1, Some("k")));
            let error = Error::new(ErrorKind::Cancelled, "cancelled").with_executed(executed);
            run.end(Err(error));
            let joined = tried.join(purpose, &context(2, Some("k")), (1, None)).unwrap();
            assert_eq!(matches!(joined, Joined::New(_)), frees, "{purpose:?} {executed:?}");
            let other = if purpose == RunUse::Call { RunUse::Job } else { RunUse::Call };
            for (purpose, digest) in [(purpose, 2), (other, 1)] {
                let error = tried.join(purpose, &context(3, Some("k")), (digest, None));
                let error = error.unwrap_err();
                assert_eq!(
                    (error.kind(), error.executed()),
                    (ErrorKind::InvalidInput, Executed::No)
                );
            }
        }
    }
}

#[test]
fn a_run_that_all_callers_leave_before_it_starts_never_starts() {
    for starts_first in [false, true] {
        let tried = Tried::new();
        let handle = tried.new_run(RunUse::Call, &context(1, Some("k")));
        let joined = tried.join(RunUse::Call, &context(2, Some("k")), (1, None)).unwrap();
        let Joined::Known(second, true) = joined else { panic!("{joined:?}") };
        assert!(!second.leave(), "the first caller is left");
        if starts_first {
            assert!(handle.note_start());
        }
        let proven = second.leave();
        assert_eq!(proven, !starts_first);
        assert_eq!(tried.control.0.load(Ordering::Relaxed), 1);
        assert!(!handle.note_start(), "it has ended");
        let joined = tried.join(RunUse::Call, &context(3, Some("k")), (1, None)).unwrap();
        assert_eq!(matches!(joined, Joined::New(_)), !starts_first, "{joined:?}");
        // The end of the old run does not touch the new one, which has its key.
        drop(handle);
        let again = tried.join(RunUse::Call, &context(4, Some("k")), (1, None)).unwrap();
        assert!(matches!(again, Joined::Known(_, counted) if counted != starts_first));
    }
}

#[test]
fn a_deadline_passes_once_and_not_after_the_end() {
    let tried = Tried::new();
    let deadline = crate::call::deadline::now() + Duration::from_secs(5);
    let second = Duration::from_secs(1);
    let mut handles = Vec::new();
    for number in [1, 2] {
        let joined = tried.join(RunUse::Job, &context(number, None), (1, Some(deadline)));
        let Joined::New(handle) = joined.unwrap() else { panic!("it is there") };
        handles.push(handle);
    }
    handles[0].end(value());
    tried.runs.pass(deadline - second);
    assert_eq!(tried.control.0.load(Ordering::Relaxed), 0);
    tried.runs.pass(deadline + second);
    tried.runs.pass(deadline + 2 * second);
    assert_eq!(tried.control.0.load(Ordering::Relaxed), 1);
    assert!(tried.has(1) && tried.has(2));
    tried.runs.close();
    assert_eq!(tried.control.0.load(Ordering::Relaxed), 2, "only what runs is cancelled");
}

#[test]
fn an_identity_has_a_limited_number_of_jobs() {
    let tried = Tried::new();
    let context = |n: usize| {
        let mut id = [0; 16];
        id[..8].copy_from_slice(&n.to_be_bytes());
        let header = CallHeader::new(id, "f".to_owned(), Kind::Unary, Codec::Bincode);
        context_of(header, "a", false)
    };
    let handles: Vec<_> = (0..MAX_JOBS).map(|n| tried.new_run(RunUse::Job, &context(n))).collect();
    let error = tried.join(RunUse::Job, &context(MAX_JOBS), (1, None)).unwrap_err();
    assert_eq!((error.kind(), error.executed()), (ErrorKind::Overloaded, Executed::No));
    let error = tried.join(RunUse::Job, &context(0), (1, None)).unwrap_err();
    assert_eq!((error.kind(), error.executed()), (ErrorKind::Protocol, Executed::Maybe));
    assert_eq!(tried.runs.jobs("a").len(), MAX_JOBS);
    drop(handles);
    assert!(tried.runs.jobs("a").iter().all(|run| run.is_ended()));
}
