//! The multiplexed stream of a caller, which carries many small calls.
//!
//! ```text
//!            read             try_acquire, submit
//!   message ------> dispatch ---------------------> at a node: answered by the node's mux
//!                      |                                |  node lost before it had the call
//!                      | no free slot, or the           v
//!                      +- node's mux is busy ----> in a task: waits, opens a stream, forwards
//! ```
//!
//! A call needs no task here if a node has a free slot and its multiplexed stream accepts the call.
//!
//! Each call has an entry in the table of [`PendingResponse`]s from its dispatch to its response.
//! The party that removes the entry ends the call: exactly one of response, failure, cancellation
//! and end of the stream finds it, and the others do nothing.
//!
//! The caller's thread dispatches calls, cancels them and runs their tasks. A node's thread, which
//! may be another one, only responds, fails a call, or hands it to a task. It does so only if the
//! entry is still there: a call that was cancelled is not sent to another node.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::{AbortHandle, Abortable, BoxFuture};
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::call::function_meter::CallEnd;
use crate::error::{Error, ErrorKind};
use crate::gateway::directory::Question;
use crate::gateway::relay::call::{Dispatch, ForwardedCall};
use crate::gateway::relay::caller_session::CallerSession;
use crate::gateway::relay::dispatch::protocol;
use crate::gateway::relay::node_link::{CallOrigin, NodeMux, NodePermit, PlacedCall};
use crate::gateway::relay::outcome::note_failure;
use crate::gateway::relay::overflow::{forward_leg, forward_overflow, open_overflow};
use crate::gateway::state::GatewayState;
use crate::transport::mux::driver::{OpenMux, disconnect};
use crate::transport::mux::in_flight::Declined;
use crate::transport::mux::writer::MuxWriter;
use crate::transport::quic::stream::{RecvHalf, SendHalf};
use crate::wire::bytes::Malformed;
use crate::wire::error::put_error;
use crate::wire::frame::{FRAME_HEADER, FrameKind};
use crate::wire::kind::Kind;
use crate::wire::limits::{MAX_MUX_BODY, MAX_TRACE};
use crate::wire::mux::{MuxId, take_frame};

/// Maximum length of the frames of a response on a multiplexed stream, in bytes.
pub(super) const MAX_RESPONSE: usize = FRAME_HEADER + MAX_TRACE + FRAME_HEADER + MAX_MUX_BODY;

/// The multiplexed stream of one caller.
#[derive(Debug)]
pub(super) struct CallerMux {
    writer: MuxWriter,
    /// Calls that have not been answered.
    calls: Mutex<HashMap<MuxId, PendingResponse>>,
    pub(super) caller: Arc<CallerSession>,
}

/// A call that has not been answered.
#[derive(Debug)]
struct PendingResponse {
    /// When the caller stops waiting.
    deadline: Option<Instant>,
    stage: DispatchStage,
}

#[derive(Debug)]
enum DispatchStage {
    /// At a node, on its multiplexed stream, with this id there.
    AtNode(Arc<NodeMux>, MuxId),
    /// Handled by a task.
    Task(AbortHandle),
}

/// Serves the multiplexed stream that `caller` has opened, until it breaks.
pub(super) async fn serve(halves: (SendHalf, RecvHalf), first: Bytes, caller: Arc<CallerSession>) {
    let connection = caller.connection.clone();
    if caller.has_mux.swap(true, Ordering::Relaxed) {
        let cause = Malformed::new("a second multiplexed stream on one connection");
        return disconnect(&connection, &cause);
    }
    let mux = CallerMux { writer: MuxWriter::default(), calls: Mutex::default(), caller };
    let mux = OpenCallerMux(Arc::new(mux));
    let ready = || {
        let mux = mux.0.clone();
        // Back-pressure: read no further messages while responses are not read, or while the caller
        // is throttled because it cancels too many calls.
        async move {
            mux.writer.has_room().await;
            mux.caller.may_begin().await;
        }
    };
    let open = OpenMux::accepted(connection, halves, first);
    // The session ends with its connection and reports the reason.
    let _ = open.drive(&mux.0.writer, ready, |id, frames| mux.0.receive(id, frames)).await;
}

