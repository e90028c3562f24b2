//! Resuming a stream: what the I/O task does when a leg is lost.
//!
//! ```text
//!                          lost                            the node has it
//!   a leg is attached -------------> continue at its node ----------------> attached
//!                                      |  |  ^                                 ^
//!                                      |  |  +-- not reached: again, for 30 s  |
//!          the node has it no more, or |  v                                    |
//!          is lost                     | Gap, unless `#[resume]`               |
//!                                      v                                       |
//!                              start at any node, with what was taken ---------+
//! ```
//!
//! A call with a resumable client stream has the same legs ([upload](super::upload)), and no reader.
//!
//! Attempts to resume are not retries: they take no token of the retry budget, and the policy of the
//! call does not count them. Their number is limited by time, with a pause in between.

use std::future::pending;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, sleep, timeout};

use crate::call::backoff::ExponentialBackoff;
use crate::call::executed::Evidence;
use crate::client::call_task::CallTask;
use crate::client::detour::Detour;
use crate::client::leg::{LegMark, NextLeg, StreamEnd};
use crate::client::resumption::{ResumePoint, StreamLoss};
use crate::client::upload::Sending;
use crate::error::{Error, ErrorKind};
use crate::transport::byte_channel::{ByteSender, byte_channel};
use crate::transport::gateway_board::GatewayBoard;
use crate::transport::live_connection::LiveConnection;
use crate::transport::quic::reset;
use crate::transport::quic::stream::{Broken, FrameError, RecvHalf};
use crate::wire::bytes::Malformed;
use crate::wire::frame::{self, Frame, FrameBuffer, FrameKind};
use crate::wire::resume::{Attachment, ResumeRequest, ResumeStep};
use crate::wire::scanner::FrameScanner;

/// How long a client tries to resume a stream: as long as the node keeps it.
const WINDOW: Duration = Duration::from_secs(30);

/// How long a gateway waits for the node of a stream that can start elsewhere. A node that has lost
/// its gateway is back within a second.
const SHORT_PATIENCE: Duration = Duration::from_secs(5);

/// How long a leg waits for the gateway to end it once everything has arrived.
const GOODBYE: Duration = Duration::from_secs(5);

/// Pauses between attempts to resume.
const PAUSES: ExponentialBackoff = ExponentialBackoff {
    first: Duration::from_millis(50),
    longest: Duration::from_secs(1),
    factor: 2.0,
    jitter: (0.8, 1.2),
};

/// Returns whether a stream is to be resumed after an error: the way to its node is lost, or the
/// node itself.
fn is_loss(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::NodeLost | ErrorKind::ConnectionLost | ErrorKind::Draining)
}

/// Completes when the calls of `live` are to go on over another gateway; never where there is just
/// one. Cancel safe.
pub(super) async fn moves(gateways: Option<Arc<GatewayBoard>>, live: &LiveConnection) {
    match gateways {
        Some(gateways) => gateways.left_for_another(live).await,
        None => pending().await,
    }
}

/// Waits until the gateway has ended a leg on which everything has arrived, and for [`GOODBYE`] at
/// most.
pub(super) async fn ended(recv: &mut RecvHalf) {
    // After that time the leg is dropped, which ends it as well.
    let _ = timeout(GOODBYE, async { while let Ok(Some(_)) = recv.read().await {} }).await;
}

impl CallTask {
    /// Returns whether the call is about to continue a stream at its node.
    pub(super) fn continues(&self) -> bool {
        self.request.header.continues()
    }

    /// Returns how long a gateway waits for the node of a stream that is to be resumed.
    pub(super) fn resume_patience(&self) -> Option<Duration> {
        let resumption = self.resumption.as_ref()?;
        let left = WINDOW.saturating_sub(resumption.loss.as_ref()?.since.elapsed());
        let may_start = self.continues() && !resumption.arguments.is_empty();
        Some(if may_start { left.min(SHORT_PATIENCE) } else { left })
    }

    /// Receives a leg of a resumable stream. Returns `Ok` if the reader is dropped, or if everything
    /// has arrived.
    pub(super) async fn receive_leg(
        &mut self,
        recv: &mut RecvHalf,
        sender: &mut ByteSender<StreamEnd>,
        live: &LiveConnection,
    ) -> Result<(), Error> {
        let mut buffer = FrameBuffer::new(0);
        let first = tokio::select! {
            biased;
            () = sender.closed() => return Ok(()),
            first = recv.frame(&mut buffer) => first,
        };
        self.attached(first, live)?;
        live.note_served();
        let mut arrived = ArrivedLeg::new(live.max_message);
        let mut next = vec![buffer.take_rest()];
        let mut moved = pin!(moves(self.link.gateways.clone(), live));
        loop {
            let scanned = arrived.scan(next);
            self.note_arrived(scanned, live)?;
            if !arrived.holds_back() {
                self.hand_over(&mut arrived, sender, live, moved.as_mut()).await?;
            }
            if arrived.scanner.is_complete() {
                if let Some(resumption) = &mut self.resumption {
                    resumption.complete = true;
                }
                return Ok(());
            }
            let read = tokio::select! {
                biased;
                () = sender.closed() => return Ok(()),
                read = recv.read() => read,
                () = &mut moved => return Err(self.moved()),
            };
            next = self.arrived_chunks(read)?;
        }
    }

