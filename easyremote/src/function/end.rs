//! How the function of a call ended, and what it has sent until then.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::Error;
use crate::wire::error::read_error;
use crate::wire::frame::{FRAME_HEADER, FrameKind, read_header};

/// How the function of a call ended, in [`Done::end`](crate::node::Done::end).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum End {
    /// It returned a value, or its stream ended.
    Returned,
    /// It returned an error, or the set-up of its stream did. With `err = "display"` that is an
    /// [`Error`](End::Error) of kind [`Failed`](crate::ErrorKind::Failed).
    Fault,
    /// The call ended with this error: the function panicked, its deadline passed, its caller left,
    /// or its result could not be sent.
    Error(Error),
}

impl End {
    /// What the frames that answer a call say of it, and the length of its value or error.
    pub(crate) fn of_frames(mut frames: &[u8]) -> (Self, u64) {
        while let Some((header, rest)) = frames.split_first_chunk::<FRAME_HEADER>() {
            let Ok((kind, length)) = read_header(*header, usize::MAX) else { break };
            let body = &rest[..length.min(rest.len())];
            let end = match kind {
                FrameKind::Body => Self::Returned,
                FrameKind::Fault => Self::Fault,
                FrameKind::Error => read_error(body).map_or(Self::Fault, Self::Error),
                // A trace comes before the answer.
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

/// What the stream of one call has sent.
#[derive(Debug, Default)]
pub(crate) struct StreamTally {
    items: AtomicU64,
    bytes: AtomicU64,
    end: OnceLock<End>,
}

impl StreamTally {
    /// Notes an item of so many bytes.
    pub(crate) fn note_item(&self, bytes: usize) {
        self.items.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Notes how the stream ended.
    pub(crate) fn note_end(&self, end: End) {
        // One stream has one end.
        let _ = self.end.set(end);
    }

    /// Items until now, and their bytes.
    pub(crate) fn so_far(&self) -> (u64, u64) {
        (self.items.load(Ordering::Relaxed), self.bytes.load(Ordering::Relaxed))
    }

    /// How the stream ended, if it has.
    pub(crate) fn end(&self) -> Option<End> {
        self.end.get().cloned()
    }
}
