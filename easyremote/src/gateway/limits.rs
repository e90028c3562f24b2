//! Limits that a gateway imposes on its peers, and counters of how often each was hit.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::error::{Error, not_zero};
use crate::wire::directory::LimitHits;
use crate::wire::limits::{
    AUTHENTICATION_TIMEOUT, HANDSHAKE_TIMEOUT, HEADER_TIMEOUT, MAX_CLIENT_STREAMS, MAX_MAX_MESSAGE,
    MAX_MESSAGE, MAX_TIMEOUT, PROGRESS_TIMEOUT,
};

/// Limits that a gateway imposes on its peers.
///
/// Passed to [`GatewayBuilder::limits`](crate::gateway::GatewayBuilder::limits). The defaults suit
/// a host on the open internet with at least 1 GiB of memory.
/// [`GatewayStats::hits`](crate::gateway::GatewayStats::hits) counts how often each limit was hit.
///
/// ```
/// use std::time::Duration;
/// use easyremote::gateway::GatewayLimits;
/// use easyremote::Gateway;
///
/// let limits = GatewayLimits::new().connections(500).header_timeout(Duration::from_secs(2));
/// let builder = Gateway::builder("0.0.0.0:8080").limits(limits);
/// # let _ = builder;
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "limits do nothing until they are passed to a gateway"]
pub struct GatewayLimits {
    pub(super) max_message: usize,
    pub(super) connections: usize,
    pub(super) connections_per_address: usize,
    pub(super) unauthenticated: usize,
    pub(super) unauthenticated_per_address: usize,
    pub(super) retry_above: usize,
    pub(super) handshake_timeout: Duration,
    pub(super) authentication_timeout: Duration,
    pub(super) header_timeout: Duration,
    pub(super) progress_timeout: Duration,
    pub(super) calls_per_peer: u32,
    pub(super) buffered_per_peer: u64,
    pub(super) cancels_per_second: u32,
    pub(super) cancel_burst: u32,
    /// Bytes per second, and burst.
    pub(super) answers: (u64, u64),
}

impl Default for GatewayLimits {
    fn default() -> Self {
        Self {
            max_message: MAX_MESSAGE,
            connections: 8_192,
            // Half of all: a single address cannot lock out the others.
            connections_per_address: 4_096,
            unauthenticated: 1_024,
            unauthenticated_per_address: 256,
            retry_above: 64,
            handshake_timeout: HANDSHAKE_TIMEOUT,
            authentication_timeout: AUTHENTICATION_TIMEOUT,
            header_timeout: HEADER_TIMEOUT,
            progress_timeout: PROGRESS_TIMEOUT,
            calls_per_peer: MAX_CLIENT_STREAMS,
            buffered_per_peer: 64 << 20,
            cancels_per_second: 1_000,
            cancel_burst: 10_000,
            answers: (16 << 20, 64 << 20),
        }
    }
}

impl GatewayLimits {
    /// Creates the default limits.
    ///
    /// ```
    /// use easyremote::gateway::GatewayLimits;
    ///
    /// assert_eq!(GatewayLimits::new(), GatewayLimits::default());
    /// ```
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the maximum size of arguments, of a result and of an item, in bytes.
    ///
    /// 64 MiB by default, at most 1 GiB; [`serve`](crate::gateway::GatewayBuilder::serve) rejects
    /// 0. Nodes and clients have separate limits; the smallest one applies.
    ///
    /// ```
    /// use easyremote::gateway::GatewayLimits;
    ///
    /// let limits = GatewayLimits::new().max_message(1 << 20);
    /// ```
    #[doc(alias = "max_size")]
    #[doc(alias = "payload")]
    pub fn max_message(mut self, bytes: usize) -> Self {
        self.max_message = bytes.min(MAX_MAX_MESSAGE);
        self
    }

    /// Sets the maximum number of connections, of nodes, clients and unauthenticated peers
    /// together.
    ///
    /// 8,192 by default; 0 is rejected. A further peer is refused: its attempt fails with
    /// [`Unavailable`](crate::ErrorKind::Unavailable), and it dials again.
    ///
    /// ```
    /// use easyremote::gateway::GatewayLimits;
    ///
    /// let limits = GatewayLimits::new().connections(500);
    /// ```
    #[doc(alias = "max_connections")]
    pub fn connections(mut self, connections: usize) -> Self {
        self.connections = connections;
        self
    }

    /// Sets the maximum number of connections per address.
    ///
    /// 4,096 by default; 0 is rejected. An address is an IPv4 address, or a /64 network of IPv6,
    /// which is what one host is usually assigned. A further peer is refused, as for
    /// [`connections`](Self::connections).
    ///
    /// ```
    /// use easyremote::gateway::GatewayLimits;
    ///
    /// let limits = GatewayLimits::new().connections_per_address(64);
    /// ```
    pub fn connections_per_address(mut self, connections: usize) -> Self {
        self.connections_per_address = connections;
        self
    }

