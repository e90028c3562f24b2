//! An answer that is too long for the lane that its call came on.

use tokio::time::{Instant, sleep_until};

use crate::error::{ErrorKind, Executed};
use crate::function::handler::Reply;
use crate::node::session::Session;
use crate::transport::reset;
use crate::transport::stream::SendHalf;
use crate::wire::lane::{LaneId, put_moved};

/// It took too long. The gateway gets a reset, perhaps without what came before it, also without the
/// id of the call.
pub(super) struct Late;

/// Sends `reply` on a stream of its own, unless `deadline` passes before it is sent.
pub(super) async fn send_moved(
    session: &Session,
    id: LaneId,
    reply: Reply,
    deadline: Option<Instant>,
) -> Result<(), Late> {
    // If the gateway is gone, nobody needs it.
    let Ok(send) = session.connection.open_uni().await else { return Ok(()) };
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
        _ = &mut stopped => return Ok(()),
        () = late => {
            send.reset(reset::code(ErrorKind::DeadlineExceeded, Executed::Maybe));
            return Err(Late);
        }
    };
    if written.is_ok() {
        send.finish();
    }
    Ok(())
}
