//! The two halves of a QUIC stream, wrapped so that neither can end by accident.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use quinn::VarInt;

use crate::error::{Error, ErrorKind};
use crate::transport::quic::reset;
use crate::transport::quic::windows::{ReceiveWindow, SendWindow, StreamWindows};
use crate::wire::bytes::Malformed;
use crate::wire::frame::{Frame, FrameBuffer};

/// Why a stream half is unusable.
#[derive(Clone, Debug)]
pub(crate) enum Broken {
    /// The peer aborted the call, with a code.
    Peer(VarInt),
    /// The connection ended.
    Connection(quinn::ConnectionError),
    /// This side had closed it before; a bug in this library, handled as a lost stream.
    Local,
}

impl Broken {
    /// Returns the code to forward to another party.
    pub(crate) fn code(&self, kind: ErrorKind) -> VarInt {
        match self {
            Self::Peer(code) => *code,
            Self::Connection(_) | Self::Local => reset::code(kind),
        }
    }

    /// Returns the error to report; of `kind` if the connection broke.
    pub(crate) fn error(self, kind: ErrorKind) -> Error {
        match self {
            Self::Peer(code) => {
                let (said, executed) = reset::read(code);
                let text = match said {
                    ErrorKind::Cancelled => "the peer cancelled the call",
                    ErrorKind::NodeLost => "the node was lost in the middle of a message",
                    _ => "the peer reset the call",
                };
                Error::new(said, text).with_executed(executed).weighed()
            }
            Self::Connection(cause) => reset::connection_error(cause, kind),
            Self::Local => Error::new(kind, "the stream was closed by this side"),
        }
    }
}

impl From<quinn::WriteError> for Broken {
    fn from(error: quinn::WriteError) -> Self {
        match error {
            quinn::WriteError::Stopped(code) => Self::Peer(code),
            quinn::WriteError::ConnectionLost(cause) => Self::Connection(cause),
            quinn::WriteError::ClosedStream | quinn::WriteError::ZeroRttRejected => Self::Local,
        }
    }
}

impl From<quinn::ReadError> for Broken {
    fn from(error: quinn::ReadError) -> Self {
        match error {
            quinn::ReadError::Reset(code) => Self::Peer(code),
            quinn::ReadError::ConnectionLost(cause) => Self::Connection(cause),
            _ => Self::Local,
        }
    }
}

/// Wraps both halves of a stream that has carried nothing yet, each with its window.
pub(crate) fn halves(
    (send, recv): (quinn::SendStream, quinn::RecvStream),
    windows: &Arc<StreamWindows>,
) -> (SendHalf, RecvHalf) {
    (SendHalf::within(send, windows), RecvHalf::within(recv, windows))
}

/// The sending half of a stream.
///
/// Dropping it resets the stream with "cancelled", unless [`finish`](Self::finish) was called.
/// quinn would send a FIN instead, and a broken stream would look complete.
#[derive(Debug)]
pub(crate) struct SendHalf {
    inner: quinn::SendStream,
    ended: bool,
    /// `None` for control streams and multiplexed streams.
    window: Option<SendWindow>,
}

impl SendHalf {
    /// Creates a half that is limited only by QUIC's window: that of a control stream or a
    /// multiplexed stream.
    pub(crate) fn new(inner: quinn::SendStream) -> Self {
        Self { inner, ended: false, window: None }
    }

    /// Creates a half, of a stream that has carried nothing yet, that is limited by what the peer's
    /// reader allows.
    pub(crate) fn within(inner: quinn::SendStream, windows: &Arc<StreamWindows>) -> Self {
        let window = SendWindow::new(windows, inner.id());
        Self { inner, ended: false, window: Some(window) }
    }

    /// Removes the window, as if created by [`new`](Self::new): the stream has turned out to be
    /// multiplexed.
    pub(crate) fn lift(&mut self) {
        self.window = None;
    }

    /// Returns QUIC's id of the stream.
    pub(crate) fn id(&self) -> u64 {
        self.inner.id().into()
    }

    /// Writes all of `bytes`. Waits while the peer's window is full.
    ///
    /// # Cancel safety
    /// Not cancel safe: dropping the future may leave a part written, after which the stream can
    /// only be reset.
    pub(crate) async fn write(&mut self, bytes: &[u8]) -> Result<(), Broken> {
        let mut rest = bytes;
        while !rest.is_empty() {
            let (now, later) = rest.split_at(self.room(rest.len()).await?);
            self.inner.write_all(now).await?;
            rest = later;
        }
        Ok(())
    }

