//! easyremote against one rival, figure by figure, and against what this project aims at.

use std::fmt::Write;

use crate::options::Runtime;
use crate::table::{Table, cell, median};

const US: &str = crate::OURS;

/// What a figure is to be, as a multiple of another.
struct Goal {
    row: &'static str,
    against: Against,
    side: Side,
    /// On tokio's default runtime, and on the current thread; `None` if nothing is aimed at there.
    multi: Option<f64>,
    current: Option<f64>,
}

enum Against {
    /// The same row of this party.
    Party(&'static str),
    /// Another row of easyremote.
    Row(&'static str),
}

use Against::{Party, Row};

#[derive(Clone, Copy)]
enum Side {
    AtLeast,
    AtMost,
}

use Side::{AtLeast, AtMost};

impl Goal {
    const fn new(
        row: &'static str,
        against: Against,
        side: Side,
        [multi, current]: [Option<f64>; 2],
    ) -> Self {
        Self { row, against, side, multi, current }
    }

    fn on(&self, runtime: Runtime) -> Option<Bound> {
        let ratio = match runtime {
            Runtime::Multi => self.multi,
            Runtime::Current => self.current,
        };
        Some(Bound { ratio: ratio?, side: self.side })
    }
}

/// A goal on one runtime.
struct Bound {
    ratio: f64,
    side: Side,
}

impl Bound {
    fn text(&self) -> String {
        let side = match self.side {
            AtLeast => "at least",
            AtMost => "at most",
        };
        format!("{side} {}", self.ratio)
    }

    /// Whether the median is on the right side.
    fn met(&self, ratios: &[f64]) -> &'static str {
        if ratios.is_empty() {
            return "not measured";
        }
        let met = match self.side {
            AtLeast => median(ratios) >= self.ratio,
            AtMost => median(ratios) <= self.ratio,
        };
        if met { "met" } else { "missed" }
    }
}

const NATS: Against = Party("nats");

const GOALS: &[Goal] = &[
    Goal::new("p50 at 1 in flight, us", NATS, AtMost, [Some(1.0), Some(1.0)]),
    Goal::new("p50, all on one core, us", NATS, AtMost, [Some(1.2), Some(1.2)]),
    Goal::new("p99 at 1,000 calls/s, us", NATS, AtMost, [Some(1.0), Some(1.0)]),
    Goal::new("p99 at 5,000 calls/s, us", NATS, AtMost, [Some(1.0), Some(1.0)]),
    Goal::new("calls/s, 64 in flight", NATS, AtLeast, [Some(2.0), Some(1.6)]),
    Goal::new("CPU-s per 100,000 calls, 64 in flight", NATS, AtMost, [Some(0.45), Some(0.6)]),
    Goal::new(
        "CPU-s per 100,000 calls, sync function",
        Row("CPU-s per 100,000 calls, async function"),
        AtMost,
        [Some(1.3), None],
    ),
    Goal::new("calls/s, one client x 64, 50 nodes", NATS, AtLeast, [Some(1.0), None]),
    Goal::new("calls/s, 200 clients x 1, one node", NATS, AtLeast, [Some(1.0), None]),
    Goal::new("calls/s, 200 clients x 1, 50 nodes", NATS, AtLeast, [Some(1.0), None]),
    Goal::new("first item of a stream, us", NATS, AtMost, [Some(1.2), Some(1.0)]),
    Goal::new("64-byte items, million/s", NATS, AtLeast, [Some(5.5), Some(7.0)]),
    Goal::new("64 KiB items, MB/s", NATS, AtLeast, [Some(1.5), Some(1.5)]),
    Goal::new("500 clients at once, until all have called, ms", NATS, AtMost, [Some(3.0), None]),
    Goal::new("CPU-ms per connect and call: middle", NATS, AtMost, [Some(0.7), None]),
    Goal::new(
        "a process from start through one call to exit, ms",
        Party("tonic"),
        AtMost,
        [Some(5.0), None],
    ),
];

/// What one figure of easyremote is divided by.
struct Other<'a> {
    /// In the first column.
    title: String,
    row: &'a str,
    party: &'a str,
    goal: Option<&'a Goal>,
}

/// A row for each figure that both have, and for each goal.
pub fn markdown(table: &Table, rival: &str, runtime: Runtime) -> String {
    let mut text = format!(
        "{US} : {rival}, tokio runtime `{runtime}`\n\n\
         | | {US} | {rival} | ratio | goal | |\n|---|---|---|---|---|---|\n"
    );
    for row in table.rows() {
        for other in others(row, rival) {
            let ours = table.values_of(row, US);
            let theirs = table.values_of(other.row, other.party);
            let goal = other.goal.and_then(|goal| goal.on(runtime));
            if theirs.is_empty() && goal.is_none() {
                continue;
            }
            let ratios = ratios(ours, theirs);
            let (goal, met) = match goal {
                Some(goal) => (goal.text(), goal.met(&ratios)),
                None => (String::new(), ""),
            };
            // Writing to a `String` cannot fail.
            let _ = writeln!(
                text,
                "| {} | {} | {} | {} | {goal} | {met} |",
                other.title,
                table.cell(row, US),
                table.cell(other.row, other.party),
                cell(ratios)
            );
        }
    }
    text
}

fn others<'a>(row: &'a str, rival: &'a str) -> Vec<Other<'a>> {
    let mut others = vec![Other { title: row.to_owned(), row, party: rival, goal: None }];
    for goal in GOALS.iter().filter(|goal| goal.row == row) {
        match goal.against {
            Party(party) if party == rival => others[0].goal = Some(goal),
            Party(party) => {
                let title = format!("{row}, beside {party}");
                others.push(Other { title, row, party, goal: Some(goal) });
            }
            Row(other) => {
                let title = format!("{row}, beside {other}");
                others.push(Other { title, row: other, party: US, goal: Some(goal) });
            }
        }
    }
    others
}

/// Of the runs that have both, in order of size.
fn ratios(ours: &[(u32, f64)], theirs: &[(u32, f64)]) -> Vec<f64> {
    let of_run = |run| theirs.iter().find(|(their_run, _)| *their_run == run);
    let pairs = ours.iter().filter_map(|&(run, ours)| Some(ours / of_run(run)?.1));
    // What is too little to be measured is nothing to divide by.
    let mut ratios: Vec<f64> = pairs.filter(|ratio| ratio.is_finite()).collect();
    ratios.sort_unstable_by(f64::total_cmp);
    ratios
}
