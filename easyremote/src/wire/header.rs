//! The call header: which function, for how long, by whom.

use std::time::Duration;

use crate::wire::bytes::{Malformed, Reader, WriteBytes};
use crate::wire::codec::Codec;
use crate::wire::frame::{self, FrameKind};
use crate::wire::kind::Kind;
use crate::wire::limits::{MAX_HEADER, MAX_LIST, MAX_METADATA, MAX_NAME, MAX_TIMEOUT};

/// Identifies one call for its whole life, over every retry: random, so that no two are the same.
pub(crate) type CallId = [u8; 16];

/// What the gateway needs to route a call, and the node to run it.
///
/// | type     | field       | meaning                                                |
/// |----------|-------------|--------------------------------------------------------|
/// | 16 bytes | id          | [`CallId`]                                             |
/// | varint   | attempt     | 0 for the first                                        |
/// | 1 byte   | kind        | what the caller expects: [`Kind`]                      |
/// | 1 byte   | codec       | [`Codec`] of arguments and results                     |
/// | 8 bytes  | fingerprint | of the types, big-endian; 0 if the caller knows none   |
/// | varint   | timeout     | remaining milliseconds plus one; 0 for no deadline     |
/// | string   | function    | its name                                               |
/// | options  |             | until the end: a varint tag, a length, that many bytes |
///
/// The deadline travels as remaining time, so that no two clocks have to agree. Options with an
/// unknown tag are skipped, so that later versions can add some.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CallHeader {
    pub(crate) id: CallId,
    pub(crate) attempt: u64,
    pub(crate) kind: Kind,
    pub(crate) codec: Codec,
    pub(crate) fingerprint: u64,
    pub(crate) timeout: Option<Duration>,
    pub(crate) function: String,
    /// Only this node may run it.
    pub(crate) on: Option<String>,
    /// Only a node with all these tags may run it.
    pub(crate) tags: Vec<String>,
    /// If no node can run it now, wait for one.
    pub(crate) wait: bool,
    /// What the caller has to say to the function, beside its arguments.
    pub(crate) metadata: Vec<(String, String)>,
}

mod option {
    pub(super) const ON: u64 = 1;
    pub(super) const TAG: u64 = 2;
    pub(super) const WAIT: u64 = 3;
    pub(super) const METADATA: u64 = 4;
}

impl CallHeader {
    /// Appends the header as a frame.
    ///
    /// # Errors
    /// The length of a header that is longer than [`MAX_HEADER`].
    pub(crate) fn put(&self, out: &mut Vec<u8>) -> Result<(), usize> {
        let start = frame::begin(out, FrameKind::Header);
        out.extend_from_slice(&self.id);
        out.put_varint(self.attempt);
        out.push(self.kind.code());
        out.push(self.codec.code());
        out.extend_from_slice(&self.fingerprint.to_be_bytes());
        out.put_varint(self.timeout.map_or(0, |left| left.min(MAX_TIMEOUT).as_millis() as u64 + 1));
        out.put_str(&self.function, MAX_HEADER);
        if let Some(node) = &self.on {
            put_option(out, option::ON, node);
        }
        for tag in &self.tags {
            put_option(out, option::TAG, tag);
        }
        if self.wait {
            put_option(out, option::WAIT, "");
        }
        for (key, value) in &self.metadata {
            let mut pair = Vec::with_capacity(key.len() + value.len() + 4);
            pair.put_str(key, MAX_HEADER);
            pair.put_str(value, MAX_HEADER);
            out.put_varint(option::METADATA);
            out.put_bytes(&pair);
        }
        frame::finish(out, start, MAX_HEADER)
    }

    /// Reads the body of a `Header` frame.
    pub(crate) fn read(body: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(body);
        let id = reader.array("id")?;
        let attempt = reader.varint("attempt")?;
        let kind = Kind::from_code(reader.u8("kind")?)
            .ok_or_else(|| Malformed::new("`kind` is not one that this version knows"))?;
        let codec = Codec::from_code(reader.u8("codec")?)
            .ok_or_else(|| Malformed::new("`codec` is not one that this version knows"))?;
        let fingerprint = reader.u64("fingerprint")?;
        let timeout = reader.varint("timeout")?;
        let timeout = timeout.checked_sub(1).map(|ms| Duration::from_millis(ms).min(MAX_TIMEOUT));
        let function = reader.str(MAX_NAME, "function")?.to_owned();
        let mut header = Self {
            id,
            attempt,
            kind,
            codec,
            fingerprint,
            timeout,
            function,
            on: None,
            tags: Vec::new(),
            wait: false,
            metadata: Vec::new(),
        };
        while !reader.is_empty() {
            let tag = reader.varint("option")?;
            let value = reader.bytes(MAX_METADATA, "option")?;
            header.set_option(tag, value)?;
        }
        Ok(header)
    }

