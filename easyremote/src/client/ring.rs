//! Streams with a replay ring: for a program that passes the items on, and cannot tell which have
//! arrived.
//!
//! Its reader may come back to another program, which goes on with the [`StreamPosition`] that the
//! reader had. So such a stream is not cancelled when it is dropped: its node keeps the last items for
//! a while, and then gives it up.

use std::fmt;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio_util::sync::CancellationToken;

use crate::wire::header::CallId;
use crate::wire::resume::ResumeSecret;

/// Where the reader of a stream with a replay ring is, and what it takes to go on there. Good for the
/// identity that made the call, at any gateway of its node.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct StreamPosition {
    pub(crate) call: CallId,
    pub(crate) secret: ResumeSecret,
    pub(crate) node: String,
    /// The number of items before it.
    pub(crate) taken: u64,
}

/// Leaves out the id of the call, which is a part of what authorises a reader.
impl fmt::Debug for StreamPosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StreamPosition({} at {})", self.taken, self.node)
    }
}

/// What a call that is about to be made has to do with a replay ring.
#[derive(Clone, Debug)]
pub(super) enum RingCall {
    /// It starts a stream that has one.
    Starts,
    Continues(Box<StreamPosition>),
}

/// What the reader and the I/O task of such a stream share.
#[derive(Debug)]
pub(super) struct RingReader {
    call: CallId,
    secret: ResumeSecret,
    /// Set once the node has said that it has the stream.
    node: OnceLock<String>,
    /// Cancelled once it has.
    attached: CancellationToken,
    /// Whether a reader knows a position, and may come back.
    known: AtomicBool,
}

impl RingReader {
    /// Creates it for a stream that starts.
    pub(super) fn new(call: CallId, secret: ResumeSecret) -> Self {
        let (attached, known) = (CancellationToken::new(), AtomicBool::new(false));
        Self { call, secret, node: OnceLock::new(), attached, known }
    }

    /// Creates it for a stream that continues.
    pub(super) fn at(position: &StreamPosition) -> Self {
        Self {
            call: position.call,
            secret: position.secret.clone(),
            node: position.node.clone().into(),
            attached: CancellationToken::new(),
            known: AtomicBool::new(true),
        }
    }

    /// Notes that `node` has the stream.
    pub(super) fn set_node(&self, node: &str) {
        self.node.get_or_init(|| node.to_owned());
        self.attached.cancel();
    }

    /// Returns what is cancelled once the node has said that it has the stream.
    pub(super) fn attached(&self) -> CancellationToken {
        self.attached.clone()
    }

    /// Returns the position behind `taken` items, which a reader is told. `None` before the node has
    /// said that it has the stream.
    pub(super) fn position(&self, taken: u64) -> Option<StreamPosition> {
        let node = self.node.get()?.clone();
        self.known.store(true, Ordering::Release);
        Some(StreamPosition { call: self.call, secret: self.secret.clone(), node, taken })
    }

    /// Returns whether a reader that is gone may come back.
    pub(super) fn may_return(&self) -> bool {
        self.known.load(Ordering::Acquire)
    }
}
