//! HTTP requests that travel as calls: what a gateway's HTTP server sends to a node that stands
//! before an HTTP server, and what comes back.
//!
//! | direction | what | as |
//! |---|---|---|
//! | to the node | method, target, headers | the argument, a [`RequestHead`] |
//! | | chunks of the body | the client stream |
//! | back | status and headers, then chunks of the body | [`AnswerPart`]s, the head first |
//! | | that there is no answer, or that it has broken off | a [`ForwardFailure`] |
//!
//! Both ends apply the rules in [`target`] and [`headers`]: neither relies on the other.

pub(crate) mod headers;
pub(crate) mod target;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

#[cfg(feature = "http")]
use crate::call::executed::Evidence;
#[cfg(feature = "http")]
use crate::error::printable::one_line;
#[cfg(feature = "http")]
use crate::error::{Error, ErrorKind};
use crate::function::descriptor::Descriptor;
use crate::function::remote::{Remote, RemoteStream};
use crate::function::signature::{Signature, SignatureCell};
use crate::function::signature_trace::trace_stream;
use crate::wire::directory::HTTP;
#[cfg(feature = "http")]
use crate::wire::fields::MAX_TEXT;
use crate::wire::kind::Kind;

/// The function that forwards one HTTP request. A node offers it as [`HTTP`], and again as
/// `HTTP:name` under the name of its server.
#[derive(Debug)]
pub(crate) struct ForwardRequest;

impl Remote for ForwardRequest {
    const DESCRIPTOR: Descriptor = Descriptor::new(HTTP, Kind::Duplex, file!(), line!())
        .method_of(HTTP)
        .parameters(&["head"])
        .doc("Forwards an HTTP request to the server that the node stands before.\n");
    type Arguments = (RequestHead,);
    type Upload = Bytes;

    fn signature() -> &'static Signature {
        static CELL: SignatureCell = SignatureCell::new();
        CELL.get(trace_stream::<Self>)
    }
}

impl RemoteStream for ForwardRequest {
    type Setup = Result<(), ForwardFailure>;
    type Item = Result<AnswerPart, ForwardFailure>;
}

/// A request without its body.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RequestHead {
    pub(crate) method: String,
    /// Path and query, as in the first line of the request.
    pub(crate) target: String,
    /// Names in lower case.
    pub(crate) headers: Vec<(String, String)>,
    /// The length of the body in bytes, if it is known.
    pub(crate) length: Option<u64>,
}

/// A part of an answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum AnswerPart {
    /// The first part, and only the first.
    Head(AnswerHead),
    /// A chunk of the body, as it has arrived.
    Body(Bytes),
}

/// An answer without its body.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AnswerHead {
    pub(crate) status: u16,
    /// Names in lower case.
    pub(crate) headers: Vec<(String, String)>,
}

/// Why a request has no answer, or why its answer has broken off.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ForwardFailure {
    pub(crate) cause: ForwardCause,
    pub(crate) text: String,
}

/// What kept a node from answering a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum ForwardCause {
    /// The request is not one that the node forwards.
    NotAllowed,
    /// The request is malformed.
    Malformed,
    /// The server does not accept the connection.
    Unreachable,
    /// The server has not answered in time.
    Late,
    /// The connection broke, or what came is no HTTP, before there was an answer.
    Unanswered,
    /// The server has answered with something that is not passed on.
    BadAnswer,
    /// The connection broke within the body of the answer.
    BrokenOff,
}

impl ForwardFailure {
    #[cfg(any(feature = "attach", test))]
    pub(crate) fn new(cause: ForwardCause, text: impl Into<String>) -> Self {
        Self { cause, text: text.into() }
    }

    /// Returns the error that the caller sees. `executed` says whether the request has reached the
    /// server behind the node.
    #[cfg(feature = "http")]
    pub(crate) fn into_error(self) -> Error {
        let (kind, evidence) = match self.cause {
            ForwardCause::NotAllowed => (ErrorKind::PermissionDenied, Evidence::NotStarted),
            ForwardCause::Malformed => (ErrorKind::InvalidInput, Evidence::NotStarted),
            ForwardCause::Unreachable => (ErrorKind::Unavailable, Evidence::NotStarted),
            ForwardCause::Late => (ErrorKind::DeadlineExceeded, Evidence::Sent),
            ForwardCause::Unanswered => (ErrorKind::BadResponse, Evidence::Sent),
            ForwardCause::BadAnswer | ForwardCause::BrokenOff => {
                (ErrorKind::BadResponse, Evidence::Answered)
            }
        };
        let text = one_line(&self.text, MAX_TEXT).into_owned();
        Error::new(kind, text).with_executed(evidence.executed())
    }
}

/// How the tag of a node begins that names a model of its server.
pub(crate) const MODEL_TAG: &str = "model:";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_types_can_be_sent() {
        let signature = ForwardRequest::signature();
        assert_eq!(signature.refused, None);
        assert_ne!(signature.fingerprint, 0);
    }

    #[cfg(feature = "http")]
    #[test]
    fn what_has_not_reached_the_server_was_not_executed() {
        use crate::error::Executed;
        for (cause, executed) in [
            (ForwardCause::NotAllowed, Executed::No),
            (ForwardCause::Malformed, Executed::No),
            (ForwardCause::Unreachable, Executed::No),
            (ForwardCause::Late, Executed::Maybe),
            (ForwardCause::Unanswered, Executed::Maybe),
            (ForwardCause::BadAnswer, Executed::Yes),
            (ForwardCause::BrokenOff, Executed::Yes),
        ] {
            let error = ForwardFailure::new(cause, "no").into_error();
            assert_eq!(error.executed(), executed, "{cause:?}");
        }
    }
}
