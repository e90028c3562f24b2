//! What is kept of a resumable stream, as its caller has asked for.

use bytes::Bytes;

use crate::node::exec::resumable::replay::ReplayBuffer;
use crate::node::exec::resumable::ring::ReplayRing;

/// The items of a resumable stream that can be read again.
#[derive(Debug)]
pub(super) enum RetainedItems {
    /// Those that its reader has not taken.
    Untaken(ReplayBuffer),
    /// The last ones, because the reader may lose what it has taken.
    Last(Box<ReplayRing>),
}

impl RetainedItems {
    /// Returns whether the reader may come back for items that it has taken.
    pub(super) fn are_last(&self) -> bool {
        matches!(self, Self::Last(_))
    }

    /// Returns whether what is behind `taken` items can be read, of `sent` ones in all.
    pub(super) fn reach(&self, taken: u64, sent: u64) -> bool {
        match self {
            Self::Untaken(buffer) => (buffer.first()..=sent.max(buffer.first())).contains(&taken),
            Self::Last(ring) => (ring.first()..=ring.end()).contains(&taken),
        }
    }

    /// Waits until there is room for another batch. Cancel safe.
    pub(super) async fn room(&mut self) {
        match self {
            Self::Untaken(buffer) => buffer.room().await,
            Self::Last(ring) => ring.room().await,
        }
    }

    /// Adds frames, each of them whole.
    pub(super) fn push(&mut self, frames: Bytes) {
        match self {
            Self::Untaken(buffer) => buffer.push(frames),
            Self::Last(ring) => ring.push(frames),
        }
    }

    /// Returns what has not been passed to the current leg.
    pub(super) fn take_unsent(&mut self) -> Vec<Bytes> {
        match self {
            Self::Untaken(buffer) => buffer.take_unsent(),
            Self::Last(ring) => ring.take_unsent(),
        }
    }

    /// Notes that the reader has taken as many items.
    pub(super) fn note_taken(&mut self, taken: u64) {
        match self {
            Self::Untaken(buffer) => buffer.trim(taken),
            Self::Last(_) => {}
        }
    }

    /// Begins a leg behind `taken` items, which are in [`reach`](Self::reach).
    pub(super) fn attach(&mut self, taken: u64) {
        match self {
            Self::Untaken(buffer) => {
                buffer.trim(taken);
                buffer.rewind();
            }
            Self::Last(ring) => ring.attach(taken),
        }
    }

    /// Notes that the reader is away.
    pub(super) fn leave(&mut self) {
        match self {
            Self::Untaken(_) => {}
            Self::Last(ring) => ring.leave(),
        }
    }
}
