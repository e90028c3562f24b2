//! What a call asks of the node that runs it.

use std::time::Duration;

/// How the gateway chooses among the nodes that fit a call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Strategy {
    /// Of two nodes chosen at random, the one with fewer calls in relation to its
    /// [`concurrency`](crate::node::NodeBuilder::concurrency) ("the power of two choices": Mitzenmacher,
    /// 2001). The default.
    #[default]
    LeastBusy,
    /// One after the other.
    RoundRobin,
    /// Any, with equal chances.
    Random,
    /// Of two nodes chosen at random, the one that is expected to answer first: by the moving
    /// average of how long its calls of the function took lately, times the calls that it has (the
    /// "peak EWMA" of Finagle and tower). Streams count until they are set up.
    Fastest,
}

impl Strategy {
    pub(super) fn code(self) -> u8 {
        match self {
            Self::LeastBusy => 1,
            Self::RoundRobin => 2,
            Self::Random => 3,
            Self::Fastest => 4,
        }
    }

    pub(super) fn from_code(code: u8) -> Option<Self> {
        Some(match code {
            1 => Self::LeastBusy,
            2 => Self::RoundRobin,
            3 => Self::Random,
            4 => Self::Fastest,
            _ => return None,
        })
    }
}

/// What a call asks of the node that runs it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct RoutingOptions {
    /// Only this node may run it.
    pub(crate) on: Option<String>,
    /// Only a node with all these tags may run it.
    pub(crate) tags: Vec<String>,
    /// A node with all these tags is to run it, if one is free.
    pub(crate) preferred: Vec<String>,
    /// Calls with the same value are to run on the same node, for as long as the nodes are the
    /// same.
    pub(crate) sticky: Option<u64>,
    pub(crate) strategy: Option<Strategy>,
    /// If no node can run it now, wait for one.
    pub(crate) wait: bool,
    /// The same, for so long: nodes may be about to come back. In whole milliseconds.
    pub(crate) patience: Duration,
    /// No node that is suspect may run it: its caller can ask another gateway.
    pub(crate) sound: bool,
}
