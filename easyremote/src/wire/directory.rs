//! What a gateway answers about itself, as JSON: the reserved functions and their results.

use serde::{Deserialize, Serialize};

use crate::wire::kind::Kind;
use crate::wire::load::NodeLoad;

/// Names that begin like this belong to the gateway; no node can offer them.
pub(crate) const RESERVED: &str = "easyremote.";

/// Gives a list of [`FunctionInfo`].
pub(crate) const FUNCTIONS: &str = "easyremote.functions";

/// Gives a list of [`NodeInfo`].
pub(crate) const NODES: &str = "easyremote.nodes";

/// A registered node, from [`Gateway::nodes`](crate::Gateway::nodes) and
/// [`Client::nodes`](crate::Client::nodes).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct NodeInfo {
    /// Its id.
    pub id: String,
    /// Its tags.
    pub tags: Vec<String>,
    /// The names of the functions that it offers.
    pub functions: Vec<String>,
    /// Calls and streams that it is running or has waiting, from this gateway.
    pub in_flight: u64,
    /// How busy it says that it is, some seconds ago at most; `None` until it has said so.
    #[serde(default)]
    pub load: Option<NodeLoad>,
}

/// A function that is offered now, from [`Client::functions`](crate::Client::functions).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct FunctionInfo {
    /// Its name on the wire.
    pub name: String,
    /// Whether it gives one result or a stream.
    pub kind: Kind,
    /// The names of its arguments, in order.
    pub parameters: Vec<String>,
    /// Its types as serde sees them, such as `(a: i64, b: i64) -> i64`.
    pub signature: String,
    /// Its doc comment.
    pub doc: String,
    /// The tags that a node must have to run it.
    #[serde(default)]
    pub needs: Vec<String>,
    /// The ids of the nodes that offer it and have all the tags that it needs.
    pub nodes: Vec<String>,
}
