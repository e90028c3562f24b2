//! How the function of a call ended, and how much it has sent.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use crate::call::function_meter::CallEnd;
use crate::error::Error;
use crate::wire::error::read_error;
use crate::wire::frame::{FRAME_HEADER, FrameKind, read_header};

/// How the function of a call ended, in [`Done::end`](crate::node::Done::end).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum End {
    /// It returned a value, or its stream ended without an error.
    Returned,
    /// It returned its own error, or the set-up of its stream did. With `err = "display"` that is
    /// reported as an [`Error`](End::Error) of kind [`Failed`](crate::ErrorKind::Failed) instead.
    Fault,
    /// The call ended with this error: the function panicked, its deadline passed, its caller left,
    /// or its result could not be sent.
    Error(Error),
}

impl End {
    /// Returns what is counted of the end.
    pub(crate) fn counted(&self) -> CallEnd {
        match self {
            Self::Returned => CallEnd::Returned,
            Self::Fault => CallEnd::Fault,
            Self::Error(error) => CallEnd::Error(error.kind()),
        }
    }

    /// Returns how a call ended according to its response frames, and the length of its value or
    /// error in bytes.
    pub(crate) fn of_frames(mut frames: &[u8]) -> (Self, u64) {
        while let Some((header, rest)) = frames.split_first_chunk::<FRAME_HEADER>() {
            let Ok((kind, length)) = read_header(*header, usize::MAX) else { break };
            let body = &rest[..length.min(rest.len())];
            let end = match kind {
                FrameKind::Body => Self::Returned,
                FrameKind::Fault => Self::Fault,
                FrameKind::Error => read_error(body).map_or(Self::Fault, Self::Error),
                // A trace precedes the answer.
                _ => {
                    frames = &rest[body.len()..];
                    continue;
                }
            };
            return (end, body.len() as u64);
        }
        (Self::Returned, 0)
    }
}

/// Counts what the stream of one call has sent, and what was left out of what its caller sent.
#[derive(Debug, Default)]
pub(crate) struct StreamTally {
    items: AtomicU64,
    bytes: AtomicU64,
    skipped: AtomicU64,
    /// Where the fields are counted that were sent by a lossy call, and are unknown here.
    left_out: OnceLock<Arc<AtomicU64>>,
    end: OnceLock<End>,
}

impl StreamTally {
    /// Notes how many items, of how many bytes, have been encoded in all.
    // Stores and no additions: a stream has one writer, and this is done for each item.
    pub(crate) fn note_items(&self, items: u64, bytes: u64) {
        self.items.store(items, Ordering::Relaxed);
        self.bytes.store(bytes, Ordering::Relaxed);
    }

    /// Notes how many items have been left out in all.
    pub(crate) fn note_skipped(&self, items: u64) {
        self.skipped.store(items, Ordering::Relaxed);
    }

    /// Notes fields of the caller's arguments or items that are left out.
    pub(crate) fn note_left_out(&self, fields: u64) {
        if let Some(counter) = self.left_out.get().filter(|_| fields > 0) {
            counter.fetch_add(fields, Ordering::Relaxed);
        }
    }

    /// Sets where fields are counted that are left out.
    #[cfg(feature = "node")]
    pub(crate) fn count_left_out(&self, counter: &Arc<AtomicU64>) {
        // Set once, before the call starts.
        let _ = self.left_out.set(counter.clone());
    }

    /// Returns the number of items that have been left out so far.
    #[cfg(feature = "node")]
    pub(crate) fn skipped(&self) -> u64 {
        self.skipped.load(Ordering::Relaxed)
    }

    /// Notes how the stream ended.
    pub(crate) fn note_end(&self, end: End) {
        // The first end counts.
        let _ = self.end.set(end);
    }

    /// Returns the number of items so far, and their bytes.
    pub(crate) fn so_far(&self) -> (u64, u64) {
        (self.items.load(Ordering::Relaxed), self.bytes.load(Ordering::Relaxed))
    }

    /// Returns how the stream ended; `None` while it runs.
    pub(crate) fn end(&self) -> Option<End> {
        self.end.get().cloned()
    }
}
