//! The sending half of a multiplexed stream.
//!
//! All messages that are ready are written together, so that many calls share a packet, a system
//! call and a wake-up. For a small call, a separate stream costs more than all its other work
//! together.
//!
//! A message is declined, and uses a separate stream, if the stream has a long backlog or if the
//! connection loses many packets. A call therefore does not wait for the flow control of other
//! calls and usually not for their lost packets.
//!
//! ```text
//! any thread                      the writing task
//! push: append under the lock,    filled.notified -> gather -> take the batch
//!   set `notified`, drop the        -> write it, add to `accepted` -> drained.notify
//!   lock, filled.notify           (repeat)
//! ```
//!
//! `notified` is set by the first `push` after a `take`, and cleared by `take`, both under the
//! lock. A message that misses a batch therefore always notifies the task of the next one.

use std::convert::Infallible;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::Notify;
use tokio::time::sleep;

use crate::transport::io;
use crate::transport::mux::loss::{LossMonitor, PacketCounts};
use crate::transport::quic::stream::{Broken, SendHalf};
use crate::wire::limits::MAX_MUX_BACKLOG;
use crate::wire::mux::{self, MuxId};

/// Queue of outgoing messages. Any thread adds messages; one task writes them.
#[derive(Debug, Default)]
pub(crate) struct MuxWriter {
    queue: Mutex<WriteQueue>,
    /// Notified when the queue has messages that the writing task has not been told of.
    filled: Notify,
    /// Notified when part of the backlog has been written.
    drained: Notify,
    /// Bytes that QUIC has accepted since the start.
    accepted: AtomicU64,
    /// Whether the connection currently loses many packets.
    lossy: AtomicBool,
}

#[derive(Debug, Default)]
struct WriteQueue {
    bytes: Vec<u8>,
    /// Bytes added since the start.
    added: u64,
    /// Whether the writing task has been notified of the queued bytes.
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

    /// Returns whether the message was queued.
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

/// Whether other messages are likely to join one that has been queued, if their tasks get a turn.
///
/// Giving them a turn costs more than the rest of the work for a message that stays alone: on a
/// multi-thread runtime it wakes another thread.
#[derive(Debug, Default)]
struct Company {
    /// Number of batches to write at once, before the next one that waits.
    to_skip: u32,
    /// What `to_skip` was when messages last failed to come.
    skipped: u32,
}

impl Company {
    /// While no messages come, one of so many batches waits for them.
    const EVERY: u32 = 16;

    fn is_likely(&mut self) -> bool {
        match self.to_skip.checked_sub(1) {
            Some(left) => {
                self.to_skip = left;
                false
            }
            None => true,
        }
    }

    /// Notes whether messages have come after [`is_likely`](Self::is_likely).
    fn note(&mut self, came: bool) {
        self.skipped = if came { 0 } else { (2 * self.skipped + 1).min(Self::EVERY - 1) };
        self.to_skip = self.skipped;
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
    /// the position of the end of the message, in bytes since the start.
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

    /// Queues a message with these frames, and notifies the writing task. Does nothing if the
    /// stream is closed.
    pub(crate) fn push_frames(&self, id: MuxId, frames: &[u8]) {
        let mut queue = self.queue.lock();
        if queue.put_frames(id, frames) {
            self.notify_once(queue);
        }
    }

    /// Queues a message with these frames without a notification: it is written together with the
    /// next message or after [`flush`](Self::flush). Does nothing if the stream is closed.
    pub(crate) fn add_frames(&self, id: MuxId, frames: &[u8]) {
        self.queue.lock().put_frames(id, frames);
    }

    /// Notifies the writing task if messages are queued.
    pub(crate) fn flush(&self) {
        let queue = self.queue.lock();
        if !queue.bytes.is_empty() {
            self.notify_once(queue);
        }
    }

    /// Notifies the writing task, unless it was notified since it last took a batch.
    fn notify_once(&self, mut queue: MutexGuard<'_, WriteQueue>) {
        let notified = std::mem::replace(&mut queue.notified, true);
        // After the lock is released, so that the woken task does not contend for it.
        drop(queue);
        if !notified {
            self.filled.notify_one();
        }
    }

    /// Returns whether QUIC has accepted all bytes up to `end`.
    pub(crate) fn has_sent(&self, end: u64) -> bool {
        self.accepted.load(Ordering::Acquire) >= end
    }

    /// Returns whether a message would wait for other messages, or for their lost packets.
    pub(crate) fn is_blocked(&self) -> bool {
        self.lossy.load(Ordering::Relaxed) || self.backlog() > MAX_MUX_BACKLOG
    }

    /// Returns the number of bytes that wait to be written.
    pub(super) fn backlog(&self) -> usize {
        let added = self.queue.lock().added;
        added.saturating_sub(self.accepted.load(Ordering::Acquire)) as usize
    }

    /// Waits until the backlog is short. Cancel safe.
    pub(crate) async fn has_room(&self) {
        loop {
            // Create the future before the check, so that a write between the two is not missed.
            let drained = self.drained.notified();
            if self.backlog() <= MAX_MUX_BACKLOG {
                return;
            }
            drained.await;
        }
    }

    /// Waits until a message is queued. Cancel safe.
    pub(super) async fn has_messages(&self) {
        self.filled.notified().await;
        // Restore the notification for `write_to`, which has yet to write the message.
        self.filled.notify_one();
    }

    /// Closes the queue: it accepts no more messages.
    pub(crate) fn close(&self) {
        self.queue.lock().closed = true;
    }

    /// Yields to other tasks while they keep adding messages. Returns whether they have added any.
    async fn gather(&self) -> bool {
        /// About 30 us.
        const MAX_YIELDS: u32 = 16;
        let mut length = self.queue.lock().bytes.len();
        for i in 0..MAX_YIELDS {
            io::yield_now().await;
            let now = self.queue.lock().bytes.len();
            if now == length {
                return i > 0;
            }
            length = now;
        }
        true
    }

    /// Writes the messages to `send`, a stream of `connection`, until it breaks.
    pub(super) async fn write_to(
        &self,
        send: &mut SendHalf,
        connection: &quinn::Connection,
    ) -> Broken {
        /// Capacity that the batch buffer keeps; larger buffers are shrunk.
        const KEPT: usize = 64 << 10;
        let mut monitor = LossMonitor::new(PacketCounts::of(connection));
        let mut examined = Instant::now();
        let mut batch = Vec::new();
        let mut company = Company::default();
        let in_order = io::current().is_some_and(|tasks| tasks.runs_after_others());
        loop {
            let lossy = self.lossy.load(Ordering::Relaxed);
            tokio::select! {
                () = self.filled.notified() => {}
                // While the connection is lossy, calls use other streams, so no message may arrive
                // here. Wake up regularly to detect that the loss has ended.
                () = sleep(LossMonitor::INTERVAL), if lossy => {}
            }
            // Take after gathering: messages added from here on set `notified` again and form the
            // next batch.
            // A task that was woken runs after those that add messages if `in_order`.
            if !in_order && company.is_likely() {
                company.note(self.gather().await);
            }
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
