//! Compares what callers saw with what nodes did.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use crate::calls::{Kind, Outcome, Record};
use crate::functions::MAX_BATCH;
use crate::rules::violations_of;

/// All that is known of a campaign.
#[derive(Clone, Debug, Default)]
pub(crate) struct History {
    pub(crate) records: Vec<Record>,
    done: HashMap<u64, Done>,
    lives: Lives,
    /// The sizes of all batches, and how many there were of each.
    batches: BTreeMap<u64, u64>,
}

/// What nodes did for one call: the runs that started, and those that ended.
#[derive(Clone, Debug, Default)]
pub(crate) struct Done {
    pub(crate) starts: Vec<Run>,
    pub(crate) ends: Vec<Run>,
}

/// A run of a function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Run {
    pub(crate) node: usize,
    /// Which process of the node, counted from 1.
    pub(crate) life: u64,
    /// The number of the attempt, or for a run of a key one of its own.
    pub(crate) number: u64,
}

/// How many processes of each node there were, one after the other.
#[derive(Clone, Debug, Default)]
pub(crate) struct Lives(Vec<u64>);

impl Lives {
    /// The process of a node that runs, or was the last one.
    pub(crate) fn last_of(&self, node: usize) -> u64 {
        self.0.get(node).copied().unwrap_or(0)
    }

    fn begin(&mut self, node: usize) {
        self.0.resize(self.0.len().max(node + 1), 0);
        self.0[node] += 1;
    }
}

impl History {
    pub(crate) fn new(records: Vec<Record>) -> Self {
        Self { records, ..Self::default() }
    }

    /// Adds what the log of a node says.
    pub(crate) fn read(&mut self, node: usize, log: &Path) {
        for line in std::fs::read_to_string(log).unwrap().lines() {
            self.add(node, line);
        }
    }

    /// Adds one line of the log of a node.
    pub(crate) fn add(&mut self, node: usize, line: &str) {
        let number = |text: &str| text.parse().unwrap();
        match line.split(' ').collect::<Vec<_>>()[..] {
            ["life"] => self.lives.begin(node),
            ["batch", size] => *self.batches.entry(number(size)).or_default() += 1,
            [what @ ("start" | "end"), id, of] => {
                let run = Run { node, life: self.lives.last_of(node), number: number(of) };
                let done = self.done.entry(number(id)).or_default();
                if what == "start" { done.starts.push(run) } else { done.ends.push(run) }
            }
            _ => panic!("`{line}` is no line of a log"),
        }
    }

    /// Everything that must not be.
    pub(crate) fn violations(&self) -> Vec<String> {
        let mut found = Vec::new();
        let mut outcomes: HashMap<u64, usize> = HashMap::new();
        for record in &self.records {
            *outcomes.entry(record.plan.id).or_default() += 1;
            let done = self.done.get(&record.plan.id).cloned().unwrap_or_default();
            let wrong = violations_of(record, &done, &self.lives);
            found.extend(wrong.into_iter().map(|what| format!("{what}: {record:?}, {done:?}")));
        }
        for id in self.done.keys().filter(|id| !outcomes.contains_key(id)) {
            found.push(format!("call {id} ran and has no outcome"));
        }
        for (id, n) in outcomes.into_iter().filter(|(_, n)| *n > 1) {
            found.push(format!("call {id} has {n} outcomes"));
        }
        for size in self.batches.keys().filter(|size| !(1..=MAX_BATCH).contains(size)) {
            found.push(format!("a batch of {size}"));
        }
        found
    }

    /// How many starts were not of a call's first attempt, and follow a retry.
    pub(crate) fn repeats(&self) -> u64 {
        let counts = |record: &&Record| record.plan.kind.counts_attempts();
        let done = self.records.iter().filter(counts).flat_map(|it| self.done.get(&it.plan.id));
        done.flat_map(|done| &done.starts).filter(|run| run.number > 0).count() as u64
    }

    /// How many calls there were of a kind.
    pub(crate) fn count(&self, kind: Kind) -> u64 {
        self.records.iter().filter(|record| record.plan.kind == kind).count() as u64
    }

    /// How often streams went on after a loss, and how many runs batches saved.
    pub(crate) fn figures(&self) -> [u64; 2] {
        let resumptions = self.records.iter().map(|record| record.seen.resumptions).sum();
        [resumptions, self.batches.iter().map(|(size, n)| (size - 1) * n).sum()]
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

/// The checker notices what it is there for; see `rules` for what holds for single calls.
#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::calls::{Plan, Seen};

    #[test]
    fn every_call_has_one_outcome() {
        let record = Record {
            plan: Plan::new(7, Kind::Once, 0),
            seen: Seen::default(),
            outcome: Outcome::Dropped,
            took: Duration::ZERO,
        };
        let mut history = History::new(vec![record.clone()]);
        assert_eq!(history.violations(), [""; 0]);
        history.add(0, "start 8 0");
        assert_eq!(history.violations(), ["call 8 ran and has no outcome"]);
        history = History::new(vec![record.clone(), record]);
        assert_eq!(history.violations(), ["call 7 has 2 outcomes"]);
    }

    #[test]
    fn batches_have_a_limit() {
        let mut history = History::default();
        history.add(0, &format!("batch {MAX_BATCH}"));
        assert_eq!(history.violations(), [""; 0]);
        history.add(1, &format!("batch {}", MAX_BATCH + 1));
        assert_eq!(history.violations(), [format!("a batch of {}", MAX_BATCH + 1)]);
    }
}
