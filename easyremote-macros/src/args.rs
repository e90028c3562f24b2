//! The options in the parentheses of `#[remote(..)]`.

use proc_macro2::{Span, TokenStream, TokenTree};
use syn::ext::IdentExt;
use syn::parse::{Parse, ParseStream, Parser};
use syn::{Error, Ident, LitStr, Path, Token};

use crate::mistakes::Mistakes;

pub(crate) mod values;

/// The options of one `#[remote(..)]`.
#[derive(Default)]
pub(crate) struct Options {
    /// `stream`
    pub(crate) stream: Option<Ident>,
    /// `inline`
    pub(crate) inline: Option<Ident>,
    /// `plain`
    pub(crate) plain: Option<Ident>,
    /// `name = "math.add"`
    pub(crate) name: Option<LitStr>,
    /// `stub = Add`
    pub(crate) stub: Option<Ident>,
    /// `timeout = "30s"`, in milliseconds
    pub(crate) timeout_ms: Option<u64>,
    /// `idempotent`
    pub(crate) idempotent: Option<Ident>,
    /// `detached`
    pub(crate) detached: Option<Ident>,
    /// `concurrency = 8`
    pub(crate) concurrency: Option<u32>,
    /// `batch(max = 32, wait = "5ms")`
    pub(crate) batch: Option<values::Batch>,
    /// `needs = "gpu, eu"`
    pub(crate) needs: Vec<String>,
    /// `operator`
    pub(crate) operator: Option<Ident>,
    /// `tool`
    pub(crate) tool: Option<Ident>,
    /// `replay = "1MiB"`: the key, and the number of bytes
    pub(crate) replay: Option<(Ident, u64)>,
    /// `resumable`
    pub(crate) resumable: Option<Ident>,
    /// `skew = "by-name"`
    pub(crate) skew: Option<values::Skew>,
    /// `err = "display"`: the literal
    pub(crate) err: Option<LitStr>,
    /// `implements = api::embed`
    pub(crate) implements: Option<Path>,
    /// `crate = path`
    pub(crate) krate: Option<Path>,
    /// The names of all options that were parsed, in order.
    pub(crate) keys: Vec<Ident>,
    /// `skip`, of a method
    pub(crate) skip: Option<Ident>,
}

impl Options {
    /// Parses all options. Reports an option that does not parse, and goes on with the next.
    pub(crate) fn parse(tokens: TokenStream, mistakes: &mut Mistakes) -> Self {
        let mut options = Self::default();
        let parser = |input: ParseStream<'_>| {
            let mut seen = Vec::new();
            while !input.is_empty() {
                if let Err(error) = options.parse_one(input, &mut seen) {
                    mistakes.push(error);
                    skip_to_comma(input);
                }
                if !input.is_empty() {
                    input.parse::<Token![,]>()?;
                }
            }
            Ok(())
        };
        if let Err(error) = parser.parse2(tokens) {
            mistakes.push(error);
        }
        options
    }

    fn parse_one(&mut self, input: ParseStream<'_>, seen: &mut Vec<String>) -> Result<(), Error> {
        let key = input.call(Ident::parse_any)?;
        let name = key.to_string();
        if seen.contains(&name) {
            return Err(Error::new(key.span(), format!("`{name}` is given twice")));
        }
        match name.as_str() {
            "stream" => self.stream = Some(key.clone()),
            "inline" => self.inline = Some(key.clone()),
            "plain" => self.plain = Some(key.clone()),
            "idempotent" => self.idempotent = Some(key.clone()),
            "detached" => self.detached = Some(key.clone()),
            "concurrency" => self.concurrency = Some(values::concurrency(&key, input)?),
            "batch" => self.batch = Some(values::batch(&key, input)?),
            "needs" => self.needs = values::needs(&key, input)?,
            "replay" => self.replay = Some((key.clone(), values::replay(&key, input)?)),
            "operator" => self.operator = Some(key.clone()),
            "tool" => self.tool = Some(key.clone()),
            "resumable" => self.resumable = Some(key.clone()),
            "skew" => self.skew = Some(values::skew(&key, input)?),
            "err" => self.err = Some(values::err(&key, input)?),
            "implements" => self.implements = Some(values::implements(&key, input)?),
            "skip" => self.skip = Some(key.clone()),
            "name" => {
                self.name =
                    Some(value(&key, input, <LitStr as Parse>::parse, "name = \"math.add\"")?)
            }
            "stub" => self.stub = Some(value(&key, input, <Ident as Parse>::parse, "stub = Add")?),
            "timeout" => self.timeout_ms = Some(timeout(&key, input)?),
            "crate" => {
                let path = value(&key, input, Path::parse_mod_style, "crate = ::my::easyremote")?;
                self.krate = Some(path);
            }
            _ => return Err(Error::new(key.span(), unknown(&name))),
        }
        seen.push(name);
        self.keys.push(key.clone());
        end_of_option(&key, input)
    }
}

