//! Overflow responses: those that are too long for a multiplexed stream, each on a unidirectional
//! stream of its own.

use std::sync::Arc;

use crate::transport::quic::stream::{Broken, RecvHalf, SendHalf};
use crate::transport::quic::windows::StreamWindows;
use crate::wire::frame::{FrameBuffer, FrameKind};
use crate::wire::mux::{MuxId, put_overflow, read_overflow};

/// Opens the stream for the response to the call `id`. Its first frame, and `frames` behind it, are
/// to be written with [`first_bytes`].
///
/// # Errors
/// The connection ended.
pub(crate) async fn open(
    connection: &quinn::Connection,
    windows: &Arc<StreamWindows>,
) -> Result<SendHalf, Broken> {
    let send = connection.open_uni().await.map_err(Broken::Connection)?;
    Ok(SendHalf::within(send, windows))
}

/// What begins the response to the call `id`, whose own bytes begin with `frames`.
pub(crate) fn first_bytes(id: MuxId, frames: &[u8]) -> Vec<u8> {
    let mut first = Vec::with_capacity(frames.len() + 16);
    put_overflow(&mut first, id);
    first.extend_from_slice(frames);
    first
}

/// Accepts overflow responses until the connection ends; `each` gets the stream of each.
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

/// Reads which call a response is for. `None` if the stream breaks or begins with something else.
///
/// No timer limits this: a lost packet can delay it for as long as the connection lives, and the
/// number of such streams is limited.
pub(crate) async fn read_id(recv: &mut RecvHalf, buffer: &mut FrameBuffer) -> Option<MuxId> {
    match recv.frame(buffer).await {
        Ok(Some(frame)) if frame.kind == FrameKind::Overflow => read_overflow(&frame.body).ok(),
        _ => None,
    }
}
