//! Reads calls from the gateway's multiplexed stream, which many small unary calls share.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;

use crate::error::{Error, ErrorKind};
use crate::function::arguments::no_room;
use crate::function::handler::Body;
use crate::gauge::MemoryCharge;
use crate::node::exec::admission::admit;
use crate::node::exec::calls::NodeCalls;
use crate::node::exec::table::{CallKey, Responder};
use crate::transport::mux::driver::{OpenMux, disconnect};
use crate::transport::quic::stream::{RecvHalf, SendHalf};
use crate::wire::bytes::Malformed;
use crate::wire::frame::FrameKind;
use crate::wire::header::CallHeader;
use crate::wire::kind::Kind;
use crate::wire::limits::{MAX_MUX_BODY, MAX_NODE_STREAMS, MUX_SLACK};
use crate::wire::mux::{MuxId, take_frame};

/// Serves the multiplexed stream that the gateway has opened; `first` has been read from it
/// already.
pub(super) async fn serve(halves: (SendHalf, RecvHalf), first: Bytes, calls: Arc<NodeCalls>) {
    let connection = calls.session.connection.clone();
    if calls.session.has_mux.swap(true, Ordering::Relaxed) {
        let cause = Malformed::new("a second multiplexed stream on one connection");
        return disconnect(&connection, &cause);
    }
    let ready = || {
        let calls = calls.clone();
        // Once per read, not per call: calls that have arrived together share a worker.
        calls.dispatch();
        calls.renew_inline_time();
        async move { calls.writer.has_room().await }
    };
    let mux = OpenMux::accepted(connection, halves, first);
    // The error is not needed: the session ends with its connection.
    let _ = mux.drive(&calls.writer, ready, |id, frames| receive(&calls, id, frames)).await;
}

/// Handles a message of the gateway: a call, or the cancellation of one.
///
/// # Errors
/// The gateway violates the protocol of the multiplexed stream.
fn receive(calls: &Arc<NodeCalls>, id: MuxId, frames: Bytes) -> Result<(), Malformed> {
    let key = CallKey::Mux(id);
    if frames.is_empty() {
        // The table no longer has a call that was answered; the answer is on its way.
        calls.give_up(key);
        return Ok(());
    }
    let (n, is_there) = calls.look_up(key);
    if n >= (MAX_NODE_STREAMS * MUX_SLACK) as usize || is_there {
        let text = format!("more than {MAX_NODE_STREAMS} calls at a time, or two with one id");
        return Err(Malformed::new(text));
    }
    calls.node().counters.calls.fetch_add(1, Ordering::Relaxed);
    if let Err(error) = begin(calls, id, frames) {
        calls.send_error(id, &error.with_node(&*calls.node().id));
    }
    Ok(())
}

/// Reads a call and executes it.
///
/// # Errors
/// The error to answer with if the call cannot run.
fn begin(calls: &Arc<NodeCalls>, id: MuxId, mut frames: Bytes) -> Result<(), Error> {
    let header = take_frame(&mut frames, 0).map_err(Malformed::into_error)?;
    let limit = MAX_MUX_BODY.min(calls.session.limits.max_message);
    let body = take_frame(&mut frames, limit).map_err(Malformed::into_error)?;
    let protocol = |text: String| Error::new(ErrorKind::Protocol, text);
    let kinds = (header.kind, body.kind);
    if kinds != (FrameKind::Header, FrameKind::Body) || !frames.is_empty() {
        return Err(protocol(format!("{kinds:?} frames on a multiplexed stream")));
    }
    let header = CallHeader::read_knowing(&header.body, &mut calls.caller.lock())
        .map_err(Malformed::into_error)?;
    if header.job_request().is_some() {
        return calls.answer_request(header, CallKey::Mux(id), Responder::Mux);
    }
    if header.kind != Kind::Unary || header.is_spawn() {
        let text = format!("a {:?} call, or a job, on a multiplexed stream", header.kind);
        return Err(protocol(text));
    }
    let node = calls.node();
    let admitted = admit(node, header)?;
    node.check_unread(admitted.function)?;
    let mut charge = MemoryCharge::new(&node.unfinished, node.max_unfinished);
    if !charge.grow_to(body.body.len()) {
        return Err(no_room());
    }
    let body = Body { bytes: body.body, charge: Some(charge) };
    let key = CallKey::Mux(id);
    let (call, job) = admitted.prepare(&calls.session, key, Responder::Mux, body);
    calls.execute(call, job);
    Ok(())
}
