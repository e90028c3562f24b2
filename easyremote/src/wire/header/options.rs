//! The options of a call header: their tags, encoding and decoding.

use std::time::Duration;

use super::CallHeader;
use crate::wire::bytes::{Malformed, Reader, WriteBytes, string_length, varint_length};
use crate::wire::caller::KnownCaller;
use crate::wire::job::JobOption;
use crate::wire::limits::{MAX_HEADER, MAX_KEY, MAX_LIST, MAX_METADATA, MAX_NAME, MAX_TIMEOUT};
use crate::wire::operators::{put_operators, read_operators};
use crate::wire::resume::ResumeRequest;
use crate::wire::routing_options::{HedgeLeg, RoutingOptions, Strategy};
use crate::wire::trace_context::TraceContext;

/// The tags of all options, in use and reserved; see [`RESERVED`] for the latter.
///
/// An option is a varint tag, a varint length, and a value of that many bytes. An odd tag is
/// *critical*: a party that does not know the option rejects the call, because a call without it
/// could return other values or run elsewhere. An even tag is *ignorable*: the option is skipped.
/// CoAP numbers its options the same way (RFC 7252, 5.4.1 and 5.4.6), and PNG has a bit for it in
/// the name of a chunk (PNG specification, 5.4).
///
/// The gateway decodes the header and encodes it anew for the node, so an option that the gateway
/// skips does not reach the node.
///
/// | tag | option             | value                                                             |
/// |-----|--------------------|-------------------------------------------------------------------|
/// | 1   | on                 | string: the id of the only node that may run the call             |
/// | 2   | wait               | empty: wait for a node                                            |
/// | 3   | tag                | string: a tag that the node must have; repeated                   |
/// | 4   | patience           | varint: milliseconds to wait for nodes that may come back         |
/// | 5   | metadata           | key and value, each a varint length and a string; repeated        |
/// | 6   | preferred tag      | string: a tag that the node should have; repeated                 |
/// | 7   | limit              | varint: the number of items after which the caller ends a stream  |
/// | 8   | sticky             | 8 bytes, big-endian: the hash of a key                            |
/// | 9   | caller             | role, id, address, identity: see [`KnownCaller`]                  |
/// | 10  | strategy           | 1 byte: the code of a [`Strategy`]; an unknown one is the default |
/// | 11  | inherited metadata | reserved: as 5, also for nested calls                             |
/// | 12  | traced             | empty: the caller requests a `Trace` frame                        |
/// | 13  | operators          | what the node does with items, in order: see `wire::operators`    |
/// | 14  | held               | varint: microseconds that the gateway has held the call           |
/// | 15  | resume             | of a resumable stream: [`ResumeRequest`]                          |
/// | 16  | trace context      | [`TraceContext`]; one that is not valid is ignored                |
/// | 17  | key                | string: the caller's own deduplication key                        |
/// | 18  | sound              | empty: exclude suspect nodes; the caller has other gateways       |
/// | 19  | job                | the call runs without its caller, or asks about jobs: [`JobOption`] |
/// | 20  | hedge              | 1 byte: the code of a [`HedgeLeg`]; an unknown one is none        |
/// | 21  | demand             | empty: the caller of a stream sends `Taken` frames                |
mod tag {
    pub(super) const ON: u64 = 1;
    pub(super) const WAIT: u64 = 2;
    pub(super) const TAG: u64 = 3;
    pub(super) const PATIENCE: u64 = 4;
    pub(super) const METADATA: u64 = 5;
    pub(super) const PREFERRED: u64 = 6;
    pub(super) const LIMIT: u64 = 7;
    pub(super) const STICKY: u64 = 8;
    pub(super) const CALLER: u64 = 9;
    pub(super) const STRATEGY: u64 = 10;
    pub(super) const TRACED: u64 = 12;
    pub(super) const OPERATORS: u64 = 13;
    pub(super) const HELD: u64 = 14;
    pub(super) const RESUME: u64 = 15;
    pub(super) const TRACE_CONTEXT: u64 = 16;
    pub(super) const KEY: u64 = 17;
    pub(super) const SOUND: u64 = 18;
    pub(super) const JOB: u64 = 19;
    pub(super) const HEDGE: u64 = 20;
    pub(super) const DEMAND: u64 = 21;
}

/// Tags that this version neither sends nor reads. They are treated as unknown, except that the
/// error names them.
const RESERVED: [(u64, &str); 1] = [(11, "inherited metadata")];

/// Longest value of an option, in bytes. Most have a limit of their own; the arguments of operators
/// have that of the header.
const MAX_OPTION: usize = MAX_HEADER;

