//! Calls with a resumable client stream: one attempt, on one leg.
//!
//! ```text
//!   caller's stream --> kept items --> leg --> node --> function
//!                          ^  |                 |
//!                    trim  |  |  `Received`     |
//!                          +--+-----------------+
//! ```
//!
//! The node says which items have arrived; the others are kept here. When the leg is lost, the call
//! is [resumed](super::resume) at its node: an `Attached` frame says behind which item to go on. The
//! answer is kept by the node, until this side finishes its direction because it has it.
//!
//! Before the first `Attached` frame a call is an ordinary one: it is not known which node has it.

use std::future::pending;
use std::pin::pin;
use std::sync::Arc;

use crate::client::call_task::resume::{ended, moves};
use crate::client::call_task::{CallTask, UnaryAnswer};
use crate::client::kept_upload::KeptUpload;
use crate::client::upload::Sending;
use crate::error::{Error, ErrorKind};
use crate::transport::live_connection::LiveConnection;
use crate::transport::quic::reset;
use crate::transport::quic::stream::{Broken, FrameError, RecvHalf, SendHalf};
use crate::transport::reassembly::ReassemblyBudget;
use crate::wire::bytes::Malformed;
use crate::wire::frame::{Frame, FrameBuffer, FrameKind, read_count};
use crate::wire::response::{Response, ResponseReader};

/// What a node says on a leg.
enum NodeSays {
    /// It has the call.
    Attached(Frame),
    /// So many items have arrived.
    Received(u64),
    Answer(Response),
}

/// The node's direction of a leg.
struct AnswerLeg<'a> {
    recv: &'a mut RecvHalf,
    buffer: FrameBuffer,
    reader: ResponseReader,
    room: Arc<ReassemblyBudget>,
}

impl AnswerLeg<'_> {
    /// Waits for what the node says next. Cancel safe.
    async fn next(&mut self) -> Result<NodeSays, FrameError> {
        loop {
            let Some(frame) = self.room.frame(self.recv, &mut self.buffer).await? else {
                let cause = Malformed::new("the stream ended before the response");
                return Err(FrameError::Malformed(cause));
            };
            match frame.kind {
                FrameKind::Attached => return Ok(NodeSays::Attached(frame)),
                FrameKind::Received => {
                    let items = read_count(&frame.body).map_err(FrameError::Malformed)?;
                    return Ok(NodeSays::Received(items));
                }
                _ => {}
            }
            let response = self.reader.take(frame).map_err(FrameError::Malformed)?;
            if let Some(response) = response {
                return Ok(NodeSays::Answer(response));
            }
        }
    }
}

impl CallTask {
    /// Makes one attempt at a call with a resumable client stream.
    ///
    /// # Errors
    /// Why there is no answer. If the call is to be [resumed](Self::resume), that has been noted.
    pub(super) async fn exchange_upload(
        &mut self,
        mut kept: Box<KeptUpload>,
    ) -> Result<UnaryAnswer, Error> {
        let answered = match self.send().await {
            Ok(sent) => self.serve_leg(sent, &mut kept).await,
            Err(error) => Err(error),
        };
        self.request.kept = Some(kept);
        answered
    }

    /// Sends items, until there is an answer or the leg is lost.
    async fn serve_leg(
        &mut self,
        (live, sending, mut recv): (Arc<LiveConnection>, Sending, RecvHalf),
        kept: &mut KeptUpload,
    ) -> Result<UnaryAnswer, Error> {
        let mut send = sending.into_half();
        kept.rewind();
        let leg = AnswerLeg {
            recv: &mut recv,
            buffer: FrameBuffer::new(live.max_message),
            reader: ResponseReader::default(),
            room: self.link.room.clone(),
        };
        match self.exchange_items(&mut send, leg, kept, &live).await {
            Ok(response) => {
                self.say_goodbye(send, recv, live.clone());
                UnaryAnswer::new(response, &self.request.header, &live, &self.link)
                    .map_err(|response| self.refused(&response.frame, &live))
            }
            Err(error) => {
                if self.is_resuming() {
                    // The node must not take it for a caller that cancels.
                    send.reset(reset::code(ErrorKind::ConnectionLost));
                    recv.stop(reset::code(ErrorKind::ConnectionLost));
                }
                Err(error)
            }
        }
    }

