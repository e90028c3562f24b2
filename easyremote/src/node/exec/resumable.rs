//! Resumable streams: what a function produces outlives the QUIC stream that carries it.
//!
//! ```text
//!    function ----> replay buffer ----> leg: one QUIC stream
//!              batches      ^  |             |
//!                           |  +-- trim <----+ `Taken`: the reader has these
//!                           |
//!   attached --the connection of the caller or the gateway is lost--> parked
//!      ^                                                                | 30 s
//!      +-------- a call that continues it, with its secret <------------+-----> given up
//! ```
//!
//! A task of its own, which no session ends, moves the items. While nobody reads, the buffer fills
//! and the function is paused. A *leg* is the QUIC stream that carries them at the time; each new
//! one begins behind the items that the reader has taken, and replaces the one before.
//!
//! A call with a resumable client stream is the same thing turned round: it has no items, and its
//! answer is what the buffer keeps. What its caller sends goes through a *feed* to the function,
//! whichever leg brings it; the node tells the caller how many items have arrived, and a leg begins
//! behind those.
//!
//! A caller that passes the items on, and cannot tell which have arrived, asks for a *ring* in place
//! of the buffer: the last items are kept although they were taken. The function is paused by a reader
//! that is slow, and not by one that is away. Such a stream is also parked after its end, in case its
//! last items were lost.
//!
//! The stream is over when the caller cancels it, or finishes its direction once it has the last
//! frame: until then it might come back for that. Its permits are free when the function has ended,
//! and the gateways of all its legs are told so.

mod errors;
mod feed;
mod heard;
pub(super) mod leg;
pub(in crate::node) mod registry;
mod replay;
mod retained;
mod ring;

use std::borrow::Cow;
use std::future::pending;
use std::pin::pin;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};
use tokio::task::yield_now;
use tokio::time::{Instant, sleep_until};

use crate::call::deadline::passes;
use crate::call::demand::Demand;
use crate::call::executed::Evidence;
use crate::error::{Error, ErrorKind};
use crate::function::context::Context;
use crate::function::handler::Reply;
use crate::function::upload::RawUpload;
use crate::node::exec::calls::NodeCalls;
use crate::node::exec::resumable::errors::{PARKED, busy, gap, given_up};
use crate::node::exec::resumable::feed::{Fed, UploadFeed};
use crate::node::exec::resumable::heard::{HeardLeg, LegEnd, Said, end_of};
use crate::node::exec::resumable::leg::{LegSession, NewLeg};
use crate::node::exec::resumable::registry::StreamListing;
use crate::node::exec::resumable::replay::{ReplayBuffer, batch, least};
use crate::node::exec::resumable::retained::RetainedItems;
use crate::node::exec::resumable::ring::ReplayRing;
use crate::node::exec::table::CallKey;
use crate::node::exec::taken::TakenParser;
use crate::node::exec::work::error_frames;
use crate::node::state::NodeState;
use crate::transport::byte_channel::{ByteReceiver, Received};
use crate::transport::quic::reset;
use crate::transport::quic::stream::SendHalf;
use crate::transport::stream_table::StreamMeter;
use crate::wire::caller::KnownCaller;
use crate::wire::codec::Codec;
use crate::wire::header::CallHeader;
use crate::wire::limits::MessageLimits;
use crate::wire::operators::Operator;
use crate::wire::resume::{Attachment, ResumeRequest};

/// A resumable stream that is about to start: its place in the list of the node, and its buffer.
#[derive(Debug)]
pub(super) struct PreparedStream {
    listing: StreamListing,
    arriving: mpsc::Receiver<NewLeg>,
    buffer: RetainedItems,
    demand: Arc<Demand>,
    every: u64,
    /// Of a call with a client stream.
    feed: Option<Box<UploadFeed>>,
}

/// Returns how many bytes of the items of a resumable stream may wait for its I/O task.
pub(super) fn channel_bytes(replay: u64) -> usize {
    batch(size(replay))
}

fn size(replay: u64) -> usize {
    usize::try_from(replay).unwrap_or(usize::MAX)
}

