//! The control stream: control messages in both directions, and the heartbeat that detects a lost
//! peer.

mod pace;

use std::mem;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tokio::task::coop::consume_budget;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at, sleep_until, timeout};
use tracing::trace;

use crate::error::{Error, ErrorKind};
use crate::transport::control_stream::pace::ControlPace;
use crate::transport::quic::stream::{Broken, RecvHalf, SendHalf};
use crate::transport::quic::windows::StreamWindows;
use crate::transport::quinn_ext::congestion::let_through;
use crate::wire::bytes::Malformed;
use crate::wire::control::{Control, Credit};
use crate::wire::frame::{Frame, FrameBuffer, FrameKind};
use crate::wire::limits::{HEARTBEAT, HEARTBEAT_MISSES, MAX_CONTROL, MAX_HELLO};

/// One end of a connection's control stream.
///
/// Both ends send a ping every 2 s and echo the other's. An end that receives no echo gives the
/// peer up 8 s after the first ping that was lost, and after a last look of 250 ms. This also
/// detects a path that is broken in one direction only, which QUIC's idle timeout does not.
///
/// A peer that sends more messages than an honest one needs is read more slowly, so that its
/// messages wait in its own send window. A peer that does not stop is disconnected.
#[derive(Debug)]
pub(crate) struct ControlStream {
    send: SendHalf,
    recv: RecvHalf,
    buffer: FrameBuffer,
    pace: ControlPace,
    /// A long message that another thread decodes. Nothing after it is read until that is done.
    decoding: Option<JoinHandle<Result<Control, Malformed>>>,
    /// Encoded messages; the first `written` bytes have been passed to QUIC.
    out: Vec<u8>,
    written: usize,
    /// Sent with the next ping.
    note: Option<Control>,
    ticks: Interval,
    pings: u64,
    echoed: u64,
    /// Whether the peer has authenticated. Until then it may only send a hello.
    trusted: bool,
    /// Pings that the peer should have echoed by now; shared with other tasks.
    misses: Arc<AtomicU32>,
    /// When the peer is given up, unless an echo is read before.
    doubt: Option<Instant>,
    /// Whether an echo was missing at the last ping, and the peer has not sent a ping since.
    silent: bool,
    /// Windows of the connection's other streams, whose updates are exchanged here.
    windows: Arc<StreamWindows>,
    /// Whether an unknown message has been logged.
    told_unknown: bool,
}

/// Longer messages, in bytes, are decoded on another thread. This is the size of a registration of
/// some hundred functions; a longer one would block the I/O thread for more than a millisecond.
const LONG_MESSAGE: usize = 64 << 10;

/// Time to read an echo that may have arrived already.
const LAST_LOOK: Duration = Duration::from_millis(250);

/// Maximum number of queued bytes: a program that queues messages without end is disconnected.
const MAX_QUEUED: usize = 2 << 20;

/// Maximum number of queued bytes when a ping must be echoed: a peer that sends pings without
/// reading the echoes is disconnected.
const MAX_BEFORE_ECHO: usize = 256 << 10;

impl ControlStream {
    pub(crate) fn new(
        connection: &quinn::Connection,
        (send, recv): (quinn::SendStream, quinn::RecvStream),
    ) -> Self {
        let mut ticks = interval_at(Instant::now() + HEARTBEAT, HEARTBEAT);
        // After a suspension of the process, missed ticks would count as missed echoes.
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self {
            send: SendHalf::new(send),
            recv: RecvHalf::new(recv),
            buffer: FrameBuffer::new(0),
            pace: ControlPace::new(),
            decoding: None,
            out: Vec::new(),
            written: 0,
            note: None,
            ticks,
            pings: 0,
            echoed: 0,
            trusted: true,
            misses: Arc::default(),
            doubt: None,
            silent: false,
            windows: StreamWindows::new(connection.clone()),
            told_unknown: false,
        }
    }

    /// Creates a gateway's end, whose peer has not authenticated yet.
    pub(crate) fn with_stranger(
        connection: &quinn::Connection,
        stream: (quinn::SendStream, quinn::RecvStream),
    ) -> Self {
        let mut control = Self { trusted: false, ..Self::new(connection, stream) };
        control.buffer.allow_control(MAX_HELLO);
        control
    }

    /// Marks the peer as authenticated.
    pub(crate) fn trust(&mut self) {
        self.trusted = true;
        self.buffer.allow_control(MAX_CONTROL);
    }

