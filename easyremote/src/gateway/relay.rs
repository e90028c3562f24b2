//! The relay: one call's bytes from the client to a node, and back.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use tokio::time::{Instant, sleep_until, timeout};

use crate::error::{Error, ErrorKind, Executed};
use crate::gateway::routes::Place;
use crate::gateway::{Refusal, Shared, directory};
use crate::gauge::Gauge;
use crate::transport::reset;
use crate::transport::stream::{Broken, RecvHalf, SendHalf, halves};
use crate::wire::error::put_error;
use crate::wire::frame::{FrameBuffer, FrameKind};
use crate::wire::header::{CallHeader, Caller};
use crate::wire::limits::HEADER_TIMEOUT;
use crate::wire::scanner::FrameScanner;

/// Serves one stream that `caller` has opened, on its connection of this number.
pub(super) async fn serve(
    (send, recv): (SendHalf, RecvHalf),
    shared: Arc<Shared>,
    caller: Arc<Caller>,
    number: u64,
) {
    let _gauge = Gauge::up(&shared.counters.in_flight);
    let _busy = shared.busy.token();
    let mut client = Hop { send, recv };
    let mut buffer = FrameBuffer::new(0);
    let header = match timeout(HEADER_TIMEOUT, read_header(&mut client.recv, &mut buffer)).await {
        // Whatever the caller says of itself is not its to say.
        Ok(Ok(header)) => {
            CallHeader { caller: Some((*caller).clone()), held: Duration::ZERO, ..header }
        }
        Ok(Err(error)) => return answer_error(client, &error).await,
        Err(_) => {
            let error = protocol(format!("no complete call header within {HEADER_TIMEOUT:?}"));
            return answer_error(client, &error).await;
        }
    };
    let received = Instant::now();
    if let Some(answer) = directory::answer(&header, &shared) {
        return answer_frames(client, &answer).await;
    }
    match hand_over(&mut client, header, &mut buffer, received, (&shared, number)).await {
        Ok(Some((place, node, request))) => {
            relay(client, node, &place, request, shared.max_message).await;
        }
        Ok(None) => {}
        Err(error) => answer_error(client, &error).await,
    }
}

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
    (shared, number): (&Arc<Shared>, u64),
) -> Result<Option<(Place, Hop, FrameScanner)>, Error> {
    /// A node that is lost without anybody having noticed is rare, two in a row are no accident.
    const ATTEMPTS: usize = 3;
    let rest = buffer.take_rest();
    let timeout = header.timeout;
    let mut outcome = Ok(None);
    for _ in 0..ATTEMPTS {
        let found = find(client, &header, received, shared, number).await;
        let Some(place) = found.inspect_err(|error| refused(&header, error, shared))? else {
            return Ok(None);
        };
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
fn refused(header: &CallHeader, error: &Error, shared: &Shared) {
    if let Some(refusals) = &shared.refusals {
        let (call, function) = (header.id, header.function.clone());
        // If nobody listens any more, nobody needs to know.
        let _ = refusals.send(Refusal { call, function, error: error.clone() });
    }
}

/// Finds a place for a call, for as long as it has time. `None` if the caller has left before.
async fn find(
    client: &mut Hop,
    header: &CallHeader,
    received: Instant,
    shared: &Arc<Shared>,
    number: u64,
) -> Result<Option<Place>, Error> {
    let mut finding = pin!(shared.routes.acquire(header, number));
    // As a rule there is a place at once, and nothing else to listen to.
    if let Some(found) = finding.as_mut().now_or_never() {
        return found.map(Some);
    }
    let late = async {
        match header.timeout {
            Some(left) => sleep_until(received + left).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        found = finding => found.map(Some),
        _ = client.send.stopped() => Ok(None),
        () = late => {
            let text = format!("the deadline of `{}` passed at the gateway", header.function);
            Err(Error::new(ErrorKind::DeadlineExceeded, text))
        }
    }
}

/// Both halves of one hop.
struct Hop {
    send: SendHalf,
    recv: RecvHalf,
}

async fn read_header(recv: &mut RecvHalf, buffer: &mut FrameBuffer) -> Result<CallHeader, Error> {
    match recv.frame(buffer).await {
        Ok(Some(frame)) if frame.kind == FrameKind::Header => {
            CallHeader::read(&frame.body).map_err(|cause| protocol(format!("call header: {cause}")))
        }
        Ok(Some(frame)) => Err(protocol(format!("{:?} frame instead of a header", frame.kind))),
        Ok(None) => Err(protocol("a call without a header")),
        Err(error) => Err(error.error(ErrorKind::ConnectionLost)),
    }
}

fn protocol(text: impl Into<String>) -> Error {
    Error::new(ErrorKind::Protocol, text.into())
}

/// Opens a stream to the node and sends the header and `rest`, what has come of the arguments; gives
/// what has passed of the request.
async fn open(
    place: &Place,
    header: &CallHeader,
    rest: &[u8],
    max_message: usize,
) -> Result<(Hop, FrameScanner), Error> {
    let id = place.node().id();
    let lost = |cause: Error| {
        let text = format!("node `{id}` was lost before it had the whole call");
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

/// Why a direction is over.
#[derive(Debug)]
enum End {
    /// The sender has finished.
    Fin,
    /// The sender gave it up or was lost.
    Sender(Broken),
    /// The receiver wants no more or was lost.
    Receiver(Broken),
    /// What the sender sent is not made of frames.
    Malformed(String),
}

/// Relays both directions until the call is over.
async fn relay(
    mut client: Hop,
    mut node: Hop,
    place: &Place,
    mut request: FrameScanner,
    max_message: usize,
) {
    let mut answer = FrameScanner::answer(max_message);
    let end = tokio::select! {
        biased;
        end = pump(&mut node.recv, &mut client.send, &mut answer, || place.answered()) => end,
        broken = upload(&mut client.recv, &mut node.send, &mut request) => End::Receiver(broken),
    };
    match end {
        // Also if the node is lost between its answer and the FIN.
        End::Fin | End::Sender(_) if answer.is_complete() => client.send.finish(),
        End::Receiver(broken) => {
            let code = broken.code(ErrorKind::Cancelled, Executed::Maybe);
            node.send.reset(code);
            node.recv.stop(code);
            client.send.reset(code);
        }
        failed => {
            // What was seen of it has not all been sent on.
            let malformed = matches!(failed, End::Malformed(_));
            let error = node_error(failed, place.node().id())
                .with_executed(executed(&request, &answer))
                .with_delivered(answer.items())
                .with_node(place.node().id());
            tracing::debug!(%error, "call failed at its node");
            if answer.is_between_frames() && !malformed {
                answer_error(client, &error).await;
            } else {
                // Inside a frame there is no room for an error frame.
                client.send.reset(reset::code(error.kind(), error.executed()));
            }
        }
    }
}

/// Whether the function may have run, as far as the relay has seen.
fn executed(request: &FrameScanner, answer: &FrameScanner) -> Executed {
    match (answer.shows_execution(), request.has_arguments()) {
        (true, _) => Executed::Yes,
        (false, true) => Executed::Maybe,
        // A node starts nothing before it has all arguments.
        (false, false) => Executed::No,
    }
}

fn node_error(end: End, id: &str) -> Error {
    match end {
        End::Sender(Broken::Peer(code)) => {
            let (kind, _) = reset::read(code);
            Error::new(kind, format!("node `{id}` gave the call up"))
        }
        End::Sender(broken) => {
            let text = format!("node `{id}` was lost during the call");
            Error::new(ErrorKind::NodeLost, text).with_source(broken.error(ErrorKind::NodeLost))
        }
        End::Malformed(text) => protocol(format!("node `{id}` sent what is no answer: {text}")),
        End::Fin | End::Receiver(_) => protocol(format!("the answer of node `{id}` has no end")),
    }
}

/// Moves the request; resolves only when the client gives the call up, or is lost.
async fn upload(from: &mut RecvHalf, to: &mut SendHalf, passed: &mut FrameScanner) -> Broken {
    match pump(from, to, passed, || ()).await {
        End::Fin => to.finish(),
        End::Sender(broken) => return broken,
        End::Malformed(_) => {
            // What is wrong may come after complete arguments.
            return Broken::Peer(reset::code(ErrorKind::Protocol, Executed::Maybe));
        }
        // The node has read enough, or is gone; the other direction tells.
        End::Receiver(_) => from.stop(reset::cancelled()),
    }
    std::future::pending().await
}

/// Moves bytes from `from` to `to` until one of them is done; says `begun` with the first of them.
async fn pump(
    from: &mut RecvHalf,
    to: &mut SendHalf,
    passed: &mut FrameScanner,
    begun: impl FnOnce(),
) -> End {
    let mut stopped = to.stopped();
    let mut begun = Some(begun);
    loop {
        let read = tokio::select! {
            biased;
            read = from.read() => read,
            // `None` says that all is received after a FIN, which this loop never sends.
            broken = &mut stopped => return End::Receiver(broken.unwrap_or(Broken::Local)),
        };
        match read {
            Ok(Some(mut chunks)) => {
                if let Some(begun) = begun.take() {
                    begun();
                }
                for chunk in chunks.iter() {
                    if let Err(cause) = passed.pass(chunk) {
                        return End::Malformed(cause.text);
                    }
                }
                if let Err(broken) = to.write_chunks(chunks.as_mut()).await {
                    return End::Receiver(broken);
                }
            }
            Ok(None) => return End::Fin,
            Err(broken) => return End::Sender(broken),
        }
    }
}

async fn answer_error(client: Hop, error: &Error) {
    let mut frames = Vec::new();
    put_error(&mut frames, error);
    answer_frames(client, &frames).await;
}

/// Ends the call with `frames`.
async fn answer_frames(mut client: Hop, frames: &[u8]) {
    // Nothing more is read. If the client is gone, it needs no answer.
    if client.send.write(frames).await.is_ok() {
        client.send.finish();
    }
}
