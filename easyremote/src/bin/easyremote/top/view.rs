//! How readings look: on a screen of any size, and as text.

use easyremote::client::{FunctionInfo, NodeInfo, StreamStats};
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::Line;
use ratatui::widgets::{Block, Paragraph, Row, Table as TableWidget};

use super::reading::{Changes, Reading, failed};
use crate::screen::Key;
use crate::table::Table;
use crate::units::{show_bytes, show_duration};

/// The screen, with what a person has chosen to see.
#[derive(Debug)]
pub(super) struct View {
    reading: Option<Reading>,
    changes: Changes,
    error: Option<String>,
    focus: Focus,
    /// The first row of each table.
    scroll: [usize; 3],
    paused: bool,
    colour: bool,
}

/// The table that the arrow keys move.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Focus {
    Nodes,
    Functions,
    Streams,
}

/// Rows that a page key moves.
const PAGE: usize = 10;

/// The least width at which both tables stand beside each other.
const WIDE: u16 = 140;

const KEYS: &str = "q quit   tab other table   up/down/pgup/pgdn scroll   space pause";

impl View {
    pub(super) fn new(colour: bool) -> Self {
        Self {
            reading: None,
            changes: Changes::default(),
            error: None,
            focus: Focus::Nodes,
            scroll: [0; 3],
            paused: false,
            colour,
        }
    }

    /// Shows a new reading, unless the picture is paused.
    pub(super) fn show(&mut self, reading: Reading, changes: Changes) {
        self.error = None;
        if !self.paused {
            (self.reading, self.changes) = (Some(reading), changes);
        }
    }

    /// Shows an error beside the last reading.
    pub(super) fn fail(&mut self, error: String) {
        self.error = Some(error);
    }

    pub(super) fn press(&mut self, key: Key) {
        let rows = self.reading.as_ref().map_or([0; 3], |reading| {
            [reading.nodes.len(), reading.functions.len(), reading.streams.len()]
        })[self.focus as usize];
        let scroll = &mut self.scroll[self.focus as usize];
        *scroll = match key {
            Key::Up => scroll.saturating_sub(1),
            Key::Down => *scroll + 1,
            Key::PageUp => scroll.saturating_sub(PAGE),
            Key::PageDown => *scroll + PAGE,
            _ => *scroll,
        }
        .min(rows.saturating_sub(1));
        match key {
            Key::Next => {
                self.focus = match self.focus {
                    Focus::Nodes => Focus::Functions,
                    Focus::Functions if self.shows_streams() => Focus::Streams,
                    _ => Focus::Nodes,
                }
            }
            Key::Pause => self.paused = !self.paused,
            _ => {}
        }
    }

    pub(super) fn render(&self, frame: &mut Frame<'_>) {
        let rows = [Constraint::Length(2), Constraint::Min(0), Constraint::Length(1)];
        let [head, body, foot] = Layout::vertical(rows).areas(frame.area());
        frame.render_widget(Paragraph::new(self.head()), head);
        let foot_line = if self.paused { format!("{KEYS}   PAUSED") } else { KEYS.to_owned() };
        frame.render_widget(Paragraph::new(foot_line), foot);
        let Some(reading) = &self.reading else { return };
        // Half of the height, at most.
        let n_streams = u16::try_from(reading.streams.len()).unwrap_or(u16::MAX);
        let streams = match self.shows_streams() {
            true => Constraint::Length(n_streams.saturating_add(3).min(body.height / 2)),
            false => Constraint::Length(0),
        };
        let [body, streams] = Layout::vertical([Constraint::Fill(1), streams]).areas(body);
        if self.shows_streams() {
            self.render_streams(frame, streams, reading);
        }
        let halves = [Constraint::Fill(1), Constraint::Fill(1)];
        let [nodes, functions] = match body.width >= WIDE {
            true => Layout::horizontal(halves).areas(body),
            false => Layout::vertical(halves).areas(body),
        };
        self.render_nodes(frame, nodes, &reading.nodes);
        self.render_functions(frame, functions, reading);
    }

