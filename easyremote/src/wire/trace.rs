//! What a node tells about how a call went.

use std::time::Duration;

use crate::wire::bytes::{Malformed, Reader, WriteBytes};
use crate::wire::frame::{self, FrameKind};
use crate::wire::limits::MAX_NAME;

/// How a call went at its node; the body of a `Trace` frame.
///
/// | type   | field  | meaning                                       |
/// |--------|--------|-----------------------------------------------|
/// | string | node   | its id                                        |
/// | varint | queued | microseconds from the gateway to the function |
/// | varint | ran    | microseconds from there to the answer         |
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NodeTrace {
    pub(crate) node: String,
    pub(crate) queued: Duration,
    pub(crate) ran: Duration,
}

impl NodeTrace {
    /// Appends it as a frame.
    pub(crate) fn put(&self, out: &mut Vec<u8>) {
        let mut body = Vec::with_capacity(self.node.len() + 24);
        body.put_str(&self.node, MAX_NAME);
        body.put_varint(micros(self.queued));
        body.put_varint(micros(self.ran));
        frame::put(out, FrameKind::Trace, &body);
    }

    /// Reads the body of a `Trace` frame.
    pub(crate) fn read(body: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(body);
        Ok(Self {
            node: reader.str(MAX_NAME, "node")?.to_owned(),
            queued: Duration::from_micros(reader.varint("queued")?),
            ran: Duration::from_micros(reader.varint("ran")?),
        })
    }
}

fn micros(time: Duration) -> u64 {
    time.as_micros().try_into().unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::frame::FRAME_HEADER;

    #[test]
    fn traces_survive_the_wire() {
        let (queued, ran) = (Duration::from_micros(3), Duration::from_secs(4_000));
        let trace = NodeTrace { node: "gpu-1".into(), queued, ran };
        let mut out = Vec::new();
        trace.put(&mut out);
        assert_eq!(NodeTrace::read(&out[FRAME_HEADER..]), Ok(trace));
        for end in FRAME_HEADER..out.len() {
            assert!(NodeTrace::read(&out[FRAME_HEADER..end]).is_err());
        }
    }
}
