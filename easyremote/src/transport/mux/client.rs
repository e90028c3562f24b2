//! The mux of a link: where a program's own small calls wait for their answers.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep_until, timeout};

use crate::transport::mux::in_flight::{InFlightCalls, Left, read_messages};
use crate::transport::quic::stream::{Broken, FrameError, RecvHalf};
use crate::transport::quic::windows::StreamWindows;
use crate::transport::reassembly::ReassemblyBudget;
use crate::wire::bytes::Malformed;
use crate::wire::frame::{Frame, FrameBuffer, FrameKind};
use crate::wire::limits::{HEADER_TIMEOUT, MAX_CLIENT_STREAMS};
use crate::wire::mux::{MuxId, read_overflow, take_frame};

/// A mux for the calls of a program.
pub(crate) type ClientMux = InFlightCalls<MuxWaiter>;

/// A call that waits.
#[derive(Debug)]
pub(crate) struct MuxWaiter {
    pub(crate) answered: oneshot::Sender<Answered>,
    pub(crate) deadline: Option<Instant>,
}

/// What became of a call on a mux.
#[derive(Debug)]
pub(crate) enum Answered {
    /// This has come back.
    Frame(Frame),
    /// What has come back makes no sense, or broke off.
    Failed(FrameError),
    /// Its deadline has passed; whether all of it had been sent.
    Late { sent: bool },
    /// The mux has ended before, and why.
    Lost { sent: bool, cause: Broken },
}

impl MuxWaiter {
    fn end(self, how: Answered) {
        // Whoever waits no more needs no answer.
        let _ = self.answered.send(how);
    }
}

/// A mux on `connection`, opened with the first call on it. To be called on the I/O thread.
pub(crate) fn open(
    connection: quinn::Connection,
    credits: Arc<StreamWindows>,
    max_message: usize,
    room: Arc<ReassemblyBudget>,
) -> Arc<ClientMux> {
    let mux = Arc::new(InFlightCalls::new(MAX_CLIENT_STREAMS));
    let driven = Driven(mux.clone());
    tokio::spawn(async move {
        let cause = drive(&driven.0, &connection, &credits, max_message, &room).await;
        driven.end(&cause);
    });
    mux
}

/// A mux whose calls end with it, also when its thread ends.
struct Driven(Arc<ClientMux>);

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

/// Serves a mux until it breaks.
async fn drive(
    mux: &Arc<ClientMux>,
    connection: &quinn::Connection,
    credits: &Arc<StreamWindows>,
    max_message: usize,
    room: &Arc<ReassemblyBudget>,
) -> Broken {
    let (mut send, mut recv) = match mux.out().open(connection).await {
        Ok(opened) => opened,
        Err(broken) => return broken,
    };
    let always = || std::future::ready(());
    let each = |id, mut frames: Bytes| {
        let answer = take_frame(&mut frames, max_message);
        if let Some(waiter) = mux.take(id) {
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
        broken = mux.out().write_to(&mut send, connection) => broken,
        error = reading => match error {
            FrameError::Broken(broken) => broken,
            FrameError::Malformed(_) | FrameError::NoRoom => Broken::Local,
        },
        never = mux.expire(|left| left.call.end(Answered::Late { sent: left.sent })) => match never {},
        cause = accept_overflows(mux, connection, credits, max_message, room) => Broken::Connection(cause),
    }
}

/// Receives the answers that are too long for the mux.
async fn accept_overflows(
    mux: &Arc<ClientMux>,
    connection: &quinn::Connection,
    credits: &Arc<StreamWindows>,
    max_message: usize,
    room: &Arc<ReassemblyBudget>,
) -> quinn::ConnectionError {
    loop {
        match connection.accept_uni().await {
            // It outlives the mux, and says how its call ends even so.
            Ok(recv) => {
                let (mux, room) = (mux.clone(), room.clone());
                let recv = RecvHalf::within(recv, credits);
                tokio::spawn(receive_overflow(mux, recv, max_message, room));
            }
            Err(cause) => return cause,
        }
    }
}

async fn receive_overflow(
    mux: Arc<ClientMux>,
    mut recv: RecvHalf,
    max_message: usize,
    room: Arc<ReassemblyBudget>,
) {
    let mut buffer = FrameBuffer::new(0);
    let Some(id) = overflow_id(&mut recv, &mut buffer).await else { return };
    let Some(mut waiter) = mux.take(id) else { return };
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
pub(crate) async fn overflow_id(recv: &mut RecvHalf, buffer: &mut FrameBuffer) -> Option<MuxId> {
    match timeout(HEADER_TIMEOUT, recv.frame(buffer)).await {
        Ok(Ok(Some(frame))) if frame.kind == FrameKind::Overflow => read_overflow(&frame.body).ok(),
        _ => None,
    }
}

fn malformed(text: &str) -> FrameError {
    FrameError::Malformed(Malformed::new(text))
}
