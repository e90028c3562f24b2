//! The table of a session's calls, and the states of a call.

use std::collections::HashMap;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use futures::future::AbortHandle;
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::call::deadline::{Deadlines, has_passed};
use crate::call::executed::Evidence;
use crate::error::{Error, ErrorKind, Executed};
use crate::function::context::Context;
use crate::function::handler::Reply;
use crate::function::registry::Function;
use crate::node::exec::clock::Clock;
use crate::node::exec::observer::Observer;
use crate::node::exec::runs::RunHandle;
use crate::wire::mux::MuxId;
use crate::wire::trace::BatchRecord;

/// Identifies a call within its session, by the stream that carries it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum CallKey {
    /// The call's id on the multiplexed stream.
    Mux(MuxId),
    /// The QUIC stream id of the call's separate stream.
    Stream(u64),
    /// The number of a run that several callers share.
    Run(u64),
}

impl Hash for CallKey {
    /// Hashes one word, where the derived code hashes two: the table hashes four times per call.
    fn hash<H: Hasher>(&self, state: &mut H) {
        // Both kinds of id count up from zero, so an id and a complement never collide.
        state.write_u64(match *self {
            Self::Mux(id) => id,
            Self::Stream(id) => !id,
            Self::Run(number) => number ^ 1 << 63,
        });
    }
}

/// Where the response of a call goes.
#[derive(Debug)]
pub(super) enum Responder {
    /// Onto the multiplexed stream.
    Mux,
    /// To the task that serves the call's own stream.
    Stream(oneshot::Sender<Reply>),
}

/// A call, from the last byte of its arguments until its permits are free.
///
/// ```text
///            permits                     begin
///   waiting ---------> queued, or on its ------> running
///      |               way to a thread              |
///      |                     |                      | the function returns, panics,
///      | its task is aborted | begin refuses        | or is dropped
///      v                     v                      v
///     (removed: the permits are free; then the response leaves, or `Released`)
/// ```
///
/// Giving up, expiring and failing may happen at any stage: each sets a flag, cancels the
/// function's token, and aborts its task if it has one. **The call stays in the table until its
/// function has released its permits**, and the gateway is not told before. So permits that the
/// gateway counts as free are free.
///
/// [`begin`](CallTable::begin) and everything that ends a call run under one lock. Either `begin`
/// comes first, and the call counts as started, or the function never starts: there is no third
/// outcome, which is what makes the error's `executed` a proof.
#[derive(Debug)]
pub(super) struct RunningCall {
    pub(super) function: Arc<Function>,
    pub(super) responder: Responder,
    pub(super) deadline: Option<Instant>,
    /// Cancelled when the call has ended for its caller.
    pub(super) context: Context,
    /// Measures the call; `None` for a request about a job, and for a run that several callers share:
    /// their calls are measured instead.
    pub(super) clock: Option<Clock>,
    /// Whether the function has started.
    pub(super) started: bool,
    /// Whether the caller has given the call up.
    pub(super) given_up: bool,
    /// Whether it outlives its session and its stream: `exec::resumable` gives it up.
    pub(super) resumable: bool,
    /// Whether the gateway wants `Released` once the permits of this call, on a separate stream,
    /// are free.
    pub(super) release_wanted: bool,
    /// The error that the call fails with, regardless of what its function returns.
    pub(super) failure: Option<Error>,
    /// The middleware that waits for the call's end.
    pub(super) observer: Option<Observer>,
    /// Set if the call runs without its caller: where its answer goes.
    pub(super) run: Option<Box<RunHandle>>,
    /// Aborts the call's task, if it runs as one; a thread cannot be aborted.
    abort: Option<AbortHandle>,
}

impl RunningCall {
    pub(super) fn new(
        function: Arc<Function>,
        responder: Responder,
        deadline: Option<Instant>,
        context: Context,
        clock: Option<Clock>,
    ) -> Self {
        Self {
            function,
            responder,
            deadline,
            context,
            clock,
            started: false,
            given_up: false,
            resumable: false,
            release_wanted: false,
            failure: None,
            observer: None,
            run: None,
            abort: None,
        }
    }

    /// Whether the function runs on after its caller has left.
    fn is_detached(&self) -> bool {
        self.function.handler.policy.detached
    }

