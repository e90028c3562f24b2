//! What holds for a call of each kind, whatever was done to the parties meanwhile.

use std::time::Duration;

use easyremote::{ErrorKind, Executed};

use crate::calls::{Kind, MOST_ATTEMPTS, Outcome, Record};
use crate::functions::PARTS;
use crate::history::{Done, Lives, Run};

#[cfg(test)]
mod tests;

/// What is wrong with one call.
pub(crate) fn violations_of(record: &Record, done: &Done, lives: &Lives) -> Vec<&'static str> {
    let mut case = Case { record, done, lives, found: Vec::new() };
    case.judge();
    case.found
}

/// A call, what nodes did for it, and what is wrong.
struct Case<'a> {
    record: &'a Record,
    done: &'a Done,
    lives: &'a Lives,
    found: Vec<&'static str>,
}

/// A stream that could not be resumed for that long is given up: 30 s, less the last pause.
const GIVEN_UP: Duration = Duration::from_secs(28);

impl Case<'_> {
    fn claim(&mut self, holds: bool, otherwise: &'static str) {
        if !holds {
            self.found.push(otherwise);
        }
    }

    fn judge(&mut self) {
        let done = self.done;
        self.claim(done.ends.iter().all(|run| done.starts.contains(run)), "an end without a start");
        self.outcome();
        match self.record.plan.kind {
            Kind::Keyed => self.key(),
            Kind::Batched => self.batched(),
            Kind::OnAll => self.all_nodes(),
            Kind::Cached => {
                self.starts();
                self.readers();
            }
            Kind::Job => self.job(),
            Kind::Kept | Kind::Resumed => {
                self.starts();
                self.resumable();
            }
            Kind::KeptUpload => {
                self.starts();
                self.kept_upload();
            }
            _ => self.starts(),
        }
    }

    /// How often it started.
    fn starts(&mut self) {
        let (plan, starts) = (&self.record.plan, &self.done.starts);
        let mut attempts: Vec<_> = starts.iter().map(|run| run.number).collect();
        attempts.sort_unstable();
        if plan.kind == Kind::Hedged
            && let Some(second) = attempts.iter().position(|attempt| *attempt == 1)
        {
            // The call that is made beside the first one has the number of the first retry.
            attempts.remove(second);
        }
        let n = attempts.len();
        attempts.dedup();
        self.claim(attempts.len() == n, "one attempt started twice");
        let most = match plan.kind {
            // It starts again after each loss.
            _ if plan.starts_again() => usize::MAX,
            kind if kind.is_idempotent() => MOST_ATTEMPTS,
            _ => 1,
        };
        self.claim(n <= most, "it started too often");
    }

    /// What the caller got.
    fn outcome(&mut self) {
        let (record, done) = (self.record, self.done);
        let (plan, seen) = (&record.plan, &record.seen);
        let whole = record.outcome == Outcome::Answered;
        let wrong = plan.chain.judge(plan.items(), &seen.items, &seen.lists, whole);
        self.found.extend(wrong);
        match &record.outcome {
            // Each of its parts has an outcome.
            Outcome::Answered
                if matches!(
                    plan.kind,
                    Kind::Keyed | Kind::Batched | Kind::OnAll | Kind::Cached
                ) => {}
            // Its function may have been stopped before its end.
            Outcome::Answered if plan.chain.has_limit() => {
                self.claim(!done.starts.is_empty(), "it was answered and has not run");
            }
            Outcome::Answered => {
                self.claim(!done.ends.is_empty(), "it was answered and has not run");
            }
            Outcome::Failed { delivered, .. } => {
                let got = if seen.lists.is_empty() { seen.items.len() } else { seen.lists.len() };
                self.claim(*delivered == got as u64, "the error counts items wrongly");
                self.evidence(&record.outcome, done.starts.len());
            }
            Outcome::Dropped => {}
            Outcome::Wrong(_) => self.claim(false, "the caller got what it did not ask for"),
            Outcome::Hung => self.claim(false, "it never ended"),
        }
    }

    /// What an error says of whether the function has run.
    fn evidence(&mut self, outcome: &Outcome, starts: usize) {
        let Outcome::Failed { executed, .. } = outcome else { return };
        self.claim(*executed != Executed::No || starts == 0, "it ran, and the error denies it");
        let claimed = *executed == Executed::Yes;
        self.claim(!claimed || starts > 0, "it did not run; the error says so");
    }

    /// Whether the node of the call has had another process since, or may have had.
    fn node_was_lost(&self) -> bool {
        let is_over = |run: &Run| self.lives.last_of(run.node) > run.life;
        match &self.done.starts[..] {
            [start] => is_over(start),
            // Nothing tells in which process it was accepted.
            _ => {
                let was_lost = |node| self.lives.last_of(node) > 1;
                self.record.seen.accepted.map_or_else(|| (0..8).any(was_lost), was_lost)
            }
        }
    }

    /// A resumable stream goes on, or ends with one `Gap`.
    fn resumable(&mut self) {
        let (record, lost) = (self.record, self.node_was_lost());
        let plan = &record.plan;
        let Some(kind) = record.outcome.error_kind() else { return };
        let given_up = record.took >= GIVEN_UP || plan.timed;
        match kind {
            ErrorKind::Gap if plan.starts_again() => {
                self.claim(given_up, "a stream that can start again was given up");
            }
            ErrorKind::Gap => {
                self.claim(given_up || lost, "a stream was given up, and its node was there");
            }
            ErrorKind::DeadlineExceeded => self.claim(plan.timed, "it had no deadline"),
            ErrorKind::Cancelled => {
                self.claim(lost && !plan.starts_again(), "nobody has cancelled it");
            }
            _ => self.claim(record.seen.items.is_empty(), "a stream was lost without a `Gap`"),
        }
    }

    /// A client stream goes on, or ends with one `Gap`. Until its caller knows which node has the
    /// call, it ends as others do.
    fn kept_upload(&mut self) {
        let (record, lost) = (self.record, self.node_was_lost());
        let plan = &record.plan;
        let given_up = record.took >= GIVEN_UP || plan.timed;
        match record.outcome.error_kind() {
            Some(ErrorKind::Gap) => {
                self.claim(given_up || lost, "an upload was given up, and its node was there");
            }
            Some(ErrorKind::DeadlineExceeded) => self.claim(plan.timed, "it had no deadline"),
            Some(ErrorKind::Cancelled) => self.claim(lost, "nobody has cancelled it"),
            _ => {}
        }
    }

    /// A job that was accepted is found again until its node is lost.
    fn job(&mut self) {
        let (record, lost) = (self.record, self.node_was_lost());
        let (plan, seen) = (&record.plan, &record.seen);
        match plan.spawns_again {
            true => self.once_in_each_process(),
            false => self.starts(),
        }
        let Some(node) = seen.accepted else {
            let answered = record.outcome == Outcome::Answered;
            return self.claim(!answered, "a job was never accepted, and has a result");
        };
        let same_node = seen.accepted_again == Some(node);
        self.claim(!same_node || lost, "a key has two jobs while their node is there");
        let at_node = self.done.starts.iter().all(|run| run.node == node);
        self.claim(at_node || plan.spawns_again, "a job ran at another node");
        if let Outcome::Failed { kind, executed, .. } = &record.outcome {
            let fine = match kind {
                ErrorKind::NoSuchJob => lost,
                ErrorKind::Cancelled => lost || plan.cancels,
                ErrorKind::DeadlineExceeded => plan.timed,
                _ => false,
            };
            self.claim(fine, "an accepted job was not found again");
            // The node, or what has taken its place, cannot know what became of the job.
            let open = *kind != ErrorKind::NoSuchJob || *executed == Executed::Maybe;
            self.claim(open, "`NoSuchJob` says whether the job ran");
        }
        let Some(again) = &seen.result_again else { return };
        let same = match (&record.outcome, again) {
            (Outcome::Answered, Outcome::Answered) => true,
            (first, again) => {
                again.error_kind().is_some_and(|kind| Some(kind) == first.error_kind())
            }
        };
        let gone = lost && again.error_kind() == Some(ErrorKind::NoSuchJob);
        self.claim(same || gone, "a job had two results");
    }

    /// A node remembers a key for as long as it lives.
    fn once_in_each_process(&mut self) {
        let starts = &self.done.starts;
        let mut processes: Vec<_> = starts.iter().map(|run| (run.node, run.life)).collect();
        processes.sort_unstable();
        processes.dedup();
        let once = processes.len() == starts.len();
        self.claim(once, "a key ran twice while its node was there");
    }

    /// A key has one run in each life of a node, and its callers the answers of its runs.
    fn key(&mut self) {
        let (record, done) = (self.record, self.done);
        self.once_in_each_process();
        let mut denied = record.outcome == Outcome::Answered;
        for part in &record.seen.parts {
            match &part.outcome {
                Outcome::Answered => {
                    let ran = done.ends.iter().any(|run| Some(run.number) == part.run);
                    self.claim(ran, "a caller got the answer of no run of its key");
                }
                Outcome::Failed { kind, executed, .. } => {
                    let claimed = *executed == Executed::Yes;
                    let ran = !done.starts.is_empty();
                    self.claim(!claimed || ran, "it did not run; the error says so");
                    self.claim(*kind != ErrorKind::InvalidInput, "equal calls with a key differ");
                }
                _ => self.claim(false, "a caller got what it did not ask for"),
            }
            let no = matches!(part.outcome, Outcome::Failed { executed: Executed::No, .. });
            denied &= no;
        }
        self.claim(!denied || done.starts.is_empty(), "it ran, and all errors deny it");
    }

    /// Each call that may run in a batch with others is one for itself.
    fn batched(&mut self) {
        let done = self.done;
        let of = |runs: &[Run], part| runs.iter().filter(|run| run.number / PARTS == part).count();
        for run in &done.starts {
            let once = of(&done.starts, run.number / PARTS) == 1;
            self.claim(once, "it started too often");
        }
        for part in &self.record.seen.parts {
            let number = part.run.unwrap_or(u64::MAX);
            match &part.outcome {
                Outcome::Answered => {
                    self.claim(of(&done.ends, number) > 0, "it was answered and has not run");
                }
                Outcome::Failed { .. } => self.evidence(&part.outcome, of(&done.starts, number)),
                _ => self.claim(false, "a caller got what it did not ask for"),
            }
        }
    }

    /// Readers get items up to the same end, and what they lost is counted.
    fn readers(&mut self) {
        let (record, done) = (self.record, self.done);
        let mut ends: Vec<_> = record.seen.readers.iter().map(|reader| &reader.outcome).collect();
        for reader in &record.seen.readers {
            let ordered = reader.items.is_sorted_by(|one, two| one < two);
            self.claim(ordered, "a reader got items twice, or out of order");
            let behind_last = reader.items.last().map_or(0, |last| last + 1);
            let known = reader.items.len() as u64 + reader.missed;
            let counted = if reader.is_early { known == behind_last } else { known <= behind_last };
            self.claim(counted, "what a reader lost is not counted");
            match &reader.outcome {
                Outcome::Answered => {
                    self.claim(!done.ends.is_empty(), "it was answered and has not run");
                    self.claim(behind_last == record.plan.size, "a reader got the end too early");
                }
                Outcome::Failed { delivered, .. } => {
                    self.claim(behind_last == *delivered, "the error counts items wrongly");
                    self.evidence(&reader.outcome, done.starts.len());
                }
                Outcome::Dropped => {
                    let whole = record.outcome == Outcome::Answered;
                    self.claim(!whole, "a reader has no outcome");
                }
                _ => self.claim(false, "a reader got what it did not ask for"),
            }
        }
        ends.retain(|end| **end != Outcome::Dropped);
        self.claim(ends.windows(2).all(|ends| ends[0] == ends[1]), "readers got different ends");
    }

    /// Each node is called at most once, and each has an outcome.
    fn all_nodes(&mut self) {
        let (record, done) = (self.record, self.done);
        let parts = &record.seen.parts;
        let mut called: Vec<_> = parts.iter().map(|part| part.node).collect();
        called.sort_unstable();
        called.dedup();
        self.claim(called.len() == parts.len(), "a node has two outcomes");
        let asked = record.outcome != Outcome::Answered || !parts.is_empty();
        self.claim(asked, "a call at all nodes has no outcome");
        if called.contains(&None) {
            let alone = parts.len() == 1 && parts[0].outcome.error_kind().is_some();
            self.claim(alone, "no node was called, and there is more than an error");
        }
        for part in parts {
            let here = |run: &&Run| part.node.is_none_or(|node| run.node == node);
            match &part.outcome {
                Outcome::Answered => {
                    let ran = part.node.is_some() && done.ends.iter().any(|run| here(&run));
                    self.claim(ran, "a node has answered and not run");
                }
                Outcome::Failed { .. } => {
                    self.evidence(&part.outcome, done.starts.iter().filter(here).count());
                }
                _ => self.claim(false, "a node has answered something else"),
            }
        }
        let mut ran: Vec<_> = done.starts.iter().map(|run| run.node).collect();
        ran.sort_unstable();
        let n = ran.len();
        ran.dedup();
        self.claim(ran.len() == n, "it ran twice at one node");
        if record.outcome == Outcome::Answered {
            let known = ran.iter().all(|node| called.contains(&Some(*node)));
            self.claim(known, "it ran at a node that has no outcome");
        }
    }
}
