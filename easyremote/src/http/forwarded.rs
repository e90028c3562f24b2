//! Requests on their way to a node with an HTTP server, and the answers that come back.
//!
//! A node is a peer that may misbehave: what it answers passes the rules of
//! [`headers`](crate::function::forward::headers) here again, and is shown in a sandbox.

use std::io;
use std::time::Duration;

use axum::body::Body;
use axum::http::header::{CONTENT_ENCODING, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::Response;
use bytes::Bytes;
use futures::{Stream, StreamExt, stream};
use tokio::time::sleep;

use crate::client::instance::Instance;
use crate::client::{Client, StreamCall};
use crate::error::{CallError, Error, ErrorKind, Executed, StreamError};
use crate::function::forward::{
    AnswerHead, AnswerPart, ForwardFailure, ForwardRequest, RequestHead, headers, target,
};
use crate::http::asked::{BodyFailure, invalid};
use crate::http::events::CompleteEvents;
use crate::http::problem::Problem;

/// What the browser may do with an answer: show it, and run and load nothing.
const SANDBOX: &str = "sandbox; default-src 'none'; frame-ancestors 'none'";

/// How an answer says that it has broken off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    /// As clients of the OpenAI API read it.
    OpenAi,
    /// With an event of its own.
    Plain,
}

/// Returns the head of a request as a node receives it, for `target`.
///
/// # Errors
/// If the request is not one that can be forwarded.
pub(super) fn head(
    parts: &Parts,
    target: &str,
    length: Option<u64>,
) -> Result<RequestHead, Problem> {
    if parts.uri.scheme().is_some() {
        return Err(invalid("the request names a whole URL: only a path can be forwarded"));
    }
    let method = parts.method.as_str();
    target::check(method, target).map_err(invalid)?;
    let mut list = Vec::with_capacity(parts.headers.len());
    for (name, value) in &parts.headers {
        let value = value.to_str();
        let value = value.map_err(|_| invalid(format!("the header `{name}` is no ASCII")))?;
        list.push((name.as_str().to_owned(), value.to_owned()));
    }
    let headers = headers::inward(list).map_err(invalid)?;
    Ok(RequestHead { method: method.to_owned(), target: target.to_owned(), headers, length })
}

/// Calls the server `name`, or any one if there is no name.
pub(super) fn call(
    client: &Client,
    name: Option<&str>,
    head: RequestHead,
    body: impl Stream<Item = Bytes> + Send + 'static,
) -> StreamCall<ForwardRequest> {
    let servers = Instance::new(client);
    let server = name.map(|name| servers.named(name)).unwrap_or(servers);
    server.stream_call_with((head,), body)
}

/// Makes the call and returns the answer, once its head is there. Dropping it, or its body, ends the
/// request at the server behind the node.
///
/// # Errors
/// Why there is no answer.
pub(super) async fn answer(
    mut call: StreamCall<ForwardRequest>,
    mut failing: BodyFailure,
    dialect: Dialect,
) -> Result<Response, Problem> {
    let first = tokio::select! {
        first = call.next() => first,
        problem = failing.wait() => return Err(problem),
    };
    let head = match first {
        Some(Ok(AnswerPart::Head(head))) => head,
        Some(Ok(AnswerPart::Body(_))) | None => return Err(disordered().into()),
        Some(Err(error)) => return Err(own(error).into()),
    };
    let bad = |text: String| {
        Problem::from(Error::new(ErrorKind::BadResponse, text).with_executed(Executed::Yes))
    };
    let (status, fields) = checked(head).map_err(bad)?;
    let is_text = fields.get(CONTENT_TYPE).is_some_and(is_event_stream);
    let events = is_text && !fields.contains_key(CONTENT_ENCODING);
    let events = events.then(CompleteEvents::default);
    let flow = RelayedBody::Open(Box::new(Relayed { call, failing, events, dialect }));
    let mut response = Response::new(Body::from_stream(stream::unfold(flow, RelayedBody::next)));
    *response.status_mut() = status;
    *response.headers_mut() = fields;
    Ok(response)
}

