//! The limits that every party holds its peers to.

use std::time::Duration;

/// Longest message (arguments, an answer, or one item) unless set otherwise, in bytes: 64 MiB.
pub(crate) const MAX_MESSAGE: usize = 64 << 20;

/// The most that a role can be set to allow for one message, in bytes: 1 GiB.
pub(crate) const MAX_MAX_MESSAGE: usize = 1 << 30;

/// Memory that decoding one message may take unless set otherwise, in bytes: 1 GiB, as the longest
/// message of small numbers does.
pub(crate) const DEFAULT_MAX_DECODED: usize = 1 << 30;

/// The most that a role can be set to spend on decoding one message, in bytes: 16 GiB.
pub(crate) const MAX_MAX_DECODED: usize = 16 << 30;

/// What one message may take: arguments, an answer, or one item.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MessageLimits {
    /// Its length, in bytes.
    pub(crate) max_message: usize,
    /// The memory that its value takes, in bytes.
    pub(crate) max_decoded: usize,
}

impl Default for MessageLimits {
    fn default() -> Self {
        Self { max_message: MAX_MESSAGE, max_decoded: DEFAULT_MAX_DECODED }
    }
}

/// Most bytes of arguments that a node holds at a time, received or decoded, and twice as many as of
/// items that nobody has read: 512 MiB, and at least two messages.
pub(crate) const MAX_UNFINISHED: u64 = 512 << 20;

/// Most bytes of answers that a client has begun to receive, and as many of items. An answer or
/// item of up to [`SMALL_MESSAGE`] bytes does not count: how many of these there are is limited.
pub(crate) const MAX_UNFINISHED_ANSWERS: u64 = 256 << 20;

/// Longest message that no budget of unfinished messages counts, in bytes.
pub(crate) const SMALL_MESSAGE: usize = 64 << 10;

/// Longest call header, in bytes: 16 KiB.
pub(crate) const MAX_HEADER: usize = 16 << 10;

/// Longest metadata inside a call header, keys and values together, in bytes: 8 KiB.
pub(crate) const MAX_METADATA: usize = 8 << 10;

/// Longest arguments, and longest answer, that share a multiplexed stream with those of other
/// calls, in bytes: 16 KiB. What is longer has a stream of its own.
pub(crate) const MAX_MUX_BODY: usize = 16 << 10;

/// Bytes that may wait to be sent on a multiplexed stream; while there are more, calls get streams
/// of their own.
pub(crate) const MAX_MUX_BACKLOG: usize = 256 << 10;

/// Most answers at a time that are too long for a multiplexed stream, at each end of a connection;
/// further ones wait.
pub(crate) const MAX_OVERFLOWS: u32 = 256;

/// Longest `Error` frame, in bytes. Texts are cut to fit.
pub(crate) const MAX_ERROR: usize = 8 << 10;

/// Longest `Trace` frame, in bytes: a node's id and two numbers.
pub(crate) const MAX_TRACE: usize = 256;

/// Longest control message, in bytes: the registration of [`MAX_FUNCTIONS`] functions with a
/// kilobyte of names and documentation each.
pub(crate) const MAX_CONTROL: usize = 1 << 20;

/// Longest control message of a peer that has not proven who it is, in bytes: a hello is 250.
pub(crate) const MAX_HELLO: usize = 4 << 10;

/// Control messages that a peer may send for good, a second. Beyond that they are read more slowly.
pub(crate) const CONTROL_PER_SECOND: u32 = 20_000;

/// Control messages that a peer may send at once.
pub(crate) const CONTROL_BURST: u32 = 20_000;

/// Longest name of a function, an id of a node, or a tag, in bytes.
pub(crate) const MAX_NAME: usize = 128;

/// Most functions of one node.
pub(crate) const MAX_FUNCTIONS: usize = 1_024;

/// Most tags of one node, most parameters of one function, and most tags that it needs.
pub(crate) const MAX_LIST: usize = 64;

/// Calls that one client can always have open at the gateway; see `transport::quic::endpoint` for
/// the seventh by which it may be more at times.
pub(crate) const MAX_CLIENT_STREAMS: u32 = 1_024;

/// Most calls that a gateway has open at one node.
pub(crate) const MAX_NODE_STREAMS: u32 = 4_096;

/// How many times the calls that its sender counts a receiver of a multiplexed stream puts up with.
/// The sender counts a call as long as the receiver does, so more than once is never needed.
pub(crate) const MUX_SLACK: u32 = 2;

/// Most calls of one function that wait at a gateway for a node with room.
pub(crate) const MAX_WAITING: usize = 1_024;

/// Most calls that wait at their caller for the connection to the gateway to come back.
pub(crate) const MAX_PARKED: u64 = 1_024;

/// Most bytes of their arguments, in all.
pub(crate) const MAX_PARKED_BYTES: u64 = 8 << 20;

/// Longest time that a stream is kept of which its consumer reads nothing although there is
/// something, unless set otherwise.
pub(crate) const STALL_TIMEOUT: Duration = Duration::from_secs(60);

/// Bytes that a peer may send ahead of the reader on one stream, at first: 256 KiB.
///
/// Times [`MAX_CLIENT_STREAMS`], the seventh more, and those that the window of a connection has
/// room for in advance (`transport::quic::windows`), and with [`GROWN_WINDOWS`], it is what one
/// client can make a gateway hold in one direction: 421 MiB.
pub(crate) const STREAM_WINDOW: u64 = 256 << 10;

/// The same for a reader that is distant and fast: 4 MiB, which is 330 Mbit/s over 100 ms.
pub(crate) const MAX_STREAM_WINDOW: u64 = 4 << 20;

/// Bytes by which the windows of one connection may have grown, each way, all together: room for
/// 17 of the largest.
pub(crate) const GROWN_WINDOWS: u64 = 64 << 20;

/// Longest time from the first packet of a connection to the end of its TLS handshake.
pub(crate) const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);

/// Longest time from the end of the handshake to proven credentials.
pub(crate) const AUTHENTICATION_TIMEOUT: Duration = Duration::from_secs(3);

/// Longest time from the first byte of a call to its complete header, and longest wait for a stream
/// that a peer's limits should allow.
///
/// Three times [`IDLE_TIMEOUT`]: a lost packet delays either as long as the connection lives, and
/// is no fault of the peer. Only a peer that breaks the rules meets this limit.
pub(crate) const HEADER_TIMEOUT: Duration = Duration::from_secs(30);

/// Pause between two heartbeats.
pub(crate) const HEARTBEAT: Duration = Duration::from_secs(2);

/// Heartbeats in a row that may stay without echo; one more and the peer is lost (8 s).
pub(crate) const HEARTBEAT_MISSES: u32 = 3;

/// Heartbeats in a row without echo after which a node is avoided where there are others.
pub(crate) const SUSPECT_MISSES: u32 = 2;

/// QUIC's own idle timeout: the backstop behind the heartbeat.
pub(crate) const IDLE_TIMEOUT: Duration = Duration::from_secs(10);

/// A deadline further away than this is treated as this, so that no sum can overflow.
pub(crate) const MAX_TIMEOUT: Duration = Duration::from_secs(365 * 24 * 3_600);
