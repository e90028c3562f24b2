//! Routing options: the requirements of a call on the node that runs it.

use std::time::Duration;

/// How the gateway chooses among the nodes that fit a call: load balancing.
///
/// ```
/// # use easyremote::{Client, remote};
/// use easyremote::Strategy;
///
/// # #[remote]
/// # async fn add(a: i64, b: i64) -> i64;
/// # async fn example(client: Client) -> Result<(), easyremote::Error> {
/// let sum = add::call(&client, 1, 2).strategy(Strategy::Fastest).await?;
/// # Ok(())
/// # }
/// ```
#[doc(alias = "load balancing")]
#[doc(alias = "balancer")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Strategy {
    /// Picks two nodes at random, and of these the one with fewer calls in relation to its
    /// [`concurrency`](crate::node::NodeBuilder::concurrency) ("the power of two choices":
    /// Mitzenmacher, 2001). The default.
    #[default]
    LeastBusy,
    /// Picks one node after the other.
    RoundRobin,
    /// Picks a node at random, all with equal probability.
    Random,
    /// Picks two nodes at random, and of these the one that is expected to answer first: the moving
    /// average of the duration of its recent calls of the function, times the calls that it has
    /// ("peak EWMA", as in Finagle and tower). Streams count until they are set up.
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

/// The requirements of a call on the node that runs it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct RoutingOptions {
    /// Only this node may run it.
    pub(crate) on: Option<String>,
    /// Only a node with all these tags may run it.
    pub(crate) tags: Vec<String>,
    /// A node with all these tags is preferred if it has room.
    pub(crate) preferred: Vec<String>,
    /// Calls with the same value run on the same node while the set of nodes stays the same.
    pub(crate) sticky: Option<u64>,
    pub(crate) strategy: Option<Strategy>,
    /// Whether to wait for a node if none can run it now.
    pub(crate) wait: bool,
    /// How long to wait otherwise, because nodes may be about to come back. In whole milliseconds.
    pub(crate) patience: Duration,
    /// Whether suspect nodes are excluded, because the caller can ask another gateway.
    pub(crate) sound: bool,
    /// Set if the call may be made a second time, at another node.
    pub(crate) hedge: Option<HedgeLeg>,
    /// This node may not run it. Set by the gateway, and not sent.
    pub(crate) not_on: Option<String>,
}

/// Which of the two calls of a hedged call this is. Both have the same id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HedgeLeg {
    First,
    /// It goes to another node than the first, and does not wait for one.
    Second,
}

impl HedgeLeg {
    pub(super) fn code(self) -> u8 {
        match self {
            Self::First => 1,
            Self::Second => 2,
        }
    }

    pub(super) fn from_code(code: u8) -> Option<Self> {
        Some(match code {
            1 => Self::First,
            2 => Self::Second,
            _ => return None,
        })
    }
}
