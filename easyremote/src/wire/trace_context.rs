//! W3C Trace Context: where a call belongs in a distributed trace.
//!
//! Not the answer to `.traced()`, which is [`wire::trace`](crate::wire::trace).

use std::fmt;
use std::str::FromStr;

use crate::error::{Error, ErrorKind};
use crate::wire::limits::MAX_TRACESTATE;

/// A position in a distributed trace: the span that a call belongs to, in the terms of
/// [W3C Trace Context](https://www.w3.org/TR/trace-context/).
///
/// The text form, `Display` and `FromStr`, is the value of the header `traceparent`, such as
/// `00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01`. A call has the context that
/// [`trace_context`](crate::Call::trace_context) sets, and the function reads it with
/// [`Context::trace_context`](crate::Context::trace_context). Calls that the function makes have it
/// too.
///
/// ```
/// use easyremote::client::TraceContext;
///
/// # fn main() -> Result<(), easyremote::Error> {
/// let text = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
/// let context: TraceContext = text.parse()?;
/// assert_eq!(context.parent_id(), 0x00f0_67aa_0ba9_02b7);
/// assert!(context.is_sampled());
/// assert_eq!(context.to_string(), text);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[doc(alias = "traceparent")]
#[doc(alias = "SpanContext")]
pub struct TraceContext {
    /// Not zero.
    trace_id: u128,
    /// Not zero.
    parent_id: u64,
    flags: u8,
    /// The header `tracestate`, or empty.
    state: Box<str>,
}

/// The only version of the format so far (W3C Trace Context, 2.2).
const VERSION: u8 = 0;
/// Bit of the flags: the caller records this trace (W3C Trace Context, 2.2.2.5.1).
const SAMPLED: u8 = 1;
/// Length of a `traceparent` of version 00, in bytes.
const TEXT: usize = 55;
/// Length of the fixed part in a call header, in bytes.
const FIXED: usize = 1 + 16 + 8 + 1;
/// Maximum number of entries of a `tracestate` (W3C Trace Context, 2.3.1.1).
const MAX_ENTRIES: usize = 32;

impl TraceContext {
    /// Creates the context of the span `parent_id` in the trace `trace_id`. `sampled` says whether
    /// the trace is recorded.
    ///
    /// ```
    /// use easyremote::client::TraceContext;
    ///
    /// assert!(TraceContext::new(7, 8, true).is_ok_and(|context| context.is_sampled()));
    /// assert!(TraceContext::new(0, 8, true).is_err());
    /// ```
    ///
    /// # Errors
    /// [`InvalidInput`](ErrorKind::InvalidInput) if an id is zero, which stands for none.
    pub fn new(trace_id: u128, parent_id: u64, sampled: bool) -> Result<Self, Error> {
        let flags = if sampled { SAMPLED } else { 0 };
        Self::valid(trace_id, parent_id, flags).ok_or_else(|| {
            let text = "the ids of a trace and of a span are not zero";
            Error::new(ErrorKind::InvalidInput, text)
        })
    }

    /// Creates a context from its parts; `None` if an id is zero.
    pub(crate) fn valid(trace_id: u128, parent_id: u64, flags: u8) -> Option<Self> {
        let valid = trace_id != 0 && parent_id != 0;
        valid.then(|| Self { trace_id, parent_id, flags, state: Box::default() })
    }

    /// Adds the value of the header `tracestate`, which travels with the context unchanged.
    ///
    /// A value that is longer than 512 bytes, has more than 32 entries or an entry without `=`, or
    /// contains other characters than printable ASCII is left out; the context stays valid (W3C
    /// Trace Context, 3.3.1.2 and 4.2).
    ///
    /// ```
    /// use easyremote::client::TraceContext;
    ///
    /// # fn main() -> Result<(), easyremote::Error> {
    /// let context = TraceContext::new(7, 8, true)?.with_tracestate("vendor=value");
    /// assert_eq!(context.tracestate(), "vendor=value");
    /// assert_eq!(context.with_tracestate("no value").tracestate(), "");
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn with_tracestate(mut self, text: &str) -> Self {
        self.state = if is_tracestate(text) { text.into() } else { Box::default() };
        self
    }

    /// Returns the id of the trace, which all its spans share; not zero.
    ///
    /// ```
    /// # fn show(context: &easyremote::client::TraceContext) {
    /// println!("trace {:032x}", context.trace_id());
    /// # }
    /// ```
    #[must_use]
    pub fn trace_id(&self) -> u128 {
        self.trace_id
    }

    /// Returns the id of the span that the call is a part of; not zero.
    ///
    /// ```
    /// # fn show(context: &easyremote::client::TraceContext) {
    /// println!("span {:016x}", context.parent_id());
    /// # }
    /// ```
    #[must_use]
    #[doc(alias = "span_id")]
    pub fn parent_id(&self) -> u64 {
        self.parent_id
    }