/// Guard of a caller's multiplexed stream; dropping it abandons all its calls.
struct OpenCallerMux(Arc<CallerMux>);

impl Drop for OpenCallerMux {
    fn drop(&mut self) {
        // Close first: responses that arrive from here on are discarded.
        self.0.writer.close();
        let calls = std::mem::take(&mut *self.0.calls.lock());
        calls.into_values().for_each(|call| call.stage.abandon());
    }
}

impl DispatchStage {
    fn abandon(self) {
        match self {
            Self::AtNode(mux, id) => {
                mux.abandon(id, |call| ((), call.abandon()));
            }
            Self::Task(task) => task.abort(),
        }
    }
}

impl CallerMux {
    pub(super) fn state(&self) -> &Arc<GatewayState> {
        &self.caller.state
    }

    /// Handles a message of the caller: a call, or without frames a cancellation.
    ///
    /// # Errors
    /// The caller violates the protocol of the multiplexed stream.
    fn receive(self: &Arc<Self>, id: MuxId, frames: Bytes) -> Result<(), Malformed> {
        if frames.is_empty() {
            // If the entry is gone, the response has overtaken the cancellation and is on its way.
            let call = self.calls.lock().remove(&id);
            if let Some(call) = call {
                call.stage.abandon();
                self.caller.note_given_up(call.deadline);
                // Confirms the cancellation: the caller may reuse the slot of the call.
                self.writer.push_frames(id, &[]);
            }
            return Ok(());
        }
        let (n, is_there) = {
            let calls = self.calls.lock();
            (calls.len(), calls.contains_key(&id))
        };
        if is_there {
            return Err(Malformed::new("two calls with one id at a time"));
        }
        self.state().counters.calls.fetch_add(1, Ordering::Relaxed);
        match self.caller.check_calls(n).and_then(|()| self.read(frames)) {
            Ok(call) => self.begin(id, call),
            // The error affects only this call, so the stream stays open.
            Err(error) => self.send_error(id, &error),
        }
        Ok(())
    }

    fn read(&self, mut frames: Bytes) -> Result<Box<ForwardedCall>, Error> {
        let header = take_frame(&mut frames, 0).map_err(Malformed::into_error)?;
        if header.kind != FrameKind::Header {
            return Err(protocol(format!("{:?} frame instead of a header", header.kind)));
        }
        let header = self.caller.read_header(&header.body)?;
        let body = frames.clone();
        let limit = MAX_MUX_BODY.min(self.state().limits.max_message);
        let arguments = take_frame(&mut frames, limit).map_err(Malformed::into_error)?;
        // The place of a job is taken beyond its answer, which a multiplexed stream cannot tell.
        let unary = header.kind == Kind::Unary && !header.is_spawn();
        let fits = unary && arguments.kind == FrameKind::Body;
        if !fits || !frames.is_empty() {
            return Err(protocol("this call needs a separate stream"));
        }
        let kept = self.caller.keep(body.len())?;
        let dispatch = Dispatch::new(header, &self.caller.hedged, self.caller.open_call());
        Ok(Box::new(ForwardedCall { dispatch, body, kept }))
    }

    fn begin(self: &Arc<Self>, id: MuxId, call: Box<ForwardedCall>) {
        match Question::of(&call.dispatch.header, &self.state().access) {
            Some(Ok(question)) => {
                let deadline = call.dispatch.deadline;
                return self.spawn(id, deadline, answer(self.clone(), id, call, question));
            }
            Some(Err(error)) => return self.send_error(id, &error),
            None => {}
        }
        // Usually a node has a free slot, and the call needs no task.
        match call.dispatch.try_acquire(&self.state().dispatcher) {
            Some(Ok(permit)) => {
                if let Err((call, permit)) = self.submit(id, call, permit) {
                    self.begin_later(id, call, Some(permit));
                }
            }
            Some(Err(error)) => self.send_error(id, &error),
            None => self.begin_later(id, call, None),
        }
    }

