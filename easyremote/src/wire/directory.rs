//! The gateway's own functions, and their results as JSON.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize};

use crate::error::printable;
use crate::wire::fields::MAX_TEXT;
use crate::wire::gauges;
use crate::wire::kind::Kind;
use crate::wire::load::NodeLoad;
use crate::wire::schemas::FunctionSchemas;

/// Prefix of the names of the library's own functions, most of which the gateway itself answers. Of
/// these names, a node can only offer [`HTTP`].
pub(crate) const RESERVED: &str = "easyremote.";

/// Returns a list of [`FunctionInfo`].
pub(crate) const FUNCTIONS: &str = "easyremote.functions";

/// Returns a list of [`NodeInfo`].
pub(crate) const NODES: &str = "easyremote.nodes";

/// Asks a node for the caller's jobs there; the only reserved name whose calls reach a node.
pub(crate) const JOBS: &str = "easyremote.jobs";

/// Forwards an HTTP request to the server that a node stands before. A node may offer it, also for
/// named servers, as `easyremote.http:name`.
pub(crate) const HTTP: &str = "easyremote.http";

/// Returns whether this is a reserved name that nodes offer.
pub(crate) fn is_offered_by_nodes(name: &str) -> bool {
    name.strip_prefix(HTTP).is_some_and(|rest| rest.is_empty() || rest.starts_with(':'))
}

/// Returns [`GatewayStats`], to admins only.
pub(crate) const STATS: &str = "easyremote.stats";

/// Returns a list of [`FunctionStats`](crate::call::function_meter::FunctionStats), to those who may
/// ask for [`STATS`].
pub(crate) const FUNCTION_STATS: &str = "easyremote.stats.functions";

/// Returns a list of [`StreamStats`](crate::transport::stream_table::StreamStats), to those who may
/// ask for [`STATS`].
pub(crate) const STREAM_STATS: &str = "easyremote.stats.streams";

/// A snapshot of a gateway's counters, from [`Gateway::stats`](crate::Gateway::stats) and
/// [`Client::gateway_stats`](crate::Client::gateway_stats).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct GatewayStats {
    /// Open connections, including unauthenticated ones.
    pub connections: u64,
    /// Open connections whose peer has not authenticated yet.
    pub unauthenticated: u64,
    /// Connected clients, admins included.
    pub clients: u64,
    /// Registered nodes.
    pub nodes: u64,
    /// Calls and streams in flight, including those that wait.
    pub in_flight: u64,
    /// Calls and streams that wait for a node, or for room at one.
    pub waiting: u64,
    /// Streams of items that are open: a node has received the call, and its stream has not ended.
    /// [`Gateway::streams`](crate::Gateway::streams) returns the figures of each.
    pub streams: u64,
    /// Calls and streams since the start.
    pub calls: u64,
    /// Peers that were rejected since the start: they failed to authenticate, or lack the
    /// permission for their role.
    pub refused: u64,
    /// Number of times since the start that a node was avoided because its calls of a function
    /// failed more often than those of other nodes; see
    /// [`OutlierOptions`](crate::gateway::OutlierOptions).
    pub ejections: u64,
    /// Number of times since the start that each limit was reached.
    pub hits: LimitHits,
}

/// Number of times that each limit of a gateway was reached since its start; see
/// [`GatewayLimits`](crate::gateway::GatewayLimits).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct LimitHits {
    /// Peers rejected because of too many connections.
    pub connections: u64,
    /// Peers rejected because of too many connections from their address.
    pub per_address: u64,
    /// Unauthenticated connections closed in favour of newer ones.
    pub evicted: u64,
    /// Peers that had to validate their address (QUIC Retry).
    pub retries: u64,
    /// TLS handshakes that took too long.
    pub handshake_timeouts: u64,
    /// Peers that did not authenticate in time.
    pub authentication_timeouts: u64,
    /// Calls without a header in time.
    pub header_timeouts: u64,
    /// Calls with a message that stopped arriving before its end.
    pub progress_timeouts: u64,
    /// Calls rejected because too many bytes were buffered for their peer.
    pub buffered: u64,
    /// Times that a peer had to wait because it cancels too many calls.
    pub throttled: u64,
    /// Times that a peer had to wait because it has queried much data about functions and nodes.
    pub questions: u64,
}