/// Appends all options of `header`.
pub(super) fn put(header: &CallHeader, out: &mut Vec<u8>) {
    put_routing(&header.routing, out);
    for (key, value) in &header.metadata {
        out.put_varint(tag::METADATA);
        out.put_varint((string_length(key) + string_length(value)) as u64);
        out.put_bytes(key.as_bytes());
        out.put_bytes(value.as_bytes());
    }
    if let Some(items) = header.limit {
        put_number(out, tag::LIMIT, items);
    }
    if !header.operators.is_empty() {
        let mut chain = Vec::new();
        put_operators(&header.operators, &mut chain);
        put_option(out, tag::OPERATORS, &chain);
    }
    if let Some(request) = &header.resume {
        put_option(out, tag::RESUME, &request.encoded());
    }
    if header.demand {
        put_option(out, tag::DEMAND, b"");
    }
    if header.traced {
        put_option(out, tag::TRACED, b"");
    }
    if !header.held.is_zero() {
        put_number(out, tag::HELD, header.held.as_micros().try_into().unwrap_or(u64::MAX));
    }
    if let Some(context) = &header.trace_context {
        out.put_varint(tag::TRACE_CONTEXT);
        out.put_varint(context.encoded_length() as u64);
        context.put(out);
    }
    if let Some(key) = &header.key {
        put_option(out, tag::KEY, key.as_bytes());
    }
    if let Some(job) = &header.job {
        let mut value = Vec::new();
        job.put(&mut value);
        put_option(out, tag::JOB, &value);
    }
    if let Some(caller) = &header.caller {
        put_option(out, tag::CALLER, caller.encoded());
    }
}

fn put_routing(routing: &RoutingOptions, out: &mut Vec<u8>) {
    if let Some(node) = &routing.on {
        put_option(out, tag::ON, node.as_bytes());
    }
    for name in &routing.tags {
        put_option(out, tag::TAG, name.as_bytes());
    }
    for name in &routing.preferred {
        put_option(out, tag::PREFERRED, name.as_bytes());
    }
    if let Some(key) = routing.sticky {
        put_option(out, tag::STICKY, &key.to_be_bytes());
    }
    if let Some(strategy) = routing.strategy {
        put_option(out, tag::STRATEGY, &[strategy.code()]);
    }
    if routing.wait {
        put_option(out, tag::WAIT, b"");
    }
    if routing.sound {
        put_option(out, tag::SOUND, b"");
    }
    if let Some(leg) = routing.hedge {
        put_option(out, tag::HEDGE, &[leg.code()]);
    }
    let patience = routing.patience.min(MAX_TIMEOUT).as_millis() as u64;
    if patience > 0 {
        put_number(out, tag::PATIENCE, patience);
    }
}

/// Decodes all options up to the end of the header. `known` is the caller that was read last.
///
/// # Errors
/// If a value is malformed or longer than its limit, or a critical option is unknown.
pub(super) fn read(
    reader: &mut Reader<'_>,
    header: &mut CallHeader,
    known: &mut Option<KnownCaller>,
) -> Result<(), Malformed> {
    while !reader.is_empty() {
        let tag = reader.varint("option")?;
        let value = reader.bytes(MAX_OPTION, "option")?;
        let routing = &mut header.routing;
        match tag {
            tag::ON => routing.on = Some(name(value, "on")?),
            tag::WAIT => routing.wait = true,
            tag::TAG => add_tag(&mut routing.tags, value)?,
            tag::PATIENCE => {
                let patience = Duration::from_millis(Reader::new(value).varint("patience")?);
                routing.patience = patience.min(MAX_TIMEOUT);
            }
            tag::METADATA => add_metadata(&mut header.metadata, value)?,
            tag::PREFERRED => add_tag(&mut routing.preferred, value)?,
            tag::LIMIT => header.limit = Some(Reader::new(value).varint("limit")?),
            tag::STICKY => routing.sticky = Some(Reader::new(value).u64("sticky")?),
            tag::CALLER => header.caller = Some(KnownCaller::read(value, known)?),
            tag::STRATEGY => {
                routing.strategy = Strategy::from_code(Reader::new(value).u8("strategy")?);
            }
            tag::OPERATORS if header.operators.is_empty() => {
                header.operators = read_operators(value)?;
            }
            tag::OPERATORS => return Err(Malformed::new("`operators` twice")),
            tag::DEMAND => header.demand = true,
            tag::RESUME => header.resume = Some(Box::new(ResumeRequest::read(value)?)),
            tag::TRACED => header.traced = true,
            tag::SOUND => routing.sound = true,
            tag::TRACE_CONTEXT => header.trace_context = TraceContext::read(value).map(Box::new),
            tag::KEY => header.key = Some(key(value)?),
            tag::JOB => header.job = Some(Box::new(JobOption::read(value)?)),
            tag::HEDGE => routing.hedge = HedgeLeg::from_code(Reader::new(value).u8("hedge")?),
            tag::HELD => {
                header.held = Duration::from_micros(Reader::new(value).varint("held")?);
            }
            unknown if is_critical(unknown) => return Err(unsupported(unknown)),
            _ => {}
        }
    }
    Ok(())
}

