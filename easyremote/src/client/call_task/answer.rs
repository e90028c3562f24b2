//! The answer to a call with one result.

use std::sync::Arc;

use crate::client::answer_form::AnswerForm;
use crate::client::trace::Trace;
use crate::transport::connection::ManagedConnection;
use crate::transport::live_connection::LiveConnection;
use crate::wire::frame::{Frame, FrameKind};
use crate::wire::header::CallHeader;
use crate::wire::response::Response;

/// The answer to a call with one result.
#[derive(Debug)]
pub(in crate::client) struct UnaryAnswer {
    /// A `Body` frame with the result, or a `Fault` frame with the function's own error.
    pub(in crate::client) frame: Frame,
    /// `Some` if the call was [traced](crate::Call::traced).
    pub(in crate::client) trace: Option<Box<Trace>>,
    /// How the frame is encoded.
    pub(in crate::client) form: AnswerForm,
}

impl UnaryAnswer {
    /// Takes the answer to the call of `header` from a response of `live`.
    ///
    /// # Errors
    /// Returns a response that is an `Error` frame.
    pub(in crate::client) fn new(
        response: Response,
        header: &CallHeader,
        live: &LiveConnection,
        link: &Arc<ManagedConnection>,
    ) -> Result<Self, Response> {
        if response.frame.kind == FrameKind::Error {
            return Err(response);
        }
        live.note_served();
        let Response { trace, frame } = response;
        let trace = header.traced.then(|| Box::new(Trace::new(trace, header.attempt + 1)));
        let form = AnswerForm::new(header.codec, &link.tally().left_out);
        Ok(Self { frame, trace, form })
    }
}
