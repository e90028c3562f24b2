//! The query of a stream: arguments, and operators in the order in which they are written.

use std::time::Duration;

use serde_json::value::RawValue;

use crate::client::JsonStream;
use crate::http::asked::{arguments, duration, invalid};
use crate::http::problem::Problem;

/// What the query of `/stream/{function}` says.
#[derive(Debug, Default)]
pub(super) struct StreamQuery {
    pub(super) arguments: Option<String>,
    /// Whether the stream may continue in another request.
    pub(super) resume: bool,
    operators: Vec<OperatorParameter>,
}

/// An operator, as a parameter names it.
#[derive(Debug)]
enum OperatorParameter {
    Take(usize),
    Skip(usize),
    Every(usize),
    Sample(Duration),
    Latest,
    Dedup,
    Batches(usize, Duration),
    Buffer(usize),
    Through(String, Box<RawValue>),
}

impl StreamQuery {
    /// # Errors
    /// If a parameter is unknown, or its value is not valid.
    pub(super) fn parse(text: &str) -> Result<Self, Problem> {
        let mut query = Self::default();
        for (name, value) in form_urlencoded::parse(text.as_bytes()) {
            if name == "arguments" {
                if query.arguments.replace(value.into_owned()).is_some() {
                    return Err(invalid("`arguments` is there twice"));
                }
                continue;
            }
            if name == "resume" {
                query.resume = match &*value {
                    "1" | "true" | "" => true,
                    "0" | "false" => false,
                    _ => return Err(invalid("`resume` is `1` or `0`")),
                };
                continue;
            }
            query.operators.push(operator(&name, &value)?);
        }
        Ok(query)
    }

    /// Applies the operators.
    pub(super) fn apply(self, stream: JsonStream) -> JsonStream {
        self.operators.into_iter().fold(stream, |stream, operator| match operator {
            OperatorParameter::Take(n) => stream.take(n),
            OperatorParameter::Skip(n) => stream.skip(n),
            OperatorParameter::Every(n) => stream.every(n),
            OperatorParameter::Sample(interval) => stream.sample(interval),
            OperatorParameter::Latest => stream.latest(),
            OperatorParameter::Dedup => stream.dedup(),
            OperatorParameter::Batches(n, wait) => stream.batches(n, wait),
            OperatorParameter::Buffer(bytes) => stream.buffer(bytes),
            OperatorParameter::Through(name, arguments) => stream.through_text(name, arguments),
        })
    }
}

fn operator(name: &str, value: &str) -> Result<OperatorParameter, Problem> {
    let wrong = |what: &str| invalid(format!("`{name}` takes {what}"));
    let count = || whole(value).ok_or_else(|| wrong("a whole number"));
    let time = |text| duration(text).ok_or_else(|| wrong("a time such as `5s` or `500ms`"));
    let none = |operator| match value {
        "" | "true" => Ok(operator),
        _ => Err(wrong("no value")),
    };
    Ok(match name {
        "take" => OperatorParameter::Take(count()?),
        "skip" => OperatorParameter::Skip(count()?),
        "every" => OperatorParameter::Every(count()?),
        "sample" => OperatorParameter::Sample(time(value)?),
        "latest" => none(OperatorParameter::Latest)?,
        "dedup" => none(OperatorParameter::Dedup)?,
        "batches" => {
            let pair = value.split_once(',').and_then(|(n, wait)| Some((whole(n)?, wait)));
            let (n, wait) = pair.ok_or_else(|| wrong("a number and a time, as in `10,500ms`"))?;
            OperatorParameter::Batches(n, time(wait)?)
        }
        "buffer" => OperatorParameter::Buffer(count()?),
        "through" => {
            // The name of a method at an instance has a colon too.
            let at = value.find(":[").or_else(|| value.find(":{"));
            let (name, given) = match at {
                Some(at) => (&value[..at], &value[at + 1..]),
                None => (value, "[]"),
            };
            OperatorParameter::Through(name.to_owned(), arguments(given.as_bytes())?)
        }
        _ => return Err(invalid(format!("there is no parameter `{}`", name.escape_debug()))),
    })
}

/// Reads a whole number. What no stream reaches is the same as the largest number there is.
fn whole(text: &str) -> Option<usize> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().unwrap_or(usize::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operators_keep_their_order() {
        let query = StreamQuery::parse(
            "latest&skip=1&take=5&arguments=%5B1%2C%22a+b%22%5D&skip=2&dedup=true&sample=1s\
             &batches=3,5ms&every=4&buffer=65536&through=hot:%7B%22limit%22:30%7D&through=Unit:k.warm",
        )
        .unwrap();
        assert_eq!(query.arguments.as_deref(), Some(r#"[1,"a b"]"#));
        let shown: Vec<_> = query.operators.iter().map(|it| format!("{it:?}")).collect();
        let expected = [
            "Latest",
            "Skip(1)",
            "Take(5)",
            "Skip(2)",
            "Dedup",
            "Sample(1s)",
            "Batches(3, 5ms)",
            "Every(4)",
            "Buffer(65536)",
            "Through(\"hot\", RawValue({\"limit\":30}))",
            "Through(\"Unit:k.warm\", RawValue([]))",
        ];
        assert_eq!(shown, expected);
        assert!(StreamQuery::parse("").unwrap().operators.is_empty());
    }

    #[test]
    fn what_is_no_parameter_is_refused() {
        for odd in [
            "take",
            "take=",
            "take=-1",
            "take=1.5",
            "take=+1",
            "skip=a",
            "sample=soon",
            "latest=1",
            "batches=3",
            "batches=3,",
            "batches=,1s",
            "through=f:[",
            "through=f:{]",
            "Take=1",
            "resume=2",
            "arguments=1&arguments=2",
            "%00=1",
            "x",
        ] {
            assert!(StreamQuery::parse(odd).is_err(), "{odd}");
        }
    }
}
