//! How busy a node is, as it tells its gateways.

use serde::{Deserialize, Serialize};

/// How busy a node is, in [`NodeInfo::load`](crate::client::NodeInfo::load): what it said last, which it
/// does every two seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct NodeLoad {
    /// Calls and streams that it is running or has waiting, from all of its gateways.
    pub in_flight: u64,
    /// Those of them that wait at the node: for one of its places
    /// ([`concurrency`](crate::node::NodeBuilder::concurrency), of the node or of the function), or for a
    /// [thread](crate::node::NodeLimits::blocking_threads).
    pub waiting: u64,
    /// How much of its machine's processors was in use over the last two seconds, by all programs,
    /// in percent of all of them: 0 to 100. `None` in a node's first report, and if its operating
    /// system is not one of which the node can tell.
    pub cpu_percent: Option<u8>,
    /// How much of its machine's memory is in use, by all programs, without what the system could
    /// take back at once, such as caches. Also inside of a container it is that of the machine.
    /// `None` if the node cannot tell.
    pub memory: Option<Memory>,
}

/// The memory of a machine, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Memory {
    /// In use; at most `total`.
    pub used: u64,
    /// All that there is.
    pub total: u64,
}

impl NodeLoad {
    /// What a node reports; figures that make no sense are dropped.
    pub(crate) fn new(
        (in_flight, waiting): (u64, u64),
        cpu_percent: Option<u8>,
        (used, total): (u64, u64),
    ) -> Self {
        Self {
            in_flight,
            waiting: waiting.min(in_flight),
            cpu_percent: cpu_percent.filter(|percent| *percent <= 100),
            memory: (total > 0).then(|| Memory { used: used.min(total), total }),
        }
    }

    /// What a peer reports, without the figures that make no sense.
    pub(super) fn sane(self) -> Self {
        let memory = self.memory.map_or((0, 0), |memory| (memory.used, memory.total));
        Self::new((self.in_flight, self.waiting), self.cpu_percent, memory)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_that_make_no_sense_are_dropped() {
        let sane = NodeLoad::new((1, 2), Some(101), (5, 4));
        let memory = Some(Memory { used: 4, total: 4 });
        assert_eq!(sane, NodeLoad { in_flight: 1, waiting: 1, cpu_percent: None, memory });
        let memory = Some(Memory { used: 1, total: 0 });
        let load = NodeLoad { in_flight: 1, waiting: 2, cpu_percent: Some(255), memory };
        let memory = None;
        assert_eq!(load.sane(), NodeLoad { in_flight: 1, waiting: 1, cpu_percent: None, memory });
    }
}
