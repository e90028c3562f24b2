//! A small call's first attempt, on the lane that it shares with others.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::sync::oneshot;
use tokio_util::sync::WaitForCancellationFutureOwned;

use crate::client::errors::thread_ended;
use crate::client::exchange::{Answer, Exchange, Progress};
use crate::client::limits::Over;
use crate::client::prepared::{Prepared, put_request};
use crate::error::Error;
use crate::transport::lane::calling::Declined;
use crate::transport::lane::link::{Answered, Waiter};
use crate::transport::link::Live;
use crate::wire::frame::{FRAME_HEADER, FrameKind};
use crate::wire::kind::Kind;
use crate::wire::lane::LaneId;
use crate::wire::limits::MAX_LANE_BODY;

/// A call that waits on a lane. It is polled by its caller; no task stands between.
pub(super) struct LaneCall {
    /// The connection counts as used for as long as this is held.
    live: Arc<Live>,
    id: LaneId,
    answered: oneshot::Receiver<Answered>,
    /// Resolves when the call for which this one is made is over.
    over: Option<Pin<Box<WaitForCancellationFutureOwned>>>,
    /// For another attempt, and for errors. `None` once the call is over.
    prepared: Option<Box<Prepared>>,
}

/// How the attempt ended.
pub(super) enum Outcome {
    Answered(Answer),
    /// Not well: here is what would make the call again, and the error.
    Failed(Box<Exchange>, Error),
}

impl LaneCall {
    /// Sends the call, if it is one for a lane and there is one that takes it.
    pub(super) fn begin(mut prepared: Box<Prepared>) -> Result<Self, Box<Prepared>> {
        let header = &prepared.header;
        let plain = header.kind == Kind::Unary && !header.traced;
        let length = prepared.body.len() - FRAME_HEADER;
        let fits = |live: &Arc<Live>| plain && length <= MAX_LANE_BODY.min(live.max_message);
        let Some(live) = prepared.client.link.live().filter(fits) else { return Err(prepared) };
        let Some(lane) = &live.lane else { return Err(prepared) };
        let (answered, answer) = oneshot::channel();
        let waiter = Waiter { answered, deadline: prepared.deadline };
        let request = &mut *prepared;
        request.header.wish.patience = live.others_may_take(request.client.link.connect_timeout);
        let sent = lane.submit(waiter, request.deadline, |_, out| {
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
    pub(super) fn poll(&mut self, context: &mut Context<'_>) -> Poll<Outcome> {
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
                Outcome::Answered(Answer { frame, trace: None })
            }
            Some(Ok(answered)) => {
                let mut exchange = Box::new(Exchange::new(*prepared).0);
                let error = exchange.after_lane(answered);
                Outcome::Failed(exchange, error)
            }
            // Its thread has ended in the middle of the answer.
            Some(Err(_)) => Outcome::Failed(Box::new(Exchange::new(*prepared).0), thread_ended()),
            None => {
                let lane = self.live.lane.as_ref();
                let left = lane.and_then(|lane| lane.withdraw(self.id));
                let sent = left.is_none_or(|left| left.sent);
                let mut exchange = Box::new(Exchange::new(*prepared).0);
                exchange.progress = if sent { Progress::Sent } else { Progress::Unsent };
                let error = exchange.over(Over::Cancelled);
                Outcome::Failed(exchange, error)
            }
        })
    }
}

impl Exchange {
    /// What an attempt on a lane failed with.
    fn after_lane(&mut self, answered: Answered) -> Error {
        let progress = |sent| if sent { Progress::Sent } else { Progress::Unsent };
        self.progress = Progress::Sent;
        match answered {
            Answered::Frame(frame) if frame.kind == FrameKind::Error => self.refused(&frame),
            Answered::Frame(frame) => {
                self.nonsense(format!("{:?} frame instead of an answer", frame.kind))
            }
            Answered::Failed(error) => self.broken(error),
            Answered::Late { sent } => {
                self.progress = progress(sent);
                self.over(Over::Late)
            }
            Answered::Lost { sent, cause } => {
                self.progress = progress(sent);
                self.lost(cause)
            }
        }
    }
}

impl Drop for LaneCall {
    fn drop(&mut self) {
        if self.prepared.is_some()
            && let Some(lane) = &self.live.lane
        {
            lane.withdraw(self.id);
        }
    }
}

impl std::fmt::Debug for LaneCall {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "LaneCall({})", self.id)
    }
}
