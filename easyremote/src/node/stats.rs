//! The figures of a node.

/// Gauges and counters of a node, from [`Node::stats`](crate::Node::stats).
///
/// Each field is read separately, so the fields may differ by the calls that start or end
/// meanwhile.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
#[doc(alias = "metrics")]
pub struct NodeStats {
    /// Gauge: the gateways that the node is registered at.
    pub gateways: u64,
    /// Gauge: calls and streams that are running or waiting at the node.
    pub in_flight: u64,
    /// Gauge: calls and streams, included in `in_flight`, that wait for a permit, for a blocking
    /// thread, or in a batch.
    pub waiting: u64,
    /// Gauge: streams of items, included in `in_flight`, that are open; [`Node::streams`](crate::Node::streams) returns the
    /// figures of each.
    pub streams: u64,
    /// Gauge: [jobs](crate::Call::spawn) that run or wait at the node.
    pub jobs: u64,
    /// Gauge: jobs that have ended, and whose results the node keeps for callers that come back.
    pub kept_jobs: u64,
    /// Counter: calls and streams received since the node started.
    pub calls: u64,
    /// Counter: calls and streams that the node rejected because it had started a call with the
    /// same id before. Clients and gateways of this library never send one. At most one a second is
    /// logged, with the caller that the gateway names.
    pub repeats: u64,
    /// Counter: fields that were left out of arguments and of callers' items, because the node does not
    /// know them. Only calls of functions with `skew = "lossy"` leave fields out.
    pub left_out: u64,
}
