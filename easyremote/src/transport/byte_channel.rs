//! Handing bytes from one thread to another in batches.
//!
//! A stream's producer and its consumer live on different runtimes: items are encoded and decoded
//! where the user's code runs, and written and read on the role's I/O thread. Whatever has been fed
//! since the last take is taken as one batch, so that a fast producer costs one wake-up per batch
//! and a slow one none of the latency. Feeding waits while a limit of bytes is pending, which is
//! how backpressure crosses the threads.

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

/// Connects a sender to a receiver, with about `limit` bytes between them: a feed waits until less
/// than that is pending, and then goes in whole.
pub(crate) fn byte_channel<E>(limit: usize) -> (ByteSender<E>, ByteReceiver<E>) {
    channel(limit, None)
}

/// [`byte_channel`], whose bytes are also a part of a room that several share: those that wait to be
/// fed, those that are pending, and the batch that was taken last, but for [`UNSHARED`] of them. Or
/// as many as are [reserved](ByteSender::reserve), if that is more.
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
    };
    let room = state.share.as_ref().map(|share| share.room().clone());
    let shared = Arc::new(Channel { state: Mutex::new(state), limit, asked: AtomicU64::new(0) });
    (ByteSender { shared: shared.clone(), room, crowded: false }, ByteReceiver { shared })
}

#[derive(Debug)]
struct Channel<E> {
    state: Mutex<ChannelState<E>>,
    limit: usize,
    /// Rises whenever the receiver's owner asks for something, also if it has it already.
    asked: AtomicU64,
}

#[derive(Debug)]
struct ChannelState<E> {
    pending: Vec<Bytes>,
    /// Small pieces fed after all that is in `pending`, put together.
    tail: Vec<u8>,
    /// Bytes in `pending` and `tail`.
    bytes: usize,
    /// Bytes that wait to be fed.
    offered: usize,
    /// Bytes of the batch that was taken last, until another one is asked for.
    taken: usize,
    /// Bytes that are expected.
    reserved: usize,
    /// What all these take of the room that is shared.
    share: Option<RoomShare>,
    /// How the sender ended; comes after all that is pending.
    end: Option<E>,
    /// The sender is gone.
    ended: bool,
    /// The receiver is gone.
    closed: bool,
    /// Woken when something has been taken, or the receiver is gone.
    sender: Option<Waker>,
    /// Woken when something has been fed, or the sender is gone.
    receiver: Option<Waker>,
}

impl<E> Channel<E> {
    fn lock(&self) -> MutexGuard<'_, ChannelState<E>> {
        // Nothing panics under the lock, so a poisoned state is still a whole one.
        self.state.lock()
    }
}

/// Pieces shorter than this are copied together; longer ones are handed over as they are.
const SMALL: usize = 4 << 10;

/// Bytes of a channel that do not count: streams of small items pay nothing for the room of large
/// ones, and are not held up by them.
pub(crate) const UNSHARED: usize = 16 << 10;

impl<E> ChannelState<E> {
    /// Counts what is here now. Says whether it is a part of the room.
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

/// Wakes after the lock is released, so that the woken thread does not run into it.
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

/// The receiver is gone: nobody wants the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Closed;

/// The end that bytes go in at.
///
/// Dropping it without [`end`](Self::end) ends the hand-over without an `E`.
#[derive(Debug)]
pub(crate) struct ByteSender<E> {
    shared: Arc<Channel<E>>,
    /// What this shares with others.
    room: Option<Arc<SharedRoom>>,
    /// Whether the last feed is, or was, a part of it.
    crowded: bool,
}

impl<E> ByteSender<E> {
    /// Hands the contents of `bytes` over and leaves it empty, after waiting until less than the
    /// limit is pending.
    ///
    /// # Cancel safety
    /// Either everything was handed over, or nothing.
    pub(crate) async fn send(&mut self, bytes: &mut Vec<u8>) -> Result<(), Closed> {
        let length = bytes.len();
        self.send_with(length, |state| state.put(bytes)).await
    }