    /// Whether the call has ended for its caller: given up, failed, or past its deadline.
    fn is_over(&self) -> bool {
        self.given_up || self.failure.is_some() || has_passed(self.deadline)
    }

    /// Decides whether the function starts.
    pub(super) fn begin(&mut self) -> Begin {
        // A detached function starts even if its caller has left, but not after its deadline.
        let over = match self.is_detached() {
            true => !self.given_up && self.is_over(),
            false => self.is_over(),
        };
        if over {
            return Begin::Refuse;
        }
        if self.run.as_ref().is_some_and(|run| !run.note_start()) {
            return Begin::Refuse;
        }
        self.started = true;
        if let Some(clock) = &mut self.clock {
            clock.start();
        }
        Begin::Start
    }

    /// Notes that the call ends with an error of this kind, and what it says of whether the function
    /// has run, unless that follows from whether it has started.
    pub(super) fn note_error(&mut self, kind: ErrorKind, executed: Option<Executed>) {
        if let Some(clock) = &mut self.clock {
            clock.note_error(kind, executed);
        }
    }

    /// Notes how the function's stream has ended, if it has.
    pub(super) fn note_stream_end(&mut self) {
        if let (Some(clock), Some(end)) = (&mut self.clock, self.context.tally().end()) {
            clock.note_end(&end);
        }
    }

    /// Stops the function, unless it is detached.
    fn stop(&self) {
        self.context.cancel();
        if !self.is_detached() {
            self.abort();
        }
    }

    fn abort(&self) {
        if let Some(abort) = &self.abort {
            abort.abort();
        }
    }
}

/// What to do with a call whose function is about to start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Begin {
    Start,
    /// The call has ended: the function must not start.
    Refuse,
}

/// The calls of one session that have not released their permits yet, and their deadlines.
#[derive(Debug, Default)]
pub(super) struct CallTable {
    calls: HashMap<CallKey, RunningCall>,
    deadlines: Deadlines<CallKey>,
    /// Streams whose calls are still being read, and whether the gateway has abandoned them. Also
    /// holds streams that were abandoned before they arrived: control messages and streams are not
    /// ordered with each other.
    reading: HashMap<u64, bool>,
    /// Streams on which resumable streams are or were read, of calls that hold permits, and whether
    /// the gateway wants `Released` once these are free.
    legs: HashMap<u64, bool>,
    /// All streams with a lower id have arrived: QUIC accepts them in order.
    next_stream: u64,
}

impl CallTable {
    pub(super) fn len(&self) -> usize {
        self.calls.len()
    }

    pub(super) fn contains(&self, key: CallKey) -> bool {
        self.calls.contains_key(&key)
    }

    /// Notes the batch that a call has run in, if the call is traced.
    pub(super) fn note_batch(&mut self, key: CallKey, batch: BatchRecord) {
        if let Some(clock) = self.calls.get_mut(&key).and_then(|call| call.clock.as_mut()) {
            clock.batch = Some(batch);
        }
    }

    /// Adds a call. Returns whether its deadline is now the next one.
    pub(super) fn insert(&mut self, key: CallKey, call: RunningCall) -> bool {
        let Self { calls, deadlines, .. } = self;
        let deadline = call.deadline;
        calls.insert(key, call);
        let is_live = |key| calls.contains_key(&key);
        deadline.is_some_and(|deadline| deadlines.add(deadline, key, calls.len(), is_live))
    }

    pub(super) fn remove(&mut self, key: CallKey) -> Option<RunningCall> {
        self.calls.remove(&key)
    }

    /// Decides whether a function starts, atomically with everything that may end its call.
    pub(super) fn begin(&mut self, key: CallKey) -> Begin {
        self.calls.get_mut(&key).map_or(Begin::Refuse, RunningCall::begin)
    }

    /// Notes that the function of a call may have started, in a run that it has joined.
    pub(super) fn mark_started(&mut self, key: CallKey) {
        if let Some(call) = self.calls.get_mut(&key) {
            call.started = true;
            if let Some(clock) = &mut call.clock {
                clock.start();
            }
        }
    }

