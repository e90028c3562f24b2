//! Muxes: one stream for many small calls, whose messages are written together.
//!
//! A stream of its own costs a call more than everything else that it needs. On a mux, whatever
//! is ready is written as one, so that many calls share a packet, a system call and a wake-up.
//! What a stream of its own gives for free has to be made sure of here: a message that is long, or
//! one that meets a mux that is blocked or losing packets, goes another way, so that no call waits
//! behind the flow control of another, nor behind its lost packets as a rule.

use std::convert::Infallible;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tokio::task::yield_now;
use tokio::time::timeout;

use crate::transport::quic::stream::{Broken, RecvHalf, SendHalf};
use crate::wire::frame::{self, FrameKind};
use crate::wire::limits::{HEADER_TIMEOUT, MAX_MUX_BACKLOG};
use crate::wire::mux::{self, MuxId};

/// What is to be written on a mux: added by any thread, written by one task.
#[derive(Debug, Default)]
pub(crate) struct MuxWriter {
    queue: Mutex<Queue>,
    /// Something has been added, and the writer is to know of it.
    filled: Notify,
    /// Some of it has been written.
    drained: Notify,
    /// Bytes that QUIC has taken since the start.
    accepted: AtomicU64,
    /// Packets are being lost.
    lossy: AtomicBool,
}

#[derive(Debug, Default)]
struct Queue {
    bytes: Vec<u8>,
    /// Bytes added since the start.
    added: u64,
    /// The writer knows that there is something.
    told: bool,
    closed: bool,
}

impl Queue {
    fn put<E>(
        &mut self,
        id: MuxId,
        put: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
    ) -> Result<(), Refused<E>> {
        if self.closed {
            return Err(Refused::Closed);
        }
        let before = self.bytes.len();
        let start = mux::begin(&mut self.bytes, id);
        if let Err(error) = put(&mut self.bytes) {
            mux::undo(&mut self.bytes, start);
            return Err(Refused::Unwritten(error));
        }
        mux::finish(&mut self.bytes, start);
        self.added += (self.bytes.len() - before) as u64;
        Ok(())
    }

    /// Gives whether it is added.
    fn put_frames(&mut self, id: MuxId, frames: &[u8]) -> bool {
        let put = |out: &mut Vec<u8>| -> Result<(), Infallible> {
            out.extend_from_slice(frames);
            Ok(())
        };
        self.put(id, put).is_ok()
    }

    /// Swaps what is there with `batch`.
    fn take(&mut self, batch: &mut Vec<u8>) {
        std::mem::swap(&mut self.bytes, batch);
        self.told = false;
    }
}

/// Why a message was not added.
#[derive(Debug)]
pub(crate) enum Refused<E> {
    /// The mux is over.
    Closed,
    /// Whoever was to write it could not.
    Unwritten(E),
}

impl MuxWriter {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        // Every section leaves whole messages, also if a writer of frames panics.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a message with the frames that `put` writes, and has it written. Gives where it ends,
    /// counted in bytes since the start.
    ///
    /// # Errors
    /// The mux is over, or `put` failed; nothing has been added.
    pub(crate) fn push<E>(
        &self,
        id: MuxId,
        put: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
    ) -> Result<u64, Refused<E>> {
        let mut queue = self.queue();
        queue.put(id, put)?;
        let end = queue.added;
        self.tell_once(queue);
        Ok(end)
    }

    /// Adds a message of these frames, and has it written; does nothing if the mux is over.
    pub(crate) fn push_frames(&self, id: MuxId, frames: &[u8]) {
        let mut queue = self.queue();
        if queue.put_frames(id, frames) {
            self.tell_once(queue);
        }
    }

    /// Adds a message of these frames, which is written when the next one is, or after
    /// [`tell`](Self::tell); does nothing if the mux is over.
    pub(crate) fn add_frames(&self, id: MuxId, frames: &[u8]) {
        self.queue().put_frames(id, frames);
    }

    /// Has what is added written.
    pub(crate) fn tell(&self) {
        let queue = self.queue();
        if !queue.bytes.is_empty() {
            self.tell_once(queue);
        }
    }

    /// Wakes the writer, unless it has been told since it last looked.
    fn tell_once(&self, mut queue: MutexGuard<'_, Queue>) {
        let told = std::mem::replace(&mut queue.told, true);
        drop(queue);
        if !told {
            self.filled.notify_one();
        }
    }

