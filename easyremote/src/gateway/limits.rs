//! What a gateway allows its peers, and how often that was not enough.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::error::{Error, not_zero};
use crate::wire::directory::LimitHits;
use crate::wire::limits::{
    AUTHENTICATION_TIMEOUT, HANDSHAKE_TIMEOUT, HEADER_TIMEOUT, MAX_CLIENT_STREAMS, MAX_MAX_MESSAGE,
    MAX_MESSAGE, MAX_TIMEOUT,
};

/// What a gateway allows its peers, for [`GatewayBuilder::limits`](crate::gateway::GatewayBuilder::limits).
///
/// The defaults are for a host of the open internet with a gigabyte or more of memory. How often
/// each limit was hit is in [`GatewayStats::hits`](crate::gateway::GatewayStats::hits).
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
#[must_use = "limits do nothing until they are given to a gateway"]
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
    /// Bytes a second, and at once.
    pub(super) answers: (u64, u64),
}

impl Default for GatewayLimits {
    fn default() -> Self {
        Self {
            max_message: MAX_MESSAGE,
            connections: 8_192,
            // Half of all: one address cannot shut the others out.
            connections_per_address: 4_096,
            unauthenticated: 1_024,
            unauthenticated_per_address: 256,
            retry_above: 64,
            handshake_timeout: HANDSHAKE_TIMEOUT,
            authentication_timeout: AUTHENTICATION_TIMEOUT,
            header_timeout: HEADER_TIMEOUT,
            progress_timeout: Duration::from_secs(10),
            calls_per_peer: MAX_CLIENT_STREAMS,
            buffered_per_peer: 64 << 20,
            cancels_per_second: 1_000,
            cancel_burst: 10_000,
            answers: (16 << 20, 64 << 20),
        }
    }
}

impl GatewayLimits {
    /// The default limits.
    pub fn new() -> Self {
        Self::default()
    }

    /// Longest arguments, answer or item that the gateway relays, in bytes; 64 MiB unless set, at
    /// most 1 GiB, and not 0. Nodes and clients have limits of their own.
    pub fn max_message(mut self, bytes: usize) -> Self {
        self.max_message = bytes.min(MAX_MAX_MESSAGE);
        self
    }

    /// Most connections, of whatever kind. 8,192 unless set, and not 0. A further peer is refused,
    /// which it sees as [`Unavailable`](crate::ErrorKind::Unavailable), and dials again.
    pub fn connections(mut self, connections: usize) -> Self {
        self.connections = connections;
        self
    }

    /// Most connections from one IPv4 address, or one IPv6 network of 64 bits, which is what one
    /// host may have. 4,096 unless set, and not 0. A further peer is refused, as above.
    pub fn connections_per_address(mut self, connections: usize) -> Self {
        self.connections_per_address = connections;
        self
    }

    /// Most connections that have not proven who they are, each of which may take 128 KiB. 1,024
    /// unless set, and not 0. For a further one the oldest of them is closed: a peer of this
    /// library has proven itself long before.
    pub fn unauthenticated(mut self, connections: usize) -> Self {
        self.unauthenticated = connections;
        self
    }

    /// Most of these from one address, as in
    /// [`connections_per_address`](Self::connections_per_address). 256 unless set, and not 0. A
    /// further peer is refused.
    pub fn unauthenticated_per_address(mut self, connections: usize) -> Self {
        self.unauthenticated_per_address = connections;
        self
    }

    /// With so many connections that have not proven who they are, a new peer first has to show
    /// that it receives what is sent to its address: one more round trip, during which the gateway
    /// keeps nothing (QUIC's Retry). 64 unless set; 0 asks it of everybody.
    pub fn retry_above(mut self, connections: usize) -> Self {
        self.retry_above = connections;
        self
    }

    /// Longest time from a peer's first packet to the end of its TLS handshake. 5 s unless set.
    pub fn handshake_timeout(mut self, timeout: Duration) -> Self {
        self.handshake_timeout = timeout.min(MAX_TIMEOUT);
        self
    }