    fn head(&self) -> Vec<Line<'static>> {
        let first = match &self.error {
            Some(error) => {
                let red = Style::new().fg(Color::Red);
                Line::styled(format!("no answer: {error}"), self.style(red))
            }
            None => Line::from(self.reading.as_ref().map_or("asking ..".to_owned(), summary)),
        };
        let second = self.reading.as_ref().map(|reading| counters(reading, self.changes.calls));
        vec![first, Line::from(second.unwrap_or_default())]
    }

    fn style(&self, style: Style) -> Style {
        if self.colour { style } else { Style::new() }
    }

    fn render_nodes(&self, frame: &mut Frame<'_>, area: Rect, nodes: &[NodeInfo]) {
        let widths = [
            Constraint::Fill(3),
            Constraint::Length(7),
            Constraint::Length(7),
            Constraint::Length(5),
            Constraint::Length(9),
            Constraint::Fill(2),
        ];
        let head = ["NODE", "RUNNING", "WAITING", "CPU", "MEMORY", "TAGS"];
        let cells = |node: &NodeInfo| node_cells(node).into();
        self.render_table(
            frame,
            area,
            (Focus::Nodes, "nodes"),
            nodes,
            (head.into(), &widths, &cells),
        );
    }

    fn render_functions(&self, frame: &mut Frame<'_>, area: Rect, reading: &Reading) {
        let number = Constraint::Length(7);
        let narrow = Constraint::Length(6);
        let time = Constraint::Length(8);
        let widths = [
            Constraint::Fill(1),
            narrow,
            Constraint::Length(5),
            number,
            number,
            time,
            time,
            narrow,
        ];
        let cells =
            |function: &FunctionInfo| function_cells(function, reading, &self.changes).into();
        let columns: Columns<'_, _> = (FUNCTION_HEAD.into(), &widths, &cells);
        let all = &reading.functions;
        self.render_table(frame, area, (Focus::Functions, "functions"), all, columns);
    }

    fn shows_streams(&self) -> bool {
        self.reading.as_ref().is_some_and(|reading| !reading.streams.is_empty())
    }

    fn render_streams(&self, frame: &mut Frame<'_>, area: Rect, reading: &Reading) {
        let number = Constraint::Length(10);
        let widths = [
            Constraint::Fill(2),
            Constraint::Fill(2),
            Constraint::Fill(3),
            number,
            Constraint::Length(9),
            Constraint::Length(8),
            Constraint::Length(16),
        ];
        let cells = |stream: &StreamStats| stream_cells(stream, &self.changes).into();
        let columns: Columns<'_, _> = (STREAM_HEAD.into(), &widths, &cells);
        self.render_table(frame, area, (Focus::Streams, "streams"), &reading.streams, columns);
    }

    /// Renders those rows that the area has room for.
    fn render_table<T>(
        &self,
        frame: &mut Frame<'_>,
        area: Rect,
        (focus, name): (Focus, &str),
        all: &[T],
        (head, widths, cells): Columns<'_, T>,
    ) {
        let first = self.scroll[focus as usize].min(all.len().saturating_sub(1));
        // Two lines of the border and one of the head.
        let room = usize::from(area.height.saturating_sub(3));
        let shown = &all[first..(first + room).min(all.len())];
        let title = match shown.len() {
            shown if shown < all.len() => {
                format!(" {name}: {} to {} of {} ", first + 1, first + shown, all.len())
            }
            _ => format!(" {name}: {} ", all.len()),
        };
        let bold = Style::new().add_modifier(Modifier::BOLD);
        let border = if self.focus == focus { bold } else { Style::new() };
        let rows = shown.iter().map(|row| Row::new(cells(row)));
        let table = TableWidget::new(rows, widths).header(Row::new(head).style(bold));
        let table = table.block(Block::bordered().title(title).border_style(border));
        frame.render_widget(table, area);
    }
}