    /// Whether QUIC has taken all bytes up to `end`.
    pub(crate) fn has_sent(&self, end: u64) -> bool {
        self.accepted.load(Ordering::Acquire) >= end
    }

    /// Whether a message would have to wait for others, or for their lost packets.
    pub(crate) fn is_blocked(&self) -> bool {
        self.lossy.load(Ordering::Relaxed) || self.backlog() > MAX_MUX_BACKLOG
    }

    /// Bytes that wait to be written.
    pub(super) fn backlog(&self) -> usize {
        let added = self.queue().added;
        added.saturating_sub(self.accepted.load(Ordering::Acquire)) as usize
    }

    /// Waits until there is room. Cancel safe.
    pub(crate) async fn roomy(&self) {
        loop {
            let drained = self.drained.notified();
            if self.backlog() <= MAX_MUX_BACKLOG {
                return;
            }
            drained.await;
        }
    }

    /// Waits for the first message, and opens a stream for it on `connection`.
    ///
    /// # Errors
    /// The connection ends before, or the peer allows no stream.
    pub(crate) async fn open(
        &self,
        connection: &quinn::Connection,
    ) -> Result<(SendHalf, RecvHalf), Broken> {
        tokio::select! {
            () = self.filled.notified() => self.filled.notify_one(),
            cause = connection.closed() => return Err(Broken::Connection(cause)),
        }
        let (send, recv) = match timeout(HEADER_TIMEOUT, connection.open_bi()).await {
            Ok(opened) => opened.map_err(Broken::Connection)?,
            // What waits goes other ways, and so does what follows.
            Err(_) => return Err(Broken::Local),
        };
        let (mut send, recv) = (SendHalf::new(send), RecvHalf::new(recv));
        let mut first = Vec::new();
        frame::put(&mut first, FrameKind::Mux, &[]);
        send.write(&first).await?;
        Ok((send, recv))
    }

    /// Takes no more messages.
    pub(crate) fn close(&self) {
        self.queue().closed = true;
    }

    /// Lets whoever else is about to add something do so, for as long as somebody does.
    async fn gathered(&self) {
        /// Some 30 us.
        const MOST: u32 = 16;
        let mut length = self.queue().bytes.len();
        for _ in 0..MOST {
            yield_now().await;
            let now = self.queue().bytes.len();
            if now == length {
                break;
            }
            length = now;
        }
    }

    /// Writes what is added to `send`, the mux's stream on `connection`, until that breaks.
    pub(crate) async fn write_to(
        &self,
        send: &mut SendHalf,
        connection: &quinn::Connection,
    ) -> Broken {
        /// A batch that was larger than this gives its memory back.
        const KEPT: usize = 64 << 10;
        let mut health = Health::new(connection);
        let mut batch = Vec::new();
        loop {
            self.filled.notified().await;
            self.gathered().await;
            self.queue().take(&mut batch);
            let mut rest = &batch[..];
            while !rest.is_empty() {
                match send.write_some(rest).await {
                    Ok(n) => {
                        rest = &rest[n..];
                        self.accepted.fetch_add(n as u64, Ordering::Release);
                    }
                    Err(broken) => return broken,
                }
            }
            batch.clear();
            batch.shrink_to(KEPT);
            self.drained.notify_one();
            if let Some(lossy) = health.examine(connection) {
                self.lossy.store(lossy, Ordering::Relaxed);
            }
        }
    }
}

/// Watches how many packets are lost.
#[derive(Debug)]
struct Health {
    examined: Instant,
    sent: u64,
    lost: u64,
}

impl Health {
    const INTERVAL: Duration = Duration::from_millis(100);
    /// One packet in so many: above that, a call would wait for another's packet now and then.
    const TOLERATED: u64 = 500;

    fn new(connection: &quinn::Connection) -> Self {
        let path = connection.stats().path;
        Self { examined: Instant::now(), sent: path.sent_packets, lost: path.lost_packets }
    }

    /// Whether the packets since the last examination were lossy, if that is some time ago.
    fn examine(&mut self, connection: &quinn::Connection) -> Option<bool> {
        if self.examined.elapsed() < Self::INTERVAL {
            return None;
        }
        let before = std::mem::replace(self, Self::new(connection));
        let (sent, lost) = (self.sent - before.sent, self.lost - before.lost);
        Some(lost * Self::TOLERATED > sent)
    }
}