impl PreparedStream {
    /// Lists the stream of a call that starts, as its `header` asks for.
    ///
    /// # Errors
    /// `Overloaded`, `No`, if the budget for what is kept is used up.
    pub(super) fn new(
        node: &NodeState,
        (header, request): (&CallHeader, &ResumeRequest),
        caller: &KnownCaller,
        replay: u64,
    ) -> Result<Self, Error> {
        let replay = size(replay);
        let charge = node.kept.charge(&caller.identity, least(replay) as u64)?;
        let (listing, arriving) = node.resumable.list(header, caller, &request.secret);
        let buffer = match request.ring {
            true => RetainedItems::Last(Box::new(ReplayRing::new(replay, charge))),
            false => RetainedItems::Untaken(ReplayBuffer::new(request.taken, replay, charge)),
        };
        let demand = Arc::new(Demand::default());
        demand.raise(request.taken);
        // A caller that continues does not know the operators.
        let each = header.operators.iter().any(Operator::needs_demand);
        let every = if each { 0 } else { batch(replay) as u64 };
        Ok(Self { listing, arriving, buffer, demand, every, feed: None })
    }

    /// Adds the client stream of the call. Returns the function's end of it.
    pub(super) fn add_upload(
        &mut self,
        node: &NodeState,
        limits: MessageLimits,
        codec: Codec,
    ) -> RawUpload {
        let (feed, upload) = UploadFeed::new(node, limits, codec);
        self.feed = Some(Box::new(feed));
        upload
    }

    /// What the reader has taken; the task of the stream raises it.
    pub(super) fn demand(&self) -> &Arc<Demand> {
        &self.demand
    }
}

/// Hands a call that continues a stream to the task of that stream.
///
/// # Errors
/// `Gap` if the node does not have the stream, or may not give it to this caller; and the half to
/// answer on.
pub(super) fn attach(
    node: &NodeState,
    header: &CallHeader,
    caller: &KnownCaller,
    leg: NewLeg,
) -> Result<(), (SendHalf, Error)> {
    let Some(legs) = node.resumable.find(header, caller) else { return Err((leg.send, gap())) };
    legs.try_send(leg).map_err(|refused| match refused {
        mpsc::error::TrySendError::Full(leg) => (leg.send, busy()),
        mpsc::error::TrySendError::Closed(leg) => (leg.send, gap()),
    })
}

/// The task of a resumable stream.
pub(super) struct ResumableStream {
    pub(super) key: CallKey,
    /// The session in which the call has started.
    pub(super) calls: Arc<NodeCalls>,
    pub(super) function: Cow<'static, str>,
    pub(super) context: Context,
    pub(super) deadline: Option<Instant>,
    pub(super) production: Production,
    pub(super) prepared: PreparedStream,
}

/// What comes from the function.
pub(super) struct Production {
    /// `None` once the last frame has been fetched.
    pub(super) items: Option<ByteReceiver<()>>,
    /// Resolves when the function has ended and released its permits; `None` afterwards.
    pub(super) ended: Option<oneshot::Receiver<Reply>>,
}

/// What a function has produced.
enum Produced {
    Frames(Vec<Bytes>),
    /// The items have ended with their last frame.
    Whole,
    /// The permits are free, and these are the last frames if there was none.
    Released(Reply),
}

impl Production {
    /// Waits for what comes next. Cancel safe; `room` resolves when there is room for items.
    async fn next(&mut self, room: impl Future<Output = ()>) -> Produced {
        if let Some(items) = &mut self.items {
            room.await;
            match items.receive().await {
                Received::Batch(batch) => return Produced::Frames(batch),
                Received::End(end) => {
                    self.items = None;
                    if end.is_some() {
                        return Produced::Whole;
                    }
                }
            }
        }
        match &mut self.ended {
            Some(ended) => {
                let reply = ended.await.unwrap_or_default();
                self.ended = None;
                Produced::Released(reply)
            }
            None => pending().await,
        }
    }
}

/// What happened while a stream is parked.
enum Unparked {
    Leg(Box<NewLeg>),
    /// Nobody came back, or nobody can.
    Over,
}

/// The session and the QUIC stream of a leg, which its gateway may ask for once it has abandoned it.
struct LegPlace {
    session: Arc<dyn LegSession>,
    stream: u64,
}

