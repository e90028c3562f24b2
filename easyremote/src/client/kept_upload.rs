//! The client stream of a resumable call: what the node may have to get again.

use std::future::pending;

use bytes::Bytes;

use crate::transport::byte_channel::{ByteReceiver, Received};
use crate::wire::bytes::Malformed;
use crate::wire::resume::NO_MORE;
use crate::wire::unacked::{UnackedFrames, items_in};

/// Bytes that are kept for the node until it has them. While they are more, the caller's stream is
/// not polled. Four times the window of a stream, as for the replay buffer of a node: it slows no
/// caller over a common network down.
const KEPT: usize = 1 << 20;

/// The items of a client stream that the node has not acknowledged, and where further ones come
/// from.
///
/// Holds at most [`KEPT`] bytes, and one batch from the caller's task.
#[derive(Debug)]
pub(super) struct KeptUpload {
    /// `None` once the caller's stream has ended, or the function wants no more.
    source: Option<ByteReceiver<()>>,
    frames: UnackedFrames,
    /// The number of items that have been added.
    items: u64,
    /// The number of items that have been passed to a QUIC stream.
    passed: u64,
    /// Whether the function wants no more.
    unwanted: bool,
}

impl KeptUpload {
    /// Creates it for the frames that come out of `source`, which has no parts of frames.
    pub(super) fn new(source: ByteReceiver<()>) -> Self {
        let (source, frames) = (Some(source), UnackedFrames::behind(0));
        Self { source, frames, items: 0, passed: 0, unwanted: false }
    }

    /// Passes everything to another QUIC stream.
    pub(super) fn rewind(&mut self) {
        self.frames.rewind();
    }

    /// Returns what has not been passed to the current QUIC stream.
    pub(super) fn take_unsent(&mut self) -> Vec<Bytes> {
        self.passed = self.items;
        self.frames.take_unsent()
    }

    /// Waits until items have been added, or the caller's stream has ended. While there is no room
    /// for items, and once there will be no more, it never resolves. Cancel safe.
    pub(super) async fn fill(&mut self) {
        let room = self.frames.bytes() < KEPT;
        let Some(source) = self.source.as_mut().filter(|_| room) else { return pending().await };
        match source.receive().await {
            Received::Batch(batch) => {
                for chunk in batch {
                    self.items += items_in(&chunk);
                    self.frames.push(chunk);
                }
            }
            Received::End(_) => self.source = None,
        }
    }

    /// Notes that the node has `received` items. Drops them, or everything if the function wants no
    /// more.
    ///
    /// # Errors
    /// If it cannot be: the node had more before, or has more than it was sent.
    pub(super) fn acknowledge(&mut self, received: u64) -> Result<(), Malformed> {
        if received == NO_MORE || self.unwanted {
            // Dropping the receiver makes the caller's task stop polling the stream.
            (self.source, self.unwanted) = (None, true);
            self.frames.clear();
            return Ok(());
        }
        let before = self.frames.first();
        if received < before || received > self.passed {
            let text = format!(
                "the node has {received} items of the caller's stream, after {before}, of {} sent \
                 ones",
                self.passed
            );
            return Err(Malformed::new(text));
        }
        self.frames.trim(received);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;
    use crate::transport::byte_channel::byte_channel;
    use crate::wire::frame::{FrameKind, put, put_end};

    fn item(length: usize) -> Vec<u8> {
        let mut frame = Vec::new();
        put(&mut frame, FrameKind::Item, &vec![7; length]);
        frame
    }

    #[test]
    fn what_the_node_has_not_got_is_sent_again() {
        let (mut sender, receiver) = byte_channel(1 << 30);
        let mut kept = KeptUpload::new(receiver);
        assert!(kept.fill().now_or_never().is_none());
        for _ in 0..5 {
            sender.send_now(&mut item(3));
        }
        kept.fill().now_or_never().unwrap();
        assert_eq!(kept.take_unsent().concat(), item(3).repeat(5));
        kept.acknowledge(2).unwrap();
        let mut end = Vec::new();
        put_end(&mut end, 5);
        sender.send_now(&mut end.clone());
        kept.fill().now_or_never().unwrap();
        assert_eq!(kept.take_unsent().concat(), end);
        kept.rewind();
        kept.acknowledge(3).unwrap();
        assert_eq!(kept.take_unsent().concat(), [item(3).repeat(2), end.clone()].concat());
        // The end of a stream is not acknowledged.
        kept.acknowledge(5).unwrap();
        kept.rewind();
        assert_eq!(kept.take_unsent().concat(), end);
    }

    #[test]
    fn a_number_that_cannot_be_is_refused() {
        let (mut sender, receiver) = byte_channel(1 << 30);
        let mut kept = KeptUpload::new(receiver);
        for _ in 0..5 {
            sender.send_now(&mut item(3));
        }
        kept.fill().now_or_never().unwrap();
        assert!(kept.acknowledge(1).is_err(), "nothing has been sent");
        kept.take_unsent();
        kept.acknowledge(3).unwrap();
        for received in [0, 2, 6, NO_MORE - 1] {
            assert!(kept.acknowledge(received).is_err(), "{received}");
        }
        kept.acknowledge(NO_MORE).unwrap();
        kept.acknowledge(5).unwrap();
        kept.rewind();
        assert!(kept.take_unsent().is_empty());
        assert!(sender.closed().now_or_never().is_some());
    }

    #[test]
    fn a_node_that_acknowledges_nothing_stops_the_caller() {
        let (mut sender, receiver) = byte_channel(1 << 30);
        let mut kept = KeptUpload::new(receiver);
        let mut items = 0;
        loop {
            sender.send_now(&mut item(100_000));
            if kept.fill().now_or_never().is_none() {
                break;
            }
            items += 1;
        }
        assert_eq!(items, KEPT.div_ceil(100_000));
        kept.take_unsent();
        kept.acknowledge(1).unwrap();
        assert!(kept.fill().now_or_never().is_some());
    }
}
