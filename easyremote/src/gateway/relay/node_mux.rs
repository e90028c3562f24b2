//! A node's mux, as the gateway calls on it.

use std::sync::Arc;

use bytes::Bytes;
use tracing::debug;

use crate::error::{Error, ErrorKind, Executed};
use crate::gateway::relay::mux::{CallerMux, ForwardedCall, break_off, later};
use crate::gateway::relay::overflow::forward;
use crate::gateway::relay::streams::{ATTEMPTS, protocol};
use crate::gateway::routes::Place;
use crate::transport::mux::client::overflow_id;
use crate::transport::mux::in_flight::{InFlightCalls, Left, read_messages};
use crate::transport::quic::stream::{Broken, FrameError, RecvHalf};
use crate::transport::quic::windows::StreamWindows;
use crate::wire::frame::FrameBuffer;
use crate::wire::limits::MAX_NODE_STREAMS;
use crate::wire::mux::MuxId;
use crate::wire::scanner::FrameScanner;

/// The mux to a node.
pub(in crate::gateway) type NodeMux = InFlightCalls<Relayed>;

/// A call that is at a node.
#[derive(Debug)]
pub(in crate::gateway) struct Relayed {
    /// Where it came from, and its id there.
    pub(super) mux: Arc<CallerMux>,
    pub(super) id: MuxId,
    pub(super) call: Box<ForwardedCall>,
    pub(super) place: Place,
}

impl Relayed {
    /// Ends it with `error`.
    pub(super) fn fail(self, error: &Error) {
        debug!(%error, "call failed at its node");
        let error = error.clone().with_node(self.place.node().id());
        self.mux.fail(self.id, &error);
    }

    /// Ends it with what the node has answered.
    fn answered(self, frames: &[u8], max_message: usize) {
        let mut answer = FrameScanner::answer(max_message);
        let cause = match answer.pass(frames) {
            Ok(()) if answer.is_complete() => {
                self.place.answered();
                return self.mux.answer(self.id, frames);
            }
            Ok(()) => "it has no end".to_owned(),
            Err(cause) => cause.text,
        };
        let executed = if answer.shows_execution() { Executed::Yes } else { Executed::Maybe };
        let id = self.place.node().id();
        let error = protocol(format!("node `{id}` sent what is no answer: {cause}"));
        self.fail(&error.with_executed(executed));
    }

    /// Its node is lost. If that had not all of it, another one may have it.
    fn lost(self, sent: bool, cause: Error) {
        if !sent && self.call.attempts + 1 < ATTEMPTS {
            let Self { mux, id, mut call, place } = self;
            call.attempts += 1;
            place.node().give_up();
            drop(place);
            return mux.spawn(id, later(mux.clone(), id, call, None));
        }
        let (when, executed) = match sent {
            true => ("during the call", Executed::Maybe),
            false => ("before it had the whole call", Executed::No),
        };
        let text = format!("node `{}` was lost {when}: {cause}", self.place.node().id());
        let error = Error::new(ErrorKind::NodeLost, text).with_source(cause);
        self.fail(&error.with_executed(executed));
    }
}

/// A mux on a node's `connection`, opened with the first call on it.
pub(in crate::gateway) fn open_lane(
    connection: quinn::Connection,
    credits: Arc<StreamWindows>,
    max_message: usize,
) -> Arc<NodeMux> {
    let mux = Arc::new(InFlightCalls::new(MAX_NODE_STREAMS));
    let driven = mux.clone();
    tokio::spawn(async move {
        let broken = drive(&driven, &connection, &credits, max_message).await;
        let cause = broken.error(ErrorKind::NodeLost);
        for Left { call, sent } in driven.close() {
            call.lost(sent, cause.clone());
        }
    });
    mux
}

async fn drive(
    mux: &Arc<NodeMux>,
    connection: &quinn::Connection,
    credits: &Arc<StreamWindows>,
    max_message: usize,
) -> Broken {
    let (mut send, mut recv) = match mux.out().open(connection).await {
        Ok(opened) => opened,
        Err(broken) => return broken,
    };
    let always = || std::future::ready(());
    let each = |id, frames: Bytes| {
        // Whoever is not there any more has given the call up.
        if let Some(relayed) = mux.take(id) {
            relayed.answered(&frames, max_message);
        }
        Ok(())
    };
    let reading = read_messages(&mut recv, &[], always, each);
    tokio::select! {
        broken = mux.out().write_to(&mut send, connection) => broken,
        error = reading => match error {
            FrameError::Broken(broken) => broken,
            FrameError::Malformed(cause) => {
                break_off(connection, cause);
                Broken::Local
            }
            FrameError::NoRoom => Broken::Local,
        },
        cause = accept_overflows(mux, connection, credits) => Broken::Connection(cause),
    }
}

/// Passes on the answers that are too long for the mux.
async fn accept_overflows(
    mux: &Arc<NodeMux>,
    connection: &quinn::Connection,
    credits: &Arc<StreamWindows>,
) -> quinn::ConnectionError {
    loop {
        match connection.accept_uni().await {
            // It outlives the mux, and tells its caller if the node is lost.
            Ok(recv) => {
                let recv = RecvHalf::within(recv, credits);
                tokio::spawn(forward_overflow(mux.clone(), recv));
            }
            Err(cause) => return cause,
        }
    }
}

async fn forward_overflow(mux: Arc<NodeMux>, mut recv: RecvHalf) {
    let mut buffer = FrameBuffer::new(0);
    let Some(id) = overflow_id(&mut recv, &mut buffer).await else { return };
    let Some(relayed) = mux.take(id) else { return };
    let (to, id, first) = (relayed.mux.clone(), relayed.id, buffer.take_rest());
    to.watched(id, async move { forward(recv, &first, relayed).await }).await;
}
