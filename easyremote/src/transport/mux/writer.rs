//! The sending half of a multiplexed stream.
//!
//! Whatever is ready is written as one, so that many calls share a packet, a system call and a
//! wake-up. A separate stream costs a call more than everything else that it needs.
//!
//! A message that meets a stream with a long backlog, or a connection that loses many packets, is
//! declined and takes a stream of its own: a call waits neither behind the flow control of another
//! nor, as a rule, behind its lost packets.

use std::convert::Infallible;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::Notify;
use tokio::task::yield_now;
use tokio::time::sleep;

use crate::transport::mux::loss::{LossMonitor, PacketCounts};
use crate::transport::quic::stream::{Broken, SendHalf};
use crate::wire::limits::MAX_MUX_BACKLOG;
use crate::wire::mux::{self, MuxId};

/// Messages to be written: any thread adds them, one task writes them.
#[derive(Debug, Default)]
pub(crate) struct MuxWriter {
    queue: Mutex<WriteQueue>,
    /// Notified when a message has been added that the writing task does not know of.
    filled: Notify,
    /// Notified when some of the backlog has been written.
    drained: Notify,
    /// Bytes that QUIC has taken since the start.
    accepted: AtomicU64,
    /// Whether the connection loses many packets.
    lossy: AtomicBool,
}

#[derive(Debug, Default)]
struct WriteQueue {
    bytes: Vec<u8>,
    /// Bytes added since the start.
    added: u64,
    /// Whether the writing task knows that there is something to write.
    notified: bool,
    closed: bool,
}

impl WriteQueue {
    fn put<E>(
        &mut self,
        id: MuxId,
        put: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
    ) -> Result<(), NotQueued<E>> {
        if self.closed {
            return Err(NotQueued::Closed);
        }
        let before = self.bytes.len();
        let start = mux::begin(&mut self.bytes, id);
        if let Err(error) = put(&mut self.bytes) {
            mux::undo(&mut self.bytes, start);
            return Err(NotQueued::Unwritten(error));
        }
        mux::finish(&mut self.bytes, start);
        self.added += (self.bytes.len() - before) as u64;
        Ok(())
    }

    /// Returns whether the message has been added.
    fn put_frames(&mut self, id: MuxId, frames: &[u8]) -> bool {
        let put = |out: &mut Vec<u8>| -> Result<(), Infallible> {
            out.extend_from_slice(frames);
            Ok(())
        };
        self.put(id, put).is_ok()
    }

    /// Swaps the queued bytes with `batch`.
    fn take(&mut self, batch: &mut Vec<u8>) {
        std::mem::swap(&mut self.bytes, batch);
        self.notified = false;
    }
}

/// Why a message was not queued.
#[derive(Debug)]
pub(crate) enum NotQueued<E> {
    /// The stream is closed.
    Closed,
    /// The closure that writes its frames failed.
    Unwritten(E),
}

impl MuxWriter {
    /// Queues a message with the frames that `put` writes, and notifies the writing task. Returns
    /// the position where the message ends, in bytes since the start.
    ///
    /// # Errors
    /// The stream is closed or `put` failed; nothing is queued.
    pub(crate) fn push<E>(
        &self,
        id: MuxId,
        put: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
    ) -> Result<u64, NotQueued<E>> {
        let mut queue = self.queue.lock();
        queue.put(id, put)?;
        let end = queue.added;
        self.notify_once(queue);
        Ok(end)
    }

    /// Queues a message of these frames and notifies the writing task; does nothing if the stream
    /// is closed.
    pub(crate) fn push_frames(&self, id: MuxId, frames: &[u8]) {
        let mut queue = self.queue.lock();
        if queue.put_frames(id, frames) {
            self.notify_once(queue);
        }
    }

    /// Queues a message of these frames, to be written with the next one or after
    /// [`flush`](Self::flush); does nothing if the stream is closed.
    pub(crate) fn add_frames(&self, id: MuxId, frames: &[u8]) {
        self.queue.lock().put_frames(id, frames);
    }

    /// Notifies the writing task if something is queued.
    pub(crate) fn flush(&self) {
        let queue = self.queue.lock();
        if !queue.bytes.is_empty() {
            self.notify_once(queue);
        }
    }

    /// Notifies the writing task, unless it has been since it last looked.
    fn notify_once(&self, mut queue: MutexGuard<'_, WriteQueue>) {
        let notified = std::mem::replace(&mut queue.notified, true);
        drop(queue);
        if !notified {
            self.filled.notify_one();
        }
    }

    /// Whether QUIC has taken all bytes up to `end`.
    pub(crate) fn has_sent(&self, end: u64) -> bool {
        self.accepted.load(Ordering::Acquire) >= end
    }

    /// Whether a message would wait for others, or for their lost packets.
    pub(crate) fn is_blocked(&self) -> bool {
        self.lossy.load(Ordering::Relaxed) || self.backlog() > MAX_MUX_BACKLOG
    }

    /// Bytes that wait to be written.
    pub(super) fn backlog(&self) -> usize {
        let added = self.queue.lock().added;
        added.saturating_sub(self.accepted.load(Ordering::Acquire)) as usize
    }

    /// Waits until the backlog is short. Cancel safe.
    pub(crate) async fn has_room(&self) {
        loop {
            // Created before the check: a write between the two notifies it.
            let drained = self.drained.notified();
            if self.backlog() <= MAX_MUX_BACKLOG {
                return;
            }
            drained.await;
        }
    }

    /// Waits until there is something to write. Cancel safe.
    pub(super) async fn has_messages(&self) {
        self.filled.notified().await;
        // For `write_to`, which has yet to write it.
        self.filled.notify_one();
    }

    /// Takes no more messages.
    pub(crate) fn close(&self) {
        self.queue.lock().closed = true;
    }

    /// Lets other tasks add their messages, as long as some do.
    async fn gather(&self) {
        /// Some 30 us.
        const MAX_YIELDS: u32 = 16;
        let mut length = self.queue.lock().bytes.len();
        for _ in 0..MAX_YIELDS {
            yield_now().await;
            let now = self.queue.lock().bytes.len();
            if now == length {
                break;
            }
            length = now;
        }
    }

    /// Writes messages to `send`, a stream of `connection`, until that breaks.
    pub(super) async fn write_to(
        &self,
        send: &mut SendHalf,
        connection: &quinn::Connection,
    ) -> Broken {
        /// A batch that was larger gives its memory back.
        const KEPT: usize = 64 << 10;
        let mut monitor = LossMonitor::new(PacketCounts::of(connection));
        let mut examined = Instant::now();
        let mut batch = Vec::new();
        loop {
            let lossy = self.lossy.load(Ordering::Relaxed);
            tokio::select! {
                () = self.filled.notified() => {}
                // While the connection is lossy, calls take other streams and nothing may come
                // here: the end of the loss has to be noticed all the same.
                () = sleep(LossMonitor::INTERVAL), if lossy => {}
            }
            self.gather().await;
            self.queue.lock().take(&mut batch);
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
            let now = Instant::now();
            if now.duration_since(examined) >= LossMonitor::INTERVAL {
                examined = now;
                let lossy = monitor.examine(PacketCounts::of(connection), now);
                self.lossy.store(lossy, Ordering::Relaxed);
            }
        }
    }
}
