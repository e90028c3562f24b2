//! The control stream: messages both ways, and the heartbeat that notices a lost peer.

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
/// Both ends send a ping every two seconds and echo the other's: an end that hears nothing back
/// gives up eight seconds after the first ping that was lost, and a last look of 250 ms, also when
/// only one direction of the path is broken, which QUIC's own idle timeout does not notice.
///
/// A peer that sends more messages than an honest one has a reason to is read more slowly, and its
/// own messages wait in its own window; one that does not stop is given up.
#[derive(Debug)]
pub(crate) struct ControlStream {
    send: SendHalf,
    recv: RecvHalf,
    buffer: FrameBuffer,
    pace: ControlPace,
    /// A long message, which is decoded on another thread. Nothing behind it is read before.
    decoding: Option<JoinHandle<Result<Control, Malformed>>>,
    /// Encoded messages; the first `written` bytes are on their way.
    out: Vec<u8>,
    written: usize,
    /// Goes with the next ping.
    note: Option<Control>,
    ticks: Interval,
    pings: u64,
    echoed: u64,
    /// Whether the peer has proven who it is. Before that it may only say hello.
    trusted: bool,
    /// Pings that the peer should have echoed by now, for others to see.
    misses: Arc<AtomicU32>,
    /// When the peer is given up, unless an echo is read before.
    doubt: Option<Instant>,
    /// Whether an echo was missing at the last ping, and the peer has not pinged since.
    silent: bool,
    /// Of the other streams of the connection; news of them comes and goes here.
    windows: Arc<StreamWindows>,
    /// Whether a note that this version does not know has been told of.
    told_unknown: bool,
}

/// Length from which on a message is decoded on another thread, in bytes: that of a registration of
/// some hundred functions. A longer one would take more than a millisecond of the I/O thread.
const LONG_MESSAGE: usize = 64 << 10;

/// How long it is looked for an echo that has come already.
const LAST_LOOK: Duration = Duration::from_millis(250);

/// Most bytes that may wait to be written: a program that queues messages without end is not served
/// further.
const MAX_QUEUED: usize = 2 << 20;

/// Most bytes that may wait when a ping is to be echoed: a peer that pings without reading the
/// echoes is not served further.
const MAX_BEFORE_ECHO: usize = 256 << 10;

impl ControlStream {
    pub(crate) fn new(
        connection: &quinn::Connection,
        (send, recv): (quinn::SendStream, quinn::RecvStream),
    ) -> Self {
        let mut ticks = interval_at(Instant::now() + HEARTBEAT, HEARTBEAT);
        // After a pause of the whole process the missed ticks would count as missed echoes.
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

    /// The end of a gateway, whose peer has yet to prove who it is.
    pub(crate) fn with_stranger(
        connection: &quinn::Connection,
        stream: (quinn::SendStream, quinn::RecvStream),
    ) -> Self {
        let mut control = Self { trusted: false, ..Self::new(connection, stream) };
        control.buffer.allow_control(MAX_HELLO);
        control
    }

    /// Notes that the peer has proven who it is.
    pub(crate) fn trust(&mut self) {
        self.trusted = true;
        self.buffer.allow_control(MAX_CONTROL);
    }

    /// Heartbeats in a row that the peer has not echoed in time.
    pub(crate) fn misses(&self) -> &Arc<AtomicU32> {
        &self.misses
    }

    /// What the other streams of the connection are wrapped with.
    pub(crate) fn windows(&self) -> &Arc<StreamWindows> {
        &self.windows
    }

    /// Queues a message; [`next`](Self::next) and [`flush`](Self::flush) write it.
    ///
    /// # Errors
    /// `TooLarge` if it, or all that is queued, is too long.
    pub(crate) fn queue(&mut self, message: &Control) -> Result<(), Error> {
        if let Control::Ping(_) | Control::Abandoned { .. } = message {
            self.pace.expect_answer();
        }
        let fits = message.put(&mut self.out).is_ok() && self.out.len() <= MAX_QUEUED;
        fits.then_some(()).ok_or_else(|| {
            Error::new(ErrorKind::TooLarge, "a control message, or the queue of them, is too long")
        })
    }

    /// Queues a message with the next ping, so that it takes no packet of its own; in place of one
    /// that waits for that already.
    pub(crate) fn note(&mut self, message: Control) {
        self.note = Some(message);
    }

    /// Writes all that is queued.
    ///
    /// # Errors
    /// `ConnectionLost`, or what the peer closed with.
    pub(crate) async fn flush(&mut self) -> Result<(), Error> {
        let queued = mem::take(&mut self.out);
        let written = mem::take(&mut self.written);
        self.send.write(&queued[written..]).await.map_err(lost)
    }

    /// Waits for the next message that is not part of the heartbeat, which goes on meanwhile, as
    /// does the writing of what is queued.
    ///
    /// # Errors
    /// `ConnectionLost` if the peer is gone, what it closed with if it said so, and `Protocol` if
    /// it breaks the rules.
    ///
    /// # Cancel safety
    /// Nothing is lost or written twice.
    pub(crate) async fn next(&mut self) -> Result<Control, Error> {
        loop {
            // A peer that has much to say leaves others their turn. Nothing is taken before.
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
                // The echo may be in what is not read yet.
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
                // What is not fetched while the peer reads nothing is replaced by what is newer.
                due = self.windows.due(), if self.out.is_empty() => {
                    for (stream, limit) in due {
                        self.queue(&Control::Credit(Credit { stream, limit }))?;
                    }
                }
            }
        }
    }

