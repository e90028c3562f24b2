//! Parses the values of the options that set how and where a function runs, and what it implements.

use proc_macro2::TokenStream;
use syn::parse::{Parse, ParseStream, Parser};
use syn::{Error, Ident, LitInt, LitStr, Path, Token, parenthesized, token};

use super::value;

/// The value of `batch`.
pub(crate) struct Batch {
    /// `batch` itself.
    pub(crate) key: Ident,
    pub(crate) max: u32,
    pub(crate) wait_us: u64,
    pub(crate) weigh: Option<Path>,
}

/// Parses what follows `batch`: nothing, or `(max = 32, wait = "5ms", weigh = tokens)`.
pub(super) fn batch(key: &Ident, input: ParseStream<'_>) -> Result<Batch, Error> {
    let mut batch =
        Batch { key: key.clone(), max: DEFAULT_MAX, wait_us: DEFAULT_WAIT_US, weigh: None };
    if !input.peek(token::Paren) {
        return Ok(batch);
    }
    let inside;
    parenthesized!(inside in input);
    let inside: TokenStream = inside.parse()?;
    let mut seen = Vec::new();
    (|inside: ParseStream<'_>| limits(inside, &mut batch, &mut seen)).parse2(inside)?;
    match &batch.weigh {
        Some(weigh) if !seen.iter().any(|option| option == "max") => {
            let message = "`max` is a sum of weights then: write it too, like \
                           `batch(max = 8192, weigh = tokens_of)`";
            Err(Error::new_spanned(weigh, message))
        }
        _ => Ok(batch),
    }
}

/// Parses what is between the parentheses, and adds the names of the options to `seen`.
fn limits(input: ParseStream<'_>, batch: &mut Batch, seen: &mut Vec<Ident>) -> Result<(), Error> {
    while !input.is_empty() {
        let option: Ident = input.parse().map_err(|error| Error::new(error.span(), BATCH))?;
        if seen.contains(&option) {
            return Err(Error::new(option.span(), format!("`{option}` is given twice")));
        }
        match option.to_string().as_str() {
            "max" => batch.max = number(&option, input, "max = 32")?,
            "wait" => batch.wait_us = wait(&option, input)?,
            "weigh" => {
                let path = value(&option, input, Path::parse_mod_style, "weigh = tokens_of")?;
                batch.weigh = Some(path);
            }
            _ => return Err(Error::new(option.span(), BATCH)),
        }
        seen.push(option);
        if !input.is_empty() {
            input.parse::<Token![,]>()?;
        }
    }
    Ok(())
}

/// Parses the `"5ms"` of `wait = "5ms"` to microseconds.
fn wait(key: &Ident, input: ParseStream<'_>) -> Result<u64, Error> {
    let literal = value(key, input, <LitStr as Parse>::parse, "wait = \"5ms\"")?;
    let text = literal.value();
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let factor = match unit {
        "us" => Some(1),
        "ms" => Some(1_000),
        "s" => Some(1_000_000),
        _ => None,
    };
    let wait = number.parse::<u64>().ok().zip(factor).and_then(|(n, factor)| n.checked_mul(factor));
    wait.filter(|wait| *wait <= MAX_WAIT_US).ok_or_else(|| {
        let message = "a wait is a whole number and a unit, up to an hour, like \"500us\", \
                       \"5ms\" or \"1s\"; with \"0ms\" a batch collects only while another runs";
        Error::new(literal.span(), message)
    })
}

/// Parses the `8` of `concurrency = 8`.
pub(super) fn concurrency(key: &Ident, input: ParseStream<'_>) -> Result<u32, Error> {
    number(key, input, "concurrency = 8")
}

/// Parses a limit, which is above 0; `example` is the whole option.
fn number(key: &Ident, input: ParseStream<'_>, example: &str) -> Result<u32, Error> {
    let literal = value(key, input, <LitInt as Parse>::parse, example)?;
    let calls = literal.base10_parse::<u32>().ok();
    calls.filter(|calls| *calls > 0 && literal.suffix().is_empty()).ok_or_else(|| {
        let message = format!("a limit is a whole number from 1 to {}, like `8`", u32::MAX);
        Error::new(literal.span(), message)
    })
}

/// The value of `skew`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Skew {
    ByName,
    Lossy,
}

