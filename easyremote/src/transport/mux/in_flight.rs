//! The calling end of a mux: who waits for which answer.

use std::convert::Infallible;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use slab::Slab;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::transport::mux::deadlines::{Deadlines, watch};
use crate::transport::mux::writer::{MuxWriter, Refused};
use crate::transport::quic::stream::{Broken, FrameError, RecvHalf};
use crate::wire::bytes::Malformed;
use crate::wire::mux::{MuxBuffer, MuxId};

/// The calling end of a mux. `C` is a call that waits for its answer.
#[derive(Debug)]
pub(crate) struct InFlightCalls<C> {
    out: MuxWriter,
    waiting: Mutex<Waiting<C>>,
    /// A call is over before all others.
    sooner: Notify,
    /// Most calls at a time.
    limit: usize,
}

#[derive(Debug)]
struct Waiting<C> {
    calls: Slab<Slot<C>>,
    /// Rises with each call, so that no id is used twice before it has gone round.
    generation: u32,
    deadlines: Deadlines,
}

#[derive(Debug)]
struct Slot<C> {
    generation: u32,
    /// Where its message ends.
    end: u64,
    call: C,
}

/// A call that has left its mux without an answer.
#[derive(Debug)]
pub(crate) struct Left<C> {
    pub(crate) call: C,
    /// Whether all of it has been sent, or still is.
    pub(crate) sent: bool,
}

/// Why a call is not on the mux; it is given back.
#[derive(Debug)]
pub(crate) enum Declined<C, E> {
    /// It would have to wait, or the mux is over: another way is better.
    Busy(C),
    /// It could not be written.
    Unwritten(C, E),
}

impl<C> InFlightCalls<C> {
    /// A mux for at most `limit` calls at a time.
    pub(crate) fn new(limit: u32) -> Self {
        let waiting =
            Waiting { calls: Slab::new(), generation: 0, deadlines: Deadlines::default() };
        Self {
            out: MuxWriter::default(),
            waiting: Mutex::new(waiting),
            sooner: Notify::new(),
            limit: limit as usize,
        }
    }