/// Parses `= value`; `example` is the whole option as it should be written, for the message.
fn value<T>(
    key: &Ident,
    input: ParseStream<'_>,
    parser: fn(ParseStream<'_>) -> Result<T, Error>,
    example: &str,
) -> Result<T, Error> {
    let wrong = |span: Span| Error::new(span, format!("`{key}` is written like `{example}`"));
    if input.parse::<Token![=]>().is_err() || input.is_empty() {
        return Err(wrong(key.span()));
    }
    let span = input.span();
    parser(input).map_err(|_| wrong(span))
}

fn timeout(key: &Ident, input: ParseStream<'_>) -> Result<u64, Error> {
    let literal = value(key, input, <LitStr as Parse>::parse, "timeout = \"30s\"")?;
    milliseconds(&literal.value()).ok_or_else(|| {
        Error::new(
            literal.span(),
            "a timeout is a whole number above 0 and a unit, like \"250ms\", \"30s\", \"5m\" or \"1h\"",
        )
    })
}

/// Parses a duration to milliseconds: `"30s"` to 30,000.
fn milliseconds(text: &str) -> Option<u64> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let factor = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return None,
    };
    let milliseconds = number.parse::<u64>().ok()?.checked_mul(factor)?;
    (milliseconds > 0).then_some(milliseconds)
}

/// Parses the comma, or the end, after an option.
fn end_of_option(key: &Ident, input: ParseStream<'_>) -> Result<(), Error> {
    if input.is_empty() || input.peek(Token![,]) {
        return Ok(());
    }
    let message = match key.to_string().as_str() {
        _ if input.peek(Ident::peek_any) => "write `,` between two options".to_owned(),
        flag @ ("stream" | "inline" | "plain" | "idempotent" | "detached" | "operator" | "tool"
        | "resumable" | "skip") => {
            format!("`{flag}` takes no value: write `#[remote({flag})]`")
        }
        "batch" => values::BATCH.to_owned(),
        _ => "write `,` between two options".to_owned(),
    };
    Err(Error::new(input.span(), message))
}

fn skip_to_comma(input: ParseStream<'_>) {
    while !input.is_empty() && !input.peek(Token![,]) {
        if input.parse::<TokenTree>().is_err() {
            return;
        }
    }
}

/// Returns the message about an unknown option.
fn unknown(name: &str) -> String {
    if let Some((_, answer)) = ANSWERS.iter().find(|(spelling, _)| *spelling == name) {
        return format!("unknown option `{name}`: {answer}");
    }
    let nearest = KNOWN
        .iter()
        .map(|known| (distance(name, known), known))
        .min()
        .filter(|(distance, known)| *distance <= known.len() / 2)
        .map(|(_, known)| format!("; did you mean `{known}`?"))
        .unwrap_or_default();
    let separator = if nearest.is_empty() { ";" } else { "" };
    let known = KNOWN.join(", ");
    format!("unknown option `{name}`{nearest}{separator} options: {known}")
}

/// Returns the Levenshtein distance of `a` and `b`.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, to) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

/// All options, in the order in which the documentation lists them.
const KNOWN: [&str; 19] = [
    "stream",
    "inline",
    "name",
    "stub",
    "timeout",
    "plain",
    "idempotent",
    "detached",
    "concurrency",
    "batch",
    "operator",
    "tool",
    "needs",
    "replay",
    "resumable",
    "skew",
    "err",
    "implements",
    "crate",
];