    /// Returns the number of consecutive heartbeats that the peer has not echoed in time.
    pub(crate) fn misses(&self) -> &Arc<AtomicU32> {
        &self.misses
    }

    /// Returns the windows for the connection's other streams.
    pub(crate) fn windows(&self) -> &Arc<StreamWindows> {
        &self.windows
    }

    /// Queues a message; [`next`](Self::next) and [`flush`](Self::flush) write it.
    ///
    /// # Errors
    /// `TooLarge` if the message, or all that is queued, is too long.
    pub(crate) fn queue(&mut self, message: &Control) -> Result<(), Error> {
        if let Control::Ping(_) | Control::Abandoned { .. } = message {
            self.pace.expect_answer();
        }
        let fits = message.put(&mut self.out).is_ok() && self.out.len() <= MAX_QUEUED;
        fits.then_some(()).ok_or_else(|| {
            Error::new(ErrorKind::TooLarge, "a control message, or the queue of them, is too long")
        })
    }

    /// Queues a message with the next ping, so that it needs no separate packet. It replaces an
    /// earlier note that has not been sent.
    pub(crate) fn note(&mut self, message: Control) {
        self.note = Some(message);
    }

    /// Writes all queued messages.
    ///
    /// # Errors
    /// `ConnectionLost`, or the error that the peer closed the connection with.
    pub(crate) async fn flush(&mut self) -> Result<(), Error> {
        let queued = mem::take(&mut self.out);
        let written = mem::take(&mut self.written);
        self.send.write(&queued[written..]).await.map_err(lost)
    }

    /// Waits for the next message that is not part of the heartbeat. Meanwhile it continues the
    /// heartbeat and writes queued messages.
    ///
    /// # Errors
    /// `ConnectionLost` if the peer is lost, the error that the peer closed the connection with,
    /// and `Protocol` if it violates the protocol.
    ///
    /// # Cancel safety
    /// Cancel safe: no message is lost or written twice.
    pub(crate) async fn next(&mut self) -> Result<Control, Error> {
        loop {
            // Yields to other tasks if the peer sends a lot. Before a message is taken, so that
            // none is lost.
            consume_budget().await;
            let resumes = self.pace.resumes();
            let reads = resumes.is_none() && self.decoding.is_none();
            if reads && let Some(frame) = self.buffer.next().map_err(Malformed::into_error)? {
                match self.decode(frame)? {
                    Some(message) => return Ok(message),
                    None => continue,
                }
            }
            if self.pace.is_behind() {
                // The echo may be among the messages that have not been read yet.
                self.doubt = None;
            }
            tokio::select! {
                read = self.recv.read(), if reads => self.receive(read)?,
                () = sleep_until(resumes.unwrap_or_else(Instant::now)), if resumes.is_some() => {}
                decoded = decoded(&mut self.decoding), if self.decoding.is_some() => {
                    self.decoding = None;
                    if let Some(message) = self.hear(decoded?)? {
                        return Ok(message);
                    }
                }
                wrote = self.send.write_some(&self.out[self.written..]),
                    if self.written < self.out.len() =>
                {
                    self.wrote(wrote.map_err(lost)?);
                }
                _ = self.ticks.tick() => self.ping()?,
                () = async { sleep_until(self.doubt.unwrap_or_else(Instant::now)).await },
                    if self.doubt.is_some() =>
                {
                    let text = format!("no echo of {} heartbeats", self.pings - self.echoed);
                    return Err(Error::new(ErrorKind::ConnectionLost, text));
                }
                // Updates that are not fetched while the peer does not read are superseded by newer
                // ones.
                due = self.windows.due(), if self.out.is_empty() => {
                    for (stream, limit) in due {
                        self.queue(&Control::Credit(Credit { stream, limit }))?;
                    }
                }
            }
        }
    }

    /// Like [`next`](Self::next), for at most `limit`.
    ///
    /// # Errors
    /// Those of `next`, and `Unavailable` after `limit`.
    pub(crate) async fn next_within(&mut self, limit: Duration) -> Result<Control, Error> {
        timeout(limit, self.next()).await.unwrap_or_else(|_| {
            let text = format!("the peer said nothing for {limit:?}");
            Err(Error::new(ErrorKind::Unavailable, text))
        })
    }

