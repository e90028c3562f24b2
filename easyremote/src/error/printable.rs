//! Sanitizes untrusted text for errors, logs and terminals.
//!
//! A peer's text must not move the cursor, start a new line in a log, or be displayed in another
//! order than its characters have. Ids, tags and other chosen names are rejected unless they are
//! [`is_printable`]; every other text of a peer passes [`one_line`] or [`lines`].

use std::borrow::Cow;

/// Returns `text` as one line of at most `limit` bytes. Line breaks and tabs become a space,
/// together with the spaces around them; invisible characters are removed.
pub(crate) fn one_line(text: &str, limit: usize) -> Cow<'_, str> {
    if text.len() <= limit && is_printable(text) {
        return Cow::Borrowed(text);
    }
    let mut line = String::with_capacity(text.len().min(limit));
    for word in text.split(is_break).map(str::trim).filter(|word| !word.is_empty()) {
        if !line.is_empty() {
            line.push(' ');
        }
        line.extend(word.chars().filter(|c| !is_hidden(*c)));
    }
    Cow::Owned(cut_to(line, limit))
}

/// Returns `text` in at most `limit` bytes, with its lines kept: every line break becomes `\n`, and
/// invisible characters are removed.
pub(crate) fn lines(text: &str, limit: usize) -> Cow<'_, str> {
    let is_fine = |c: char| c == '\n' || !(is_break(c) || is_hidden(c));
    if text.len() <= limit && text.chars().all(is_fine) {
        return Cow::Borrowed(text);
    }
    let mut lines = String::with_capacity(text.len().min(limit));
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\r' if chars.peek() == Some(&'\n') => {}
            '\t' => lines.push(' '),
            c if is_break(c) => lines.push('\n'),
            c if is_hidden(c) => {}
            c => lines.push(c),
        }
    }
    Cow::Owned(cut_to(lines, limit))
}

/// Returns whether `text` is one line of visible characters.
pub(crate) fn is_printable(text: &str) -> bool {
    let is_plain = |byte: u8| (b' '..0x7f).contains(&byte);
    text.bytes().all(is_plain) || !text.chars().any(|c| is_break(c) || is_hidden(c))
}

/// Returns whether a character ends a line, or moves within it.
fn is_break(c: char) -> bool {
    matches!(c, '\t'..='\r' | '\u{85}' | '\u{2028}' | '\u{2029}')
}

/// Returns whether a character is invisible: controls, and those of Unicode's category Cf that
/// change how others are displayed. Visible ones of that category, in Arabic and Kaithi, are kept.
fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
            | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e007f}')
}

/// Returns the longest prefix of `text` of at most `limit` bytes that ends between two characters.
pub(crate) fn cut(text: &str, limit: usize) -> &str {
    let mut end = limit.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

fn cut_to(mut text: String, limit: usize) -> String {
    text.truncate(cut(&text, limit).len());
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every character of the Basic Multilingual Plane and of the plane of tags.
    fn all() -> impl Iterator<Item = char> {
        ('\0'..='\u{ffff}').chain('\u{1b000}'..='\u{1dfff}').chain('\u{e0000}'..='\u{e0fff}')
    }

    /// The characters that must not reach a terminal or a log, listed independently of the above.
    fn is_dangerous(c: char) -> bool {
        const NAMED: &str = "\u{200b}\u{200e}\u{200f}\u{2028}\u{2029}\u{202a}\u{202b}\u{202c}\u{202d}\
                             \u{202e}\u{2066}\u{2067}\u{2068}\u{2069}\u{feff}\u{61c}\u{e0041}";
        c.is_control() || NAMED.contains(c)
    }

    #[test]
    fn no_text_does_anything() {
        for c in all() {
            let text = format!("a{c}b");
            let (line, lines) = (one_line(&text, 100), lines(&text, 100));
            assert!(!line.contains(is_dangerous), "{c:?}");
            assert!(!lines.contains(|c| c != '\n' && is_dangerous(c)), "{c:?}");
            assert_eq!(is_printable(&text), line == text, "{c:?}");
            assert!(is_printable(&line), "{c:?}");
            if is_dangerous(c) {
                assert!(["ab", "a b"].contains(&&*line), "{c:?}: {line:?}");
                assert!(["ab", "a b", "a\nb"].contains(&&*lines), "{c:?}: {lines:?}");
            }
        }
    }

    #[test]
    fn what_can_be_seen_stays_as_it_is() {
        for fine in ["", "gpu-1", "größe ☺ 😈", "e\u{301}", "日本語", "עברית", "a  b", "`x`: \"y\""]
        {
            assert!(matches!(one_line(fine, 100), Cow::Borrowed(same) if same == fine));
            assert!(matches!(lines(fine, 100), Cow::Borrowed(same) if same == fine));
        }
        assert!(matches!(lines("a\n\n b", 100), Cow::Borrowed("a\n\n b")));
    }

    #[test]
    fn lines_become_one_or_stay_lines() {
        let text = "one\r\n\ttwo\x1b[2J\rthree\u{2028}four\n";
        assert_eq!(one_line(text, 100), "one two[2J three four");
        assert_eq!(lines(text, 100), "one\n two[2J\nthree\nfour\n");
    }

    #[test]
    fn long_texts_are_cut_between_characters() {
        for text in ["é".repeat(100), "é\x1b".repeat(100)] {
            assert_eq!(one_line(&text, 7), "ééé");
            assert_eq!(lines(&text, 7), "ééé");
        }
        assert_eq!(cut("aé", 2), "a");
    }
}
