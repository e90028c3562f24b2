//! Calls on separate streams: one QUIC stream per call.
//!
//! ```text
//!          first frame is MUX
//! serve ------------------------> NewMux: handed back to the session, served by `relay::mux`
//!   | HEADER
//!   v
//! place: acquire a permit, open a stream to the node <--+ node lost before it had the call:
//!   |                                                   | another node, at most 3 attempts
//!   +---------------------------------------------------+
//!   | opened
//!   v
//! relay: copy both directions until the response has ended or the caller has left
//! ```

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use tokio::time::timeout;

use crate::call::executed::Evidence;
use crate::error::{Error, ErrorKind};
use crate::gateway::directory::Question;
use crate::gateway::limits::hit;
use crate::gateway::relay::call::Dispatch;
use crate::gateway::relay::caller_session::CallerSession;
use crate::gateway::relay::copy::{CopyEnd, copy, finish_response, upload, write_error};
use crate::gateway::relay::dispatch::{LegCaller, LegParts, NodeLeg, protocol};
use crate::gateway::relay::mux;
use crate::gateway::relay::outcome::{has_answered, note_acceptance};
use crate::transport::quic::stream::{Broken, RecvHalf, SendHalf};
use crate::wire::frame::{FrameBuffer, FrameKind};
use crate::wire::header::CallHeader;
use crate::wire::scanner::FrameScanner;

/// A stream whose first frame says that it is multiplexed, with the bytes that followed the frame.
pub(in crate::gateway) struct NewMux((SendHalf, RecvHalf), Bytes);

impl NewMux {
    /// Serves the stream until it breaks.
    pub(in crate::gateway) async fn serve(self, caller: Arc<CallerSession>) {
        mux::serve(self.0, self.1, caller).await;
    }
}

/// Both halves of the stream of a caller.
struct CallerLeg {
    send: SendHalf,
    recv: RecvHalf,
}

/// Serves one call on a stream that `caller` has opened. Returns the stream if it is multiplexed:
/// it is long-lived, and its task needs less memory.
pub(in crate::gateway) async fn serve(
    (send, recv): (SendHalf, RecvHalf),
    caller: Arc<CallerSession>,
) -> Option<NewMux> {
    let mut leg = CallerLeg { send, recv };
    let open = caller.open_call();
    let mut buffer = FrameBuffer::new(0);
    let limit = caller.state.limits.header_timeout;
    let header = match timeout(limit, read_header(&mut leg.recv, &mut buffer, &caller)).await {
        Ok(Ok(None)) => return Some(NewMux((leg.send, leg.recv), buffer.take_rest())),
        Ok(Ok(Some(header))) => Ok(header),
        Ok(Err(error)) => {
            caller.note_wasted();
            Err(error)
        }
        Err(_) => {
            hit(&caller.state.hits.header_timeouts);
            Err(protocol(format!("the call header was not complete within {limit:?}")))
        }
    };
    caller.state.counters.calls.fetch_add(1, Ordering::Relaxed);
    let served = match header {
        Ok(header) => {
            let call = Dispatch::new(header, &caller.hedged, open);
            serve_call(&mut leg, call, &mut buffer, &caller).await
        }
        Err(error) => Err(error),
    };
    if let Err(error) = served {
        caller.state.ending.hold().await;
        write_error(&mut leg.send, &error).await;
    }
    None
}

/// Serves a call whose header has been read.
///
/// # Errors
/// Why no node received the call.
async fn serve_call(
    leg: &mut CallerLeg,
    call: Dispatch,
    buffer: &mut FrameBuffer,
    caller: &Arc<CallerSession>,
) -> Result<(), Error> {
    if let Some(question) = Question::of(&call.header, &caller.state.access) {
        let question = question?;
        let answer = tokio::select! {
            answer = caller.answer(question, &call) => answer,
            _ = leg.send.stopped() => {
                caller.note_given_up(call.deadline);
                return Ok(());
            }
        };
        let (frames, _kept) = answer?;
        caller.state.ending.hold().await;
        // The rest of the request is not read. A write error means that the caller has left.
        if leg.send.write_chunks(&mut [frames]).await.is_ok() {
            leg.send.finish();
        }
        return Ok(());
    }
    let deadline = call.deadline;
    let kept = caller.keep(buffer.len())?;
    let Some(mut node) = place(leg, call, &buffer.take_rest(), caller).await? else {
        caller.note_given_up(deadline);
        return Ok(());
    };
    // The node has what was buffered, so it no longer counts against the caller.
    drop(kept);
    node.set_caller(caller.clone());
    let answered = relay(leg, &mut node, caller).await;
    node.settle();
    match answered {
        true => caller.note_answered(),
        false => caller.note_given_up(deadline),
    }
    Ok(())
}

