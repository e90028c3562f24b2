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
//! A body without one of the last two was cut off. With `?resume=1`, events have ids, with which
//! another request goes on: see `http::resumed`.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Extension, Router};
use bytes::Bytes;
use futures::Stream;
use tokio::time::{Instant, Sleep, sleep};
use tokio_util::sync::CancellationToken;

use crate::client::{Client, JsonStream};
use crate::error::{CallError, Executed};
use crate::http::answer::Routed;
use crate::http::asked::{AskedBody, BodyFailure, PathName, invalid, items, options};
use crate::http::asker::{AskedBy, Asker};
use crate::http::guard::Site;
use crate::http::problem::Problem;
use crate::http::query::StreamQuery;
use crate::http::resumed::{NextText, ReaderEnd, ResumedStream, Resuming, StreamReader, continued};
use crate::http::stream_ids::{IdOwner, OpenedId, TicketReader};
use crate::http::ticket_list::StreamTicket;
use crate::wire::json_text::JsonText;

/// Who asks, by which ticket, and what is cancelled when the server stops.
type StreamAsker = (AskedBy, Option<Extension<TicketReader>>, Extension<CancellationToken>);

pub(super) fn routes() -> Router<Arc<Site>> {
    Router::new().route("/stream/{function}", get(without_body).post(with_body))
}

async fn with_body(
    State(site): State<Arc<Site>>,
    asking: StreamAsker,
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
    open(&site, asking, function, query, &headers, body).await
}

