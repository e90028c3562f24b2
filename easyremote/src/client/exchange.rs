//! What happens to a call on the client's I/O thread.

use std::convert::Infallible;
use std::future::Future;
use std::time::Duration;

use futures::FutureExt;
use tokio::sync::watch;
use tokio::time::{Instant, timeout, timeout_at};

use crate::client::prepared::Prepared;
use crate::client::session::State;
use crate::client::upload::Upload;
use crate::error::{Error, ErrorKind, Executed};
use crate::transport::handover::{Feeder, Taken, Taker};
use crate::transport::stream::{Broken, FrameError, RecvHalf, SendHalf};
use crate::wire::error::read_error;
use crate::wire::frame::{FRAME_HEADER, Frame, FrameBuffer, FrameKind};
use crate::wire::limits::MAX_METADATA;

/// Arguments of up to so many bytes are copied behind the header, to be written as one.
const SHORT: usize = 16 << 10;

/// A call on its way: what is left of [`Prepared`] once it runs.
#[derive(Debug)]
pub(super) struct Exchange {
    // Not the whole client: its thread must not be owned by what runs on it.
    state: watch::Receiver<State>,
    connect_timeout: Duration,
    request: Request,
    deadline: Option<Instant>,
    progress: Progress,
}

#[derive(Debug)]
struct Request {
    header: crate::wire::header::CallHeader,
    body: Vec<u8>,
    signature: &'static str,
    /// The caller's stream, as frames.
    upload: Option<Taker<()>>,
}

/// How far a call has come; what is known about whether its function runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Progress {
    /// Not all of it has been given to QUIC: no node has the whole of it, so none has started.
    Unsent,
    /// All of it has been sent.
    Sent,
    /// Something has come back that only a function that has started can have sent.
    Answered,
}

impl Exchange {
    /// Gives the caller's stream back, which is polled with the call.
    pub(super) fn new(prepared: Prepared) -> (Self, Option<Upload>) {
        let Prepared { client, header, body, signature, until, upload } = prepared;
        let (upload, frames) = upload.unzip();
        let exchange = Self {
            state: client.shared.state.clone(),
            connect_timeout: client.shared.connect_timeout,
            request: Request { header, body, signature, upload: frames },
            deadline: until.deadline(),
            progress: Progress::Unsent,
        };
        (exchange, upload)
    }

    /// Makes the call and gives its `Body` or `Fault` frame.
    pub(super) async fn unary(mut self) -> Result<Frame, Error> {
        let deadline = self.deadline;
        let result = within(deadline, self.exchange()).await;
        result.unwrap_or_else(|| Err(self.late()))
    }

    /// Makes the call and hands over all that comes back, until it ends or nobody wants it.
    pub(super) async fn stream(mut self, mut feeder: Feeder<Error>) {
        let deadline = self.deadline;
        let result = match within(deadline, self.pump(&mut feeder)).await {
            Some(result) => result,
            None => Err(self.late()),
        };
        if let Err(error) = result {
            feeder.end(error);
        }
    }

    async fn exchange(&mut self) -> Result<Frame, Error> {
        let (mut sending, mut recv, max_message) = self.send().await?;
        let mut buffer = FrameBuffer::new(max_message);
        let answer = tokio::select! {
            biased;
            answer = recv.frame(&mut buffer) => answer,
            never = sending.rest() => match never {},
        };
        let frame = match answer {
            Ok(Some(frame)) => frame,
            Ok(None) => {
                let text = "the answer ends before it begins";
                return Err(self.explain(Error::new(ErrorKind::Protocol, text)));
            }
            Err(error) => return Err(self.broken(error)),
        };
        match frame.kind {
            FrameKind::Body | FrameKind::Fault => {
                // The FIN has come with the frame as a rule. Seeing it spares telling the gateway
                // to stop.
                let _ = recv.read().now_or_never();
                Ok(frame)
            }
            FrameKind::Error => Err(self.refused(&frame)),
            other => {
                self.progress = Progress::Answered;
                let text = format!("{other:?} frame instead of an answer");
                Err(self.explain(Error::new(ErrorKind::Protocol, text)))
            }
        }
    }

