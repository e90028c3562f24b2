//! Copies one direction of a call as its bytes arrive, and handles its end.

use std::time::Duration;

use bytes::Bytes;

use crate::call::deadline::passes;
use crate::call::executed::Evidence;
use crate::call::function_meter::CallEnd;
use crate::error::{Error, ErrorKind};
use crate::gateway::relay::dispatch::protocol;
use crate::gateway::relay::node_link::NodePermit;
use crate::gateway::relay::outcome::{record_answer, record_error, tell_failure};
use crate::gateway::relay::progress::ProgressTimer;
use crate::transport::quic::reset;
use crate::transport::quic::stream::{Broken, RecvHalf, SendHalf};
use crate::transport::stream_table::StreamMeter;
use crate::wire::error::put_error;
use crate::wire::header::CallHeader;
use crate::wire::scanner::FrameScanner;

/// How a direction ended.
#[derive(Debug)]
pub(super) enum CopyEnd {
    /// The sender finished it with a FIN.
    Fin,
    /// The sender reset it, or was lost.
    Sender(Broken),
    /// The receiver stopped reading, or was lost.
    Receiver(Broken),
    /// The sender sent something that is not a sequence of frames.
    Malformed(String),
    /// The node stopped sending in the middle of a message.
    Stalled,
    /// The caller stopped sending in the middle of a message.
    Starved,
}

/// Ends a response that was copied from `from` to `to`.
///
/// `evidence` is what is known about the execution if `answer` does not show that the function has
/// started. Returns an error if `to` was reset with its code: the receiver then gets neither its
/// text nor, necessarily, what was sent before.
pub(super) async fn finish_response(
    end: CopyEnd,
    evidence: Evidence,
    answer: &FrameScanner,
    (permit, header): (&NodePermit, &CallHeader),
    limit: Duration,
    (from, to): (&mut RecvHalf, &mut SendHalf),
) -> Option<Error> {
    match end {
        // Also if the node was lost between the end of its answer and the FIN.
        CopyEnd::Fin | CopyEnd::Sender(_) if answer.is_complete() => {
            record_answer(permit, header, answer);
            to.finish();
        }
        CopyEnd::Receiver(broken) => {
            if answer.is_complete() {
                // A caller that has the last frame may leave before the FIN.
                record_answer(permit, header, answer);
            }
            let code = broken.code(ErrorKind::Cancelled);
            from.stop(code);
            to.reset(code);
        }
        failed => {
            // The scanner may have seen more than was forwarded.
            let malformed = matches!(failed, CopyEnd::Malformed(_));
            let starved = matches!(failed, CopyEnd::Starved);
            let error = failure(failed, evidence, answer, permit, limit);
            match starved {
                // A caller that stops sending says nothing about the node.
                true => permit.ends(CallEnd::Error(error.kind())),
                false => record_error(permit, error.kind()),
            }
            tell_failure(permit, header, &error);
            if answer.is_between_frames() && !malformed {
                write_error(to, &error).await;
            } else {
                // An error frame cannot be inserted in the middle of another frame.
                to.reset(reset::code_of(&error));
                return Some(error);
            }
        }
    }
    None
}

/// Returns the error for a response that did not end properly. `evidence` is as for
/// [`finish_response`].
pub(super) fn failure(
    end: CopyEnd,
    evidence: Evidence,
    answer: &FrameScanner,
    permit: &NodePermit,
    limit: Duration,
) -> Error {
    let id = permit.node().id();
    node_error(end, id, limit)
        .with_evidence(evidence.or_answered(answer.shows_execution()))
        .with_delivered(answer.items())
        .with_node(id)
}

fn node_error(end: CopyEnd, id: &str, limit: Duration) -> Error {
    match end {
        CopyEnd::Sender(Broken::Peer(code)) => {
            let (kind, _) = reset::read(code);
            Error::new(kind, format!("node `{id}` aborted the call"))
        }
        CopyEnd::Sender(broken) => {
            let cause = broken.error(ErrorKind::NodeLost);
            let text = format!("node `{id}` was lost during the call");
            Error::new(ErrorKind::NodeLost, text).with_source(cause)
        }
        CopyEnd::Stalled => protocol(format!(
            "node `{id}` stopped in the middle of its answer: less than 1 KiB arrived in {limit:?}"
        )),
        CopyEnd::Starved => protocol(format!(
            "the caller stopped in the middle of a message: less than 1 KiB arrived in {limit:?}"
        )),
        CopyEnd::Malformed(text) => {
            protocol(format!("node `{id}` sent an answer that cannot be decoded: {text}"))
        }
        CopyEnd::Fin | CopyEnd::Receiver(_) => {
            protocol(format!("the answer of node `{id}` is incomplete"))
        }
    }
}