/// Returns whether a party that does not know the option must reject the call.
fn is_critical(tag: u64) -> bool {
    tag & 1 == 1
}

#[cold]
fn unsupported(tag: u64) -> Malformed {
    let reserved = RESERVED.iter().find(|(reserved, _)| *reserved == tag);
    let name = reserved.map(|(_, name)| format!(" (`{name}`)")).unwrap_or_default();
    Malformed::unsupported(format!(
        "the call asks for a feature that easyremote {} does not know: option {tag}{name}",
        env!("CARGO_PKG_VERSION")
    ))
}

fn put_option(out: &mut Vec<u8>, tag: u64, value: &[u8]) {
    out.put_varint(tag);
    out.put_bytes(value);
}

fn put_number(out: &mut Vec<u8>, tag: u64, number: u64) {
    out.put_varint(tag);
    out.put_varint(varint_length(number) as u64);
    out.put_varint(number);
}

fn add_tag(tags: &mut Vec<String>, value: &[u8]) -> Result<(), Malformed> {
    if tags.len() == MAX_LIST {
        return Err(Malformed::new(format!("more than {MAX_LIST} tags")));
    }
    tags.push(name(value, "tag")?);
    Ok(())
}

fn name(value: &[u8], field: &str) -> Result<String, Malformed> {
    match std::str::from_utf8(value) {
        Ok(name) if name.len() <= MAX_NAME => Ok(name.to_owned()),
        Ok(_) => Err(Malformed::new(format!("`{field}` is longer than {MAX_NAME}"))),
        Err(_) => Err(Malformed::new(format!("`{field}` is not UTF-8"))),
    }
}

fn key(value: &[u8]) -> Result<Box<str>, Malformed> {
    match std::str::from_utf8(value) {
        Ok(key) if (1..=MAX_KEY).contains(&key.len()) => Ok(key.into()),
        Ok(_) => Err(Malformed::new(format!("`key` is not 1 to {MAX_KEY} bytes long"))),
        Err(_) => Err(Malformed::new("`key` is not UTF-8")),
    }
}