    /// Returns whether the trace is recorded, as far as the sender of the context knows.
    ///
    /// ```
    /// # fn show(context: &easyremote::client::TraceContext) {
    /// if context.is_sampled() {
    ///     println!("trace {:032x}", context.trace_id());
    /// }
    /// # }
    /// ```
    #[must_use]
    pub fn is_sampled(&self) -> bool {
        self.flags & SAMPLED != 0
    }

    /// Returns the value of the header `tracestate`; empty if there is none.
    ///
    /// ```
    /// # fn show(context: &easyremote::client::TraceContext) {
    /// println!("traceparent: {context}\ntracestate: {}", context.tracestate());
    /// # }
    /// ```
    #[must_use]
    pub fn tracestate(&self) -> &str {
        &self.state
    }

    #[cfg(feature = "otel")]
    pub(crate) fn flags(&self) -> u8 {
        self.flags
    }

    /// Appends the context as the value of an option of a call header.
    ///
    /// | bytes | field      | meaning                        |
    /// |-------|------------|--------------------------------|
    /// | 1     | version    | 0                              |
    /// | 16    | trace id   | big-endian, not zero           |
    /// | 8     | parent id  | big-endian, not zero           |
    /// | 1     | flags      | as in `traceparent`            |
    /// | n     | tracestate | ASCII, `n <= MAX_TRACESTATE`   |
    pub(crate) fn put(&self, out: &mut Vec<u8>) {
        out.push(VERSION);
        out.extend_from_slice(&self.trace_id.to_be_bytes());
        out.extend_from_slice(&self.parent_id.to_be_bytes());
        out.push(self.flags);
        out.extend_from_slice(self.state.as_bytes());
    }

    /// Returns the number of bytes that [`put`](Self::put) appends.
    pub(crate) fn encoded_length(&self) -> usize {
        FIXED + self.state.len()
    }

    /// Decodes the value of an option; `None` if it is not a valid context of a known version. The
    /// call goes on without it then: a trace must not decide whether a call runs.
    pub(crate) fn read(value: &[u8]) -> Option<Self> {
        let (fixed, state) = value.split_first_chunk::<FIXED>()?;
        let (version, rest) = fixed.split_first()?;
        let (trace_id, rest) = rest.split_first_chunk()?;
        let (parent_id, flags) = rest.split_first_chunk()?;
        if *version != VERSION {
            return None;
        }
        let (trace_id, parent_id) =
            (u128::from_be_bytes(*trace_id), u64::from_be_bytes(*parent_id));
        let context = Self::valid(trace_id, parent_id, *flags.first()?)?;
        Some(context.with_tracestate(str::from_utf8(state).unwrap_or_default()))
    }
}

/// Returns whether a `tracestate` may travel. Its keys and values are the business of those who
/// wrote them.
fn is_tracestate(text: &str) -> bool {
    let is_entry = |entry: &str| entry.trim().is_empty() || entry.contains('=');
    (1..=MAX_TRACESTATE).contains(&text.len())
        && text.bytes().all(|byte| matches!(byte, b'\t' | b' '..=b'~'))
        && text.split(',').count() <= MAX_ENTRIES
        && text.split(',').all(is_entry)
}

/// As the header `traceparent` of version 00.
impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { trace_id, parent_id, flags, .. } = self;
        write!(f, "{VERSION:02x}-{trace_id:032x}-{parent_id:016x}-{flags:02x}")
    }
}

impl FromStr for TraceContext {
    type Err = Error;

    /// Reads the value of a header `traceparent`, without a `tracestate`. Of a version that is not
    /// known, the ids and the sampled flag count (W3C Trace Context, 4.3).
    ///
    /// # Errors
    /// [`InvalidInput`](ErrorKind::InvalidInput) if the text is not a valid `traceparent`.
    fn from_str(text: &str) -> Result<Self, Error> {
        parsed(text.as_bytes()).ok_or_else(|| {
            let text = "a trace context is written as the header `traceparent`: `00-`, 32 digits \
                        of the trace, `-`, 16 of the span, `-`, and two of flags, all lower-case \
                        hexadecimal, and no id is zero";
            Error::new(ErrorKind::InvalidInput, text)
        })
    }
}

fn parsed(text: &[u8]) -> Option<TraceContext> {
    let (known, more) = text.split_at_checked(TEXT)?;
    let mut parts = known.split(|byte| *byte == b'-');
    let (version, trace_id) = (digits(parts.next()?, 2)?, digits(parts.next()?, 32)?);
    let (parent_id, flags) = (digits(parts.next()?, 16)?, digits(parts.next()?, 2)?);
    let flags = match (version, more) {
        (0, []) => flags as u8,
        // What the other flags mean is not known.
        (1..=0xfe, [] | [b'-', ..]) => flags as u8 & SAMPLED,
        _ => return None,
    };
    TraceContext::valid(trace_id, parent_id as u64, flags)
}

