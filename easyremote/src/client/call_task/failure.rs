//! How an attempt fails: the error of what was seen, with what is known of the execution.

use crate::call::executed::Evidence;
use crate::client::call_task::CallTask;
use crate::client::detour::is_refusal;
use crate::client::errors::{connection_broke, with_signature};
use crate::client::expired::Expired;
use crate::error::{Error, ErrorKind};
use crate::transport::live_connection::LiveConnection;
use crate::transport::mux::client::MuxEnd;
use crate::transport::quic::stream::{Broken, FrameError};
use crate::wire::error::read_error;
use crate::wire::frame::Frame;

impl CallTask {
    /// Returns the error of an attempt on the multiplexed stream that ended without an answer.
    pub(in crate::client) fn failed(&mut self, end: MuxEnd, live: &LiveConnection) -> Error {
        self.evidence = Evidence::Sent;
        self.gateway = live.gateway;
        self.detour.wait_for_others(live.others_may_take(self.link.connect_timeout));
        match end {
            MuxEnd::Response(response) => self.refused(&response.frame, live),
            MuxEnd::Failed(error) => self.broken(error),
            MuxEnd::Late => self.expired(Expired::Late, Evidence::Sent),
            MuxEnd::Lost { evidence, cause } => {
                self.evidence = evidence;
                self.lost(cause)
            }
        }
    }

    /// Returns the error in an `Error` frame that arrived on `live`.
    pub(super) fn refused(&mut self, frame: &Frame, live: &LiveConnection) -> Error {
        let error = read_error(&frame.body).map_or_else(
            |cause| self.with_evidence(Error::new(ErrorKind::Protocol, cause.to_string())),
            |error| with_signature(error.weighed(), self.request.signature),
        );
        self.refused = true;
        if is_refusal(&error) {
            live.note_refused();
        } else {
            live.note_served();
        }
        error
    }

    /// Returns the error of an answer that cannot be read to its end.
    pub(super) fn broken(&mut self, error: FrameError) -> Error {
        match error {
            FrameError::Broken(Broken::Peer(code)) => {
                // A reset code says whether the function ran, which this side cannot know.
                Broken::Peer(code).error(ErrorKind::ConnectionLost)
            }
            FrameError::Broken(broken) => self.lost(broken),
            FrameError::Malformed(_) | FrameError::NoRoom => {
                self.evidence = Evidence::Answered;
                self.with_evidence(error.error(ErrorKind::ConnectionLost))
            }
        }
    }

    /// Returns the error of a connection that broke.
    pub(super) fn lost(&self, broken: Broken) -> Error {
        let cause = broken.error(ErrorKind::ConnectionLost);
        self.with_evidence(connection_broke(cause, &self.request.header.function))
    }

    /// Returns the error of a stream whose consumer has stopped reading.
    pub(super) fn stalled(&self) -> Error {
        let limit = self.link.stall_timeout;
        let text = format!(
            "the stream of `{}` was not read for {limit:?} while items were waiting",
            self.request.header.function
        );
        self.with_evidence(Error::new(ErrorKind::SlowConsumer, text))
    }

    /// Returns the error of an answer that violates the protocol.
    pub(super) fn protocol_error(&mut self, text: String) -> Error {
        self.evidence = Evidence::Answered;
        self.with_evidence(Error::new(ErrorKind::Protocol, text))
    }

    /// Returns the error of a call that has expired, where `evidence` is that of its last attempt.
    pub(in crate::client) fn expired(&self, expired: Expired, evidence: Evidence) -> Error {
        let error = expired.error(&self.request.header.function, self.limit);
        let error = error.with_evidence(evidence);
        let executed = error.executed().or(self.history.executed());
        error.with_executed(executed)
    }

    pub(super) fn with_evidence(&self, error: Error) -> Error {
        error.with_evidence(self.evidence)
    }
}
