//! `GET` and `POST /stream/{function}`: items as they are made, as JSON lines or as server-sent
//! events.
//!
//! | | JSON lines | events (HTML standard, section 9.2) |
//! |---|---|---|
//! | an item | `{"item": ..}` | `data: ..` |
//! | the function's own error of one item | `{"error": ..}` | `event: fault` |
//! | the end, last of all | `{"end": {"items": n}}` | `event: end` |
//! | or why the stream ends early | `{"problem": {..}}` | `event: problem` |
//!
//! A body without one of the last two was cut off.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, header};
use axum::response::IntoResponse;
use axum::routing::get;
use axum::{Extension, Router};
use bytes::Bytes;
use futures::Stream;
use tokio::time::{Instant, Sleep, sleep};

use crate::client::JsonStream;
use crate::error::{CallError, Executed};
use crate::http::answer::Routed;
use crate::http::asked::{AskedBody, BodyFailure, PathName, arguments, invalid, items, options};
use crate::http::asker::AskedBy;
use crate::http::guard::Site;
use crate::http::problem::Problem;
use crate::http::query::StreamQuery;
use crate::http::ticket_list::StreamTicket;
use crate::wire::json_text::JsonText;

pub(super) fn routes() -> Router<Arc<Site>> {
    Router::new().route("/stream/{function}", get(without_body).post(with_body))
}

async fn with_body(
    State(site): State<Arc<Site>>,
    asker: AskedBy,
    PathName(function): PathName,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Body,
) -> Routed {
    let query = StreamQuery::parse(query.as_deref().unwrap_or_default())?;
    if query.arguments.is_some() {
        return Err(invalid("the arguments of a `POST` are its body"));
    }
    let body = AskedBody::read(&site.bodies, &headers, body).await?;
    open(&site, asker, function, query, &headers, body).await
}

async fn without_body(
    State(site): State<Arc<Site>>,
    asker: AskedBy,
    ticket: Option<Extension<StreamTicket>>,
    PathName(function): PathName,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Routed {
    if let Some(Extension(ticket)) = ticket {
        let query = StreamQuery::parse(&ticket.query)?;
        let body = AskedBody { arguments: ticket.arguments, items: None };
        // The request that shows it decides how items are written, and nothing else.
        let mut headers_of_call = ticket.options;
        if let Some(accepted) = headers.get(header::ACCEPT) {
            headers_of_call.insert(header::ACCEPT, accepted.clone());
        }
        return open(&site, asker, ticket.function, query, &headers_of_call, body).await;
    }
    let mut query = StreamQuery::parse(query.as_deref().unwrap_or_default())?;
    let text = query.arguments.take().unwrap_or_else(|| "[]".to_owned());
    let body = AskedBody { arguments: arguments(text.as_bytes())?, items: None };
    open(&site, asker, function, query, &headers, body).await
}

/// Opens a stream. An error until then is the answer.
async fn open(
    site: &Site,
    Extension(asker): AskedBy,
    function: String,
    query: StreamQuery,
    headers: &HeaderMap,
    body: AskedBody,
) -> Routed {
    let (options, key) = options(headers)?;
    if key.is_some() {
        return Err(invalid("a stream has no deduplication key"));
    }
    let client = site.client(&asker).await?.with(options);
    let stream = client.stream_text(function, body.arguments);
    let mut stream = query.apply(stream);
    let mut failing = BodyFailure::default();
    if let Some(body) = body.items {
        let (items, ending) = items(body);
        stream = stream.items_text(items);
        failing = ending;
    }
    let framing = Framing::of(headers);
    opened(&mut stream, &mut failing).await?;
    let body = ItemsBody::new(stream, failing, framing);
    // A proxy must not hold items back.
    let (kind, proxy) = (header::CONTENT_TYPE.as_str(), "x-accel-buffering");
    let headers = [(kind, framing.content_type()), (proxy, "no")];
    Ok((headers, Body::from_stream(body)).into_response())
}

/// Waits until the function's set-up is done, or the body with its client stream fails.
async fn opened(stream: &mut JsonStream, failing: &mut BodyFailure) -> Result<(), Problem> {
    tokio::select! {
        opened = stream.opened() => Ok(opened?),
        problem = failing.wait() => Err(problem),
    }
}

/// How items are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Framing {
    Lines,
    Events,
}

impl Framing {
    /// Events if the request names them, lines otherwise.
    fn of(headers: &HeaderMap) -> Self {
        let accepted = headers.get_all(header::ACCEPT).into_iter();
        let mut accepted = accepted.filter_map(|list| list.to_str().ok());
        match accepted.any(|list| list.contains("text/event-stream")) {
            true => Self::Events,
            false => Self::Lines,
        }
    }

