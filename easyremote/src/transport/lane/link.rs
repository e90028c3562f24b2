//! The lane of a link: where a program's own small calls wait for their answers.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep_until, timeout};

use crate::transport::credit::Credits;
use crate::transport::lane::calling::{Calling, Left, read_messages};
use crate::transport::room::Room;
use crate::transport::stream::{Broken, FrameError, RecvHalf};
use crate::wire::bytes::Malformed;
use crate::wire::frame::{Frame, FrameBuffer, FrameKind};
use crate::wire::lane::{LaneId, read_moved, take_frame};
use crate::wire::limits::{HEADER_TIMEOUT, MAX_CLIENT_STREAMS};

/// A lane for the calls of a program.
pub(crate) type LinkLane = Calling<Waiter>;

/// A call that waits.
#[derive(Debug)]
pub(crate) struct Waiter {
    pub(crate) answered: oneshot::Sender<Answered>,
    pub(crate) deadline: Option<Instant>,
}

/// What became of a call on a lane.
#[derive(Debug)]
pub(crate) enum Answered {
    /// This has come back.
    Frame(Frame),
    /// What has come back makes no sense, or broke off.
    Failed(FrameError),
    /// Its deadline has passed; whether all of it had been sent.
    Late { sent: bool },
    /// The lane has ended before, and why.
    Lost { sent: bool, cause: Broken },
}

impl Waiter {
    fn end(self, how: Answered) {
        // Whoever waits no more needs no answer.
        let _ = self.answered.send(how);
    }
}

/// A lane on `connection`, opened with the first call on it. To be called on the I/O thread.
pub(crate) fn open(
    connection: quinn::Connection,
    credits: Arc<Credits>,
    max_message: usize,
    room: Arc<Room>,
) -> Arc<LinkLane> {
    let lane = Arc::new(Calling::new(MAX_CLIENT_STREAMS));
    let driven = Driven(lane.clone());
    tokio::spawn(async move {
        let cause = drive(&driven.0, &connection, &credits, max_message, &room).await;
        driven.end(&cause);
    });
    lane
}

/// A lane whose calls end with it, also when its thread ends.
struct Driven(Arc<LinkLane>);

impl Driven {
    fn end(&self, cause: &Broken) {
        for Left { call, sent } in self.0.close() {
            call.end(Answered::Lost { sent, cause: cause.clone() });
        }
    }
}

impl Drop for Driven {
    fn drop(&mut self) {
        self.end(&Broken::Local);
    }
}

/// Serves a lane until it breaks.
async fn drive(
    lane: &Arc<LinkLane>,
    connection: &quinn::Connection,
    credits: &Arc<Credits>,
    max_message: usize,
    room: &Arc<Room>,
) -> Broken {
    let (mut send, mut recv) = match lane.out().open(connection).await {
        Ok(opened) => opened,
        Err(broken) => return broken,
    };
    let always = || std::future::ready(());
    let each = |id, mut frames: Bytes| {
        let answer = take_frame(&mut frames, max_message);
        if let Some(waiter) = lane.take(id) {
            waiter.end(match answer {
                Ok(frame) if frames.is_empty() => Answered::Frame(frame),
                Ok(_) => Answered::Failed(malformed("bytes after the answer")),
                Err(cause) => Answered::Failed(FrameError::Malformed(cause)),
            });
        }
        Ok(())
    };
    let reading = read_messages(&mut recv, &[], always, each);
    tokio::select! {
        broken = lane.out().write_to(&mut send, connection) => broken,
        error = reading => match error {
            FrameError::Broken(broken) => broken,
            FrameError::Malformed(_) | FrameError::NoRoom => Broken::Local,
        },
        never = lane.expire(|left| left.call.end(Answered::Late { sent: left.sent })) => match never {},
        cause = accept_moved(lane, connection, credits, max_message, room) => Broken::Connection(cause),
    }
}

/// Receives the answers that are too long for the lane.
async fn accept_moved(
    lane: &Arc<LinkLane>,
    connection: &quinn::Connection,
    credits: &Arc<Credits>,
    max_message: usize,
    room: &Arc<Room>,
) -> quinn::ConnectionError {
    loop {
        match connection.accept_uni().await {
            // It outlives the lane, and says how its call ends even so.
            Ok(recv) => {
                let (lane, room) = (lane.clone(), room.clone());
                let recv = RecvHalf::within(recv, credits);
                tokio::spawn(receive_moved(lane, recv, max_message, room));
            }
            Err(cause) => return cause,
        }
    }
}

async fn receive_moved(
    lane: Arc<LinkLane>,
    mut recv: RecvHalf,
    max_message: usize,
    room: Arc<Room>,
) {
    let mut buffer = FrameBuffer::new(0);
    let Some(id) = moved_id(&mut recv, &mut buffer).await else { return };
    let Some(mut waiter) = lane.take(id) else { return };
    buffer.allow(max_message);
    let late = async {
        match waiter.deadline {
            Some(deadline) => sleep_until(deadline).await,
            None => std::future::pending().await,
        }
    };
    let answer = tokio::select! {
        biased;
        frame = room.frame(&mut recv, &mut buffer) => match frame {
            Ok(Some(frame)) => Answered::Frame(frame),
            Ok(None) => Answered::Failed(malformed("the answer ends before it begins")),
            Err(error) => Answered::Failed(error),
        },
        () = late => Answered::Late { sent: true },
        () = waiter.answered.closed() => return,
    };
    waiter.end(answer);
}

/// Reads which call the answer on a stream of its own is for.
pub(crate) async fn moved_id(recv: &mut RecvHalf, buffer: &mut FrameBuffer) -> Option<LaneId> {
    match timeout(HEADER_TIMEOUT, recv.frame(buffer)).await {
        Ok(Ok(Some(frame))) if frame.kind == FrameKind::Moved => read_moved(&frame.body).ok(),
        _ => None,
    }
}

fn malformed(text: &str) -> FrameError {
    FrameError::Malformed(Malformed::new(text))
}
