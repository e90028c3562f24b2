//! The results of the scenarios, as a table or as lines of JSON.

use std::io::{self, Write};

use serde::Serialize;

/// The outcome of all scenarios; written to standard output line by line, as they end.
#[derive(Debug)]
pub(crate) struct Report {
    jsonl: bool,
    scenarios: u32,
    passed: u32,
    seconds: f64,
}

/// The outcome of one scenario.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    pub(crate) scenario: &'static str,
    pub(crate) passed: bool,
    /// Seconds from the call to its first item, for streams.
    pub(crate) first_item: Option<f64>,
    /// Seconds in total.
    pub(crate) total: f64,
    /// Whether the items arrived in the order of their production, for streams.
    pub(crate) order_kept: Option<bool>,
    /// A note on what was measured, or the error.
    pub(crate) note: String,
}

impl Report {
    pub(crate) fn begin(jsonl: bool) -> io::Result<Self> {
        if !jsonl {
            line(["scenario", "result", "first item", "total", "order", ""])?;
        }
        Ok(Self { jsonl, scenarios: 0, passed: 0, seconds: 0.0 })
    }

    pub(crate) fn add(&mut self, row: &Row) -> io::Result<()> {
        self.scenarios += 1;
        self.passed += u32::from(row.passed);
        self.seconds += row.total;
        if self.jsonl {
            return writeln!(io::stdout(), "{}", serde_json::to_string(row)?);
        }
        let first = row.first_item.map_or_else(|| "-".to_owned(), milliseconds);
        let order = match row.order_kept {
            Some(true) => "kept",
            Some(false) => "BROKEN",
            None => "-",
        };
        let result = if row.passed { "passed" } else { "FAILED" };
        // An error is not shortened.
        let note = if row.passed { shortened(&row.note) } else { row.note.clone() };
        line([row.scenario, result, &first, &milliseconds(row.total), order, &note])
    }

    /// Ends the report. Returns whether all scenarios have passed.
    pub(crate) fn end(self) -> io::Result<bool> {
        let Self { jsonl, scenarios, passed, seconds } = self;
        if !jsonl {
            writeln!(io::stdout(), "{passed} of {scenarios} scenarios passed in {seconds:.1} s")?;
        }
        Ok(passed == scenarios)
    }
}

fn line([scenario, result, first, total, order, note]: [&str; 6]) -> io::Result<()> {
    let text = format!("{scenario:32} {result:6} {first:>10} {total:>10} {order:>6}  {note}");
    writeln!(io::stdout(), "{}", text.trim_end())
}

fn milliseconds(seconds: f64) -> String {
    format!("{:.1} ms", seconds * 1e3)
}

/// Shortens a text to what fits at the end of a line.
fn shortened(text: &str) -> String {
    const WIDTH: usize = 70;
    match text.char_indices().nth(WIDTH) {
        Some((end, _)) => format!("{}..", &text[..end]),
        None => text.to_owned(),
    }
}
