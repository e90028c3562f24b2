//! A peer that makes calls, and what it may use up.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, sleep};

use crate::call::deadline::within;
use crate::error::{Error, ErrorKind};
use crate::gateway::directory::{Directory, Question};
use crate::gateway::limits::hit;
use crate::gateway::policy::access::CallScope;
use crate::gateway::relay::call::{Dispatch, OpenCall};
use crate::gateway::relay::cancels::CancelRateLimiter;
use crate::gateway::state::GatewayState;
use crate::gauge::MemoryCharge;
use crate::transport::quic::windows::StreamWindows;
use crate::transport::token_bucket::TokenBucket;
use crate::wire::bytes::Malformed;
use crate::wire::caller::{Caller, KnownCaller};
use crate::wire::frame::FRAME_HEADER;
use crate::wire::header::CallHeader;

/// A connection over which calls come.
#[derive(Debug)]
pub(in crate::gateway) struct CallerSession {
    pub(in crate::gateway) state: Arc<GatewayState>,
    /// What nodes are told of it.
    caller: KnownCaller,
    /// No other connection has it.
    pub(super) number: u64,
    pub(in crate::gateway) connection: quinn::Connection,
    /// For the streams of `connection`.
    pub(in crate::gateway) windows: Arc<StreamWindows>,
    /// It has opened its multiplexed stream.
    pub(super) has_mux: AtomicBool,
    cancels: CancelRateLimiter,
    /// Bytes that it may be told about functions and nodes.
    told: tokio::sync::Mutex<TokenBucket>,
    /// What it may call.
    scope: CallScope,
    /// Bytes that are kept for it.
    buffered: Arc<AtomicU64>,
}

/// What a question costs beside the bytes of its answer.
const QUESTION: usize = 4 << 10;

/// When a caller that has been refused may try again.
const RETRY_AFTER: Duration = Duration::from_millis(100);

impl CallerSession {
    pub(in crate::gateway) fn new(
        connection: &quinn::Connection,
        windows: &Arc<StreamWindows>,
        caller: Caller,
        state: &Arc<GatewayState>,
    ) -> Self {
        let (per_second, burst) = state.limits.answers;
        Self {
            state: state.clone(),
            told: tokio::sync::Mutex::new(TokenBucket::new(per_second as f64, burst as f64)),
            scope: state.access.scope(&caller),
            caller: KnownCaller::new(caller),
            number: state.counters.sessions.fetch_add(1, Ordering::Relaxed),
            connection: connection.clone(),
            windows: windows.clone(),
            has_mux: AtomicBool::new(false),
            cancels: CancelRateLimiter::new(&state.limits),
            buffered: Arc::default(),
        }
    }

    /// Counts a call that has begun.
    pub(super) fn open_call(&self) -> OpenCall {
        OpenCall::new(&self.state.counters.in_flight, self.state.drain.call())
    }

    /// Reads the header of a call.
    ///
    /// # Errors
    /// `Protocol` if it cannot be decoded, `Unavailable` if it asks for what this version does not
    /// know.
    pub(super) fn read_header(&self, body: &[u8]) -> Result<CallHeader, Error> {
        let header = CallHeader::read(body).map_err(Malformed::into_error)?;
        // Never trust what a caller says of itself, nor of what only a gateway can know.
        Ok(CallHeader { caller: Some(self.caller.clone()), held: Duration::ZERO, ..header })
    }

    /// Checks whether the caller may have another call in flight beside `n` others.
    ///
    /// # Errors
    /// `Overloaded` if it has all that the gateway allows.
    pub(super) fn check_calls(&self, n: usize) -> Result<(), Error> {
        if n < self.state.limits.calls_per_peer as usize {
            return Ok(());
        }
        let text =
            format!("{n} calls of this connection are under way, and the gateway allows no more");
        Err(Error::new(ErrorKind::Overloaded, text).with_retry_after(RETRY_AFTER))
    }

    /// Answers a question to the gateway itself: the frames, with the memory that they take. One
    /// after the other, and the more slowly the more the caller has been told.
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

    /// Charges `bytes` that are kept for one of its calls.
    ///
    /// # Errors
    /// `Overloaded` if too much is kept already.
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
            "the gateway keeps {limit} bytes of calls and answers for this connection already: \
             read the answers, or make fewer calls at a time"
        );
        Err(Error::new(ErrorKind::Overloaded, text).with_retry_after(RETRY_AFTER))
    }

    /// Notes that a call has ended with an answer, whatever it says.
    pub(super) fn note_answered(&self) {
        self.cancels.make_up();
    }

    /// Notes that the caller has given up a call with this deadline before anything came back.
    ///
    /// A caller that gives a call up at its deadline does what it has said. Its clock started
    /// before the header was sent, and both sides round: what comes shortly before the deadline
    /// here is that too.
    pub(super) fn note_given_up(&self, deadline: Option<Instant>) {
        /// A call that would have ended so soon by itself costs as little as one that is answered.
        const TOLERANCE: Duration = Duration::from_millis(100);
        if deadline.is_none_or(|deadline| deadline > Instant::now() + TOLERANCE) {
            self.cancels.note();
        }
    }

    /// Notes that a stream has brought no call.
    pub(super) fn note_wasted(&self) {
        self.cancels.note();
    }

    /// Waits until the caller may begin another call. Cancel safe.
    pub(in crate::gateway) async fn may_begin(&self) {
        self.cancels.wait(|| hit(&self.state.hits.throttled)).await;
    }
}
