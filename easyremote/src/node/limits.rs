//! What a node holds and runs at most.

use tokio::sync::Semaphore;

use crate::error::{Error, not_zero};
use crate::wire::limits::{MAX_MAX_DECODED, MAX_MAX_MESSAGE, MAX_UNFINISHED, MessageLimits};

/// How much a node holds and runs, for [`NodeBuilder::limits`](crate::node::NodeBuilder::limits).
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
}

/// Sync functions that run at a time unless set otherwise. tokio's blocking threads are 512 by
/// default, and the program has other uses for them.
const BLOCKING_THREADS: usize = 256;

impl Default for NodeLimits {
    fn default() -> Self {
        Self {
            messages: MessageLimits::default(),
            max_unfinished: MAX_UNFINISHED,
            blocking_threads: BLOCKING_THREADS,
        }
    }
}

impl NodeLimits {
    /// The default limits.
    pub fn new() -> Self {
        Self::default()
    }

    /// Most sync functions that run at a time, each on a blocking thread of the runtime; further
    /// ones wait. 256 unless set, and not 0. Iterators have threads of their own and do not count.
    pub fn blocking_threads(mut self, threads: usize) -> Self {
        self.blocking_threads = threads.min(Semaphore::MAX_PERMITS);
        self
    }

    /// Longest arguments that the node accepts, and longest answer or item that it gives, in bytes;
    /// 64 MiB unless set, at most 1 GiB, and not 0. The gateway has a limit of its own.
    pub fn max_message(mut self, bytes: usize) -> Self {
        self.messages.max_message = bytes.min(MAX_MAX_MESSAGE);
        self
    }

    /// Memory that decoding the arguments of one call, or one item of a caller's stream, may take,
    /// in bytes; 1 GiB unless set, at most 16 GiB. A message may always take 16 times its length.
    ///
    /// Sparse values take much more than their bytes: a `None`, an empty `String` and an empty
    /// `Vec` are one byte each on the wire. The sender counts as the receiver does, with its own
    /// limit, so that a value that is too large is an error where it is sent: raise the limit of
    /// [`ClientLimits::max_decoded`](crate::client::ClientLimits::max_decoded) with this one. The node
    /// counts its results and items by this limit.
    pub fn max_decoded(mut self, bytes: usize) -> Self {
        self.messages.max_decoded = bytes.min(MAX_MAX_DECODED);
        self
    }

    /// Most bytes of arguments that the node holds at a time, and half as many of items and answers
    /// that nobody has read; 512 MiB unless set, and at least twice [`max_message`](Self::max_message).
    ///
    /// Arguments count from their first byte until their function has ended: what has been received,
    /// and then the values, by the sizes of their types and the lengths of their texts and lists,
    /// which may be 16 times as much. A call whose arguments find no room fails with
    /// [`Overloaded`](crate::ErrorKind::Overloaded), [`Executed::No`](crate::Executed::No).
    ///
    /// Items and answers count from when they are made until they are sent on, but for the first
    /// 16 KiB of each stream and answer, so that small ones wait for nobody. Where they are more than
    /// that, new streams and calls of functions whose answers are long fail in the same way, and the
    /// streams that there are make no more items until others have been read, but for one that they
    /// may be waiting for. What nobody reads anything of for 60 s meanwhile ends with
    /// [`SlowConsumer`](crate::ErrorKind::SlowConsumer).
    pub fn max_unfinished(mut self, bytes: u64) -> Self {
        self.max_unfinished = bytes;
        self
    }

    /// # Errors
    /// `InvalidInput` if a limit is 0 that must not be.
    pub(super) fn check(&self) -> Result<(), Error> {
        not_zero("blocking_threads", self.blocking_threads as u64)?;
        not_zero("max_message", self.messages.max_message as u64)
    }
}
