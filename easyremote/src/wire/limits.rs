//! The limits that every party enforces on its peers.

use std::time::Duration;

/// Default limit of one message (arguments, an answer, or one item), in bytes: 64 MiB.
pub(crate) const MAX_MESSAGE: usize = 64 << 20;

/// Largest value of that limit, in bytes: 1 GiB.
pub(crate) const MAX_MAX_MESSAGE: usize = 1 << 30;

/// Default limit of memory for decoding one message, in bytes: 1 GiB, which the longest message of
/// small numbers takes.
pub(crate) const DEFAULT_MAX_DECODED: usize = 1 << 30;

/// Largest value of that limit, in bytes: 16 GiB.
pub(crate) const MAX_MAX_DECODED: usize = 16 << 30;

/// The limits of one message: arguments, an answer, or one item.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MessageLimits {
    /// Its length, in bytes.
    pub(crate) max_message: usize,
    /// The memory of its decoded value, in bytes.
    pub(crate) max_decoded: usize,
}

impl Default for MessageLimits {
    fn default() -> Self {
        Self { max_message: MAX_MESSAGE, max_decoded: DEFAULT_MAX_DECODED }
    }
}

/// Default limit of the arguments that a node holds at a time, received or decoded, in bytes:
/// 512 MiB, and at least two messages. The limit of items that have not been read is half of it.
pub(crate) const MAX_UNFINISHED: u64 = 512 << 20;

/// Default limit of the answers that a client has begun to receive, in bytes; items have the same
/// limit separately. An answer or item of up to [`SMALL_MESSAGE`] bytes does not count, because
/// their number is limited.
pub(crate) const MAX_UNFINISHED_ANSWERS: u64 = 256 << 20;

/// Longest message that does not count in a budget of unfinished messages, in bytes.
pub(crate) const SMALL_MESSAGE: usize = 64 << 10;

/// Longest call header, in bytes: 16 KiB.
pub(crate) const MAX_HEADER: usize = 16 << 10;

/// Longest metadata inside a call header, keys and values together, in bytes: 8 KiB.
pub(crate) const MAX_METADATA: usize = 8 << 10;

/// Longest arguments, and longest answer, on a multiplexed stream, in bytes: 16 KiB. Longer ones
/// use a separate stream.
pub(crate) const MAX_MUX_BODY: usize = 16 << 10;

/// Bytes that may wait to be sent on a multiplexed stream. While more wait, calls use separate
/// streams.
pub(crate) const MAX_MUX_BACKLOG: usize = 256 << 10;

/// Most answers at a time that are too long for a multiplexed stream, at each end of a connection;
/// further ones wait.
pub(crate) const MAX_OVERFLOWS: u32 = 256;

/// Longest `Error` frame, in bytes. Texts are cut to fit.
pub(crate) const MAX_ERROR: usize = 8 << 10;

/// Longest `Trace` frame, in bytes: a node's id and some numbers.
pub(crate) const MAX_TRACE: usize = 256;

/// Longest `Accepted` frame, in bytes: a number and the id of a node.
pub(crate) const MAX_ACCEPTED: usize = 256;

/// Longest text of a job's progress, in bytes. Longer ones are cut.
pub(crate) const MAX_PROGRESS: usize = 1 << 10;

/// Longest `JobReport` frame, in bytes: an error, and the progress of a job.
pub(crate) const MAX_JOB_REPORT: usize = MAX_ERROR + 2 * MAX_PROGRESS;

/// Most jobs that one identity has at a node, running or kept.
pub(crate) const MAX_JOBS: usize = 1_024;

/// Most requests about jobs that a gateway has open at one node, beside its calls.
pub(crate) const MAX_JOB_REQUESTS: u32 = 1_024;

/// Longest control message, in bytes: the registration of [`MAX_FUNCTIONS`] functions with a
/// kilobyte of names and documentation each.
pub(crate) const MAX_CONTROL: usize = 1 << 20;

/// Longest control message of an unauthenticated peer, in bytes. A hello has 250.
pub(crate) const MAX_HELLO: usize = 4 << 10;

/// Sustained rate of a peer's control messages, per second. Beyond it they are read more slowly.
pub(crate) const CONTROL_PER_SECOND: u32 = 20_000;

/// Burst of a peer's control messages.
pub(crate) const CONTROL_BURST: u32 = 20_000;

/// Longest name of a function, an id of a node, or a tag, in bytes.
pub(crate) const MAX_NAME: usize = 128;

/// Longest `tracestate` that travels with a call, in bytes: what every party has to propagate (W3C
/// Trace Context, 3.3.1.5).
pub(crate) const MAX_TRACESTATE: usize = 512;

/// Longest key of a call, in bytes.
pub(crate) const MAX_KEY: usize = 256;

/// Longest JSON Schemas of one function, all together, in bytes: 32 KiB, a struct of some 500
/// fields. A node sends none that are longer.
pub(crate) const MAX_SCHEMAS: usize = 32 << 10;

/// Deepest nesting of the JSON Schemas of one function: arrays and objects.
pub(crate) const MAX_SCHEMA_DEPTH: usize = 96;

