//! One direction of a call: bytes as they come, and how that ends.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use crate::error::{Error, ErrorKind, Executed};
use crate::gateway::relay::progress::ProgressTimer;
use crate::gateway::relay::streams::{protocol, write_error};
use crate::gateway::routes::Place;
use crate::transport::quic::reset;
use crate::transport::quic::stream::{Broken, RecvHalf, SendHalf};
use crate::wire::scanner::FrameScanner;

/// Why a direction is over.
#[derive(Debug)]
pub(crate) enum End {
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

/// Ends an answer that has been passed on from `from` to `to`. `executed` is what is known if
/// `answer` does not show it. Gives the error of which the receiver gets a code only, and nothing
/// that was sent before it for certain.
pub(crate) async fn conclude(
    end: End,
    executed: Executed,
    answer: &FrameScanner,
    place: &Place,
    limit: Duration,
    (from, to): (&mut RecvHalf, &mut SendHalf),
) -> Option<Error> {
    match end {
        // Also if the node is lost between its answer and the FIN.
        End::Fin | End::Sender(_) if answer.is_complete() => to.finish(),
        End::Receiver(broken) => {
            let code = broken.code(ErrorKind::Cancelled, Executed::Maybe);
            from.stop(code);
            to.reset(code);
        }
        failed => {
            // What was seen of it has not all been sent on.
            let malformed = matches!(failed, End::Malformed(_));
            let error = failure(failed, executed, answer, place, limit);
            tracing::debug!(%error, "call failed at its node");
            if answer.is_between_frames() && !malformed {
                write_error(to, &error).await;
            } else {
                // Inside a frame there is no room for an error frame.
                to.reset(reset::code(error.kind(), error.executed()));
                return Some(error);
            }
        }
    }
    None
}

/// The error of an answer that has not ended well. `executed` is what is known if `answer` does not
/// show it: a node starts nothing before it has all arguments.
pub(crate) fn failure(
    end: End,
    executed: Executed,
    answer: &FrameScanner,
    place: &Place,
    limit: Duration,
) -> Error {
    let id = place.node().id();
    let executed = if answer.shows_execution() { Executed::Yes } else { executed };
    node_error(end, id, limit).with_executed(executed).with_delivered(answer.items()).with_node(id)
}

fn node_error(end: End, id: &str, limit: Duration) -> Error {
    match end {
        End::Sender(Broken::Peer(code)) => {
            let (kind, _) = reset::read(code);
            Error::new(kind, format!("node `{id}` gave the call up"))
        }
        End::Sender(broken) => {
            let cause = broken.error(ErrorKind::NodeLost);
            let text = format!("node `{id}` was lost during the call: {cause}");
            Error::new(ErrorKind::NodeLost, text).with_source(cause)
        }
        End::Stalled => protocol(format!(
            "node `{id}` stopped in the middle of its answer: less than 1 KiB came in {limit:?}"
        )),
        End::Starved => protocol(format!(
            "the caller stopped in the middle of what it sends: less than 1 KiB came in {limit:?}"
        )),
        End::Malformed(text) => protocol(format!("node `{id}` sent what is no answer: {text}")),
        End::Fin | End::Receiver(_) => protocol(format!("the answer of node `{id}` has no end")),
    }
}

/// Moves the request; resolves only when the client gives the call up, stops in the middle of
/// something, or is lost.
pub(crate) async fn upload(
    from: &mut RecvHalf,
    to: &mut SendHalf,
    passed: &mut FrameScanner,
    limit: Duration,
) -> End {
    match pump(from, to, passed, limit, || ()).await {
        End::Fin => to.finish(),
        End::Sender(broken) => return End::Receiver(broken),
        End::Malformed(_) => {
            // What is wrong may come after complete arguments.
            let code = reset::code(ErrorKind::Protocol, Executed::Maybe);
            return End::Receiver(Broken::Peer(code));
        }
        End::Stalled | End::Starved => return End::Starved,
        // The node has read enough, or is gone; the other direction tells.
        End::Receiver(_) => from.stop(reset::cancelled()),
    }
    std::future::pending().await
}

/// Moves bytes from `from` to `to` until one of them is done, or `from` makes no progress for
/// `limit` in the middle of something; says `begun` with the first of them.
pub(crate) async fn pump(
    from: &mut RecvHalf,
    to: &mut SendHalf,
    passed: &mut FrameScanner,
    limit: Duration,
    begun: impl FnOnce(),
) -> End {
    let mut stopped = to.stopped();
    let mut begun = Some(begun);
    let mut progress = ProgressTimer::new(limit);
    loop {
        let due = progress.due(passed);
        let read = tokio::select! {
            biased;
            read = from.read() => read,
            // `None` says that all is received after a FIN, which this loop never sends.
            broken = &mut stopped => return End::Receiver(broken.unwrap_or(Broken::Local)),
            // Set only if there is nothing to read.
            () = async { sleep_until(due.unwrap_or_else(Instant::now)).await }, if due.is_some() => {
                return End::Stalled;
            }
        };
        match read {
            Ok(Some(mut chunks)) => {
                if let Some(begun) = begun.take() {
                    begun();
                }
                let mut n = 0;
                for chunk in chunks.iter() {
                    if let Err(cause) = passed.pass(chunk) {
                        return End::Malformed(cause.text);
                    }
                    n += chunk.len();
                }
                let paused = progress.came(n, passed);
                if let Err(broken) = to.write_chunks(&mut chunks).await {
                    return End::Receiver(broken);
                }
                progress.resume(paused);
            }
            Ok(None) => return End::Fin,
            Err(broken) => return End::Sender(broken),
        }
    }
}
