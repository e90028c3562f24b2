//! Limits on the message sizes, the memory and the blocking threads of a node.

use tokio::sync::Semaphore;

use crate::error::{Error, not_zero};
use crate::wire::limits::{MAX_MAX_DECODED, MAX_MAX_MESSAGE, MAX_UNFINISHED, MessageLimits};

/// Limits on message sizes, memory and blocking threads, for
/// [`NodeBuilder::limits`](crate::node::NodeBuilder::limits).
///
/// ```
/// use easyremote::Node;
/// use easyremote::node::NodeLimits;
///
/// let limits = NodeLimits::new().blocking_threads(8).max_message(256 << 20); // 256 MiB
/// let node = Node::builder("127.0.0.1:8080").limits(limits);
/// # let _ = node;
/// ```
#[derive(Clone, Copy, Debug)]
#[must_use = "limits do nothing until they are passed to a node"]
pub struct NodeLimits {
    pub(super) messages: MessageLimits,
    pub(super) max_unfinished: u64,
    pub(super) blocking_threads: usize,
    pub(super) kept: u64,
}

/// Default number of sync functions that run at a time: half of tokio's default of 512 blocking
/// threads, which the program needs for other work too.
const BLOCKING_THREADS: usize = 256;

/// Default budget for what is kept for callers that come back: 64 streams with a full replay buffer.
const KEPT: u64 = 64 << 20;

impl Default for NodeLimits {
    fn default() -> Self {
        Self {
            messages: MessageLimits::default(),
            max_unfinished: MAX_UNFINISHED,
            blocking_threads: BLOCKING_THREADS,
            kept: KEPT,
        }
    }
}

impl NodeLimits {
    /// Returns the default limits.
    ///
    /// | limit | default |
    /// |---|---|
    /// | [`blocking_threads`](Self::blocking_threads) | 256 |
    /// | [`max_message`](Self::max_message) | 64 MiB |
    /// | [`max_decoded`](Self::max_decoded) | 1 GiB |
    /// | [`max_unfinished`](Self::max_unfinished) | 512 MiB |
    /// | [`kept`](Self::kept) | 64 MiB |
    ///
    /// ```
    /// use easyremote::node::NodeLimits;
    ///
    /// let limits = NodeLimits::new();
    /// # let _ = limits;
    /// ```
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets how many sync functions may run at a time, each on a blocking thread of the runtime;
    /// further calls wait. At least 1. Default: 256.
    ///
    /// Iterators run on dedicated threads and do not count.
    ///
    /// ```
    /// use easyremote::node::NodeLimits;
    ///
    /// let limits = NodeLimits::new().blocking_threads(8);
    /// # let _ = limits;
    /// ```
    #[doc(alias = "max_blocking_threads")]
    #[doc(alias = "spawn_blocking")]
    pub fn blocking_threads(mut self, threads: usize) -> Self {
        self.blocking_threads = threads.min(Semaphore::MAX_PERMITS);
        self
    }

    /// Sets the maximum encoded length of a call's arguments, of an answer, and of an item, in
    /// bytes. At least 1; values above 1 GiB are lowered to it. Default: 64 MiB.
    ///
    /// The gateway has a separate limit; the lower one applies.
    ///
    /// ```
    /// use easyremote::node::NodeLimits;
    ///
    /// let limits = NodeLimits::new().max_message(256 << 20); // 256 MiB
    /// # let _ = limits;
    /// ```
    #[doc(alias = "max_frame_length")]
    pub fn max_message(mut self, bytes: usize) -> Self {
        self.messages.max_message = bytes.min(MAX_MAX_MESSAGE);
        self
    }

    /// Sets how much memory decoding the arguments of one call, or one item of a caller's stream,
    /// may take, in bytes. Values above 16 GiB are lowered to it. Default: 1 GiB. A message may
    /// always take 16 times its length.
    ///
    /// Sparse values take much more memory than bytes on the wire: a `None`, an empty `String` and
    /// an empty `Vec` are one byte each. The sender applies the same count to its own limit, so a
    /// value that is too large fails where it is sent: raise
    /// [`ClientLimits::max_decoded`](crate::client::ClientLimits::max_decoded) together with this
    /// limit. The node applies this limit to its own results and items too.
    ///
    /// ```
    /// use easyremote::node::NodeLimits;
    ///
    /// let limits = NodeLimits::new().max_decoded(4 << 30); // 4 GiB
    /// # let _ = limits;
    /// ```
    pub fn max_decoded(mut self, bytes: usize) -> Self {
        self.messages.max_decoded = bytes.min(MAX_MAX_DECODED);
        self
    }

    /// Sets how many bytes of arguments the node holds at a time, for all calls together, and half
    /// as many of unread items and answers. Values below twice [`max_message`](Self::max_message)
    /// are raised to it. Default: 512 MiB.
    ///
    /// **Arguments** count from their first byte until their function has ended: first the received
    /// bytes, then the decoded values, by the sizes of their types and the lengths of their texts
    /// and lists, which may be 16 times as much. A call whose arguments exceed the limit fails with
    /// [`Overloaded`](crate::ErrorKind::Overloaded), [`Executed::No`](crate::Executed::No).
    ///
    /// **Items and answers** count from when they are produced until they are sent. The first 16
    /// KiB of each stream and answer are free, so that small ones never wait. While the limit is
    /// exceeded:
    ///
    /// - New streams, and calls of functions with long answers, fail with `Overloaded`, `No`.
    /// - Running streams produce at most one more item each, and then wait until others have been
    ///   read.
    /// - A stream or answer that the caller does not read for 60 s ends with
    ///   [`SlowConsumer`](crate::ErrorKind::SlowConsumer).
    ///
    /// ```
    /// use easyremote::node::NodeLimits;
    ///
    /// let limits = NodeLimits::new().max_unfinished(2 << 30); // 2 GiB
    /// # let _ = limits;
    /// ```
    #[doc(alias = "memory")]
    #[doc(alias = "back-pressure")]
    pub fn max_unfinished(mut self, bytes: u64) -> Self {
        self.max_unfinished = bytes;
        self
    }

    /// Sets how many bytes the node keeps for callers that come back: items of resumable streams,
    /// and results that outlive their caller. One identity may use a quarter of them. Default: 64
    /// MiB.
    ///
    /// A call that would exceed the limit fails with [`Overloaded`](crate::ErrorKind::Overloaded),
    /// [`Executed::No`](crate::Executed::No); a stream that runs waits until others have been read.
    ///
    /// ```
    /// use easyremote::node::NodeLimits;
    ///
    /// let limits = NodeLimits::new().kept(256 << 20); // 256 MiB
    /// # let _ = limits;
    /// ```
    #[doc(alias = "memory")]
    #[doc(alias = "replay")]
    pub fn kept(mut self, bytes: u64) -> Self {
        self.kept = bytes;
        self
    }

    /// Checks the limits that must not be 0.
    ///
    /// # Errors
    /// `InvalidInput` if one of them is.
    pub(super) fn check(&self) -> Result<(), Error> {
        not_zero("blocking_threads", self.blocking_threads as u64)?;
        not_zero("max_message", self.messages.max_message as u64)
    }
}
