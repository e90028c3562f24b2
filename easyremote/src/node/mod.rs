//! The node: offers functions to gateways, and runs them.
//!
//! A [`Node`] is started by [`Node::serve`], or by a [`NodeBuilder`] with options. It dials out to
//! its gateways, and needs no open port.

mod builder;
mod exec;
mod limits;
mod load;
mod middleware;
mod session;
mod state;
mod tags;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::error::Error;
use crate::node::state::NodeState;
use crate::transport::auth::address::IntoGateways;
use crate::transport::dial::Dialler;
use crate::transport::quic::io_thread::{GoodbyeGuard, IoThread};
use crate::wire::limits::MAX_TIMEOUT;

pub use crate::function::context::Context;
pub use crate::function::end::End;
pub use crate::function::registry::Functions;
pub use crate::node::builder::NodeBuilder;
pub use crate::node::limits::NodeLimits;
pub use crate::node::middleware::{Done, Next};

/// A running node.
///
/// Its I/O has a thread of its own; its functions run on the tokio runtime that it was started
/// from, and the node ends when that runtime does. (A current-thread runtime runs functions only
/// while something is driven on it with `block_on`.) When the connection to a gateway breaks, it
/// dials again until it is shut down. Dropping the handle shuts it down: the drop tells the gateways,
/// also if the program ends right after it. It takes well below a millisecond as a rule, and 100 ms
/// at most.
#[derive(Debug)]
pub struct Node {
    io: IoThread,
    shared: Arc<NodeState>,
}

/// What a node is doing, and has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct NodeStats {
    /// Gateways that it is registered at now.
    pub gateways: u64,
    /// Calls and streams that it is running or has waiting.
    pub in_flight: u64,
    /// Those of them that wait at the node, for a place or a thread.
    pub waiting: u64,
    /// Calls and streams begun since the start.
    pub calls: u64,
    /// Those of them that were refused because a call of the same id had started before. No caller
    /// of this library and no gateway sends one; one a second is logged, with what the gateway says
    /// of its caller.
    pub repeats: u64,
}