    /// [`next`](Self::next), for at most `limit`.
    ///
    /// # Errors
    /// Those of `next`, and `Unavailable` if the time is over.
    pub(crate) async fn next_within(&mut self, limit: Duration) -> Result<Control, Error> {
        timeout(limit, self.next()).await.unwrap_or_else(|_| {
            let text = format!("the peer said nothing for {limit:?}");
            Err(Error::new(ErrorKind::Unavailable, text))
        })
    }

    /// Says that nothing more comes, and waits until the peer has everything.
    pub(crate) async fn finish(mut self, limit: Duration) {
        // A peer that does not read is not waited for, neither to take it nor to say that it has.
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

    /// Decodes a message, or begins to. `None` if it has been dealt with, or will be later.
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

    /// Takes a message that is part of the heartbeat, or news of a stream; gives any other.
    fn hear(&mut self, message: Control) -> Result<Option<Control>, Error> {
        let broken = |text: &'static str| Err(Error::new(ErrorKind::Protocol, text));
        match message {
            // To be echoed costs memory, if the echoes are not read.
            Control::Ping(_) if !self.trusted => return broken("a ping before hello"),
            Control::Ping(_) if self.out.len() - self.written > MAX_BEFORE_ECHO => {
                let text = "the peer pings, and does not read the echoes";
                return Err(Error::new(ErrorKind::TooLarge, text));
            }
            Control::Ping(number) => {
                self.queue(&Control::Pong(number))?;
                // What was missed may be on its way again.
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
            Control::Pong(_) => return broken("an echo of nothing"),
            Control::Unknown(tag) => {
                if !mem::replace(&mut self.told_unknown, true) {
                    trace!(tag, "a note that this version does not know");
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
            // Where this computer has been slow, the echo may be here, and not read yet.
            self.doubt.get_or_insert_with(|| Instant::now() + LAST_LOOK);
        }
        self.silent = misses > 0;
        if self.silent {
            // What is under way may be lost, and fill the congestion window: this is to be found
            // out by a heartbeat, not by QUIC's next probe.
            let_through(self.windows.connection());
        }
        self.pings += 1;
        if let Some(note) = self.note.take() {
            self.queue(&note)?;
        }
        self.queue(&Control::Ping(self.pings))
    }
}

/// Waits for a long message to be decoded. Cancel safe.
async fn decoded(
    decoding: &mut Option<JoinHandle<Result<Control, Malformed>>>,
) -> Result<Control, Error> {
    let Some(decoding) = decoding else { return std::future::pending().await };
    match decoding.await {
        Ok(message) => message.map_err(Malformed::into_error),
        // The thread has panicked, or ends with the program.
        Err(_) => Err(Error::new(ErrorKind::ConnectionLost, "a message could not be decoded")),
    }
}

fn lost(broken: Broken) -> Error {
    broken.error(ErrorKind::ConnectionLost)
}
