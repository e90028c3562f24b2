//! What happens to a call on the client's I/O thread.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use tokio::time::{Instant, sleep, timeout};

use crate::client::errors::{connection_broke, with_signature};
use crate::client::expired::{Expired, with_deadline};
use crate::client::pending_call::{PendingCall, put_request};
use crate::client::retry::{AttemptHistory, MAX_KEPT, Policy, Verdict};
use crate::client::trace::Trace;
use crate::client::upload::{Sending, UploadSender};
use crate::error::{Error, ErrorKind, Executed};
use crate::function::context::Scope;
use crate::transport::byte_channel::{ByteReceiver, ByteSender};
use crate::transport::connection::{LiveConnection, ManagedConnection};
use crate::transport::quic::stream::{Broken, FrameError, RecvHalf, halves};
use crate::wire::error::read_error;
use crate::wire::frame::{FRAME_HEADER, Frame, FrameBuffer, FrameKind};
use crate::wire::header::CallHeader;
use crate::wire::trace::NodeTrace;

/// Arguments of up to so many bytes are copied behind the header, to be written as one.
const SHORT: usize = 16 << 10;

/// A call on its way: what is left of [`PendingCall`] once it runs.
#[derive(Debug)]
pub(super) struct CallTask {
    // Not the whole client: its thread must not be owned by what runs on it.
    link: Arc<ManagedConnection>,
    /// The call that this one is made for.
    scope: Option<Scope>,
    request: CallRequest,
    policy: Policy,
    deadline: Option<Instant>,
    pub(super) progress: SendProgress,
    past: AttemptHistory,
}

#[derive(Debug)]
struct CallRequest {
    header: CallHeader,
    /// The arguments, as a `Body` frame; empty once they have been sent and are not kept.
    body: Vec<u8>,
    signature: &'static str,
    /// The caller's stream, as frames.
    upload: Option<ByteReceiver<()>>,
}

/// How far a call has come; what is known about whether its function runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum SendProgress {
    /// Not all of it has been given to QUIC: no node has the whole of it, so none has started.
    Unsent,
    /// All of it has been sent.
    Sent,
    /// Something has come back that only a function that has started can have sent.
    Answered,
}

/// What comes back for a call of one result.
#[derive(Debug)]
pub(super) struct UnaryAnswer {
    /// `Body` or `Fault`.
    pub(super) frame: Frame,
    /// If it was asked for.
    pub(super) trace: Option<Box<Trace>>,
}

impl CallTask {
    /// Gives the caller's stream back, which is polled with the call.
    pub(super) fn new(prepared: PendingCall) -> (Self, Option<UploadSender>) {
        let PendingCall { client, header, body, signature, options, idempotent, upload, deadline } =
            prepared;
        let (upload, frames) = upload.unzip();
        let exchange = Self {
            link: client.link,
            deadline,
            scope: client.scope,
            request: CallRequest { header, body, signature, upload: frames },
            policy: Policy { retry: options.retry, idempotent },
            progress: SendProgress::Unsent,
            past: AttemptHistory::default(),
        };
        (exchange, upload)
    }

    /// Makes the call and gives what comes back; after a pause, if it is made again.
    pub(super) async fn unary(mut self, pause: Duration) -> Result<UnaryAnswer, Error> {
        let (deadline, scope) = (self.deadline, self.scope.clone());
        let answer = with_deadline(deadline, scope, async {
            if !pause.is_zero() {
                sleep(pause).await;
            }
            loop {
                match self.exchange().await {
                    Ok(answer) => {
                        self.link.retries.refund();
                        return Ok(answer);
                    }
                    Err(error) => self.again(error).await?,
                }
            }
        });
        match answer.await {
            Ok(answer) => answer,
            Err(over) => Err(self.over(over)),
        }
    }

    /// Makes the call and hands over all that comes back, until it ends or nobody wants it.
    pub(super) async fn stream(mut self, mut feeder: ByteSender<Error>) {
        let (deadline, scope) = (self.deadline, self.scope.clone());
        let pumped = with_deadline(deadline, scope, async {
            while let Err(error) = self.pump(&mut feeder).await {
                self.again(error).await?;
            }
            self.link.retries.refund();
            Ok(())
        });
        let result = match pumped.await {
            Ok(result) => result,
            Err(over) => Err(self.over(over)),
        };
        if let Err(error) = result {
            feeder.end(error);
        }
    }

    /// Prepares another attempt after one that failed with `error`, and waits for its time.
    ///
    /// # Errors
    /// Why the call has failed, if there is to be no other.
    async fn again(&mut self, error: Error) -> Result<(), Error> {
        sleep(self.prepare_again(error)?).await;
        Ok(())
    }

