//! The call header: function, deadline, routing options and caller.

mod options;

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use crate::wire::bytes::{Malformed, Reader, WriteBytes};
use crate::wire::caller::KnownCaller;
use crate::wire::codec::Codec;
use crate::wire::frame::{self, FrameKind};
use crate::wire::job::{JobOption, JobRequest};
use crate::wire::kind::Kind;
use crate::wire::limits::{MAX_HEADER, MAX_NAME, MAX_TIMEOUT};
use crate::wire::operators::Operator;
use crate::wire::resume::ResumeRequest;
use crate::wire::routing_options::RoutingOptions;
use crate::wire::trace_context::TraceContext;

/// Identifies one call over all its attempts. 128 random bits: unique, and unpredictable for other
/// parties.
pub(crate) type CallId = [u8; 16];

/// What the gateway needs to route a call, and a node to run it.
///
/// | type     | field       | meaning                                                |
/// |----------|-------------|--------------------------------------------------------|
/// | 16 bytes | id          | [`CallId`]                                             |
/// | varint   | attempt     | 0 for the first                                        |
/// | 1 byte   | kind        | what the caller expects: [`Kind`]                      |
/// | 1 byte   | codec       | [`Codec`] of arguments and results                     |
/// | 8 bytes  | fingerprint | of the types, big-endian; 0 if the caller knows none   |
/// | varint   | timeout     | remaining milliseconds, rounded up, plus one; or 0     |
/// | string   | function    | its name                                               |
/// | options  |             | to the end; their table is in `wire::header::options`  |
///
/// The deadline travels as remaining time, so that clocks need not agree. It is rounded up at each
/// of the two hops, and grows by less than 2 ms in total. Microseconds would take 4 bytes instead
/// of 2 for most deadlines, and a network does not deliver calls that precisely.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct CallHeader {
    pub(crate) id: CallId,
    pub(crate) attempt: u64,
    pub(crate) kind: Kind,
    pub(crate) codec: Codec,
    pub(crate) fingerprint: u64,
    pub(crate) timeout: Option<Duration>,
    /// The static name of a stub; owned if it was received, or was chosen at run time.
    pub(crate) function: Cow<'static, str>,
    pub(crate) routing: RoutingOptions,
    /// Keys and values from the caller to the function, beside the arguments.
    pub(crate) metadata: Vec<(String, String)>,
    /// The number of items after which the caller ends the stream.
    pub(crate) limit: Option<u64>,
    /// What the node does with the items of a stream, in this order.
    pub(crate) operators: Vec<Operator>,
    /// Whether the caller of a stream sends `Taken` frames.
    pub(crate) demand: bool,
    /// Of a resumable stream, or a call with a resumable client stream. Boxed, because it is rare.
    pub(crate) resume: Option<Box<ResumeRequest>>,
    /// Whether the caller requests a `Trace` frame.
    pub(crate) traced: bool,
    /// How long the gateway has held the call, for the `Trace` frame.
    pub(crate) held: Duration,
    /// Where the call belongs in a distributed trace. Boxed: most calls belong in none.
    pub(crate) trace_context: Option<Box<TraceContext>>,
    /// The caller's own deduplication key.
    pub(crate) key: Option<Box<str>>,
    /// Whether the call is a job, or asks about jobs. Boxed: few calls do.
    pub(crate) job: Option<Box<JobOption>>,
    /// The caller. Set by the gateway, which overwrites a caller-supplied value.
    pub(crate) caller: Option<KnownCaller>,
}

/// Displays the keys of metadata only: the values may be secrets, such as a user's token.
pub(crate) struct MetadataKeys<'a>(pub(crate) &'a [(String, String)]);

impl fmt::Debug for MetadataKeys<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(key, _)| key)).finish()
    }
}

impl fmt::Debug for CallHeader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, attempt, kind, codec, fingerprint, timeout, function, routing, .. } = self;
        let Self { metadata, limit, operators, demand, resume, traced, held, key, job, .. } = self;
        let Self { trace_context, caller, .. } = self;
        f.debug_struct("CallHeader")
            .field("id", id)
            .field("attempt", attempt)
            .field("kind", kind)
            .field("codec", codec)
            .field("fingerprint", fingerprint)
            .field("timeout", timeout)
            .field("function", function)
            .field("routing", routing)
            .field("metadata", &MetadataKeys(metadata))
            .field("limit", limit)
            .field("operators", operators)
            .field("demand", demand)
            .field("resume", resume)
            .field("traced", traced)
            .field("held", held)
            .field("trace_context", trace_context)
            .field("key", key)
            .field("job", job)
            .field("caller", caller)
            .finish()
    }
}

/// Bytes of [`MAX_HEADER`] that a client leaves for the gateway, which adds the caller.
const RESERVE: usize = 512;