/// Parses the `"by-name"` of `skew = "by-name"`.
pub(super) fn skew(key: &Ident, input: ParseStream<'_>) -> Result<Skew, Error> {
    let literal = value(key, input, <LitStr as Parse>::parse, "skew = \"by-name\"")?;
    match literal.value().as_str() {
        "by-name" => Ok(Skew::ByName),
        "lossy" => Ok(Skew::Lossy),
        _ => {
            let message = "`skew` is `\"by-name\"` or `\"lossy\"`: by name, what one side does not \
                           know is an error, and lossy it is left out and counted";
            Err(Error::new(literal.span(), message))
        }
    }
}

/// Parses the tags of `needs = "gpu, eu"`.
pub(super) fn needs(key: &Ident, input: ParseStream<'_>) -> Result<Vec<String>, Error> {
    let literal = value(key, input, <LitStr as Parse>::parse, "needs = \"gpu, eu\"")?;
    let wrong = |message: String| Error::new(literal.span(), message);
    let text = literal.value();
    let mut tags: Vec<String> = Vec::new();
    for tag in text.split(',').map(str::trim) {
        if tag.is_empty() {
            let message = "a tag is empty: write the tags that a node must have, like \"gpu, eu\"";
            return Err(wrong(message.to_owned()));
        }
        if tag.len() > MAX_NAME {
            let length = tag.len();
            return Err(wrong(format!("a tag has {length} bytes, {MAX_NAME} are allowed")));
        }
        if let Some(odd) = tag.chars().find(|c| c.is_control()) {
            return Err(wrong(format!("a tag has a `{}`", odd.escape_debug())));
        }
        if tags.iter().any(|other| other == tag) {
            return Err(wrong(format!("the tag `{tag}` is given twice")));
        }
        tags.push(tag.to_owned());
    }
    if tags.len() > MAX_TAGS {
        return Err(wrong(format!("{} tags are given, a node can have {MAX_TAGS}", tags.len())));
    }
    Ok(tags)
}

/// Parses the bytes of `replay = "1MiB"`.
pub(super) fn replay(key: &Ident, input: ParseStream<'_>) -> Result<u64, Error> {
    let literal = value(key, input, <LitStr as Parse>::parse, "replay = \"1MiB\"")?;
    bytes(&literal.value()).ok_or_else(|| {
        let message = "a size is a whole number above 0 and a unit, like \"64KiB\", \"1MiB\" or \
                       \"1GiB\"";
        Error::new(literal.span(), message)
    })
}

/// Parses a size to bytes: `"1MiB"` to 1,048,576.
fn bytes(text: &str) -> Option<u64> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let factor = match unit {
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return None,
    };
    let bytes = number.parse::<u64>().ok()?.checked_mul(factor)?;
    (bytes > 0).then_some(bytes)
}

/// Parses the literal of `err = "display"`.
pub(super) fn err(key: &Ident, input: ParseStream<'_>) -> Result<LitStr, Error> {
    let literal = value(key, input, <LitStr as Parse>::parse, "err = \"display\"")?;
    if literal.value() != DISPLAY {
        let message = "the only other way to send an error is as its `Display` text: write \
                       `err = \"display\"`";
        return Err(Error::new(literal.span(), message));
    }
    Ok(literal)
}

/// Parses the path of `implements = api::embed`.
pub(super) fn implements(key: &Ident, input: ParseStream<'_>) -> Result<Path, Error> {
    value(key, input, Path::parse_mod_style, "implements = api::embed")
}

/// The only value of `err`.
const DISPLAY: &str = "display";
/// Limits of a batch if none are given.
const DEFAULT_MAX: u32 = 32;
const DEFAULT_WAIT_US: u64 = 5_000;
/// Longest wait for a batch: an hour.
const MAX_WAIT_US: u64 = 3_600_000_000;
/// How `batch` is written.
pub(super) const BATCH: &str = "`batch` is written like `batch(max = 32, wait = \"5ms\")`, with `weigh = tokens_of` for a \
     limit by weight";
/// Maximum length of a tag, in bytes, and maximum number of tags of a node.
const MAX_NAME: usize = 128;
const MAX_TAGS: usize = 64;

#[cfg(test)]
mod tests {
    use crate::args::Options;
    use crate::mistakes::Mistakes;

    fn parse(options: &str) -> (Options, Vec<String>) {
        let mut mistakes = Mistakes::default();
        let options = Options::parse(options.parse().unwrap(), &mut mistakes);
        (options, mistakes.messages())
    }

    #[test]
    fn values_are_read() {
        let (options, messages) = parse(
            "concurrency = 8, needs = \"gpu,  a tag of eu\", err = \"display\", \
             implements = ::api::r#fn, idempotent, detached",
        );
        assert!(messages.is_empty(), "{messages:#?}");
        assert_eq!(options.concurrency, Some(8));
        assert_eq!(options.needs, ["gpu", "a tag of eu"]);
        assert!(options.err.is_some() && options.implements.is_some());
        assert!(options.idempotent.is_some() && options.detached.is_some());
        assert_eq!(options.keys.len(), 6);
    }

