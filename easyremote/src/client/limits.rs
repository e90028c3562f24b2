//! Limits of a client: message sizes, memory, and how long an unread stream is kept.

use std::time::Duration;

use crate::error::{Error, not_zero};
use crate::wire::limits::{
    MAX_MAX_DECODED, MAX_MAX_MESSAGE, MAX_TIMEOUT, MAX_UNFINISHED_ANSWERS, MessageLimits,
    STALL_TIMEOUT,
};

/// Limits of a client, for [`ClientBuilder::limits`](crate::client::ClientBuilder::limits).
///
/// | limit                                    | default | protects from                      |
/// |------------------------------------------|---------|------------------------------------|
/// | [`max_message`](Self::max_message)       | 64 MiB  | long messages                      |
/// | [`max_decoded`](Self::max_decoded)       | 1 GiB   | short messages with large values   |
/// | [`max_unfinished`](Self::max_unfinished) | 256 MiB | many large messages at a time      |
/// | [`stall_timeout`](Self::stall_timeout)   | 60 s    | streams that are held but not read |
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
    /// Returns the default limits.
    ///
    /// ```
    /// use easyremote::client::ClientLimits;
    ///
    /// let limits = ClientLimits::new();
    /// # let _ = limits;
    /// ```
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the longest message: arguments that the client sends, and answers and items that it
    /// accepts, in bytes.
    ///
    /// Default: 64 MiB. Values above 1 GiB count as 1 GiB; with 0 connecting fails with
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput). A longer message fails with
    /// [`TooLarge`](crate::ErrorKind::TooLarge). Gateway and node have separate limits.
    ///
    /// ```
    /// use easyremote::client::ClientLimits;
    ///
    /// let limits = ClientLimits::new().max_message(256 << 20); // 256 MiB
    /// # let _ = limits;
    /// ```
    #[doc(alias = "size")]
    pub fn max_message(mut self, bytes: usize) -> Self {
        self.messages.max_message = bytes.min(MAX_MAX_MESSAGE);
        self
    }

    /// Sets the memory that decoding one answer or item may take, in bytes.
    ///
    /// Default: 1 GiB. Values above 16 GiB count as 16 GiB. A message may always take 16 times its
    /// length.
    ///
    /// The same limit holds for arguments and items that the client sends, and is checked before
    /// they are sent; see [`NodeLimits::max_decoded`](crate::node::NodeLimits::max_decoded).
    ///
    /// ```
    /// use easyremote::client::ClientLimits;
    ///
    /// let limits = ClientLimits::new().max_decoded(64 << 20); // 64 MiB
    /// # let _ = limits;
    /// ```
    #[doc(alias = "memory")]
    pub fn max_decoded(mut self, bytes: usize) -> Self {
        self.messages.max_decoded = bytes.min(MAX_MAX_DECODED);
        self
    }

    /// Sets the memory for large answers that have begun to arrive, all together, in bytes. Items
    /// of streams have the same limit separately.
    ///
    /// Messages of up to 64 KiB do not count. Beyond the limit, further answers wait for their
    /// turn, and a stream fails with [`Overloaded`](crate::ErrorKind::Overloaded). So a gateway
    /// cannot exhaust a client's memory with answers that it begins and does not finish.
    ///
    /// Default: 256 MiB, and at least [`max_message`](Self::max_message).
    ///
    /// ```
    /// use easyremote::client::ClientLimits;
    ///
    /// let limits = ClientLimits::new().max_unfinished(1 << 30); // 1 GiB
    /// # let _ = limits;
    /// ```
    #[doc(alias = "memory")]
    pub fn max_unfinished(mut self, bytes: u64) -> Self {
        self.max_unfinished = bytes;
        self
    }

    /// Sets how long a stream is kept that is not polled while items are waiting.
    ///
    /// After that it ends with [`SlowConsumer`](crate::ErrorKind::SlowConsumer), behind the items
    /// that have arrived, and the node stops the function. A consumer that polls for an item now
    /// and then is never too slow.
    ///
    /// Default: 60 s. Values above one year count as one year.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use easyremote::client::ClientLimits;
    ///
    /// let limits = ClientLimits::new().stall_timeout(Duration::from_secs(600));
    /// # let _ = limits;
    /// ```
    #[doc(alias = "idle")]
    #[doc(alias = "back-pressure")]
    pub fn stall_timeout(mut self, timeout: Duration) -> Self {
        self.stall_timeout = timeout.min(MAX_TIMEOUT);
        self
    }

    /// Checks the limits.
    ///
    /// # Errors
    /// `InvalidInput` if `max_message` is 0.
    pub(super) fn check(&self) -> Result<(), Error> {
        not_zero("max_message", self.messages.max_message as u64)
    }
}