impl Node {
    /// Offers `functions` at `gateway`, with default options. The node is registered when this
    /// returns.
    ///
    /// The gateway need not be there yet: it is dialled for up to 15 s.
    ///
    /// # Errors
    /// Of kind [`Unavailable`](crate::ErrorKind::Unavailable) if no gateway can be reached in time,
    /// [`Unauthenticated`](crate::ErrorKind::Unauthenticated) or
    /// [`PermissionDenied`](crate::ErrorKind::PermissionDenied) if it refuses the node,
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput) if the address, the id, a tag or a limit is
    /// none, if two functions have one name, or if one needs a state or a value that the node does
    /// not have.
    ///
    /// # Cancel safety
    /// Dropping the future leaves nothing running.
    ///
    /// # Panics
    /// Outside of a tokio runtime: the functions run on the one that this is called from.
    pub async fn serve(gateway: impl IntoGateways, functions: Functions) -> Result<Self, Error> {
        Self::builder(gateway).functions(functions).serve().await
    }

    /// Options for a node at `gateway`, or at each of several gateways.
    pub fn builder(gateway: impl IntoGateways) -> NodeBuilder {
        NodeBuilder::new(gateway.into_gateways())
    }

    /// The node's id.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.shared.id
    }

    /// The node's tags.
    #[must_use]
    pub fn tags(&self) -> Vec<String> {
        self.shared.tags.now()
    }

    /// Gives the node other tags, in place of those that it has: at most 64 of 128 bytes.
    ///
    /// When this returns, they hold at every gateway that the node is registered at: further calls
    /// are given by them, and so are those that wait there. A call that waits and that the node
    /// can run now comes to it; one that no node can run any more fails with
    /// [`NoNode`](crate::ErrorKind::NoNode), [`Executed::No`](crate::Executed::No), or goes on to
    /// wait if it has [`wait_for_node`](crate::Call::wait_for_node). Calls that have been given to
    /// the node stay there. A gateway that is away has the tags when the node is registered there
    /// again.
    ///
    /// A function that [needs](macro@crate::remote) a tag which the node does not have stays
    /// registered, and gets no calls from then on, as it does when the node starts without the tag.
    ///
    /// ```
    /// # async fn example(node: easyremote::Node) -> Result<(), easyremote::Error> {
    /// let mut tags = node.tags();
    /// tags.push("warm".to_owned());
    /// node.set_tags(tags).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput) if there are too many, or one is empty or too long;
    /// the node then has the tags that it had.
    ///
    /// # Cancel safety
    /// Once polled, the node has the tags, and tells its gateways whether or not this is waited for.
    pub async fn set_tags<T: Into<String>>(
        &self,
        tags: impl IntoIterator<Item = T>,
    ) -> Result<(), Error> {
        let tags: Vec<String> = tags.into_iter().map(Into::into).collect();
        tags::check(&tags)?;
        self.shared.warn_of_needs(&tags);
        self.shared.tags.set(tags).await;
        Ok(())
    }

    /// What the node is doing, and has done.
    #[must_use]
    pub fn stats(&self) -> NodeStats {
        let counters = &self.shared.counters;
        NodeStats {
            gateways: counters.gateways.load(Ordering::Relaxed),
            in_flight: counters.in_flight.load(Ordering::Relaxed),
            waiting: counters.waiting.load(Ordering::Relaxed),
            calls: counters.calls.load(Ordering::Relaxed),
            repeats: counters.repeats.load(Ordering::Relaxed),
        }
    }

    /// Takes no more calls, finishes those that it has, for at most `grace`, and ends.
    ///
    /// No call fails: the gateways give further ones to other nodes, or answer
    /// [`Draining`](crate::ErrorKind::Draining), [`Executed::No`](crate::Executed::No), if there is
    /// no other. What is still running after `grace` ends as with [`shutdown`](Self::shutdown).
    /// `detached` functions are waited for too. 30 s is a usual grace.
    ///
    /// # Cancel safety
    /// Once polled, the node takes no more calls, and ends after the last one; `grace` then does
    /// not apply any more.
    pub async fn drain(&self, grace: Duration) {
        self.shared.draining.cancel();
        tokio::select! {
            biased;
            () = self.closed() => {}
            () = self.io.sleep(grace.min(MAX_TIMEOUT)) => {
                tracing::warn!(id = %self.shared.id, ?grace, "calls are cut off: the grace is over");
            }
        }
        self.shutdown().await;
    }

    /// Leaves all gateways and waits until the node has ended. Calls under way are cancelled and
    /// fail with [`NodeLost`](crate::ErrorKind::NodeLost); functions that are `detached` run on,
    /// and are not waited for.
    ///
    /// # Cancel safety
    /// Once polled, the node ends whether or not this is waited for.
    pub async fn shutdown(&self) {
        self.io.stop();
        self.closed().await;
    }

    /// Resolves when the node has ended, for whatever reason. Cancel safe.
    pub async fn closed(&self) {
        self.io.ended().await;
    }
}

/// Held by the runtime that the functions run on: the node ends with it.
struct WithRuntime {
    node: Arc<NodeState>,
    stop: CancellationToken,
}

impl Drop for WithRuntime {
    fn drop(&mut self) {
        if !self.stop.is_cancelled() {
            self.node.runtime_ended.store(true, Ordering::Relaxed);
            tracing::warn!(
                id = %self.node.id,
                "the node ends: the tokio runtime that it was started from has ended"
            );
            self.stop.cancel();
        }
    }
}

/// Keeps a session with each gateway until told to stop.
async fn run(
    shared: Arc<NodeState>,
    diallers: Vec<Dialler>,
    patience: Duration,
    first: mpsc::Sender<Result<(), Error>>,
    (stop, guard): (CancellationToken, GoodbyeGuard),
) {
    // The task below is to know that the node has ended, for whatever reason.
    let _ended = stop.clone().drop_guard();
    let with_runtime = WithRuntime { node: shared.clone(), stop: stop.clone() };
    shared.runtime.spawn(async move { with_runtime.stop.cancelled().await });
    let mut sessions = tokio::task::JoinSet::new();
    for (gateway, dialler) in diallers.into_iter().enumerate() {
        let (shared, first) = (shared.clone(), first.clone());
        let stop = (stop.clone(), guard.clone());
        sessions.spawn(session::keep(dialler, gateway, shared, patience, first, stop));
    }
    drop((first, guard));
    let ended = async { while sessions.join_next().await.is_some() {} };
    tokio::select! {
        () = ended => {}
        never = load::measure(&shared) => match never {},
        never = shared.started.forget() => match never {},
    }
}