/// The head of a table, the widths of its columns, and the cells of a row.
type Columns<'a, T> = (Vec<&'static str>, &'a [Constraint], &'a dyn Fn(&T) -> Vec<String>);

fn node_cells(node: &NodeInfo) -> [String; 6] {
    let dash = || "-".to_owned();
    let load = node.load;
    let memory = load.and_then(|load| load.memory);
    [
        node.id.clone(),
        node.in_flight.to_string(),
        load.map_or_else(dash, |load| load.waiting.to_string()),
        load.and_then(|load| load.cpu_percent).map_or_else(dash, |cpu| format!("{cpu} %")),
        memory.map_or_else(dash, |memory| show_bytes(memory.used)),
        node.tags.join(","),
    ]
}

const FUNCTION_HEAD: [&str; 8] =
    ["FUNCTION", "KIND", "NODES", "RUNNING", "CALLS/S", "P50", "P99", "FAILED"];

/// The figures of calls are those of the gateway since its start, but for the rate.
fn function_cells(function: &FunctionInfo, reading: &Reading, changes: &Changes) -> [String; 8] {
    let dash = || "-".to_owned();
    let stats = reading.figures.get(&function.name);
    let quantile =
        |share| stats.and_then(|stats| stats.ran.quantile(share)).map_or_else(dash, show_duration);
    let rate = changes.functions.get(&function.name);
    [
        function.name.clone(),
        function.kind.to_string(),
        function.nodes.len().to_string(),
        stats.map_or_else(dash, |stats| stats.in_flight.to_string()),
        rate.map_or_else(dash, |rate| format!("{rate:.1}")),
        quantile(0.5),
        quantile(0.99),
        stats.map_or_else(dash, |stats| failed(stats).to_string()),
    ]
}

const STREAM_HEAD: [&str; 7] = ["STREAM", "NODE", "CALLER", "ITEMS", "ITEMS/S", "AGE", "STALLED"];

/// A stream that stalls waits for its reader now; otherwise it says for how long it has, in all.
fn stream_cells(stream: &StreamStats, changes: &Changes) -> [String; 7] {
    let dash = || "-".to_owned();
    let stalled = match stream.stalled_for {
        Some(now) => format!("for {}", show_duration(now)),
        None if stream.stalled.is_zero() => dash(),
        None => format!("{} in all", show_duration(stream.stalled)),
    };
    let rate = changes.streams.get(&stream.number);
    [
        stream.function.clone(),
        stream.node.clone(),
        format!("{} ({})", stream.caller.identity, stream.caller.id),
        stream.items.to_string(),
        rate.map_or_else(dash, |rate| format!("{rate:.1}")),
        show_duration(stream.age),
        stalled,
    ]
}

/// What clients and admins see.
fn summary(reading: &Reading) -> String {
    let (nodes, functions) = (reading.nodes.len(), reading.functions.len());
    format!("nodes {nodes}   functions {functions}   running {}", reading.running())
}

/// What admins see.
fn counters(reading: &Reading, calls: Option<f64>) -> String {
    let Some(stats) = &reading.gateway else {
        return "the gateway's counters are for admins: use an admin's ticket".to_owned();
    };
    let rate = calls.map(|calls| format!(" ({calls:.1}/s)")).unwrap_or_default();
    format!(
        "calls {}{rate}   in flight {}   waiting {}   streams {}   clients {}   refused {}",
        stats.calls, stats.in_flight, stats.waiting, stats.streams, stats.clients, stats.refused
    )
}

