//! What the caller says on a leg.

use std::future::pending;

use bytes::{Buf, Bytes};

use crate::error::ErrorKind;
use crate::node::exec::resumable::leg::NewLeg;
use crate::node::exec::taken::TakenParser;
use crate::transport::quic::reset;
use crate::transport::quic::stream::{Broken, RecvHalf, Stopped};

/// Why a leg is no longer served.
pub(super) enum LegEnd {
    /// The stream is over.
    Over,
    /// The caller has finished its direction, and has everything.
    Read,
    /// The connection of the caller or of the gateway is lost.
    Lost,
    Replaced(Box<NewLeg>),
}

/// What the caller says on a leg.
pub(super) struct HeardLeg {
    pub(super) recv: RecvHalf,
    pub(super) stopped: Stopped,
    pub(super) parser: TakenParser,
    /// What has arrived and was not looked at.
    pub(super) unread: Option<Vec<Bytes>>,
    /// Bytes of the body of the call that are still to come.
    pub(super) body: usize,
    /// Whether the caller has finished its direction: it has the last frame, or wants no more.
    pub(super) finished: bool,
    /// Whether what still arrives is of no use, because the call has failed.
    pub(super) discards: bool,
}

/// What a caller says.
pub(super) enum Said {
    More(Vec<Bytes>),
    Finished,
    Gone(LegEnd),
}

impl HeardLeg {
    /// Waits for what the caller says next. Cancel safe. Unless it `reads`, notices only that the leg
    /// has ended.
    pub(super) async fn next(&mut self, reads: bool) -> Said {
        if reads && let Some(unread) = self.unread.take() {
            return Said::More(self.behind_body(unread));
        }
        let (recv, reads) = (&mut self.recv, reads && !self.finished);
        let read = async {
            match reads {
                true => recv.read().await,
                false => pending().await,
            }
        };
        tokio::select! {
            biased;
            read = read => match read {
                Ok(Some(chunks)) => Said::More(self.behind_body(chunks)),
                Ok(None) => {
                    self.finished = true;
                    Said::Finished
                }
                Err(broken) => Said::Gone(end_of(&broken)),
            },
            broken = &mut self.stopped => Said::Gone(end_of(&broken.unwrap_or(Broken::Local))),
        }
    }

    /// Leaves out the bytes of the body.
    fn behind_body(&mut self, mut chunks: Vec<Bytes>) -> Vec<Bytes> {
        for chunk in &mut chunks {
            let n = self.body.min(chunk.len());
            chunk.advance(n);
            self.body -= n;
        }
        chunks
    }
}

/// Decides what the end of a QUIC stream says: a caller that cancels is not one that is lost.
pub(super) fn end_of(broken: &Broken) -> LegEnd {
    use ErrorKind::{ConnectionLost, Draining, NodeLost};
    match broken {
        Broken::Peer(code) => match reset::read(*code).0 {
            ConnectionLost | NodeLost | Draining => LegEnd::Lost,
            _ => LegEnd::Over,
        },
        Broken::Connection(_) | Broken::Local => LegEnd::Lost,
    }
}
