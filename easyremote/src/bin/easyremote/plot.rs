//! `easyremote stream --plot`: a number of each item as a live chart.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use easyremote::client::JsonStream;
use futures::StreamExt;
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout};
use ratatui::style::{Color, Style};
use ratatui::symbols::Marker;
use ratatui::text::Line;
use ratatui::widgets::{Axis, Block, Chart, Dataset, GraphType, Paragraph};
use serde_json::Value;

use crate::exit::Failure;
use crate::output::Output;
use crate::screen::{Key, Screen};

/// Draws the field of each item until a key ends it.
///
/// What fails before the first item ends it at once. What fails later is counted, and told at the
/// end, so that the picture can be looked at.
pub(crate) async fn plot(
    mut items: JsonStream,
    field: &str,
    title: &str,
    output: &Output,
) -> Result<(), Failure> {
    /// A person sees no more pictures in a second.
    const FRAME: Duration = Duration::from_millis(50);
    if !output.is_terminal() {
        return Err(Failure::Usage("`--plot` needs a terminal as standard output".to_owned()));
    }
    let mut plot = Plot::new(title, field, output.has_colour());
    let mut screen = Screen::open()?;
    let begun = Instant::now();
    let mut frames = tokio::time::interval(FRAME);
    let (mut dirty, mut failed) = (true, None::<Failure>);
    loop {
        tokio::select! {
            key = screen.key() => {
                match key? {
                    Key::Quit => return failed.map_or(Ok(()), Err),
                    Key::Pause => plot.paused = !plot.paused,
                    Key::Clear => plot.clear(),
                    _ => {}
                }
                dirty = true;
            }
            item = items.next(), if !plot.ended => {
                match item {
                    Some(Ok(item)) => plot.add(begun.elapsed().as_secs_f64(), &item),
                    Some(Err(error)) if plot.items == 0 => return Err(error.into()),
                    Some(Err(error)) => {
                        plot.errors += 1;
                        failed = Some(error.into());
                    }
                    None => plot.ended = true,
                }
                dirty = true;
            }
            _ = frames.tick(), if dirty => {
                screen.draw(|frame| plot.render(frame))?;
                dirty = false;
            }
        }
    }
}

/// The numbers that are drawn, with the seconds at which they came.
#[derive(Debug)]
struct Plot {
    title: String,
    field: String,
    points: VecDeque<(f64, f64)>,
    items: u64,
    /// Items without such a number.
    without: u64,
    /// Items that were errors, and an error that has ended the stream.
    errors: u64,
    paused: bool,
    ended: bool,
    colour: bool,
}

/// Points that are kept: more than a screen has columns.
const MAX_POINTS: usize = 2_000;

impl Plot {
    fn new(title: &str, field: &str, colour: bool) -> Self {
        Self {
            title: title.to_owned(),
            field: field.to_owned(),
            points: VecDeque::new(),
            items: 0,
            without: 0,
            errors: 0,
            paused: false,
            ended: false,
            colour,
        }
    }

    fn add(&mut self, at: f64, item: &Value) {
        self.items += 1;
        let Some(number) = field(item, &self.field).and_then(Value::as_f64) else {
            self.without += 1;
            return;
        };
        if self.paused {
            return;
        }
        if self.points.len() == MAX_POINTS {
            self.points.pop_front();
        }
        self.points.push_back((at, number));
    }

    fn clear(&mut self) {
        self.points.clear();
    }

    fn render(&self, frame: &mut Frame<'_>) {
        let rows = [Constraint::Length(1), Constraint::Min(3), Constraint::Length(1)];
        let [head, body, foot] = Layout::vertical(rows).areas(frame.area());
        frame.render_widget(Paragraph::new(self.status()), head);
        self.render_chart(frame, body);
        frame.render_widget(Paragraph::new("q quit   space pause   c clear"), foot);
    }

    fn status(&self) -> Line<'static> {
        let field = if self.field.is_empty() { "item" } else { &self.field };
        let last = self.points.back().map_or("-".to_owned(), |(_, last)| short(*last));
        let state = match (self.ended, self.paused) {
            (true, _) => "   ended",
            (false, true) => "   paused",
            (false, false) => "",
        };
        let without = match self.without {
            0 => String::new(),
            without => format!("   without a number: {without}"),
        };
        let errors = match self.errors {
            0 => String::new(),
            errors => format!("   errors: {errors}"),
        };
        let Self { title, items, .. } = self;
        Line::from(format!("{title}   {field}: {last}   items: {items}{without}{errors}{state}"))
    }

    fn render_chart(&self, frame: &mut Frame<'_>, area: ratatui::layout::Rect) {
        let points: Vec<_> = self.points.iter().copied().collect();
        let time = bounds(points.iter().map(|(at, _)| *at));
        let value = bounds(points.iter().map(|(_, number)| *number));
        let style = if self.colour { Style::new().fg(Color::Cyan) } else { Style::new() };
        let data = Dataset::default().marker(Marker::Braille).graph_type(GraphType::Line);
        let data = data.style(style).data(&points);
        let labels = |[low, high]: [f64; 2]| [low, (low + high) / 2.0, high].map(short);
        let x = Axis::default().bounds(time).labels(labels(time).map(|label| label + " s"));
        let y = Axis::default().bounds(value).labels(labels(value));
        let chart = Chart::new(vec![data]).block(Block::bordered()).x_axis(x).y_axis(y);
        frame.render_widget(chart, area);
    }
}