/// A registered node, from [`Gateway::nodes`](crate::Gateway::nodes) and
/// [`Client::nodes`](crate::Client::nodes).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct NodeInfo {
    /// The node's id.
    #[serde(deserialize_with = "line")]
    pub id: String,
    /// The node's tags.
    #[serde(deserialize_with = "names")]
    pub tags: Vec<String>,
    /// The names of the functions that it offers; for a client only those that it may call.
    #[serde(deserialize_with = "names")]
    pub functions: Vec<String>,
    /// Calls and streams from this gateway that the node runs or has in its queue.
    pub in_flight: u64,
    /// The node's last load report, a few seconds old at most; `None` before the first one.
    #[serde(default)]
    pub load: Option<NodeLoad>,
    /// The gauges that the node's program [reports](crate::Node::report), by name; as old as its load.
    #[serde(default, deserialize_with = "gauges::map")]
    pub gauges: BTreeMap<String, f64>,
    /// The names of the functions for which the gateway avoids the node now, because its calls of
    /// them fail more often than those of other nodes; see
    /// [`OutlierOptions`](crate::gateway::OutlierOptions).
    #[serde(default, deserialize_with = "names")]
    pub avoided_for: Vec<String>,
}

/// A function that is offered now, from [`Client::functions`](crate::Client::functions).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct FunctionInfo {
    /// The function's name on the wire.
    #[serde(deserialize_with = "line")]
    pub name: String,
    /// Which sides send a stream.
    pub kind: Kind,
    /// The names of the arguments, in order.
    #[serde(deserialize_with = "names")]
    pub parameters: Vec<String>,
    /// The types as serde sees them, such as `(a: i64, b: i64) -> i64`.
    #[serde(deserialize_with = "line")]
    pub signature: String,
    /// The doc comment, in lines that end with `\n`.
    #[serde(deserialize_with = "lines")]
    pub doc: String,
    /// The tags that a node must have to run it.
    #[serde(default, deserialize_with = "names")]
    pub needs: Vec<String>,
    /// The default timeout of calls with its stub: `#[remote(timeout = "30s")]`, the shortest of its
    /// nodes. A call by name has none unless it sets one. In JSON it is `timeout_ms`.
    #[serde(default, rename = "timeout_ms", with = "milliseconds")]
    pub timeout: Option<Duration>,
    /// Whether running it twice has the same effect as running it once: `#[remote(idempotent)]`, at
    /// each of its nodes.
    #[serde(default)]
    pub idempotent: bool,
    /// Whether it is offered to agents: `#[remote(tool)]`, at one of its nodes at least.
    #[serde(default)]
    pub tool: bool,
    /// The ids of the nodes that offer it and have all tags in `needs`.
    #[serde(deserialize_with = "names")]
    pub nodes: Vec<String>,
    /// The JSON Schemas of the arguments, and of what the function returns.
    ///
    /// `None` if they are longer than 32 KiB, or if the registration of the node, which has at most
    /// 1 MiB for all of its functions, has no room for them: the node logs a warning then. Also
    /// `None` if this list, which is one message, has no room for them.
    #[serde(default)]
    pub schemas: Option<FunctionSchemas>,
}

/// Decodes a text of one line. A client sanitizes it itself, and does not rely on the gateway.
pub(crate) fn line<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    Ok(printable::one_line(&String::deserialize(from)?, MAX_TEXT).into_owned())
}

/// [`line`], for a text of several lines.
fn lines<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    Ok(printable::lines(&String::deserialize(from)?, MAX_TEXT).into_owned())
}

/// [`line`], for a list of names.
fn names<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    let names = Vec::<String>::deserialize(from)?;
    Ok(names.iter().map(|name| printable::one_line(name, MAX_TEXT).into_owned()).collect())
}

/// A timeout as a number of milliseconds, or `null`.
mod milliseconds {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<S: Serializer>(
        timeout: &Option<Duration>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        timeout.map(|timeout| timeout.as_millis() as u64).serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<Duration>, D::Error> {
        Ok(Option::<u64>::deserialize(from)?.map(Duration::from_millis))
    }
}
