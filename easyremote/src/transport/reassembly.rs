//! Memory budgets for messages that have started to arrive, so that a peer cannot start many large
//! messages without ending any.

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

/// Memory budget of a caller, separately for responses and for items.
///
/// Messages of up to 64 KiB are not counted.
#[derive(Debug)]
pub(crate) struct ReassemblyBudget {
    bytes: u64,
    /// Permits for responses, in KiB.
    answers: Semaphore,
    /// Bytes of items.
    items: Arc<AtomicU64>,
}

impl ReassemblyBudget {
    /// Creates a budget of `bytes`, but at least of one message.
    pub(crate) fn new(bytes: u64, max_message: usize) -> Self {
        let bytes = bytes.max(max_message as u64 + 1_024).min(MAX_ROOM);
        let answers = usize::try_from(bytes >> 10).unwrap_or(Semaphore::MAX_PERMITS);
        Self { bytes, answers: Semaphore::new(answers), items: Arc::default() }
    }

    /// Reads the next frame like [`RecvHalf::frame`]. A large frame waits for budget for its whole
    /// length before more of it is read: a half-read frame would block others.
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
                    // A frame longer than any message is rejected by the buffer without budget.
                    let whole = (buffer.announced() as u64).min(self.bytes) >> 10;
                    let whole = u32::try_from(whole).unwrap_or(u32::MAX);
                    // The semaphore is never closed.
                    place = Some(self.answers.acquire_many(whole).await.ok());
                }
                other => return other,
            }
        }
    }

    /// Reads the response to a unary call, with the budget as in [`frame`](Self::frame).
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
                let cause = Malformed::new("the stream ended before the response");
                return Err(FrameError::Malformed(cause));
            };
            if let Some(response) = reader.take(frame).map_err(FrameError::Malformed)? {
                return Ok(response);
            }
        }
    }

    /// Returns an empty charge on the budget for one stream of items.
    pub(crate) fn of_stream(&self) -> MemoryCharge {
        MemoryCharge::new(&self.items, self.bytes)
    }
}

/// More than any machine has; on 32-bit machines a semaphore has at most 2^29 permits.
const MAX_ROOM: u64 = 1 << 38;

/// The error of a stream whose items exceed the budget.
pub(crate) fn no_room() -> Error {
    let text = "other streams use the whole budget for unfinished items: read fewer streams of \
                large items at a time, or set `max_unfinished`";
    Error::new(ErrorKind::Overloaded, text)
}
