//! A call before its first poll: encoded arguments, and options that can still be set.
//!
//! Arguments are encoded when the call is created, so that it borrows nothing from its caller. The
//! first poll [freezes](PendingCall::freeze) the options, and starts the clock of the deadline.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures::Stream;
use serde::Serialize;
use tokio::time::Instant;

use crate::call::deadline::now;
use crate::call::demand::Demand;
use crate::call::retry_budget::PaidLosses;
use crate::client::detour::share;
use crate::client::errors::closed;
use crate::client::expired::Expired;
use crate::client::handle::Client;
use crate::client::leg::{LegMark, ReadLeg};
use crate::client::options::{DeadlineSpec, Options};
use crate::client::resumption::{ResumePoint, Resumption};
use crate::client::retry::{MAX_KEPT, Policy};
use crate::client::ring::{RingCall, RingReader, StreamPosition};
use crate::client::skew::SkewedCall;
use crate::client::span::ClientSpan;
use crate::client::upload::UploadSender;
use crate::error::{Error, ErrorKind};
use crate::function::arguments::Arguments;
use crate::function::remote::Remote;
use crate::function::upload::Uploaded;
use crate::transport::auth::identity::random;
use crate::transport::byte_channel::ByteReceiver;
use crate::transport::call_span::CallSpan;
use crate::transport::live_connection::LiveConnection;
use crate::wire::codec::Codec;
use crate::wire::frame::{self, FrameKind};
use crate::wire::header::CallHeader;
use crate::wire::kind::Kind;
use crate::wire::limits::{MAX_APPLIED, MAX_HEADER, MAX_KEY, MAX_NAME, MAX_OPERATORS};
use crate::wire::operators::{Operator, applied_in};
use crate::wire::resume::{ResumeRequest, ResumeSecret, ResumeStep};

/// A call before its first poll.
pub(super) struct PendingCall {
    pub(super) client: Client,
    pub(super) header: CallHeader,
    /// The arguments, as a `Body` frame.
    pub(super) body: Vec<u8>,
    /// The types of the function as the caller knows them, for error texts.
    pub(super) signature: &'static str,
    pub(super) options: Options,
    /// Whether the function may run more than once.
    pub(super) idempotent: bool,
    /// The sender of the client stream, and the end at which its frames come out.
    pub(super) upload: Option<(UploadSender, ByteReceiver<()>)>,
    /// What the reader of the stream has taken, if the node is told.
    pub(super) demand: Option<Arc<Demand>>,
    /// Whether the stream, or the client stream of a call with one result, is to survive a lost
    /// connection.
    pub(super) resumable: bool,
    /// Whether the function has a `#[resume]` parameter.
    pub(super) resumes: bool,
    /// Of a stream with a replay ring.
    pub(super) ring: Option<RingCall>,
    /// Set by the first poll of a call that is resumable.
    pub(super) resumption: Option<Box<Resumption>>,
    /// Set by the first poll.
    pub(super) deadline: Option<Instant>,
    /// The time from the first poll to the deadline.
    pub(super) limit: Option<Duration>,
    /// Whether the client itself waits for a node, by asking its gateways in turn. Otherwise the
    /// gateway waits.
    pub(super) waits: bool,
    /// The losses that the retry budget had paid for when the first attempt began.
    pub(super) paid: PaidLosses,
    /// Set if the function may be called by name where a node has other types.
    pub(super) skew: Option<Box<SkewedCall>>,
    /// Set if the call is made a second time when it is slow.
    pub(super) hedge: Option<Hedge>,
    /// Set by the first poll.
    pub(super) span: CallSpan,
}

/// When and whether the call may be made a second time; set by [`Call::hedge`](crate::Call::hedge).
#[derive(Clone, Copy, Debug)]
pub(super) struct Hedge {
    pub(super) after: Duration,
    /// Whether the function runs on when its call is cancelled.
    pub(super) is_detached: bool,
}