    fn content_type(self) -> &'static str {
        match self {
            Self::Lines => "application/x-ndjson",
            Self::Events => "text/event-stream",
        }
    }

    /// Appends `value`, which is JSON on one line.
    fn put(self, what: Framed, value: &[u8], out: &mut Vec<u8>) {
        let (line, event) = what.names();
        let parts: [&[u8]; 5] = match (self, event) {
            (Self::Lines, _) => [b"{\"", line.as_bytes(), b"\":", value, b"}\n"],
            (Self::Events, None) => [b"", b"", b"data: ", value, b"\n\n"],
            (Self::Events, Some(event)) => {
                [b"event: ", event.as_bytes(), b"\ndata: ", value, b"\n\n"]
            }
        };
        parts.iter().for_each(|part| out.extend_from_slice(part));
    }
}

/// What is written of a stream.
#[derive(Clone, Copy, Debug)]
enum Framed {
    Item,
    /// The function's own error of one item.
    Fault,
    End,
    Problem,
}

impl Framed {
    /// Returns the member of a line, and the name of an event.
    fn names(self) -> (&'static str, Option<&'static str>) {
        match self {
            Self::Item => ("item", None),
            Self::Fault => ("error", Some("fault")),
            Self::End => ("end", Some("end")),
            Self::Problem => ("problem", Some("problem")),
        }
    }
}

/// Time after which a comment shows that a quiet stream of events is alive. Proxies close
/// connections after 60 s without a byte, and some after 30 s.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// Bytes that are written at once, if they are there.
const AT_ONCE: usize = 32 << 10;

/// The body of an answer with the items of a stream. Dropping it cancels the function.
struct ItemsBody {
    /// `None` once the stream has ended.
    stream: Option<JsonStream>,
    failing: BodyFailure,
    framing: Framing,
    /// Items, and errors of items.
    items: u64,
    quiet: Pin<Box<Sleep>>,
}

impl ItemsBody {
    fn new(stream: JsonStream, failing: BodyFailure, framing: Framing) -> Self {
        let quiet = Box::pin(sleep(KEEP_ALIVE));
        Self { stream: Some(stream), failing, framing, items: 0, quiet }
    }

    /// Appends the item, or the end of the stream.
    fn put(&mut self, next: Option<Result<JsonText, CallError<JsonText>>>, out: &mut Vec<u8>) {
        let over = self.stream.as_ref().is_none_or(JsonStream::is_over);
        match next {
            Some(Ok(item)) => {
                self.items += 1;
                self.framing.put(Framed::Item, item.as_bytes(), out);
            }
            Some(Err(CallError::Function(own))) if !over => {
                self.items += 1;
                self.framing.put(Framed::Fault, own.as_bytes(), out);
            }
            Some(Err(CallError::Remote(error))) if !over => {
                self.items += 1;
                // With `err = "display"`, a function's error is its text.
                let text = serde_json::to_string(&error.to_string()).unwrap_or_default();
                self.framing.put(Framed::Fault, text.as_bytes(), out);
            }
            Some(Err(error)) => self.end(&error.into(), out),
            None => {
                let count = format!("{{\"items\":{}}}", self.items);
                self.framing.put(Framed::End, count.as_bytes(), out);
                self.stream = None;
            }
        }
    }

    /// Appends why the stream ends early.
    fn end(&mut self, problem: &Problem, out: &mut Vec<u8>) {
        self.framing.put(Framed::Problem, problem.document().as_bytes(), out);
        self.stream = None;
    }
}

impl Stream for ItemsBody {
    type Item = Result<Bytes, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        let mut out = Vec::new();
        while let Some(stream) = &mut this.stream
            && out.len() < AT_ONCE
        {
            if let Poll::Ready(problem) = this.failing.poll(context) {
                this.end(&problem.with_executed(Executed::Yes), &mut out);
                break;
            }
            match stream.poll_text(context) {
                Poll::Ready(next) => this.put(next, &mut out),
                Poll::Pending => break,
            }
        }
        if !out.is_empty() {
            this.quiet.as_mut().reset(Instant::now() + KEEP_ALIVE);
            return Poll::Ready(Some(Ok(out.into())));
        }
        if this.stream.is_none() {
            return Poll::Ready(None);
        }
        // Lines have no form that says nothing.
        if this.framing == Framing::Lines {
            return Poll::Pending;
        }
        ready!(this.quiet.as_mut().poll(context));
        this.quiet.as_mut().reset(Instant::now() + KEEP_ALIVE);
        Poll::Ready(Some(Ok(Bytes::from_static(b":\n\n"))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_stands_on_one_line_of_its_own() {
        for (what, line, event) in [
            (Framed::Item, "{\"item\":[1]}\n", "data: [1]\n\n"),
            (Framed::Fault, "{\"error\":[1]}\n", "event: fault\ndata: [1]\n\n"),
            (Framed::End, "{\"end\":[1]}\n", "event: end\ndata: [1]\n\n"),
            (Framed::Problem, "{\"problem\":[1]}\n", "event: problem\ndata: [1]\n\n"),
        ] {
            for (framing, expected) in [(Framing::Lines, line), (Framing::Events, event)] {
                let mut out = Vec::new();
                framing.put(what, b"[1]", &mut out);
                assert_eq!(String::from_utf8(out).unwrap(), expected);
            }
        }
    }
}
