//! A node's presence in the routing table.

use std::sync::Arc;

use crate::error::Error;
use crate::gateway::routing::node::{NodeHandle, RoutedNode};
use crate::gateway::routing::router::Router;

/// A node's presence in the routing table. Dropping it takes the node out: it gets no more calls,
/// and those that waited for it alone fail.
#[derive(Debug)]
pub(crate) struct Registration<H: NodeHandle> {
    router: Arc<Router<H>>,
    node: Arc<RoutedNode<H>>,
}

/// The session that a registration has replaced, if any.
pub(crate) type Replaced<H> = Option<Arc<RoutedNode<H>>>;

impl<H: NodeHandle> Registration<H> {
    /// Registers `node`. Also returns the session that it has replaced, if any.
    ///
    /// This, [`retag`](Self::retag), [`fail_waiting`](Self::fail_waiting) and dropping it may take
    /// milliseconds where there are many functions and nodes.
    ///
    /// # Errors
    /// `PermissionDenied` if a node of this id is connected and stays, or if one of the functions
    /// belongs to another identity.
    pub(crate) fn new(
        router: &Arc<Router<H>>,
        node: RoutedNode<H>,
    ) -> Result<(Self, Replaced<H>), Error> {
        let node = Arc::new(node);
        let replaced = router.insert(&node)?;
        let registration = Self { router: router.clone(), node };
        registration.announce();
        if let Some(old) = &replaced {
            // The new session may offer less.
            router.fail_unroutable(old);
        }
        Ok((registration, replaced))
    }

    pub(crate) fn node(&self) -> &RoutedNode<H> {
        &self.node
    }

    /// Gives the node other tags, by which waiting calls and the next ones are routed. Those that it
    /// has already change nothing.
    pub(crate) fn retag(&self, tags: Vec<String>) {
        if self.router.retag(&self.node, tags) {
            self.announce();
            self.router.fail_unroutable(&self.node);
        }
    }

    /// Fails the calls that wait for the node alone, which takes no more of them.
    pub(crate) fn fail_waiting(&self) {
        self.router.fail_unroutable(&self.node);
    }

    /// Tells waiting calls that the node may be what they wait for.
    fn announce(&self) {
        self.router.grown.notify_waiters();
        self.router.dispatch_waiting(&self.node);
    }
}

impl<H: NodeHandle> Drop for Registration<H> {
    fn drop(&mut self) {
        self.router.remove(&self.node);
        self.router.fail_unroutable(&self.node);
    }
}
