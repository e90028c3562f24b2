//! What goes to standard output and standard error.

use std::io::{self, IsTerminal, Write};

use serde::Serialize;
use serde_json::Value;

use crate::exit::Failure;
use crate::json_text::escaped;
use crate::table::Table;

/// Where results and errors go, and in which form.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Output {
    /// One JSON document or JSON lines instead of text for people.
    pub(crate) json: bool,
    /// Standard output is a terminal.
    terminal: bool,
    /// Standard error is a terminal.
    error_terminal: bool,
    /// Colours are wanted.
    colour: bool,
}

impl Output {
    pub(crate) fn new(json: bool) -> Self {
        // https://no-color.org: any text but an empty one turns colours off.
        let colour = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Self {
            json,
            terminal: io::stdout().is_terminal(),
            error_terminal: io::stderr().is_terminal(),
            colour,
        }
    }

    /// Whether progress may be shown: never where a program reads along.
    pub(crate) fn shows_progress(&self) -> bool {
        self.error_terminal && !self.json
    }

    /// Whether standard output is a terminal for people.
    pub(crate) fn is_terminal(&self) -> bool {
        self.terminal
    }

    /// Whether a screen may have colours.
    pub(crate) fn has_colour(&self) -> bool {
        self.colour
    }

    /// Writes a text unchanged, and returns when it has been written.
    ///
    /// A reader that has stopped holds up this future, and neither signals nor the connection.
    pub(crate) async fn text(&self, text: String) -> Result<(), Failure> {
        let written = tokio::task::spawn_blocking(move || {
            let mut out = io::stdout().lock();
            out.write_all(text.as_bytes()).and_then(|()| out.flush())
        });
        let written = written.await.map_err(|error| Failure::Local(error.to_string()))?;
        written.map_err(|error| match error.kind() {
            io::ErrorKind::BrokenPipe => Failure::ClosedPipe,
            _ => Failure::Local(format!("cannot write to standard output: {error}")),
        })
    }

    /// Writes a line.
    pub(crate) async fn line(&self, line: impl Into<String>) -> Result<(), Failure> {
        let mut line = line.into();
        line.push('\n');
        self.text(line).await
    }

    /// Writes a value as JSON: on one line, or indented for a person.
    pub(crate) async fn value(&self, value: &Value) -> Result<(), Failure> {
        self.line(escaped(match self.terminal && !self.json {
            true => format!("{value:#}"),
            false => value.to_string(),
        }))
        .await
    }

    /// Writes a document as JSON on one line.
    pub(crate) async fn document(&self, document: &impl Serialize) -> Result<(), Failure> {
        let text = serde_json::to_string(document);
        self.line(escaped(text.map_err(|error| Failure::Local(error.to_string()))?)).await
    }

    /// Writes a table, with its head in bold on a terminal.
    pub(crate) async fn table(&self, table: &Table) -> Result<(), Failure> {
        let mut lines = table.lines();
        if self.terminal
            && self.colour
            && let Some(head) = lines.first_mut()
        {
            *head = format!("\x1b[1m{head}\x1b[0m");
        }
        self.line(lines.join("\n")).await
    }

    /// Writes a remark to standard error, for people only.
    pub(crate) fn remark(&self, text: &str) {
        if !self.json {
            let _ = writeln!(io::stderr(), "{text}");
        }
    }

    /// Writes a failure to standard error.
    pub(crate) fn failure(&self, failure: &Failure) {
        let mut err = io::stderr().lock();
        // There is nowhere left to report that this fails.
        let _ = if self.json {
            let object = failure.to_json().map(|object| escaped(object.to_string()));
            object.map_or(Ok(()), |object| writeln!(err, "{object}"))
        } else {
            let bold = self.error_terminal && self.colour;
            let head = if bold { "\x1b[1;31merror:\x1b[0m" } else { "error:" };
            let mut lines = failure.lines().into_iter();
            let first = lines.next().map_or(Ok(()), |line| writeln!(err, "{head} {line}"));
            lines.fold(first, |written, line| written.and_then(|()| writeln!(err, "  {line}")))
        };
    }
}
