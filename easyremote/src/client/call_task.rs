//! What happens to a call on the client's I/O thread.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use tokio::time::{Instant, sleep, timeout};

use crate::call::executed::Evidence;
use crate::call::retry_budget::PaidLosses;
use crate::client::detour::{Detour, RoundEnd, is_refusal};
use crate::client::errors::{connection_broke, with_signature};
use crate::client::expired::{Expired, unless_expired};
use crate::client::pending_call::{PendingCall, put_request};
use crate::client::retry::{AttemptHistory, MAX_KEPT, Policy, Verdict};
use crate::client::trace::Trace;
use crate::client::upload::{Sending, UploadSender};
use crate::error::{Error, ErrorKind};
use crate::function::context::Scope;
use crate::transport::byte_channel::{ByteReceiver, ByteSender};
use crate::transport::connection::{ConnectionNeed, ManagedConnection};
use crate::transport::live_connection::LiveConnection;
use crate::transport::mux::client::MuxEnd;
use crate::transport::quic::stream::{Broken, FrameError, RecvHalf, halves};
use crate::wire::error::read_error;
use crate::wire::frame::{FRAME_HEADER, Frame, FrameBuffer, FrameKind};
use crate::wire::header::CallHeader;
use crate::wire::kind::Kind;
use crate::wire::response::Response;

/// Arguments of up to so many bytes are copied behind the header, to be written as one.
const SHORT: usize = 16 << 10;

/// Longest wait for a connection to another gateway. One that is far away answers within a second;
/// one that is gone is not to keep a call for long.
const REACHED: Duration = Duration::from_secs(2);

/// A call on its way: what is left of [`PendingCall`] once it runs.
#[derive(Debug)]
pub(super) struct CallTask {
    // Not the whole client: its thread must not be owned by what runs on it.
    link: Arc<ManagedConnection>,
    /// The call that this one is made for.
    scope: Option<Scope>,
    request: CallRequest,
    policy: Policy,
    deadline: Option<Instant>,
    /// The time that the call had.
    limit: Option<Duration>,
    /// What is known of the present attempt.
    evidence: Evidence,
    /// Which losses had been paid for when it began.
    paid: PaidLosses,
    /// The number of its gateway.
    gateway: usize,
    /// Whether its error is a gateway's, or a node's.
    refused: bool,
    /// Whether it is not for a gateway that drains.
    lasting: bool,
    past: AttemptHistory,
    detour: Detour,
}

struct CallRequest {
    header: CallHeader,
    /// The arguments, as a `Body` frame; empty once they have been sent and are not kept.
    body: Vec<u8>,
    signature: &'static str,
    /// The caller's stream, as frames.
    upload: Option<ByteReceiver<()>>,
}

/// Nothing of its arguments, which may be secrets.
impl fmt::Debug for CallRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CallRequest({:?})", self.header)
    }
}

/// What comes back for a call of one result.
#[derive(Debug)]
pub(super) struct UnaryAnswer {
    /// `Body` or `Fault`.
    pub(super) frame: Frame,
    /// If it was asked for.
    pub(super) trace: Option<Box<Trace>>,
}

impl CallTask {
    /// Gives the caller's stream back, which is polled with the call.
    pub(super) fn new(prepared: PendingCall) -> (Self, Option<UploadSender>) {
        let policy = prepared.policy();
        let PendingCall { client, header, body, signature, upload, deadline, .. } = prepared;
        let PendingCall { limit, waits, paid, .. } = prepared;
        let (upload, frames) = upload.unzip();
        let lasting = header.kind != Kind::Unary;
        let exchange = Self {
            link: client.link,
            deadline,
            limit,
            scope: client.scope,
            request: CallRequest { header, body, signature, upload: frames },
            policy,
            evidence: Evidence::NotSent,
            paid,
            gateway: 0,
            refused: false,
            lasting,
            past: AttemptHistory::default(),
            detour: Detour::new(waits),
        };
        (exchange, upload)
    }

    /// Makes the call and gives what comes back; after a pause, if it is made again.
    pub(super) async fn unary(mut self, pause: Duration) -> Result<UnaryAnswer, Error> {
        let (deadline, scope) = (self.deadline, self.scope.clone());
        let answer = unless_expired(deadline, scope, async {
            if !pause.is_zero() {
                sleep(pause).await;
            }
            loop {
                match self.exchange().await {
                    Ok(answer) => {
                        self.link.retries.refund();
                        return Ok(answer);
                    }
                    Err(error) => self.again(error).await?,
                }
            }
        });
        match answer.await {
            Ok(answer) => answer,
            Err(expired) => Err(self.expired(expired, self.evidence)),
        }
    }