    fn set_option(&mut self, tag: u64, value: &[u8]) -> Result<(), Malformed> {
        match tag {
            option::ON => self.on = Some(name(value, "on")?),
            option::TAG if self.tags.len() < MAX_LIST => self.tags.push(name(value, "tag")?),
            option::TAG => return Err(Malformed::new(format!("more than {MAX_LIST} tags"))),
            option::WAIT => self.wait = true,
            option::METADATA => self.add_metadata(value)?,
            _ => {}
        }
        Ok(())
    }

    fn add_metadata(&mut self, pair: &[u8]) -> Result<(), Malformed> {
        let mut reader = Reader::new(pair);
        let key = reader.str(MAX_NAME, "metadata key")?.to_owned();
        let value = reader.str(MAX_METADATA, "metadata value")?.to_owned();
        self.metadata.push((key, value));
        let size: usize = self.metadata.iter().map(|(key, value)| key.len() + value.len()).sum();
        if size > MAX_METADATA || self.metadata.len() > MAX_LIST {
            let text = format!("more than {MAX_LIST} metadata, or {MAX_METADATA} bytes of them");
            return Err(Malformed::new(text));
        }
        Ok(())
    }
}

fn put_option(out: &mut Vec<u8>, tag: u64, value: &str) {
    out.put_varint(tag);
    out.put_str(value, MAX_HEADER);
}

fn name(value: &[u8], field: &str) -> Result<String, Malformed> {
    match std::str::from_utf8(value) {
        Ok(name) if name.len() <= MAX_NAME => Ok(name.to_owned()),
        Ok(_) => Err(Malformed::new(format!("`{field}` is longer than {MAX_NAME}"))),
        Err(_) => Err(Malformed::new(format!("`{field}` is not UTF-8"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::frame::FRAME_HEADER;

    fn sample() -> CallHeader {
        CallHeader {
            id: [7; 16],
            attempt: 2,
            kind: Kind::Stream,
            codec: Codec::Json,
            fingerprint: 0x0123_4567_89ab_cdef,
            timeout: Some(Duration::from_millis(1_500)),
            function: "Model.embed".into(),
            on: Some("gpu-1".into()),
            tags: vec!["gpu".into(), "eu".into()],
            wait: true,
            metadata: vec![("tenant".into(), "a".into()), ("empty".into(), String::new())],
        }
    }

    #[test]
    fn headers_survive_the_wire() {
        let mut out = Vec::new();
        sample().put(&mut out).unwrap();
        assert_eq!(CallHeader::read(&out[FRAME_HEADER..]), Ok(sample()));
    }

    #[test]
    fn every_cut_is_an_error_or_lacks_options() {
        let mut out = Vec::new();
        sample().put(&mut out).unwrap();
        let body = &out[FRAME_HEADER..];
        for end in 0..body.len() {
            if let Ok(header) = CallHeader::read(&body[..end]) {
                assert!(header.metadata.len() < 2, "{end}");
            }
        }
    }

    #[test]
    fn no_time_left_is_not_the_same_as_no_deadline() {
        for timeout in [None, Some(Duration::ZERO), Some(Duration::MAX)] {
            let mut out = Vec::new();
            CallHeader { timeout, ..sample() }.put(&mut out).unwrap();
            let back = CallHeader::read(&out[FRAME_HEADER..]).unwrap();
            assert_eq!(back.timeout, timeout.map(|left| left.min(MAX_TIMEOUT)));
        }
    }

    #[test]
    fn unknown_options_are_skipped() {
        let mut out = Vec::new();
        sample().put(&mut out).unwrap();
        let mut body = out[FRAME_HEADER..].to_vec();
        body.put_varint(4_711);
        body.put_bytes(b"from the future");
        assert_eq!(CallHeader::read(&body), Ok(sample()));
    }

    #[test]
    fn a_header_above_the_limit_is_refused() {
        let header = CallHeader { function: "x".repeat(MAX_HEADER), ..sample() };
        assert!(header.put(&mut Vec::new()).is_err());
        let header = CallHeader { function: "x".repeat(MAX_NAME + 1), ..sample() };
        let mut out = Vec::new();
        header.put(&mut out).unwrap();
        assert!(CallHeader::read(&out[FRAME_HEADER..]).is_err());
    }
}