    /// Notes that the leg is left for one over another gateway. Returns the error that ends it.
    pub(super) fn moved(&mut self) -> Error {
        let text = "the gateway drains, and the stream goes on over another one";
        let error = Error::new(ErrorKind::Draining, text);
        self.note_loss(error.with_evidence(self.evidence))
    }

    /// Notes what has arrived.
    ///
    /// # Errors
    /// Of bytes that are not frames, and of a leg that is lost.
    fn note_arrived(
        &mut self,
        scanned: Result<Arrived, Malformed>,
        live: &LiveConnection,
    ) -> Result<(), Error> {
        match scanned {
            Ok(Arrived::Part) => {}
            Ok(Arrived::Answer) => self.evidence = Evidence::Answered,
            Ok(Arrived::Error(frame)) => {
                let error = self.refused(&frame, live);
                if self.loses(&error) {
                    return Err(self.note_loss(error));
                }
            }
            Err(cause) => {
                self.evidence = Evidence::Answered;
                return Err(self.broken(FrameError::Malformed(cause)));
            }
        }
        Ok(())
    }

    /// Returns the bytes that were read.
    ///
    /// # Errors
    /// Why there are no more.
    fn arrived_chunks(
        &mut self,
        read: Result<Option<Vec<Bytes>>, Broken>,
    ) -> Result<Vec<Bytes>, Error> {
        match read {
            Ok(Some(chunks)) => Ok(chunks),
            Ok(None) => {
                let text = "the stream was closed before its `End` frame";
                Err(self.with_evidence(Error::new(ErrorKind::Protocol, text)))
            }
            Err(broken) => {
                let error = self.broken(FrameError::Broken(broken));
                Err(if self.loses(&error) { self.note_loss(error) } else { error })
            }
        }
    }

    /// Looks at the first frame of a leg. Returns how many items of a client stream the node has.
    ///
    /// # Errors
    /// Why the node does not have the stream, or did not get the call.
    pub(super) fn attached(
        &mut self,
        first: Result<Option<Frame>, FrameError>,
        live: &LiveConnection,
    ) -> Result<u64, Error> {
        let frame = match first {
            Ok(Some(frame)) if frame.kind == FrameKind::Attached => frame,
            Ok(Some(frame)) if frame.kind == FrameKind::Error => {
                return Err(self.refused(&frame, live));
            }
            Ok(_) => return Err(self.protocol_error("no `Attached` frame".into())),
            Err(error) => return Err(self.broken(error)),
        };
        let attachment = Attachment::read(&frame.body);
        let Attachment { every, received, node } =
            attachment.map_err(|cause| self.broken(FrameError::Malformed(cause)))?;
        if let Some(resumption) = &mut self.resumption {
            resumption.mark.set_every(every);
            if !self.request.header.continues() {
                resumption.base.clone_from(&resumption.skipped);
            }
            if let Some(ring) = &resumption.ring {
                ring.set_node(&node);
            }
            (resumption.node, resumption.loss) = (Some(node), None);
        }
        Ok(received)
    }

    /// Passes what has arrived to the reader. Back-pressure is that of other streams.
    async fn hand_over(
        &mut self,
        arrived: &mut ArrivedLeg,
        sender: &mut ByteSender<StreamEnd>,
        live: &LiveConnection,
        moved: Pin<&mut impl Future<Output = ()>>,
    ) -> Result<(), Error> {
        let chunks = std::mem::take(&mut arrived.chunks);
        let handed = tokio::select! {
            biased;
            handed = sender.send_patiently(&chunks, self.link.stall_timeout) => handed,
            // A slow reader must not delay this: the node keeps the stream for a limited time.
            cause = live.connection.closed() => {
                let error = self.lost(Broken::Connection(cause));
                return Err(self.note_loss(error));
            }
            // Nor this: the gateway waits for the stream, which may not be read for long.
            () = moved => return Err(self.moved()),
        };
        // A reader that is gone is noticed by the next wait for its end.
        if handed.is_none() { Err(self.stalled()) } else { Ok(()) }
    }

