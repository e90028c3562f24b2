//! The items of a stream, as far as an agent gets them together.

use rmcp::model::CallToolResult;
use serde_json::{Map, Value, json};

use crate::error::Error;
use crate::mcp::outcome::failure;

/// Most items in a result.
const MAX_ITEMS: usize = 10_000;

/// Most bytes of JSON in a result.
const MAX_BYTES: usize = 1 << 20;

/// The first items of a stream, within the limits, and how many there are.
#[derive(Debug, Default)]
pub(super) struct CollectedItems {
    items: Vec<Value>,
    /// The function's own errors among them.
    faults: Vec<Value>,
    bytes: usize,
    count: u64,
    left_out: u64,
}

impl CollectedItems {
    /// Adds an item, whose JSON is `text`. Returns how many items there are.
    pub(super) fn push(&mut self, item: Value, text: &str) -> u64 {
        if self.has_room(text) {
            self.items.push(item);
        }
        self.count
    }

    /// Adds an error of one item, whose JSON is `text`. Returns how many items there are.
    pub(super) fn push_fault(&mut self, error: Value, text: &str) -> u64 {
        let before = self.items.len();
        if self.has_room(text) {
            self.faults.push(json!({ "before": before, "error": error }));
        }
        self.count
    }

    /// Counts one more. Once one is left out, all others are: what there is has no gaps.
    fn has_room(&mut self, text: &str) -> bool {
        self.count += 1;
        self.bytes = self.bytes.saturating_add(text.len());
        let n = self.items.len() + self.faults.len();
        let fits = self.left_out == 0 && n < MAX_ITEMS && self.bytes <= MAX_BYTES;
        self.left_out += u64::from(!fits);
        fits
    }

    /// Returns the result of a stream that has ended, or of one that failed with `error`.
    pub(super) fn into_result(self, error: Option<&Error>) -> CallToolResult {
        let Self { items, faults, count, left_out, .. } = self;
        let mut known = error.map_or_else(Map::new, failure);
        known.insert("items".to_owned(), items.into());
        known.insert("count".to_owned(), count.into());
        if left_out > 0 {
            known.insert("left_out".to_owned(), left_out.into());
        }
        if !faults.is_empty() {
            known.insert("faults".to_owned(), faults.into());
        }
        match error {
            None => CallToolResult::structured(known.into()),
            Some(_) => CallToolResult::structured_error(known.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    fn shown(collected: CollectedItems, error: Option<&Error>) -> Value {
        collected.into_result(error).structured_content.unwrap()
    }

    #[test]
    fn what_is_beyond_a_limit_is_counted_and_leaves_no_gap() {
        for (length, kept) in [(1, MAX_ITEMS), (MAX_BYTES / 4, 4), (MAX_BYTES / 4 + 1, 3)] {
            let mut collected = CollectedItems::default();
            for n in 0..kept as u64 + 3 {
                assert_eq!(collected.push(n.into(), &"x".repeat(length)), n + 1);
            }
            collected.push(7.into(), "");
            let shown = shown(collected, None);
            assert_eq!(shown["items"].as_array().unwrap().len(), kept, "{length}");
            assert_eq!(shown["count"], kept + 4);
            assert_eq!(shown["left_out"], 4);
        }
    }

    #[test]
    fn errors_of_items_have_their_places() {
        let mut collected = CollectedItems::default();
        assert_eq!(collected.push(1.into(), "1"), 1);
        assert_eq!(collected.push_fault("a".into(), "a"), 2);
        assert_eq!(collected.push(2.into(), "2"), 3);
        assert_eq!(collected.push_fault("b".into(), "b"), 4);
        let faults = json!([{ "before": 1, "error": "a" }, { "before": 2, "error": "b" }]);
        let expected = json!({ "items": [1, 2], "count": 4, "faults": faults });
        assert_eq!(shown(collected, None), expected);
    }

    #[test]
    fn a_stream_that_fails_keeps_its_items() {
        let mut collected = CollectedItems::default();
        collected.push("a".into(), "\"a\"");
        let shown = shown(collected, Some(&Error::new(ErrorKind::NodeLost, "gone")));
        assert_eq!((&shown["items"], &shown["kind"]), (&json!(["a"]), &json!("NodeLost")));
        assert_eq!(shown["executed"], "No");
    }
}
