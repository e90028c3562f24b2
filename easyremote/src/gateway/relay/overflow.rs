//! Forwards responses that arrive on separate streams, for calls whose callers wait on a
//! multiplexed stream.

use std::sync::Arc;

use bytes::Bytes;

use crate::call::deadline::passes;
use crate::call::executed::Evidence;
use crate::gateway::limits::hit;
use crate::gateway::relay::call::ForwardedCall;
use crate::gateway::relay::copy::{CopyEnd, copy, failure, finish_response, never};
use crate::gateway::relay::dispatch::{LegParts, NodeLeg};
use crate::gateway::relay::mux::{CallerMux, MAX_RESPONSE};
use crate::gateway::relay::node_link::NodePermit;
use crate::gateway::relay::outcome::{record_answer, record_error, tell_failure};
use crate::gateway::relay::progress::ProgressTimer;
use crate::transport::mux::overflow;
use crate::transport::quic::stream::{RecvHalf, SendHalf};
use crate::wire::header::CallHeader;
use crate::wire::mux::MuxId;
use crate::wire::scanner::FrameScanner;

/// Forwards the response to a call that has a separate stream at its node.
pub(super) async fn forward_leg(mut leg: NodeLeg, mux: Arc<CallerMux>, id: MuxId) {
    let LegParts { recv, permit, header, .. } = leg.split();
    let response = PartialResponse::begin(recv, &[], &mux).await;
    if response.forward(recv, &mux, id, (permit, header)).await {
        leg.release();
    }
}

/// Forwards an overflow response, after `first`. The slot is free already: a node responds no
/// earlier.
pub(super) async fn forward_overflow(
    (mut recv, first): (RecvHalf, Bytes),
    mux: Arc<CallerMux>,
    id: MuxId,
    (call, permit): (Box<ForwardedCall>, NodePermit),
) {
    let response = PartialResponse::begin(&mut recv, &first, &mux).await;
    // The call is kept until the response has been forwarded, because it counts as in flight.
    response.forward(&mut recv, &mux, id, (&permit, &call.dispatch.header)).await;
}

/// The beginning of a response: all of it, or more than fits into one message.
struct PartialResponse {
    frames: Vec<u8>,
    answer: FrameScanner,
    /// How the response ended; `None` while more may arrive.
    end: Option<CopyEnd>,
}

impl PartialResponse {
    /// Reads what arrives on `recv` after `first`, until the response has ended or does not fit
    /// into one message.
    async fn begin(recv: &mut RecvHalf, first: &[u8], mux: &CallerMux) -> Self {
        let state = mux.state();
        let answer = FrameScanner::answer(state.limits.max_message);
        let mut response = Self { frames: Vec::new(), answer, end: None };
        response.pass(first);
        let mut progress = ProgressTimer::new(state.limits.progress_timeout);
        while response.end.is_none() && response.frames.len() <= MAX_RESPONSE {
            let due = progress.due(&response.answer);
            let read = tokio::select! {
                biased;
                read = recv.read() => read,
                () = passes(due) => {
                    response.end = Some(CopyEnd::Stalled);
                    break;
                }
            };
            match read {
                Ok(Some(chunks)) => {
                    chunks.iter().for_each(|chunk| response.pass(chunk));
                    let n = chunks.iter().map(|chunk| chunk.len()).sum();
                    let paused = progress.came(n, &response.answer);
                    progress.resume(paused);
                }
                Ok(None) => response.end = Some(CopyEnd::Fin),
                Err(broken) => response.end = Some(CopyEnd::Sender(broken)),
            }
        }
        response
    }

    fn pass(&mut self, bytes: &[u8]) {
        let start = self.frames.len();
        self.frames.extend_from_slice(bytes);
        if let Err(cause) = self.answer.pass(bytes) {
            self.end = Some(CopyEnd::Malformed(cause.text));
        }
        if let Some((at, code)) = self.answer.false_no() {
            self.frames[start + at] = code;
        }
    }

    /// Sends the response to the caller: on the multiplexed stream if it fits into one message,
    /// otherwise on a separate stream together with what still arrives. Returns whether the node
    /// ended it properly.
    async fn forward(
        self,
        recv: &mut RecvHalf,
        mux: &CallerMux,
        id: MuxId,
        (permit, header): (&NodePermit, &CallHeader),
    ) -> bool {
        let Self { frames, mut answer, end } = self;
        let state = mux.state();
        let limit = state.limits.progress_timeout;
        if let Some(CopyEnd::Stalled) = end {
            hit(&state.hits.progress_timeouts);
        }
        match end {
            None => {
                permit.answered();
                let Some(mut send) = open_overflow(mux, id, &frames).await else { return false };
                let end = copy(recv, &mut send, &mut answer, limit, (None, never, || ())).await;
                if let CopyEnd::Stalled = end {
                    hit(&state.hits.progress_timeouts);
                }
                state.ending.hold().await;
                let ended = matches!(end, CopyEnd::Fin) && answer.is_complete();
                let halves = (recv, &mut send);
                let call = (permit, header);
                let error =
                    finish_response(end, Evidence::Sent, &answer, call, limit, halves).await;
                if let Some(error) = error {
                    // A reset may overtake the bytes sent before it, including the call's id;
                    // without this message the call would then wait for ever.
                    mux.send_error(id, &error);
                }
                ended
            }
            Some(end @ (CopyEnd::Fin | CopyEnd::Sender(_)))
                if answer.is_complete() && frames.len() <= MAX_RESPONSE =>
            {
                record_answer(permit, header, &answer);
                mux.answer(id, &frames);
                matches!(end, CopyEnd::Fin)
            }
            Some(end) => {
                let error = failure(end, Evidence::Sent, &answer, permit, limit);
                tell_failure(permit, header, &error);
                record_error(permit, error.kind());
                mux.fail(id, &error);
                false
            }
        }
    }
}

/// Opens a stream for a long response and sends `frames` on it, which ends the call on the
/// multiplexed stream. `None` if the caller has left or has cancelled the call.
pub(super) async fn open_overflow(mux: &CallerMux, id: MuxId, frames: &[u8]) -> Option<SendHalf> {
    let mut send = overflow::open(&mux.caller.connection, &mux.caller.windows).await.ok()?;
    // Finish only now: opening may wait for stream credit, and until then a cancellation must find
    // the call.
    if !mux.finish(id) {
        return None;
    }
    send.write(&overflow::first_bytes(id, frames)).await.ok()?;
    Some(send)
}
