//! A small call's first attempt, on the mux that it shares with others.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::sync::oneshot;
use tokio_util::sync::WaitForCancellationFutureOwned;

use crate::client::call_task::{CallTask, SendProgress, UnaryAnswer};
use crate::client::errors::thread_ended;
use crate::client::expired::Expired;
use crate::client::pending_call::{PendingCall, put_request};
use crate::error::Error;
use crate::transport::connection::LiveConnection;
use crate::transport::mux::client::{Answered, MuxWaiter};
use crate::transport::mux::in_flight::Declined;
use crate::wire::frame::{FRAME_HEADER, FrameKind};
use crate::wire::kind::Kind;
use crate::wire::limits::MAX_MUX_BODY;
use crate::wire::mux::MuxId;

/// A call that waits on a mux. It is polled by its caller; no task stands between.
pub(super) struct MuxCall {
    /// The connection counts as used for as long as this is held.
    live: Arc<LiveConnection>,
    id: MuxId,
    answered: oneshot::Receiver<Answered>,
    /// Resolves when the call for which this one is made is over.
    over: Option<Pin<Box<WaitForCancellationFutureOwned>>>,
    /// For another attempt, and for errors. `None` once the call is over.
    prepared: Option<Box<PendingCall>>,
}

/// How the attempt ended.
pub(super) enum MuxOutcome {
    Answered(UnaryAnswer),
    /// Not well: here is what would make the call again, and the error.
    Failed(Box<CallTask>, Error),
}

impl MuxCall {
    /// Sends the call, if it is one for a mux and there is one that takes it.
    pub(super) fn begin(mut prepared: Box<PendingCall>) -> Result<Self, Box<PendingCall>> {
        let header = &prepared.header;
        let plain = header.kind == Kind::Unary && !header.traced;
        let length = prepared.body.len() - FRAME_HEADER;
        let fits =
            |live: &Arc<LiveConnection>| plain && length <= MAX_MUX_BODY.min(live.max_message);
        let Some(live) = prepared.client.link.live().filter(fits) else { return Err(prepared) };
        let Some(mux) = &live.mux else { return Err(prepared) };
        let (answered, answer) = oneshot::channel();
        let waiter = MuxWaiter { answered, deadline: prepared.deadline };
        let request = &mut *prepared;
        request.header.wish.patience = live.others_may_take(request.client.link.connect_timeout);
        let sent = mux.submit(waiter, request.deadline, |_, out| {
            put_request(&mut request.header, request.deadline, &request.body, out)
        });
        let id = match sent {
            Ok(id) => id,
            // On a stream of its own it finds out the same, if it is no good.
            Err(Declined::Busy(_) | Declined::Unwritten(..)) => return Err(prepared),
        };
        let scope = prepared.client.scope.as_ref();
        let over = scope.map(|scope| Box::pin(scope.cancelled.clone().cancelled_owned()));
        Ok(Self { live, id, answered: answer, over, prepared: Some(prepared) })
    }

    /// # Panics
    /// If it is polled after it has given its outcome.
    pub(super) fn poll(&mut self, context: &mut Context<'_>) -> Poll<MuxOutcome> {
        let answered = match Pin::new(&mut self.answered).poll(context) {
            Poll::Ready(answered) => Some(answered),
            Poll::Pending => {
                let over = self.over.as_mut().map(|over| over.as_mut().poll(context));
                if !matches!(over, Some(Poll::Ready(()))) {
                    return Poll::Pending;
                }
                None
            }
        };
        let prepared = self.prepared.take().expect("a call was polled after its end");
        Poll::Ready(match answered {
            Some(Ok(Answered::Frame(frame)))
                if matches!(frame.kind, FrameKind::Body | FrameKind::Fault) =>
            {
                prepared.client.link.retries.refund();
                MuxOutcome::Answered(UnaryAnswer { frame, trace: None })
            }
            Some(Ok(answered)) => {
                let mut exchange = Box::new(CallTask::new(*prepared).0);
                let error = exchange.after_lane(answered);
                MuxOutcome::Failed(exchange, error)
            }
            // Its thread has ended in the middle of the answer.
            Some(Err(_)) => {
                MuxOutcome::Failed(Box::new(CallTask::new(*prepared).0), thread_ended())
            }
            None => {
                let mux = self.live.mux.as_ref();
                let left = mux.and_then(|mux| mux.withdraw(self.id));
                let sent = left.is_none_or(|left| left.sent);
                let mut exchange = Box::new(CallTask::new(*prepared).0);
                exchange.progress = if sent { SendProgress::Sent } else { SendProgress::Unsent };
                let error = exchange.over(Expired::Cancelled);
                MuxOutcome::Failed(exchange, error)
            }
        })
    }
}

impl CallTask {
    /// What an attempt on a mux failed with.
    fn after_lane(&mut self, answered: Answered) -> Error {
        let progress = |sent| if sent { SendProgress::Sent } else { SendProgress::Unsent };
        self.progress = SendProgress::Sent;
        match answered {
            Answered::Frame(frame) if frame.kind == FrameKind::Error => self.refused(&frame),
            Answered::Frame(frame) => {
                self.nonsense(format!("{:?} frame instead of an answer", frame.kind))
            }
            Answered::Failed(error) => self.broken(error),
            Answered::Late { sent } => {
                self.progress = progress(sent);
                self.over(Expired::Late)
            }
            Answered::Lost { sent, cause } => {
                self.progress = progress(sent);
                self.lost(cause)
            }
        }
    }
}

impl Drop for MuxCall {
    fn drop(&mut self) {
        if self.prepared.is_some()
            && let Some(mux) = &self.live.mux
        {
            mux.withdraw(self.id);
        }
    }
}

impl std::fmt::Debug for MuxCall {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "MuxCall({})", self.id)
    }
}
