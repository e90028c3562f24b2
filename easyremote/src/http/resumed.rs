//! Streams that continue: `?resume=1`, and `Last-Event-ID`.
//!
//! ```text
//!   GET /stream/f?resume=1 --------> id: 0.. | id: 1.. | id: 2.. | cut
//!                                      the node keeps the stream for 30 s
//!   the same, Last-Event-ID: 2.. --> id: 3.. | .. | event: end, id: 9!..
//!   the same, Last-Event-ID: 9!.. -> 204: nothing follows, so that an EventSource stops
//! ```
//!
//! The gateway keeps nothing of a stream but who reads it here: the items are in the replay ring of
//! their node, and what it takes to go on is in the id. So the second request may come to another
//! gateway with the same key.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::http::{HeaderMap, StatusCode};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use crate::client::ring::StreamPosition;
use crate::client::{Client, JsonStream};
use crate::error::{CallError, Error, ErrorKind};
use crate::gateway::BearerGrant;
use crate::http::guard::Site;
use crate::http::problem::Problem;
use crate::http::stream_ids::{IdOwner, OpenedId, StreamId, last_event_id};
use crate::http::stream_readers::ReaderSeat;
use crate::wire::json_text::JsonText;

/// What a stream yields: an item, or its end.
pub(super) type NextText = Option<Result<JsonText, CallError<JsonText>>>;

/// A stream that has begun, or goes on.
pub(super) struct ResumedStream {
    pub(super) stream: JsonStream,
    /// The number of items before it.
    pub(super) items: u64,
    /// What has been read of it.
    pub(super) first: Option<NextText>,
    pub(super) reader: StreamReader,
}

/// The request that reads a stream which may continue.
pub(super) struct StreamReader {
    pub(super) id: StreamId,
    replaced: Pin<Box<WaitForCancellationFutureOwned>>,
    stopped: Pin<Box<WaitForCancellationFutureOwned>>,
    _place: ReaderSeat,
}

/// Why a request that reads a stream is over before the stream is.
pub(super) enum ReaderEnd {
    /// Another one reads the stream.
    Replaced(Problem),
    /// The server stops. The reader finds the stream at another gateway.
    Stopped,
}

impl StreamReader {
    /// Resolves if the request is over. Stays pending otherwise.
    pub(super) fn poll_over(&mut self, context: &mut Context<'_>) -> Poll<ReaderEnd> {
        if self.replaced.as_mut().poll(context).is_ready() {
            let text = "another request continues the stream";
            let error = Error::new(ErrorKind::Cancelled, text);
            return Poll::Ready(ReaderEnd::Replaced(error.into()));
        }
        self.stopped.as_mut().poll(context).map(|()| ReaderEnd::Stopped)
    }
}

/// Returns the stream that a request with a bearer continues, as `Last-Event-ID` names it; `None` if it
/// starts one.
///
/// # Errors
/// `PermissionDenied` if the id is not its own.
pub(super) fn continued(
    site: &Site,
    owner: IdOwner<'_>,
    headers: &HeaderMap,
) -> Result<Option<OpenedId>, Problem> {
    let Some(id) = last_event_id(headers)? else { return Ok(None) };
    site.stream_ids.open(id, owner).map(Some).ok_or_else(|| {
        let text = "`Last-Event-ID` is not from a stream of this function and this identity";
        Problem::new(StatusCode::FORBIDDEN, ErrorKind::PermissionDenied, text)
    })
}

/// A request that may continue, or be continued.
#[derive(Clone, Copy)]
pub(super) struct Resuming<'a> {
    pub(super) site: &'a Site,
    /// Whom the ids are good for, and the bearer of their ticket.
    pub(super) owner: IdOwner<'a>,
    pub(super) grant: Option<&'a BearerGrant>,
    pub(super) function: &'a str,
    /// Cancelled when the server stops.
    pub(super) stop: &'a CancellationToken,
}

impl Resuming<'_> {
    /// Begins to read a stream that has been set up.
    ///
    /// # Errors
    /// If it has no node, or there are no random numbers.
    pub(super) fn begun(self, stream: JsonStream) -> Result<ResumedStream, Problem> {
        let Some(position) = stream.position() else {
            let text = "the node has not said that it keeps the stream";
            return Err(Error::new(ErrorKind::Protocol, text).into());
        };
        let place = self.site.readers.enter(position.call);
        self.read(stream, &position, None, place)
    }

    /// Goes on with a stream.
    ///
    /// # Errors
    /// `Gap` if its node does not have what follows, or is lost.
    pub(super) async fn go_on(
        self,
        client: &Client,
        position: StreamPosition,
    ) -> Result<ResumedStream, Problem> {
        // Before the node is asked: the reader before must not take the stream back.
        let place = self.site.readers.enter(position.call);
        let mut stream = JsonStream::continued(client, self.function.to_owned(), position.clone());
        let first = match stream.attached().await {
            // An error until the node has confirmed is the answer.
            Some(Some(Err(error))) if stream.is_over() => return Err(error.into()),
            first => first,
        };
        self.read(stream, &position, first, place)
    }

    fn read(
        self,
        stream: JsonStream,
        position: &StreamPosition,
        first: Option<NextText>,
        place: ReaderSeat,
    ) -> Result<ResumedStream, Problem> {
        let id = self.site.stream_ids.seal(position, self.owner, self.grant)?;
        let replaced = Box::pin(place.replaced.clone().cancelled_owned());
        let stopped = Box::pin(self.stop.clone().cancelled_owned());
        let reader = StreamReader { id, replaced, stopped, _place: place };
        Ok(ResumedStream { stream, items: position.taken, first, reader })
    }
}
