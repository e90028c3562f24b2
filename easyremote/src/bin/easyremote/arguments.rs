//! The arguments of a call, from words and standard input.

use std::io::Read;

use serde_json::Value;

use crate::exit::Failure;

/// Reads the arguments: each word is a value, and one single array or object is all of them, by
/// position or by name. `-` is a value from standard input.
pub(crate) async fn read(words: Vec<String>) -> Result<Value, Failure> {
    if words.iter().filter(|word| *word == "-").count() > 1 {
        return Err(Failure::Usage("only one argument can be `-`, for standard input".to_owned()));
    }
    let mut values = Vec::new();
    for word in words {
        values.push(if word == "-" { from_stdin().await? } else { value(&word)? });
    }
    Ok(match <[Value; 1]>::try_from(values) {
        Ok([only]) if only.is_array() || only.is_object() => only,
        Ok([only]) => Value::Array(vec![only]),
        Err(values) => Value::Array(values),
    })
}

/// Reads one value from standard input.
async fn from_stdin() -> Result<Value, Failure> {
    let read = tokio::task::spawn_blocking(|| {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).map(|_| text)
    });
    let text = read.await.map_err(|error| Failure::Local(error.to_string()))?;
    let text =
        text.map_err(|error| Failure::Usage(format!("cannot read standard input: {error}")))?;
    json(&text).map_err(|error| Failure::Usage(format!("standard input is not JSON: {error}")))
}

/// Reads one value. A word that is no JSON is a text, unless it looks like JSON with a mistake.
fn value(word: &str) -> Result<Value, Failure> {
    match json(word) {
        Ok(value) => Ok(value),
        Err(error) if word.starts_with(['{', '[', '"']) || is_number(word) => {
            Err(Failure::Usage(format!("the argument `{word}` is not JSON: {error}")))
        }
        Err(_) => Ok(Value::String(word.to_owned())),
    }
}

/// Reads JSON, and refuses numbers that would arrive changed.
pub(crate) fn json(text: &str) -> Result<Value, String> {
    let value = serde_json::from_str(text).map_err(|error| error.to_string())?;
    match too_long(text) {
        Some(number) => Err(format!(
            "`{number}` does not fit into 64 bits; a larger integer cannot be sent as JSON"
        )),
        None => Ok(value),
    }
}

fn is_number(word: &str) -> bool {
    let digits = word.strip_prefix('-').unwrap_or(word);
    !digits.is_empty()
        && digits.bytes().all(|byte| byte.is_ascii_digit())
        && !digits.starts_with('0')
}

/// The first integer in a valid JSON text that has more than 64 bits, and would become a float.
fn too_long(text: &str) -> Option<&str> {
    let (mut rest, mut in_string) = (text, false);
    while let Some(c) = rest.chars().next() {
        let mut length = c.len_utf8();
        match c {
            '\\' if in_string => length = 2.min(rest.len()),
            '"' => in_string = !in_string,
            '-' | '0'..='9' if !in_string => {
                let ends = |c: char| !(c.is_ascii_alphanumeric() || "+-.".contains(c));
                length = rest.find(ends).unwrap_or(rest.len());
                let number = &rest[..length];
                let is_integer = !number.contains(['.', 'e', 'E']);
                if is_integer && number.parse::<i64>().is_err() && number.parse::<u64>().is_err() {
                    return Some(number);
                }
            }
            _ => {}
        }
        // An escape is followed by ASCII in valid JSON.
        rest = rest.get(length..)?;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    async fn words(words: &[&str]) -> Result<Value, Failure> {
        read(words.iter().map(|word| (*word).to_owned()).collect()).await
    }

    #[tokio::test]
    async fn words_are_values_and_one_list_is_all_arguments() {
        for (given, read) in [
            (&["1", "2.5", "true", "null"][..], json!([1, 2.5, true, null])),
            (&["Bob"], json!(["Bob"])),
            (&["two words", "\"quoted\""], json!(["two words", "quoted"])),
            (&["[1,2]"], json!([1, 2])),
            (&["[[1,2]]"], json!([[1, 2]])),
            (&["[1,2]", "3"], json!([[1, 2], 3])),
            (&[r#"{"a":1}"#], json!({"a": 1})),
            (&["007", "-x", "1e3"], json!(["007", "-x", 1e3])),
            (&[], json!([])),
        ] {
            assert_eq!(words(given).await.unwrap(), read, "{given:?}");
        }
    }

    #[tokio::test]
    async fn what_looks_like_json_has_to_be_it() {
        for wrong in
            ["{a:1}", "[1,", "\"x", "123456789012345678901234567890", "[18446744073709551616]"]
        {
            assert!(matches!(words(&[wrong]).await, Err(Failure::Usage(_))), "{wrong}");
        }
        assert!(matches!(words(&["-", "-"]).await, Err(Failure::Usage(_))));
    }

    #[test]
    fn integers_of_64_bits_are_the_longest() {
        for fine in [
            "18446744073709551615",
            "-9223372036854775808",
            r#"{"99999999999999999999999":"\"99999999999999999999999"}"#,
            "[1e30, -1.5E-7, 1234567890123456789012345.0]",
        ] {
            assert_eq!(too_long(fine), None, "{fine}");
        }
        assert_eq!(too_long(r#"["\\",-9223372036854775809]"#), Some("-9223372036854775809"));
    }
}
