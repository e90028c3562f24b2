//! An answer that is too long for the mux that its call came on.

use tokio::time::{Instant, sleep_until};

use crate::error::{ErrorKind, Executed};
use crate::function::handler::Reply;
use crate::node::session::Session;
use crate::transport::quic::reset;
use crate::transport::quic::stream::SendHalf;
use crate::wire::mux::{MuxId, put_overflow};

/// It took too long. The gateway gets a reset, perhaps without what came before it, also without the
/// id of the call.
pub(crate) struct Late;

/// Sends `reply` on a stream of its own, unless `deadline` passes before it is sent.
pub(crate) async fn send_overflow(
    session: &Session,
    id: MuxId,
    reply: Reply,
    deadline: Option<Instant>,
) -> Result<(), Late> {
    // If the gateway is gone, nobody needs it.
    let Ok(send) = session.connection.open_uni().await else { return Ok(()) };
    let mut send = SendHalf::within(send, &session.credits);
    let mut stopped = send.stopped();
    let mut first = Vec::new();
    put_overflow(&mut first, id);
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