impl PendingCall {
    /// Creates a call of a function whose types are known, and encodes its arguments.
    ///
    /// # Errors
    /// `InvalidInput` if a type of the function is unsupported, or the arguments cannot be encoded;
    /// `TooLarge` if they exceed the limit for one message.
    pub(super) fn typed<F: Remote>(
        client: &Client,
        arguments: &F::Arguments,
    ) -> Result<Self, Error> {
        let descriptor = F::DESCRIPTOR;
        let signature = F::signature();
        if let Some(why) = &signature.refused {
            let text = format!("`{}` cannot be called: {why}", descriptor.name);
            return Err(Error::new(ErrorKind::InvalidInput, text));
        }
        let max_decoded = client.link.limits.max_decoded;
        let body = body(client, descriptor.name, |out| {
            arguments.encode(&signature.arguments, out, max_decoded)
        })?;
        let id = client.link.next_call_id();
        let (name, kind) = (descriptor.name, descriptor.kind);
        let header = CallHeader {
            fingerprint: signature.fingerprint,
            ..CallHeader::new(id, name, kind, Codec::Bincode)
        };
        let mut options = Options::clone(&client.options);
        if let (DeadlineSpec::Done, Some(timeout)) = (options.until, descriptor.timeout) {
            options.until = DeadlineSpec::After(timeout);
        }
        Ok(Self {
            signature: &signature.text,
            idempotent: descriptor.idempotent,
            resumable: descriptor.resumable,
            resumes: descriptor.resumes,
            skew: SkewedCall::of::<F>(),
            ..Self::new(client, header, body, options)
        })
    }

