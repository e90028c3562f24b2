//! The trace of a call at its node.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::wire::bytes::Malformed;
use crate::wire::fields;
use crate::wire::frame::{self, FrameKind};

/// The trace of a call at its node: the body of a `Trace` frame.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct NodeTrace {
    /// The id of the node.
    #[serde(with = "fields::name")]
    pub(crate) node: String,
    /// Time from the gateway to the start of the function.
    pub(crate) queued: Duration,
    /// Time from there to the answer.
    pub(crate) ran: Duration,
}

impl NodeTrace {
    /// Appends the trace as a frame.
    pub(crate) fn put(&self, out: &mut Vec<u8>) {
        let mut body = Vec::with_capacity(self.node.len() + 24);
        fields::put(self, &mut body);
        frame::put(out, FrameKind::Trace, &body);
    }

    /// Decodes the body of a `Trace` frame.
    pub(crate) fn read(body: &[u8]) -> Result<Self, Malformed> {
        fields::read(body, "trace")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::frame::FRAME_HEADER;
    use crate::wire::limits::{MAX_NAME, MAX_TRACE};

    fn encoded(trace: &NodeTrace) -> Vec<u8> {
        let mut out = Vec::new();
        trace.put(&mut out);
        out.split_off(FRAME_HEADER)
    }

    #[test]
    fn traces_survive_the_wire() {
        let (queued, ran) = (Duration::from_nanos(3), Duration::from_secs(4_000));
        let trace = NodeTrace { node: "gpu-1".into(), queued, ran };
        let body = encoded(&trace);
        assert_eq!(NodeTrace::read(&[&body[..], b"more"].concat()), Ok(trace));
        for end in 0..body.len() {
            assert!(NodeTrace::read(&body[..end]).is_err(), "{end}");
        }
    }

    #[test]
    fn the_longest_trace_fits_its_frame() {
        let (node, ran) = ("x".repeat(MAX_NAME), Duration::MAX);
        let body = encoded(&NodeTrace { node, queued: ran, ran });
        assert!(body.len() <= MAX_TRACE, "{}", body.len());
    }

    #[test]
    fn a_time_without_end_is_refused() {
        // `u64::MAX` seconds and a billion nanoseconds, which are one more.
        let most = [[253].as_slice(), &[0xff; 8], &[252], &1_000_000_000_u32.to_le_bytes()];
        assert!(NodeTrace::read(&[&[1, b'n'][..], &most.concat(), &[0, 0]].concat()).is_err());
    }
}