impl CallHeader {
    /// Creates the header of the first attempt at a call, without options.
    pub(crate) fn new(
        id: CallId,
        function: impl Into<Cow<'static, str>>,
        kind: Kind,
        codec: Codec,
    ) -> Self {
        Self {
            id,
            attempt: 0,
            kind,
            codec,
            fingerprint: 0,
            timeout: None,
            function: function.into(),
            routing: RoutingOptions::default(),
            metadata: Vec::new(),
            limit: None,
            operators: Vec::new(),
            demand: false,
            resume: None,
            traced: false,
            held: Duration::ZERO,
            trace_context: None,
            key: None,
            job: None,
            caller: None,
        }
    }

    /// Returns whether the call runs as a job, without its caller.
    pub(crate) fn is_spawn(&self) -> bool {
        self.job.as_deref() == Some(&JobOption::Spawn)
    }

    /// Returns what the call asks about jobs, if it does.
    pub(crate) fn job_request(&self) -> Option<&JobRequest> {
        match self.job.as_deref() {
            Some(JobOption::Request(request)) => Some(request),
            _ => None,
        }
    }

    /// Appends the header as a frame.
    ///
    /// # Errors
    /// The length of a header that exceeds [`MAX_HEADER`], or leaves no room for the caller.
    pub(crate) fn put(&self, out: &mut Vec<u8>) -> Result<(), usize> {
        let start = frame::begin(out, FrameKind::Header);
        out.extend_from_slice(&self.id);
        out.put_varint(self.attempt);
        out.push(self.kind.code());
        out.push(self.codec.code());
        out.extend_from_slice(&self.fingerprint.to_be_bytes());
        out.put_varint(self.timeout.map_or(0, |left| milliseconds(left.min(MAX_TIMEOUT)) + 1));
        out.put_str(&self.function, MAX_HEADER);
        options::put(self, out);
        let reserve = if self.caller.is_some() { 0 } else { RESERVE };
        frame::finish(out, start, MAX_HEADER - reserve)
    }

    /// Returns whether the call continues a resumable stream.
    pub(crate) fn continues(&self) -> bool {
        self.resume.as_ref().is_some_and(|resume| resume.continues())
    }

    /// Decodes the body of a `Header` frame.
    ///
    /// # Errors
    /// `Protocol` if a field or an option is malformed, `Unavailable` if a critical option is
    /// unknown.
    pub(crate) fn read(body: &[u8]) -> Result<Self, Malformed> {
        Self::read_knowing(body, &mut None)
    }

    /// [`read`](Self::read), reusing the caller that was read last if it is the same.
    ///
    /// # Errors
    /// Those of `read`.
    pub(crate) fn read_knowing(
        body: &[u8],
        known: &mut Option<KnownCaller>,
    ) -> Result<Self, Malformed> {
        Self::read_all(body, known).map_err(|cause| cause.within("call header"))
    }

    /// Checks that the options of streams fit the call, and each other.
    fn check_stream(&self) -> Result<(), Malformed> {
        let Self { kind, limit, operators, demand, resume, .. } = self;
        let mistake = if !kind.gives_stream() && (*demand || !operators.is_empty()) {
            "`operators` or `demand` in a call with one result"
        } else if limit.is_some() && !operators.is_empty() {
            "`limit` beside `operators`, whose `take` has a place among them"
        } else if !demand && operators.iter().any(Operator::needs_demand) {
            "`latest` or `buffer` without `demand`"
        } else if resume.is_some() && !(*demand && *kind == Kind::Stream || *kind == Kind::Upload) {
            "`resume` in a call that cannot be resumed"
        } else if *kind != Kind::Stream && resume.as_ref().is_some_and(|resume| resume.ring) {
            "a replay ring in a call with one result"
        } else {
            return Ok(());
        };
        Err(Malformed::new(mistake))
    }

    fn read_all(body: &[u8], known: &mut Option<KnownCaller>) -> Result<Self, Malformed> {
        let mut reader = Reader::new(body);
        let id = reader.array("id")?;
        let attempt = reader.varint("attempt")?;
        let kind = Kind::from_code(reader.u8("kind")?)
            .filter(|kind| kind.is_callable())
            .ok_or_else(|| Malformed::new("`kind` is unknown to this version"))?;
        let codec = Codec::from_code(reader.u8("codec")?)
            .ok_or_else(|| Malformed::new("`codec` is unknown to this version"))?;
        let fingerprint = reader.u64("fingerprint")?;
        let timeout = reader.varint("timeout")?;
        let timeout = timeout.checked_sub(1).map(|ms| Duration::from_millis(ms).min(MAX_TIMEOUT));
        let function = reader.str(MAX_NAME, "function")?.to_owned();
        let mut header =
            Self { attempt, fingerprint, timeout, ..Self::new(id, function, kind, codec) };
        options::read(&mut reader, &mut header, known)?;
        header.check_stream()?;
        Ok(header)
    }
}

