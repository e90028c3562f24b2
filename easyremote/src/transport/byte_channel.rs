//! A byte channel: passes bytes from one thread to another in batches, with back-pressure.
//!
//! The producer and the consumer of a stream live on different runtimes: items are encoded and
//! decoded where the user's code runs, and written and read by the role's I/O tasks. The receiver
//! takes everything that was sent since its last take as one batch, so a fast producer costs one
//! wake-up per batch, and a slow one adds no latency. A send waits while the limit of bytes is
//! pending, which carries back-pressure across the threads.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::{Either, select};
use parking_lot::{Mutex, MutexGuard};
use tokio::time::timeout;

use crate::gauge::{RoomShare, SharedRoom};
use crate::transport::reader_meter::ReaderMeter;

/// Creates a channel in which about `limit` bytes may be pending: a send waits until fewer are
/// pending, and is then accepted in full.
pub(crate) fn byte_channel<E>(limit: usize) -> (ByteSender<E>, ByteReceiver<E>) {
    channel(limit, None)
}

/// Creates a [`byte_channel`] whose bytes also count against a budget that several channels share.
///
/// Counted are the bytes that wait to be sent, those that are pending, and the batch that was taken
/// last, minus [`UNSHARED`]; or the [reserved](ByteSender::reserve) bytes, if they are more.
pub(crate) fn byte_channel_in<E>(
    room: &Arc<SharedRoom>,
    limit: usize,
) -> (ByteSender<E>, ByteReceiver<E>) {
    channel(limit, Some(RoomShare::of(room)))
}

fn channel<E>(limit: usize, share: Option<RoomShare>) -> (ByteSender<E>, ByteReceiver<E>) {
    let state = ChannelState {
        pending: Vec::new(),
        tail: Vec::new(),
        bytes: 0,
        offered: 0,
        taken: 0,
        reserved: 0,
        share,
        end: None,
        ended: false,
        closed: false,
        sender: None,
        receiver: None,
        meter: None,
    };
    let room = state.share.as_ref().map(|share| share.room().clone());
    let shared = Arc::new(Channel { state: Mutex::new(state), limit, asked: AtomicU64::new(0) });
    (ByteSender { shared: shared.clone(), room, crowded: false }, ByteReceiver { shared })
}

#[derive(Debug)]
struct Channel<E> {
    state: Mutex<ChannelState<E>>,
    limit: usize,
    /// Incremented with each request of the receiver's owner, even if the bytes have already been
    /// taken.
    asked: AtomicU64,
}

#[derive(Debug)]
struct ChannelState<E> {
    pending: Vec<Bytes>,
    /// Small pieces that follow those in `pending`, concatenated.
    tail: Vec<u8>,
    /// Bytes in `pending` and `tail`.
    bytes: usize,
    /// Bytes that wait to be sent.
    offered: usize,
    /// Bytes of the batch that was taken last, until the next one is requested.
    taken: usize,
    /// Bytes of the item that is expected next.
    reserved: usize,
    /// The share of all these in the common budget.
    share: Option<RoomShare>,
    /// How the sender ended; received after everything that is pending.
    end: Option<E>,
    /// Whether the sender is gone.
    ended: bool,
    /// Whether the receiver is gone.
    closed: bool,
    /// Woken when a batch has been taken, or when the receiver is gone.
    sender: Option<Waker>,
    /// Woken when bytes have been sent, or when the sender is gone.
    receiver: Option<Waker>,
    /// Notified when bytes have been sent, if the reader's progress is watched.
    meter: Option<Arc<ReaderMeter>>,
}

impl<E> Channel<E> {
    fn lock(&self) -> MutexGuard<'_, ChannelState<E>> {
        // Nothing panics while the lock is held, so the state is always consistent.
        self.state.lock()
    }
}

/// Shorter pieces are concatenated; longer ones are passed on without a copy.
const SMALL: usize = 4 << 10;

/// Bytes of a channel that do not count against the common budget: streams of small items are not
/// delayed by streams of large ones.
pub(crate) const UNSHARED: usize = 16 << 10;

impl<E> ChannelState<E> {
    /// Updates the share in the budget; returns whether the channel uses any of it.
    fn recount(&mut self) -> bool {
        let held = (self.offered + self.bytes + self.taken).max(self.reserved);
        self.share.as_mut().is_some_and(|share| {
            share.set_to(held.saturating_sub(UNSHARED) as u64);
            !share.is_empty()
        })
    }

    fn put(&mut self, bytes: &mut Vec<u8>) {
        self.bytes += bytes.len();
        if bytes.len() < SMALL {
            self.tail.append(bytes);
        } else {
            self.close_tail();
            self.pending.push(std::mem::take(bytes).into());
        }
    }