    /// Sends a call to a node on the node's multiplexed stream. Runs on the caller's thread, so
    /// that no cancellation comes in between.
    ///
    /// # Errors
    /// Returns the call and its permit if the stream does not accept the call.
    fn submit(
        self: &Arc<Self>,
        id: MuxId,
        mut call: Box<ForwardedCall>,
        permit: NodePermit,
    ) -> Result<(), (Box<ForwardedCall>, NodePermit)> {
        let Some(mux) = permit.node().handle().mux() else { return Err((call, permit)) };
        if let Err(error) = call.dispatch.stamp() {
            permit.ends(CallEnd::Error(error.kind()));
            note_failure(&permit, &call.dispatch.header, &error);
            self.fail_or_refuse(id, &error);
            return Ok(());
        }
        let deadline = call.dispatch.deadline;
        let placed = PlacedCall { origin: self.clone(), id, call, permit };
        let sent = {
            // Held until the entry exists: the node's stream may be read on another thread, and the
            // response must find the entry. Lock order: these calls, then those of the node.
            let mut calls = self.calls.lock();
            let sent = mux.submit(placed, None, |placed, out| {
                placed.call.dispatch.header.put(out)?;
                out.extend_from_slice(&placed.call.body);
                Ok::<(), usize>(())
            });
            sent.map(|at_node| {
                let stage = DispatchStage::AtNode(mux, at_node);
                calls.insert(id, PendingResponse { deadline, stage });
            })
        };
        match sent {
            Ok(()) => {}
            Err(Declined::Busy(placed)) => return Err((placed.call, placed.permit)),
            Err(Declined::Unwritten(placed, _)) => {
                placed.permit.ends(CallEnd::Error(ErrorKind::Protocol));
                self.fail_or_refuse(id, &protocol("the call header is too long"));
            }
        }
        Ok(())
    }

    /// Spawns a task for a call that has just arrived; it is aborted if the call is cancelled.
    fn spawn(
        &self,
        id: MuxId,
        deadline: Option<Instant>,
        task: impl Future<Output = ()> + Send + 'static,
    ) {
        // Registered here and not by the task: a cancellation that arrives before the task first
        // runs must find it.
        let (abort, registration) = AbortHandle::new_pair();
        let stage = DispatchStage::Task(abort);
        self.calls.lock().insert(id, PendingResponse { deadline, stage });
        self.caller.runtime.spawn(Abortable::new(task, registration).map(drop));
    }

    /// Dispatches a call that has just arrived in a task.
    fn begin_later(
        self: &Arc<Self>,
        id: MuxId,
        call: Box<ForwardedCall>,
        permit: Option<NodePermit>,
    ) {
        let deadline = call.dispatch.deadline;
        self.spawn(id, deadline, dispatch_later(self.clone(), id, call, permit));
    }

    /// Wraps `task` so that it is dropped when the call is cancelled, and makes it responsible for
    /// a call that was at a node. `None` if the call has been cancelled, or its caller has left.
    fn take_over<T: Future<Output = ()>>(
        &self,
        id: MuxId,
        task: T,
    ) -> Option<impl Future<Output = ()> + use<T>> {
        let (abort, registration) = AbortHandle::new_pair();
        let stage = DispatchStage::Task(abort);
        // Under one lock, because the caller's thread may cancel the call at the same time. What
        // is replaced is dropped with the lock, and takes none.
        match self.calls.lock().get_mut(&id) {
            Some(call) => call.stage = stage,
            None => return None,
        }
        Some(Abortable::new(task, registration).map(drop))
    }

    /// Removes a call whose response is about to be sent. Returns whether the caller still waits.
    pub(super) fn finish(&self, id: MuxId) -> bool {
        let there = self.calls.lock().remove(&id).is_some();
        if there {
            self.caller.note_answered();
        }
        there
    }

    /// Answers a call with `frames`, which fit into one message.
    pub(super) fn answer(&self, id: MuxId, frames: &[u8]) {
        if self.finish(id) {
            self.tell(id, frames);
        }
    }

