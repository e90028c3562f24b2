//! What a client sends and holds at most.

use std::time::Duration;

use crate::error::{Error, not_zero};
use crate::wire::limits::{
    MAX_MAX_DECODED, MAX_MAX_MESSAGE, MAX_TIMEOUT, MAX_UNFINISHED_ANSWERS, MessageLimits,
    STALL_TIMEOUT,
};

/// How much a client sends and holds, for [`ClientBuilder::limits`](crate::client::ClientBuilder::limits).
///
/// ```
/// use easyremote::Client;
/// use easyremote::client::ClientLimits;
///
/// let limits = ClientLimits::new().max_message(1 << 20); // 1 MiB
/// let client = Client::builder("127.0.0.1:8080").limits(limits);
/// # let _ = client;
/// ```
#[derive(Clone, Copy, Debug)]
#[must_use = "limits do nothing until they are passed to a client"]
pub struct ClientLimits {
    pub(super) messages: MessageLimits,
    pub(super) max_unfinished: u64,
    pub(super) stall_timeout: Duration,
}

impl Default for ClientLimits {
    fn default() -> Self {
        Self {
            messages: MessageLimits::default(),
            max_unfinished: MAX_UNFINISHED_ANSWERS,
            stall_timeout: STALL_TIMEOUT,
        }
    }
}

impl ClientLimits {
    /// The default limits.
    pub fn new() -> Self {
        Self::default()
    }

    /// Longest arguments that the client sends, and longest answer or item that it accepts, in
    /// bytes; 64 MiB unless set, at most 1 GiB, and not 0. The gateway has a separate limit.
    pub fn max_message(mut self, bytes: usize) -> Self {
        self.messages.max_message = bytes.min(MAX_MAX_MESSAGE);
        self
    }

    /// Memory that decoding one answer or item may take, in bytes; 1 GiB unless set, at most 16 GiB.
    /// A message may always take 16 times its length.
    ///
    /// The client counts the arguments and the items that it sends by the same limit, before they
    /// are sent; see [`NodeLimits::max_decoded`](crate::node::NodeLimits::max_decoded).
    pub fn max_decoded(mut self, bytes: usize) -> Self {
        self.messages.max_decoded = bytes.min(MAX_MAX_DECODED);
        self
    }

    /// Most bytes of large answers that the client receives at a time, and as many of items; those
    /// of up to 64 KiB do not count. Further answers wait for their turn; a stream for whose item
    /// there is no room fails with [`Overloaded`](crate::ErrorKind::Overloaded). 256 MiB unless set,
    /// and at least [`max_message`](Self::max_message).
    ///
    /// No gateway can make a client hold more, however many answers it begins and does not end.
    pub fn max_unfinished(mut self, bytes: u64) -> Self {
        self.max_unfinished = bytes;
        self
    }

    /// How long a stream is kept whose consumer reads nothing although there is something to read.
    /// It then ends with [`SlowConsumer`](crate::ErrorKind::SlowConsumer), after the items that had
    /// arrived, and its node stops. A consumer that asks for an item now and then is never too slow.
    /// 60 s unless set.
    pub fn stall_timeout(mut self, timeout: Duration) -> Self {
        self.stall_timeout = timeout.min(MAX_TIMEOUT);
        self
    }

    /// # Errors
    /// `InvalidInput` if a limit is 0 that must not be.
    pub(super) fn check(&self) -> Result<(), Error> {
        not_zero("max_message", self.messages.max_message as u64)
    }
}
