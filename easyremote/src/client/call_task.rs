//! A call as an I/O task of the client: its attempts, from the first byte sent to its one outcome.
//!
//! ```text
//!            +------------------ again, after a pause ------------------+
//!            v                                                          |
//!   route -> begin_attempt -> send -> wait for the answer -> failed -> prepare_again
//!                                           |                           |
//!                                           v                           v
//!                                         answer                  error of the call
//! ```
//!
//! The first attempt of a small call is made on the multiplexed stream instead, and its outcome
//! enters here through `failed` if it is not an answer.
//!
//! `prepare_again` is the only place that decides on another attempt. A call that a gateway has
//! refused goes to the next gateway ([`Detour`]); everything else is up to the [`Policy`]. The
//! deadline and the end of the enclosing call cut all of it off, pauses included.

mod answer;
mod failure;
mod resume;
mod skew;
mod upload;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use tokio::time::{Instant, sleep, timeout};

use crate::call::demand::Demand;
use crate::call::executed::Evidence;
use crate::call::retry_budget::PaidLosses;
use crate::client::detour::{Detour, RoundEnd, is_refusal};
use crate::client::expired::{Expired, unless_expired};
use crate::client::kept_upload::KeptUpload;
use crate::client::leg::StreamEnd;
use crate::client::pending_call::{PendingCall, put_request};
use crate::client::resumption::Resumption;
use crate::client::retry::{AttemptHistory, MAX_KEPT, Policy, Verdict};
use crate::client::skew::SkewedCall;
use crate::client::upload::{Sending, UploadSender};
use crate::error::{Error, ErrorKind};
use crate::function::context::Scope;
use crate::transport::byte_channel::{ByteReceiver, ByteSender};
use crate::transport::call_span::CallSpan;
use crate::transport::connection::{ConnectionNeed, ManagedConnection};
use crate::transport::live_connection::LiveConnection;
use crate::transport::quic::stream::{Broken, FrameError, RecvHalf, halves};
use crate::wire::frame::{FRAME_HEADER, FrameBuffer, FrameKind};
use crate::wire::header::CallHeader;
use crate::wire::kind::Kind;

pub(super) use crate::client::call_task::answer::UnaryAnswer;

/// Arguments of up to this many bytes are copied behind the header, and written together with it.
const SHORT: usize = 16 << 10;

/// Longest wait for a connection to another gateway. A distant gateway answers within a second; a
/// lost one must not hold a call up for long.
const REACHED: Duration = Duration::from_secs(2);

/// A call that runs: what remains of a [`PendingCall`] after its first poll.
#[derive(Debug)]
pub(super) struct CallTask {
    // Not the whole client: it owns the I/O tasks, and this is one of them, which could
    // then never end.
    link: Arc<ManagedConnection>,
    /// The enclosing call, if this is a nested call.
    scope: Option<Scope>,
    request: CallRequest,
    policy: Policy,
    deadline: Option<Instant>,
    /// The time that the call had until its deadline, for the error text.
    limit: Option<Duration>,
    /// What is known about the current attempt.
    evidence: Evidence,
    /// The losses that the retry budget had paid for when the current attempt began.
    paid: PaidLosses,
    /// The number of the current attempt's gateway.
    gateway: usize,
    /// Whether the current attempt ended with an `Error` frame, from the gateway or the node.
    refused: bool,
    /// Whether the call may take long, so that a draining gateway must not get it.
    lasting: bool,
    history: AttemptHistory,
    detour: Detour,
    /// Of a resumable stream, and of a call with a resumable client stream.
    resumption: Option<Box<Resumption>>,
    span: CallSpan,
}

struct CallRequest {
    header: CallHeader,
    /// The arguments, as a `Body` frame; empty if they have been sent and were not kept.
    body: Vec<u8>,
    signature: &'static str,
    /// How the call is made by name if no node has its types.
    skew: Option<Box<SkewedCall>>,
    /// The client stream, as frames.
    upload: Option<ByteReceiver<()>>,
    /// The client stream, if it is resumable, between attempts.
    kept: Option<Box<KeptUpload>>,
    /// What the reader of the stream has taken, if the node is told.
    demand: Option<Arc<Demand>>,
}

/// Leaves out the arguments, which may be secrets.
impl fmt::Debug for CallRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CallRequest({:?})", self.header)
    }
}