/// Checks the head of an answer.
fn checked(head: AnswerHead) -> Result<(StatusCode, HeaderMap), String> {
    headers::check_status(head.status)?;
    let status = StatusCode::from_u16(head.status).map_err(|error| error.to_string())?;
    let mut fields = HeaderMap::new();
    for (name, value) in headers::outward(head.headers)? {
        let invalid = || format!("the server answers with an invalid header `{name}`");
        let value = HeaderValue::try_from(value).map_err(|_| invalid())?;
        fields.insert(HeaderName::try_from(&name).map_err(|_| invalid())?, value);
    }
    fields.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(SANDBOX));
    Ok((status, fields))
}

fn is_event_stream(kind: &HeaderValue) -> bool {
    let kind = kind.to_str().unwrap_or_default();
    kind.split(';').next().is_some_and(|it| it.trim().eq_ignore_ascii_case("text/event-stream"))
}

/// The rest of an answer.
#[derive(Debug)]
struct Relayed {
    call: StreamCall<ForwardRequest>,
    failing: BodyFailure,
    /// If the body is a stream of events, and readable.
    events: Option<CompleteEvents>,
    dialect: Dialect,
}

/// The body of an answer, chunk by chunk.
#[derive(Debug)]
enum RelayedBody {
    Open(Box<Relayed>),
    /// The chunk before said why it has broken off.
    Broken(Error),
    Ended,
}

impl RelayedBody {
    /// Returns the next chunk. An error makes the server close the connection, so that no reader
    /// takes a part for the whole.
    async fn next(self) -> Option<(io::Result<Bytes>, Self)> {
        let mut relayed = match self {
            Self::Open(relayed) => relayed,
            Self::Broken(error) => return Some(broken_off(error).await),
            Self::Ended => return None,
        };
        loop {
            let part = tokio::select! {
                part = relayed.call.next() => part,
                problem = relayed.failing.wait() => Some(Err(CallError::Remote(problem.error().clone()))),
            };
            let error = match part {
                Some(Ok(AnswerPart::Body(chunk))) => {
                    let chunk = match &mut relayed.events {
                        Some(events) => events.pass(chunk),
                        None => chunk,
                    };
                    if chunk.is_empty() {
                        continue;
                    }
                    return Some((Ok(chunk), Self::Open(relayed)));
                }
                None => {
                    let rest = relayed.events.as_mut().map(CompleteEvents::rest);
                    let rest = rest.filter(|rest| !rest.is_empty())?;
                    return Some((Ok(rest), Self::Ended));
                }
                Some(Ok(AnswerPart::Head(_))) => disordered(),
                Some(Err(error)) => own(error),
            };
            tracing::debug!(%error, "an answer has broken off");
            let events = relayed.events.take().filter(CompleteEvents::is_between);
            return Some(match events {
                Some(_) => (Ok(last_event(&error, relayed.dialect)), Self::Broken(error)),
                None => broken_off(error).await,
            });
        }
    }
}

/// Time for what came before an error to leave: the server writes it out only while there is nothing
/// more to write, and an error makes it close the connection at once.
const FLUSH: Duration = Duration::from_millis(100);

async fn broken_off(error: Error) -> (io::Result<Bytes>, RelayedBody) {
    sleep(FLUSH).await;
    (Err(io::Error::other(error)), RelayedBody::Ended)
}

/// Returns the event that says why a stream of events has broken off.
fn last_event(error: &Error, dialect: Dialect) -> Bytes {
    let problem = Problem::from(error.clone());
    Bytes::from(match dialect {
        // Without a name: the official clients look for `error` in the data of such events.
        Dialect::OpenAi => format!("data: {}\n\n", problem.openai()),
        Dialect::Plain => format!("event: error\ndata: {}\n\n", problem.document()),
    })
}

fn disordered() -> Error {
    let text = "the node does not answer as a forwarded request is answered";
    Error::new(ErrorKind::BadResponse, text).with_executed(Executed::Maybe)
}

/// Returns the error of a request whose call has failed like this.
fn own(error: CallError<StreamError<ForwardFailure, ForwardFailure>>) -> Error {
    match error {
        CallError::Remote(error) => error,
        CallError::Function(StreamError::Setup(own) | StreamError::Item(own)) => own.into_error(),
    }
}

#[cfg(all(test, feature = "node"))]
mod tests;
