//! A connection that makes calls, with the limits and budgets that apply to it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use quinn::VarInt;
use tokio::runtime::Handle;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::call::deadline::within;
use crate::error::{Error, ErrorKind};
use crate::gateway::directory::{Directory, Question};
use crate::gateway::limits::hit;
use crate::gateway::policy::access::CallScope;
use crate::gateway::relay::call::{Dispatch, OpenCall};
use crate::gateway::relay::cancels::CancelRateLimiter;
use crate::gateway::relay::dispatch::LegCaller;
use crate::gateway::relay::hedged::HedgedCalls;
use crate::gateway::state::GatewayState;
use crate::gauge::MemoryCharge;
use crate::transport::quic::reset;
use crate::transport::quic::windows::StreamWindows;
use crate::transport::token_bucket::TokenBucket;
use crate::wire::bytes::Malformed;
use crate::wire::caller::{Caller, KnownCaller};
use crate::wire::frame::FRAME_HEADER;
use crate::wire::header::CallHeader;
use crate::wire::job::JobRequest;

/// A client's or node's connection on which calls arrive.
#[derive(Debug)]
pub(in crate::gateway) struct CallerSession {
    pub(in crate::gateway) state: Arc<GatewayState>,
    /// The runtime of the thread that serves the caller, where tasks of its calls run.
    pub(super) runtime: Handle,
    /// The identity that nodes see as the caller.
    caller: KnownCaller,
    /// Unique among the sessions of this gateway.
    pub(super) number: u64,
    pub(in crate::gateway) connection: quinn::Connection,
    /// Flow-control windows of the streams of `connection`.
    pub(in crate::gateway) windows: Arc<StreamWindows>,
    /// Whether the peer has opened its multiplexed stream.
    pub(super) has_mux: AtomicBool,
    /// Cancelled when the caller's credentials are revoked.
    revoked: CancellationToken,
    cancels: CancelRateLimiter,
    /// Budget of bytes for answers about functions and nodes.
    told: tokio::sync::Mutex<TokenBucket>,
    /// The functions that the caller may call.
    scope: CallScope,
    /// Bytes buffered for the caller.
    buffered: Arc<AtomicU64>,
    pub(super) hedged: Arc<HedgedCalls>,
}

/// Cost of a question in bytes, in addition to its answer.
const QUESTION: usize = 4 << 10;

/// Back-off that a rejected caller is told.
const RETRY_AFTER: Duration = Duration::from_millis(100);

impl CallerSession {
    /// Creates the session. Call this on the thread that serves the caller.
    pub(in crate::gateway) fn new(
        connection: &quinn::Connection,
        windows: &Arc<StreamWindows>,
        (caller, revoked): (Caller, &CancellationToken),
        state: &Arc<GatewayState>,
    ) -> Self {
        let (per_second, burst) = state.limits.answers;
        Self {
            state: state.clone(),
            runtime: Handle::current(),
            told: tokio::sync::Mutex::new(TokenBucket::new(per_second as f64, burst as f64)),
            scope: state.access.scope(&caller),
            caller: KnownCaller::new(caller),
            number: state.counters.sessions.fetch_add(1, Ordering::Relaxed),
            connection: connection.clone(),
            windows: windows.clone(),
            has_mux: AtomicBool::new(false),
            revoked: revoked.clone(),
            cancels: CancelRateLimiter::new(&state.limits),
            buffered: Arc::default(),
            hedged: Arc::default(),
        }
    }

    /// Counts a call that has arrived.
    pub(super) fn open_call(&self) -> OpenCall {
        OpenCall::new(&self.state.counters.in_flight, self.state.drain.call())
    }

    /// Decodes the header of a call, and sets its caller.
    ///
    /// # Errors
    /// `Protocol` if it cannot be decoded, `PermissionDenied` for what only a gateway asks,
    /// `Unavailable` if it uses a feature that this version
    /// does not know.
    pub(super) fn read_header(&self, body: &[u8]) -> Result<CallHeader, Error> {
        let header = CallHeader::read(body).map_err(Malformed::into_error)?;
        if header.job_request() == Some(&JobRequest::Census) {
            // It would list the jobs of other identities.
            let text = "only a gateway asks a node for all of its jobs";
            return Err(Error::new(ErrorKind::PermissionDenied, text));
        }
        // Never trust a caller-supplied identity, nor times that only a gateway can measure;
        // overwrite both.
        Ok(CallHeader { caller: Some(self.caller.clone()), held: Duration::ZERO, ..header })
    }

