//! Overflow responses: responses that are too long for a multiplexed stream, each on a separate
//! unidirectional stream.

use std::sync::Arc;

use crate::transport::quic::stream::{Broken, RecvHalf, SendHalf};
use crate::transport::quic::windows::StreamWindows;
use crate::wire::frame::{FrameBuffer, FrameKind};
use crate::wire::mux::{MuxId, put_overflow, read_overflow};

/// Opens the stream for an overflow response. Write [`first_bytes`] to it first.
///
/// # Errors
/// The connection has ended.
pub(crate) async fn open(
    connection: &quinn::Connection,
    windows: &Arc<StreamWindows>,
) -> Result<SendHalf, Broken> {
    let send = connection.open_uni().await.map_err(Broken::Connection)?;
    Ok(SendHalf::within(send, windows))
}

/// Returns the first bytes of the overflow response to the call `id`: its id, followed by `frames`.
pub(crate) fn first_bytes(id: MuxId, frames: &[u8]) -> Vec<u8> {
    let mut first = Vec::with_capacity(frames.len() + 16);
    put_overflow(&mut first, id);
    first.extend_from_slice(frames);
    first
}

/// Accepts overflow responses until the connection ends, and passes each stream to `each`.
pub(crate) async fn accept(
    connection: &quinn::Connection,
    windows: &Arc<StreamWindows>,
    mut each: impl FnMut(RecvHalf),
) -> Broken {
    loop {
        match connection.accept_uni().await {
            Ok(recv) => each(RecvHalf::within(recv, windows)),
            Err(cause) => return Broken::Connection(cause),
        }
    }
}

/// Reads the id of the call that a response belongs to. `None` if the stream breaks or starts with
/// another frame.
///
/// No timeout applies: a lost packet can delay the id for as long as the connection lives, and the
/// number of such streams is limited.
pub(crate) async fn read_id(recv: &mut RecvHalf, buffer: &mut FrameBuffer) -> Option<MuxId> {
    match recv.frame(buffer).await {
        Ok(Some(frame)) if frame.kind == FrameKind::Overflow => read_overflow(&frame.body).ok(),
        _ => None,
    }
}