    /// Sets the maximum number of unauthenticated connections. Each may take 128 KiB.
    ///
    /// 1,024 by default; 0 is rejected. For a further connection, the oldest unauthenticated one is
    /// closed; a peer that uses this library has authenticated long before.
    ///
    /// ```
    /// use easyremote::gateway::GatewayLimits;
    ///
    /// let limits = GatewayLimits::new().unauthenticated(256);
    /// ```
    pub fn unauthenticated(mut self, connections: usize) -> Self {
        self.unauthenticated = connections;
        self
    }

    /// Sets the maximum number of unauthenticated connections per address, where an address is as
    /// for [`connections_per_address`](Self::connections_per_address).
    ///
    /// 256 by default; 0 is rejected. A further peer is refused.
    ///
    /// ```
    /// use easyremote::gateway::GatewayLimits;
    ///
    /// let limits = GatewayLimits::new().unauthenticated_per_address(16);
    /// ```
    pub fn unauthenticated_per_address(mut self, connections: usize) -> Self {
        self.unauthenticated_per_address = connections;
        self
    }

    /// Sets the number of unauthenticated connections from which on new peers must validate their
    /// address (QUIC's Retry).
    ///
    /// Validation costs the peer one more round trip, during which the gateway keeps no state. 64
    /// by default; with 0 every peer validates its address.
    ///
    /// ```
    /// use easyremote::gateway::GatewayLimits;
    ///
    /// let limits = GatewayLimits::new().retry_above(0);
    /// ```
    #[doc(alias = "amplification")]
    pub fn retry_above(mut self, connections: usize) -> Self {
        self.retry_above = connections;
        self
    }

    /// Sets the timeout from a peer's first packet to the end of its TLS handshake; 5 s by default.
    ///
    /// ```
    /// use std::time::Duration;
    /// use easyremote::gateway::GatewayLimits;
    ///
    /// let limits = GatewayLimits::new().handshake_timeout(Duration::from_secs(2));
    /// ```
    pub fn handshake_timeout(mut self, timeout: Duration) -> Self {
        self.handshake_timeout = timeout.min(MAX_TIMEOUT);
        self
    }

    /// Sets the timeout from the end of the TLS handshake to authentication, and again from there
    /// to the registration of a node; 3 s by default.
    ///
    /// After either, the connection is closed with [`Unavailable`](crate::ErrorKind::Unavailable),
    /// and the peer may dial again.
    ///
    /// ```
    /// use std::time::Duration;
    /// use easyremote::gateway::GatewayLimits;
    ///
    /// let limits = GatewayLimits::new().authentication_timeout(Duration::from_secs(1));
    /// ```
    pub fn authentication_timeout(mut self, timeout: Duration) -> Self {
        self.authentication_timeout = timeout.min(MAX_TIMEOUT);
        self
    }

    /// Sets the timeout from the first byte of a call to its complete header; 30 s by default.
    ///
    /// The call then fails with [`Protocol`](crate::ErrorKind::Protocol), and did not start.
    ///
    /// ```
    /// use std::time::Duration;
    /// use easyremote::gateway::GatewayLimits;
    ///
    /// let limits = GatewayLimits::new().header_timeout(Duration::from_secs(5));
    /// ```
    pub fn header_timeout(mut self, timeout: Duration) -> Self {
        self.header_timeout = timeout.min(MAX_TIMEOUT);
        self
    }

    /// Sets the period in which at least 1 KiB of a started message must arrive; 20 s by default.
    ///
    /// A peer whose connection is broken is noticed after 8 to 10 s. With a shorter period, one that
    /// is lost in the middle of a message may count as one that has stopped to send, and a resumable
    /// stream then ends instead of going on.
    ///
    /// This applies to arguments, to an item and to a response, once its first byte has arrived.
    /// Time under back-pressure from the receiver does not count, and the pause between two items
    /// is unlimited. A call that misses the limit fails with
    /// [`Protocol`](crate::ErrorKind::Protocol).
    ///
    /// ```
    /// use std::time::Duration;
    /// use easyremote::gateway::GatewayLimits;
    ///
    /// let limits = GatewayLimits::new().progress_timeout(Duration::from_secs(30));
    /// ```
    #[doc(alias = "slowloris")]
    #[doc(alias = "stall")]
    pub fn progress_timeout(mut self, timeout: Duration) -> Self {
        self.progress_timeout = timeout.min(MAX_TIMEOUT);
        self
    }