    /// Makes the call and hands over all that comes back, until it ends or nobody wants it.
    pub(super) async fn stream(mut self, mut sender: ByteSender<Error>) {
        let (deadline, scope) = (self.deadline, self.scope.clone());
        let pumped = unless_expired(deadline, scope, async {
            while let Err(error) = self.pump(&mut sender).await {
                self.again(error).await?;
            }
            self.link.retries.refund();
            Ok(())
        });
        let result = match pumped.await {
            Ok(result) => result,
            Err(expired) => Err(self.expired(expired, self.evidence)),
        };
        if let Err(error) = result {
            sender.end(error);
        }
    }

    /// Prepares another attempt after one that failed with `error`, and waits for its time.
    ///
    /// # Errors
    /// Why the call has failed, if there is to be no other.
    async fn again(&mut self, error: Error) -> Result<(), Error> {
        sleep(self.prepare_again(error)?).await;
        Ok(())
    }

    /// Prepares another attempt after one that failed with `error`; gives the pause before it.
    ///
    /// # Errors
    /// `error`, if there is to be no other.
    pub(super) fn prepare_again(&mut self, error: Error) -> Result<Duration, Error> {
        // What is not kept cannot be sent again, and what has been opened is not begun anew.
        let kept = !self.request.body.is_empty() && self.evidence != Evidence::Answered;
        let error = match self.reroute(error, kept && self.policy.repeats()) {
            Ok(pause) => {
                self.evidence = Evidence::NotSent;
                return Ok(pause);
            }
            Err(error) => error,
        };
        let attempt = self.request.header.attempt - self.detour.attempts();
        let verdict = if kept { self.policy.judge(&error, attempt) } else { Verdict::Final };
        let retries = &self.link.retries;
        let pause = match verdict {
            Verdict::Free(pause) => pause,
            Verdict::Budgeted(pause) if retries.take() => pause,
            Verdict::Lost(pause) if retries.take_for_loss(self.paid) => pause,
            Verdict::Budgeted(_) | Verdict::Lost(_) | Verdict::Final => {
                return Err(self.past.conclude(error));
            }
        };
        self.link.note_retry(&error, pause);
        // Before the pause, in which the call may be over: then this is what is known of it.
        self.past.add(error);
        self.evidence = Evidence::NotSent;
        self.request.header.attempt += 1;
        Ok(pause)
    }

    /// Chooses another gateway for a call that one has refused, if the call `may` be made again.
    /// Returns the pause before the next attempt.
    ///
    /// # Errors
    /// `error`, or what tells more of why, if there is none.
    fn reroute(&mut self, error: Error, may: bool) -> Result<Duration, Error> {
        if !std::mem::take(&mut self.refused) || !is_refusal(&error) {
            return Err(error);
        }
        let Some(gateways) = &self.link.gateways else { return Err(error) };
        if !may {
            // For those that come after it.
            gateways.ask();
            return Err(error);
        }
        self.detour.note_refusal(self.gateway, error);
        if gateways.has_other(self.detour.tried()) {
            self.detour.go_elsewhere();
            return Ok(Duration::ZERO);
        }
        self.end_round()
    }

    /// Ends a round in which every gateway has been asked. If the call waits for a node, the next
    /// round begins after the pause that is returned.
    ///
    /// # Errors
    /// Why the gateways have refused it, if it does not.
    fn end_round(&mut self) -> Result<Duration, Error> {
        match self.detour.end_round() {
            RoundEnd::Next => {
                self.note_detour();
                Ok(self.policy.pause(self.detour.rounds()))
            }
            RoundEnd::Refused(error) => Err(error),
        }
    }

    /// Counts an attempt that is made because a gateway has refused the call.
    fn note_detour(&mut self) {
        self.request.header.attempt += 1;
        self.detour.note_attempt();
    }

    /// The connection for the next attempt.
    async fn route(&mut self) -> Result<Arc<LiveConnection>, Error> {
        if self.detour.goes_elsewhere()
            && let Some(gateways) = &self.link.gateways
        {
            let limit = self.link.connect_timeout.min(REACHED);
            match gateways.elsewhere(self.detour.tried(), limit).await {
                Some(live) => {
                    self.note_detour();
                    return Ok(live);
                }
                None => sleep(self.end_round()?).await,
            }
        }
        let bytes = self.request.body.len();
        let again = self.request.header.attempt > 0;
        loop {
            let need = ConnectionNeed { bytes, again, lasting: self.lasting };
            let live = self.link.connection(need).await;
            let live = live.map_err(|error| self.with_evidence(error))?;
            if self.lasting || !live.holds_back(&self.request.header.function) {
                return Ok(live);
            }
            self.lasting = true;
        }
    }

