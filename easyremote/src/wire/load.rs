//! How busy a node is, as it tells its gateways.

use serde::{Deserialize, Serialize};

use crate::wire::bytes::{Malformed, Reader, WriteBytes};

/// How busy a node is, in [`NodeInfo::load`](crate::NodeInfo::load): what it said last, which it
/// does every two seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct NodeLoad {
    /// Calls and streams that it is running or has waiting, from all of its gateways.
    pub in_flight: u64,
    /// Those of them that wait at the node: for one of its places
    /// ([`concurrency`](crate::NodeBuilder::concurrency), of the node or of the function), or for a
    /// [thread](crate::NodeBuilder::blocking_threads).
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
    /// What a node reports; figures that make no sense are none.
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

    /// Appends the report.
    ///
    /// | type   | field        | meaning                                        |
    /// |--------|--------------|------------------------------------------------|
    /// | varint | in flight    | calls                                          |
    /// | varint | waiting      | calls                                          |
    /// | 1 byte | cpu          | percent; more than 100 if the node cannot tell |
    /// | varint | memory used  | bytes                                          |
    /// | varint | memory total | bytes; 0 if the node cannot tell               |
    pub(super) fn put(&self, out: &mut Vec<u8>) {
        out.put_varint(self.in_flight);
        out.put_varint(self.waiting);
        out.push(self.cpu_percent.unwrap_or(u8::MAX));
        let Memory { used, total } = self.memory.unwrap_or(Memory { used: 0, total: 0 });
        out.put_varint(used);
        out.put_varint(total);
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let calls = (reader.varint("calls in flight")?, reader.varint("waiting calls")?);
        let cpu_percent = Some(reader.u8("cpu")?);
        let memory = (reader.varint("memory used")?, reader.varint("memory")?);
        Ok(Self::new(calls, cpu_percent, memory))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loads_survive_the_wire_and_nonsense_does_not() {
        let survives = |load: NodeLoad| {
            let mut out = Vec::new();
            load.put(&mut out);
            let read = NodeLoad::read(&mut Reader::new(&out));
            assert_eq!(read, Ok(load));
            for end in 0..out.len() {
                assert!(NodeLoad::read(&mut Reader::new(&out[..end])).is_err(), "{end}");
            }
        };
        survives(NodeLoad::new((7, 3), Some(100), (1 << 30, 2 << 30)));
        survives(NodeLoad::new((0, 0), None, (0, 0)));
        let sane = NodeLoad::new((1, 2), Some(101), (5, 4));
        let memory = Some(Memory { used: 4, total: 4 });
        assert_eq!(sane, NodeLoad { in_flight: 1, waiting: 1, cpu_percent: None, memory });
    }
}
