//! A run that outlives its callers: its state, and the answer that it leaves behind.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use crate::call::deadline::now;
use crate::call::executed::Evidence;
use crate::error::{Error, ErrorKind};
use crate::function::context::Context;
use crate::function::end::End;
use crate::function::handler::Reply;
use crate::function::registry::Function;
use crate::node::kept::KeptCharge;
use crate::wire::codec::Codec;
use crate::wire::job::{JobNumber, JobProgress, JobReport, JobState, JobStatus};

/// A run that outlives its callers.
///
/// ```text
///            begin               ends
///   waiting -------> running -----------> ended, with the answer
///      |                                    ^
///      +--- cancelled, or never started ----+
/// ```
pub(in crate::node) struct KeptRun {
    pub(super) number: JobNumber,
    pub(super) function: Arc<Function>,
    pub(super) context: Context,
    /// The codec of the arguments, and of the answer.
    pub(super) codec: Codec,
    /// When the run is cancelled.
    pub(super) deadline: Option<Instant>,
    accepted: Instant,
    control: Box<dyn RunControl>,
    state: Mutex<RunState>,
    /// Cancelled when the run has ended.
    over: CancellationToken,
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
    started: Option<Instant>,
    ended: Option<EndedRun>,
    charge: KeptCharge,
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
}

/// Memory that one run is charged before it has an answer, in bytes: its progress, its header, and
/// its places in tables.
pub(super) const ENTRY: u64 = 4 << 10;

impl KeptRun {
    pub(super) fn new(
        function: &Arc<Function>,
        context: Context,
        (codec, deadline): (Codec, Option<Instant>),
        control: Box<dyn RunControl>,
        charge: KeptCharge,
    ) -> Self {
        Self {
            number: context.call_id().to_be_bytes(),
            function: function.clone(),
            context,
            codec,
            deadline,
            accepted: now(),
            control,
            state: Mutex::new(RunState { started: None, ended: None, charge }),
            over: CancellationToken::new(),
        }
    }

    pub(super) fn identity(&self) -> &str {
        &self.context.caller().identity
    }

    pub(super) fn note_start(&self) {
        self.state.lock().started = Some(now());
    }

    /// Keeps the answer of the run. The frames of one that does not fit into the budget are
    /// replaced by an error.
    pub(super) fn end(&self, answer: Result<Reply, Error>) {
        let answer = answer.map(|mut frames| {
            frames.shrink_to_fit();
            (End::of_frames(&frames).0, frames)
        });
        {
            let mut state = self.state.lock();
            let mut fits = |frames: &Reply| state.charge.try_set(ENTRY + frames.len() as u64);
            let outcome = match answer {
                Ok((End::Error(error), _)) | Err(error) => KeptOutcome::Error(error),
                Ok((_, frames)) if !fits(&frames) => {
                    KeptOutcome::Error(self.too_large(frames.len()))
                }
                Ok((End::Fault, frames)) => KeptOutcome::Fault(frames),
                Ok((End::Returned, frames)) => KeptOutcome::Value(frames),
            };
            state.ended.get_or_insert(EndedRun { at: now(), outcome, collected: None });
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
        error.with_node(self.context.node())
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

    /// Returns whether the run has not ended, or nobody has had its answer.
    pub(super) fn is_awaited(&self) -> bool {
        self.state.lock().ended.as_ref().is_none_or(|ended| ended.collected.is_none())
    }

    /// Returns when the answer is no longer kept: `uncollected` after the end, and `collected`
    /// after a caller has had it. `None` before the end.
    pub(super) fn expires(&self, uncollected: Duration, collected: Duration) -> Option<Instant> {
        let state = self.state.lock();
        let ended = state.ended.as_ref()?;
        Some(match ended.collected {
            Some(at) => (at + collected).min(ended.at + uncollected),
            None => ended.at + uncollected,
        })
    }

    pub(super) fn status(&self) -> JobStatus {
        let state = self.state.lock();
        let (name, begun) = match (&state.ended, state.started) {
            (Some(ended), _) => match ended.outcome {
                KeptOutcome::Value(_) => (JobState::Succeeded, ended.at),
                KeptOutcome::Fault(_) | KeptOutcome::Error(_) => (JobState::Failed, ended.at),
            },
            (None, Some(started)) => (JobState::Running, started),
            (None, None) => (JobState::Waiting, self.accepted),
        };
        drop(state);
        let progress = self.context.last_progress().map(|last| JobProgress {
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
    pub(super) async fn answer_within(&self, wait: Duration) -> Reply {
        // Too late or not, the state decides.
        let _ = timeout(wait, self.over.cancelled()).await;
        let error = match self.state.lock().ended.as_ref().map(|ended| &ended.outcome) {
            Some(KeptOutcome::Value(frames) | KeptOutcome::Fault(frames)) => return frames.clone(),
            Some(KeptOutcome::Error(error)) => Some(error.clone()),
            None => None,
        };
        let mut frames = Reply::new();
        JobReport { status: self.status(), error }.put(&mut frames);
        frames
    }
}

/// Leaves out the answer, which may be a secret.
impl fmt::Debug for KeptRun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.status().state;
        f.debug_struct("KeptRun")
            .field("function", &self.function.name)
            .field("state", &state)
            .finish()
    }
}