    /// Sends a response, unless the gateway ends: see [`Ending`](crate::gateway::ending::Ending).
    fn tell(&self, id: MuxId, frames: &[u8]) {
        if !self.state().ending.has_begun() {
            self.writer.push_frames(id, frames);
        }
    }

    pub(super) fn fail(&self, id: MuxId, error: &Error) {
        if self.finish(id) {
            self.send_error(id, error);
        }
    }

    /// Fails a call that may not be in the table yet.
    fn fail_or_refuse(&self, id: MuxId, error: &Error) {
        self.finish(id);
        self.send_error(id, error);
    }

    pub(super) fn send_error(&self, id: MuxId, error: &Error) {
        let mut frames = Vec::new();
        put_error(&mut frames, error);
        self.tell(id, &frames);
    }
}

impl CallOrigin for CallerMux {
    fn answer(&self, id: MuxId, frames: &[u8]) {
        Self::answer(self, id, frames);
    }

    fn fail(&self, id: MuxId, error: &Error) {
        Self::fail(self, id, error);
    }

    fn redispatch(self: Arc<Self>, id: MuxId, call: Box<ForwardedCall>) {
        let dispatching = dispatch_later(self.clone(), id, call, None);
        // On the caller's thread, although this is the thread of the node that was lost.
        if let Some(dispatching) = self.take_over(id, dispatching) {
            self.caller.runtime.spawn(dispatching);
        }
    }

    fn forward_response(
        self: Arc<Self>,
        id: MuxId,
        call: Box<ForwardedCall>,
        response: (RecvHalf, Bytes),
        permit: NodePermit,
    ) -> BoxFuture<'static, ()> {
        let forwarding = forward_overflow(response, self.clone(), id, (call, permit));
        match self.take_over(id, forwarding) {
            Some(forwarding) => forwarding.boxed(),
            None => std::future::ready(()).boxed(),
        }
    }
}

/// Answers a question to the gateway itself.
async fn answer(mux: Arc<CallerMux>, id: MuxId, call: Box<ForwardedCall>, question: Question) {
    let (frames, _kept) = match mux.caller.answer(question, &call.dispatch).await {
        Ok(answer) => answer,
        Err(error) => return mux.fail(id, &error),
    };
    if frames.len() <= MAX_RESPONSE {
        return mux.answer(id, &frames);
    }
    if let Some(mut send) = open_overflow(&mux, id, &[]).await
        && send.write_chunks(&mut [frames]).await.is_ok()
    {
        send.finish();
    }
}

/// Dispatches a call in a task: no node had a free slot at once, or the node's multiplexed stream
/// did not accept the call.
///
/// Each round acquires a permit and tries the node's multiplexed stream, then a separate stream.
/// The task ends when a node has the call or when the call fails. Only the loss of a node before it
/// had the whole call starts another round. `permit` was acquired before, for a node whose
/// multiplexed stream did not accept the call.
async fn dispatch_later(
    mux: Arc<CallerMux>,
    id: MuxId,
    mut call: Box<ForwardedCall>,
    mut permit: Option<NodePermit>,
) {
    loop {
        let found = match permit.take() {
            Some(permit) => permit,
            None => {
                let acquired =
                    call.dispatch.acquire(&mux.state().dispatcher, mux.caller.number).await;
                let submitted = match acquired {
                    Ok(permit) => mux.submit(id, call, permit),
                    Err(error) => return mux.fail(id, &error),
                };
                // `submit` has not sent anything. Keep the permit, and use a separate stream
                // instead.
                let Err((back, permit)) = submitted else { return };
                call = back;
                permit
            }
        };
        // `open` returns the call only if the node was lost before it had received all of it. It
        // cannot have run, so the next round may send it again.
        let ForwardedCall { dispatch, body, kept } = *call;
        match dispatch.open(found, &body, mux.state().limits.max_message).await {
            Ok(mut leg) => {
                leg.send.finish();
                return forward_leg(leg, mux, id).await;
            }
            Err((_, Some(error))) => return mux.fail(id, &error),
            Err((dispatch, None)) => call = Box::new(ForwardedCall { dispatch, body, kept }),
        }
    }
}