    /// Ends the stream, and waits for at most `limit` until the peer has received everything.
    pub(crate) async fn finish(mut self, limit: Duration) {
        // The timeout covers both: a peer that does not read blocks neither the write nor the wait
        // for its acknowledgement.
        let _ = timeout(limit, async {
            if self.flush().await.is_ok() {
                self.send.finish();
                self.send.stopped().await;
            }
        })
        .await;
    }

    fn receive(&mut self, read: Result<Option<Vec<Bytes>>, Broken>) -> Result<(), Error> {
        let Some(chunks) = read.map_err(lost)? else {
            let text = "the peer ended the control stream";
            return Err(Error::new(ErrorKind::ConnectionLost, text));
        };
        chunks.iter().for_each(|chunk| self.buffer.push(chunk));
        Ok(())
    }

    fn wrote(&mut self, n: usize) {
        self.written += n;
        if self.written == self.out.len() {
            self.out.clear();
            self.written = 0;
        }
    }

    /// Decodes a message, or starts to. `None` if it was handled here or is decoded on another
    /// thread.
    fn decode(&mut self, frame: Frame) -> Result<Option<Control>, Error> {
        if frame.kind != FrameKind::Control {
            let text = format!("{:?} frame on the control stream", frame.kind);
            return Err(Error::new(ErrorKind::Protocol, text));
        }
        self.pace.charge(frame.body.len())?;
        if frame.body.len() > LONG_MESSAGE {
            self.decoding = Some(spawn_blocking(move || Control::read(&frame.body)));
            return Ok(None);
        }
        let message = Control::read(&frame.body).map_err(Malformed::into_error)?;
        self.hear(message)
    }

    /// Handles messages of the heartbeat and window updates; returns all others.
    fn hear(&mut self, message: Control) -> Result<Option<Control>, Error> {
        let broken = |text: &'static str| Err(Error::new(ErrorKind::Protocol, text));
        match message {
            // An echo costs memory if the peer does not read it.
            Control::Ping(_) if !self.trusted => return broken("a ping before hello"),
            Control::Ping(_) if self.out.len() - self.written > MAX_BEFORE_ECHO => {
                let text = "the peer pings, and does not read the echoes";
                return Err(Error::new(ErrorKind::TooLarge, text));
            }
            Control::Ping(number) => {
                self.queue(&Control::Pong(number))?;
                // The path may work again: send what was withheld.
                if mem::take(&mut self.silent) {
                    let_through(self.windows.connection());
                }
            }
            Control::Pong(number) if number <= self.pings => {
                if number > self.echoed {
                    self.echoed = number;
                    self.doubt = None;
                }
                self.misses.store(0, Ordering::Relaxed);
            }
            Control::Credit(Credit { stream, limit }) if self.trusted => {
                self.windows.granted(stream, limit);
            }
            Control::Pong(_) => return broken("an echo of a ping that was not sent"),
            Control::Unknown(tag) => {
                if !mem::replace(&mut self.told_unknown, true) {
                    trace!(tag, "ignoring an unknown control message");
                }
            }
            message => return Ok(Some(message)),
        }
        Ok(None)
    }

    fn ping(&mut self) -> Result<(), Error> {
        let misses = u32::try_from(self.pings - self.echoed).unwrap_or(u32::MAX);
        self.misses.store(misses, Ordering::Relaxed);
        if misses > HEARTBEAT_MISSES {
            // If this machine was overloaded, the echo may have arrived without having been read.
            self.doubt.get_or_insert_with(|| Instant::now() + LAST_LOOK);
        }
        self.silent = misses > 0;
        if self.silent {
            // What is in flight may be lost and fill the congestion window. A heartbeat should find
            // that out, not QUIC's next probe.
            let_through(self.windows.connection());
        }
        self.pings += 1;
        if let Some(note) = self.note.take() {
            self.queue(&note)?;
        }
        self.queue(&Control::Ping(self.pings))
    }
}

/// Waits until a long message is decoded. Cancel safe.
async fn decoded(
    decoding: &mut Option<JoinHandle<Result<Control, Malformed>>>,
) -> Result<Control, Error> {
    let Some(decoding) = decoding else { return std::future::pending().await };
    match decoding.await {
        Ok(message) => message.map_err(Malformed::into_error),
        // The thread has panicked, or the runtime is shutting down.
        Err(_) => Err(Error::new(ErrorKind::ConnectionLost, "a message could not be decoded")),
    }
}

fn lost(broken: Broken) -> Error {
    broken.error(ErrorKind::ConnectionLost)
}
