//! The relay: one call's bytes from the client to a node, and back.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use tokio::time::{Instant, timeout, timeout_at};

use crate::error::{Error, ErrorKind, Executed};
use crate::gateway::limits::hit;
use crate::gateway::relay::caller_session::CallerSession;
use crate::gateway::relay::copy::{End, conclude, pump, upload};
use crate::gateway::routes::Place;
use crate::gateway::{GatewayState, Refusal, directory};
use crate::gauge::Gauge;
use crate::transport::quic::reset;
use crate::transport::quic::stream::{Broken, RecvHalf, SendHalf, halves};
use crate::wire::error::put_error;
use crate::wire::frame::{FrameBuffer, FrameKind};
use crate::wire::header::CallHeader;
use crate::wire::limits::HEADER_TIMEOUT;
use crate::wire::scanner::FrameScanner;

/// A stream that has turned out to be a mux, and what has come on it.
pub(crate) struct NewMux(pub(crate) Hop, pub(crate) Bytes);

/// Serves one stream that `peer` has opened, if it is a call: a mux, which stays, does not need as
/// much memory.
pub(crate) async fn serve(
    (send, recv): (SendHalf, RecvHalf),
    peer: Arc<CallerSession>,
) -> Option<NewMux> {
    let shared = &peer.shared;
    let _gauge = Gauge::up(&shared.counters.in_flight);
    let _busy = shared.busy.token();
    let mut client = Hop { send, recv };
    let mut buffer = FrameBuffer::new(0);
    let limit = shared.limits.header_timeout;
    let opened = timeout(limit, read_first(&mut client.recv, &mut buffer)).await;
    if let Ok(Ok(None)) = opened {
        return Some(NewMux(client, buffer.take_rest()));
    }
    shared.counters.calls.fetch_add(1, Ordering::Relaxed);
    let header = match opened {
        // Whatever the caller says of itself is not its to say.
        Ok(Ok(Some(header))) => {
            CallHeader { caller: Some(peer.caller.clone()), held: Duration::ZERO, ..header }
        }
        Ok(Ok(None)) => return None,
        Ok(Err(error)) => {
            peer.cancels.note();
            answer_error(client, &error).await;
            return None;
        }
        Err(_) => {
            hit(&shared.hits.header_timeouts);
            let error = protocol(format!("no complete call header within {limit:?}"));
            answer_error(client, &error).await;
            return None;
        }
    };
    let received = Instant::now();
    let directory = directory::answer(&header, shared);
    let kept = match peer.keep(directory.as_ref().map_or(buffer.len(), Vec::len)) {
        Ok(kept) => kept,
        Err(error) => {
            answer_error(client, &error).await;
            return None;
        }
    };
    if let Some(answer) = directory {
        answer_frames(client, &answer).await;
        return None;
    }
    match hand_over(&mut client, header, &mut buffer, received, &peer).await {
        Ok(Some((place, node, request))) => {
            drop(kept);
            match relay(client, node, &place, request, shared).await {
                true => peer.cancels.make_up(),
                false => peer.cancels.note(),
            }
        }
        Ok(None) => peer.cancels.note(),
        Err(error) => answer_error(client, &error).await,
    }
    None
}

/// A node that is lost without anybody having noticed is rare, so many in a row are no accident.
pub(crate) const ATTEMPTS: usize = 3;

/// Finds a node for a call and gives it what is here of it. `None` if the caller has left before.
///
/// A node that turns out to be lost before it has the whole call cannot have started it, so that
/// another one gets it.
///
/// # Errors
/// Why no node has it.
async fn hand_over(
    client: &mut Hop,
    mut header: CallHeader,
    buffer: &mut FrameBuffer,
    received: Instant,
    peer: &CallerSession,
) -> Result<Option<(Place, Hop, FrameScanner)>, Error> {
    let shared = &peer.shared;
    let rest = buffer.take_rest();
    let timeout = header.timeout;
    let mut outcome = Ok(None);
    for _ in 0..ATTEMPTS {
        let found = {
            let mut finding = pin!(find(&header, received, shared, peer.number));
            match finding.as_mut().now_or_never() {
                Some(found) => found,
                None => tokio::select! {
                    found = finding => found,
                    _ = client.send.stopped() => return Ok(None),
                },
            }
        };
        let place = found.inspect_err(|error| refused(&header, error, shared))?;
        let held = received.elapsed();
        header.timeout = timeout.map(|left| left.saturating_sub(held));
        if header.traced {
            header.held = held;
        }
        match open(&place, &header, &rest, shared.max_message).await {
            Ok((node, request)) => return Ok(Some((place, node, request))),
            Err(error) => {
                let lost = error.kind() == ErrorKind::NodeLost;
                outcome = Err(error.with_node(place.node().id()));
                if !lost {
                    break;
                }
                place.node().give_up();
                header.timeout = timeout;
            }
        }
    }
    outcome
}

/// Tells whoever wants to know of calls that no node gets.
pub(crate) fn refused(header: &CallHeader, error: &Error, shared: &GatewayState) {
    if let Some(refusals) = &shared.refusals {
        let (call, function) = (header.id, header.function.clone());
        // If nobody listens any more, nobody needs to know.
        let _ = refusals.send(Refusal { call, function, error: error.clone() });
    }
}

