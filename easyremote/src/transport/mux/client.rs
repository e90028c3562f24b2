//! The client end of a multiplexed stream: completes small calls with their responses.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::call::deadline::{DeadlinePassed, within};
use crate::call::executed::Evidence;
use crate::transport::io;
use crate::transport::mux::driver::OpenMux;
use crate::transport::mux::in_flight::{CutOff, InFlightCalls};
use crate::transport::mux::overflow;
use crate::transport::quic::stream::{Broken, FrameError, RecvHalf};
use crate::transport::quic::windows::StreamWindows;
use crate::transport::reassembly::ReassemblyBudget;
use crate::wire::bytes::Malformed;
use crate::wire::frame::FrameBuffer;
use crate::wire::limits::MAX_CLIENT_STREAMS;
use crate::wire::mux::MuxId;
use crate::wire::response::Response;

/// The small calls of a client that are in flight.
pub(crate) type ClientMux = InFlightCalls<MuxWaiter>;

/// A call that waits for its response.
#[derive(Debug)]
pub(crate) struct MuxWaiter {
    pub(crate) ended: oneshot::Sender<MuxEnd>,
    pub(crate) deadline: Option<Instant>,
}

/// How a call on a multiplexed stream ended.
#[derive(Debug)]
pub(crate) enum MuxEnd {
    Response(Response),
    /// The response cannot be decoded, or broke off.
    Failed(FrameError),
    /// The deadline of the call passed.
    Late,
    /// The stream broke; `evidence` is what is known about the execution.
    Lost {
        evidence: Evidence,
        cause: Broken,
    },
}

impl MuxWaiter {
    fn end(self, how: MuxEnd) {
        // An error means that the caller has left.
        let _ = self.ended.send(how);
    }
}

/// Opens a multiplexed stream on `connection` when the first call is submitted. Call this in
/// an I/O task.
pub(crate) fn open(
    connection: quinn::Connection,
    windows: Arc<StreamWindows>,
    max_message: usize,
    budget: Arc<ReassemblyBudget>,
) -> Arc<ClientMux> {
    let calls = Arc::new(InFlightCalls::new(MAX_CLIENT_STREAMS));
    let driver = ClientDriver { calls: calls.clone(), windows, max_message, budget };
    io::spawn(async move {
        let broken = driver.run(connection).await;
        driver.end(&broken);
    })
    .detach();
    calls
}

/// Drives the stream. Dropping it ends the remaining calls, even if its runtime is shut down.
struct ClientDriver {
    calls: Arc<ClientMux>,
    windows: Arc<StreamWindows>,
    max_message: usize,
    budget: Arc<ReassemblyBudget>,
}

impl Drop for ClientDriver {
    fn drop(&mut self) {
        self.end(&Broken::Local);
    }
}

impl ClientDriver {
    fn end(&self, cause: &Broken) {
        for CutOff { call, sent } in self.calls.close() {
            call.end(MuxEnd::Lost { evidence: Evidence::of_sending(sent), cause: cause.clone() });
        }
    }

    async fn run(&self, connection: quinn::Connection) -> Broken {
        let writer = self.calls.writer();
        let mux = match OpenMux::open(connection.clone(), writer).await {
            Ok(mux) => mux,
            Err(broken) => return broken,
        };
        let ready = || std::future::ready(());
        tokio::select! {
            broken = mux.drive(writer, ready, |id, frames| self.receive(id, frames)) => broken,
            never = self.calls.expire(|call| call.end(MuxEnd::Late)) => match never {},
            broken = overflow::accept(&connection, &self.windows, |recv| self.receive_overflow(recv)) => {
                broken
            }
        }
    }

    fn receive(&self, id: MuxId, frames: Bytes) -> Result<(), Malformed> {
        if frames.is_empty() {
            return self.calls.released(id);
        }
        if let Some(call) = self.calls.answered(id) {
            call.end(match Response::from_message(frames, self.max_message) {
                Ok(response) => MuxEnd::Response(response),
                Err(cause) => MuxEnd::Failed(FrameError::Malformed(cause)),
            });
        }
        Ok(())
    }

    /// Receives an overflow response. The task outlives the multiplexed stream, and completes its
    /// call even then.
    fn receive_overflow(&self, mut recv: RecvHalf) {
        let (calls, budget) = (self.calls.clone(), self.budget.clone());
        let max_message = self.max_message;
        io::spawn(async move {
            let mut buffer = FrameBuffer::new(0);
            let Some(id) = overflow::read_id(&mut recv, &mut buffer).await else { return };
            // From here on the call is not in the table, so this task is the only one that can end
            // it.
            let Some(mut call) = calls.answered(id) else { return };
            buffer.allow(max_message);
            let receiving = within(call.deadline, budget.response(&mut recv, &mut buffer));
            let end = tokio::select! {
                // Biased: a response that has arrived wins over the loss of its caller.
                biased;
                received = receiving => match received {
                    Ok(Ok(response)) => MuxEnd::Response(response),
                    Ok(Err(error)) => MuxEnd::Failed(error),
                    Err(DeadlinePassed) => MuxEnd::Late,
                },
                () = call.ended.closed() => return,
            };
            call.end(end);
        })
        .detach();
    }
}