    async fn pump(&mut self, feeder: &mut Feeder<Error>) -> Result<(), Error> {
        let sending = self.send();
        let (mut sending, mut recv, _) = tokio::select! {
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
        feeder: &mut Feeder<Error>,
    ) -> Result<(), Error> {
        loop {
            let read = tokio::select! {
                biased;
                () = feeder.closed() => return Ok(()),
                read = recv.read() => read,
            };
            match read {
                Ok(Some(chunks)) => {
                    // Waits while the consumer is slow; unread data then fills the window, and
                    // QUIC makes the producer wait.
                    if feeder.feed_chunks(chunks.as_slice()).await.is_err() {
                        return Ok(());
                    }
                }
                // After the end of the stream nobody asks; before it, this is what has happened.
                Ok(None) => {
                    let text = "the stream broke off without an end";
                    return Err(self.explain(Error::new(ErrorKind::Protocol, text)));
                }
                Err(broken) => return Err(self.broken(FrameError::Broken(broken))),
            }
        }
    }

    /// Sends the call, but for the caller's stream. Gives what sends that, where the answer comes
    /// from, and how long a message in it may be.
    async fn send(&mut self) -> Result<(Sending, RecvHalf, usize), Error> {
        let (connection, max_message) = self.connection().await?;
        let length = self.request.body.len() - FRAME_HEADER;
        if length > max_message {
            let text = format!(
                "the arguments of `{}` have {length} bytes, and the gateway relays {max_message}",
                self.request.header.function
            );
            return Err(Error::new(ErrorKind::TooLarge, text));
        }
        let limit = self.connect_timeout;
        let (send, recv) = match timeout(limit, connection.open_bi()).await {
            Ok(opened) => opened.map_err(|cause| self.lost(Broken::Connection(cause)))?,
            Err(_) => {
                let text = format!(
                    "this client has all calls and streams open that the gateway allows, and none \
                     has ended for {limit:?}"
                );
                return Err(Error::new(ErrorKind::Overloaded, text));
            }
        };
        let (mut send, recv) = (SendHalf::new(send), RecvHalf::new(recv));
        let first = self.first()?;
        let mut written = send.write(&first).await;
        if written.is_ok() && self.request.body.len() > SHORT {
            written = send.write(&self.request.body).await;
        }
        match written {
            Ok(()) => {
                self.progress = Progress::Sent;
                if self.request.upload.is_none() {
                    send.finish();
                }
            }
            // The gateway or the node has seen enough, and says why in its answer.
            Err(Broken::Peer(_)) => {}
            Err(broken) => return Err(self.lost(broken)),
        }
        self.request.body = Vec::new();
        Ok((Sending { send, upload: self.request.upload.take() }, recv, max_message))
    }

    /// The header, and the arguments as well if they are short.
    fn first(&mut self) -> Result<Vec<u8>, Error> {
        let header = &mut self.request.header;
        header.timeout =
            self.deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        let metadata: usize =
            header.metadata.iter().map(|(key, value)| key.len() + value.len()).sum();
        if metadata > MAX_METADATA {
            let text = format!("{metadata} bytes of metadata; the limit is {MAX_METADATA}");
            return Err(Error::new(ErrorKind::TooLarge, text));
        }
        let body = &self.request.body;
        let mut first = Vec::with_capacity(128 + body.len().min(SHORT));
        header.put(&mut first).map_err(|length| {
            let text = format!("the call header has {length} bytes; give fewer or shorter options");
            Error::new(ErrorKind::TooLarge, text)
        })?;
        if body.len() <= SHORT {
            first.extend_from_slice(body);
        }
        Ok(first)
    }

    /// Waits for a connection, for as long as connecting may take.
    async fn connection(&self) -> Result<(quinn::Connection, usize), Error> {
        let mut state = self.state.clone();
        let ready = state.wait_for(|state| !matches!(state, State::Connecting));
        let limit = self.connect_timeout;
        match timeout(limit, ready).await {
            Ok(Ok(state)) => match &*state {
                State::Connected { connection, max_message } => {
                    Ok((connection.clone(), *max_message))
                }
                State::Connecting | State::Closed => Err(closed()),
            },
            Ok(Err(_)) => Err(closed()),
            Err(_) => {
                let text = format!("the connection to the gateway did not come back in {limit:?}");
                Err(self.explain(Error::new(ErrorKind::Unavailable, text)))
            }
        }
    }

    /// The error in an `Error` frame.
    fn refused(&self, frame: &Frame) -> Error {
        read_error(&frame.body).map_or_else(
            |cause| self.explain(Error::new(ErrorKind::Protocol, cause.to_string())),
            |error| with_signature(error, self.request.signature),
        )
    }

    /// The error of an answer that cannot be read on.
    fn broken(&mut self, error: FrameError) -> Error {
        match error {
            FrameError::Broken(Broken::Peer(code)) => {
                // The peer's word on whether it ran is better than what is seen from here.
                Broken::Peer(code).error(ErrorKind::ConnectionLost)
            }
            FrameError::Broken(broken) => self.lost(broken),
            FrameError::Malformed(_) | FrameError::NoRoom => {
                self.progress = Progress::Answered;
                self.explain(error.error(ErrorKind::ConnectionLost))
            }
        }
    }

    fn lost(&self, broken: Broken) -> Error {
        let cause = broken.error(ErrorKind::ConnectionLost);
        let text = format!(
            "the connection to the gateway broke during a call of `{}`",
            self.request.header.function
        );
        self.explain(Error::new(ErrorKind::ConnectionLost, text).with_source(cause))
    }

    fn late(&self) -> Error {
        let text = format!("the deadline of `{}` passed", self.request.header.function);
        self.explain(Error::new(ErrorKind::DeadlineExceeded, text))
    }

    /// Adds what is known about whether the function runs.
    fn explain(&self, error: Error) -> Error {
        error.with_executed(match self.progress {
            Progress::Unsent => Executed::No,
            Progress::Sent => Executed::Maybe,
            Progress::Answered => Executed::Yes,
        })
    }
}

/// Sends the caller's stream, if there is one.
struct Sending {
    send: SendHalf,
    upload: Option<Taker<()>>,
}

impl Sending {
    /// Writes what the caller's stream gives, until it ends or the function wants no more of it.
    /// Never resolves: the answer says how the call goes.
    async fn rest(&mut self) -> Infallible {
        while let Some(upload) = &mut self.upload {
            match upload.take().await {
                Taken::Batch(mut batch) => {
                    if self.send.write_chunks(&mut batch).await.is_err() {
                        // Tells the caller's side that nobody wants more.
                        self.upload = None;
                    }
                }
                Taken::End(Some(())) => {
                    self.send.finish();
                    self.upload = None;
                }
                // The call has been given up, and this task with it.
                Taken::End(None) => self.upload = None,
            }
        }
        std::future::pending().await
    }
}

/// The error of what begins after the client was closed.
pub(super) fn closed() -> Error {
    Error::new(ErrorKind::ConnectionLost, "the client has been closed")
}

/// Adds the caller's types to the complaint that the node's differ.
pub(super) fn with_signature(error: Error, signature: &str) -> Error {
    if error.kind() != ErrorKind::SignatureMismatch || signature.is_empty() {
        return error;
    }
    let text = format!("{error}, this caller `{signature}`; build both from the same definition");
    let detailed = Error::new(error.kind(), text).with_executed(error.executed());
    match error.node() {
        Some(node) => detailed.with_node(node),
        None => detailed,
    }
}

/// Waits for `future`, until `deadline` if there is one; `None` if it has passed.
async fn within<F: Future>(deadline: Option<Instant>, future: F) -> Option<F::Output> {
    match deadline {
        Some(deadline) => timeout_at(deadline, future).await.ok(),
        None => Some(future.await),
    }
}