    /// Waits until the room is not full, if there is to be a feed of `length` bytes that is a part of
    /// it, or has been one that may still be here.
    ///
    /// # Cancel safety
    /// Nothing happens.
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

    /// Counts a feed of `length` bytes as a part of the room that is expected.
    pub(crate) fn reserve(&mut self, length: usize) {
        let mut state = self.shared.lock();
        state.reserved = length;
        state.recount();
    }

    /// [`send`](Self::send) for what is in shared buffers already; copies nothing.
    pub(crate) async fn send_chunks(&mut self, chunks: &[Bytes]) -> Result<(), Closed> {
        let length = chunks.iter().map(Bytes::len).sum::<usize>();
        self.send_with(length, |state| {
            state.bytes += length;
            state.close_tail();
            state.pending.extend_from_slice(chunks);
        })
        .await
    }

    /// [`send`](Self::send), for hand-written futures.
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
        release(state, |state| &mut state.receiver);
        Poll::Ready(Ok(()))
    }

    /// [`send`](Self::send) without waiting: for the last piece, whose length its maker bounds.
    pub(crate) fn send_now(&mut self, bytes: &mut Vec<u8>) {
        let mut state = self.shared.lock();
        if !state.closed && !bytes.is_empty() {
            state.put(bytes);
            state.recount();
            release(state, |state| &mut state.receiver);
        }
    }

    /// [`send_chunks`](Self::send_chunks), for as long as the receiver's owner asks for something
    /// at least once in `patience`, or a little more; `None` if it has not.
    pub(crate) async fn send_patiently(
        &mut self,
        chunks: &[Bytes],
        patience: Duration,
    ) -> Option<Result<(), Closed>> {
        /// How often it is looked at in that time.
        const LOOKS: u32 = 4;
        let shared = self.shared.clone();
        let mut feeding = pin!(self.send_chunks(chunks));
        // As a rule there is room at once, and no need of a clock.
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

    /// Ends the hand-over; `end` reaches the receiver after everything fed before.
    pub(crate) fn end(&mut self, end: E) {
        let mut state = self.shared.lock();
        state.end = Some(end);
        state.ended = true;
        release(state, |state| &mut state.receiver);
    }

    /// Resolves when the receiver is gone.
    pub(crate) async fn closed(&mut self) {
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

/// What a [`ByteReceiver`] gets.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Received<E> {
    /// Everything fed since the last take.
    Batch(Vec<Bytes>),
    /// The sender has ended; `None` if it was dropped without saying how.
    End(Option<E>),
}

/// The end that bytes come out at. Dropping it tells the sender.
#[derive(Debug)]
pub(crate) struct ByteReceiver<E> {
    shared: Arc<Channel<E>>,
}

impl<E> ByteReceiver<E> {
    /// Notes that the owner wants something, be it of what it has taken before.
    pub(crate) fn ask(&mut self) {
        // Nobody else writes it, so that it need not be done in one step, which takes longer.
        let asked = self.shared.asked.load(Ordering::Relaxed);
        self.shared.asked.store(asked.wrapping_add(1), Ordering::Relaxed);
    }

    /// Waits for bytes and takes all that are pending. Cancel safe.
    pub(crate) async fn receive(&mut self) -> Received<E> {
        poll_fn(|context| self.poll_receive(context)).await
    }

    /// [`receive`](Self::receive), for hand-written futures.
    pub(crate) fn poll_receive(&mut self, context: &mut Context<'_>) -> Poll<Received<E>> {
        let mut state = self.shared.lock();
        // The batch before is gone, or kept by somebody who counts it.
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
        // Nobody will take it.
        let pending = std::mem::take(&mut state.pending);
        (state.bytes, state.taken) = (0, 0);
        state.recount();
        release(state, |state| &mut state.sender);
        drop(pending);
    }
}

#[cfg(test)]
mod tests;
