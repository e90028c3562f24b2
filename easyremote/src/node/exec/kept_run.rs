//! A run that outlives its callers: its state, and the answer that it leaves behind.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use crate::call::deadline::now;
use crate::call::executed::Evidence;
use crate::error::{Error, ErrorKind, Executed};
use crate::function::context::Context;
use crate::function::end::End;
use crate::function::handler::Reply;
use crate::function::registry::Function;
use crate::node::kept::KeptCharge;
use crate::wire::codec::Codec;
use crate::wire::error::put_error;
use crate::wire::frame::FRAME_HEADER;
use crate::wire::job::{JobNumber, JobProgress, JobReport, JobState, JobStatus};

/// A run that outlives its callers: a job, or the run of a key, which several callers share.
///
/// ```text
///            begin               ends
///   waiting -------> running -----------> ended, with the answer
///      |                |                   ^
///      +----------------+-------------------+
///       cancelled; its last caller has left
/// ```
///
/// One lock decides between the start of the function and the leaving of the last caller: a run
/// that was left before it has started never starts.
pub(in crate::node) struct KeptRun {
    pub(super) purpose: RunUse,
    pub(super) key: Option<RunKey>,
    pub(super) number: JobNumber,
    pub(super) function: Arc<Function>,
    pub(super) identity: Arc<str>,
    /// The codec of the arguments, and of the answer.
    pub(super) codec: Codec,
    /// When the run is cancelled.
    pub(super) deadline: Option<Instant>,
    node: Arc<str>,
    accepted: Instant,
    control: Box<dyn RunControl>,
    state: Mutex<RunState>,
    /// Cancelled when the run has ended.
    over: CancellationToken,
}

/// The key of a run: what the caller has chosen, within its identity and the function.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct RunKey {
    identity: Arc<str>,
    function: Arc<str>,
    text: Arc<str>,
}

impl RunKey {
    /// Returns the key of a call, and with it the `digest` of its arguments; `None` if the call has
    /// no key.
    pub(super) fn of(context: &Context, digest: u128) -> Option<(Self, u128)> {
        let (identity, function) = (&*context.caller().identity, context.function());
        let text = context.key()?.into();
        Some((Self { identity: identity.into(), function: function.into(), text }, digest))
    }
}

/// What a run is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RunUse {
    Job,
    /// For the callers that have joined it by their key.
    Call,
}

/// Ends a run early, wherever it is.
pub(super) trait RunControl: Send + Sync {
    /// Cancels the run: it fails with `error`.
    fn cancel(&self, error: Error);
    /// Stops the run if its deadline has passed.
    fn expire(&self);
}

#[derive(Debug)]
struct RunState {
    /// Callers that have joined the run before it has ended, and have not left it.
    callers: usize,
    started: Option<Instant>,
    ended: Option<EndedRun>,
    /// `None` once a run that is not a job has ended: nobody asks for its progress.
    context: Option<Context>,
    charge: KeptCharge,
    /// Bytes that are charged beside the answer.
    entry: u64,
}

/// What a run leaves behind.
#[derive(Debug)]
struct EndedRun {
    at: Instant,
    outcome: KeptOutcome,
    /// Since when a caller has had the answer.
    collected: Option<Instant>,
}

#[derive(Debug)]
enum KeptOutcome {
    /// The frame with the value.
    Value(Reply),
    /// The frame with the function's own error.
    Fault(Reply),
    Error(Error),
    /// The frame for the callers that wait for it, and the error for later ones: there is no room to
    /// keep it.
    Passing(Reply, Error),
}

/// Memory of a job beside its metadata and its answer, in bytes: its progress, and its places in
/// tables.
const JOB: u64 = 4 << 10;

/// Memory of an answer that a key keeps, in bytes, beside the answer itself.
const CALL: u64 = 768;

/// Returns the bytes that a run for this purpose is charged beside its answer.
pub(super) fn entry(purpose: RunUse, context: &Context) -> u64 {
    let key = context.key().map_or(0, str::len) as u64;
    key + match purpose {
        RunUse::Job => JOB + context.metadata_length() as u64,
        RunUse::Call => CALL,
    }
}

impl KeptRun {
    pub(super) fn new(
        function: &Arc<Function>,
        (purpose, context): (RunUse, Context),
        (codec, deadline): (Codec, Option<Instant>),
        control: Box<dyn RunControl>,
        charge: KeptCharge,
    ) -> Self {
        let entry = entry(purpose, &context);
        Self {
            purpose,
            key: None,
            number: context.call_id().to_be_bytes(),
            function: function.clone(),
            identity: context.caller().identity.as_str().into(),
            codec,
            deadline,
            node: context.node().into(),
            accepted: now(),
            control,
            state: Mutex::new(RunState {
                callers: 0,
                started: None,
                ended: None,
                context: Some(context),
                charge,
                entry,
            }),
            over: CancellationToken::new(),
        }
    }

