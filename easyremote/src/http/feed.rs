//! What the page is fed with: the state of the gateway, and what changes in it, as server-sent
//! events.
//!
//! No task watches the gateway. A reader that is due asks for the state of the moment; the first one
//! reads it, and all others share it, with the text of what has changed since the moment before. So
//! nothing is read without readers, and a reader that is too slow for a moment skips it: what it gets
//! next is what has changed since the moment that it has seen.

mod seats;
mod state;

use std::sync::{Arc, Weak};
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Extension, Router};
use bytes::Bytes;
use futures::stream;
use tokio::sync::Mutex;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::http::asker::{AskedBy, Asker};
use crate::http::feed::seats::{Seat, Seats};
use crate::http::feed::state::{FeedJobs, FeedState};
use crate::http::guard::{Site, bearer_of};
use crate::http::problem::Problem;
use crate::transport::auth::bearer::Bearer;

/// Time from one moment to the next.
const PACE: Duration = Duration::from_secs(1);

/// A moment that took long to read is followed by a longer pause, so that reading takes at most a
/// tenth of a processor.
const MAX_SHARE: u32 = 10;

pub(super) fn routes() -> Router<Arc<Site>> {
    Router::new().route("/feed", get(feed)).layer(Extension(Arc::<Feed>::default()))
}

/// What all readers share.
#[derive(Debug, Default)]
struct Feed {
    /// The last moment, which its readers keep. Held while the next one is read.
    last: Mutex<LastMoment>,
    seats: Arc<Seats>,
}

#[derive(Debug, Default)]
struct LastMoment {
    number: u64,
    moment: Weak<FeedMoment>,
}

/// The state at one moment.
#[derive(Debug)]
struct FeedMoment {
    number: u64,
    state: FeedState,
    jobs: Arc<FeedJobs>,
    /// What has changed since the moment with this number, usually the one before.
    changes: Option<(u64, Bytes)>,
    /// When the next one may be read.
    next: Instant,
}

impl Feed {
    /// Returns the moment of now: the last one, or one that is read.
    ///
    /// # Cancel safety
    /// What was read is dropped, and the next reader reads again.
    async fn moment(&self, site: &Arc<Site>) -> Option<Arc<FeedMoment>> {
        let mut last = self.last.lock().await;
        let before = last.moment.upgrade();
        if let Some(current) = before.as_ref().filter(|it| Instant::now() < it.next) {
            return Some(current.clone());
        }
        last.number += 1;
        let (site, number) = (site.clone(), last.number);
        // Those of every second moment: each node that has jobs is asked for them.
        let jobs = match &before {
            Some(before) if number & 1 == 0 => before.jobs.clone(),
            _ => Arc::new(site.gateway.jobs().await),
        };
        // On another thread: meanwhile this one serves other requests.
        let reading = spawn_blocking(move || {
            let begun = Instant::now();
            let state = FeedState::read(&site.gateway, &jobs);
            let changes = before.map(|before| {
                (before.number, Bytes::from(state.events_since(Some(&before.state))))
            });
            let next = begun + PACE.max(begun.elapsed() * MAX_SHARE);
            FeedMoment { number, state, jobs, changes, next }
        });
        // Fails only if the server ends.
        let moment = Arc::new(reading.await.ok()?);
        last.moment = Arc::downgrade(&moment);
        Some(moment)
    }
}

impl FeedMoment {
    /// Returns the events for a reader that has seen `seen`.
    fn events_for(&self, seen: Option<&Self>) -> Bytes {
        match (&self.changes, seen) {
            (Some((since, changes)), Some(seen)) if *since == seen.number => changes.clone(),
            _ => self.state.events_since(seen.map(|seen| &seen.state)).into(),
        }
    }
}

/// A reader of the feed, which lives as long as its answer.
#[derive(Debug)]
struct FeedReader {
    site: Arc<Site>,
    feed: Arc<Feed>,
    asker: Arc<Asker>,
    bearer: Bearer,
    seat: Seat,
    stop: CancellationToken,
    /// What it has seen.
    seen: Option<Arc<FeedMoment>>,
}

impl FeedReader {
    /// Waits for the next moment, and returns the events that lead to it; `None` if the reader may
    /// see no more, or the server or the gateway ends.
    async fn next(&mut self) -> Option<Bytes> {
        self.seat.note_asked();
        loop {
            if let Some(seen) = &self.seen {
                tokio::select! {
                    () = sleep_until(seen.next) => {}
                    () = self.stop.cancelled() => return None,
                    () = self.asker.revoked.cancelled() => return None,
                    () = self.site.gateway.ends() => return None,
                }
            }
            if self.seat.is_lost() || self.check().is_err() {
                return None;
            }
            let moment = self.feed.moment(&self.site).await?;
            let events = moment.events_for(self.seen.as_deref());
            self.seen = Some(moment);
            if !events.is_empty() {
                return Some(events);
            }
        }
    }

    /// Checks that the reader may still see the feed.
    fn check(&self) -> Result<(), Problem> {
        self.site.gateway.admit(&self.bearer)?;
        Ok(self.site.gateway.check_overseer(&self.asker.caller)?)
    }
}

async fn feed(
    State(site): State<Arc<Site>>,
    Extension(asker): AskedBy,
    Extension(feed): Extension<Arc<Feed>>,
    Extension(stop): Extension<CancellationToken>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let bearer = bearer_of(&headers)?;
    site.gateway.check_overseer(&asker.caller)?;
    let seat = feed.seats.take()?;
    let reader = FeedReader { site, feed, asker, bearer, seat, stop, seen: None };
    let events = stream::unfold(reader, async |mut reader| {
        let events = reader.next().await?;
        Some((Ok::<_, std::convert::Infallible>(events), reader))
    });
    // A proxy must not hold events back.
    let kind = [(header::CONTENT_TYPE.as_str(), "text/event-stream"), ("x-accel-buffering", "no")];
    Ok((kind, Body::from_stream(events)).into_response())
}
