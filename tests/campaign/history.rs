//! Compares what callers saw with what nodes did.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use easyremote::Executed;

use crate::calls::{MOST_ATTEMPTS, Outcome, Record};

/// All that is known of a campaign.
#[derive(Clone, Debug, Default)]
pub(crate) struct History {
    pub(crate) records: Vec<Record>,
    done: HashMap<u64, Done>,
}

/// What nodes did for one call: the attempts that started, and those that ended.
#[derive(Clone, Debug, Default)]
struct Done {
    starts: Vec<u64>,
    ends: Vec<u64>,
}

impl History {
    pub(crate) fn new(records: Vec<Record>) -> Self {
        Self { records, ..Self::default() }
    }

    /// Adds what the log of a node says.
    pub(crate) fn read(&mut self, log: &Path) {
        for line in std::fs::read_to_string(log).unwrap().lines() {
            let [what, id, attempt] = line.split(' ').collect::<Vec<_>>()[..] else {
                panic!("`{line}` is no line of a log");
            };
            self.add(what, id.parse().unwrap(), attempt.parse().unwrap());
        }
    }

    fn add(&mut self, what: &str, id: u64, attempt: u64) {
        let done = self.done.entry(id).or_default();
        match what {
            "start" => done.starts.push(attempt),
            "end" => done.ends.push(attempt),
            _ => panic!("`{what}` is in no log"),
        }
    }

    /// Everything that must not be.
    pub(crate) fn violations(&self) -> Vec<String> {
        let mut found = Vec::new();
        let mut outcomes: HashMap<u64, usize> = HashMap::new();
        for record in &self.records {
            *outcomes.entry(record.id).or_default() += 1;
            let done = self.done.get(&record.id).cloned().unwrap_or_default();
            let wrong = check(record, &done);
            found.extend(wrong.into_iter().map(|what| format!("{what}: {record:?}, {done:?}")));
        }
        for id in self.done.keys().filter(|id| !outcomes.contains_key(id)) {
            found.push(format!("call {id} ran and has no outcome"));
        }
        for (id, n) in outcomes.into_iter().filter(|(_, n)| *n > 1) {
            found.push(format!("call {id} has {n} outcomes"));
        }
        found
    }

    /// How many starts were not of a call's first attempt.
    pub(crate) fn repeats(&self) -> u64 {
        let starts = self.done.values().flat_map(|done| &done.starts);
        starts.filter(|attempt| **attempt > 0).count() as u64
    }

    /// How many calls ended how.
    pub(crate) fn summary(&self) -> BTreeMap<String, usize> {
        let mut summary = BTreeMap::new();
        for record in &self.records {
            let how = match &record.outcome {
                Outcome::Answered => "answered".to_owned(),
                Outcome::Dropped => "dropped".to_owned(),
                Outcome::Wrong(_) => "WRONG".to_owned(),
                Outcome::Hung => "HUNG".to_owned(),
                Outcome::Failed { kind, executed, .. } => format!("{kind:?} ({executed:?})"),
            };
            *summary.entry(how).or_default() += 1;
        }
        summary
    }
}

/// What is wrong with one call.
fn check(record: &Record, done: &Done) -> Vec<&'static str> {
    let mut found = Vec::new();
    let mut claim = |holds: bool, otherwise: &'static str| {
        if !holds {
            found.push(otherwise);
        }
    };
    let (starts, ends) = (done.starts.len(), done.ends.len());
    let mut attempts = done.starts.clone();
    attempts.sort_unstable();
    attempts.dedup();
    claim(attempts.len() == starts, "one attempt started twice");
    claim(done.ends.iter().all(|attempt| attempts.contains(attempt)), "an end without a start");
    let most = if record.kind.is_idempotent() { MOST_ATTEMPTS } else { 1 };
    claim(starts <= most, "it started too often");
    match &record.outcome {
        Outcome::Answered => {
            claim(ends >= 1, "it was answered and has not run");
            claim(record.received == record.expected, "the end came before the last item");
        }
        Outcome::Failed { executed, delivered, .. } => {
            claim(*executed != Executed::No || starts == 0, "it ran, and the error denies it");
            claim(*executed != Executed::Yes || starts > 0, "it did not run; the error says so");
            claim(*delivered == record.received, "the error counts items wrongly");
        }
        Outcome::Dropped => {}
        Outcome::Wrong(_) => claim(false, "the caller got what it did not ask for"),
        Outcome::Hung => claim(false, "it never ended"),
    }
    found
}

