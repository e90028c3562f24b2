//! The calls that one end of a multiplexed stream has made and that are not over at the other end.
//!
//! ```text
//!             submit                 answer
//!   (vacant) --------> waiting -------------------> (vacant)
//!                         |                            ^
//!                         | abandon: says so           | answer, or "released"
//!                         +--------> abandoned --------+
//! ```
//!
//! **A slot is vacant again only when the other end has said that the call is over there.** So this
//! end never counts fewer calls than the other one, whichever threads submit and abandon them in
//! whichever order: a new call cannot overtake the message that ends an old one, and the limit of
//! the sender is one that the receiver never sees exceeded.

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
/// `C` waits for an answer; `R` is what is kept of a call that was abandoned, until the other end
/// has ended it.
#[derive(Debug)]
pub(crate) struct InFlightCalls<C, R = ()> {
    writer: MuxWriter,
    slots: Mutex<CallSlots<C, R>>,
    /// Notified when a deadline was added that is the next one.
    sooner: Notify,
    /// Most calls at a time, the abandoned ones included.
    limit: usize,
}

#[derive(Debug)]
struct CallSlots<C, R> {
    calls: Slab<CallSlot<C, R>>,
    /// Rises with each call, so that no id is used twice before it has gone round.
    generation: u32,
    deadlines: Deadlines<MuxId>,
}

#[derive(Debug)]
struct CallSlot<C, R> {
    generation: u32,
    /// Where its message ends.
    end: u64,
    /// Until the call is abandoned.
    waiting: Option<C>,
    /// What is kept of it from then on.
    kept: Option<R>,
}

/// A call that was cut off with its stream.
#[derive(Debug)]
pub(crate) struct CutOff<C> {
    pub(crate) call: C,
    /// Whether QUIC had taken all of it.
    pub(crate) sent: bool,
}

/// Why a call is not on the stream; it is given back.
#[derive(Debug)]
pub(crate) enum Declined<C, E> {
    /// It would have to wait, or the stream is closed: another way is better.
    Busy(C),
    /// It could not be written.
    Unwritten(C, E),
}

impl<C, R> InFlightCalls<C, R> {
    /// At most `limit` calls at a time.
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

    /// Sends `call` as the frames that `put` writes. Does not wait.
    ///
    /// # Errors
    /// Why it is not sent; nothing of it is.
    pub(crate) fn submit<E>(
        &self,
        call: C,
        deadline: Option<Instant>,
        put: impl FnOnce(&C, &mut Vec<u8>) -> Result<(), E>,
    ) -> Result<MuxId, Declined<C, E>> {
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
        // Under the lock, so that the slot is there before the answer can be.
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

    /// Ends the call that `id` stands for, whose answer is here. Returns it, unless it was
    /// abandoned.
    pub(crate) fn answered(&self, id: MuxId) -> Option<C> {
        // What is kept of an abandoned call is dropped without the lock: it may submit another.
        let slot = self.slots.lock().take(id)?;
        slot.waiting
    }

    /// Ends a call that was abandoned: it is over at the other end.
    ///
    /// # Errors
    /// The call was not abandoned, so the other end owes an answer.
    pub(crate) fn released(&self, id: MuxId) -> Result<(), Malformed> {
        let slot = {
            let mut slots = self.slots.lock();
            if is_waiting(&slots.calls, id) {
                return Err(Malformed::new("released a call that waits for its answer"));
            }
            slots.take(id)
        };
        drop(slot);
        Ok(())
    }

    /// Abandons a call that waits, and tells the other end. `split` decides what the caller gets
    /// back of it, and what is kept until the other end has ended it; it must not use this stream.
    pub(crate) fn abandon<T>(&self, id: MuxId, split: impl FnOnce(C) -> (T, R)) -> Option<T> {
        let taken = {
            let mut slots = self.slots.lock();
            let slot = slots.get_mut(id)?;
            let (taken, kept) = split(slot.waiting.take()?);
            slot.kept = Some(kept);
            taken
        };
        // Behind the call itself, which is queued already.
        self.writer.push_frames(id, &[]);
        Some(taken)
    }

    /// Looks at each call that waits.
    pub(crate) fn each_waiting(&self, look: impl FnMut(&C)) {
        let slots = self.slots.lock();
        slots.calls.iter().filter_map(|(_, slot)| slot.waiting.as_ref()).for_each(look);
    }

    /// Closes the stream, and returns the calls that still wait.
    pub(crate) fn close(&self) -> Vec<CutOff<C>> {
        self.writer.close();
        let calls = std::mem::take(&mut self.slots.lock().calls);
        let cut_off = |(_, slot): (usize, CallSlot<C, R>)| {
            let sent = self.writer.has_sent(slot.end);
            slot.waiting.map(|call| CutOff { call, sent })
        };
        calls.into_iter().filter_map(cut_off).collect()
    }

    /// Abandons each call whose deadline passes, as `split` does. Cancel safe.
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
    // There are fewer slots than the limit, which is a `u32`.
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