    /// Returns whether an error ends the leg, and not the stream. A node that shuts down cancels what
    /// it runs: the stream can start elsewhere, or cannot go on.
    pub(super) fn loses(&self, error: &Error) -> bool {
        let resumption = self.resumption.as_ref();
        let may_start = resumption.is_some_and(|resumption| !resumption.arguments.is_empty());
        is_loss(error.kind()) || (error.kind() == ErrorKind::Cancelled && may_start)
    }

    /// Notes that the leg is lost, and that the stream is to be resumed.
    pub(super) fn note_loss(&mut self, error: Error) -> Error {
        if let Some(resumption) = &mut self.resumption {
            let loss = StreamLoss {
                since: Instant::now(),
                error: error.clone(),
                taken: None,
                attempts: 0,
            };
            resumption.loss.get_or_insert(loss);
        }
        error
    }

    /// Ends a leg whose outcome is `received`.
    pub(super) async fn end_leg(
        &mut self,
        received: Result<(), Error>,
        mut sending: Sending,
        mut recv: RecvHalf,
    ) -> Result<(), Error> {
        let Some(resumption) = &self.resumption else { return received };
        let (complete, lost) = (resumption.complete, resumption.loss.is_some());
        let left = received.is_ok() && !complete && resumption.may_return();
        if (received.is_err() && lost) || left {
            // The node must not take it for a reader that wants no more.
            sending.reset(ErrorKind::ConnectionLost);
            recv.stop(reset::code(ErrorKind::ConnectionLost));
        } else {
            sending.finish();
        }
        if received.is_ok() && complete {
            // The node lets go of the stream, and the gateway counts its place as free.
            ended(&mut recv).await;
        }
        received
    }

    /// Returns whether the stream is being resumed.
    pub(super) fn is_resuming(&self) -> bool {
        self.resumption.as_ref().is_some_and(|resumption| resumption.loss.is_some())
    }

    /// Prepares the next attempt to resume the stream, after a leg or an attempt that ended with
    /// `error`, and waits until it may start. `sender` leads to the reader; a call with one result
    /// has none.
    ///
    /// # Errors
    /// `Gap` if there is no further attempt; the error of a client that is closed.
    pub(super) async fn resume(
        &mut self,
        error: Error,
        sender: Option<&mut ByteSender<StreamEnd>>,
    ) -> Result<(), Error> {
        let Some(resumption) = &mut self.resumption else { return Err(error) };
        let Some(loss) = &mut resumption.loss else { return Err(error) };
        let pause = match loss.taken {
            Some(_) => PAUSES.pause(loss.attempts),
            None => Duration::ZERO,
        };
        let (taken, attempts) = (loss.taken, loss.attempts);
        loss.attempts += 1;
        let late = loss.since.elapsed() + pause > WINDOW;
        let taken = match taken {
            Some(taken) => taken,
            None => self.close_leg(&error, sender),
        };
        if self.link.is_closed() {
            return Err(error);
        }
        let step = self.next_step(&error);
        let Some(step) = step.filter(|_| !late) else { return Err(self.gap(&error)) };
        self.set_step(step, taken);
        let may_turn = step == ResumeStep::Continue || attempts > 0;
        match self.reroute(error, may_turn) {
            Ok(pause) => sleep(pause).await,
            Err(_) => {
                self.detour = Detour::new(false);
                sleep(pause).await;
            }
        }
        Ok(())
    }

    /// Closes the lost leg, and passes the next one to the reader. Returns how many items it has
    /// taken.
    fn close_leg(&mut self, error: &Error, sender: Option<&mut ByteSender<StreamEnd>>) -> u64 {
        let Some(resumption) = &mut self.resumption else { return 0 };
        let taken = resumption.mark.close();
        resumption.skipped = resumption.mark.skipped_at(taken);
        let mark = LegMark::behind(taken, resumption.skipped.clone());
        resumption.mark = mark.clone();
        if let Some(sender) = sender {
            let (next, receiver) = byte_channel(resumption.handover);
            let end = StreamEnd::Resumed(Box::new(NextLeg { receiver, mark }));
            // What the reader has not taken comes again, so it need not be kept.
            sender.end_now(end);
            *sender = next;
        }
        if let Some(loss) = &mut resumption.loss {
            loss.taken = Some(taken);
        }
        if let Some(demand) = &self.request.demand {
            // The node has it from the next request.
            demand.raise(taken);
        }
        self.history.add(error.clone());
        self.link.note_resumption(error, &self.request.header.function);
        taken
    }