    /// Creates a call by name, with JSON.
    ///
    /// # Errors
    /// As for [`typed`](Self::typed), and `InvalidInput` if the name is too long.
    pub(super) fn json(
        client: &Client,
        function: String,
        kind: Kind,
        arguments: &(impl Serialize + 'static),
    ) -> Result<Self, Error> {
        if function.len() > MAX_NAME {
            let text = format!("the name of a function is at most {MAX_NAME} bytes long");
            return Err(Error::new(ErrorKind::InvalidInput, text));
        }
        let body = body(client, &function, |out| Codec::Json.encode(arguments, out))?;
        let header = CallHeader::new(client.link.next_call_id(), function, kind, Codec::Json);
        Ok(Self::new(client, header, body, Options::clone(&client.options)))
    }

    /// Creates a call that continues a stream with a replay ring, of JSON.
    #[cfg(feature = "http")]
    pub(super) fn continued(client: &Client, function: String, position: StreamPosition) -> Self {
        let mut body = Vec::new();
        frame::put(&mut body, FrameKind::Body, &[]);
        let mut options = Options::clone(&client.options);
        // It goes to the node that has the stream, whatever the client chooses for its calls.
        options.routing = Default::default();
        options.routing.on = Some(position.node.clone());
        let header = CallHeader::new(position.call, function, Kind::Stream, Codec::Json);
        let ring = Some(RingCall::Continues(Box::new(position)));
        Self { resumable: true, ring, ..Self::new(client, header, body, options) }
    }

    /// Creates a request about jobs of `function` at a node. It is retried like the call of an
    /// `idempotent` function.
    pub(super) fn job_request(client: &Client, function: &str, node: &str) -> Self {
        let mut body = Vec::new();
        frame::put(&mut body, FrameKind::Body, &[]);
        let retry = Some(client.options.retry.unwrap_or_default());
        let mut options = Options { retry, ..Options::default() };
        options.routing.on = Some(node.to_owned());
        let (id, function) = (client.link.next_call_id(), function.to_owned());
        let header = CallHeader::new(id, function, Kind::Unary, Codec::Json);
        Self { idempotent: true, ..Self::new(client, header, body, options) }
    }

    /// Creates a call without the properties that the descriptor of a function has.
    fn new(client: &Client, header: CallHeader, body: Vec<u8>, options: Options) -> Self {
        Self {
            client: client.clone(),
            header,
            body,
            signature: "",
            options,
            idempotent: false,
            upload: None,
            demand: None,
            resumable: false,
            resumes: false,
            ring: None,
            resumption: None,
            deadline: None,
            limit: None,
            waits: false,
            paid: PaidLosses::default(),
            skew: None,
            hedge: None,
            span: CallSpan::none(),
        }
    }

    /// Begins the span of the call, as the first step of its first poll. A hedge is a part of the call
    /// that it hedges, and has no span of its own; nor has a request about jobs.
    pub(super) fn begin_span(&mut self) -> ClientSpan {
        if self.header.attempt > 0 || self.header.job_request().is_some() {
            return ClientSpan::none();
        }
        self.header.trace_context = self.options.trace_context.take();
        self.span = CallSpan::of_client(&mut self.header);
        let link = &self.client.link;
        self.span.note_server(|| link.live().map(|live| live.connection.remote_address()));
        ClientSpan::new(self.span.clone())
    }

    /// Checks the options, moves them into the header, and sets the deadline. Later changes to the
    /// options have no effect.
    ///
    /// # Errors
    /// `InvalidInput` if an option exceeds its limit, `ConnectionLost` if the client is closed, and
    /// the error of the expired call if its time is over. Nothing may be sent then.
    pub(super) fn freeze(&mut self) -> Result<(), Error> {
        self.options.check(&self.header.function)?;
        self.check_key()?;
        self.header.routing = std::mem::take(&mut self.options.routing);
        self.header.metadata = std::mem::take(&mut self.options.metadata);
        // With several gateways no single one may hold the call: each would wait for a node, or use
        // a suspect one, while another gateway has a sound node.
        if self.client.link.gateways.is_some() && self.is_repeatable() {
            self.header.routing.sound = true;
            self.waits = std::mem::take(&mut self.header.routing.wait);
        }
        self.check_header()?;
        if self.skew.is_some() {
            self.prepare_skew()?;
        }
        let scope = self.client.scope.as_ref();
        // A nested call ends no later than its enclosing call.
        let inherited = scope.and_then(|scope| scope.deadline).map(Instant::from_std);
        self.deadline = self.options.until.deadline().into_iter().chain(inherited).min();
        if self.client.link.is_closed() {
            return Err(closed());
        }
        self.limit = self.deadline.map(|deadline| deadline.saturating_duration_since(now()));
        let expired = Expired::check(self.deadline, scope);
        expired.map_err(|expired| expired.error(&self.header.function, self.limit))
    }

    /// Checks the caller's deduplication key.
    ///
    /// # Errors
    /// `InvalidInput` if its length is invalid, or the function takes a stream.
    fn check_key(&self) -> Result<(), Error> {
        let CallHeader { key, kind, function, .. } = &self.header;
        let Some(key) = key else { return Ok(()) };
        let text = if *kind != Kind::Unary {
            "a call with a client stream has no key, because the stream cannot be compared"
        } else if !(1..=MAX_KEY).contains(&key.len()) {
            "a key is 1 to 256 bytes long"
        } else {
            return Ok(());
        };
        Err(Error::new(ErrorKind::InvalidInput, format!("cannot call `{function}`: {text}")))
    }

    /// Checks that all options together fit into the header.
    ///
    /// # Errors
    /// `InvalidInput` if they do not.
    fn check_header(&self) -> Result<(), Error> {
        let CallHeader { routing, metadata, operators, .. } = &self.header;
        let tags = routing.tags.iter().chain(&routing.preferred).map(String::len);
        let metadata = metadata.iter().map(|(key, value)| key.len() + value.len());
        let applied = applied_in(operators).map(|it| it.name.len() + it.arguments.len());
        // Most calls are far below the limit, and need not encode the header twice.
        if tags.chain(metadata).chain(applied).sum::<usize>() < MAX_HEADER / 4 {
            return Ok(());
        }
        put_header(&self.header, &mut Vec::new())
    }

    /// Returns whether there can be a second attempt.
    fn is_repeatable(&self) -> bool {
        self.upload.is_none() && self.body.len() <= MAX_KEPT && self.policy().repeats()
    }

    /// Returns the same call with another id, as if it had been made again; `None` if it sends a
    /// client stream.
    pub(super) fn again(&self) -> Option<Self> {
        if self.upload.is_some() {
            return None;
        }
        let mut header = self.header.clone();
        header.id = self.client.link.next_call_id();
        Some(Self {
            signature: self.signature,
            idempotent: self.idempotent,
            demand: self.demand.as_ref().map(|_| Arc::default()),
            resumable: self.resumable,
            resumes: self.resumes,
            skew: self.skew.as_ref().map(|skew| Box::new(skew.again())),
            paid: self.paid,
            ..Self::new(&self.client, header, self.body.clone(), self.options.clone())
        })
    }

    /// Returns the policy for attempts after the first.
    pub(super) fn policy(&self) -> Policy {
        Policy { retry: self.options.retry, idempotent: self.idempotent }
    }

    /// Prepares the first attempt, on `live`.
    ///
    /// To be called before the request is written: the losses that have been paid for by now cannot
    /// be the one that ends this attempt.
    pub(super) fn prepare(&mut self, live: &LiveConnection) {
        let link = &self.client.link;
        self.paid = link.retries.paid_losses();
        let patience = live.others_may_take(link.connect_timeout);
        self.header.routing.patience = match link.gateways {
            Some(_) => share(self.waits, patience, 0),
            None => patience,
        };
    }

    /// Adds an operator behind all others.
    ///
    /// # Errors
    /// That there are too many, or that the arguments of those that apply functions are too long.
    pub(super) fn add_operator(&mut self, operator: Operator) -> Result<(), String> {
        let CallHeader { operators: chain, function, .. } = &mut self.header;
        if let Operator::Through(applied) = &operator {
            let all = applied_in(chain).chain([applied]);
            let bytes: usize = all.map(|it| it.name.len() + it.arguments.len()).sum();
            if bytes > MAX_APPLIED {
                return Err(format!(
                    "the operators of the stream of `{function}` have {bytes} bytes of names and \
                     arguments, and {MAX_APPLIED} are allowed: keep what is longer at the node, as \
                     `#[state]`, or pass it to the function"
                ));
            }
        }
        let full = chain.len() == MAX_OPERATORS;
        match (chain.last_mut(), operator) {
            (Some(Operator::Take(before)), Operator::Take(items)) => *before = items.min(*before),
            _ if full => {
                return Err(format!(
                    "the stream of `{function}` has more than {MAX_OPERATORS} operators"
                ));
            }
            (_, operator) => chain.push(operator),
        }
        Ok(())
    }

    /// Returns the number of items after which the client ends the stream itself, if its operators
    /// do nothing else.
    pub(super) fn only_limit(&self) -> Option<u64> {
        match self.header.operators[..] {
            // Its node ends a stream with a replay ring: the reader may come back for the last items.
            [Operator::Take(items)] if self.ring.is_none() => Some(items),
            _ => None,
        }
    }

    /// Prepares the header for the operators that have been added.
    pub(super) fn seal_operators(&mut self) {
        if let Some(items) = self.only_limit() {
            self.header.operators.clear();
            self.header.limit = Some(items);
        } else if self.header.operators.iter().any(Operator::needs_demand) {
            self.tell_demand();
        }
    }

    /// Lets the node know how many items the reader of the stream has taken.
    pub(super) fn tell_demand(&mut self) {
        self.header.demand = true;
        self.demand.get_or_insert_default();
    }

    /// Makes a stream that has been asked to be resumable so, as part of its first poll. `handover`
    /// bytes may wait for its reader. Returns the reader's side.
    ///
    /// # Errors
    /// `InvalidInput` if the call has a client stream, `Unavailable` if the operating system provides
    /// no random numbers.
    pub(super) fn prepare_legs(&mut self, handover: usize) -> Result<Option<ReadLeg>, Error> {
        if !self.resumable {
            return Ok(None);
        }
        if self.upload.is_some() {
            let text = format!(
                "the stream of `{}` cannot be `resumable`, because the call sends a stream too",
                self.header.function
            );
            return Err(Error::new(ErrorKind::InvalidInput, text));
        }
        let each = self.demand.is_some();
        self.tell_demand();
        let position = match &self.ring {
            Some(RingCall::Continues(position)) => Some(position.clone()),
            _ => None,
        };
        let taken = position.as_ref().map_or(0, |position| position.taken);
        let secret = self.ask_to_resume(position.as_deref())?;
        let mark = LegMark::new(taken);
        let may_start = self.resumes
            && self.ring.is_none()
            && self.is_repeatable()
            && ResumePoint::new(&self.header.operators, 0, &[]).is_some();
        let arguments = if may_start { self.body.clone() } else { Vec::new() };
        let mut resumption =
            Resumption::new(secret.clone(), mark.clone(), handover, arguments, &self.header);
        resumption.ring = self.ring.as_ref().map(|_| match &position {
            Some(position) => Arc::new(RingReader::at(position)),
            None => Arc::new(RingReader::new(self.header.id, secret)),
        });
        if let Some(position) = &position {
            resumption.continue_at(position);
        }
        let ring = resumption.ring.clone();
        self.resumption = Some(Box::new(resumption));
        Ok(Some(ReadLeg::new(mark, each, ring)))
    }

    /// Makes the client stream of a call with one result resumable, if the function says so, as part
    /// of its first poll.
    ///
    /// # Errors
    /// `Unavailable` if the operating system provides no random numbers.
    pub(super) fn keep_upload(&mut self) -> Result<(), Error> {
        if !self.resumable || self.upload.is_none() {
            return Ok(());
        }
        let secret = self.ask_to_resume(None)?;
        let (mark, arguments) = (LegMark::new(0), Vec::new());
        let resumption = Resumption::new(secret, mark, 0, arguments, &self.header);
        self.resumption = Some(Box::new(resumption));
        Ok(())
    }

    /// Adds the request to resume to the header, at `position` if it continues a stream. Returns its
    /// secret.
    fn ask_to_resume(&mut self, position: Option<&StreamPosition>) -> Result<ResumeSecret, Error> {
        let (secret, step, taken) = match position {
            Some(position) => (position.secret.clone(), ResumeStep::Continue, position.taken),
            None => (ResumeSecret(random()?), ResumeStep::Start, 0),
        };
        let ring = self.ring.is_some();
        let request = ResumeRequest { secret: secret.clone(), step, ring, taken, done: 0 };
        self.header.resume = Some(Box::new(request));
        Ok(secret)
    }

    /// Adds a client stream.
    pub(super) fn with_upload<S>(mut self, stream: S) -> Self
    where
        S: Stream<Item: Uploaded> + Send + 'static,
    {
        self.upload = Some(UploadSender::new(stream, self.client.link.limits));
        self
    }

    /// Adds a client stream whose items travel as JSON.
    pub(super) fn add_json_items<S>(&mut self, stream: S)
    where
        S: Stream<Item: Serialize + 'static> + Send + 'static,
    {
        self.header.kind = match self.header.kind.gives_stream() {
            true => Kind::Duplex,
            false => Kind::Upload,
        };
        self.upload = Some(UploadSender::json(stream, self.client.link.limits.max_message));
    }
}

/// Leaves out arguments and metadata, which may be secrets.
impl fmt::Debug for PendingCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PendingCall({})", self.header.function)
    }
}

