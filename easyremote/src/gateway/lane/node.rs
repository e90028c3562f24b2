//! A node's lane, as the gateway calls on it.

use std::sync::Arc;

use bytes::Bytes;
use tracing::debug;

use crate::error::{Error, ErrorKind, Executed};
use crate::gateway::lane::forward::forward;
use crate::gateway::lane::{CallerLane, SmallCall, later};
use crate::gateway::relay::{ATTEMPTS, protocol};
use crate::gateway::routes::Place;
use crate::transport::credit::Credits;
use crate::transport::lane::calling::{Calling, Left, read_messages};
use crate::transport::lane::link::moved_id;
use crate::transport::stream::{Broken, FrameError, RecvHalf};
use crate::wire::frame::FrameBuffer;
use crate::wire::lane::LaneId;
use crate::wire::limits::MAX_NODE_STREAMS;
use crate::wire::scanner::FrameScanner;

/// The lane to a node.
pub(in crate::gateway) type NodeLane = Calling<Relayed>;

/// A call that is at a node.
#[derive(Debug)]
pub(in crate::gateway) struct Relayed {
    /// Where it came from, and its id there.
    pub(super) lane: Arc<CallerLane>,
    pub(super) id: LaneId,
    pub(super) call: Box<SmallCall>,
    pub(super) place: Place,
}

impl Relayed {
    /// Ends it with `error`.
    pub(super) fn fail(self, error: &Error) {
        debug!(%error, "call failed at its node");
        let error = error.clone().with_node(self.place.node().id());
        self.lane.fail(self.id, &error);
    }

    /// Ends it with what the node has answered.
    fn answered(self, frames: &[u8], max_message: usize) {
        let mut answer = FrameScanner::answer(max_message);
        let cause = match answer.pass(frames) {
            Ok(()) if answer.is_complete() => {
                self.place.answered();
                return self.lane.answer(self.id, frames);
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
            let Self { lane, id, mut call, place } = self;
            call.attempts += 1;
            place.node().give_up();
            drop(place);
            return lane.spawn(id, later(lane.clone(), id, call, None));
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

/// A lane on a node's `connection`, opened with the first call on it.
pub(in crate::gateway) fn open_lane(
    connection: quinn::Connection,
    credits: Arc<Credits>,
    max_message: usize,
) -> Arc<NodeLane> {
    let lane = Arc::new(Calling::new(MAX_NODE_STREAMS));
    let driven = lane.clone();
    tokio::spawn(async move {
        let broken = drive(&driven, &connection, &credits, max_message).await;
        let cause = broken.error(ErrorKind::NodeLost);
        for Left { call, sent } in driven.close() {
            call.lost(sent, cause.clone());
        }
    });
    lane
}

async fn drive(
    lane: &Arc<NodeLane>,
    connection: &quinn::Connection,
    credits: &Arc<Credits>,
    max_message: usize,
) -> Broken {
    let (mut send, mut recv) = match lane.out().open(connection).await {
        Ok(opened) => opened,
        Err(broken) => return broken,
    };
    let always = || std::future::ready(());
    let each = |id, frames: Bytes| {
        // Whoever is not there any more has given the call up.
        if let Some(relayed) = lane.take(id) {
            relayed.answered(&frames, max_message);
        }
        Ok(())
    };
    let reading = read_messages(&mut recv, &[], always, each);
    tokio::select! {
        broken = lane.out().write_to(&mut send, connection) => broken,
        error = reading => match error {
            FrameError::Broken(broken) => broken,
            FrameError::Malformed(cause) => {
                super::break_off(connection, cause);
                Broken::Local
            }
            FrameError::NoRoom => Broken::Local,
        },
        cause = accept_moved(lane, connection, credits) => Broken::Connection(cause),
    }
}

/// Passes on the answers that are too long for the lane.
async fn accept_moved(
    lane: &Arc<NodeLane>,
    connection: &quinn::Connection,
    credits: &Arc<Credits>,
) -> quinn::ConnectionError {
    loop {
        match connection.accept_uni().await {
            // It outlives the lane, and tells its caller if the node is lost.
            Ok(recv) => {
                let recv = RecvHalf::within(recv, credits);
                tokio::spawn(forward_moved(lane.clone(), recv));
            }
            Err(cause) => return cause,
        }
    }
}

async fn forward_moved(lane: Arc<NodeLane>, mut recv: RecvHalf) {
    let mut buffer = FrameBuffer::new(0);
    let Some(id) = moved_id(&mut recv, &mut buffer).await else { return };
    let Some(relayed) = lane.take(id) else { return };
    let (to, id, first) = (relayed.lane.clone(), relayed.id, buffer.take_rest());
    to.watched(id, async move { forward(recv, &first, relayed).await }).await;
}