/// The reading as text.
pub(super) fn text(reading: &Reading) -> String {
    let mut nodes = Table::new(["NODE", "RUNNING", "WAITING", "CPU", "MEMORY", "TAGS"]);
    reading.nodes.iter().for_each(|node| nodes.row(node_cells(node)));
    let mut functions = Table::new(FUNCTION_HEAD);
    for function in &reading.functions {
        functions.row(function_cells(function, reading, &Changes::default()));
    }
    let mut lines = vec![summary(reading), counters(reading, None), String::new()];
    lines.extend(nodes.lines());
    lines.push(String::new());
    lines.extend(functions.lines());
    if !reading.streams.is_empty() {
        let mut streams = Table::new(STREAM_HEAD);
        reading.streams.iter().for_each(|it| streams.row(stream_cells(it, &Changes::default())));
        lines.push(String::new());
        lines.extend(streams.lines());
    }
    lines.join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use ratatui::Terminal;
    use ratatui::backend::TestBackend;
    use serde_json::{from_value, json};

    use super::*;

    fn reading(n: usize) -> Reading {
        let nodes = (0..n).map(|i| {
            json!({
                "id": format!("node-{i:04}"), "tags": ["gpu", "eu"], "functions": ["add"],
                "in_flight": i, "load": {"in_flight": i, "waiting": 0, "cpu_percent": 7,
                "memory": {"used": 1_u64 << 30, "total": 2_u64 << 30}},
            })
        });
        let functions = (0..n).map(|i| {
            json!({
                "name": format!("function_{i:04}"), "kind": "unary", "parameters": [],
                "signature": "() -> ()", "doc": "", "nodes": ["node-0000"],
            })
        });
        let gateway = from_value(json!({"calls": 4711, "streams": 3})).unwrap();
        Reading {
            at: Instant::now(),
            nodes: nodes.map(|node| from_value(node).unwrap()).collect(),
            functions: functions.map(|function| from_value(function).unwrap()).collect(),
            gateway: Some(gateway),
            figures: std::collections::HashMap::new(),
            streams: Vec::new(),
        }
    }

    /// The same, with figures of the first function.
    fn busy(n: usize) -> Reading {
        let mut counts = [0; 20];
        counts[4] = 100;
        let histogram = json!({"buckets": counts, "sum_seconds": 1.0});
        let stats = from_value(json!({
            "function": "function_0000", "in_flight": 17, "waiting": 0, "returned": 93,
            "faults": 2, "errors": {"Panicked": 5}, "queued": histogram, "ran": histogram,
            "items": 0, "bytes": 0, "skipped": 0, "stalled_seconds": 0.0,
        }));
        let figures = [("function_0000".to_owned(), stats.unwrap())].into();
        Reading { figures, ..reading(n) }
    }

    fn rate(calls: f64) -> Changes {
        let functions = [("function_0000".to_owned(), calls)].into();
        Changes { calls: Some(calls), functions, ..Changes::default() }
    }

    fn drawn(view: &View, width: u16, height: u16) -> String {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal.draw(|frame| view.render(frame)).unwrap();
        terminal.backend().to_string()
    }

    #[test]
    fn none_one_and_a_thousand_nodes_fit_every_screen() {
        for n in [0, 1, 1_000] {
            let mut view = View::new(true);
            view.show(busy(n), rate(12.5));
            for (width, height) in [(200, 50), (110, 30), (80, 24), (20, 10), (5, 5), (1, 1)] {
                drawn(&view, width, height);
            }
            for (width, height) in [(200, 50), (80, 24)] {
                let picture = drawn(&view, width, height);
                assert!(picture.contains(&format!("nodes {n} ")), "{picture}");
                assert!(picture.contains("calls 4711 (12.5/s)"), "{picture}");
                assert!(picture.contains("q quit"), "{picture}");
                assert_eq!(picture.contains("node-0000"), n > 0, "{picture}");
            }
            if n > 0 {
                let row = drawn(&view, 200, 50);
                let row = row.lines().find(|line| line.contains("function_0000")).unwrap();
                for part in [" 17 ", " 12.5 ", " 1.8 ms ", " 7"] {
                    assert!(row.contains(part), "{part}: {row}");
                }
            }
            assert_eq!(text(&reading(n)).lines().count(), 6 + 2 * n);
        }
    }

    /// A reading with this many streams, of which the first stalls.
    fn with_streams(n: u64) -> Reading {
        let stream = |number: u64| {
            from_value(json!({
                "key": number, "function": format!("camera_{number:04}"), "node": "node-0000",
                "caller": {"role": "client", "id": "client-7", "identity": "web",
                "address": "127.0.0.1:1"}, "items": 100, "bytes": 1, "skipped": 0,
                "age_seconds": 61.0, "quiet_seconds": 0.0, "stalled_seconds": 2.0,
                "stalled_for_seconds": (number == 0).then_some(1.5),
            }))
        };
        Reading { streams: (0..n).map(|n| stream(n).unwrap()).collect(), ..reading(3) }
    }

    #[test]
    fn streams_are_rows_that_say_who_is_slow() {
        let mut view = View::new(true);
        let changes = Changes { streams: [(0, 2.5)].into(), ..Changes::default() };
        for n in [1, 2, 1_000] {
            view.show(with_streams(n), changes.clone());
            for (width, height) in [(200, 50), (110, 30), (80, 24), (20, 10), (5, 5), (1, 1)] {
                drawn(&view, width, height);
            }
            let picture = drawn(&view, 160, 30);
            let row = picture.lines().find(|line| line.contains("camera_0000")).unwrap();
            for part in ["node-0000", "web (client-7)", " 100 ", " 2.5 ", "1 m 1 s", "for 1.5 s"] {
                assert!(row.contains(part), "{part}: {row}");
            }
            assert!(n < 2 || picture.contains("2.0 s in all"), "{picture}");
            assert!(picture.contains("node-0000") && picture.contains("function_0000"));
        }
        (0..2).for_each(|_| view.press(Key::Next));
        view.press(Key::PageDown);
        assert!(drawn(&view, 160, 30).contains("streams: 11 to "));
        assert!(text(&with_streams(2)).contains("camera_0001"));
        view.show(reading(1), Changes::default());
        assert!(!drawn(&view, 160, 30).contains("streams:"));
        view.press(Key::Next);
        view.press(Key::Down);
    }

    #[test]
    fn keys_move_through_the_focused_table() {
        let mut view = View::new(false);
        view.show(reading(1_000), Changes::default());
        assert!(drawn(&view, 150, 20).contains("nodes: 1 to 14 of 1000"));
        view.press(Key::PageDown);
        view.press(Key::Down);
        let moved = drawn(&view, 150, 20);
        assert!(moved.contains("node-0011") && !moved.contains("node-0010"), "{moved}");
        assert!(moved.contains("function_0000"), "{moved}");
        view.press(Key::Next);
        view.press(Key::Down);
        assert!(!drawn(&view, 150, 20).contains("function_0000"));
        view.press(Key::Next);
        for _ in 0..200 {
            view.press(Key::PageDown);
        }
        assert!(drawn(&view, 150, 20).contains("node-0999"));
        // Fewer nodes than the first row that was chosen.
        view.show(reading(1), Changes::default());
        assert!(drawn(&view, 150, 20).contains("node-0000"));
        view.press(Key::Up);
        view.press(Key::PageUp);
        assert!(drawn(&view, 150, 20).contains("node-0000"));
    }

    #[test]
    fn an_error_and_a_pause_leave_the_last_reading() {
        let mut view = View::new(true);
        assert!(drawn(&view, 80, 24).contains("asking .."));
        view.show(reading(1), Changes::default());
        view.fail("the gateway is gone".to_owned());
        let picture = drawn(&view, 80, 24);
        assert!(picture.contains("the gateway is gone") && picture.contains("node-0000"));
        view.press(Key::Pause);
        view.show(reading(0), Changes::default());
        let picture = drawn(&view, 80, 24);
        assert!(picture.contains("PAUSED") && picture.contains("node-0000"), "{picture}");
        view.show(Reading { gateway: None, ..reading(0) }, Changes::default());
        view.press(Key::Pause);
        view.show(Reading { gateway: None, ..reading(0) }, Changes::default());
        assert!(drawn(&view, 80, 24).contains("for admins"));
    }
}