    /// Stores the handle that aborts a call's task. If the call has ended already, aborts at once:
    /// the end came between the two and had no handle to use.
    pub(super) fn set_abort(&mut self, key: CallKey, abort: AbortHandle) {
        match self.calls.get_mut(&key) {
            Some(call) => {
                let over = call.is_over() && !call.is_detached();
                call.abort = Some(abort);
                if over || call.failure.is_some() {
                    call.abort();
                }
            }
            None => abort.abort(),
        }
    }

    /// Stores the observer of a call's end, and drops the handle that aborts its task.
    ///
    /// Both in one step: an early end either aborts the middleware's task or is observed by it.
    pub(super) fn observe(&mut self, key: CallKey, observer: Observer) {
        if let Some(call) = self.calls.get_mut(&key) {
            call.observer = Some(observer);
            call.abort = None;
        }
    }

    /// Notes that the caller has given up a call, which ends it unless it runs without its caller.
    /// Returns whether the table has the call.
    pub(super) fn give_up(&mut self, key: CallKey) -> bool {
        let Some(call) = self.calls.get_mut(&key) else { return false };
        if call.run.is_none() {
            call.given_up = true;
            call.stop();
        }
        true
    }

    /// Notes that a stream has arrived.
    pub(super) fn accept_stream(&mut self, stream: u64) {
        self.next_stream = stream + 1;
        // The entry exists, and is `true`, if the stream was abandoned before it arrived.
        self.reading.entry(stream).or_insert(false);
    }

    /// Notes that a call has been read from its stream, or never will be. Returns whether the
    /// gateway still wants it.
    pub(super) fn end_reading(&mut self, stream: u64) -> bool {
        self.reading.remove(&stream) != Some(true)
    }

    /// Notes that the gateway has abandoned the call on a stream, and wants to know when its
    /// permits are free. Returns `false` if they are free already.
    pub(super) fn abandon_stream(&mut self, stream: u64) -> bool {
        let key = CallKey::Stream(stream);
        if let Some(wanted) = self.legs.get_mut(&stream) {
            // Not given up: the stream itself tells whether its caller has cancelled it or is lost.
            *wanted = true;
            return true;
        }
        if let Some(call) = self.calls.get_mut(&key) {
            if call.resumable {
                // Another leg of the same session has replaced this one, and its place.
                return false;
            }
            call.release_wanted = true;
            return self.give_up(key);
        }
        match self.reading.get_mut(&stream) {
            Some(abandoned) => *abandoned = true,
            // The message has overtaken its stream.
            None if stream >= self.next_stream => drop(self.reading.insert(stream, true)),
            // The call has ended, and was answered.
            None => return false,
        }
        true
    }

    /// Notes that a resumable stream, whose call holds permits, is read on a stream.
    pub(super) fn add_leg(&mut self, stream: u64) {
        self.legs.entry(stream).or_insert(false);
    }

    /// Removes a stream on which a resumable stream was read. Returns whether the gateway wants
    /// `Released`.
    pub(super) fn remove_leg(&mut self, stream: u64) -> bool {
        self.legs.remove(&stream) == Some(true)
    }

    /// Fails a call with `error`. Its function is dropped even if it is detached: the input that it
    /// waits for will not come.
    pub(super) fn fail(&mut self, key: CallKey, error: Error) {
        if let Some(call) = self.calls.get_mut(&key) {
            call.failure = Some(error);
            call.context.cancel();
            call.abort();
        }
    }

    /// Cancels a call that runs without its caller: it fails with `error`.
    pub(super) fn cancel(&mut self, key: CallKey, error: Error) {
        let started = self.calls.get(&key).is_some_and(|call| call.started);
        self.fail(key, error.with_evidence(Evidence::of_start(started)));
    }

    /// Returns the earliest deadline.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.deadlines.next()
    }

    /// Stops the calls whose deadlines have passed by `now`.
    pub(super) fn expire(&mut self, now: Instant) {
        while let Some(key) = self.deadlines.take(now) {
            if let Some(call) = self.calls.get(&key) {
                call.stop();
                // Even a detached function: one that has not started by its deadline never starts.
                if !call.started {
                    call.abort();
                }
            }
        }
    }

    /// Gives up all calls but those that run without their callers, because the gateway is gone.
    pub(super) fn close(&mut self) {
        for call in self.calls.values_mut().filter(|call| call.run.is_none() && !call.resumable) {
            call.given_up = true;
            call.stop();
        }
    }
}

#[cfg(test)]
pub(super) mod tests;