    /// Longest time from there to the proof of who the peer is, and from that to a node's
    /// registration. 3 s unless set. It is closed with
    /// [`Unauthenticated`](crate::ErrorKind::Unauthenticated), or a node without registration with
    /// [`Unavailable`](crate::ErrorKind::Unavailable), after which it may dial again.
    pub fn authentication_timeout(mut self, timeout: Duration) -> Self {
        self.authentication_timeout = timeout.min(MAX_TIMEOUT);
        self
    }

    /// Longest time from the first byte of a call to its complete header. 30 s unless set. The call
    /// fails with [`Protocol`](crate::ErrorKind::Protocol), and did not start.
    pub fn header_timeout(mut self, timeout: Duration) -> Self {
        self.header_timeout = timeout.min(MAX_TIMEOUT);
        self
    }

    /// Longest time in which less than 1 KiB comes of arguments, of an item or of an answer that
    /// has begun, not counting what the receiver makes it wait. 10 s unless set. The call fails
    /// with [`Protocol`](crate::ErrorKind::Protocol). The pause between two items is not limited.
    pub fn progress_timeout(mut self, timeout: Duration) -> Self {
        self.progress_timeout = timeout.min(MAX_TIMEOUT);
        self
    }

    /// Most calls and streams that one peer can be sure to have open; up to a seventh more may be
    /// let through. 1,024 unless set, not 0, and at most 65,536. Further ones wait at the peer.
    /// Each may leave 256 KiB unread at the gateway in each direction, and all together up to 80
    /// MiB more, which by default comes to some 830 MiB for one peer at worst; as many small calls
    /// beside them, with long answers that it does not fetch, to 400 MiB more.
    pub fn calls_per_peer(mut self, calls: u32) -> Self {
        self.calls_per_peer = calls.min(1 << 16);
        self
    }

    /// Most bytes that the gateway itself keeps for one peer: beginnings of calls that wait for a
    /// node, and answers about functions and nodes that the peer does not read. 64 MiB unless set,
    /// and at least one message. Beyond that calls fail with
    /// [`Overloaded`](crate::ErrorKind::Overloaded), and did not start.
    pub fn buffered_per_peer(mut self, bytes: u64) -> Self {
        self.buffered_per_peer = bytes;
        self
    }

    /// How many calls a peer can begin and give up before anything has come back: `burst` at once,
    /// and `per_second` for good. 1,000 and 10,000 unless set, and not 0. A call that is
    /// answered makes up for one that is not. Beyond that no call fails: the peer's next calls are
    /// taken more slowly.
    ///
    /// To open and reset costs a peer next to nothing, and no limit of open calls holds it back
    /// (HTTP/2's "rapid reset", CVE-2023-44487). The defaults let a client drop all of its 1,024
    /// calls eight times in a row, and then once each second.
    pub fn cancels(mut self, per_second: u32, burst: u32) -> Self {
        (self.cancels_per_second, self.cancel_burst) = (per_second, burst);
        self
    }

    /// How many bytes a peer is told about functions and nodes, by
    /// [`Client::functions`](crate::Client::functions) and [`Client::nodes`](crate::Client::nodes):
    /// `burst` at once, and `per_second` for good. 64 and 16 MiB unless set, each at least 4 KiB. A
    /// question counts as 4 KiB more than its answer has. Beyond that no call fails: the peer's
    /// next questions are answered more slowly.
    ///
    /// A question has 73 bytes, and its answer a hundred for each function that is offered.
    pub fn answers(mut self, per_second: u64, burst: u64) -> Self {
        const LEAST: u64 = 4 << 10;
        self.answers = (per_second.max(LEAST), burst.max(LEAST));
        self
    }

    /// Whether each of them lets something through.
    ///
    /// # Errors
    /// `InvalidInput`, with the name of the one that is 0.
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
        /// [`LimitHits`], as they are counted.
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

/// Counts one more.
pub(super) fn hit(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}
