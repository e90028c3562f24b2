//! Parses the values of the options that set how and where a function runs, and what it implements.

use syn::parse::{Parse, ParseStream};
use syn::{Error, Ident, LitInt, LitStr, Path};

use super::value;

/// Parses the `8` of `concurrency = 8`.
pub(super) fn concurrency(key: &Ident, input: ParseStream<'_>) -> Result<u32, Error> {
    let literal = value(key, input, <LitInt as Parse>::parse, "concurrency = 8")?;
    let calls = literal.base10_parse::<u32>().ok();
    calls.filter(|calls| *calls > 0 && literal.suffix().is_empty()).ok_or_else(|| {
        let message = format!("a limit is a whole number from 1 to {}, like `8`", u32::MAX);
        Error::new(literal.span(), message)
    })
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
    fn values_are_checked() {
        let long = format!("needs = \"{}\"", "x".repeat(129));
        let many = (0..65).map(|n| n.to_string()).collect::<Vec<_>>().join(",");
        let many = format!("needs = \"{many}\"");
        for (options, part) in [
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