/// Returns whole milliseconds, rounded up. Rounded down, a nested call would expire before its
/// enclosing call.
fn milliseconds(left: Duration) -> u64 {
    u64::try_from(left.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX - 1)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::wire::caller::Caller;
    use crate::wire::control::Role;
    use crate::wire::frame::FRAME_HEADER;
    use crate::wire::limits::{MAX_LIST, MAX_METADATA};
    use crate::wire::operators::AppliedFunction;
    use crate::wire::resume::{ResumeSecret, ResumeStep};
    use crate::wire::routing_options::{HedgeLeg, Strategy};

    fn sample() -> CallHeader {
        CallHeader {
            id: [7; 16],
            attempt: 2,
            kind: Kind::Stream,
            codec: Codec::Json,
            fingerprint: 0x0123_4567_89ab_cdef,
            timeout: Some(Duration::from_millis(1_500)),
            function: "Model.embed".into(),
            routing: RoutingOptions {
                on: Some("gpu-1".into()),
                tags: vec!["gpu".into(), "eu".into()],
                preferred: vec!["near".into()],
                sticky: Some(7),
                strategy: Some(Strategy::Fastest),
                wait: true,
                patience: Duration::from_secs(15),
                sound: true,
                hedge: Some(HedgeLeg::Second),
                not_on: None,
            },
            metadata: vec![("tenant".into(), "a".into()), ("empty".into(), String::new())],
            limit: None,
            operators: vec![
                Operator::Skip(7),
                Operator::Through(Arc::new(AppliedFunction {
                    name: "hot".to_owned(),
                    fingerprint: 7,
                    arguments: vec![1, 2, 3],
                })),
                Operator::Latest,
                Operator::Take(3),
            ],
            demand: true,
            resume: Some(Box::new(ResumeRequest {
                secret: ResumeSecret([9; 16]),
                step: ResumeStep::Continue,
                ring: true,
                taken: 4_711,
                done: 0,
            })),
            traced: true,
            held: Duration::from_micros(4_711),
            trace_context: Some(Box::new(
                TraceContext::new(u128::MAX, 7, true).unwrap().with_tracestate("a=1,b=2"),
            )),
            key: Some("cart-17".into()),
            job: Some(Box::new(JobOption::Request(JobRequest::Cancel([9; 16])))),
            caller: Some(KnownCaller::new(Caller {
                role: Role::Client,
                id: "client-1".into(),
                identity: "ci".into(),
                address: "[::1]:4433".parse().unwrap(),
            })),
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
                assert!(header.caller.is_none(), "{end}");
            }
        }
    }

    #[test]
    fn operators_are_not_called() {
        let header = CallHeader::new([7; 16], "hot", Kind::Operator, Codec::Bincode);
        let mut out = Vec::new();
        header.put(&mut out).unwrap();
        assert!(CallHeader::read(&out[FRAME_HEADER..]).is_err());
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
    fn no_hop_shortens_a_deadline() {
        for (left, sent) in [(1, 1), (999_999, 1), (1_000_000, 1), (1_000_001, 2)] {
            let mut out = Vec::new();
            let timeout = Some(Duration::from_nanos(left));
            CallHeader { timeout, ..sample() }.put(&mut out).unwrap();
            let back = CallHeader::read(&out[FRAME_HEADER..]).unwrap();
            assert_eq!(back.timeout, Some(Duration::from_millis(sent)));
        }
    }

    #[test]
    fn a_header_above_the_limit_is_refused() {
        let header = CallHeader { function: "x".repeat(MAX_HEADER).into(), ..sample() };
        assert!(header.put(&mut Vec::new()).is_err());
        let function = "x".repeat(MAX_HEADER - RESERVE).into();
        let mut header = CallHeader { function, caller: None, ..sample() };
        assert!(header.put(&mut Vec::new()).is_err());
        header.caller = sample().caller;
        header.put(&mut Vec::new()).unwrap();
        let header = CallHeader { function: "x".repeat(MAX_NAME + 1).into(), ..sample() };
        let mut out = Vec::new();
        header.put(&mut out).unwrap();
        assert!(CallHeader::read(&out[FRAME_HEADER..]).is_err());
    }

    #[test]
    fn metadata_and_tags_have_limits() {
        let reads = |header: &CallHeader| {
            let mut out = Vec::new();
            header.put(&mut out).unwrap();
            CallHeader::read(&out[FRAME_HEADER..]).is_ok()
        };
        let pairs = |n: usize, length: usize| {
            let pair = ("k".to_owned(), "x".repeat(length - 1));
            CallHeader { metadata: vec![pair; n], ..sample() }
        };
        assert!(reads(&pairs(MAX_LIST, 10)));
        assert!(!reads(&pairs(MAX_LIST + 1, 10)));
        // One option may be as long as all metadata together, plus its lengths.
        assert!(reads(&pairs(2, MAX_METADATA / 2)));
        assert!(!reads(&pairs(2, MAX_METADATA / 2 + 1)));
        let tags = |n: usize, length: usize| {
            let mut header = sample();
            header.routing.tags = vec!["t".repeat(length); n];
            header
        };
        assert!(reads(&tags(MAX_LIST, MAX_NAME)));
        assert!(!reads(&tags(MAX_LIST + 1, 1)));
        assert!(!reads(&tags(1, MAX_NAME + 1)));
    }
}