/// Finds a node for a call and sends it the header and `rest`, the bytes of the arguments that have
/// arrived. Returns `None` if the caller has left.
///
/// # Errors
/// Why no node received the call.
async fn place(
    leg: &CallerLeg,
    mut call: Dispatch,
    rest: &[u8],
    caller: &CallerSession,
) -> Result<Option<NodeLeg>, Error> {
    let dispatcher = &caller.state.dispatcher;
    loop {
        let permit = match call.try_acquire(dispatcher) {
            Some(acquired) => acquired?,
            None => tokio::select! {
                acquired = call.acquire(dispatcher, caller.number) => acquired?,
                _ = leg.send.stopped() => return Ok(None),
            },
        };
        // `open` consumes the call and returns it only if the node was lost before it had received
        // the whole call, so a second attempt cannot execute it twice.
        call = match call.open(permit, rest, caller.state.limits.max_message).await {
            Ok(node) => return Ok(Some(node)),
            Err((_, Some(error))) => return Err(error),
            Err((call, None)) => call,
        };
    }
}

/// Reads the header that a call starts with; `None` if the stream is multiplexed.
async fn read_header(
    recv: &mut RecvHalf,
    buffer: &mut FrameBuffer,
    caller: &CallerSession,
) -> Result<Option<CallHeader>, Error> {
    match recv.frame(buffer).await {
        Ok(Some(frame)) if frame.kind == FrameKind::Header => {
            caller.read_header(&frame.body).map(Some)
        }
        Ok(Some(frame)) if frame.kind == FrameKind::Mux => Ok(None),
        Ok(Some(frame)) => Err(protocol(format!("{:?} frame instead of a header", frame.kind))),
        Ok(None) => Err(protocol("a call without a header")),
        Err(error) => Err(error.error(ErrorKind::ConnectionLost)),
    }
}

/// Copies both directions until the call has ended. Returns whether the caller waited until a
/// response arrived.
async fn relay(client: &mut CallerLeg, node: &mut NodeLeg, caller: &CallerSession) -> bool {
    let state = &caller.state;
    let mut answer = FrameScanner::answer(state.limits.max_message);
    let limit = state.limits.progress_timeout;
    let LegParts { send, recv, request, permit, header } = node.split();
    let streams = &state.streams;
    let metered = match &header.caller {
        Some(by) if header.kind.gives_stream() => {
            Some(streams.enter(&header.function, by, permit.node().id(), permit.meter()))
        }
        _ => None,
    };
    let meter = metered.as_ref().map(|metered| &*metered.meter);
    let (continues, is_resumable) = (header.continues(), header.resume.is_some());
    let begins = if continues { FrameScanner::is_attached } else { has_answered };
    let begun = || match continues {
        true => {
            permit.confirm();
            permit.node().handle().replace(header.id);
        }
        false => permit.answered(),
    };
    let mut end = tokio::select! {
        // Biased towards the response: if the node's answer and the caller's reset are both ready,
        // the call has ended with its answer.
        biased;
        end = copy(recv, &mut client.send, &mut answer, limit, (meter, begins, begun)) => end,
        end = upload(&mut client.recv, send, request, limit) => end,
    };
    if let CopyEnd::Receiver(broken @ (Broken::Connection(_) | Broken::Local)) = &mut end
        && is_resumable
    {
        *broken = Broken::Peer(caller.end_code(header));
    }
    if matches!(end, CopyEnd::Stalled | CopyEnd::Starved) {
        hit(&state.hits.progress_timeouts);
    }
    note_acceptance(permit, &answer);
    let answered = answer.shows_execution() || answer.is_complete();
    // A call that continues an unknown stream is charged like one that is given up.
    let waited = match continues {
        true => answer.is_attached(),
        false => answered || !matches!(end, CopyEnd::Receiver(_)),
    };
    let released = matches!(end, CopyEnd::Fin) && answer.is_complete();
    if let CopyEnd::Receiver(broken) = &end {
        send.reset(broken.code(ErrorKind::Cancelled));
    }
    state.ending.hold().await;
    // A node starts a call only once it has received all arguments.
    let evidence = Evidence::of_sending(request.has_arguments());
    let halves = (recv, &mut client.send);
    finish_response(end, evidence, &answer, (permit, header), limit, halves).await;
    if released {
        node.release();
    }
    waited
}
