//! The trace of a call at its node.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::call::batch_meter::BatchReason;
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
    /// The batch that the call was a part of.
    pub(crate) batch: Option<BatchRecord>,
}

/// The batch of a call, on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct BatchRecord {
    /// Number of calls.
    pub(crate) size: u32,
    /// A [`BatchReason`] as a number; a later version may have more of them.
    reason: u8,
}

impl BatchRecord {
    pub(crate) fn new(size: usize, reason: BatchReason) -> Self {
        Self { size: u32::try_from(size).unwrap_or(u32::MAX), reason: reason.code() }
    }

    /// Returns the reason; `None` if this version does not know it.
    pub(crate) fn reason(&self) -> Option<BatchReason> {
        BatchReason::ALL.get(usize::from(self.reason)).copied()
    }
}

impl NodeTrace {
    /// Appends the trace as a frame.
    pub(crate) fn put(&self, out: &mut Vec<u8>) {
        let mut body = Vec::with_capacity(self.node.len() + 24);
        fields::put(self, &mut body);
        frame::put(out, FrameKind::Trace, &body);
    }

    /// Returns the trace as a frame, followed by `reply`.
    pub(crate) fn before(&self, reply: &[u8]) -> Vec<u8> {
        let mut frames = Vec::with_capacity(reply.len() + 64);
        self.put(&mut frames);
        frames.extend_from_slice(reply);
        frames
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
        for reason in [None, Some(BatchReason::Full), Some(BatchReason::Ready)] {
            let batch = reason.map(|reason| BatchRecord::new(32, reason));
            let trace = NodeTrace { node: "gpu-1".into(), queued, ran, batch };
            let body = encoded(&trace);
            assert_eq!(NodeTrace::read(&[&body[..], b"more"].concat()), Ok(trace));
            assert_eq!(batch.and_then(|batch| batch.reason()), reason);
            for end in 0..body.len() {
                assert!(NodeTrace::read(&body[..end]).is_err(), "{end}");
            }
        }
        assert_eq!(BatchRecord { size: 1, reason: BatchReason::ALL.len() as u8 }.reason(), None);
    }

    #[test]
    fn the_longest_trace_fits_its_frame() {
        let (node, ran) = ("x".repeat(MAX_NAME), Duration::MAX);
        let batch = Some(BatchRecord { size: u32::MAX, reason: u8::MAX });
        let body = encoded(&NodeTrace { node, queued: ran, ran, batch });
        assert!(body.len() <= MAX_TRACE, "{}", body.len());
    }

    #[test]
    fn a_time_without_end_is_refused() {
        // `u64::MAX` seconds and a billion nanoseconds, which are one more.
        let most = [[253].as_slice(), &[0xff; 8], &[252], &1_000_000_000_u32.to_le_bytes()];
        assert!(NodeTrace::read(&[&[1, b'n'][..], &most.concat(), &[0, 0]].concat()).is_err());
    }
}
