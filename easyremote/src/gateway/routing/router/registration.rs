//! A node's registration in the routing table.

use std::sync::Arc;

use crate::error::Error;
use crate::gateway::routing::node::{NodeHandle, RoutedNode};
use crate::gateway::routing::router::Router;

/// A node's registration in the routing table. Dropping it removes the node: it gets no more calls,
/// and calls that waited only for it fail.
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
    /// milliseconds if there are many functions and nodes.
    ///
    /// # Errors
    /// `PermissionDenied` if another session keeps the node's id, or if one of the functions
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
            // The new session may offer fewer functions.
            router.fail_unroutable(old);
        }
        Ok((registration, replaced))
    }

    pub(crate) fn node(&self) -> &RoutedNode<H> {
        &self.node
    }

    /// Replaces the node's tags, which then route waiting and new calls. Does nothing if they are
    /// equal.
    pub(crate) fn retag(&self, tags: Vec<String>) {
        if self.router.retag(&self.node, tags) {
            self.announce();
            self.router.fail_unroutable(&self.node);
        }
    }

    /// Fails the calls that wait only for this node, which accepts no more of them.
    pub(crate) fn fail_waiting(&self) {
        self.router.fail_unroutable(&self.node);
    }

    /// Wakes waiting calls that this node may be able to run.
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