/// Most functions of one node.
pub(crate) const MAX_FUNCTIONS: usize = 1_024;

/// Most tags of one node, most parameters of one function, and most tags that it requires.
pub(crate) const MAX_LIST: usize = 64;

/// Most gauges of a node.
pub(crate) const MAX_GAUGES: usize = 32;

/// Longest name of a gauge, in bytes.
pub(crate) const MAX_GAUGE_NAME: usize = 64;

/// Most operators of one stream.
pub(crate) const MAX_OPERATORS: usize = 16;

/// Most bytes that the names and arguments of the functions applied to one stream may have. They
/// travel in the header, beside the metadata.
pub(crate) const MAX_APPLIED: usize = 6 << 10;

/// Most memory that the decoded arguments of one of these functions may take, in bytes. They are kept
/// as long as the stream.
pub(crate) const MAX_APPLIED_DECODED: usize = 1 << 20;

/// Calls that one client can always have open at the gateway. At times it may have a seventh more:
/// see `transport::quic::endpoint`.
pub(crate) const MAX_CLIENT_STREAMS: u32 = 1_024;

/// Most calls that a gateway has open at one node.
pub(crate) const MAX_NODE_STREAMS: u32 = 4_096;

/// Most streams that a gateway opens at one node: requests about jobs reach a node that is full, too.
pub(crate) const MAX_GATEWAY_STREAMS: u32 = MAX_NODE_STREAMS + MAX_JOB_REQUESTS;

/// Factor between the calls that the receiver of a multiplexed stream tolerates and those that its
/// sender may have open. The sender counts a call at least as long as the receiver, so a factor of
/// 1 would do.
pub(crate) const MUX_SLACK: u32 = 2;

/// Most calls of one function that wait at a gateway for a node with room.
pub(crate) const MAX_WAITING: usize = 1_024;

/// Most calls that wait at their caller for the connection to the gateway to come back.
pub(crate) const MAX_QUEUED: u64 = 1_024;

/// Most bytes of arguments of the calls that wait there, all together.
pub(crate) const MAX_QUEUED_BYTES: u64 = 8 << 20;

/// Default limit of the time that a stream is kept whose consumer does not read while items wait.
pub(crate) const STALL_TIMEOUT: Duration = Duration::from_secs(60);

/// Initial flow-control window of a stream: bytes that a peer may send ahead of the reader: 256
/// KiB.
///
/// Times [`MAX_CLIENT_STREAMS`], the seventh more, and those that the window of a connection has
/// room for in advance (`transport::quic::windows`), and with [`GROWN_WINDOWS`], it is what one
/// client can make a gateway hold in one direction: 421 MiB.
pub(crate) const STREAM_WINDOW: u64 = 256 << 10;

/// Largest window of a stream, for a distant and fast reader: 4 MiB, which allows 330 Mbit/s over
/// 100 ms.
pub(crate) const MAX_STREAM_WINDOW: u64 = 4 << 20;

/// Bytes by which all windows of one connection may have grown, in each direction: room for 17 of
/// the largest.
pub(crate) const GROWN_WINDOWS: u64 = 64 << 20;

/// Longest time from the first packet of a connection to the end of its TLS handshake.
pub(crate) const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);

/// Longest time from the end of the handshake to successful authentication.
pub(crate) const AUTHENTICATION_TIMEOUT: Duration = Duration::from_secs(3);

/// Longest time from the first byte of a call to its complete header, and longest wait for a stream
/// that a peer's limits should allow.
///
/// Three times [`IDLE_TIMEOUT`]: a lost packet may delay either for as long as the connection
/// lives, which is no fault of the peer. Only a peer that violates the protocol reaches this limit.
pub(crate) const HEADER_TIMEOUT: Duration = Duration::from_secs(30);

/// Pause between two heartbeats.
pub(crate) const HEARTBEAT: Duration = Duration::from_secs(2);

/// Heartbeats in a row without an echo that are tolerated. After one more the peer is lost (8 s).
pub(crate) const HEARTBEAT_MISSES: u32 = 3;

/// Heartbeats in a row without an echo after which a node is suspect, and other nodes are
/// preferred.
pub(crate) const SUSPECT_MISSES: u32 = 2;

/// QUIC's idle timeout: the backstop behind the heartbeat.
pub(crate) const IDLE_TIMEOUT: Duration = Duration::from_secs(10);

/// Default of [`GatewayLimits::progress_timeout`](crate::gateway::GatewayLimits::progress_timeout).
/// Twice the time in which a lost peer is noticed, so that one that is lost in the middle of a
/// message counts as lost, and its resumable streams go on.
#[cfg(feature = "gateway")]
pub(crate) const PROGRESS_TIMEOUT: Duration = Duration::from_secs(2 * IDLE_TIMEOUT.as_secs());

/// Longest timeout: one year. Longer ones count as one year, so that no sum can overflow.
pub(crate) const MAX_TIMEOUT: Duration = Duration::from_secs(365 * 24 * 3_600);