/// Encodes arguments as a `Body` frame.
///
/// # Errors
/// `InvalidInput` if they cannot be encoded, `TooLarge` if they exceed the client's limit.
fn body(
    client: &Client,
    function: &str,
    encode: impl FnOnce(&mut Vec<u8>) -> Result<(), String>,
) -> Result<Vec<u8>, Error> {
    // Enough for the arguments of most calls.
    let mut out = Vec::with_capacity(128);
    let start = frame::begin(&mut out, FrameKind::Body);
    encode(&mut out).map_err(|text| {
        let text = format!("the arguments of `{function}` cannot be encoded: {text}");
        Error::new(ErrorKind::InvalidInput, text)
    })?;
    let max = client.link.limits.max_message;
    frame::finish(&mut out, start, max).map_err(|length| {
        let text = format!(
            "the arguments of `{function}` are {length} bytes long, and the limit for one message \
             is {max}; send them in pieces as a client stream, or raise `max_message` of client, \
             gateway and node"
        );
        Error::new(ErrorKind::TooLarge, text)
    })?;
    Ok(out)
}

/// Appends the header of a call that is sent now, followed by `body`. The header has the time that
/// is left until the deadline.
///
/// # Errors
/// `InvalidInput` if the header is too long.
pub(super) fn put_request(
    header: &mut CallHeader,
    deadline: Option<Instant>,
    body: &[u8],
    out: &mut Vec<u8>,
) -> Result<(), Error> {
    header.timeout = deadline.map(|deadline| deadline.saturating_duration_since(now()));
    put_header(header, out)?;
    out.extend_from_slice(body);
    Ok(())
}

fn put_header(header: &CallHeader, out: &mut Vec<u8>) -> Result<(), Error> {
    header.put(out).map_err(|length| {
        let text = format!(
            "the call header is {length} bytes long, and the limit is {MAX_HEADER}; set fewer or \
             shorter options"
        );
        Error::new(ErrorKind::InvalidInput, text)
    })
}
