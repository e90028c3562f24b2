//! The multiplexed stream to a node: small calls that the gateway makes there.

use std::sync::Arc;

use bytes::Bytes;
use tracing::debug;

use crate::call::executed::Evidence;
use crate::error::{Error, ErrorKind};
use crate::gateway::relay::dispatch::protocol;
use crate::gateway::relay::mux::{CallerMux, ForwardedCall, dispatch_later};
use crate::gateway::relay::node_link::{NodePermit, UnreleasedCall};
use crate::gateway::relay::outcome::{record_answer, record_error};
use crate::gateway::relay::overflow::forward_overflow;
use crate::transport::mux::driver::OpenMux;
use crate::transport::mux::in_flight::{CutOff, InFlightCalls};
use crate::transport::mux::overflow;
use crate::transport::quic::stream::{Broken, RecvHalf};
use crate::transport::quic::windows::StreamWindows;
use crate::wire::bytes::Malformed;
use crate::wire::frame::FrameBuffer;
use crate::wire::limits::MAX_NODE_STREAMS;
use crate::wire::mux::MuxId;
use crate::wire::scanner::FrameScanner;

/// The small calls that are at a node.
pub(in crate::gateway) type NodeMux = InFlightCalls<PlacedCall, UnreleasedCall>;

/// A small call that is at a node.
#[derive(Debug)]
pub(in crate::gateway) struct PlacedCall {
    /// Where it came from, and its id there.
    pub(super) mux: Arc<CallerMux>,
    pub(super) id: MuxId,
    pub(super) call: Box<ForwardedCall>,
    pub(super) permit: NodePermit,
}

impl PlacedCall {
    /// What is kept of the call when its caller has left.
    pub(super) fn abandon(self) -> UnreleasedCall {
        self.call.dispatch.abandon(self.permit)
    }

    /// Ends it with `error`.
    pub(super) fn fail(self, error: &Error) {
        debug!(%error, "call failed at its node");
        record_error(&self.permit, error.kind());
        self.mux.fail(self.id, &error.clone().with_node(self.permit.node().id()));
    }

    /// Ends it with the frames that the node has answered.
    fn answer(self, frames: &[u8], max_message: usize) {
        let mut answer = FrameScanner::answer(max_message);
        let cause = match answer.pass(frames) {
            Ok(()) if answer.is_complete() => {
                record_answer(&self.permit, &answer);
                return self.mux.answer(self.id, frames);
            }
            Ok(()) => "it has no end".to_owned(),
            Err(cause) => cause.text,
        };
        let id = self.permit.node().id();
        let error = protocol(format!("the answer of node `{id}` cannot be decoded: {cause}"));
        let evidence = Evidence::Sent.or_answered(answer.shows_execution());
        self.fail(&error.with_evidence(evidence));
    }

    /// Its node is lost. If that did not have all of the call, another one may get it.
    fn lost(mut self, sent: bool, cause: Error) {
        if !sent && self.call.dispatch.lost(&self.permit) {
            record_error(&self.permit, ErrorKind::NodeLost);
            let Self { mux, id, call, permit } = self;
            drop(permit);
            return mux.spawn(id, dispatch_later(mux.clone(), id, call, None));
        }
        let when = if sent { "during the call" } else { "before it had the whole call" };
        let text = format!("node `{}` was lost {when}: {cause}", self.permit.node().id());
        let error = Error::new(ErrorKind::NodeLost, text).with_source(cause);
        self.fail(&error.with_evidence(Evidence::of_sending(sent)));
    }
}

/// Opens a multiplexed stream on a node's `connection` with the first call.
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

/// Forwards a response on a stream of its own. The task outlives the multiplexed stream, and tells the
/// caller if the node is lost.
fn receive_overflow(calls: &Arc<NodeMux>, mut recv: RecvHalf) {
    let calls = calls.clone();
    tokio::spawn(async move {
        let mut buffer = FrameBuffer::new(0);
        let Some(id) = overflow::read_id(&mut recv, &mut buffer).await else { return };
        let Some(call) = calls.answered(id) else { return };
        let (mux, id, first) = (call.mux.clone(), call.id, buffer.take_rest());
        let forwarding = async move {
            let PlacedCall { mux, id, permit, .. } = call;
            forward_overflow(recv, &first, mux, id, permit).await;
        };
        mux.abortable(id, forwarding).await;
    });
}