/// The progress of a stream, whichever leg it is on.
struct Progress {
    buffer: RetainedItems,
    /// Whether the last frame is in the buffer, or has been taken from it.
    whole: bool,
    /// Whether the permits are free.
    released: bool,
    demand: Arc<Demand>,
    /// Where the stream is and was read, as long as a gateway counts it there.
    places: Vec<LegPlace>,
    /// Of a function that returns a stream.
    meter: Option<Arc<StreamMeter>>,
    /// Of a call with a client stream.
    feed: Option<Box<UploadFeed>>,
}

impl ResumableStream {
    /// Serves the stream until it is over, on `leg` first.
    pub(super) async fn run(mut self, leg: NewLeg) {
        let PreparedStream { listing, mut arriving, buffer, demand, every, feed } = self.prepared;
        let (whole, released, places) = (false, false, Vec::new());
        let node = self.calls.node();
        let gives_stream = self.production.items.is_some();
        let mut metered = gives_stream.then(|| node.enter_stream(&self.function, &self.context));
        let meter = metered.as_ref().map(|metered| metered.meter.clone());
        let mut progress = Progress { buffer, whole, released, demand, places, meter, feed };
        // Also if the task is dropped, because the node ends.
        let wanted = WantedCall { calls: &self.calls, key: self.key };
        let task = StreamTask {
            key: self.key,
            calls: &self.calls,
            function: &self.function,
            context: &self.context,
            every,
        };
        let mut next = Some(leg);
        loop {
            let parts = (&mut progress, &mut self.production, &mut arriving, &mut self.deadline);
            next = match next {
                Some(leg) => match task.serve(leg, parts).await {
                    LegEnd::Over => break,
                    LegEnd::Read if !progress.buffer.are_last() => break,
                    LegEnd::Read => {
                        listing.note_read();
                        (progress.meter, metered) = (None, None);
                        None
                    }
                    LegEnd::Lost => None,
                    LegEnd::Replaced(leg) => Some(*leg),
                },
                None => match task.park(parts).await {
                    Unparked::Over => break,
                    Unparked::Leg(leg) => Some(*leg),
                },
            };
        }
        drop((listing, arriving, metered));
        // Before waiting for its end: a function that waits for room must wake up.
        self.production.items = None;
        drop((wanted, progress.buffer, progress.feed));
        if let Some(ended) = self.production.ended.take() {
            // An error means that there was no one to answer.
            let _ = ended.await;
        }
        progress.places.iter().for_each(LegPlace::release);
    }
}

/// A call whose function is given up, unless it has ended, when this is dropped.
struct WantedCall<'a> {
    calls: &'a NodeCalls,
    key: CallKey,
}

impl Drop for WantedCall<'_> {
    fn drop(&mut self) {
        self.calls.give_up(self.key);
    }
}

/// What a stream's task uses while it serves a leg or waits for one.
type StreamParts<'a> =
    (&'a mut Progress, &'a mut Production, &'a mut mpsc::Receiver<NewLeg>, &'a mut Option<Instant>);

struct StreamTask<'a> {
    key: CallKey,
    calls: &'a Arc<NodeCalls>,
    function: &'a str,
    context: &'a Context,
    every: u64,
}