    #[test]
    fn limits_of_batches_are_read() {
        for (options, max, wait_us, weigh) in [
            ("batch", 32, 5_000, false),
            ("batch()", 32, 5_000, false),
            ("batch(max = 8)", 8, 5_000, false),
            ("batch(wait = \"250us\")", 32, 250, false),
            ("batch(weigh = a::b, wait = \"1s\", max = 9000,)", 9_000, 1_000_000, true),
            ("batch(max = 1, wait = \"0ms\")", 1, 0, false),
        ] {
            let (parsed, messages) = parse(options);
            assert!(messages.is_empty(), "{messages:#?}");
            let batch = parsed.batch.unwrap();
            let found = (batch.max, batch.wait_us, batch.weigh.is_some());
            assert_eq!(found, (max, wait_us, weigh), "{options}");
        }
    }

    #[test]
    fn sizes_are_bytes() {
        for (text, expected) in [("64KiB", 65_536), ("1MiB", 1_048_576), ("2GiB", 2 << 30)] {
            let (options, _) = parse(&format!("replay = \"{text}\""));
            assert_eq!(options.replay.unwrap().1, expected, "{text}");
        }
    }

    #[test]
    fn values_are_checked() {
        let long = format!("needs = \"{}\"", "x".repeat(129));
        let many = (0..65).map(|n| n.to_string()).collect::<Vec<_>>().join(",");
        let many = format!("needs = \"{many}\"");
        for (options, part) in [
            ("batch = 32", "`batch` is written like `batch(max = 32, wait = \"5ms\")`"),
            ("batch(32)", "`batch` is written like"),
            ("batch(size = 32)", "`batch` is written like"),
            ("batch(max)", "`max` is written like `max = 32`"),
            ("batch(max = 0)", "a limit is a whole number from 1"),
            ("batch(max = 1, max = 2)", "`max` is given twice"),
            ("batch(wait = 5)", "`wait` is written like `wait = \"5ms\"`"),
            ("batch(wait = \"5\")", "a wait is a whole number and a unit"),
            ("batch(wait = \"3601s\")", "a wait is a whole number and a unit, up to an hour"),
            ("batch(max = 1 wait = \"1s\")", "expected `,`"),
            ("batch(weigh = f)", "`max` is a sum of weights then: write it too"),
            ("batch(max = 1, weigh = \"f\")", "`weigh` is written like `weigh = tokens_of`"),
            ("concurrency", "`concurrency` is written like `concurrency = 8`"),
            ("concurrency = n", "`concurrency` is written like `concurrency = 8`"),
            ("concurrency = \"8\"", "`concurrency` is written like `concurrency = 8`"),
            ("concurrency = 0", "a whole number from 1 to 4294967295"),
            ("concurrency = -1", "a whole number from 1"),
            ("concurrency = 8u8", "a whole number from 1"),
            ("concurrency = 4294967296", "a whole number from 1"),
            ("needs = gpu", "`needs` is written like `needs = \"gpu, eu\"`"),
            ("needs = \"\"", "a tag is empty"),
            ("needs = \"gpu,\"", "a tag is empty"),
            ("needs = \"gpu, gpu\"", "the tag `gpu` is given twice"),
            ("needs = \"g\\0u\"", "a tag has a `\\0`"),
            (&*long, "a tag has 129 bytes, 128 are allowed"),
            (&*many, "65 tags are given, a node can have 64"),
            ("replay", "`replay` is written like `replay = \"1MiB\"`"),
            ("replay = 1024", "`replay` is written like `replay = \"1MiB\"`"),
            ("replay = \"1\"", "like \"64KiB\""),
            ("replay = \"0KiB\"", "above 0"),
            ("replay = \"1MB\"", "like \"64KiB\""),
            ("replay = \"99999999999999GiB\"", "like \"64KiB\""),
            ("err", "`err` is written like `err = \"display\"`"),
            ("err = display", "`err` is written like `err = \"display\"`"),
            ("err = \"debug\"", "write `err = \"display\"`"),
            ("implements", "`implements` is written like `implements = api::embed`"),
            ("implements = \"api::f\"", "`implements` is written like"),
            ("implements = api::f<u8>", "write `,`"),
        ] {
            let messages = parse(options).1;
            assert!(messages.len() == 1 && messages[0].contains(part), "{options}: {messages:#?}");
        }
    }
}