    /// Checks whether the caller may have one more call in flight beside `n` others.
    ///
    /// # Errors
    /// `Overloaded` if the limit of the gateway is reached.
    pub(super) fn check_calls(&self, n: usize) -> Result<(), Error> {
        if n < self.state.limits.calls_per_peer as usize {
            return Ok(());
        }
        let text =
            format!("{n} calls of this connection are in flight, and the gateway allows no more");
        Err(Error::new(ErrorKind::Overloaded, text).with_retry_after(RETRY_AFTER))
    }

    /// Answers a question to the gateway itself. Returns the frames, and the charge for their
    /// memory.
    ///
    /// The questions of one caller are answered one after the other, and rate-limited by the size
    /// of the answers.
    ///
    /// # Errors
    /// Those of [`Directory::answer`]; `DeadlineExceeded`; `Overloaded` if the caller has left too
    /// many answers unread.
    pub(super) async fn answer(
        &self,
        question: Question,
        call: &Dispatch,
    ) -> Result<(Bytes, MemoryCharge), Error> {
        let answering = async {
            let mut told = self.told.lock().await;
            let pause = told.time_until(0.0);
            if !pause.is_zero() {
                hit(&self.state.hits.questions);
                sleep(pause).await;
            }
            let answer = Directory::answer(question, &self.scope, &self.state).await;
            let bytes = answer.as_ref().map_or(0, Bytes::len) + QUESTION;
            told.add(-(bytes as f64));
            answer
        };
        let answer = within(call.deadline, answering).await.unwrap_or_else(|_| Err(call.late()))?;
        self.keep(answer.len()).map(|kept| (answer, kept))
    }

    /// Charges `bytes` of buffered data to the caller.
    ///
    /// # Errors
    /// `Overloaded` if the caller's buffer limit is reached.
    pub(super) fn keep(&self, bytes: usize) -> Result<MemoryCharge, Error> {
        let state = &self.state;
        let one_message = (state.limits.max_message + FRAME_HEADER) as u64;
        let limit = state.limits.buffered_per_peer.max(one_message);
        let mut charge = MemoryCharge::new(&self.buffered, limit);
        if charge.grow_to(bytes) {
            return Ok(charge);
        }
        hit(&state.hits.buffered);
        let text = format!(
            "the gateway already buffers {limit} bytes of calls and answers for this connection: \
             read the answers, or make fewer calls at a time"
        );
        Err(Error::new(ErrorKind::Overloaded, text).with_retry_after(RETRY_AFTER))
    }

    /// Records that a call was answered, with a result or an error.
    pub(super) fn note_answered(&self) {
        self.cancels.make_up();
    }

    /// Records that the caller has abandoned a call with this deadline before any response arrived.
    ///
    /// Abandoning a call at its deadline does not count against the caller. The caller's clock
    /// started before it sent the header, and both sides round, so an end shortly before the
    /// deadline as seen here is treated the same way.
    pub(super) fn note_given_up(&self, deadline: Option<Instant>) {
        /// A call that would have ended this soon anyway costs no more than an answered one.
        const TOLERANCE: Duration = Duration::from_millis(100);
        if deadline.is_none_or(|deadline| deadline > Instant::now() + TOLERANCE) {
            self.cancels.note();
        }
    }

    /// Records that a stream carried no valid call.
    pub(super) fn note_wasted(&self) {
        self.cancels.note();
    }

    /// Waits until the caller may start another call. Cancel safe.
    pub(in crate::gateway) async fn may_begin(&self) {
        self.cancels.wait(|| hit(&self.state.hits.throttled)).await;
    }
}

impl LegCaller for CallerSession {
    fn end_code(&self, header: &CallHeader) -> VarInt {
        // The caller of a stream with a replay ring passes it on, and its reader may go elsewhere.
        let ring = header.resume.as_ref().is_some_and(|resume| resume.ring);
        let left = match self.connection.close_reason() {
            _ if ring => false,
            Some(quinn::ConnectionError::ApplicationClosed(close)) => {
                reset::read(close.error_code).0 == ErrorKind::Cancelled
            }
            _ => false,
        };
        match left || self.revoked.is_cancelled() {
            true => reset::cancelled(),
            false => reset::code(ErrorKind::ConnectionLost),
        }
    }
}