    /// Decides what the next attempt does after one that ended with `error`; `None` if nothing can
    /// help.
    fn next_step(&self, error: &Error) -> Option<ResumeStep> {
        use ErrorKind::{
            Cancelled, ConnectionLost, Draining, Gap, NoNode, NoSuchFunction, NodeLost, Overloaded,
            Unavailable,
        };
        let resumption = self.resumption.as_ref()?;
        let may_start = !resumption.arguments.is_empty();
        let starts = !self.continues() && resumption.loss.as_ref()?.attempts > 1;
        match error.kind() {
            Gap | NodeLost | Cancelled | NoNode | NoSuchFunction if may_start => {
                Some(ResumeStep::Start)
            }
            ConnectionLost | Draining | Overloaded | Unavailable if starts => {
                Some(ResumeStep::Start)
            }
            ConnectionLost | Draining | Overloaded | Unavailable | NodeLost | NoNode
            | NoSuchFunction => Some(ResumeStep::Continue),
            _ => None,
        }
    }

    /// Sets what the next attempt asks for.
    fn set_step(&mut self, step: ResumeStep, taken: u64) {
        let Some(resumption) = &mut self.resumption else { return };
        let header = &mut self.request.header;
        let (secret, ring, mut done) = (resumption.secret.clone(), resumption.ring.is_some(), 0);
        if step == ResumeStep::Start
            && let Some(point) =
                ResumePoint::new(&resumption.operators, taken, &resumption.skipped.each)
        {
            (header.operators, done) = (point.operators, point.done);
        }
        // Another node counts anew what it leaves out.
        resumption.mark.set_base(match step {
            ResumeStep::Start => resumption.skipped.clone(),
            ResumeStep::Continue => resumption.base.clone(),
        });
        header.resume = Some(Box::new(ResumeRequest { secret, step, ring, taken, done }));
        header.attempt += 1;
        match step {
            ResumeStep::Continue => {
                header.routing.on.clone_from(&resumption.node);
                self.request.body.clear();
                let start = frame::begin(&mut self.request.body, FrameKind::Body);
                let fits = frame::finish(&mut self.request.body, start, 0);
                debug_assert!(fits.is_ok(), "an empty body fits");
            }
            ResumeStep::Start => {
                header.routing.on.clone_from(&resumption.on);
                self.request.body.clone_from(&resumption.arguments);
            }
        }
    }

    /// Returns the error of a stream that could not be resumed.
    fn gap(&self, last: &Error) -> Error {
        let loss = self.resumption.as_ref().and_then(|resumption| resumption.loss.as_ref());
        let function = &self.request.header.function;
        let what = if self.request.kept.is_some() { "client stream" } else { "stream" };
        let text = match loss {
            Some(loss) if loss.attempts > 1 => format!(
                "the {what} of `{function}` was lost and could not be resumed: {last}; it was lost \
                 because: {}",
                loss.error
            ),
            _ => format!("the {what} of `{function}` was lost and cannot be resumed: {last}"),
        };
        let mut error = Error::new(ErrorKind::Gap, text).with_evidence(Evidence::Sent);
        if let Some(node) = self.resumption.as_ref().and_then(|resumption| resumption.node.clone())
        {
            error = error.with_node(node);
        }
        error.with_executed(Evidence::Sent.executed().or(self.history.executed()))
    }
}

/// What has arrived on a leg and has not been passed to the reader.
struct ArrivedLeg {
    scanner: FrameScanner,
    chunks: Vec<Bytes>,
}

/// What the bytes that have arrived are.
enum Arrived {
    /// Nothing new is known of them.
    Part,
    /// Output of the function.
    Answer,
    /// The last frame, an error.
    Error(Frame),
}

impl ArrivedLeg {
    fn new(max_message: usize) -> Self {
        let mut scanner = FrameScanner::answer(max_message);
        let mut attached = Vec::new();
        Attachment::put(&mut attached, 0, 0, "");
        // It has been read already, and fits.
        let passed = scanner.pass(&attached);
        debug_assert!(passed.is_ok(), "an answer may begin with an `Attached` frame");
        Self { scanner, chunks: Vec::new() }
    }

    /// Adds bytes that have arrived.
    ///
    /// # Errors
    /// If they are not frames.
    fn scan(&mut self, chunks: Vec<Bytes>) -> Result<Arrived, Malformed> {
        for chunk in &chunks {
            self.scanner.pass(chunk)?;
        }
        self.chunks.extend(chunks);
        if self.holds_back() || self.scanner.last_frame() != Some(FrameKind::Error) {
            let answered = self.scanner.shows_execution();
            return Ok(if answered { Arrived::Answer } else { Arrived::Part });
        }
        // It is the last frame, and the last bytes that have arrived are its body.
        let mut all = self.chunks.concat();
        let body = all.split_off(all.len().saturating_sub(self.scanner.last_length()));
        Ok(Arrived::Error(Frame { kind: FrameKind::Error, body: body.into() }))
    }

    /// Returns whether an `Error` frame has begun and is not complete. Its reader gets it only if it
    /// is the function's.
    fn holds_back(&self) -> bool {
        self.scanner.last_frame() == Some(FrameKind::Error) && !self.scanner.is_complete()
    }
}
