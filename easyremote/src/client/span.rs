//! The span of a call at its client.

use crate::call::function_meter::CallEnd;
use crate::client::call_task::UnaryAnswer;
use crate::error::{Error, ErrorKind, Executed};
use crate::transport::call_span::CallSpan;
use crate::wire::frame::FrameKind;

/// The span of a call from its first poll to its end. A call that is dropped before is cancelled.
#[derive(Debug)]
pub(super) struct ClientSpan(CallSpan);

impl ClientSpan {
    pub(super) const fn none() -> Self {
        Self(CallSpan::none())
    }

    pub(super) fn new(span: CallSpan) -> Self {
        Self(span)
    }

    /// Ends the span of a call that has returned `result`.
    #[inline]
    pub(super) fn conclude(&mut self, result: &Result<UnaryAnswer, Error>) {
        if self.0.is_none() {
            return;
        }
        match result {
            Ok(answer) if answer.frame.kind == FrameKind::Fault => self.end(CallEnd::Fault),
            Ok(_) => self.end(CallEnd::Returned),
            Err(error) => self.fail(error),
        }
    }

    /// Ends the span of a call that has ended with an answer of its function.
    pub(super) fn end(&mut self, end: CallEnd) {
        if !self.0.is_none() {
            self.take().note_end(end, Some(Executed::Yes));
        }
    }

    /// Ends the span of a call that has ended with `error`.
    pub(super) fn fail(&mut self, error: &Error) {
        if !self.0.is_none() {
            self.take().note_error(error);
        }
    }

    fn take(&mut self) -> CallSpan {
        std::mem::replace(&mut self.0, CallSpan::none())
    }
}

impl Drop for ClientSpan {
    fn drop(&mut self) {
        self.0.note_end(CallEnd::Error(ErrorKind::Cancelled), Some(Executed::Maybe));
    }
}