impl StreamTask<'_> {
    /// Sends the stream on a leg until one side ends it.
    async fn serve(&self, leg: NewLeg, parts: StreamParts<'_>) -> LegEnd {
        let (progress, production, arriving, deadline) = parts;
        Self::begin(&leg, progress);
        let received = progress.feed.as_mut().map_or(0, |feed| feed.rewind());
        let NewLeg { mut send, recv, rest, body, session, taken } = leg;
        let parser = TakenParser::behind(taken, progress.demand.clone(), session.max_message());
        let (stopped, unread) = (send.stopped(), Some(vec![rest]));
        let (finished, discards) = (false, false);
        let mut heard = HeardLeg { recv, stopped, parser, unread, body, finished, discards };
        let mut first = Vec::new();
        Attachment::put(&mut first, self.every, received, &self.calls.node().id);
        let mut batch = vec![Bytes::from(first)];
        loop {
            batch.extend(progress.acknowledgement());
            batch.extend(progress.buffer.take_unsent());
            if batch.is_empty() && heard.finished && progress.released {
                // The permits are free, and the caller has everything.
                send.finish();
                return LegEnd::Read;
            }
            let step = (&mut *progress, &mut *production, &mut *arriving, &mut *deadline);
            if let Some(end) = self.step(&mut send, &mut batch, &mut heard, step).await {
                let code = match end {
                    LegEnd::Over | LegEnd::Read => reset::cancelled(),
                    // Two readers must not take the stream from each other by turns.
                    LegEnd::Replaced(_) if progress.buffer.are_last() => reset::cancelled(),
                    LegEnd::Lost | LegEnd::Replaced(_) => reset::code(ErrorKind::ConnectionLost),
                };
                send.reset(code);
                heard.recv.stop(code);
                return end;
            }
            batch.clear();
        }
    }

    /// Writes `batch`, and meanwhile handles everything else. Returns when it is written, or, if it
    /// is empty, when there may be something to write; `Some` if the leg ends.
    async fn step(
        &self,
        send: &mut SendHalf,
        batch: &mut [Bytes],
        heard: &mut HeardLeg,
        (progress, production, arriving, deadline): StreamParts<'_>,
    ) -> Option<LegEnd> {
        let (idle, meter) = (batch.is_empty(), progress.meter.clone());
        if !idle && let Some(meter) = &meter {
            let tally = self.context.tally();
            meter.note(tally.so_far(), tally.skipped());
        }
        let mut writing = pin!(async {
            match &meter {
                _ if idle => pending().await,
                Some(meter) => meter.send(send.write_chunks(batch)).await,
                None => send.write_chunks(batch).await,
            }
        });
        loop {
            let reads = progress.feed.as_ref().is_none_or(|feed| feed.has_room());
            tokio::select! {
                // What costs least first. An endless supply of items ends when the buffer is full,
                // and what the reader has taken is read then.
                biased;
                written = &mut writing => return written.err().map(|broken| end_of(&broken)),
                produced = production.next(progress.buffer.room()) => progress.add(produced),
                said = heard.next(reads) => match said {
                    Said::More(chunks) => match self.note_said(heard, chunks, progress) {
                        Ok(()) if progress.feed.is_none() => continue,
                        // The caller may have to be told what has arrived.
                        Ok(()) => {}
                        Err(()) => return Some(LegEnd::Over),
                    },
                    Said::Finished => progress.feed.iter_mut().for_each(|feed| feed.finish()),
                    Said::Gone(end) => return Some(end),
                },
                fed = next_fed(&mut progress.feed) => self.note_fed(fed, progress),
                Some(leg) = arriving.recv() => match self.admit(leg, progress) {
                    Some(leg) => return Some(LegEnd::Replaced(Box::new(leg))),
                    None => continue,
                },
                () = passes(*deadline) => {
                    *deadline = None;
                    self.expire(progress, production);
                }
            }
            if idle {
                return None;
            }
        }
    }

    /// Keeps the stream until its reader comes back, or the time is over.
    async fn park(&self, parts: StreamParts<'_>) -> Unparked {
        let (progress, production, arriving, deadline) = parts;
        let until = Instant::now() + PARKED;
        progress.buffer.leave();
        loop {
            tokio::select! {
                biased;
                leg = arriving.recv() => match leg.map(|leg| self.admit(leg, progress)) {
                    Some(Some(leg)) => return Unparked::Leg(Box::new(leg)),
                    Some(None) => {}
                    // Another stream of this call has replaced this one in the list.
                    None => return Unparked::Over,
                },
                produced = production.next(progress.buffer.room()) => {
                    progress.add(produced);
                    // A ring has always room, so that the supply of items may be endless.
                    yield_now().await;
                }
                fed = next_fed(&mut progress.feed) => self.note_fed(fed, progress),
                () = passes(*deadline) => {
                    *deadline = None;
                    self.expire(progress, production);
                }
                () = sleep_until(until) => return Unparked::Over,
            }
        }
    }

    /// Answers a leg that asks for items which the node does not have, and returns `None`: it ends
    /// nothing, neither another leg nor the time for which the stream is kept.
    fn admit(&self, leg: NewLeg, progress: &Progress) -> Option<NewLeg> {
        if !progress.buffer.reach(leg.taken, self.context.tally().so_far().0) {
            let NewLeg { mut send, session, .. } = leg;
            let frames = error_frames(&gap().with_node(&*self.calls.node().id));
            session.spawn(Box::pin(async move {
                // A write error means that the caller has left.
                if send.write(&frames).await.is_ok() {
                    send.finish();
                }
            }));
            return None;
        }
        Some(leg)
    }

    /// Prepares the buffer for a leg.
    fn begin(leg: &NewLeg, progress: &mut Progress) {
        progress.demand.raise(leg.taken);
        progress.buffer.attach(leg.taken);
        progress.enter(LegPlace { session: leg.session.clone(), stream: leg.send.id() });
    }

    /// Notes what has become of the client stream.
    fn note_fed(&self, fed: Fed, progress: &mut Progress) {
        if let (Fed::Failed(error), Some(feed)) = (fed, &mut progress.feed) {
            // The answer follows once the function has been dropped.
            self.calls.fail(self.key, error);
            feed.close();
        }
    }

    /// Reads what the reader has taken, or takes the items of a client stream.
    ///
    /// # Errors
    /// If the caller breaks the protocol, and gets no other answer than the end of the leg.
    fn note_said(
        &self,
        heard: &mut HeardLeg,
        chunks: Vec<Bytes>,
        progress: &mut Progress,
    ) -> Result<(), ()> {
        if heard.discards {
            return Ok(());
        }
        let said = match &mut progress.feed {
            Some(feed) => feed.take(chunks),
            None => {
                // What was taken from other nodes counts as sent.
                let sent = self.context.tally().so_far().0.max(self.context.taken_before());
                let parsed = heard.parser.split(chunks, sent);
                progress.buffer.note_taken(progress.demand.taken());
                parsed.map(drop)
            }
        };
        let Err(cause) = said else { return Ok(()) };
        let error = cause.within("what follows the arguments").into_error();
        self.calls.fail(self.key, error.with_evidence(Evidence::Sent));
        // A call with one result is answered once its function has been dropped.
        let Some(feed) = &mut progress.feed else { return Err(()) };
        feed.close();
        heard.discards = true;
        Ok(())
    }

    /// Ends the function because its deadline has passed.
    fn expire(&self, progress: &mut Progress, production: &mut Production) {
        // Once the last frame is there, the deadline no longer matters.
        if progress.whole {
            return;
        }
        let late = self.calls.node().late(self.function, Evidence::Sent);
        production.items = None;
        self.calls.fail(self.key, late.clone());
        progress.buffer.push(error_frames(&late).into());
        progress.whole = true;
    }
}

