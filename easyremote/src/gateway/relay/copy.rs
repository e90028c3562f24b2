//! One direction of a call: bytes as they come, and how that ends.

use std::time::Duration;

use crate::call::deadline::passes;
use crate::call::executed::Evidence;
use crate::error::{Error, ErrorKind};
use crate::gateway::relay::dispatch::protocol;
use crate::gateway::relay::node_link::NodePermit;
use crate::gateway::relay::outcome::{has_answered, record_answer, record_error, tell_failure};
use crate::gateway::relay::progress::ProgressTimer;
use crate::transport::quic::reset;
use crate::transport::quic::stream::{Broken, RecvHalf, SendHalf};
use crate::wire::error::put_error;
use crate::wire::scanner::FrameScanner;

/// Why a direction is over.
#[derive(Debug)]
pub(super) enum CopyEnd {
    /// The sender has finished.
    Fin,
    /// The sender gave it up or was lost.
    Sender(Broken),
    /// The receiver wants no more or was lost.
    Receiver(Broken),
    /// What the sender sent is not made of frames.
    Malformed(String),
    /// The sender stopped in the middle of something.
    Stalled,
    /// The same, if the sender is the caller.
    Starved,
}

/// Ends an answer that has been copied from `from` to `to`. `evidence` is what is known if `answer`
/// does not show that the function has started. Returns the error of which the receiver gets a code
/// only, and nothing that was sent before it for certain.
pub(super) async fn finish_response(
    end: CopyEnd,
    evidence: Evidence,
    answer: &FrameScanner,
    permit: &NodePermit,
    limit: Duration,
    (from, to): (&mut RecvHalf, &mut SendHalf),
) -> Option<Error> {
    match end {
        // Also if the node is lost between its answer and the FIN.
        CopyEnd::Fin | CopyEnd::Sender(_) if answer.is_complete() => {
            record_answer(permit, answer);
            to.finish();
        }
        CopyEnd::Receiver(broken) => {
            let code = broken.code(ErrorKind::Cancelled);
            from.stop(code);
            to.reset(code);
        }
        failed => {
            // What was seen of it has not all been sent on.
            let malformed = matches!(failed, CopyEnd::Malformed(_));
            let starved = matches!(failed, CopyEnd::Starved);
            let error = failure(failed, evidence, answer, permit, limit);
            if !starved {
                // A caller that stops sending is not the node's fault.
                record_error(permit, error.kind());
            }
            tell_failure(permit, &error);
            if answer.is_between_frames() && !malformed {
                write_error(to, &error).await;
            } else {
                // Inside a frame there is no room for an error frame.
                to.reset(reset::code_of(&error));
                return Some(error);
            }
        }
    }
    None
}

/// The error of an answer that has not ended well. `evidence` is what is known if `answer` does not
/// show that the function has started.
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
            Error::new(kind, format!("node `{id}` gave the call up"))
        }
        CopyEnd::Sender(broken) => {
            let cause = broken.error(ErrorKind::NodeLost);
            let text = format!("node `{id}` was lost during the call");
            Error::new(ErrorKind::NodeLost, text).with_source(cause)
        }
        CopyEnd::Stalled => protocol(format!(
            "node `{id}` stopped in the middle of its answer: less than 1 KiB came in {limit:?}"
        )),
        CopyEnd::Starved => protocol(format!(
            "the caller stopped in the middle of what it sends: less than 1 KiB came in {limit:?}"
        )),
        CopyEnd::Malformed(text) => {
            protocol(format!("node `{id}` sent an answer that cannot be decoded: {text}"))
        }
        CopyEnd::Fin | CopyEnd::Receiver(_) => {
            protocol(format!("the answer of node `{id}` has no end"))
        }
    }
}

/// Copies the request; resolves only when the client gives the call up, stops in the middle of
/// something, or is lost.
pub(super) async fn upload(
    from: &mut RecvHalf,
    to: &mut SendHalf,
    passed: &mut FrameScanner,
    limit: Duration,
) -> CopyEnd {
    match copy(from, to, passed, limit, || ()).await {
        CopyEnd::Fin => to.finish(),
        CopyEnd::Sender(broken) => return CopyEnd::Receiver(broken),
        CopyEnd::Malformed(_) => {
            // What is wrong may come after complete arguments.
            let code = reset::code(ErrorKind::Protocol);
            return CopyEnd::Receiver(Broken::Peer(code));
        }
        CopyEnd::Stalled | CopyEnd::Starved => return CopyEnd::Starved,
        // The node has read enough, or is gone; the other direction tells.
        CopyEnd::Receiver(_) => from.stop(reset::cancelled()),
    }
    std::future::pending().await
}

/// Copies bytes from `from` to `to` until one of them is done, or `from` makes no progress for
/// `limit` in the middle of something; calls `begun` once something passes that is not an error.
pub(super) async fn copy(
    from: &mut RecvHalf,
    to: &mut SendHalf,
    passed: &mut FrameScanner,
    limit: Duration,
    begun: impl FnOnce(),
) -> CopyEnd {
    let mut stopped = to.stopped();
    let mut begun = Some(begun);
    let mut progress = ProgressTimer::new(limit);
    loop {
        let due = progress.due(passed);
        let read = tokio::select! {
            biased;
            read = from.read() => read,
            // `None` says that all is received after a FIN, which this loop never sends.
            broken = &mut stopped => return CopyEnd::Receiver(broken.unwrap_or(Broken::Local)),
            // Set only if there is nothing to read.
            () = passes(due) => return CopyEnd::Stalled,
        };
        match read {
            Ok(Some(mut chunks)) => {
                let mut n = 0;
                for chunk in &mut chunks {
                    if let Err(cause) = passed.pass(chunk) {
                        return CopyEnd::Malformed(cause.text);
                    }
                    if let Some((at, code)) = passed.false_no() {
                        let mut right = chunk.to_vec();
                        right[at] = code;
                        *chunk = right.into();
                    }
                    n += chunk.len();
                }
                if has_answered(passed)
                    && let Some(begun) = begun.take()
                {
                    begun();
                }
                let paused = progress.came(n, passed);
                if let Err(broken) = to.write_chunks(&mut chunks).await {
                    return CopyEnd::Receiver(broken);
                }
                progress.resume(paused);
            }
            Ok(None) => return CopyEnd::Fin,
            Err(broken) => return CopyEnd::Sender(broken),
        }
    }
}

pub(super) async fn write_error(send: &mut SendHalf, error: &Error) {
    let mut frames = Vec::new();
    put_error(&mut frames, error);
    write_last(send, &frames).await;
}

/// Ends a direction with `frames`.
pub(super) async fn write_last(send: &mut SendHalf, frames: &[u8]) {
    // A caller that has left needs no answer.
    if send.write(frames).await.is_ok() {
        send.finish();
    }
}
