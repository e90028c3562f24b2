//! What a gateway answers about itself, as JSON: the reserved functions and their results.

use serde::{Deserialize, Deserializer, Serialize};

use crate::error::printable;
use crate::wire::fields::MAX_TEXT;
use crate::wire::kind::Kind;
use crate::wire::load::NodeLoad;

/// Names that begin like this belong to the gateway; no node can offer them.
pub(crate) const RESERVED: &str = "easyremote.";

/// Gives a list of [`FunctionInfo`].
pub(crate) const FUNCTIONS: &str = "easyremote.functions";

/// Gives a list of [`NodeInfo`].
pub(crate) const NODES: &str = "easyremote.nodes";

/// Gives [`GatewayStats`], to admins only.
pub(crate) const STATS: &str = "easyremote.stats";

/// What a gateway is doing, and has done, from [`Gateway::stats`](crate::Gateway::stats) and
/// [`Client::gateway_stats`](crate::Client::gateway_stats).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct GatewayStats {
    /// Open connections, including those that have not proven who they are.
    pub connections: u64,
    /// Those of them that have not proven who they are.
    pub unauthenticated: u64,
    /// Connected clients, admins included.
    pub clients: u64,
    /// Registered nodes.
    pub nodes: u64,
    /// Calls and streams under way, those that wait included.
    pub in_flight: u64,
    /// Calls and streams that wait for a node with room.
    pub waiting: u64,
    /// Calls and streams begun since the start.
    pub calls: u64,
    /// Peers that were refused since the start: they did not prove who they are, or may not do
    /// what they came for.
    pub refused: u64,
    /// How often a node was avoided since the start, because its calls of a function failed more
    /// often than those of other nodes; see [`OutlierOptions`](crate::gateway::OutlierOptions).
    pub ejections: u64,
    /// How often each limit was hit since the start.
    pub hits: LimitHits,
}

/// How often each limit of a gateway was hit since its start; see
/// [`GatewayLimits`](crate::gateway::GatewayLimits).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct LimitHits {
    /// Peers refused because there were too many connections.
    pub connections: u64,
    /// Peers refused because there were too many connections from their address.
    pub per_address: u64,
    /// Connections closed before they had proven who they are, in favour of newer ones.
    pub evicted: u64,
    /// Peers that were asked to show that their address is theirs.
    pub retries: u64,
    /// Handshakes that took too long.
    pub handshake_timeouts: u64,
    /// Peers that did not prove in time who they are.
    pub authentication_timeouts: u64,
    /// Calls without a header in time.
    pub header_timeouts: u64,
    /// Calls of which something stopped arriving in the middle.
    pub progress_timeouts: u64,
    /// Calls refused because too much was kept for their peer.
    pub buffered: u64,
    /// How often a peer had to wait because it gives up too many calls.
    pub throttled: u64,
    /// How often a peer had to wait because it has been told much about functions and nodes.
    pub questions: u64,
}

/// A registered node, from [`Gateway::nodes`](crate::Gateway::nodes) and
/// [`Client::nodes`](crate::Client::nodes).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct NodeInfo {
    /// Its id.
    #[serde(deserialize_with = "line")]
    pub id: String,
    /// Its tags.
    #[serde(deserialize_with = "names")]
    pub tags: Vec<String>,
    /// The names of the functions that it offers.
    #[serde(deserialize_with = "names")]
    pub functions: Vec<String>,
    /// Calls and streams that it is running or has waiting, from this gateway.
    pub in_flight: u64,
    /// How busy it says that it is, some seconds ago at most; `None` until it has said so.
    #[serde(default)]
    pub load: Option<NodeLoad>,
    /// The names of the functions for which the gateway avoids it now, because its calls of them
    /// fail more often than those of other nodes; see [`OutlierOptions`](crate::gateway::OutlierOptions).
    #[serde(default, deserialize_with = "names")]
    pub avoided_for: Vec<String>,
}

/// A function that is offered now, from [`Client::functions`](crate::Client::functions).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct FunctionInfo {
    /// Its name on the wire.
    #[serde(deserialize_with = "line")]
    pub name: String,
    /// Whether it gives one result or a stream.
    pub kind: Kind,
    /// The names of its arguments, in order.
    #[serde(deserialize_with = "names")]
    pub parameters: Vec<String>,
    /// Its types as serde sees them, such as `(a: i64, b: i64) -> i64`.
    #[serde(deserialize_with = "line")]
    pub signature: String,
    /// Its doc comment, in lines that end with `\n`.
    #[serde(deserialize_with = "lines")]
    pub doc: String,
    /// The tags that a node must have to run it.
    #[serde(default, deserialize_with = "names")]
    pub needs: Vec<String>,
    /// The ids of the nodes that offer it and have all the tags that it needs.
    #[serde(deserialize_with = "names")]
    pub nodes: Vec<String>,
}

/// A text of one line. A client makes it fit to be shown for itself, on no gateway's word.
fn line<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
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
