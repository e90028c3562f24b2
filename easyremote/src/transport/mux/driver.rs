//! The driver of a multiplexed stream, for both ends: writes, reads, and enforces the protocol.

use std::convert::Infallible;

use bytes::Bytes;

use crate::error::ErrorKind;
use crate::transport::mux::writer::MuxWriter;
use crate::transport::quic::reset;
use crate::transport::quic::stream::{Broken, RecvHalf, SendHalf};
use crate::transport::quinn_ext::congestion;
use crate::wire::bytes::Malformed;
use crate::wire::frame::{self, FrameKind};
use crate::wire::mux::{MuxBuffer, MuxId};

/// An open multiplexed stream, and its connection.
pub(crate) struct OpenMux {
    pub(crate) connection: quinn::Connection,
    pub(crate) send: SendHalf,
    pub(crate) recv: RecvHalf,
    /// Bytes that have arrived already.
    pub(crate) first: Bytes,
}

impl OpenMux {
    /// Opens a stream on `connection` once `writer` has a message.
    ///
    /// No timeout applies: a lost packet can delay it for as long as the connection lives.
    ///
    /// # Errors
    /// The connection has ended.
    pub(crate) async fn open(
        connection: quinn::Connection,
        writer: &MuxWriter,
    ) -> Result<Self, Broken> {
        tokio::select! {
            () = writer.has_messages() => {}
            cause = connection.closed() => return Err(Broken::Connection(cause)),
        }
        let (send, recv) = connection.open_bi().await.map_err(Broken::Connection)?;
        let (mut send, recv) = (SendHalf::new(send), RecvHalf::new(recv));
        let mut first = Vec::new();
        frame::put(&mut first, FrameKind::Mux, &[]);
        send.write(&first).await?;
        Ok(Self { connection, send, recv, first: Bytes::new() })
    }

    /// Wraps a stream that the peer has opened, which was handled as a single call until its first
    /// frame.
    pub(crate) fn accepted(
        connection: quinn::Connection,
        (mut send, mut recv): (SendHalf, RecvHalf),
        first: Bytes,
    ) -> Self {
        send.lift();
        recv.lift();
        Self { connection, send, recv, first }
    }

    /// Writes the messages of `writer` and passes each message that arrives to `each`, until the
    /// stream breaks. Waits for `ready` before it reads on: a peer that sends without reading must
    /// not fill this side's memory.
    ///
    /// A peer that violates the protocol is disconnected: its violation may affect all calls of the
    /// stream.
    pub(crate) async fn drive<R: Future<Output = ()>>(
        mut self,
        writer: &MuxWriter,
        ready: impl FnMut() -> R,
        each: impl FnMut(MuxId, Bytes) -> Result<(), Malformed>,
    ) -> Broken {
        let reading = read_messages(&mut self.recv, &self.first, ready, each);
        // The branch that loses is dropped half-way, which is safe: the stream is broken, and
        // nothing uses it again.
        let broken = tokio::select! {
            broken = writer.write_to(&mut self.send, &self.connection) => broken,
            ended = reading => match ended {
                Ok(never) => match never {},
                Err(ReadError::Broken(broken)) => broken,
                Err(ReadError::Malformed(cause)) => {
                    disconnect(&self.connection, &cause);
                    Broken::Local
                }
            },
        };
        writer.close();
        broken
    }
}

/// Closes the connection of a peer that violates the protocol of a multiplexed stream.
pub(crate) fn disconnect(connection: &quinn::Connection, cause: &Malformed) {
    congestion::close(connection, reset::code(ErrorKind::Protocol), cause.text.as_bytes());
}

enum ReadError {
    Broken(Broken),
    Malformed(Malformed),
}

async fn read_messages<R: Future<Output = ()>>(
    recv: &mut RecvHalf,
    first: &[u8],
    mut ready: impl FnMut() -> R,
    mut each: impl FnMut(MuxId, Bytes) -> Result<(), Malformed>,
) -> Result<Infallible, ReadError> {
    let mut buffer = MuxBuffer::default();
    buffer.push(first);
    loop {
        while let Some((id, frames)) = buffer.next().map_err(ReadError::Malformed)? {
            each(id, frames).map_err(ReadError::Malformed)?;
        }
        // After the messages that have arrived, so that they are handled even if the peer is
        // throttled.
        ready().await;
        match recv.read().await.map_err(ReadError::Broken)? {
            Some(chunks) => chunks.iter().for_each(|chunk| buffer.push(chunk)),
            // A FIN is not a valid end: calls may still be in flight.
            None => return Err(ReadError::Broken(Broken::Local)),
        }
    }
}