/// Waits for what becomes of a client stream, if there is one. Cancel safe.
async fn next_fed(feed: &mut Option<Box<UploadFeed>>) -> Fed {
    match feed {
        Some(feed) => feed.next().await,
        None => pending().await,
    }
}

impl Progress {
    /// Returns the frame that tells the caller what has arrived, if it is due. Nothing follows the
    /// last frame.
    fn acknowledgement(&mut self) -> Option<Bytes> {
        let feed = self.feed.as_mut().filter(|_| !self.whole);
        feed.and_then(|feed| feed.acknowledgement())
    }

    fn add(&mut self, produced: Produced) {
        match produced {
            Produced::Frames(batch) => batch.into_iter().for_each(|chunk| self.buffer.push(chunk)),
            Produced::Whole => self.whole = true,
            Produced::Released(reply) => {
                if !self.whole {
                    // A function that was given up has no answer, and its caller must not wait for one.
                    let none = reply.is_empty();
                    let last = if none { error_frames(&given_up()) } else { reply };
                    self.buffer.push(last.into());
                }
                (self.whole, self.released) = (true, true);
                self.places.drain(..).for_each(|place| place.release());
            }
        }
    }

    /// Notes where the stream is read now.
    ///
    /// A gateway that passes the stream on again has counted its place with the new leg. It may
    /// forget an older leg of the same session at once; other gateways are told at the end.
    fn enter(&mut self, place: LegPlace) {
        self.places.retain(|old| {
            let same = Arc::ptr_eq(&old.session, &place.session);
            if same {
                old.session.forget_leg(old.stream);
            }
            !same && old.session.is_open()
        });
        if !self.released {
            place.session.add_leg(place.stream);
            self.places.push(place);
        }
    }
}

impl LegPlace {
    /// Tells the gateway of the leg that the permits are free, if it has asked.
    fn release(&self) {
        self.session.end_leg(self.stream);
    }
}