    fn close_tail(&mut self) {
        if !self.tail.is_empty() {
            self.pending.push(std::mem::take(&mut self.tail).into());
        }
    }
}

/// Wakes one side after the lock is released, so that the woken thread does not contend for it.
fn release<E>(
    mut state: MutexGuard<'_, ChannelState<E>>,
    side: fn(&mut ChannelState<E>) -> &mut Option<Waker>,
) {
    let waker = side(&mut state).take();
    drop(state);
    if let Some(waker) = waker {
        waker.wake();
    }
}

fn wait(slot: &mut Option<Waker>, context: &Context<'_>) {
    match slot {
        Some(waker) => waker.clone_from(context.waker()),
        None => *slot = Some(context.waker().clone()),
    }
}

/// The receiver is gone, so the bytes cannot be delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Closed;

/// The sending half of a byte channel.
///
/// Dropping it without [`end`](Self::end) ends the channel without an `E`.
#[derive(Debug)]
pub(crate) struct ByteSender<E> {
    shared: Arc<Channel<E>>,
    /// The budget that is shared with other channels.
    room: Option<Arc<SharedRoom>>,
    /// Whether the last send counts, or counted, against the budget.
    crowded: bool,
}

impl<E> ByteSender<E> {
    /// Sends the contents of `bytes` and leaves it empty, after waiting until less than the limit
    /// is pending.
    ///
    /// # Cancel safety
    /// Either everything was sent, or nothing.
    pub(crate) async fn send(&mut self, bytes: &mut Vec<u8>) -> Result<(), Closed> {
        let length = bytes.len();
        self.send_with(length, |state| state.put(bytes)).await
    }

    /// Waits until the common budget is not exhausted, if a send of `length` bytes would count
    /// against it, or if the last one did and may still be pending.
    ///
    /// # Cancel safety
    /// Cancel safe: dropping the future has no effect.
    pub(crate) async fn has_room_for(&mut self, length: usize) -> Result<(), Closed> {
        let Some(room) = &self.room else { return Ok(()) };
        if !room.is_full() || (length <= UNSHARED && !self.crowded) {
            return Ok(());
        }
        let room = room.clone();
        let waiting = pin!(room.wait());
        match select(waiting, pin!(self.closed())).await {
            Either::Left(_) => Ok(()),
            Either::Right(_) => Err(Closed),
        }
    }

    /// Counts `length` bytes that are expected against the budget.
    pub(crate) fn reserve(&self, length: usize) {
        let mut state = self.shared.lock();
        state.reserved = length;
        state.recount();
    }

    /// Like [`send`](Self::send), for bytes in shared buffers; copies nothing.
    pub(crate) async fn send_chunks(&mut self, chunks: &[Bytes]) -> Result<(), Closed> {
        let length = chunks.iter().map(Bytes::len).sum::<usize>();
        self.send_with(length, |state| {
            state.bytes += length;
            state.close_tail();
            state.pending.extend_from_slice(chunks);
        })
        .await
    }

    /// Polls [`send`](Self::send), for hand-written futures.
    pub(crate) fn poll_send(
        &mut self,
        context: &mut Context<'_>,
        bytes: &mut Vec<u8>,
    ) -> Poll<Result<(), Closed>> {
        let length = bytes.len();
        let mut put = Some(|state: &mut ChannelState<E>| state.put(bytes));
        self.poll_send_with(context, length, &mut put)
    }

    async fn send_with(
        &mut self,
        length: usize,
        put: impl FnOnce(&mut ChannelState<E>),
    ) -> Result<(), Closed> {
        let mut put = Some(put);
        poll_fn(|context| self.poll_send_with(context, length, &mut put)).await
    }

    fn poll_send_with(
        &mut self,
        context: &mut Context<'_>,
        length: usize,
        put: &mut Option<impl FnOnce(&mut ChannelState<E>)>,
    ) -> Poll<Result<(), Closed>> {
        let mut state = self.shared.lock();
        // The check and the registration of the waker happen under one lock, so a take in between
        // cannot be missed.
        if state.closed {
            return Poll::Ready(Err(Closed));
        }
        if state.bytes >= self.shared.limit {
            wait(&mut state.sender, context);
            state.offered = length;
            state.recount();
            return Poll::Pending;
        }
        if let Some(put) = put.take() {
            put(&mut state);
        }
        state.offered = 0;
        self.crowded = state.recount();
        if let Some(meter) = &state.meter {
            meter.arrive();
        }
        release(state, |state| &mut state.receiver);
        Poll::Ready(Ok(()))
    }

    /// Sends without waiting: for the last piece, whose length the caller bounds.
    pub(crate) fn send_now(&mut self, bytes: &mut Vec<u8>) {
        let mut state = self.shared.lock();
        if !state.closed && !bytes.is_empty() {
            state.put(bytes);
            state.recount();
            release(state, |state| &mut state.receiver);
        }
    }