    /// Finishes this direction: the node lets go of the call, and the gateway counts its place as
    /// free. The caller does not wait for that.
    fn say_goodbye(&self, mut send: SendHalf, mut recv: RecvHalf, live: Arc<LiveConnection>) {
        send.finish();
        let leaving = self.link.spawn(async move {
            // The connection counts as in use.
            let _live = live;
            ended(&mut recv).await;
        });
        leaving.detach();
    }

    /// Sends items on a leg, and returns the answer.
    ///
    /// # Errors
    /// Why there is none.
    async fn exchange_items(
        &mut self,
        send: &mut SendHalf,
        mut leg: AnswerLeg<'_>,
        kept: &mut KeptUpload,
        live: &LiveConnection,
    ) -> Result<Response, Error> {
        let (mut attached, mut stopped) = (false, false);
        let mut moved = pin!(moves(self.link.gateways.clone(), live));
        loop {
            // A call that continues goes on where the node says.
            let writes = !stopped && (attached || !self.continues());
            let mut batch = if writes { kept.take_unsent() } else { Vec::new() };
            let idle = batch.is_empty();
            let mut writing = pin!(async {
                match idle {
                    true => pending().await,
                    false => send.write_chunks(&mut batch).await,
                }
            });
            loop {
                tokio::select! {
                    biased;
                    said = leg.next() => {
                        if let Some(response) = self.note_said(said, &mut attached, kept, live)? {
                            return Ok(response);
                        }
                    }
                    written = &mut writing => {
                        // One that has stopped reading says why.
                        stopped = self.note_written(written, attached)?;
                        break;
                    }
                    () = kept.fill() => {}
                    () = &mut moved, if attached => return Err(self.moved()),
                }
                if idle {
                    break;
                }
            }
        }
    }

    /// Notes what the node has said. Returns the answer, if that is what it is.
    ///
    /// # Errors
    /// Of a leg that is lost, a call that has failed, and a node that breaks the protocol.
    fn note_said(
        &mut self,
        said: Result<NodeSays, FrameError>,
        attached: &mut bool,
        kept: &mut KeptUpload,
        live: &LiveConnection,
    ) -> Result<Option<Response>, Error> {
        let received = match said {
            Ok(NodeSays::Answer(Response { frame, .. })) if frame.kind == FrameKind::Error => {
                let error = self.refused(&frame, live);
                return Err(self.ended(error, *attached));
            }
            Ok(NodeSays::Answer(response)) if *attached => return Ok(Some(response)),
            Ok(NodeSays::Received(items)) if *attached => items,
            Ok(NodeSays::Attached(frame)) if !*attached => {
                let received = self.attached(Ok(Some(frame)), live)?;
                *attached = true;
                live.note_served();
                // The function may run now, so that its call is not made again.
                self.request.body.clear();
                received
            }
            Ok(_) => {
                let text = "the answer to a call with a resumable client stream is out of order";
                return Err(self.protocol_error(text.into()));
            }
            Err(error) => {
                let error = self.broken(error);
                return Err(self.ended(error, *attached));
            }
        };
        let acknowledged = kept.acknowledge(received);
        acknowledged.map_err(|cause| self.broken(FrameError::Malformed(cause)))?;
        Ok(None)
    }

    /// Notes how a write has ended. Returns whether the other side has stopped reading.
    ///
    /// # Errors
    /// If the connection is lost.
    fn note_written(&mut self, written: Result<(), Broken>, attached: bool) -> Result<bool, Error> {
        match written {
            Ok(()) => Ok(false),
            Err(Broken::Peer(_)) => Ok(true),
            Err(broken) => {
                let error = self.lost(broken);
                Err(self.ended(error, attached))
            }
        }
    }

    /// Notes that a leg has ended with `error`. The call is resumed if its node has said that it has
    /// it, and the way there is lost.
    fn ended(&mut self, error: Error, attached: bool) -> Error {
        if attached && self.loses(&error) { self.note_loss(error) } else { error }
    }
}
