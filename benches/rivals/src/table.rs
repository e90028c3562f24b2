//! What was measured, as a table in Markdown: a row per figure, a column per party.

use std::collections::HashMap;
use std::fmt::Write;
use std::process::Command;

use crate::options::Runtime;

#[derive(Debug, Default)]
pub struct Table {
    /// In the order in which they came.
    rows: Vec<&'static str>,
    /// By row and party; each with the number of its run.
    values: HashMap<(&'static str, &'static str), Vec<(u32, f64)>>,
    run: u32,
    /// Parties, and which part of theirs failed.
    failed: Vec<(&'static str, &'static str)>,
}

impl Table {
    /// Begins another run of all parties.
    pub fn next_run(&mut self) {
        self.run += 1;
    }

    /// Adds a row, with a measured value if there is one.
    pub fn add(&mut self, name: &'static str, row: &'static str, value: Option<f64>) {
        if !self.rows.contains(&row) {
            self.rows.push(row);
        }
        let values = self.values.entry((row, name)).or_default();
        values.extend(value.map(|value| (self.run, value)));
    }

    /// Notes that rows are missing.
    pub fn fail(&mut self, name: &'static str, part: &'static str) {
        self.failed.push((name, part));
    }

    /// What a party should have and does not: rows that have no value, and parts that failed.
    pub fn missing(&self, name: &'static str) -> Vec<&'static str> {
        let failed = self.failed.iter().filter(|(failed, _)| *failed == name);
        let empty = self.rows.iter().filter(|row| self.values_of(row, name).is_empty());
        failed.map(|(_, part)| *part).chain(empty.copied()).collect()
    }

    pub fn rows(&self) -> &[&'static str] {
        &self.rows
    }

    /// What was measured, with the number of the run.
    pub fn values_of(&self, row: &str, name: &str) -> &[(u32, f64)] {
        let mut all = self.values.iter();
        all.find(|(key, _)| **key == (row, name)).map_or(&[], |(_, values)| values)
    }

    /// Median, and least and most in brackets.
    pub fn markdown(&self, names: &[&'static str], runtime: Runtime) -> String {
        let runs = if self.run == 1 { "run" } else { "runs" };
        let mut text =
            format!("{}; {} {runs}, tokio runtime `{runtime}`\n\n", circumstances(), self.run);
        // Writing to a `String` cannot fail.
        let _ = writeln!(text, "| | {} |\n|---|{}", names.join(" | "), "---|".repeat(names.len()));
        for row in &self.rows {
            let cells = names.iter().map(|name| self.cell(row, name));
            let _ = writeln!(text, "| {row} | {} |", cells.collect::<Vec<_>>().join(" | "));
        }
        text
    }

    pub fn cell(&self, row: &str, name: &str) -> String {
        cell(self.values_of(row, name).iter().map(|(_, value)| *value).collect())
    }
}

/// Median, and least and most in brackets.
pub fn cell(mut values: Vec<f64>) -> String {
    values.sort_unstable_by(f64::total_cmp);
    match values[..] {
        [] => String::from("-"),
        [only] => number(only),
        [least, .., most] => {
            format!("{} ({}-{})", number(median(&values)), number(least), number(most))
        }
    }
}

/// Of values in order.
pub fn median(values: &[f64]) -> f64 {
    values[values.len() / 2]
}

/// Three digits that count, and no more precision than there is.
fn number(value: f64) -> String {
    match value.abs() {
        large if large >= 1_000.0 => {
            let rounded = 10_f64.powf(large.log10().floor() - 2.0);
            let thousands = ((value / rounded).round() * rounded) as i64;
            match thousands.abs() {
                n if n >= 10_000 => format!("{},{:03}", thousands / 1_000, thousands.abs() % 1_000),
                _ => thousands.to_string(),
            }
        }
        middle if middle >= 100.0 => format!("{value:.0}"),
        middle if middle >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

/// When, which commit, and on what.
fn circumstances() -> String {
    let run = |program: &str, arguments: &[&str]| {
        let output = Command::new(program).args(arguments).output().ok()?;
        Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let date = run("date", &["+%F"]).unwrap_or_default();
    let directory = env!("CARGO_MANIFEST_DIR");
    let commit = run("git", &["-C", directory, "rev-parse", "--short", "HEAD"]).unwrap_or_default();
    let kernel = run("uname", &["-s"]).unwrap_or_default();
    let cpus = std::thread::available_parallelism().map_or(0, |n| n.get());
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|line| line.strip_prefix("model name")?.split(": ").nth(1));
    format!("{date}, commit {commit}, {cpus} cores of {}, {kernel}", model.unwrap_or("?"))
}