    /// Writes all chunks without copying them. Not cancel safe, like [`write`](Self::write).
    pub(crate) async fn write_chunks(&mut self, chunks: &mut [Bytes]) -> Result<(), Broken> {
        let mut rest = chunks;
        while !rest.is_empty() {
            let length = rest.iter().map(Bytes::len).sum();
            let mut room = self.room(length).await?;
            if room == length {
                return Ok(self.inner.write_all_chunks(rest).await?);
            }
            let mut n = 0;
            while let Some(chunk) = rest.get(n).filter(|chunk| chunk.len() <= room) {
                room -= chunk.len();
                n += 1;
            }
            self.inner.write_all_chunks(&mut rest[..n]).await?;
            rest = &mut rest[n..];
            if let Some(divided) = rest.first_mut() {
                self.inner.write_chunk(divided.split_to(room)).await?;
            }
        }
        Ok(())
    }

    /// Waits until the peer's window is open; returns how much of `wanted` may be sent, at least 1
    /// unless `wanted` is 0.
    async fn room(&mut self, wanted: usize) -> Result<usize, Broken> {
        let Some(window) = &mut self.window else { return Ok(wanted) };
        loop {
            if let Some(room) = window.take(wanted) {
                return Ok(room);
            }
            tokio::select! {
                biased;
                () = window.raised() => {}
                broken = stopped(&self.inner) => return Err(broken.unwrap_or(Broken::Local)),
            }
        }
    }

    /// Writes some of `bytes`, and returns how many. Cancel safe. Only for a half from
    /// [`new`](Self::new).
    pub(crate) async fn write_some(&mut self, bytes: &[u8]) -> Result<usize, Broken> {
        Ok(self.inner.write(bytes).await?)
    }

    /// Ends the direction successfully, after everything has been written.
    pub(crate) fn finish(&mut self) {
        self.ended = true;
        // Fails only if the stream has ended already; then nothing is left to do.
        let _ = self.inner.finish();
    }

    /// Aborts the direction. Data that the peer has not read yet is lost.
    pub(crate) fn reset(&mut self, code: VarInt) {
        self.ended = true;
        let _ = self.inner.reset(code);
    }

    /// Resolves when the peer stops reading, or, with `None`, when it has received everything after
    /// [`finish`](Self::finish).
    pub(crate) fn stopped(&self) -> Stopped {
        stopped(&self.inner)
    }
}

fn stopped(stream: &quinn::SendStream) -> Stopped {
    let stopped = stream.stopped();
    Stopped(Box::pin(async move {
        match stopped.await {
            Ok(code) => code.map(Broken::Peer),
            Err(quinn::StoppedError::ConnectionLost(cause)) => Some(Broken::Connection(cause)),
            Err(quinn::StoppedError::ZeroRttRejected) => Some(Broken::Local),
        }
    }))
}

impl Drop for SendHalf {
    fn drop(&mut self) {
        if !self.ended {
            let _ = self.inner.reset(reset::cancelled());
        }
    }
}

/// The future returned by [`SendHalf::stopped`].
pub(crate) struct Stopped(Pin<Box<dyn Future<Output = Option<Broken>> + Send>>);

impl Future for Stopped {
    type Output = Option<Broken>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.as_mut().poll(context)
    }
}

/// The receiving half of a stream.
///
/// Dropping it before the end sends STOP_SENDING with "cancelled" to the peer.
#[derive(Debug)]
pub(crate) struct RecvHalf {
    inner: quinn::RecvStream,
    ended: bool,
    /// `None` for control streams and multiplexed streams.
    window: Option<ReceiveWindow>,
}

/// Maximum number of chunks per read. A chunk is the content of one packet: at most 1.4 kB over a
/// common network, and 16 KiB within this machine.
const READ_CHUNKS: usize = 32;

/// Maximum number of bytes per read, because bytes that were read have left the window and are held
/// by the reader. A gateway forwards this many bytes of a call to a node before it looks for the
/// answer.
const READ_BYTES: usize = 48 << 10;

impl RecvHalf {
    /// Creates a half whose sender is limited only by QUIC's window: that of a control stream or a
    /// multiplexed stream.
    pub(crate) fn new(inner: quinn::RecvStream) -> Self {
        Self { inner, ended: false, window: None }
    }