    /// Prepares another attempt after one that failed with `error`; gives the pause before it.
    ///
    /// # Errors
    /// `error`, if there is to be no other.
    pub(super) fn prepare_again(&mut self, error: Error) -> Result<Duration, Error> {
        let attempt = self.request.header.attempt;
        // What is not kept cannot be sent again, and what has been opened is not begun anew.
        let kept = !self.request.body.is_empty() && self.progress != SendProgress::Answered;
        let verdict = if kept { self.policy.judge(&error, attempt) } else { Verdict::Final };
        let pause = match verdict {
            Verdict::Free(pause) => pause,
            Verdict::Budgeted(pause) if self.link.retries.take() => pause,
            Verdict::Budgeted(_) | Verdict::Final => return Err(self.past.conclude(error)),
        };
        self.link.note_retry(&error, pause);
        // Before the pause, in which the call may be over: then this is what is known of it.
        self.past.add(error);
        self.progress = SendProgress::Unsent;
        self.request.header.attempt += 1;
        Ok(pause)
    }

    async fn exchange(&mut self) -> Result<UnaryAnswer, Error> {
        // The connection counts as used for as long as `live` is held.
        let (live, mut sending, mut recv) = self.send().await?;
        let mut buffer = FrameBuffer::new(live.max_message);
        let answer = tokio::select! {
            biased;
            answer = self.answer(&mut recv, &mut buffer) => answer,
            never = sending.rest() => match never {},
        };
        let (frame, trace) = answer?;
        match frame.kind {
            FrameKind::Body | FrameKind::Fault => {
                // The FIN has come with the frame as a rule. Seeing it spares telling the gateway
                // to stop.
                let _ = recv.read().now_or_never();
                let attempts = self.request.header.attempt + 1;
                let traced = self.request.header.traced;
                let trace = traced.then(|| Box::new(Trace::new(trace, attempts)));
                Ok(UnaryAnswer { frame, trace })
            }
            FrameKind::Error => Err(self.refused(&frame)),
            other => Err(self.nonsense(format!("{other:?} frame instead of an answer"))),
        }
    }

    /// The frame that answers a call of one result, and how it went if that comes before.
    async fn answer(
        &mut self,
        recv: &mut RecvHalf,
        buffer: &mut FrameBuffer,
    ) -> Result<(Frame, Option<NodeTrace>), Error> {
        let mut trace = None;
        loop {
            match self.link.room.frame(recv, buffer).await {
                // Once: a gateway must not keep the caller waiting with more and more of them.
                Ok(Some(frame)) if frame.kind == FrameKind::Trace && trace.is_none() => {
                    self.progress = SendProgress::Answered;
                    let read = NodeTrace::read(&frame.body);
                    trace = Some(read.map_err(|cause| self.nonsense(cause.to_string()))?);
                }
                Ok(Some(frame)) => return Ok((frame, trace)),
                Ok(None) => {
                    let text = "the answer ends before it begins";
                    return Err(self.explain(Error::new(ErrorKind::Protocol, text)));
                }
                Err(error) => return Err(self.broken(error)),
            }
        }
    }

    async fn pump(&mut self, feeder: &mut ByteSender<Error>) -> Result<(), Error> {
        let sending = self.send();
        let (_live, mut sending, mut recv) = tokio::select! {
            biased;
            sent = sending => sent?,
            () = feeder.closed() => return Ok(()),
        };
        tokio::select! {
            biased;
            received = self.receive(&mut recv, feeder) => received,
            never = sending.rest() => match never {},
        }
    }

    async fn receive(
        &mut self,
        recv: &mut RecvHalf,
        feeder: &mut ByteSender<Error>,
    ) -> Result<(), Error> {
        loop {
            let read = tokio::select! {
                biased;
                () = feeder.closed() => return Ok(()),
                read = recv.read() => read,
            };
            let chunks = match read {
                Ok(Some(chunks)) => chunks,
                // After the end of the stream nobody asks; before it, this is what has happened.
                Ok(None) => {
                    let text = "the stream broke off without an end";
                    return Err(self.explain(Error::new(ErrorKind::Protocol, text)));
                }
                Err(broken) => return Err(self.broken(FrameError::Broken(broken))),
            };
            if self.progress != SendProgress::Answered {
                let first = chunks.iter().find_map(|chunk| chunk.first());
                if first == Some(&(FrameKind::Error as u8)) {
                    // Not opened: the call may be made again, or is over.
                    let mut buffer = FrameBuffer::new(0);
                    chunks.iter().for_each(|chunk| buffer.push(chunk));
                    return Err(match recv.frame(&mut buffer).await {
                        Ok(Some(frame)) => self.refused(&frame),
                        Ok(None) => self.nonsense("an error without a text".into()),
                        Err(error) => self.broken(error),
                    });
                }
                self.progress = SendProgress::Answered;
            }
            // Waits while the consumer is slow; unread data then fills the window, and QUIC makes
            // the producer wait.
            match feeder.feed_patiently(chunks.as_slice(), self.link.stall_timeout).await {
                Some(Ok(())) => {}
                Some(Err(_)) => return Ok(()),
                None => return Err(self.stalled()),
            }
        }
    }

