//! An answer that a node sends on a stream of its own, to a call that its caller made on a mux.

use tokio::time::{Instant, sleep_until};

use crate::error::Executed;
use crate::gateway::limits::hit;
use crate::gateway::relay::copy::{End, conclude, failure, pump};
use crate::gateway::relay::mux::{CallerMux, MAX_ANSWER};
use crate::gateway::relay::node_mux::Relayed;
use crate::gateway::relay::progress::ProgressTimer;
use crate::transport::quic::stream::{RecvHalf, SendHalf};
use crate::wire::mux::{MuxId, put_overflow};
use crate::wire::scanner::FrameScanner;

/// Passes on the answer that comes on `recv`, after `first`: on the caller's mux if it is short,
/// and else on a stream of its own.
pub(super) async fn forward(mut recv: RecvHalf, first: &[u8], relayed: Relayed) {
    let shared = relayed.mux.shared().clone();
    let limit = shared.limits.progress_timeout;
    let mut answer = FrameScanner::answer(shared.max_message);
    let mut frames = first.to_vec();
    let mut end = answer.pass(first).map_err(|cause| End::Malformed(cause.text)).err();
    let mut progress = ProgressTimer::new(limit);
    while end.is_none() && frames.len() <= MAX_ANSWER {
        let due = progress.due(&answer);
        let late = async { sleep_until(due.unwrap_or_else(Instant::now)).await };
        let read = tokio::select! {
            biased;
            read = recv.read() => read,
            () = late, if due.is_some() => {
                end = Some(End::Stalled);
                break;
            }
        };
        end = match read {
            Ok(Some(chunks)) => {
                let passed = chunks.iter().try_for_each(|chunk| {
                    frames.extend_from_slice(chunk);
                    answer.pass(chunk)
                });
                let n = chunks.iter().map(|chunk| chunk.len()).sum();
                let paused = progress.came(n, &answer);
                progress.resume(paused);
                passed.map_err(|cause| End::Malformed(cause.text)).err()
            }
            Ok(None) => Some(End::Fin),
            Err(broken) => Some(End::Sender(broken)),
        };
    }
    if let Some(End::Stalled) = end {
        hit(&shared.hits.progress_timeouts);
    }
    match end {
        None => {
            relayed.place.answered();
            forward_long(recv, &frames, answer, relayed).await;
        }
        Some(End::Fin | End::Sender(_)) if answer.is_complete() && frames.len() <= MAX_ANSWER => {
            relayed.place.answered();
            relayed.mux.answer(relayed.id, &frames);
        }
        Some(end) => {
            let error = failure(end, Executed::Maybe, &answer, &relayed.place, limit);
            relayed.fail(&error);
        }
    }
}

/// Passes on a long answer, of which `frames` have come.
async fn forward_long(
    mut recv: RecvHalf,
    frames: &[u8],
    mut answer: FrameScanner,
    relayed: Relayed,
) {
    let Some(mut send) = open_overflow(&relayed.mux, relayed.id, frames).await else { return };
    let shared = relayed.mux.shared();
    let limit = shared.limits.progress_timeout;
    let end = pump(&mut recv, &mut send, &mut answer, limit, || ()).await;
    if let End::Stalled = end {
        hit(&shared.hits.progress_timeouts);
    }
    let ends = (&mut recv, &mut send);
    let reset = conclude(end, Executed::Maybe, &answer, &relayed.place, limit, ends).await;
    if let Some(error) = reset {
        // A reset may come without what was sent before it, also without the id of the call. Who
        // knows already which call has failed does not look for this.
        relayed.mux.send_error(relayed.id, &error);
    }
}

/// Opens the stream for a long answer and sends `frames` on it; the call is over on its mux then.
/// `None` if the caller is gone, or wants it no more.
pub(super) async fn open_overflow(mux: &CallerMux, id: MuxId, frames: &[u8]) -> Option<SendHalf> {
    let send = mux.peer.connection.open_uni().await.ok()?;
    let mut send = SendHalf::within(send, &mux.peer.credits);
    if !mux.finish(id) {
        return None;
    }
    let mut first = Vec::with_capacity(frames.len() + 16);
    put_overflow(&mut first, id);
    first.extend_from_slice(frames);
    send.write(&first).await.ok()?;
    Some(send)
}