    /// Returns the time since the node has accepted it.
    pub(super) fn age(&self) -> Duration {
        self.accepted.elapsed()
    }

    pub(super) fn node(&self) -> &str {
        &self.node
    }

    /// Notes that the function is about to start. Returns whether it may.
    pub(super) fn note_start(&self) -> bool {
        let mut state = self.state.lock();
        if state.ended.is_some() {
            return false;
        }
        state.started = Some(now());
        true
    }

    /// Adds a caller that waits for the answer. Returns `false` if there is one already: then there
    /// is nothing to [leave](Self::leave).
    pub(super) fn join(&self) -> bool {
        let mut state = self.state.lock();
        let waits = state.ended.is_none();
        state.callers += usize::from(waits);
        waits
    }

    /// Removes a caller that has joined. The last one cancels a run that has not ended, unless the
    /// function is `detached`. Returns whether the function has not started, and never will.
    pub(super) fn leave(&self) -> bool {
        let error = {
            let mut state = self.state.lock();
            state.callers -= 1;
            let (last, started) = (state.callers == 0, state.started.is_some());
            if state.ended.is_some() {
                if last {
                    state.drop_passing();
                }
                return state.ended.as_ref().is_some_and(EndedRun::is_forgotten);
            } else if !last || self.function.handler.policy.detached {
                return false;
            }
            let text = format!("all callers of this run of `{}` have left it", self.function.name);
            let error = Error::new(ErrorKind::Cancelled, text);
            let error = error.with_evidence(Evidence::of_start(started)).with_node(&*self.node);
            let outcome = KeptOutcome::Error(error.clone());
            state.ended = Some(EndedRun { at: now(), outcome, collected: None });
            error
        };
        self.over.cancel();
        let proven = error.executed() == Executed::No;
        // Not under the lock: it takes that of the table of calls, under which functions start.
        self.control.cancel(error);
        proven
    }

    /// Keeps the answer of the run. The frames of one that does not fit into the budget go to those
    /// who wait for them only.
    pub(super) fn end(&self, answer: Result<Reply, Error>) {
        let answer = answer.map(|mut frames| {
            frames.shrink_to_fit();
            (End::of_frames(&frames).0, frames)
        });
        {
            let mut state = self.state.lock();
            if state.ended.is_none() {
                let bytes = |frames: &Reply| state.entry + frames.len() as u64;
                let outcome = match answer {
                    Ok((End::Error(error), _)) | Err(error) => KeptOutcome::Error(error),
                    Ok((end, frames)) => {
                        let bytes = bytes(&frames);
                        match (state.charge.try_set(bytes), end) {
                            (true, End::Fault) => KeptOutcome::Fault(frames),
                            (true, _) => KeptOutcome::Value(frames),
                            (false, _) => {
                                let error = self.too_large(frames.len());
                                KeptOutcome::Passing(frames, error)
                            }
                        }
                    }
                };
                let ended = EndedRun { at: now(), outcome, collected: None };
                state.ended = Some(ended);
                if state.callers == 0 {
                    state.drop_passing();
                }
            }
            if self.purpose == RunUse::Call {
                state.context = None;
            }
        }
        self.over.cancel();
    }

    fn too_large(&self, bytes: usize) -> Error {
        let text = format!(
            "`{}` has returned {bytes} bytes, and the node has no room to keep them until they are \
             collected: raise `NodeLimits::kept`, of which one identity has a quarter",
            self.function.name
        );
        let error = Error::new(ErrorKind::TooLarge, text).with_evidence(Evidence::Answered);
        error.with_node(&*self.node)
    }

    pub(super) fn cancel(&self, error: Error) {
        self.control.cancel(error);
    }

    pub(super) fn expire(&self) {
        self.control.expire();
    }

    pub(super) fn is_ended(&self) -> bool {
        self.over.is_cancelled()
    }

    /// Returns whether the run has ended without a start of its function, so that another run with
    /// its key may start.
    pub(super) fn is_forgotten(&self) -> bool {
        self.state.lock().ended.as_ref().is_some_and(EndedRun::is_forgotten)
    }

    /// Notes that a caller has the answer. Returns whether it is the first one.
    pub(super) fn collect(&self) -> bool {
        let mut state = self.state.lock();
        match &mut state.ended {
            Some(ended) if ended.collected.is_none() => {
                ended.collected = Some(now());
                true
            }
            _ => false,
        }
    }