    /// Sends the call, but for the caller's stream. Gives what sends that, where the answer comes
    /// from, and the connection that both are on.
    async fn send(&mut self) -> Result<(Arc<LiveConnection>, Sending, RecvHalf), Error> {
        let kept = self.request.body.len();
        let live = self.link.connection(kept).await.map_err(|error| self.explain(error))?;
        let (connection, max_message) = (&live.connection, live.max_message);
        let length = self.request.body.len() - FRAME_HEADER;
        if length > max_message {
            let text = format!(
                "the arguments of `{}` have {length} bytes, and the gateway relays {max_message}",
                self.request.header.function
            );
            return Err(Error::new(ErrorKind::TooLarge, text));
        }
        let limit = self.link.connect_timeout;
        self.request.header.wish.patience = self.past.patience(&live, limit);
        let stream = match timeout(limit, connection.open_bi()).await {
            Ok(opened) => opened.map_err(|cause| self.lost(Broken::Connection(cause)))?,
            Err(_) => {
                let text = format!(
                    "this client has all calls and streams open that the gateway allows, and none \
                     has ended for {limit:?}"
                );
                return Err(Error::new(ErrorKind::Overloaded, text));
            }
        };
        let (mut send, recv) = halves(stream, &live.credits);
        let first = self.first()?;
        let mut written = send.write(&first).await;
        if written.is_ok() && self.request.body.len() > SHORT {
            written = send.write(&self.request.body).await;
        }
        match written {
            Ok(()) => {
                self.progress = SendProgress::Sent;
                if self.request.upload.is_none() {
                    send.finish();
                }
            }
            // The gateway or the node has seen enough, and says why in its answer.
            Err(Broken::Peer(_)) => {}
            Err(broken) => return Err(self.lost(broken)),
        }
        let upload = self.request.upload.take();
        if upload.is_some() || self.request.body.len() > MAX_KEPT || !self.policy.repeats() {
            self.request.body = Vec::new();
        }
        Ok((live, Sending { send, upload }, recv))
    }

    /// The header, and the arguments as well if they are short.
    fn first(&mut self) -> Result<Vec<u8>, Error> {
        let body = &self.request.body;
        let short = if body.len() <= SHORT { &body[..] } else { &[] };
        let mut first = Vec::with_capacity(128 + short.len());
        put_request(&mut self.request.header, self.deadline, short, &mut first)?;
        Ok(first)
    }

    /// The error in an `Error` frame.
    pub(super) fn refused(&self, frame: &Frame) -> Error {
        read_error(&frame.body).map_or_else(
            |cause| self.explain(Error::new(ErrorKind::Protocol, cause.to_string())),
            |error| with_signature(error, self.request.signature),
        )
    }

    /// The error of an answer that cannot be read on.
    pub(super) fn broken(&mut self, error: FrameError) -> Error {
        match error {
            FrameError::Broken(Broken::Peer(code)) => {
                // The peer's word on whether it ran is better than what is seen from here.
                Broken::Peer(code).error(ErrorKind::ConnectionLost)
            }
            FrameError::Broken(broken) => self.lost(broken),
            FrameError::Malformed(_) | FrameError::NoRoom => {
                self.progress = SendProgress::Answered;
                self.explain(error.error(ErrorKind::ConnectionLost))
            }
        }
    }

    pub(super) fn lost(&self, broken: Broken) -> Error {
        let cause = broken.error(ErrorKind::ConnectionLost);
        self.explain(connection_broke(cause, &self.request.header.function))
    }

    /// The error of a stream that nobody reads.
    fn stalled(&self) -> Error {
        let limit = self.link.stall_timeout;
        let text = format!(
            "nothing was read of the stream of `{}` for {limit:?} although there was something",
            self.request.header.function
        );
        self.explain(Error::new(ErrorKind::SlowConsumer, text))
    }

    /// The error of an answer that is none.
    pub(super) fn nonsense(&mut self, text: String) -> Error {
        self.progress = SendProgress::Answered;
        self.explain(Error::new(ErrorKind::Protocol, text))
    }

    pub(super) fn over(&self, over: Expired) -> Error {
        let error = self.explain(over.error(&self.request.header.function));
        let executed = error.executed().or(self.past.executed());
        error.with_executed(executed)
    }

    /// Adds what is known about whether the function runs.
    fn explain(&self, error: Error) -> Error {
        error.with_executed(match self.progress {
            SendProgress::Unsent => Executed::No,
            SendProgress::Sent => Executed::Maybe,
            SendProgress::Answered => Executed::Yes,
        })
    }
}