    /// Like [`send_chunks`](Self::send_chunks), but stops waiting once the receiver's owner has
    /// requested nothing for `patience`, or slightly longer; returns `None` then.
    pub(crate) async fn send_patiently(
        &mut self,
        chunks: &[Bytes],
        patience: Duration,
    ) -> Option<Result<(), Closed>> {
        /// How often the counter of requests is checked in that time.
        const LOOKS: u32 = 4;
        let shared = self.shared.clone();
        let mut feeding = pin!(self.send_chunks(chunks));
        // Usually there is room at once, and no timer is needed.
        if let Some(fed) = feeding.as_mut().now_or_never() {
            return Some(fed);
        }
        let (mut asked, mut silent) = (shared.asked.load(Ordering::Relaxed), 0);
        while silent < LOOKS {
            match timeout(patience / LOOKS, feeding.as_mut()).await {
                Ok(fed) => return Some(fed),
                Err(_) => {
                    let now = shared.asked.load(Ordering::Relaxed);
                    silent = if now == asked { silent + 1 } else { 0 };
                    asked = now;
                }
            }
        }
        None
    }

    /// Ends the channel; `end` is received after everything sent before.
    pub(crate) fn end(&mut self, end: E) {
        let mut state = self.shared.lock();
        state.end = Some(end);
        state.ended = true;
        release(state, |state| &mut state.receiver);
    }

    /// Ends the channel at once: what is pending is dropped, and `end` is received next.
    pub(crate) fn end_now(&mut self, end: E) {
        let mut state = self.shared.lock();
        let pending = std::mem::take(&mut state.pending);
        state.tail.clear();
        (state.bytes, state.offered) = (0, 0);
        state.recount();
        state.end = Some(end);
        state.ended = true;
        release(state, |state| &mut state.receiver);
        drop(pending);
    }

    /// Waits until the receiver is gone.
    pub(crate) async fn closed(&self) {
        poll_fn(|context| {
            let mut state = self.shared.lock();
            if state.closed {
                return Poll::Ready(());
            }
            wait(&mut state.sender, context);
            Poll::Pending
        })
        .await;
    }
}

impl<E> Drop for ByteSender<E> {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.ended = true;
        (state.offered, state.reserved) = (0, 0);
        state.recount();
        release(state, |state| &mut state.receiver);
    }
}

/// A message of a [`ByteReceiver`].
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Received<E> {
    /// Everything sent since the last take.
    Batch(Vec<Bytes>),
    /// The sender has ended; `None` if it was dropped without a reason.
    End(Option<E>),
}

/// The receiving half of a byte channel. Dropping it notifies the sender.
#[derive(Debug)]
pub(crate) struct ByteReceiver<E> {
    shared: Arc<Channel<E>>,
}

impl<E> ByteReceiver<E> {
    /// Records that the owner wants more bytes, even if it still has some.
    pub(crate) fn ask(&mut self) {
        // There is a single writer, so a load and a store are enough and cost less than a
        // read-modify-write.
        let asked = self.shared.asked.load(Ordering::Relaxed);
        self.shared.asked.store(asked.wrapping_add(1), Ordering::Relaxed);
    }

    /// Reports every arrival to `meter` from now on.
    pub(crate) fn watch(&mut self, meter: Arc<ReaderMeter>) {
        self.shared.lock().meter = Some(meter);
    }

    /// Returns whether bytes have been sent that were not taken.
    pub(crate) fn has_pending(&self) -> bool {
        self.shared.lock().bytes > 0
    }

    /// Waits for bytes, and takes all that are pending. Cancel safe.
    pub(crate) async fn receive(&mut self) -> Received<E> {
        poll_fn(|context| self.poll_receive(context)).await
    }

    /// Polls [`receive`](Self::receive), for hand-written futures.
    pub(crate) fn poll_receive(&mut self, context: &mut Context<'_>) -> Poll<Received<E>> {
        let mut state = self.shared.lock();
        // The previous batch is gone, or its new owner counts it.
        state.taken = std::mem::take(&mut state.bytes);
        state.recount();
        if state.taken > 0 {
            state.close_tail();
            let batch = std::mem::take(&mut state.pending);
            release(state, |state| &mut state.sender);
            return Poll::Ready(Received::Batch(batch));
        }
        if state.ended {
            return Poll::Ready(Received::End(state.end.take()));
        }
        wait(&mut state.receiver, context);
        Poll::Pending
    }
}

impl<E> Drop for ByteReceiver<E> {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.closed = true;
        // The bytes are dropped below, without the lock.
        let pending = std::mem::take(&mut state.pending);
        (state.bytes, state.taken) = (0, 0);
        state.recount();
        release(state, |state| &mut state.sender);
        drop(pending);
    }
}

#[cfg(test)]
mod tests;
