//! The in-flight table of a multiplexed stream: calls that this end has submitted and that have not
//! ended at the other end.
//!
//! ```text
//!             submit                 answer
//!   (vacant) --------> waiting -------------------> (vacant)
//!                         |                            ^
//!                         | abandon: sends a           | answer, or "released"
//!                         v message without frames     |
//!                      abandoned ----------------------+
//!
//!   close: every slot becomes vacant; calls that wait are returned as cut off
//! ```
//!
//! **A slot becomes vacant only after the other end has reported that the call has ended there.**
//! This end therefore never counts fewer calls than the other one, in whichever order threads
//! submit and abandon calls: a new call cannot overtake the message that ends an old one, and the
//! receiver never sees the sender's limit exceeded.
//!
//! An id is the index of a slot and a generation. A message with an outdated id finds no call and
//! is ignored.

use std::convert::Infallible;

use parking_lot::Mutex;
use slab::Slab;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::call::deadline::{Deadlines, watch};
use crate::transport::mux::writer::{MuxWriter, NotQueued};
use crate::wire::bytes::Malformed;
use crate::wire::mux::MuxId;

/// The calls in flight on a multiplexed stream.
///
/// `C` waits for an answer. `R` is kept of an abandoned call until the other end has ended it.
#[derive(Debug)]
pub(crate) struct InFlightCalls<C, R = ()> {
    writer: MuxWriter,
    slots: Mutex<CallSlots<C, R>>,
    /// Notified when a deadline was added that is earlier than all others.
    sooner: Notify,
    /// Maximum number of calls, including abandoned ones.
    limit: usize,
}

#[derive(Debug)]
struct CallSlots<C, R> {
    calls: Slab<CallSlot<C, R>>,
    /// Incremented with each call, so that an id is not reused before the counter wraps around.
    generation: u32,
    deadlines: Deadlines<MuxId>,
}

#[derive(Debug)]
struct CallSlot<C, R> {
    generation: u32,
    /// End of its message, in bytes since the start of the stream.
    end: u64,
    /// `None` once the call is abandoned.
    waiting: Option<C>,
    /// What is kept of an abandoned call.
    kept: Option<R>,
}

/// A call that was cut off when its stream broke.
#[derive(Debug)]
pub(crate) struct CutOff<C> {
    pub(crate) call: C,
    /// Whether QUIC had accepted all of it.
    pub(crate) sent: bool,
}

/// Why a call was not submitted; the call is returned.
#[derive(Debug)]
pub(crate) enum Declined<C, E> {
    /// It would have to wait, or the stream is closed: use a separate stream.
    Busy(C),
    /// It could not be encoded.
    Unwritten(C, E),
}

impl<C, R> InFlightCalls<C, R> {
    /// Creates a table for at most `limit` concurrent calls.
    pub(crate) fn new(limit: u32) -> Self {
        let slots =
            CallSlots { calls: Slab::new(), generation: 0, deadlines: Deadlines::default() };
        Self {
            writer: MuxWriter::default(),
            slots: Mutex::new(slots),
            sooner: Notify::new(),
            limit: limit as usize,
        }
    }

    pub(crate) fn writer(&self) -> &MuxWriter {
        &self.writer
    }

    /// Submits `call` as the frames that `put` writes. Does not wait.
    ///
    /// # Errors
    /// Why it was declined; nothing of it is sent.
    pub(crate) fn submit<E>(
        &self,
        call: C,
        deadline: Option<Instant>,
        put: impl FnOnce(&C, &mut Vec<u8>) -> Result<(), E>,
    ) -> Result<MuxId, Declined<C, E>> {
        // Not atomic with the push below: the backlog may grow slightly beyond its limit.
        if self.writer.is_blocked() {
            return Err(Declined::Busy(call));
        }
        let mut slots = self.slots.lock();
        if slots.calls.len() >= self.limit {
            return Err(Declined::Busy(call));
        }
        slots.generation = slots.generation.wrapping_add(1);
        let generation = slots.generation;
        let entry = slots.calls.vacant_entry();
        let id = id(generation, entry.key());
        // Push under the lock, so that the slot exists before the answer can arrive.
        match self.writer.push(id, |out| put(&call, out)) {
            Ok(end) => entry.insert(CallSlot { generation, end, waiting: Some(call), kept: None }),
            Err(NotQueued::Closed) => return Err(Declined::Busy(call)),
            Err(NotQueued::Unwritten(error)) => return Err(Declined::Unwritten(call, error)),
        };
        let Some(deadline) = deadline else { return Ok(id) };
        let CallSlots { calls, deadlines, .. } = &mut *slots;
        if deadlines.add(deadline, id, calls.len(), |id| is_waiting(calls, id)) {
            self.sooner.notify_one();
        }
        Ok(id)
    }

