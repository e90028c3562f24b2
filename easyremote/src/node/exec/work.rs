//! How user code ends, and the threads of iterators.

use std::any::Any;
use std::thread;

use crate::error::{Error, ErrorKind};

/// How a function ended without returning.
pub(super) enum Died {
    Panicked(Box<dyn Any + Send>),
    /// It was dropped.
    Aborted,
    /// It was not started.
    Refused(Error),
}

/// Runs `work` on a thread of its own.
///
/// # Errors
/// `Overloaded` if the system has no thread for it.
pub(super) fn own_thread(work: impl FnOnce() + Send + 'static) -> Result<(), Error> {
    let spawned = thread::Builder::new().name("easyremote-iter".into()).spawn(work);
    spawned.map(drop).map_err(|error| {
        let text = "the node has no thread for an iterator";
        Error::new(ErrorKind::Overloaded, text).with_source(error)
    })
}