async fn without_body(
    State(site): State<Arc<Site>>,
    asking: StreamAsker,
    ticket: Option<Extension<StreamTicket>>,
    PathName(function): PathName,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Routed {
    let (Extension(asker), reader, Extension(stop)) = &asking;
    if let Some(Extension(reader)) = reader
        && let Some(id) = reader.opened.clone()
    {
        return go_on_by_ticket(&site, asker, &function, (reader, id), stop).await;
    }
    if let Some(Extension(ticket)) = ticket {
        let query = StreamQuery::parse(&ticket.query)?;
        let body = AskedBody { arguments: ticket.arguments, items: None, charge: None };
        // The request that shows it decides how items are written, and nothing else.
        let mut headers_of_call = ticket.options;
        if let Some(accepted) = headers.get(header::ACCEPT) {
            headers_of_call.insert(header::ACCEPT, accepted.clone());
        }
        return open(&site, asking, ticket.function, query, &headers_of_call, body).await;
    }
    let mut query = StreamQuery::parse(query.as_deref().unwrap_or_default())?;
    let text = query.arguments.take().unwrap_or_else(|| "[]".to_owned());
    let body = AskedBody::of(text.as_bytes())?;
    open(&site, asking, function, query, &headers, body).await
}

/// Opens a stream. An error until then is the answer.
async fn open(
    site: &Site,
    (Extension(asker), reader, Extension(stop)): StreamAsker,
    function: String,
    query: StreamQuery,
    headers: &HeaderMap,
    body: AskedBody,
) -> Routed {
    let (options, key) = options(headers)?;
    if key.is_some() {
        return Err(invalid("a stream has no deduplication key"));
    }
    let (framing, resume) = (Framing::of(headers), query.resume);
    let client = site.client(&asker).await?.with(options);
    let (owner, grant) = match &reader {
        Some(Extension(reader)) => (IdOwner::Ticket(&reader.ticket), Some(&reader.grant)),
        None => (IdOwner::Bearer(&asker.caller, &function), None),
    };
    let resuming = Resuming { site, owner, grant, function: &function, stop: &stop };
    if resume {
        check_resumable(framing, &body)?;
        if grant.is_none()
            && let Some(id) = continued(site, owner, headers)?
        {
            return go_on(resuming, &client, id).await;
        }
    }
    let mut stream = client.stream_text(function.clone(), body.arguments);
    if resume {
        stream = stream.with_ring();
    }
    stream = query.apply(stream);
    let mut failing = BodyFailure::default();
    if let Some(body) = body.items {
        let (items, ending) = items(body);
        stream = stream.items_text(items);
        failing = ending;
    }
    opened(&mut stream, &mut failing).await?;
    Ok(answer(match resume {
        true => ItemsBody::resumed(resuming.begun(stream)?),
        false => ItemsBody::new(stream, failing, framing),
    }))
}

/// Continues a stream.
async fn go_on(resuming: Resuming<'_>, client: &Client, id: OpenedId) -> Routed {
    if id.ended {
        // An `EventSource` asks no more.
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let stream = resuming.go_on(client, id.position).await?;
    Ok(answer(ItemsBody::resumed(stream)))
}

/// Continues a stream that a ticket has opened.
async fn go_on_by_ticket(
    site: &Site,
    asker: &Asker,
    function: &str,
    (reader, id): (&TicketReader, OpenedId),
    stop: &CancellationToken,
) -> Routed {
    let (owner, grant) = (IdOwner::Ticket(&reader.ticket), Some(&reader.grant));
    let client = site.client(asker).await?;
    go_on(Resuming { site, owner, grant, function, stop }, &client, id).await
}

fn answer(body: ItemsBody) -> Response {
    let kind = body.framing.content_type();
    // A proxy must not hold items back.
    let headers = [(header::CONTENT_TYPE.as_str(), kind), ("x-accel-buffering", "no")];
    (headers, Body::from_stream(body)).into_response()
}

/// Checks that a stream which is to continue can.
fn check_resumable(framing: Framing, body: &AskedBody) -> Result<(), Problem> {
    if framing == Framing::Lines {
        return Err(invalid("`resume=1` is for events: ask with `Accept: text/event-stream`"));
    }
    match body.items {
        None => Ok(()),
        Some(_) => Err(invalid("a stream cannot continue if the request sends one too")),
    }
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

/// The body of an answer with the items of a stream. Dropping it cancels the function, unless the
/// stream may continue.
struct ItemsBody {
    /// `None` once the stream has ended.
    stream: Option<JsonStream>,
    failing: BodyFailure,
    framing: Framing,
    /// Items, and errors of items.
    items: u64,
    quiet: Pin<Box<Sleep>>,
    /// Of a stream that may continue.
    reader: Option<Box<StreamReader>>,
    /// What has been read already.
    first: Option<NextText>,
    /// Whether the reader has an id, with which it can continue.
    has_id: bool,
}

impl ItemsBody {
    fn new(stream: JsonStream, failing: BodyFailure, framing: Framing) -> Self {
        let quiet = Box::pin(sleep(KEEP_ALIVE));
        let (stream, items, reader, first, has_id) = (Some(stream), 0, None, None, false);
        Self { stream, failing, framing, items, quiet, reader, first, has_id }
    }

    fn resumed(begun: ResumedStream) -> Self {
        let ResumedStream { stream, items, first, reader } = begun;
        let body = Self::new(stream, BodyFailure::default(), Framing::Events);
        Self { items, first, reader: Some(Box::new(reader)), ..body }
    }

    /// Appends the id of the event that follows: behind the items so far, or that of the end.
    fn put_id(&mut self, ended: bool, out: &mut Vec<u8>) {
        if let Some(reader) = &self.reader {
            out.extend_from_slice(b"id: ");
            reader.id.put(self.items, ended, out);
            out.push(b'\n');
            self.has_id = true;
        }
    }

    /// Appends the item, or the end of the stream.
    fn put(&mut self, next: Option<Result<JsonText, CallError<JsonText>>>, out: &mut Vec<u8>) {
        let over = self.stream.as_ref().is_none_or(JsonStream::is_over);
        match next {
            Some(Ok(item)) => {
                self.items += 1;
                self.put_id(false, out);
                self.framing.put(Framed::Item, item.as_bytes(), out);
            }
            Some(Err(CallError::Function(own))) if !over => {
                self.items += 1;
                self.put_id(false, out);
                self.framing.put(Framed::Fault, own.as_bytes(), out);
            }
            Some(Err(CallError::Remote(error))) if !over => {
                self.items += 1;
                self.put_id(false, out);
                // With `err = "display"`, a function's error is its text.
                let text = serde_json::to_string(&error.to_string()).unwrap_or_default();
                self.framing.put(Framed::Fault, text.as_bytes(), out);
            }
            Some(Err(error)) => self.end(&error.into(), out),
            None => {
                self.put_id(true, out);
                let count = format!("{{\"items\":{}}}", self.items);
                self.framing.put(Framed::End, count.as_bytes(), out);
                self.stream = None;
            }
        }
    }

    /// Begins an answer that may continue, and ends it if the reader is elsewhere.
    fn poll_reader(&mut self, context: &mut Context<'_>, out: &mut Vec<u8>) {
        let Some(reader) = &mut self.reader else { return };
        match reader.poll_over(context) {
            Poll::Ready(ReaderEnd::Replaced(problem)) if self.stream.is_some() => {
                self.end(&problem, out);
            }
            // Cut off, so that the reader continues elsewhere.
            Poll::Ready(ReaderEnd::Stopped) => self.stream = None,
            // An id without data is no event, but a reader that is cut off now has it: HTML standard,
            // section 9.2.6.
            _ if !self.has_id => {
                self.put_id(false, out);
                out.push(b'\n');
            }
            _ => {}
        }
    }

    /// Appends why the stream ends early.
    fn end(&mut self, problem: &Problem, out: &mut Vec<u8>) {
        self.put_id(true, out);
        self.framing.put(Framed::Problem, problem.document().as_bytes(), out);
        self.stream = None;
    }
}

impl Stream for ItemsBody {
    type Item = Result<Bytes, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        let mut out = Vec::new();
        if this.reader.is_some() {
            this.poll_reader(context, &mut out);
        }
        while let Some(stream) = &mut this.stream
            && out.len() < AT_ONCE
        {
            if let Poll::Ready(problem) = this.failing.poll(context) {
                this.end(&problem.with_executed(Executed::Yes), &mut out);
                break;
            }
            let next = match this.first.take() {
                Some(next) => Poll::Ready(next),
                None => stream.poll_text(context),
            };
            match next {
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