/// Reads `n` lower-case hexadecimal digits, at most 32.
fn digits(text: &[u8], n: usize) -> Option<u128> {
    let is_digit = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    let text = str::from_utf8(text).ok()?;
    let valid = text.len() == n && text.as_bytes().iter().all(is_digit);
    u128::from_str_radix(text, 16).ok().filter(|_| valid)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(context: &TraceContext) -> Vec<u8> {
        let mut out = Vec::new();
        context.put(&mut out);
        assert_eq!(out.len(), context.encoded_length());
        out
    }

    fn generated(random: &mut fastrand::Rng) -> TraceContext {
        let (trace_id, parent_id) = (random.u128(1..), random.u64(1..));
        let (trace_id, parent_id) = match random.u8(..4) {
            0 => (trace_id >> 64 | 1, 1),
            _ => (trace_id, parent_id),
        };
        let mut context = TraceContext::valid(trace_id, parent_id, random.u8(..)).unwrap();
        if random.bool() {
            let n = random.usize(1..=MAX_ENTRIES);
            let entries: Vec<_> = (0..n).map(|n| format!("k{n}={n}")).collect();
            context = context.with_tracestate(&entries.join(","));
        }
        context
    }

    #[test]
    fn contexts_survive_text_and_wire() {
        let mut random = fastrand::Rng::with_seed(16);
        for _ in 0..10_000 {
            let context = generated(&mut random);
            assert_eq!(TraceContext::read(&encoded(&context)), Some(context.clone()));
            let text = context.to_string();
            assert_eq!(text.len(), TEXT);
            let back: TraceContext = text.parse().unwrap();
            assert_eq!(back.with_tracestate(context.tracestate()), context);
        }
    }

    #[test]
    fn what_is_no_context_is_ignored() {
        let context = TraceContext::new(7, 8, true).unwrap().with_tracestate("a=1");
        let whole = encoded(&context);
        for end in 0..FIXED {
            assert_eq!(TraceContext::read(&whole[..end]), None, "{end}");
        }
        for version in 1..=255 {
            assert_eq!(TraceContext::read(&[&[version], &whole[1..]].concat()), None, "{version}");
        }
        for zeros in [1..17, 17..25] {
            let mut hostile = whole.clone();
            hostile[zeros].fill(0);
            assert_eq!(TraceContext::read(&hostile), None);
        }
        let without = TraceContext::new(7, 8, true).ok();
        let many = vec!["a=1"; MAX_ENTRIES + 1].join(",");
        let long = format!("a={}", "x".repeat(MAX_TRACESTATE - 1));
        for state in ["a", "a=\n", "a=\u{e4}", "a=\u{7f}", &many, &long] {
            let fixed = &whole[..FIXED];
            assert_eq!(TraceContext::read(&[fixed, state.as_bytes()].concat()), without, "{state}");
        }
        assert_eq!(TraceContext::read(&[&whole[..FIXED], &[0xff, b'=']].concat()), without);
        assert_eq!(TraceContext::read(&whole[..FIXED]), without);
        let fits = &long[..MAX_TRACESTATE];
        assert_eq!(context.with_tracestate(fits).tracestate(), fits);
    }

    #[test]
    fn texts_are_read_as_the_specification_says() {
        let (trace, span) = ("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7");
        let read = |text: String| text.parse::<TraceContext>().ok().map(|it| it.flags);
        assert_eq!(read(format!("00-{trace}-{span}-01")), Some(1));
        assert_eq!(read(format!("00-{trace}-{span}-ff")), Some(0xff));
        assert_eq!(read(format!("cc-{trace}-{span}-ff")), Some(1));
        assert_eq!(read(format!("01-{trace}-{span}-00-more")), Some(0));
        for text in [
            String::new(),
            "-".repeat(TEXT),
            format!("ff-{trace}-{span}-01"),
            format!("0-{trace}-{span}-001"),
            format!("00-{trace}-{span}-01-more"),
            format!("01-{trace}-{span}-01more"),
            format!("00-{trace}-{span}-1"),
            format!("00-{trace}-{span}-+1"),
            format!("00-{}-{span}-01", trace.to_uppercase()),
            format!("00-{}-{span}-01", "0".repeat(32)),
            format!("00-{trace}-{}-01", "0".repeat(16)),
            format!("00_{trace}_{span}_01"),
            format!(" 00-{trace}-{span}-01"),
            format!("00-{}\u{e4}-{span}-01", &trace[2..]),
        ] {
            let error = text.parse::<TraceContext>().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{text}");
        }
    }

    #[test]
    fn every_byte_that_is_changed_is_refused_or_read_as_it_is() {
        let text = TraceContext::new(u128::MAX / 3, u64::MAX / 5, true).unwrap().to_string();
        for at in 0..text.len() {
            for byte in 0..128 {
                let mut changed = text.clone().into_bytes();
                changed[at] = byte;
                let changed = String::from_utf8(changed).unwrap();
                if let Ok(context) = changed.parse::<TraceContext>() {
                    assert_eq!(&context.to_string()[2..53], &changed[2..53]);
                }
            }
        }
    }
}
