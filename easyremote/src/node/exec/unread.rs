//! Limits how long an unread response may hold memory that other calls wait for.

use std::future::Future;
use std::pin::pin;

use futures::FutureExt;
use tokio::time::timeout;

use crate::call::executed::Evidence;
use crate::error::{Error, ErrorKind};
use crate::node::state::Session;
use crate::transport::quic::stream::Broken;
use crate::wire::limits::STALL_TIMEOUT;

/// Why a write did not complete.
pub(super) enum Unwritten {
    /// The caller has left.
    Gone,
    /// The caller does not read it, and the node's memory for unread items and answers is used up.
    InTheWay,
}

/// Waits for `writing` on a stream, until the caller has read nothing of it for [`STALL_TIMEOUT`]
/// while the memory for unread items and answers is used up. A client of this library has given up
/// the call by then.
pub(super) async fn written(
    session: &Session,
    stream: u64,
    writing: impl Future<Output = Result<(), Broken>>,
) -> Result<(), Unwritten> {
    let windows = &session.windows;
    let mut writing = pin!(writing);
    // Usually the write completes at once, and needs no timer.
    if let Some(written) = writing.as_mut().now_or_never() {
        return written.map_err(|_| Unwritten::Gone);
    }
    let mut allowed = windows.allowed(stream);
    loop {
        match timeout(STALL_TIMEOUT, writing.as_mut()).await {
            Ok(written) => return written.map_err(|_| Unwritten::Gone),
            Err(_) => {
                let before = std::mem::replace(&mut allowed, windows.allowed(stream));
                if allowed == before && session.node.unread.is_full() {
                    return Err(Unwritten::InTheWay);
                }
            }
        }
    }
}

/// Returns the error of a call that ended as [`Unwritten::InTheWay`].
pub(super) fn unread() -> Error {
    let text = format!(
        "the caller has read nothing of the response for {STALL_TIMEOUT:?}, and the node needs its \
         memory for other calls"
    );
    Error::new(ErrorKind::SlowConsumer, text).with_evidence(Evidence::Answered)
}