    /// Prepares the attempt that is made on `live`.
    fn begin_attempt(&mut self, live: &LiveConnection) {
        self.gateway = live.gateway;
        self.paid = self.link.retries.paid_losses();
        let patience = self.past.patience(live, self.link.connect_timeout);
        self.request.header.routing.patience = match self.link.gateways {
            Some(_) => self.detour.share(patience),
            None => patience,
        };
        // When no gateway has a better node, a suspect one will do.
        self.request.header.routing.sound &= !self.detour.has_asked_all();
    }

    /// One attempt on a stream of its own.
    async fn exchange(&mut self) -> Result<UnaryAnswer, Error> {
        // The connection counts as used as long as `live` is held.
        let (live, mut sending, mut recv) = self.send().await?;
        let mut buffer = FrameBuffer::new(live.max_message);
        let link = self.link.clone();
        let response = tokio::select! {
            biased;
            response = link.room.response(&mut recv, &mut buffer) => response,
            never = sending.rest() => match never {},
        };
        // The FIN has come with the last frame as a rule. Reading it spares telling the gateway to
        // stop.
        let _ = recv.read().now_or_never();
        response
            .map_err(|error| self.broken(error))
            .and_then(|response| self.answer(response, &live))
    }

    /// What an attempt on the multiplexed stream came to.
    pub(super) fn ended(
        &mut self,
        end: MuxEnd,
        live: &LiveConnection,
    ) -> Result<UnaryAnswer, Error> {
        self.evidence = Evidence::Sent;
        self.gateway = live.gateway;
        self.detour.wait_for_others(live.others_may_take(self.link.connect_timeout));
        match end {
            MuxEnd::Response(response) => {
                let answer = self.answer(response, live);
                if answer.is_ok() {
                    self.link.retries.refund();
                }
                answer
            }
            MuxEnd::Failed(error) => Err(self.broken(error)),
            MuxEnd::Late => Err(self.expired(Expired::Late, Evidence::Sent)),
            MuxEnd::Lost { evidence, cause } => {
                self.evidence = evidence;
                Err(self.lost(cause))
            }
        }
    }

    fn answer(
        &mut self,
        Response { trace, frame }: Response,
        live: &LiveConnection,
    ) -> Result<UnaryAnswer, Error> {
        if frame.kind == FrameKind::Error {
            return Err(self.refused(&frame, live));
        }
        live.note_served();
        let header = &self.request.header;
        let trace = header.traced.then(|| Box::new(Trace::new(trace, header.attempt + 1)));
        Ok(UnaryAnswer { frame, trace })
    }

    async fn pump(&mut self, sender: &mut ByteSender<Error>) -> Result<(), Error> {
        let sending = self.send();
        let (live, mut sending, mut recv) = tokio::select! {
            biased;
            sent = sending => sent?,
            () = sender.closed() => return Ok(()),
        };
        tokio::select! {
            biased;
            received = self.receive(&mut recv, sender, &live) => received,
            never = sending.rest() => match never {},
        }
    }

    async fn receive(
        &mut self,
        recv: &mut RecvHalf,
        sender: &mut ByteSender<Error>,
        live: &LiveConnection,
    ) -> Result<(), Error> {
        loop {
            let read = tokio::select! {
                biased;
                () = sender.closed() => return Ok(()),
                read = recv.read() => read,
            };
            let chunks = match read {
                Ok(Some(chunks)) => chunks,
                // After the end of the stream nobody asks; before it, this is what has happened.
                Ok(None) => {
                    let text = "the stream broke off without an end";
                    return Err(self.with_evidence(Error::new(ErrorKind::Protocol, text)));
                }
                Err(broken) => return Err(self.broken(FrameError::Broken(broken))),
            };
            if self.evidence != Evidence::Answered {
                let first = chunks.iter().find_map(|chunk| chunk.first());
                if first == Some(&(FrameKind::Error as u8)) {
                    // Not opened: the call may be made again, or is over.
                    let mut buffer = FrameBuffer::new(0);
                    chunks.iter().for_each(|chunk| buffer.push(chunk));
                    return Err(match recv.frame(&mut buffer).await {
                        Ok(Some(frame)) => self.refused(&frame, live),
                        Ok(None) => self.protocol_error("an error without a text".into()),
                        Err(error) => self.broken(error),
                    });
                }
                self.evidence = Evidence::Answered;
                live.note_served();
            }
            // Waits while the consumer is slow; unread data then fills the window, and QUIC makes
            // the producer wait.
            match sender.send_patiently(chunks.as_slice(), self.link.stall_timeout).await {
                Some(Ok(())) => {}
                Some(Err(_)) => return Ok(()),
                None => return Err(self.stalled()),
            }
        }
    }

