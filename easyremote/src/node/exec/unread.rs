//! What functions have given and nobody reads, while others wait for the room that it takes.

use std::future::Future;
use std::pin::pin;

use futures::FutureExt;
use tokio::time::timeout;

use crate::call::executed::Evidence;
use crate::error::{Error, ErrorKind};
use crate::node::state::Session;
use crate::transport::quic::stream::Broken;
use crate::wire::limits::STALL_TIMEOUT;

/// Why something has not been written.
pub(super) enum Unwritten {
    /// The caller has left.
    Gone,
    /// Nobody reads it, and there is no room for others.
    InTheWay,
}

/// Waits for `writing` on a stream, until nobody has read of it for [`STALL_TIMEOUT`] while there is
/// no room for others. A client of this library has given the call up by then.
pub(super) async fn written(
    session: &Session,
    stream: u64,
    writing: impl Future<Output = Result<(), Broken>>,
) -> Result<(), Unwritten> {
    let windows = &session.windows;
    let mut writing = pin!(writing);
    // As a rule there is room at once, and no need of a clock.
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

/// The error of such a call.
pub(super) fn unread() -> Error {
    let text = format!(
        "nothing was read of what the function gave for {STALL_TIMEOUT:?}, and the node has no \
         room for others"
    );
    Error::new(ErrorKind::SlowConsumer, text).with_evidence(Evidence::Answered)
}
