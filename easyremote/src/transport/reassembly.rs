//! Room for messages that have begun to arrive: what bounds the memory of a side whose peer begins
//! many large ones and ends none.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use tokio::sync::Semaphore;

use crate::error::{Error, ErrorKind};
use crate::gauge::MemoryCharge;
use crate::transport::quic::stream::{FrameError, RecvHalf};
use crate::wire::bytes::Malformed;
use crate::wire::frame::{Frame, FrameBuffer};
use crate::wire::limits::SMALL_MESSAGE;
use crate::wire::response::{Response, ResponseReader};

/// Room for the answers, and apart from that for the items, that a caller receives.
///
/// What has up to 64 KiB needs none.
#[derive(Debug)]
pub(crate) struct ReassemblyBudget {
    bytes: u64,
    /// In KiB, of answers.
    answers: Semaphore,
    /// Bytes of items.
    items: Arc<AtomicU64>,
}

impl ReassemblyBudget {
    /// For `bytes`, and at least for one message.
    pub(crate) fn new(bytes: u64, max_message: usize) -> Self {
        let bytes = bytes.max(max_message as u64 + 1_024).min(MAX_ROOM);
        let answers = usize::try_from(bytes >> 10).unwrap_or(Semaphore::MAX_PERMITS);
        Self { bytes, answers: Semaphore::new(answers), items: Arc::default() }
    }

    /// Reads the next frame as [`RecvHalf::frame`] does. A large one waits until there is room for
    /// the whole of it, before more of it is read: half of it would be in the way of others.
    ///
    /// # Errors
    /// As for [`RecvHalf::frame`].
    ///
    /// # Cancel safety
    /// As for [`RecvHalf::frame`].
    pub(crate) async fn frame(
        &self,
        recv: &mut RecvHalf,
        buffer: &mut FrameBuffer,
    ) -> Result<Option<Frame>, FrameError> {
        let mut place = None;
        loop {
            let enough = |bytes| bytes <= SMALL_MESSAGE || place.is_some();
            match recv.frame_if(buffer, enough).await {
                Err(FrameError::NoRoom) => {
                    // A frame longer than any message is refused without any room.
                    let whole = (buffer.announced() as u64).min(self.bytes) >> 10;
                    let whole = u32::try_from(whole).unwrap_or(u32::MAX);
                    // Nobody closes it.
                    place = Some(self.answers.acquire_many(whole).await.ok());
                }
                other => return other,
            }
        }
    }

    /// Reads the response to a call of one result, as [`frame`](Self::frame) reads a frame.
    ///
    /// # Errors
    /// As for [`RecvHalf::frame`]; a stream that ends before the response does is `Malformed`.
    pub(crate) async fn response(
        &self,
        recv: &mut RecvHalf,
        buffer: &mut FrameBuffer,
    ) -> Result<Response, FrameError> {
        let mut reader = ResponseReader::default();
        loop {
            let Some(frame) = self.frame(recv, buffer).await? else {
                let cause = Malformed::new("the answer ends before it begins");
                return Err(FrameError::Malformed(cause));
            };
            if let Some(response) = reader.take(frame).map_err(FrameError::Malformed)? {
                return Ok(response);
            }
        }
    }

    /// A part of the room, of which nothing is taken yet, for one stream of items.
    pub(crate) fn of_stream(&self) -> MemoryCharge {
        MemoryCharge::new(&self.items, self.bytes)
    }
}

/// More than any machine has; a semaphore counts up to 2^29 on small ones.
const MAX_ROOM: u64 = 1 << 38;

/// The error of a stream for whose items there is no room.
pub(crate) fn no_room() -> Error {
    let text = "all the room for unfinished items is taken by other streams: read fewer streams of \
                large items at a time, or set `max_unfinished`";
    Error::new(ErrorKind::Overloaded, text)
}
