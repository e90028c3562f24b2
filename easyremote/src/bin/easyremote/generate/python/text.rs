//! Texts as Python writes them.

/// Returns a text as a literal, in which nothing acts on a terminal.
pub(super) fn literal(text: &str) -> String {
    let mut literal = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => {
                literal.push('\\');
                literal.push(c);
            }
            '\n' => literal.push_str("\\n"),
            c if is_shown(c) => literal.push(c),
            c => literal.push_str(&escape(c)),
        }
    }
    literal.push('"');
    literal
}

/// Returns a text as the docstring of what is indented by `indent`; nothing if it is empty.
pub(super) fn docstring(text: &str, indent: &str) -> String {
    let lines: Vec<_> = text.trim().lines().map(|line| docline(line.trim_end())).collect();
    match &lines[..] {
        [] => String::new(),
        [only] => format!("{indent}\"\"\"{only}\"\"\"\n"),
        [first, rest @ ..] => {
            let mut doc = format!("{indent}\"\"\"{first}\n");
            for line in rest {
                doc.push_str(if line.is_empty() { "" } else { indent });
                doc.push_str(line);
                doc.push('\n');
            }
            doc.push_str(&format!("{indent}\"\"\"\n"));
            doc
        }
    }
}

fn docline(line: &str) -> String {
    let mut text = String::new();
    for c in line.chars() {
        match c {
            // A backslash would escape what follows, and quotes could end the docstring.
            '\\' => text.push_str("\\\\"),
            '"' => text.push_str("\\\""),
            '\t' => text.push_str("    "),
            c if is_shown(c) => text.push(c),
            c => text.push_str(&escape(c)),
        }
    }
    text
}

fn is_shown(c: char) -> bool {
    c == ' ' || c.is_alphanumeric() || c.is_ascii_graphic() || is_mark(c)
}

/// Punctuation that is common in prose, and reorders nothing.
fn is_mark(c: char) -> bool {
    matches!(c, '\u{a1}'..='\u{ac}' | '\u{ae}'..='\u{bf}' | '\u{2010}'..='\u{2027}' | '\u{2190}'..='\u{22ff}')
}

fn escape(c: char) -> String {
    format!("\\U{:08x}", u32::from(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_ends_its_literal() {
        assert_eq!(literal("a\"b\\\n"), r#""a\"b\\\n""#);
        assert_eq!(literal("é\u{202e}\u{1b}"), "\"é\\U0000202e\\U0000001b\"");
        assert_eq!(docstring("", "    "), "");
        assert_eq!(docstring("a \"\"\" \\", ""), "\"\"\"a \\\"\\\"\\\" \\\\\"\"\"\n");
        assert_eq!(docstring("a\n\nb\n", "  "), "  \"\"\"a\n\n  b\n  \"\"\"\n");
    }
}