/// Finds a place for a call, for as long as it has time.
pub(crate) async fn find(
    header: &CallHeader,
    received: Instant,
    shared: &Arc<GatewayState>,
    number: u64,
) -> Result<Place, Error> {
    let mut finding = pin!(shared.routes.acquire(header, number));
    // As a rule there is a place at once, and nothing else to listen to.
    if let Some(found) = finding.as_mut().now_or_never() {
        return found;
    }
    let Some(left) = header.timeout else { return finding.await };
    match timeout_at(received + left, finding).await {
        Ok(found) => found,
        Err(_) => {
            let text = format!("the deadline of `{}` passed at the gateway", header.function);
            Err(Error::new(ErrorKind::DeadlineExceeded, text))
        }
    }
}

/// Both halves of one hop.
pub(crate) struct Hop {
    pub(crate) send: SendHalf,
    pub(crate) recv: RecvHalf,
}

/// The header that a call begins with; `None` if the stream is a mux.
async fn read_first(
    recv: &mut RecvHalf,
    buffer: &mut FrameBuffer,
) -> Result<Option<CallHeader>, Error> {
    match recv.frame(buffer).await {
        Ok(Some(frame)) if frame.kind == FrameKind::Header => CallHeader::read(&frame.body)
            .map(Some)
            .map_err(|cause| protocol(format!("call header: {cause}"))),
        Ok(Some(frame)) if frame.kind == FrameKind::Mux => Ok(None),
        Ok(Some(frame)) => Err(protocol(format!("{:?} frame instead of a header", frame.kind))),
        Ok(None) => Err(protocol("a call without a header")),
        Err(error) => Err(error.error(ErrorKind::ConnectionLost)),
    }
}

pub(crate) fn protocol(text: impl Into<String>) -> Error {
    Error::new(ErrorKind::Protocol, text.into())
}

/// Opens a stream to the node and sends the header and `rest`, what has come of the arguments; gives
/// what has passed of the request.
pub(crate) async fn open(
    place: &Place,
    header: &CallHeader,
    rest: &[u8],
    max_message: usize,
) -> Result<(Hop, FrameScanner), Error> {
    let id = place.node().id();
    let lost = |cause: Error| {
        let text = format!("node `{id}` was lost before it had the whole call: {cause}");
        Error::new(ErrorKind::NodeLost, text).with_source(cause)
    };
    // Calls in flight are counted below the node's limit, so a stream is there at once, or as soon
    // as the node's word that an earlier one is closed has come.
    let stream = match timeout(HEADER_TIMEOUT, place.node().connection().open_bi()).await {
        Ok(Ok(opened)) => opened,
        Ok(Err(cause)) => return Err(lost(reset::connection_error(cause, ErrorKind::NodeLost))),
        Err(_) => {
            let text = format!("node `{id}` takes no more calls now");
            return Err(Error::new(ErrorKind::Overloaded, text));
        }
    };
    let (send, recv) = halves(stream, place.node().credits());
    let mut node = Hop { send, recv };
    let mut first = Vec::with_capacity(256);
    header.put(&mut first).map_err(|_| protocol("the call header is too long"))?;
    let mut request = FrameScanner::request(header.kind, max_message);
    request.pass(rest).map_err(|cause| cause.into_error())?;
    first.extend_from_slice(rest);
    match node.send.write(&first).await {
        // A node that wants no more says why in its answer.
        Ok(()) | Err(Broken::Peer(_)) => Ok((node, request)),
        // The last byte was not even taken for sending, so the node cannot have started.
        Err(broken) => Err(lost(broken.error(ErrorKind::NodeLost))),
    }
}

/// Relays both directions until the call is over. Says whether its caller has waited for something
/// to come back.
async fn relay(
    mut client: Hop,
    mut node: Hop,
    place: &Place,
    mut request: FrameScanner,
    shared: &GatewayState,
) -> bool {
    let mut answer = FrameScanner::answer(shared.max_message);
    let limit = shared.limits.progress_timeout;
    let end = tokio::select! {
        biased;
        end = pump(&mut node.recv, &mut client.send, &mut answer, limit, || place.answered()) => end,
        end = upload(&mut client.recv, &mut node.send, &mut request, limit) => end,
    };
    if matches!(end, End::Stalled | End::Starved) {
        hit(&shared.hits.progress_timeouts);
    }
    let waited = answer.shows_execution() || !matches!(end, End::Receiver(_));
    let executed = if request.has_arguments() { Executed::Maybe } else { Executed::No };
    if let End::Receiver(broken) = &end {
        node.send.reset(broken.code(ErrorKind::Cancelled, Executed::Maybe));
    }
    let ends = (&mut node.recv, &mut client.send);
    conclude(end, executed, &answer, place, limit, ends).await;
    waited
}

async fn answer_error(mut client: Hop, error: &Error) {
    write_error(&mut client.send, error).await;
}

pub(crate) async fn write_error(send: &mut SendHalf, error: &Error) {
    let mut frames = Vec::new();
    put_error(&mut frames, error);
    write_last(send, &frames).await;
}

/// Ends the call with `frames`.
async fn answer_frames(mut client: Hop, frames: &[u8]) {
    // Nothing more is read.
    write_last(&mut client.send, frames).await;
}

async fn write_last(send: &mut SendHalf, frames: &[u8]) {
    // If the client is gone, it needs no answer.
    if send.write(frames).await.is_ok() {
        send.finish();
    }
}
