//! What was measured, as a table in Markdown: a row per figure, a column per party.

use std::collections::HashMap;
use std::fmt::Write;
use std::process::Command;

use crate::options::Options;

#[derive(Debug, Default)]
pub struct Table {
    /// In the order in which they came.
    rows: Vec<&'static str>,
    values: HashMap<(&'static str, &'static str), Vec<f64>>,
}

impl Table {
    /// Adds a measured value, if there is one.
    pub fn add(&mut self, name: &'static str, row: &'static str, value: Option<&f64>) {
        if !self.rows.contains(&row) {
            self.rows.push(row);
        }
        self.values.entry((row, name)).or_default().extend(value);
    }

    /// Median, and least and most in brackets.
    pub fn markdown(&self, names: &[&'static str], options: &Options) -> String {
        let mut text = format!(
            "{}; {} run{}, tokio runtime `{}`\n\n",
            circumstances(),
            options.runs,
            if options.runs == 1 { "" } else { "s" },
            options.runtime
        );
        // Writing to a `String` cannot fail.
        let _ = writeln!(text, "| | {} |\n|---|{}", names.join(" | "), "---|".repeat(names.len()));
        for row in &self.rows {
            let cells = names.iter().map(|name| self.cell(row, name));
            let _ = writeln!(text, "| {row} | {} |", cells.collect::<Vec<_>>().join(" | "));
        }
        text
    }

    fn cell(&self, row: &'static str, name: &'static str) -> String {
        let mut values = self.values.get(&(row, name)).cloned().unwrap_or_default();
        values.sort_unstable_by(f64::total_cmp);
        match values[..] {
            [] => String::from("-"),
            [only] => number(only),
            [least, .., most] => {
                let median = values[values.len() / 2];
                format!("{} ({}-{})", number(median), number(least), number(most))
            }
        }
    }
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
