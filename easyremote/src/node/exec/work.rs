//! Ends of user code other than returning, the threads of iterators, and memory for responses.

use std::any::Any;
use std::thread;

use crate::call::executed::Evidence;
use crate::error::{Error, ErrorKind};
use crate::function::handler::Reply;
use crate::function::panics::panicked;
use crate::wire::error::put_error;

/// Why a function has not returned.
pub(super) enum Died {
    Panicked(Box<dyn Any + Send>),
    /// Its task was dropped.
    Aborted,
    /// It was not started.
    Refused(Error),
}

impl Died {
    /// Converts it into the error of a call of `function` at `node`; `evidence` tells whether the
    /// function has started.
    pub(super) fn into_error(self, function: &str, node: &str, evidence: Evidence) -> Error {
        let error = match self {
            Self::Panicked(panic) => panicked(function, &*panic),
            Self::Aborted => {
                let text = format!("the node shut down while `{function}` was running");
                Error::new(ErrorKind::Cancelled, text).with_evidence(evidence)
            }
            Self::Refused(error) => error,
        };
        error.with_node(node)
    }
}

/// Returns the frames of a response that is an error.
pub(super) fn error_frames(error: &Error) -> Reply {
    let mut frames = Reply::new();
    put_error(&mut frames, error);
    frames
}

/// A buffer that responses use one after the other.
#[derive(Default)]
pub(super) struct ReplyMemory(Reply);

/// Longest buffer that is kept, in bytes.
const KEPT: usize = 4 << 10;

impl ReplyMemory {
    /// Returns an empty buffer for a response.
    pub(super) fn take(&mut self) -> Reply {
        std::mem::take(&mut self.0)
    }

    /// Keeps an empty buffer for the next response, unless it is long.
    pub(super) fn keep(&mut self, buffer: Reply) {
        if buffer.capacity() <= KEPT {
            self.0 = buffer;
        }
    }
}

/// Spawns a dedicated thread for `work`.
///
/// # Errors
/// `Overloaded` if the system cannot start a thread.
pub(super) fn own_thread(work: impl FnOnce() + Send + 'static) -> Result<(), Error> {
    let spawned = thread::Builder::new().name("easyremote-iter".into()).spawn(work);
    spawned.map(drop).map_err(|error| {
        let text = "the node cannot start a thread for an iterator";
        Error::new(ErrorKind::Overloaded, text).with_source(error)
    })
}