    /// Returns whether it is a job that has not ended, or whose result nobody has had.
    pub(super) fn is_awaited(&self) -> bool {
        let had = |ended: &EndedRun| ended.collected.is_some();
        self.purpose == RunUse::Job && !self.state.lock().ended.as_ref().is_some_and(had)
    }

    /// Returns when the answer is no longer kept: `uncollected` after the end of a job, and `short`
    /// after a caller has had its result, or after the end of another run. `None` before the end.
    pub(super) fn expires(&self, uncollected: Duration, short: Duration) -> Option<Instant> {
        let state = self.state.lock();
        let ended = state.ended.as_ref()?;
        Some(match (self.purpose, ended.collected) {
            (RunUse::Call, _) => ended.at + short,
            (RunUse::Job, Some(at)) => (at + short).min(ended.at + uncollected),
            (RunUse::Job, None) => ended.at + uncollected,
        })
    }

    pub(super) fn status(&self) -> JobStatus {
        let state = self.state.lock();
        let (name, begun) = match (&state.ended, state.started) {
            (Some(ended), _) => match ended.outcome {
                KeptOutcome::Value(_) => (JobState::Succeeded, ended.at),
                _ => (JobState::Failed, ended.at),
            },
            (None, Some(started)) => (JobState::Running, started),
            (None, None) => (JobState::Waiting, self.accepted),
        };
        let last = state.context.as_ref().and_then(Context::last_progress);
        drop(state);
        let progress = last.map(|last| JobProgress {
            fraction: last.fraction,
            text: last.text,
            since: last.at.elapsed(),
        });
        JobStatus { state: name, since: now().saturating_duration_since(begun), progress }
    }

    /// Returns the frame that reports the status.
    pub(super) fn report(&self) -> Reply {
        let mut frames = Reply::new();
        JobReport { status: self.status(), error: None }.put(&mut frames);
        frames
    }

    /// Waits for the end of the run for at most `wait`. Returns the frame that answers a request
    /// for the result.
    pub(super) async fn answer_within(&self, wait: Duration, max_message: usize) -> Reply {
        // Too late or not, the state decides.
        let _ = timeout(wait, self.over.cancelled()).await;
        let error = match self.answer(max_message) {
            Some(Ok(frames)) => return frames,
            Some(Err(error)) => Some(error),
            None => None,
        };
        let mut frames = Reply::new();
        JobReport { status: self.status(), error }.put(&mut frames);
        frames
    }

    /// Waits for the end of the run. Returns the frame that answers a call that has joined it.
    pub(super) async fn reply(&self, max_message: usize) -> Reply {
        self.over.cancelled().await;
        let mut frames = Reply::new();
        match self.answer(max_message) {
            Some(Ok(frames)) => return frames,
            Some(Err(error)) => put_error(&mut frames, &error),
            // It is over only once it has ended.
            None => {}
        }
        frames
    }

    /// Returns the frame with what the function has returned, for a gateway that relays messages of
    /// up to `max_message` bytes; `None` if the run has not ended.
    ///
    /// # Errors
    /// The error that the run has ended with.
    fn answer(&self, max_message: usize) -> Option<Result<Reply, Error>> {
        let state = self.state.lock();
        Some(match &state.ended.as_ref()?.outcome {
            KeptOutcome::Error(error) => Err(error.clone()),
            KeptOutcome::Value(frames)
            | KeptOutcome::Fault(frames)
            | KeptOutcome::Passing(frames, _) => match frames.len() <= FRAME_HEADER + max_message {
                true => Ok(frames.clone()),
                false => {
                    let text = format!(
                        "`{}` has returned {} bytes, and this gateway relays at most {max_message}",
                        self.function.name,
                        frames.len() - FRAME_HEADER
                    );
                    let error = Error::new(ErrorKind::TooLarge, text);
                    Err(error.with_evidence(Evidence::Answered).with_node(&*self.node))
                }
            },
        })
    }
}

impl RunState {
    /// Drops an answer that nobody waits for and that is not kept.
    fn drop_passing(&mut self) {
        if let Some(ended) = &mut self.ended
            && let KeptOutcome::Passing(_, error) = &ended.outcome
        {
            ended.outcome = KeptOutcome::Error(error.clone());
        }
    }
}

impl EndedRun {
    /// Returns whether the function has certainly not started.
    fn is_forgotten(&self) -> bool {
        matches!(&self.outcome, KeptOutcome::Error(error) if error.executed() == Executed::No)
    }
}

/// Leaves out the answer, which may be a secret.
impl fmt::Debug for KeptRun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.status().state;
        let function = &self.function.name;
        f.debug_struct("KeptRun").field("function", function).field("state", &state).finish()
    }
}