impl CallTask {
    /// Splits a call into its I/O task and the sender of its client stream, which
    /// the caller polls.
    pub(super) fn new(pending: PendingCall) -> (Self, Option<UploadSender>) {
        let policy = pending.policy();
        let PendingCall { client, header, body, signature, upload, deadline, .. } = pending;
        let PendingCall { limit, waits, paid, demand, resumption, skew, span, .. } = pending;
        // A call that is made by name from the start is made in no other way.
        let skew = skew.filter(|_| !header.codec.is_by_name());
        let (upload, mut frames) = upload.unzip();
        let resumed = frames.take_if(|_| resumption.is_some());
        let kept = resumed.map(|frames| Box::new(KeptUpload::new(frames)));
        let lasting = header.kind != Kind::Unary;
        let task = Self {
            link: client.link,
            deadline,
            limit,
            scope: client.scope,
            request: CallRequest { header, body, signature, skew, upload: frames, kept, demand },
            policy,
            evidence: Evidence::NotSent,
            paid,
            gateway: 0,
            refused: false,
            lasting,
            history: AttemptHistory::default(),
            detour: Detour::new(waits),
            resumption,
            span,
        };
        (task, upload)
    }

    /// Runs attempts until the call has an outcome, the first one after `pause`.
    ///
    /// # Errors
    /// The error of the call.
    ///
    /// # Cancel safety
    /// Dropping the future resets the call's stream, which cancels the call at the node.
    pub(super) async fn unary(mut self, pause: Duration) -> Result<UnaryAnswer, Error> {
        let (deadline, scope) = (self.deadline, self.scope.clone());
        let answer = unless_expired(deadline, scope, async {
            if !pause.is_zero() {
                sleep(pause).await;
            }
            loop {
                let answered = match self.request.kept.take() {
                    Some(kept) => Box::pin(self.exchange_upload(kept)).await,
                    None => self.exchange().await,
                };
                match answered {
                    Ok(answer) => {
                        self.link.retries.refund();
                        return Ok(answer);
                    }
                    Err(error) if self.is_resuming() => Box::pin(self.resume(error, None)).await?,
                    Err(error) => self.again(error).await?,
                }
            }
        });
        let answer = answer.await;
        self.span.note_attempt(self.request.header.attempt);
        match answer {
            Ok(answer) => answer,
            // The attempt's future has been dropped, with its stream; `evidence` outlives both.
            Err(expired) => Err(self.expired(expired, self.evidence)),
        }
    }

    /// Runs attempts, and passes what arrives to `sender`, until the stream ends or its reader is
    /// dropped.
    pub(super) async fn stream(mut self, mut sender: ByteSender<StreamEnd>) {
        let (deadline, scope) = (self.deadline, self.scope.clone());
        let pumped = unless_expired(deadline, scope, async {
            while let Err(error) = self.pump(&mut sender).await {
                match self.is_resuming() {
                    true => Box::pin(self.resume(error, Some(&mut sender))).await?,
                    false => self.again(error).await?,
                }
            }
            self.link.retries.refund();
            Ok(())
        });
        let pumped = pumped.await;
        self.span.note_attempt(self.request.header.attempt);
        let result = match pumped {
            Ok(result) => result,
            Err(expired) => Err(self.expired(expired, self.evidence)),
        };
        if let Err(error) = result {
            sender.end(StreamEnd::Failed(error));
        }
    }

    /// Prepares another attempt after one that failed with `error`, and waits until it may start.
    ///
    /// # Errors
    /// The error of the call, if it is not attempted again.
    async fn again(&mut self, error: Error) -> Result<(), Error> {
        sleep(self.prepare_again(error)?).await;
        Ok(())
    }

    /// Prepares another attempt after one that failed with `error`, and returns the pause before
    /// it.
    ///
    /// # Errors
    /// The error of the call, if it is not attempted again.
    pub(super) fn prepare_again(&mut self, error: Error) -> Result<Duration, Error> {
        // Arguments that were not kept cannot be sent again. Once an answer has begun, or a stream
        // is open, the function has run, and its reader may have seen items.
        let begun = self.evidence == Evidence::Answered;
        let has_arguments = !self.request.body.is_empty() && !begun;
        let kept = has_arguments && self.request.body.len() <= MAX_KEPT;
        let refused = self.refused;
        let error = match self.reroute(error, kept && self.policy.repeats()) {
            Ok(pause) => {
                self.evidence = Evidence::NotSent;
                return Ok(pause);
            }
            Err(error) => error,
        };
        let error = match self.ask_by_name(error, has_arguments && refused) {
            Ok(()) => {
                self.evidence = Evidence::NotSent;
                return Ok(Duration::ZERO);
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
                return Err(self.history.conclude(error));
            }
        };
        let current = self.span.enter();
        self.link.note_retry(&error, pause);
        drop(current);
        // Before the pause: if the call expires during it, its error has to say what the attempts
        // so far have proven.
        self.history.add(error);
        self.evidence = Evidence::NotSent;
        self.request.header.attempt += 1;
        Ok(pause)
    }

