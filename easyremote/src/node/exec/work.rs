//! How user code ends, and the threads of iterators.

use std::any::Any;
use std::thread;

use crate::call::executed::Evidence;
use crate::error::{Error, ErrorKind};
use crate::function::handler::panicked;

/// How a function ended without returning.
pub(super) enum Died {
    Panicked(Box<dyn Any + Send>),
    /// It was dropped.
    Aborted,
    /// It was not started.
    Refused(Error),
}

impl Died {
    /// The error of a call of `function` at the node called `node`, where `evidence` says whether
    /// it has started.
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