    /// Sends the call, but for the caller's stream. Gives what sends that, where the answer comes
    /// from, and the connection that both are on.
    async fn send(&mut self) -> Result<(Arc<LiveConnection>, Sending, RecvHalf), Error> {
        // An attempt that is made again, or that waited for a connection, may have no time left.
        let in_time = |task: &Self| {
            let expired = Expired::check(task.deadline, task.scope.as_ref());
            expired.map_err(|expired| task.expired(expired, Evidence::NotSent))
        };
        in_time(self)?;
        let live = self.route().await?;
        let (connection, max_message) = (&live.connection, live.max_message);
        let length = self.request.body.len() - FRAME_HEADER;
        if length > max_message {
            let text = format!(
                "the arguments of `{}` have {length} bytes, and the gateway relays {max_message}",
                self.request.header.function
            );
            return Err(Error::new(ErrorKind::TooLarge, text));
        }
        let limit = self.link.connect_timeout;
        self.begin_attempt(&live);
        let stream = match timeout(limit, connection.open_bi()).await {
            Ok(opened) => opened.map_err(|cause| self.lost(Broken::Connection(cause)))?,
            Err(_) => {
                let text = format!(
                    "this client has all calls and streams open that the gateway allows, and none \
                     has ended for {limit:?}"
                );
                return Err(Error::new(ErrorKind::Overloaded, text));
            }
        };
        in_time(self)?;
        let (mut send, recv) = halves(stream, &live.windows);
        let first = self.first()?;
        let mut written = send.write(&first).await;
        if written.is_ok() && self.request.body.len() > SHORT {
            written = send.write(&self.request.body).await;
        }
        match written {
            Ok(()) => {
                self.evidence = Evidence::Sent;
                if self.request.upload.is_none() {
                    send.finish();
                }
            }
            // The gateway or the node has seen enough, and says why in its answer.
            Err(Broken::Peer(_)) => {}
            Err(broken) => return Err(self.lost(broken)),
        }
        let upload = self.request.upload.take();
        if upload.is_some() || self.request.body.len() > MAX_KEPT || !self.policy.repeats() {
            self.request.body = Vec::new();
        }
        Ok((live, Sending { send, upload }, recv))
    }

    /// The header, and the arguments as well if they are short.
    fn first(&mut self) -> Result<Vec<u8>, Error> {
        let body = &self.request.body;
        let short = if body.len() <= SHORT { &body[..] } else { &[] };
        let mut first = Vec::with_capacity(128 + short.len());
        put_request(&mut self.request.header, self.deadline, short, &mut first)?;
        Ok(first)
    }

    /// The error in an `Error` frame that has come on `live`.
    fn refused(&mut self, frame: &Frame, live: &LiveConnection) -> Error {
        let error = read_error(&frame.body).map_or_else(
            |cause| self.with_evidence(Error::new(ErrorKind::Protocol, cause.to_string())),
            |error| with_signature(error.weighed(), self.request.signature),
        );
        self.refused = true;
        if is_refusal(&error) {
            live.note_refused();
        } else {
            live.note_served();
        }
        error
    }

    /// The error of an answer that cannot be read on.
    fn broken(&mut self, error: FrameError) -> Error {
        match error {
            FrameError::Broken(Broken::Peer(code)) => {
                // The peer knows better than this side whether the function ran.
                Broken::Peer(code).error(ErrorKind::ConnectionLost)
            }
            FrameError::Broken(broken) => self.lost(broken),
            FrameError::Malformed(_) | FrameError::NoRoom => {
                self.evidence = Evidence::Answered;
                self.with_evidence(error.error(ErrorKind::ConnectionLost))
            }
        }
    }

    fn lost(&self, broken: Broken) -> Error {
        let cause = broken.error(ErrorKind::ConnectionLost);
        self.with_evidence(connection_broke(cause, &self.request.header.function))
    }

    /// The error of a stream that nobody reads.
    fn stalled(&self) -> Error {
        let limit = self.link.stall_timeout;
        let text = format!(
            "nothing was read of the stream of `{}` for {limit:?} although there was something",
            self.request.header.function
        );
        self.with_evidence(Error::new(ErrorKind::SlowConsumer, text))
    }

    /// The error of an answer that breaks the rules.
    fn protocol_error(&mut self, text: String) -> Error {
        self.evidence = Evidence::Answered;
        self.with_evidence(Error::new(ErrorKind::Protocol, text))
    }

    /// The error of a call that has expired, where `evidence` is what is known of its last attempt.
    pub(super) fn expired(&self, expired: Expired, evidence: Evidence) -> Error {
        let error = expired.error(&self.request.header.function, self.limit);
        let error = error.with_evidence(evidence);
        let executed = error.executed().or(self.past.executed());
        error.with_executed(executed)
    }

    fn with_evidence(&self, error: Error) -> Error {
        error.with_evidence(self.evidence)
    }
}
