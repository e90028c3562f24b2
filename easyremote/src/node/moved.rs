//! An answer that is too long for the lane that its call came on.

use std::sync::Arc;

use tokio::time::{Instant, sleep_until};

use crate::error::{ErrorKind, Executed};
use crate::function::handler::Reply;
use crate::node::session::Session;
use crate::transport::reset;
use crate::transport::stream::SendHalf;
use crate::wire::lane::{LaneId, put_moved};

/// Sends `reply` on a stream of its own.
pub(super) async fn send_moved(
    session: Arc<Session>,
    id: LaneId,
    reply: Reply,
    deadline: Option<Instant>,
) {
    // If the gateway is gone, nobody needs it.
    let Ok(send) = session.connection.open_uni().await else { return };
    let mut send = SendHalf::within(send, &session.credits);
    let mut stopped = send.stopped();
    let mut first = Vec::new();
    put_moved(&mut first, id);
    let writing = async {
        send.write(&first).await?;
        send.write(&reply).await
    };
    let late = async {
        match deadline {
            Some(deadline) => sleep_until(deadline).await,
            None => std::future::pending().await,
        }
    };
    let written = tokio::select! {
        biased;
        written = writing => written,
        _ = &mut stopped => return,
        () = late => {
            return send.reset(reset::code(ErrorKind::DeadlineExceeded, Executed::Maybe));
        }
    };
    if written.is_ok() {
        send.finish();
    }
}