/// Options of other libraries, and what to write here instead.
const ANSWERS: [(&str, &str); 9] = [
    ("async_func", "write `async fn`"),
    ("is_async", "write `async fn`"),
    ("load_balancing", "calls are always balanced over all nodes that offer the function"),
    ("function_name", "write `name = \"..\"`"),
    ("tags", "for the tags that a node must have write `needs = \"gpu, eu\"`"),
    ("fire_and_forget", "for a function that runs on after its caller has left write `detached`"),
    ("retry", "the caller decides; write `idempotent` if the function may run twice"),
    (
        "version",
        "types are compared by themselves; write `skew = \"by-name\"` to allow other versions",
    ),
    ("node_id", "the caller chooses the node, not the function"),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(options: &str) -> (Options, Vec<String>) {
        let mut mistakes = Mistakes::default();
        let options = Options::parse(options.parse().unwrap(), &mut mistakes);
        (options, mistakes.messages())
    }

    #[test]
    fn options_are_checked() {
        let all = "options: stream, inline, name, stub, timeout, plain, idempotent, detached, \
                   concurrency, batch, operator, tool, needs, replay, resumable, skew, err, \
                   implements, crate";
        for (options, part) in [
            ("colour", &*format!("unknown option `colour`; {all}")),
            ("steam", &*format!("unknown option `steam`; did you mean `stream`? {all}")),
            ("async_func = True", "unknown option `async_func`: write `async fn`"),
            ("load_balancing", "always balanced"),
            ("tags = \"gpu\"", "write `needs = \"gpu, eu\"`"),
            ("fire_and_forget", "write `detached`"),
            ("retry = 3", "write `idempotent`"),
            ("idempotent = true", "`idempotent` takes no value: write `#[remote(idempotent)]`"),
            ("detached()", "`detached` takes no value"),
            ("resumable = true", "`resumable` takes no value"),
            ("tool = \"add\"", "`tool` takes no value: write `#[remote(tool)]`"),
            ("operator = 1", "`operator` takes no value"),
            ("implement = api::f", "did you mean `implements`?"),
            ("inline, inline", "`inline` is given twice"),
            ("inline = true", "`inline` takes no value: write `#[remote(inline)]`"),
            ("inline(x)", "`inline` takes no value"),
            ("inline plain", "write `,` between two options"),
            ("name", "`name` is written like `name = \"math.add\"`"),
            ("name =", "`name` is written like"),
            ("name = add", "`name` is written like"),
            ("name = \"a\" \"b\"", "write `,`"),
            ("stub = \"Add\"", "`stub` is written like `stub = Add`"),
            ("stub = fn", "`stub` is written like"),
            ("crate = \"easyremote\"", "`crate` is written like `crate = ::my::easyremote`"),
            ("skew", "`skew` is written like `skew = \"by-name\"`"),
            ("skew = true", "`skew` is written like `skew = \"by-name\"`"),
            ("skew = \"yes\"", "`\"by-name\"` or `\"lossy\"`"),
            ("skew = \"by_name\"", "`\"by-name\"` or `\"lossy\"`"),
            ("timeout = 30", "`timeout` is written like `timeout = \"30s\"`"),
            ("timeout = \"30\"", "like \"250ms\""),
            ("timeout = \"1.5s\"", "like \"250ms\""),
            ("timeout = \"-1s\"", "like \"250ms\""),
            ("timeout = \"0s\"", "above 0"),
            ("timeout = \"99999999999999999999s\"", "like \"250ms\""),
            ("timeout = \"9999999999999999h\"", "like \"250ms\""),
            ("\"name\"", "expected ident"),
            (",", "expected ident"),
        ] {
            let messages = parse(options).1;
            assert!(messages.len() == 1 && messages[0].contains(part), "{options}: {messages:#?}");
        }
    }

    #[test]
    fn an_option_that_cannot_be_read_does_not_hide_the_next() {
        let (options, messages) = parse("colour = { 1, 2 }, name = 7, timeout = \"x\", stub = Ok");
        assert_eq!(messages.len(), 3, "{messages:#?}");
        assert!(options.stub.is_some());
    }

    #[test]
    fn timeouts_are_milliseconds() {
        for (text, expected) in
            [("250ms", 250), ("30s", 30_000), ("5m", 300_000), ("1h", 3_600_000)]
        {
            let (options, _) = parse(&format!("timeout = \"{text}\""));
            assert_eq!(options.timeout_ms, Some(expected), "{text}");
        }
    }
}
