//! Calls on streams of their own.

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
use crate::gateway::relay::dispatch::{LegParts, NodeLeg, protocol};
use crate::gateway::relay::mux;
use crate::transport::quic::stream::{RecvHalf, SendHalf};
use crate::wire::frame::{FrameBuffer, FrameKind};
use crate::wire::header::CallHeader;
use crate::wire::scanner::FrameScanner;

/// A stream that has turned out to be multiplexed, and what has come on it.
pub(in crate::gateway) struct NewMux((SendHalf, RecvHalf), Bytes);

impl NewMux {
    /// Serves it until it breaks.
    pub(in crate::gateway) async fn serve(self, caller: Arc<CallerSession>) {
        mux::serve(self.0, self.1, caller).await;
    }
}

/// Both halves of a caller's stream.
struct CallerLeg {
    send: SendHalf,
    recv: RecvHalf,
}

/// Serves a stream that `caller` has opened, if it is one call. A multiplexed stream is returned:
/// it lives long, and does not need as much memory.
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
            Err(protocol(format!("no complete call header within {limit:?}")))
        }
    };
    caller.state.counters.calls.fetch_add(1, Ordering::Relaxed);
    let served = match header {
        Ok(header) => serve_call(&mut leg, Dispatch::new(header, open), &mut buffer, &caller).await,
        Err(error) => Err(error),
    };
    if let Err(error) = served {
        write_error(&mut leg.send, &error).await;
    }
    None
}

/// Serves a call whose header has been read.
///
/// # Errors
/// Why no node has it.
async fn serve_call(
    leg: &mut CallerLeg,
    call: Dispatch,
    buffer: &mut FrameBuffer,
    caller: &CallerSession,
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
        // Nothing more is read, and a caller that has left needs no answer.
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
    drop(kept);
    match relay(leg, &mut node, caller).await {
        true => caller.note_answered(),
        false => caller.note_given_up(deadline),
    }
    Ok(())
}

/// Finds a node for a call and sends it `rest`, what is here of the call. `None` if the caller has
/// left before.
///
/// # Errors
/// Why no node has it.
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
        call = match call.open(permit, rest, caller.state.limits.max_message).await {
            Ok(node) => return Ok(Some(node)),
            Err((_, Some(error))) => return Err(error),
            Err((call, None)) => call,
        };
    }
}

/// Reads the header that a call begins with; `None` if the stream is multiplexed.
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

/// Relays both directions until the call is over. Returns whether its caller has waited for
/// something to come back.
async fn relay(client: &mut CallerLeg, node: &mut NodeLeg, caller: &CallerSession) -> bool {
    let state = &caller.state;
    let mut answer = FrameScanner::answer(state.limits.max_message);
    let limit = state.limits.progress_timeout;
    let LegParts { send, recv, request, permit } = node.split();
    let end = tokio::select! {
        biased;
        end = copy(recv, &mut client.send, &mut answer, limit, || permit.answered()) => end,
        end = upload(&mut client.recv, send, request, limit) => end,
    };
    if matches!(end, CopyEnd::Stalled | CopyEnd::Starved) {
        hit(&state.hits.progress_timeouts);
    }
    let waited = answer.shows_execution() || !matches!(end, CopyEnd::Receiver(_));
    let released = matches!(end, CopyEnd::Fin) && answer.is_complete();
    if let CopyEnd::Receiver(broken) = &end {
        send.reset(broken.code(ErrorKind::Cancelled));
    }
    // A node starts nothing before it has all arguments.
    let evidence = Evidence::of_sending(request.has_arguments());
    let halves = (recv, &mut client.send);
    finish_response(end, evidence, &answer, permit, limit, halves).await;
    if released {
        node.release();
    }
    waited
}