    /// Chooses another gateway for a call that one has refused, if the call `may` be made again.
    /// Returns the pause before the next attempt.
    ///
    /// # Errors
    /// `error`, or the most informative refusal, if no other gateway is left.
    fn reroute(&mut self, error: Error, may: bool) -> Result<Duration, Error> {
        if !std::mem::take(&mut self.refused) || !is_refusal(&error) {
            return Err(error);
        }
        let Some(gateways) = &self.link.gateways else { return Err(error) };
        if !may {
            // This call cannot move, but later calls will need a connection to another gateway.
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
    /// round begins after the returned pause.
    ///
    /// # Errors
    /// The most informative refusal, if the call does not wait.
    fn end_round(&mut self) -> Result<Duration, Error> {
        match self.detour.end_round() {
            RoundEnd::Next => {
                self.note_detour();
                Ok(self.policy.pause(self.detour.rounds()))
            }
            RoundEnd::Refused(error) => Err(error),
        }
    }

    /// Counts an attempt that follows a gateway's refusal, and not a failure.
    fn note_detour(&mut self) {
        self.request.header.attempt += 1;
        self.detour.note_attempt();
    }

    /// Returns the connection for the next attempt, waiting for one if necessary.
    ///
    /// # Errors
    /// If no connection is up in time, or the client is closed.
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
        // What continues is under way already, and a gateway that drains waits for it.
        let continues = self.continues();
        loop {
            let need = ConnectionNeed { bytes, again, lasting: self.lasting && !continues };
            let live = self.link.connection(need).await;
            let live = live.map_err(|error| self.with_evidence(error))?;
            if self.lasting || continues || !live.holds_back(&self.request.header.function) {
                return Ok(live);
            }
            // The gateway drains, and would have to wait for this function. Wait for another one.
            self.lasting = true;
        }
    }

    /// Prepares an attempt on `live`.
    fn begin_attempt(&mut self, live: &LiveConnection) {
        self.gateway = live.gateway;
        // Read before the attempt is sent: only a loss that is paid for later can have ended it.
        self.paid = self.link.retries.paid_losses();
        let patience = self
            .resume_patience()
            .unwrap_or_else(|| self.history.patience(live, self.link.connect_timeout));
        self.request.header.routing.patience = match self.link.gateways {
            Some(_) => self.detour.share(patience),
            None => patience,
        };
        // Once every gateway has been asked, a suspect node is better than none.
        self.request.header.routing.sound &= !self.detour.has_asked_all();
    }

    /// Makes one attempt on a separate stream.
    async fn exchange(&mut self) -> Result<UnaryAnswer, Error> {
        // The connection counts as in use while `live` is held.
        let (live, mut sending, mut recv) = self.send().await?;
        let mut buffer = FrameBuffer::new(live.max_message);
        let link = self.link.clone();
        let response = tokio::select! {
            biased;
            response = link.room.response(&mut recv, &mut buffer) => response,
            never = sending.rest() => match never {},
        };
        // The FIN usually arrives with the last frame. Reading it here saves a STOP_SENDING to the
        // gateway when `recv` is dropped.
        let _ = recv.read().now_or_never();
        response.map_err(|error| self.broken(error)).and_then(|response| {
            let answer = UnaryAnswer::new(response, &self.request.header, &live, &self.link);
            answer.map_err(|response| self.refused(&response.frame, &live))
        })
    }

    /// Makes one attempt at a stream, and passes what arrives to `sender`. Returns `Ok` if the
    /// reader is dropped; the end of a stream is in its last frame, which the reader decodes.
    async fn pump(&mut self, sender: &mut ByteSender<StreamEnd>) -> Result<(), Error> {
        let returns =
            self.continues() && self.resumption.as_ref().is_some_and(|it| it.may_return());
        let sending = self.send();
        // While the call waits for a connection, only this notices that the reader is dropped. A
        // request that is broken off cancels the stream, which a reader that may come back must not.
        let (live, mut sending, mut recv) = tokio::select! {
            biased;
            sent = sending => sent?,
            () = sender.closed(), if !returns => return Ok(()),
        };
        let received = tokio::select! {
            biased;
            received = self.receive(&mut recv, sender, &live) => received,
            never = sending.rest() => match never {},
        };
        if self.resumption.is_some() {
            return Box::pin(self.end_leg(received, sending, recv)).await;
        }
        received?;
        sending.finish();
        Ok(())
    }

    async fn receive(
        &mut self,
        recv: &mut RecvHalf,
        sender: &mut ByteSender<StreamEnd>,
        live: &LiveConnection,
    ) -> Result<(), Error> {
        if self.resumption.is_some() {
            return Box::pin(self.receive_leg(recv, sender, live)).await;
        }
        loop {
            let read = tokio::select! {
                biased;
                () = sender.closed() => return Ok(()),
                read = recv.read() => read,
            };
            let chunks = match read {
                Ok(Some(chunks)) => chunks,
                // A reader that has had the `End` frame never sees this error. It races with the
                // drop of that reader, which ends the loop above; either way the call was served.
                Ok(None) => {
                    if self.evidence == Evidence::Answered {
                        self.link.retries.refund();
                    }
                    let text = "the stream was closed before its `End` frame";
                    return Err(self.with_evidence(Error::new(ErrorKind::Protocol, text)));
                }
                Err(broken) => return Err(self.broken(FrameError::Broken(broken))),
            };
            if self.evidence != Evidence::Answered {
                let first = chunks.iter().find_map(|chunk| chunk.first());
                if first == Some(&(FrameKind::Error as u8)) {
                    // Refused before it was opened, so that it may be attempted again. The reader
                    // does not see this frame.
                    let mut buffer = FrameBuffer::new(0);
                    chunks.iter().for_each(|chunk| buffer.push(chunk));
                    return Err(match recv.frame(&mut buffer).await {
                        Ok(Some(frame)) => self.refused(&frame, live),
                        Ok(None) => self.protocol_error("an `Error` frame without content".into()),
                        Err(error) => self.broken(error),
                    });
                }
                self.evidence = Evidence::Answered;
                live.note_served();
            }
            // Back-pressure: while the consumer is slow, nothing more is read, the flow-control
            // window fills up, and the producer's writes wait.
            match sender.send_patiently(chunks.as_slice(), self.link.stall_timeout).await {
                Some(Ok(())) => {}
                Some(Err(_)) => return Ok(()),
                None => return Err(self.stalled()),
            }
        }
    }

    /// Sends the header and the arguments. Returns the connection, what sends the client stream,
    /// and the half of the stream on which the answer arrives.
    ///
    /// # Errors
    /// Why the call could not be sent, or may have been sent in part.
    async fn send(&mut self) -> Result<(Arc<LiveConnection>, Sending, RecvHalf), Error> {
        // Pauses between attempts and waits for a connection or a stream take time: check before
        // each step that sends something, so that an expired call is never sent.
        let check_deadline = |task: &Self| {
            let expired = Expired::check(task.deadline, task.scope.as_ref());
            expired.map_err(|expired| task.expired(expired, Evidence::NotSent))
        };
        check_deadline(self)?;
        let live = self.route().await?;
        let (connection, max_message) = (&live.connection, live.max_message);
        let length = self.request.body.len() - FRAME_HEADER;
        if length > max_message {
            let text = format!(
                "the arguments of `{}` are {length} bytes long, and the gateway relays at most \
                 {max_message}",
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
                    "this client has as many calls and streams open as the gateway allows, and \
                     none has ended within {limit:?}"
                );
                return Err(Error::new(ErrorKind::Overloaded, text));
            }
        };
        check_deadline(self)?;
        let (mut send, recv) = halves(stream, &live.windows);
        let first = self.first()?;
        let mut written = send.write(&first).await;
        if written.is_ok() && self.request.body.len() > SHORT {
            written = send.write(&self.request.body).await;
        }
        match written {
            Ok(()) => {
                // QUIC has taken the last byte of the arguments: from here on the function may run.
                self.evidence = Evidence::Sent;
                let CallRequest { upload, demand, .. } = &self.request;
                if upload.is_none() && demand.is_none() && self.resumption.is_none() {
                    send.finish();
                }
            }
            // The gateway or the node stopped reading, and sends the reason in its answer.
            Err(Broken::Peer(_)) => {}
            Err(broken) => return Err(self.lost(broken)),
        }
        // Items of a client stream are gone once they are sent, and long arguments are not kept in
        // memory: an empty body marks a call that cannot be attempted again.
        let upload = self.request.upload.take();
        let kept = self.request.body.len() <= MAX_KEPT && self.policy.repeats();
        if upload.is_some() || !(kept || self.request.skew.is_some()) {
            self.request.body = Vec::new();
        }
        Ok((live, Sending::new(send, upload, self.request.demand.clone()), recv))
    }

    /// Encodes the header, and appends the arguments if they are short.
    fn first(&mut self) -> Result<Vec<u8>, Error> {
        let body = &self.request.body;
        let short = if body.len() <= SHORT { &body[..] } else { &[] };
        let mut first = Vec::with_capacity(128 + short.len());
        put_request(&mut self.request.header, self.deadline, short, &mut first)?;
        Ok(first)
    }
}