fn add_metadata(metadata: &mut Vec<(String, String)>, pair: &[u8]) -> Result<(), Malformed> {
    let mut reader = Reader::new(pair);
    let key = reader.str(MAX_NAME, "metadata key")?.to_owned();
    let value = reader.str(MAX_METADATA, "metadata value")?.to_owned();
    metadata.push((key, value));
    let size: usize = metadata.iter().map(|(key, value)| key.len() + value.len()).sum();
    if size > MAX_METADATA || metadata.len() > MAX_LIST {
        let text = format!("more than {MAX_LIST} metadata, or {MAX_METADATA} bytes of them");
        return Err(Malformed::new(text));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{ErrorKind, Executed};
    use crate::wire::codec::Codec;
    use crate::wire::frame::FRAME_HEADER;
    use crate::wire::kind::Kind;

    /// The body of a header with these options behind its fields.
    fn with(options: &[(u64, &[u8])]) -> Vec<u8> {
        of_kind(Kind::Unary, options)
    }

    fn of_kind(kind: Kind, options: &[(u64, &[u8])]) -> Vec<u8> {
        let header = CallHeader::new([7; 16], "f".to_owned(), kind, Codec::Json);
        let mut out = Vec::new();
        header.put(&mut out).unwrap();
        for (tag, value) in options {
            put_option(&mut out, *tag, value);
        }
        out.split_off(FRAME_HEADER)
    }

    #[test]
    fn unknown_ignorable_options_are_skipped() {
        let plain = CallHeader::read(&with(&[])).unwrap();
        for tag in [0, 24, 4_710, 1 << 61] {
            let read = CallHeader::read(&with(&[(tag, b"from the future"), (tag::WAIT, b"")]));
            let mut expected = plain.clone();
            expected.routing.wait = true;
            assert_eq!(read, Ok(expected), "{tag}");
        }
    }

    #[test]
    fn unknown_critical_options_refuse_the_call() {
        for tag in [11, 23, 4_711, (1 << 61) + 1] {
            let cause = CallHeader::read(&with(&[(tag, b"from the future")])).unwrap_err();
            assert!(cause.text.contains(&format!("option {tag}")), "{cause}");
            let error = cause.into_error();
            assert_eq!((error.kind(), error.executed()), (ErrorKind::Unavailable, Executed::No));
        }
        let cause = CallHeader::read(&with(&[(11, b"")])).unwrap_err();
        assert!(cause.text.ends_with("option 11 (`inherited metadata`)"), "{cause}");
    }

    #[test]
    fn options_of_streams_have_to_fit() {
        const TAKE: (u64, &[u8]) = (tag::OPERATORS, &[1, 3]);
        const LATEST: (u64, &[u8]) = (tag::OPERATORS, &[5]);
        const DEMAND: (u64, &[u8]) = (tag::DEMAND, b"");
        // A secret, a start, and no items taken or done.
        const RESUME: (u64, &[u8]) = (tag::RESUME, &[0; 19]);
        for (kind, options, fits) in [
            (Kind::Unary, &[DEMAND][..], false),
            (Kind::Upload, &[TAKE], false),
            (Kind::Stream, &[TAKE], true),
            (Kind::Duplex, &[TAKE, DEMAND], true),
            (Kind::Stream, &[TAKE, TAKE], false),
            (Kind::Stream, &[TAKE, (tag::LIMIT, &[1])], false),
            (Kind::Stream, &[LATEST], false),
            (Kind::Stream, &[DEMAND, LATEST], true),
            (Kind::Stream, &[DEMAND, RESUME], true),
            (Kind::Stream, &[RESUME], false),
            (Kind::Duplex, &[DEMAND, RESUME], false),
            (Kind::Unary, &[RESUME], false),
            (Kind::Upload, &[RESUME], true),
            (Kind::Upload, &[DEMAND, RESUME], false),
        ] {
            let read = CallHeader::read(&of_kind(kind, options));
            assert_eq!(read.is_ok(), fits, "{kind} {options:?}");
            assert!(read.is_ok() || read.unwrap_err().kind == ErrorKind::Protocol);
        }
    }

    #[test]
    fn reserved_tags_are_not_in_use() {
        for (tag, _) in RESERVED {
            let read = CallHeader::read(&with(&[(tag, &[0; 30])]));
            assert_eq!(read.is_err(), is_critical(tag), "{tag}");
            assert!(read.is_err() || read == CallHeader::read(&with(&[])));
        }
    }

    #[test]
    fn values_that_are_cut_short_are_refused() {
        let cut: [(u64, &[u8]); 15] = [
            (tag::PATIENCE, &[0x40]),
            (tag::METADATA, &[1]),
            (tag::METADATA, &[1, b'k', 2, b'v']),
            (tag::LIMIT, &[]),
            (tag::STICKY, &[0; 7]),
            (tag::CALLER, &[2, 1]),
            (tag::STRATEGY, &[]),
            (tag::HELD, &[0x80, 0]),
            (tag::KEY, &[]),
            (tag::KEY, &[0xff]),
            (tag::KEY, &[b'x'; MAX_KEY + 1]),
            (tag::JOB, &[]),
            (tag::JOB, &[4, 0, 0]),
            (tag::HEDGE, &[]),
            (tag::RESUME, &[7; 17]),
        ];
        for (tag, value) in cut {
            let cause = CallHeader::read(&with(&[(tag, value)])).unwrap_err();
            assert_eq!(cause.kind, ErrorKind::Protocol, "{tag}: {cause}");
        }
    }

    #[test]
    fn names_are_utf8() {
        for tag in [tag::ON, tag::TAG, tag::PREFERRED] {
            assert!(CallHeader::read(&with(&[(tag, &[0xff])])).is_err(), "{tag}");
            assert!(CallHeader::read(&with(&[(tag, &[b'x'; MAX_NAME])])).is_ok(), "{tag}");
            assert!(CallHeader::read(&with(&[(tag, &[b'x'; MAX_NAME + 1])])).is_err(), "{tag}");
        }
    }

    #[test]
    fn a_trace_context_that_is_not_valid_is_ignored() {
        let context = TraceContext::new(7, 8, true).unwrap();
        let mut valid = Vec::new();
        context.put(&mut valid);
        let read = |value: &[u8]| {
            let options = [(tag::TRACE_CONTEXT, value), (tag::WAIT, b"")];
            let header = CallHeader::read(&with(&options)).unwrap();
            assert!(header.routing.wait);
            header.trace_context
        };
        assert_eq!(read(&valid), Some(Box::new(context)));
        let zeros = [0; 26];
        let newer = [&[1], &valid[1..]].concat();
        for value in [&[][..], &valid[..25], &zeros, &[0xff; 26], &newer, &[0xff; MAX_OPTION]] {
            assert_eq!(read(value), None);
        }
        let long = [&valid[..], &[b'='; MAX_METADATA - 26]].concat();
        assert_eq!(read(&long).unwrap().tracestate(), "");
    }

    #[test]
    fn a_strategy_that_is_not_known_is_the_default() {
        let read = CallHeader::read(&with(&[(tag::STRATEGY, &[200])])).unwrap();
        assert_eq!(read.routing.strategy, None);
        let read = CallHeader::read(&with(&[(tag::HEDGE, &[200])])).unwrap();
        assert_eq!(read.routing.hedge, None);
    }
}