/// Copies the request. Resolves only if the client cancels the call, stalls in the middle of a
/// message, or is lost.
pub(super) async fn upload(
    from: &mut RecvHalf,
    to: &mut SendHalf,
    passed: &mut FrameScanner,
    limit: Duration,
) -> CopyEnd {
    match copy(from, to, passed, limit, (None, never, || ())).await {
        CopyEnd::Fin => to.finish(),
        CopyEnd::Sender(broken) => return CopyEnd::Receiver(broken),
        CopyEnd::Malformed(_) => {
            // The malformed part may follow complete arguments, so the call may be running.
            let code = reset::code(ErrorKind::Protocol);
            return CopyEnd::Receiver(Broken::Peer(code));
        }
        CopyEnd::Stalled | CopyEnd::Starved => return CopyEnd::Starved,
        // The node has read enough, or is lost; the response direction reports which.
        CopyEnd::Receiver(_) => from.stop(reset::cancelled()),
    }
    std::future::pending().await
}

/// Copies bytes from `from` to `to` until one of them ends, or until `from` makes no progress for
/// `limit` in the middle of a message. Invokes `begun` when what has passed satisfies `begins`.
/// `meter` is that of a stream of items.
pub(super) async fn copy(
    from: &mut RecvHalf,
    to: &mut SendHalf,
    passed: &mut FrameScanner,
    limit: Duration,
    (meter, begins, begun): (Option<&StreamMeter>, fn(&FrameScanner) -> bool, impl FnOnce()),
) -> CopyEnd {
    let mut stopped = to.stopped();
    let mut begun = Some(begun);
    let mut progress = ProgressTimer::new(limit);
    loop {
        let due = progress.due(passed);
        let read = tokio::select! {
            // Biased: bytes that are ready are forwarded before a reset or a timeout is considered,
            // so a complete response is not lost to a race with its end.
            biased;
            read = from.read() => read,
            // `None` means that everything was received after a FIN, which this loop never sends.
            broken = &mut stopped => return CopyEnd::Receiver(broken.unwrap_or(Broken::Local)),
            // Polled last, so it fires only if nothing is ready to read.
            () = passes(due) => return CopyEnd::Stalled,
        };
        match read {
            Ok(Some(mut chunks)) => {
                let mut n = 0;
                for chunk in &mut chunks {
                    if let Err(cause) = passed.pass(chunk) {
                        return CopyEnd::Malformed(cause.text);
                    }
                    // The node claims that the function did not start, which it cannot know or has
                    // contradicted: correct the code. See `call::executed`.
                    if let Some((at, code)) = passed.false_no() {
                        let mut right = chunk.to_vec();
                        right[at] = code;
                        *chunk = right.into();
                    }
                    n += chunk.len();
                }
                if begins(passed)
                    && let Some(begun) = begun.take()
                {
                    begun();
                }
                let paused = progress.came(n, passed);
                if let Err(broken) = send(to, &mut chunks, meter, passed).await {
                    return CopyEnd::Receiver(broken);
                }
                progress.resume(paused);
            }
            Ok(None) => return CopyEnd::Fin,
            Err(broken) => return CopyEnd::Sender(broken),
        }
    }
}

/// Writes `chunks`, with which all that `passed` has seen has come.
async fn send(
    to: &mut SendHalf,
    chunks: &mut [Bytes],
    meter: Option<&StreamMeter>,
    passed: &FrameScanner,
) -> Result<(), Broken> {
    let Some(meter) = meter else { return to.write_chunks(chunks).await };
    meter.note((passed.items(), passed.item_bytes()), passed.skipped());
    meter.send(to.write_chunks(chunks)).await
}

/// Says that nothing begins which has to be noted.
pub(super) fn never(_: &FrameScanner) -> bool {
    false
}

pub(super) async fn write_error(send: &mut SendHalf, error: &Error) {
    let mut frames = Vec::new();
    put_error(&mut frames, error);
    write_last(send, &frames).await;
}

/// Writes `frames` and ends the direction.
pub(super) async fn write_last(send: &mut SendHalf, frames: &[u8]) {
    // A write error means that the caller has left.
    if send.write(frames).await.is_ok() {
        send.finish();
    }
}
