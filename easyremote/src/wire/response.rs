//! The response to a call with one result.

use bytes::Bytes;

use crate::wire::bytes::Malformed;
use crate::wire::frame::{Frame, FrameKind};
use crate::wire::mux::take_frame;
use crate::wire::trace::NodeTrace;

/// The response to a call with one result: a `Trace` frame if the caller requested it, and a last
/// frame, which is `Body`, `Fault` or `Error`, or of a call that concerns a job `Accepted` or
/// `JobReport`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Response {
    pub(crate) trace: Option<NodeTrace>,
    pub(crate) frame: Frame,
}

/// Assembles a response from its frames.
#[derive(Debug, Default)]
pub(crate) struct ResponseReader {
    trace: Option<NodeTrace>,
}

impl ResponseReader {
    /// Takes the next frame, and returns the response once it is complete.
    ///
    /// # Errors
    /// If the frame is not allowed here. A second `Trace` is an error: a peer could keep the caller
    /// waiting with an endless sequence of them.
    pub(crate) fn take(&mut self, frame: Frame) -> Result<Option<Response>, Malformed> {
        match frame.kind {
            FrameKind::Trace if self.trace.is_none() => {
                self.trace = Some(NodeTrace::read(&frame.body)?);
                Ok(None)
            }
            FrameKind::Body
            | FrameKind::Fault
            | FrameKind::Error
            | FrameKind::Accepted
            | FrameKind::JobReport => Ok(Some(Response { trace: self.trace.take(), frame })),
            other => Err(Malformed::new(format!("{other:?} frame instead of an answer"))),
        }
    }
}

impl Response {
    /// Decodes a response from the frames of one message.
    ///
    /// # Errors
    /// If the frames are not a response, or bytes follow it.
    pub(crate) fn from_message(mut frames: Bytes, max_message: usize) -> Result<Self, Malformed> {
        let mut reader = ResponseReader::default();
        loop {
            if let Some(response) = reader.take(take_frame(&mut frames, max_message)?)? {
                return match frames.is_empty() {
                    true => Ok(response),
                    false => Err(Malformed::new("bytes after the answer")),
                };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::wire::frame;

    fn trace() -> NodeTrace {
        let (queued, ran) = (Duration::from_micros(3), Duration::from_micros(4));
        NodeTrace { node: "gpu-1".into(), queued, ran, batch: None }
    }

    #[test]
    fn a_response_is_one_last_frame_and_perhaps_a_trace_before_it() {
        for kind in [FrameKind::Body, FrameKind::Fault, FrameKind::Error] {
            for traced in [false, true] {
                let mut out = Vec::new();
                if traced {
                    trace().put(&mut out);
                }
                frame::put(&mut out, kind, b"result");
                let response = Response::from_message(out.clone().into(), 100).unwrap();
                assert_eq!((response.frame.kind, &response.frame.body[..]), (kind, &b"result"[..]));
                assert_eq!(response.trace, traced.then(trace));
                for end in 0..out.len() {
                    let cut = Bytes::copy_from_slice(&out[..end]);
                    assert!(Response::from_message(cut, 100).is_err(), "{kind:?}: {end}");
                }
                out.push(0);
                assert!(Response::from_message(out.into(), 100).is_err(), "{kind:?}");
            }
        }
    }

    #[test]
    fn nothing_else_is_a_response() {
        let mut twice = Vec::new();
        trace().put(&mut twice);
        trace().put(&mut twice);
        frame::put(&mut twice, FrameKind::Body, b"");
        assert!(Response::from_message(twice.into(), 100).is_err());
        for kind in [FrameKind::Header, FrameKind::Open, FrameKind::Item, FrameKind::Mux] {
            let mut out = Vec::new();
            frame::put(&mut out, kind, b"");
            assert!(Response::from_message(out.into(), 100).is_err(), "{kind:?}");
        }
    }
}