    /// Creates a half, of a stream that has carried nothing yet, that lets its sender continue as
    /// it is read.
    pub(crate) fn within(inner: quinn::RecvStream, windows: &Arc<StreamWindows>) -> Self {
        let window = ReceiveWindow::new(windows, inner.id());
        Self { inner, ended: false, window: Some(window) }
    }

    /// Removes the window, as if created by [`new`](Self::new): the stream has turned out to be
    /// multiplexed.
    pub(crate) fn lift(&mut self) {
        self.window = None;
    }

    /// Waits for bytes, and returns all chunks that are available, up to [`READ_CHUNKS`] and
    /// [`READ_BYTES`]; `None` at the FIN. Cancel safe.
    pub(crate) async fn read(&mut self) -> Result<Option<Vec<Bytes>>, Broken> {
        let chunks = poll_fn(|context| self.poll_read(context)).await?;
        if let (Some(window), Some(chunks)) = (&mut self.window, &chunks) {
            window.read(chunks.iter().map(Bytes::len).sum());
        }
        Ok(chunks)
    }

    fn poll_read(&mut self, context: &mut Context<'_>) -> Poll<Result<Option<Vec<Bytes>>, Broken>> {
        let mut chunks = Vec::new();
        let mut room = READ_BYTES;
        while chunks.len() < READ_CHUNKS && room > 0 {
            // If chunks precede the end of the stream, the next read reports the end.
            match pin!(self.inner.read_chunk(room, true)).poll(context) {
                Poll::Ready(Ok(Some(chunk))) => {
                    room -= chunk.bytes.len();
                    chunks.push(chunk.bytes);
                }
                _ if !chunks.is_empty() => break,
                Poll::Pending => return Poll::Pending,
                Poll::Ready(ended) => {
                    self.ended = true;
                    return Poll::Ready(ended.map(|_| None).map_err(Broken::from));
                }
            }
        }
        Poll::Ready(Ok(Some(chunks)))
    }

    /// Reads into `buffer` until a frame is complete, and returns it; `None` at a FIN between
    /// frames.
    ///
    /// # Errors
    /// [`FrameError`]: the stream broke, or the bytes are not a valid frame.
    ///
    /// # Cancel safety
    /// Cancel safe: bytes that have arrived stay in `buffer`.
    pub(crate) async fn frame(
        &mut self,
        buffer: &mut FrameBuffer,
    ) -> Result<Option<Frame>, FrameError> {
        self.frame_if(buffer, |_| true).await
    }

    /// Like [`frame`](Self::frame), as long as `room` accepts the number of bytes in the buffer.
    pub(crate) async fn frame_if(
        &mut self,
        buffer: &mut FrameBuffer,
        mut room: impl FnMut(usize) -> bool,
    ) -> Result<Option<Frame>, FrameError> {
        loop {
            if !room(buffer.len()) {
                return Err(FrameError::NoRoom);
            }
            if let Some(frame) = buffer.next().map_err(FrameError::Malformed)? {
                return Ok(Some(frame));
            }
            match self.read().await.map_err(FrameError::Broken)? {
                Some(chunks) => {
                    for chunk in chunks.iter() {
                        buffer.push(chunk);
                    }
                }
                None if buffer.is_empty() => return Ok(None),
                None => {
                    let cause = Malformed::new("the stream ends inside a frame");
                    return Err(FrameError::Malformed(cause));
                }
            }
        }
    }

    /// Requests the peer to stop sending.
    pub(crate) fn stop(&mut self, code: VarInt) {
        self.ended = true;
        // Fails only if everything has arrived already.
        let _ = self.inner.stop(code);
    }
}

impl Drop for RecvHalf {
    fn drop(&mut self) {
        if !self.ended {
            let _ = self.inner.stop(reset::cancelled());
        }
    }
}

/// Why no frame could be read.
#[derive(Debug)]
pub(crate) enum FrameError {
    /// The stream broke.
    Broken(Broken),
    /// The peer sent an invalid frame.
    Malformed(Malformed),
    /// The receiver has no budget for the frame.
    NoRoom,
}

impl FrameError {
    /// The error to report, of `kind` if the connection broke.
    pub(crate) fn error(self, kind: ErrorKind) -> Error {
        match self {
            Self::Broken(broken) => broken.error(kind),
            Self::Malformed(cause) => cause.into_error(),
            Self::NoRoom => {
                Error::new(ErrorKind::Overloaded, "no memory left in the budget for a message")
            }
        }
    }
}
