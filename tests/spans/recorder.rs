//! A subscriber that keeps all spans of calls and all events of the tests.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt::Debug;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{LazyLock, Mutex, Once};

use tracing::field::{Field, Visit};
use tracing::{Event, Metadata, Subscriber, span};

/// A span, as it was recorded.
#[derive(Clone, Debug, Default)]
pub(crate) struct Recorded {
    pub(crate) id: u64,
    pub(crate) name: &'static str,
    pub(crate) parent: Option<u64>,
    pub(crate) links: Vec<u64>,
    pub(crate) fields: HashMap<&'static str, String>,
    /// How often each field was recorded.
    pub(crate) times: HashMap<&'static str, usize>,
    handles: usize,
    pub(crate) closed: bool,
}

impl Recorded {
    pub(crate) fn field(&self, name: &str) -> &str {
        self.fields.get(name).map_or("", String::as_str)
    }
}

/// An event of a test, and the spans that it was in, the innermost first.
#[derive(Clone, Debug)]
pub(crate) struct Said {
    pub(crate) key: u64,
    pub(crate) within: Vec<u64>,
}

struct Recorder;

static SPANS: LazyLock<Mutex<HashMap<u64, Recorded>>> = LazyLock::new(Mutex::default);
static SAID: Mutex<Vec<Said>> = Mutex::new(Vec::new());
static NEXT: AtomicU64 = AtomicU64::new(1);

thread_local! {
    static CURRENT: RefCell<Vec<u64>> = const { RefCell::new(Vec::new()) };
}

fn current() -> Option<u64> {
    CURRENT.with_borrow(|stack| stack.last().copied())
}

struct Fields<'a>(&'a mut Recorded);

impl Visit for Fields<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.fields.insert(field.name(), value.to_owned());
        *self.0.times.entry(field.name()).or_default() += 1;
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.record_str(field, &format!("{value:?}"));
    }
}

struct Key(Option<u64>);

impl Visit for Key {
    fn record_u64(&mut self, field: &Field, value: u64) {
        if field.name() == "key" {
            self.0 = Some(value);
        }
    }

    fn record_debug(&mut self, _: &Field, _: &dyn Debug) {}
}

impl Subscriber for Recorder {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "easyremote::trace" || metadata.target().starts_with("spans")
    }

    fn new_span(&self, attributes: &span::Attributes<'_>) -> span::Id {
        let id = NEXT.fetch_add(1, Ordering::Relaxed);
        let parent = match attributes.parent() {
            Some(parent) => Some(parent.into_u64()),
            None if attributes.is_root() => None,
            None => current(),
        };
        let name = attributes.metadata().name();
        let mut span = Recorded { id, name, parent, handles: 1, ..Recorded::default() };
        attributes.record(&mut Fields(&mut span));
        SPANS.lock().unwrap().insert(id, span);
        span::Id::from_u64(id)
    }

    fn record(&self, id: &span::Id, values: &span::Record<'_>) {
        if let Some(span) = SPANS.lock().unwrap().get_mut(&id.into_u64()) {
            assert!(!span.closed);
            values.record(&mut Fields(span));
        }
    }

    fn record_follows_from(&self, id: &span::Id, other: &span::Id) {
        if let Some(span) = SPANS.lock().unwrap().get_mut(&id.into_u64()) {
            span.links.push(other.into_u64());
        }
    }

    fn event(&self, event: &Event<'_>) {
        let mut key = Key(None);
        event.record(&mut key);
        let Some(key) = key.0 else { return };
        let spans = SPANS.lock().unwrap();
        let parent = |id: &u64| spans.get(id).and_then(|span| span.parent);
        let within = std::iter::successors(current(), parent).collect();
        SAID.lock().unwrap().push(Said { key, within });
    }

    fn enter(&self, id: &span::Id) {
        CURRENT.with_borrow_mut(|stack| stack.push(id.into_u64()));
    }

    fn exit(&self, id: &span::Id) {
        CURRENT.with_borrow_mut(|stack| {
            let at = stack.iter().rposition(|entered| *entered == id.into_u64());
            stack.remove(at.expect("a span that was not entered"));
        });
    }

    fn clone_span(&self, id: &span::Id) -> span::Id {
        if let Some(span) = SPANS.lock().unwrap().get_mut(&id.into_u64()) {
            span.handles += 1;
        }
        id.clone()
    }

    fn try_close(&self, id: span::Id) -> bool {
        let mut spans = SPANS.lock().unwrap();
        let Some(span) = spans.get_mut(&id.into_u64()) else { return false };
        span.handles -= 1;
        span.closed = span.handles == 0;
        span.closed
    }
}

/// Begins to record.
pub(crate) fn listen() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| tracing::subscriber::set_global_default(Recorder).unwrap());
}

/// A number that no other test has.
pub(crate) fn fresh() -> u64 {
    NEXT.fetch_add(1, Ordering::Relaxed)
}

pub(crate) fn said(key: u64) -> Vec<Said> {
    SAID.lock().unwrap().iter().filter(|said| said.key == key).cloned().collect()
}

pub(crate) fn span(id: u64) -> Recorded {
    SPANS.lock().unwrap().get(&id).cloned().unwrap_or_default()
}

/// All spans of the call, in the order in which they began.
pub(crate) fn of_call(call: u128) -> Vec<Recorded> {
    let call = format!("{call:032x}");
    spans(|span| span.field("easyremote.call_id") == call)
}

/// All spans like this, in the order in which they began.
pub(crate) fn spans(like: impl Fn(&Recorded) -> bool) -> Vec<Recorded> {
    let mut spans: Vec<_> =
        SPANS.lock().unwrap().values().filter(|span| like(span)).cloned().collect();
    spans.sort_by_key(|span| span.id);
    spans
}