    /// Ends the call `id`, whose answer has arrived. Returns it, unless it was abandoned.
    pub(crate) fn answered(&self, id: MuxId) -> Option<C> {
        // The slot of an abandoned call is dropped after the lock is released: what it keeps may
        // submit another call when it is dropped.
        let slot = self.slots.lock().take(id)?;
        slot.waiting
    }

    /// Ends an abandoned call, which the other end has released.
    ///
    /// # Errors
    /// The call was not abandoned, so the other end must answer it.
    pub(crate) fn released(&self, id: MuxId) -> Result<(), Malformed> {
        let slot = {
            let mut slots = self.slots.lock();
            if is_waiting(&slots.calls, id) {
                return Err(Malformed::new("released a call that waits for its answer"));
            }
            slots.take(id)
        };
        // Dropped without the lock, as in `answered`.
        drop(slot);
        Ok(())
    }

    /// Abandons a call that waits, and notifies the other end. `split` returns the part that the
    /// caller gets back, and the part that is kept until the other end has ended the call; it must
    /// not use this stream.
    pub(crate) fn abandon<T>(&self, id: MuxId, split: impl FnOnce(C) -> (T, R)) -> Option<T> {
        let taken = {
            let mut slots = self.slots.lock();
            let slot = slots.get_mut(id)?;
            let (taken, kept) = split(slot.waiting.take()?);
            slot.kept = Some(kept);
            taken
        };
        // Queued behind the call itself, so the other end never sees the end of an unknown call. An
        // answer may already be on its way; it ends the slot instead of a release.
        self.writer.push_frames(id, &[]);
        Some(taken)
    }

    /// Invokes `look` for each call that waits.
    pub(crate) fn each_waiting(&self, look: impl FnMut(&C)) {
        let slots = self.slots.lock();
        slots.calls.iter().filter_map(|(_, slot)| slot.waiting.as_ref()).for_each(look);
    }

    /// Closes the stream, and returns the calls that still wait.
    pub(crate) fn close(&self) -> Vec<CutOff<C>> {
        // The writer is closed first: a `submit` that takes the lock after this finds it closed, so
        // no call is added to a table that no task drains.
        self.writer.close();
        let calls = std::mem::take(&mut self.slots.lock().calls);
        let cut_off = |(_, slot): (usize, CallSlot<C, R>)| {
            let sent = self.writer.has_sent(slot.end);
            slot.waiting.map(|call| CutOff { call, sent })
        };
        calls.into_iter().filter_map(cut_off).collect()
    }

    /// Abandons each call when its deadline passes; `split` as for [`abandon`](Self::abandon).
    /// Cancel safe.
    pub(crate) async fn expire(&self, mut split: impl FnMut(C) -> R) -> Infallible {
        let passed = |now| self.slots.lock().deadlines.take(now);
        watch(
            &self.sooner,
            || self.slots.lock().deadlines.next(),
            |now| {
                while let Some(id) = passed(now) {
                    self.abandon(id, |call| ((), split(call)));
                }
            },
        )
        .await
    }
}

impl<C, R> CallSlots<C, R> {
    fn get_mut(&mut self, id: MuxId) -> Option<&mut CallSlot<C, R>> {
        let generation = generation(id);
        self.calls.get_mut(key(id)).filter(|slot| slot.generation == generation)
    }

    fn take(&mut self, id: MuxId) -> Option<CallSlot<C, R>> {
        self.get_mut(id)?;
        self.calls.try_remove(key(id))
    }
}

fn is_waiting<C, R>(calls: &Slab<CallSlot<C, R>>, id: MuxId) -> bool {
    let slot = calls.get(key(id)).filter(|slot| slot.generation == generation(id));
    slot.is_some_and(|slot| slot.waiting.is_some())
}

fn id(generation: u32, key: usize) -> MuxId {
    // The number of slots is at most the limit, which is a `u32`.
    u64::from(generation) << 32 | key as u64
}

fn generation(id: MuxId) -> u32 {
    (id >> 32) as u32
}

fn key(id: MuxId) -> usize {
    (id & u64::from(u32::MAX)) as usize
}

#[cfg(test)]
mod tests;
