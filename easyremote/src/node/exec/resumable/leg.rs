//! A leg of a resumable stream, and the session that carries it.

use std::sync::Arc;

use bytes::Bytes;
use futures::future::BoxFuture;

use crate::transport::quic::stream::{RecvHalf, SendHalf};

/// The session of a leg, which tells its gateway when the permits of the call are free.
pub(in crate::node::exec) trait LegSession: Send + Sync {
    /// Notes that a resumable stream, whose call holds permits, is read on `stream`.
    fn add_leg(&self, stream: u64);

    /// Notes that the gateway counts the call elsewhere than on `stream`.
    fn forget_leg(&self, stream: u64);

    /// Notes that the permits of the call that is or was read on `stream` are free.
    fn end_leg(&self, stream: u64);

    /// Returns whether the connection to the gateway is open.
    fn is_open(&self) -> bool;

    /// Returns the limit of messages, in bytes.
    fn max_message(&self) -> usize;

    /// Runs `task` beside the connection.
    fn spawn(&self, task: BoxFuture<'static, ()>);
}

/// A QUIC stream on which the caller of a resumable stream reads it.
pub(in crate::node::exec) struct NewLeg {
    pub(in crate::node::exec) send: SendHalf,
    pub(in crate::node::exec) recv: RecvHalf,
    /// What has arrived behind the arguments.
    pub(in crate::node::exec) rest: Bytes,
    /// Bytes of an empty `Body` frame that are still to come: of a call that continues the stream.
    pub(in crate::node::exec) body: usize,
    /// The session that carries it.
    pub(in crate::node::exec) session: Arc<dyn LegSession>,
    /// The number of items that the reader has taken.
    pub(in crate::node::exec) taken: u64,
}
