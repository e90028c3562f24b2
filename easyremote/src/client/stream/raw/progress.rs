//! The progress of a stream at its reader.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use super::{RawStream, StreamFrame, StreamState};
use crate::error::Error;
use crate::transport::reader_meter::{ReaderCounts, ReaderMeter};
use crate::wire::frame::Frame;

/// The progress of one stream: a live handle, which can be cloned, and outlives the stream.
/// Returned by [`StreamCall::progress`](crate::StreamCall::progress).
///
/// The stream writes to it whenever it is polled, and when items arrive. Reading takes a short
/// lock.
///
/// Two figures tell which side is slow:
///
/// | figure that grows | who is slow |
/// |---|---|
/// | [`waiting`](Self::waiting) | the function, the network, or the gateway: the reader has asked, and no item is here |
/// | [`stalled`](Self::stalled) | the reader: an item is here, and it has not asked |
/// | neither | the reader; nothing has arrived that it could have asked for |
///
/// ```
/// # use easyremote::{Client, Gateway, Node, functions, remote};
/// # use futures::{Stream, StreamExt, stream};
/// # #[remote(stream)]
/// # fn count(from: u64) -> impl Stream<Item = u64> { stream::iter(from..) }
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), easyremote::Error> {
/// # let gateway = Gateway::serve("127.0.0.1:0").await?;
/// # let _node = Node::serve(gateway.local_addr(), functions![count]).await?;
/// # let client = Client::connect(gateway.local_addr()).await?;
/// let mut numbers = count::call(&client, 7).take(3);
/// let progress = numbers.progress();
/// while let Some(number) = numbers.next().await {
///     println!("{}, {} so far, {:?} waited", number?, progress.items(), progress.waiting());
/// }
/// assert!(progress.items() == 3 && progress.has_ended());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
#[doc(alias = "metrics")]
#[doc(alias = "statistics")]
pub struct StreamProgress(Arc<ReaderMeter>);

impl StreamProgress {
    /// Returns the number of items that the stream has returned, items that failed included.
    #[must_use]
    pub fn items(&self) -> u64 {
        self.0.counts().items
    }

    /// Returns the encoded bytes of these items.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.0.counts().bytes
    }

    /// Returns the number of items that the operators of the stream have left out, at the node or at
    /// the client. A node tells it with the item that it sends next, or with the end.
    #[must_use]
    pub fn skipped(&self) -> u64 {
        self.0.counts().skipped
    }

    /// Returns how often the stream went on after a lost connection.
    #[must_use]
    pub fn resumptions(&self) -> u64 {
        self.0.counts().resumptions
    }

    /// Returns how long the reader has waited for items in all, until now: from each poll that
    /// found none to the arrival of the next. The time until the stream is set up counts too.
    ///
    /// Measured from the first [`progress`](crate::StreamCall::progress) on.
    #[must_use]
    pub fn waiting(&self) -> Duration {
        self.0.waited()
    }

    /// Returns how long items have waited for the reader in all, until now: from the arrival of
    /// an item, or the poll that left it behind, to the next poll. Several that wait together
    /// count once.
    ///
    /// Measured from the first [`progress`](crate::StreamCall::progress) on.
    #[must_use]
    pub fn stalled(&self) -> Duration {
        self.0.stalled()
    }

    /// Returns the time since the reader took the last item. `None` if it has taken none since the
    /// first [`progress`](crate::StreamCall::progress).
    #[must_use]
    pub fn age(&self) -> Option<Duration> {
        self.0.since_last()
    }

    /// Returns whether the stream has ended, with an error or without, or was dropped.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.0.has_ended()
    }
}

/// What a [`RawStream`] counts beside its items.
#[derive(Debug, Default)]
pub(super) struct StreamFigures {
    /// Encoded bytes of the items.
    pub(super) bytes: u64,
    /// How often the stream went on after a loss.
    pub(super) resumptions: u64,
    /// `Some` once the progress is watched.
    pub(super) watched: Option<WatchedStream>,
}

/// The meter of a stream that is watched. Dropping it ends the stream there.
#[derive(Debug)]
pub(super) struct WatchedStream(pub(super) Arc<ReaderMeter>);

impl Drop for WatchedStream {
    fn drop(&mut self) {
        self.0.end();
    }
}

impl RawStream {
    /// Returns the progress, which is measured from the first call on.
    pub(in crate::client) fn progress(&mut self) -> StreamProgress {
        if self.figures.watched.is_none() {
            let meter = Arc::new(ReaderMeter::default());
            meter.set_counts(self.counts());
            match &mut self.state {
                StreamState::Running { receiver, .. } => receiver.watch(meter.clone()),
                StreamState::Done => meter.end(),
                StreamState::Ready(_) | StreamState::Failed(_) => {}
            }
            self.figures.watched = Some(WatchedStream(meter));
        }
        let meter = self.figures.watched.as_ref().map(|watched| watched.0.clone());
        StreamProgress(meter.unwrap_or_default())
    }

    /// Polls for the next item. Returns `None` after the end, and after an error that ended the
    /// stream.
    pub(in crate::client) fn poll_next(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<StreamFrame, Error>>> {
        match &self.figures.watched {
            None if self.local.is_empty() => self.poll_arrived(context),
            None => self.poll_item(context),
            Some(watched) => {
                let meter = watched.0.clone();
                self.poll_watched(context, &meter)
            }
        }
    }

    /// Polls for the next item of a stream whose progress is watched.
    fn poll_watched(
        &mut self,
        context: &mut Context<'_>,
        meter: &ReaderMeter,
    ) -> Poll<Option<Result<StreamFrame, Error>>> {
        let arrived = meter.ask();
        let returned = self.returned();
        let polled = self.poll_item(context);
        if self.returned() > returned {
            let more = self.frames.has_frame() || self.has_pending();
            meter.take(arrived, more, self.counts());
        } else {
            meter.set_counts(self.counts());
        }
        if matches!(self.state, StreamState::Done) {
            meter.end();
        }
        polled
    }

    /// Counts an item.
    pub(super) fn count(&mut self, frame: &Frame) {
        self.items += 1;
        self.figures.bytes += frame.body.len() as u64;
    }

    fn counts(&self) -> ReaderCounts {
        let StreamFigures { bytes, resumptions, .. } = self.figures;
        let skipped = self.skipped + self.left_out;
        ReaderCounts { items: self.returned(), bytes, skipped, resumptions }
    }

    fn has_pending(&self) -> bool {
        matches!(&self.state, StreamState::Running { receiver, .. } if receiver.has_pending())
    }
}