    /// Sets how many calls and streams a peer can always have open at the same time.
    ///
    /// 1,024 by default, at most 65,536; 0 is rejected. Up to a seventh more may be let through.
    /// Further calls wait at the peer.
    ///
    /// Worst-case memory for one peer with the default: about 830 MiB, because each call may leave
    /// 256 KiB unread at the gateway in each direction, and all calls together up to 80 MiB more.
    /// As many small calls beside them, whose long responses the peer does not read, take up to 400
    /// MiB more.
    ///
    /// ```
    /// use easyremote::gateway::GatewayLimits;
    ///
    /// let limits = GatewayLimits::new().calls_per_peer(64);
    /// ```
    #[doc(alias = "concurrency")]
    #[doc(alias = "max_streams")]
    pub fn calls_per_peer(mut self, calls: u32) -> Self {
        self.calls_per_peer = calls.min(1 << 16);
        self
    }

    /// Sets how many bytes the gateway itself buffers for one peer.
    ///
    /// These are calls that wait for a node, and answers about functions and nodes that the peer
    /// has not read. 64 MiB by default, and always at least one message. Beyond this, calls fail
    /// with [`Overloaded`](crate::ErrorKind::Overloaded), and did not start.
    ///
    /// ```
    /// use easyremote::gateway::GatewayLimits;
    ///
    /// let limits = GatewayLimits::new().buffered_per_peer(16 << 20);
    /// ```
    #[doc(alias = "memory")]
    pub fn buffered_per_peer(mut self, bytes: u64) -> Self {
        self.buffered_per_peer = bytes;
        self
    }

    /// Sets the rate at which a peer may cancel calls before any response has arrived: `burst` at
    /// once, and `per_second` sustained.
    ///
    /// 1,000 per second and a burst of 10,000 by default; 0 is rejected. Each answered call makes
    /// up for a cancelled one. Beyond the limit no call fails; the gateway accepts the peer's next
    /// calls more slowly.
    ///
    /// Opening and resetting a stream costs a peer almost nothing, and a limit of open calls does
    /// not prevent it (HTTP/2 "rapid reset", CVE-2023-44487). With the defaults, a client can drop
    /// all of its 1,024 calls eight times in a row, and then once per second.
    ///
    /// ```
    /// use easyremote::gateway::GatewayLimits;
    ///
    /// let limits = GatewayLimits::new().cancels(100, 1_000);
    /// ```
    #[doc(alias = "rate_limit")]
    #[doc(alias = "rapid_reset")]
    pub fn cancels(mut self, per_second: u32, burst: u32) -> Self {
        (self.cancels_per_second, self.cancel_burst) = (per_second, burst);
        self
    }

    /// Sets the rate at which a peer is told about functions and nodes, in bytes: `burst` at once,
    /// and `per_second` sustained.
    ///
    /// This limits [`Client::functions`](crate::Client::functions) and
    /// [`Client::nodes`](crate::Client::nodes). 16 MiB per second and a burst of 64 MiB by default,
    /// each at least 4 KiB. A question costs 4 KiB in addition to its answer. Beyond the limit no
    /// call fails; the peer's next questions are answered more slowly.
    ///
    /// The limit exists because answers amplify: a question has 73 bytes, and its answer about a
    /// hundred for each function that is offered.
    ///
    /// ```
    /// use easyremote::gateway::GatewayLimits;
    ///
    /// let limits = GatewayLimits::new().answers(1 << 20, 4 << 20);
    /// ```
    #[doc(alias = "rate_limit")]
    pub fn answers(mut self, per_second: u64, burst: u64) -> Self {
        const LEAST: u64 = 4 << 10;
        self.answers = (per_second.max(LEAST), burst.max(LEAST));
        self
    }

    /// Checks that no limit is 0.
    ///
    /// # Errors
    /// `InvalidInput` with the name of the limit that is 0.
    pub(super) fn check(&self) -> Result<(), Error> {
        let Self { calls_per_peer, cancels_per_second, cancel_burst, .. } = *self;
        for (name, limit) in [
            ("max_message", self.max_message as u64),
            ("connections", self.connections as u64),
            ("connections_per_address", self.connections_per_address as u64),
            ("unauthenticated", self.unauthenticated as u64),
            ("unauthenticated_per_address", self.unauthenticated_per_address as u64),
            ("calls_per_peer", calls_per_peer.into()),
            ("cancels", cancels_per_second.min(cancel_burst).into()),
        ] {
            not_zero(name, limit)?;
        }
        Ok(())
    }
}

macro_rules! counted {
    ($($field:ident)*) => {
        /// The counters behind [`LimitHits`].
        #[derive(Debug, Default)]
        pub(super) struct Hits {
            $(pub(super) $field: AtomicU64,)*
        }

        impl Hits {
            pub(super) fn read(&self) -> LimitHits {
                LimitHits { $($field: self.$field.load(Ordering::Relaxed),)* }
            }
        }
    };
}

counted! {
    connections per_address evicted retries handshake_timeouts authentication_timeouts
    header_timeouts progress_timeouts buffered throttled questions
}

/// Increments a counter.
pub(super) fn hit(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}
