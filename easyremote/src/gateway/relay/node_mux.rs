//! The multiplexed stream to a node, which carries small calls of the gateway's callers.

use std::sync::Arc;

use bytes::Bytes;

use crate::call::executed::Evidence;
use crate::error::{Error, ErrorKind};
use crate::gateway::relay::dispatch::protocol;
use crate::gateway::relay::node_link::{NodeMux, PlacedCall};
use crate::gateway::relay::outcome::{record_answer, record_error, tell_failure};
use crate::transport::mux::driver::OpenMux;
use crate::transport::mux::in_flight::CutOff;
use crate::transport::mux::overflow;
use crate::transport::quic::stream::{Broken, RecvHalf};
use crate::transport::quic::windows::StreamWindows;
use crate::wire::bytes::Malformed;
use crate::wire::frame::FrameBuffer;
use crate::wire::limits::MAX_NODE_STREAMS;
use crate::wire::scanner::FrameScanner;

impl PlacedCall {
    /// Fails the call with `error`.
    fn fail(self, error: &Error) {
        tell_failure(&self.permit, &self.call.dispatch.header, error);
        record_error(&self.permit, error.kind());
        self.origin.fail(self.id, &error.clone().with_node(self.permit.node().id()));
    }

    /// Completes the call with the frames that the node has sent.
    fn answer(self, frames: &[u8], max_message: usize) {
        let mut answer = FrameScanner::answer(max_message);
        let cause = match answer.pass(frames) {
            Ok(()) if answer.is_complete() => {
                record_answer(&self.permit, &self.call.dispatch.header, &answer);
                let Some((at, code)) = answer.false_no() else {
                    return self.origin.answer(self.id, frames);
                };
                let mut right = frames.to_vec();
                right[at] = code;
                return self.origin.answer(self.id, &right);
            }
            Ok(()) => "it is incomplete".to_owned(),
            Err(cause) => cause.text,
        };
        let id = self.permit.node().id();
        let error = protocol(format!("the answer of node `{id}` cannot be decoded: {cause}"));
        let evidence = Evidence::Sent.or_answered(answer.shows_execution());
        self.fail(&error.with_evidence(evidence));
    }

    /// Handles the loss of the node. The call is sent to another node if this one had not received
    /// all of it.
    fn lost(mut self, sent: bool, cause: Error) {
        if !sent && self.call.dispatch.lost(&self.permit) {
            record_error(&self.permit, ErrorKind::NodeLost);
            self.permit.goes_on();
            let Self { origin, id, call, permit } = self;
            drop(permit);
            return origin.redispatch(id, call);
        }
        let when = if sent { "during the call" } else { "before it had the whole call" };
        let text = format!("node `{}` was lost {when}", self.permit.node().id());
        let error = Error::new(ErrorKind::NodeLost, text).with_source(cause);
        self.fail(&error.with_evidence(Evidence::of_sending(sent)));
    }
}

/// Opens a multiplexed stream on a node's `connection` when the first call is submitted.
pub(in crate::gateway) fn open_mux(
    connection: quinn::Connection,
    windows: Arc<StreamWindows>,
    max_message: usize,
) -> Arc<NodeMux> {
    let calls = Arc::new(NodeMux::new(MAX_NODE_STREAMS));
    let driven = calls.clone();
    tokio::spawn(async move {
        let broken = drive(&driven, connection, &windows, max_message).await;
        let cause = broken.error(ErrorKind::NodeLost);
        // Calls that were abandoned are not returned, so a cancelled call is never redispatched.
        for CutOff { call, sent } in driven.close() {
            call.lost(sent, cause.clone());
        }
    });
    calls
}

async fn drive(
    calls: &Arc<NodeMux>,
    connection: quinn::Connection,
    windows: &Arc<StreamWindows>,
    max_message: usize,
) -> Broken {
    let mux = match OpenMux::open(connection.clone(), calls.writer()).await {
        Ok(mux) => mux,
        Err(broken) => return broken,
    };
    let ready = || std::future::ready(());
    let each = |id, frames: Bytes| -> Result<(), Malformed> {
        if frames.is_empty() {
            return calls.released(id);
        }
        if let Some(call) = calls.answered(id) {
            call.answer(&frames, max_message);
        }
        Ok(())
    };
    tokio::select! {
        broken = mux.drive(calls.writer(), ready, each) => broken,
        broken = overflow::accept(&connection, windows, |recv| receive_overflow(calls, recv)) => broken,
    }
}

/// Forwards an overflow response. The task outlives the multiplexed stream, and fails the call if
/// the node is lost.
fn receive_overflow(calls: &Arc<NodeMux>, mut recv: RecvHalf) {
    let calls = calls.clone();
    tokio::spawn(async move {
        let mut buffer = FrameBuffer::new(0);
        let Some(id) = overflow::read_id(&mut recv, &mut buffer).await else { return };
        let Some(call) = calls.answered(id) else { return };
        let PlacedCall { origin, id, call, permit } = call;
        origin.forward_response(id, call, (recv, buffer.take_rest()), permit).await;
    });
}
