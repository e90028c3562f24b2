//! JSON as a terminal can bear it.

/// Escapes what a terminal would obey, or show in another order, in JSON: the texts in it may come
/// from anywhere. serde_json escapes only what JSON demands.
pub(crate) fn escaped(json: String) -> String {
    let acts = |c: char| {
        (c.is_control() && c != '\n')
            || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    if !json.contains(acts) {
        return json;
    }
    let mut safe = String::with_capacity(json.len() + 16);
    for c in json.chars() {
        match acts(c) {
            true => safe.push_str(&format!("\\u{:04x}", u32::from(c))),
            false => safe.push(c),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn what_a_terminal_obeys_is_escaped_and_still_the_same_json() {
        let value = json!({"a\u{9b}2J": ["\u{7f}", "\u{202e}x", "\u{1b}[0m", "é 語 🦀\n"]});
        for text in [value.to_string(), format!("{value:#}")] {
            let safe = escaped(text);
            assert!(!safe.contains(|c: char| c != '\n' && c.is_control()), "{safe}");
            assert!(!safe.contains('\u{202e}') && safe.contains("é 語 🦀"), "{safe}");
            assert_eq!(serde_json::from_str::<Value>(&safe).unwrap(), value);
        }
    }
}