/// The checker notices what it is there for.
#[cfg(test)]
mod tests {
    use super::*;
    use crate::calls::Kind;
    use easyremote::ErrorKind;

    fn failed(executed: Executed) -> Outcome {
        let text = String::new();
        Outcome::Failed { kind: ErrorKind::NodeLost, executed, delivered: 2, text }
    }

    /// Whether the history of one call is as it must be.
    fn holds(kind: Kind, received: u64, outcome: Outcome, log: &[(&str, u64)]) -> bool {
        let record = Record { id: 7, kind, expected: 3, received, outcome };
        let mut history = History::new(vec![record]);
        log.iter().for_each(|(what, attempt)| history.add(what, 7, *attempt));
        history.violations().is_empty()
    }

    #[test]
    fn a_history_is_judged() {
        use Executed::{Maybe, No, Yes};
        use Kind::{Items, ItemsAgain};
        use Outcome::{Answered, Dropped, Hung, Wrong};
        const ONCE: &[(&str, u64)] = &[("start", 0), ("end", 0)];
        const CUT: &[(&str, u64)] = &[("start", 0)];
        const TWICE: &[(&str, u64)] = &[("start", 0), ("start", 1), ("end", 1)];
        const SAME: &[(&str, u64)] = &[("start", 0), ("start", 0), ("end", 0)];
        const FOUR: &[(&str, u64)] = &[("start", 0), ("start", 1), ("start", 2), ("start", 3)];
        for (expected, kind, received, outcome, log) in [
            (true, Items, 3, Answered, ONCE),
            (false, Items, 2, Answered, ONCE),
            (false, Items, 3, Answered, CUT),
            (false, Items, 3, Answered, &[]),
            (false, Items, 3, Answered, &[("end", 0)]),
            (false, Items, 3, Answered, TWICE),
            (true, ItemsAgain, 3, Answered, TWICE),
            (false, ItemsAgain, 3, Answered, SAME),
            (false, ItemsAgain, 2, failed(Maybe), FOUR),
            (true, Items, 2, failed(No), &[]),
            (false, Items, 2, failed(No), CUT),
            (true, Items, 2, failed(Maybe), &[]),
            (true, Items, 2, failed(Maybe), CUT),
            (true, Items, 2, failed(Yes), CUT),
            (false, Items, 2, failed(Yes), &[]),
            (false, Items, 1, failed(Yes), CUT),
            (true, Items, 1, Dropped, CUT),
            (false, Items, 1, Dropped, SAME),
            (false, Items, 1, Hung, CUT),
            (false, Items, 1, Wrong("item".into()), CUT),
        ] {
            let shown = format!("{kind:?}, {received}, {outcome:?}, {log:?}");
            assert_eq!(holds(kind, received, outcome, log), expected, "{shown}");
        }
    }

    #[test]
    fn every_call_has_one_outcome() {
        let kind = Kind::Once;
        let outcome = Outcome::Dropped;
        let record = Record { id: 7, kind, expected: 0, received: 0, outcome };
        let mut history = History::new(vec![record.clone()]);
        assert_eq!(history.violations(), [""; 0]);
        history.add("start", 8, 0);
        assert_eq!(history.violations(), ["call 8 ran and has no outcome"]);
        history = History::new(vec![record.clone(), record]);
        assert_eq!(history.violations(), ["call 7 has 2 outcomes"]);
    }
}