    pub(crate) fn out(&self) -> &MuxWriter {
        &self.out
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting<C>> {
        // Every section leaves the slots whole.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
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
        if self.out.is_blocked() {
            return Err(Declined::Busy(call));
        }
        let mut waiting = self.waiting();
        if waiting.calls.len() >= self.limit {
            return Err(Declined::Busy(call));
        }
        waiting.generation = waiting.generation.wrapping_add(1);
        let generation = waiting.generation;
        let entry = waiting.calls.vacant_entry();
        let (key, id) = (entry.key(), id(generation, entry.key()));
        match self.out.push(id, |out| put(&call, out)) {
            Ok(end) => entry.insert(Slot { generation, end, call }),
            Err(Refused::Closed) => return Err(Declined::Busy(call)),
            Err(Refused::Unwritten(error)) => return Err(Declined::Unwritten(call, error)),
        };
        debug_assert!(waiting.calls.contains(key));
        let Some(deadline) = deadline else { return Ok(id) };
        let Waiting { calls, deadlines, .. } = &mut *waiting;
        if deadlines.add(deadline, id, calls.len(), |id| slot(calls, id).is_some()) {
            self.sooner.notify_one();
        }
        Ok(id)
    }

    /// The call that `id` stands for, which has its answer; `None` if it is not waiting any more.
    pub(crate) fn take(&self, id: MuxId) -> Option<C> {
        self.waiting().take(id).map(|slot| slot.call)
    }

    /// Gives a call up, if it still waits, and tells the other end.
    pub(crate) fn withdraw(&self, id: MuxId) -> Option<Left<C>> {
        let slot = self.waiting().take(id)?;
        // What has not been written of it yet still is, before this: it may run for a moment.
        self.out.push_frames(id, &[]);
        Some(Left { call: slot.call, sent: true })
    }

    /// Takes no more calls, and gives those that still wait.
    pub(crate) fn close(&self) -> Vec<Left<C>> {
        self.out.close();
        let calls = std::mem::take(&mut self.waiting().calls);
        let left = |(_, slot): (usize, Slot<C>)| Left {
            sent: self.out.has_sent(slot.end),
            call: slot.call,
        };
        calls.into_iter().map(left).collect()
    }

    /// Gives up each call whose deadline passes, and hands it to `late`. Cancel safe.
    pub(crate) async fn expire(&self, mut late: impl FnMut(Left<C>)) -> Infallible {
        let over = |now| self.waiting().deadlines.take(now);
        watch(
            &self.sooner,
            || self.waiting().deadlines.next(),
            |now| {
                while let Some(id) = over(now) {
                    if let Some(left) = self.withdraw(id) {
                        late(left);
                    }
                }
            },
        )
        .await
    }
}

impl<C> Waiting<C> {
    fn take(&mut self, id: MuxId) -> Option<Slot<C>> {
        slot(&self.calls, id)?;
        self.calls.try_remove(key(id))
    }
}

fn slot<C>(calls: &Slab<Slot<C>>, id: MuxId) -> Option<&Slot<C>> {
    let generation = (id >> 32) as u32;
    calls.get(key(id)).filter(|slot| slot.generation == generation)
}

fn id(generation: u32, key: usize) -> MuxId {
    // There are fewer slots than a mux's limit.
    u64::from(generation) << 32 | key as u64
}

fn key(id: MuxId) -> usize {
    (id & u64::from(u32::MAX)) as usize
}

/// Hands each message that arrives to `each`, `first` being what has come already, until that or
/// the stream fails. It waits for `ready` before it reads any further: whoever asks without
/// listening is not to fill this side's memory.
pub(crate) async fn read_messages<R: Future<Output = ()>>(
    recv: &mut RecvHalf,
    first: &[u8],
    mut ready: impl FnMut() -> R,
    mut each: impl FnMut(MuxId, Bytes) -> Result<(), Malformed>,
) -> FrameError {
    let mut buffer = MuxBuffer::default();
    buffer.push(first);
    loop {
        loop {
            let handled = match buffer.next() {
                Ok(Some((id, frames))) => each(id, frames),
                Ok(None) => break,
                Err(cause) => Err(cause),
            };
            if let Err(cause) = handled {
                return FrameError::Malformed(cause);
            }
        }
        ready().await;
        match recv.read().await {
            Ok(Some(chunks)) => chunks.iter().for_each(|chunk| buffer.push(chunk)),
            // No end of a mux ends a call well.
            Ok(None) => return FrameError::Broken(Broken::Local),
            Err(broken) => return FrameError::Broken(broken),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(_: &&str, _: &mut Vec<u8>) -> Result<(), Infallible> {
        Ok(())
    }

    #[test]
    fn an_answer_that_comes_too_late_is_nobodys() {
        let mux = InFlightCalls::new(2);
        let one = mux.submit("one", None, put).unwrap();
        let left = mux.withdraw(one).unwrap();
        assert!(left.call == "one" && left.sent, "its message is written all the same");
        let two = mux.submit("two", None, put).unwrap();
        assert_eq!(key(one), key(two), "the slot is used again");
        assert_eq!((mux.take(one), mux.withdraw(one).is_none()), (None, true));
        assert_eq!((mux.take(two), mux.take(two)), (Some("two"), None));
    }

    #[test]
    fn a_lane_that_is_full_or_over_declines() {
        let mux = InFlightCalls::new(1);
        mux.submit("one", None, put).unwrap();
        assert!(matches!(mux.submit("two", None, put), Err(Declined::Busy("two"))));
        let left = mux.close();
        assert!(left.len() == 1 && !left[0].sent && left[0].call == "one");
        assert!(matches!(mux.submit("three", None, put), Err(Declined::Busy("three"))));
        let mux = InFlightCalls::new(1);
        let fails = |_: &&str, out: &mut Vec<u8>| {
            out.push(7);
            Err("too long")
        };
        assert!(matches!(mux.submit("a", None, fails), Err(Declined::Unwritten("a", "too long"))));
        assert_eq!(mux.out().backlog(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn each_call_is_over_at_its_deadline_unless_it_ended_before() {
        use std::time::Duration;
        let mux = InFlightCalls::new(10);
        let at = |seconds| Some(Instant::now() + Duration::from_secs(seconds));
        let three = mux.submit("three", at(3), put).unwrap();
        mux.submit("two", at(2), put).unwrap();
        mux.submit("never", None, put).unwrap();
        mux.submit("four", at(4), put).unwrap();
        mux.take(three).unwrap();
        let mut late = Vec::new();
        let expiring = mux.expire(|left| late.push(left.call));
        assert!(tokio::time::timeout(Duration::from_secs(10), expiring).await.is_err());
        assert_eq!(late, ["two", "four"]);
    }
}