/// The number's place in an item: a JSON pointer, or names and indices between dots. Nothing, or a
/// single dot, is the item itself.
fn field<'a>(item: &'a Value, path: &str) -> Option<&'a Value> {
    if path.starts_with('/') {
        return item.pointer(path);
    }
    path.split('.').filter(|part| !part.is_empty()).try_fold(item, |value, part| match value {
        Value::Array(values) => values.get(part.parse::<usize>().ok()?),
        other => other.get(part),
    })
}

/// The range of some numbers, which is never empty.
fn bounds(numbers: impl Iterator<Item = f64>) -> [f64; 2] {
    let range = numbers.fold(None, |range: Option<[f64; 2]>, number| {
        let [low, high] = range.unwrap_or([number; 2]);
        Some([low.min(number), high.max(number)])
    });
    match range {
        None => [0.0, 1.0],
        Some([low, high]) if low == high => [low - 0.5, high + 0.5],
        Some(range) => range,
    }
}

/// A number in few characters.
fn short(number: f64) -> String {
    match number.abs() {
        0.0 => "0".to_owned(),
        size if (1e-3..1e6).contains(&size) => {
            let text = format!("{number:.3}");
            text.trim_end_matches('0').trim_end_matches('.').to_owned()
        }
        _ => format!("{number:.2e}"),
    }
}

#[cfg(test)]
mod tests {
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;
    use serde_json::json;

    use super::*;

    fn drawn(plot: &Plot, width: u16, height: u16) -> String {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal.draw(|frame| plot.render(frame)).unwrap();
        terminal.backend().to_string()
    }

    #[test]
    fn a_field_is_a_pointer_or_a_path() {
        let item = json!({"a": {"b.c": 1, "d": [2, {"e": 3}]}, "": 4});
        for (path, found) in [
            ("/a/b.c", Some(json!(1))),
            ("a.d.0", Some(json!(2))),
            ("a.d.1.e", Some(json!(3))),
            (".a.d.1.e", Some(json!(3))),
            ("/", Some(json!(4))),
            ("a.x", None),
            ("a.d.9", None),
            ("a.d.e", None),
        ] {
            assert_eq!(field(&item, path), found.as_ref(), "{path}");
        }
        assert_eq!((field(&item, ""), field(&item, ".")), (Some(&item), Some(&item)));
    }

    #[test]
    fn every_number_of_points_is_drawn_at_every_size() {
        for points in [0, 1, 2, 5_000] {
            let mut plot = Plot::new("sensor", "t", true);
            for n in 0..points {
                plot.add(f64::from(n), &json!({"t": 20 + n % 7}));
            }
            assert!(plot.points.len() <= MAX_POINTS);
            for (width, height) in [(200, 50), (80, 24), (20, 8), (3, 3), (1, 1)] {
                drawn(&plot, width, height);
            }
            let wide = drawn(&plot, 100, 20);
            assert!(wide.contains(&format!("items: {points}")), "{wide}");
            assert!(wide.contains("q quit"), "{wide}");
        }
    }

    #[test]
    fn numbers_of_every_size_are_drawn() {
        let mut plot = Plot::new("f", "", false);
        for number in [0.0, -1e300, 1e300, f64::MIN_POSITIVE, -0.0] {
            plot.add(0.0, &json!(number));
        }
        plot.add(1.0, &json!("text"));
        let wide = drawn(&plot, 100, 20);
        assert!(wide.contains("without a number: 1"), "{wide}");
        assert_eq!((&*short(0.0), &*short(21.5), &*short(-1e300)), ("0", "21.5", "-1.00e300"));
    }

    #[test]
    fn a_pause_keeps_the_picture() {
        let mut plot = Plot::new("f", "", false);
        plot.add(0.0, &json!(1));
        plot.paused = true;
        plot.add(1.0, &json!(2));
        assert_eq!((plot.points.len(), plot.items), (1, 2));
        assert!(drawn(&plot, 100, 20).contains("paused"));
        plot.clear();
        assert!(plot.points.is_empty());
    }
}
