//! The load reports of nodes.

use serde::{Deserialize, Serialize};

/// A load report of a node, in [`NodeInfo::load`](crate::client::NodeInfo::load). Nodes send one
/// every two seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct NodeLoad {
    /// Calls and streams from all of its gateways that the node runs or has in its queue.
    pub in_flight: u64,
    /// Calls and streams that wait at the node: for a permit
    /// ([`concurrency`](crate::node::NodeBuilder::concurrency), of the node or of the function), or
    /// for a [thread](crate::node::NodeLimits::blocking_threads).
    pub waiting: u64,
    /// [Jobs](crate::Call::spawn) at the node: those that run or wait there, and those that have
    /// ended and whose results it keeps.
    #[serde(default)]
    pub jobs: u64,
    /// Processor time that all programs of the machine used over the last two seconds, in percent
    /// of all processors: 0 to 100. `None` in a node's first report, and where the operating system
    /// is not supported.
    pub cpu_percent: Option<u8>,
    /// Memory that all programs of the machine use, without caches and other memory that the system
    /// can reclaim at once. In a container too it is the memory of the machine. `None` where the
    /// node cannot determine it.
    pub memory: Option<Memory>,
}

/// The memory of a machine, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Memory {
    /// In use; at most `total`.
    pub used: u64,
    /// Installed memory.
    pub total: u64,
}

impl NodeLoad {
    /// Creates a report, without implausible figures.
    pub(crate) fn new(
        (in_flight, waiting): (u64, u64),
        cpu_percent: Option<u8>,
        (used, total): (u64, u64),
    ) -> Self {
        Self {
            in_flight,
            waiting: waiting.min(in_flight),
            jobs: 0,
            cpu_percent: cpu_percent.filter(|percent| *percent <= 100),
            memory: (total > 0).then(|| Memory { used: used.min(total), total }),
        }
    }

    /// Sets the number of jobs.
    pub(crate) fn with_jobs(self, jobs: u64) -> Self {
        Self { jobs, ..self }
    }

    /// Removes the implausible figures from a peer's report.
    pub(super) fn sane(self) -> Self {
        let memory = self.memory.map_or((0, 0), |memory| (memory.used, memory.total));
        let sane = Self::new((self.in_flight, self.waiting), self.cpu_percent, memory);
        sane.with_jobs(self.jobs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_that_make_no_sense_are_dropped() {
        let sane = NodeLoad::new((1, 2), Some(101), (5, 4));
        let memory = Some(Memory { used: 4, total: 4 });
        assert_eq!(sane, NodeLoad { in_flight: 1, waiting: 1, jobs: 0, cpu_percent: None, memory });
        let memory = Some(Memory { used: 1, total: 0 });
        let load = NodeLoad { in_flight: 1, waiting: 2, jobs: 3, cpu_percent: Some(255), memory };
        let memory = None;
        let sane = NodeLoad { in_flight: 1, waiting: 1, jobs: 3, cpu_percent: None, memory };
        assert_eq!(load.sane(), sane);
    }
}
