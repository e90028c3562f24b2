//! How long a resumable stream is kept, and the errors of those that are not.

use std::time::Duration;

use crate::call::executed::Evidence;
use crate::error::{Error, ErrorKind};

/// How long a stream whose reader is lost is kept. A client that reconnects does so within seconds;
/// until then the function holds its permits.
pub(super) const PARKED: Duration = Duration::from_secs(30);

/// The error of a stream that cannot be continued. It is the same for all causes, so that nobody
/// learns from it which calls exist.
pub(super) fn gap() -> Error {
    let text = format!(
        "the node does not have the stream, or what follows in it, any more: it keeps a stream for \
         {PARKED:?} after its caller was lost, and at most the bytes that `replay` of its function \
         says, and loses it when it restarts"
    );
    Error::new(ErrorKind::Gap, text).with_evidence(Evidence::Sent)
}

/// The error of a stream whose function has ended without an answer.
pub(super) fn given_up() -> Error {
    let text = "the function was cancelled at its node";
    Error::new(ErrorKind::Cancelled, text).with_evidence(Evidence::Sent)
}

pub(super) fn busy() -> Error {
    let text = "another attempt to resume the stream is under way";
    Error::new(ErrorKind::Overloaded, text).with_retry_after(Duration::from_millis(100))
}
